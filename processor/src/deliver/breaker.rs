//! Is it worth trying the destination at all? A circuit breaker as a pure state machine: time is a parameter.
//!
//! Closed: rows flow. It opens after `failures_to_open` failures without a success between them: nothing is sent for
//! `open_for`, or for as long as the other side asked. Then half-open: one row probes; success closes it, failure opens it again.
//! A key (a subscriber, a legal entity) counts once, however often it fails, because one that fails alone backs off alone
//! and must not hold the others; a failure that is about the destination itself counts each time.
//! Source: M. Nygard, "Release It!", 2007, chapter 5.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// At most `failures_to_open` keys.
    Closed {
        keys: BTreeSet<String>,
        of_destination: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Batch,
    /// One row, to see whether the other side is back.
    Probe,
    Wait(Duration),
}

/// How the breaker stands, for people and for a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Closed,
    HalfOpen,
    Open,
}

impl Position {
    /// 0, 1 and 2: the higher, the less flows.
    #[must_use]
    pub fn gauge(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

/// One failed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    pub key: &'a str,
    /// Nothing could be sent, or the address or the credentials are wrong: every key would fail.
    pub is_of_destination: bool,
    /// How long the other side asked to be left alone.
    pub asked: Duration,
}

#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    failures_to_open: u32,
    open_for: Duration,
}

const CLOSED: State = State::Closed { keys: BTreeSet::new(), of_destination: 0 };

impl Breaker {
    #[must_use]
    pub fn new(failures_to_open: u32, open_for: Duration) -> Self {
        Self { state: CLOSED, failures_to_open, open_for }
    }

    /// Asks before sending; an open breaker whose time is over becomes half-open by this.
    pub fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::Batch,
            State::HalfOpen => Permit::Probe,
            State::Open { until } if now < until => Permit::Wait(until - now),
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Permit::Probe
            }
        }
    }

    pub fn succeeded(&mut self) {
        self.state = CLOSED;
    }

    pub fn failed(&mut self, failed: Failed<'_>, now: Instant) {
        let opens = match &mut self.state {
            State::Closed { keys, of_destination } => {
                keys.insert(failed.key.to_owned());
                *of_destination += u32::from(failed.is_of_destination);
                keys.len() >= self.failures_to_open as usize || *of_destination >= self.failures_to_open
            }
            State::HalfOpen => true,
            // More of the attempt that opened it: the longest wait that was asked for counts.
            State::Open { until } => {
                *until = (*until).max(now + failed.asked);
                false
            }
        };
        if opens {
            self.state = State::Open { until: now + self.open_for.max(failed.asked) };
        }
    }

    #[must_use]
    pub fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::HalfOpen => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter fails that key, a capital the destination, `~` is success, `?` asks, a digit lets that many seconds
    /// pass. Answers of `?` are collected.
    fn check(script: &str, expected: &[Permit]) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(3, Duration::from_secs(5));
        let mut permits = Vec::new();
        for step in script.chars() {
            match step {
                '~' => breaker.succeeded(),
                '?' => permits.push(breaker.permit(now)),
                digit if digit.is_ascii_digit() => {
                    now += Duration::from_secs(u64::from(digit.to_digit(10).expect("a digit")));
                }
                letter => {
                    let (key, is_of_destination) = (letter.to_string(), letter.is_ascii_uppercase());
                    breaker.failed(Failed { key: &key, is_of_destination, asked: Duration::ZERO }, now);
                }
            }
        }
        assert_eq!(permits, expected, "{script}");
    }

    const fn seconds(n: u64) -> Permit {
        Permit::Wait(Duration::from_secs(n))
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_through_a_probe() {
        use Permit::{Batch, Probe};
        check("?a?b?", &[Batch, Batch, Batch]);
        check("abc?", &[seconds(5)]);
        check("ab~cd?", &[Batch]);
        check("abc4?1?", &[seconds(1), Probe]);
        // An empty outbox leaves the probe unused: the next row is still a probe.
        check("abc5??~?", &[Probe, Probe, Batch]);
        check("abc5?a?5?", &[Probe, seconds(5), Probe]);
        // After a successful probe it takes the full number of failures again.
        check("abc5?~ab?c?", &[Probe, Batch, seconds(5)]);
    }

    #[test]
    fn one_key_never_opens_it_but_the_destination_does() {
        check("aaaaaaaa?", &[Permit::Batch]);
        check("abababab?", &[Permit::Batch]);
        check("AAA?", &[seconds(5)]);
        check("AaA?", &[Permit::Batch]);
    }

    #[test]
    fn it_stays_open_for_as_long_as_they_asked() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1, Duration::from_secs(5));
        let failed = |asked| Failed { key: "a", is_of_destination: false, asked: Duration::from_secs(asked) };
        breaker.failed(failed(0), now);
        assert_eq!(breaker.permit(now), seconds(5));
        breaker.failed(failed(60), now);
        assert_eq!(breaker.permit(now), seconds(60));
    }
}
