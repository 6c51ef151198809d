//! Is it worth trying now? A circuit breaker as a pure state machine: time is a parameter.
//!
//! Closed: rows flow. After `failures_to_open` failures in a row it opens: nothing is sent for `open_for`.
//! Then half-open: one row probes; success closes it, failure opens it again.
//! Source: M. Nygard, "Release It!", 2007, chapter 5.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
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

#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    failures_to_open: u32,
    open_for: Duration,
}

impl Breaker {
    #[must_use]
    pub fn new(failures_to_open: u32, open_for: Duration) -> Self {
        Self { state: State::Closed { failures: 0 }, failures_to_open, open_for }
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
        self.state = State::Closed { failures: 0 };
    }

    pub fn failed(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.failures_to_open => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } | State::HalfOpen | State::Open { .. } => {
                State::Open { until: now + self.open_for }
            }
        };
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f` fails, `s` succeeds, `?` asks, a digit lets that many seconds pass. Answers of `?` are collected.
    fn check(script: &str, expected: &[Permit]) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(3, Duration::from_secs(5));
        let mut permits = Vec::new();
        for step in script.chars() {
            match step {
                'f' => breaker.failed(now),
                's' => breaker.succeeded(),
                '?' => permits.push(breaker.permit(now)),
                digit => {
                    now += Duration::from_secs(u64::from(
                        digit.to_digit(10).expect("a script of f, s, ? and digits"),
                    ))
                }
            }
        }
        assert_eq!(permits, expected, "{script}");
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_through_a_probe() {
        use Permit::{Batch, Probe, Wait};
        let seconds = |n| Wait(Duration::from_secs(n));
        check("?f?f?", &[Batch, Batch, Batch]);
        check("fff?", &[seconds(5)]);
        check("ffsff?", &[Batch]);
        check("fff4?1?", &[seconds(1), Probe]);
        // An empty outbox leaves the probe unused: the next row is still a probe.
        check("fff5??s?", &[Probe, Probe, Batch]);
        check("fff5?f?5?", &[Probe, seconds(5), Probe]);
        // After a successful probe it takes the full number of failures again.
        check("fff5?sff?f?", &[Probe, Batch, seconds(5)]);
    }
}
