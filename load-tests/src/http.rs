//! What happens to the product when events arrive on their own schedule? The open-loop generator.
//!
//! Invariants:
//! - a batch is due at an instant that no answer can move; its latency is measured from that instant;
//! - a batch is sent again, byte for byte, until it is answered or the run gives up;
//! - an event is in the ledger if and only if an answer acknowledged it.
//!
//! Latency of a batch that was never answered is entered as its age when the run gave up: a lower bound, which
//! is more honest than leaving the slowest out.
//!
//! Deliberately absent: pacing by feedback. Only `--rate max` waits for answers, and says so in the report.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::ledger::{Ledger, LedgerError};
use crate::product::{Answer, Product, ProductError, Reply};
use crate::schedule::Schedule;
use crate::traffic::Traffic;
use crate::units::Rate;

/// Before a batch without an answer is sent again: short beside a restart, long enough not to be a flood.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

/// Examples of refused events that are kept for the report.
const SAMPLES_MAX: usize = 5;

/// Latencies are entered up to an hour; no run is longer than its report is useful.
const LATENCY_MAX_US: u64 = 3_600_000_000;

#[derive(Clone, Debug)]
pub struct Load {
    pub product: Product,
    pub traffic: Arc<Traffic>,
    pub rate: Rate,
    pub batch_events: u64,
    pub connections: usize,
    /// For how long batches become due.
    pub duration: Duration,
    /// For how long after that they are still sent.
    pub drain: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Counts of one run; each batch ends in exactly one of the first four.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub batches_answered: u64,
    /// Only ever answered with 429 before the run gave up.
    pub batches_shed: u64,
    /// Sent, but whether they were taken is not known.
    pub batches_unknown: u64,
    /// Due, but no connection was free before the run gave up.
    pub batches_unsent: u64,
    pub attempts: u64,
    /// Attempts answered with 429.
    pub shed: u64,
    /// Attempts answered with 408 or 5xx.
    pub unavailable: u64,
    /// Attempts without an answer.
    pub unanswered: u64,
    pub bytes: u64,
    /// Sums over all answers; `events` stays empty.
    pub answers: Answer,
    /// A few of the events that were not accepted, for a person.
    pub samples: Vec<String>,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub tally: Tally,
    /// Microseconds from when a batch was due to its answer.
    pub latency_us: Histogram<u64>,
    /// Microseconds from when the answered attempt was sent to its answer: what a closed-loop client would see.
    pub service_us: Histogram<u64>,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Numbers of the batches whose fate is not known.
    pub unknown: Vec<u64>,
}

impl Load {
    /// The slots of a batch.
    #[must_use]
    pub fn slots(&self, batch: u64) -> std::ops::Range<u64> {
        batch * self.batch_events..(batch + 1) * self.batch_events
    }

    /// Runs to the end of the schedule and of the drain.
    ///
    /// # Errors
    /// [`LoadError`]: the first refusal or malformed answer ends the run, since the rest would say the same.
    pub async fn run(&self, ledger: &Arc<Mutex<Ledger>>) -> Result<Outcome, LoadError> {
        let start = Instant::now();
        let shared = Arc::new(Shared {
            load: self.clone(),
            schedule: match self.rate {
                Rate::EventsPerSecond(rate) => Some(Schedule::new(rate, self.batch_events, self.duration)),
                Rate::Max => None,
            },
            start,
            give_up: start + self.duration + self.drain,
            next_batch: AtomicU64::new(0),
            ledger: Arc::clone(ledger),
        });
        let mut connections = JoinSet::new();
        for _ in 0..self.connections {
            connections.spawn(Connection::new(Arc::clone(&shared)).run());
        }
        let mut outcome = Outcome::new();
        while let Some(joined) = connections.join_next().await {
            // Dropping the set on the first error ends the other connections.
            outcome.merge(&joined.expect("a connection does not panic")?);
        }
        if let Some(schedule) = &shared.schedule {
            assert!(
                outcome.tally.batches_due() == schedule.batches(),
                "every batch that was due has one fate"
            );
        }
        lock(ledger).flush()?;
        Ok(outcome)
    }
}

/// A poisoned ledger cannot happen: nothing panics while it is locked.
pub fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().expect("nothing panics while the ledger is locked")
}

struct Shared {
    load: Load,
    /// `None`: closed loop.
    schedule: Option<Schedule>,
    start: Instant,
    give_up: Instant,
    next_batch: AtomicU64,
    ledger: Arc<Mutex<Ledger>>,
}

impl Shared {
    /// The next batch that nobody has taken yet and when it is due; `None` when there are no more.
    fn take(&self) -> Option<(u64, Instant)> {
        let number = self.next_batch.fetch_add(1, Ordering::Relaxed);
        match &self.schedule {
            Some(schedule) => schedule.due(number).map(|due| (number, self.start + due)),
            None => {
                let now = Instant::now();
                (now < self.start + self.load.duration).then_some((number, now))
            }
        }
    }
}

/// One keep-alive connection and what it has seen.
struct Connection {
    shared: Arc<Shared>,
    outcome: Outcome,
}

impl Connection {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, outcome: Outcome::new() }
    }

    async fn run(mut self) -> Result<Outcome, LoadError> {
        while let Some((number, due)) = self.shared.take() {
            if Instant::now() >= self.shared.give_up {
                self.outcome.tally.batches_unsent += 1;
                self.enter_age(due);
                continue;
            }
            let body = Bytes::from(self.shared.load.traffic.body(self.shared.load.slots(number)));
            sleep_until(due).await;
            self.deliver(number, due, body).await?;
        }
        Ok(self.outcome)
    }

    /// Sends one batch until it is answered or the run gives up.
    async fn deliver(&mut self, number: u64, due: Instant, body: Bytes) -> Result<(), LoadError> {
        let mut may_be_taken = false;
        loop {
            let sent = Instant::now();
            self.outcome.tally.attempts += 1;
            self.outcome.tally.bytes += body.len() as u64;
            let reply = self.shared.load.product.send(body.clone(), self.shared.load.batch_events).await?;
            let pause = match reply {
                Reply::Answered(answer) => return self.enter_answer(number, due, sent, &answer),
                Reply::Shed { retry_after } => {
                    self.outcome.tally.shed += 1;
                    retry_after
                }
                Reply::Unavailable { .. } => {
                    self.outcome.tally.unavailable += 1;
                    may_be_taken = true;
                    RESEND_PAUSE
                }
                Reply::Unanswered { .. } => {
                    self.outcome.tally.unanswered += 1;
                    may_be_taken = true;
                    RESEND_PAUSE
                }
            };
            let again = Instant::now() + pause;
            if again >= self.shared.give_up {
                break;
            }
            sleep_until(again).await;
        }
        if may_be_taken {
            self.outcome.tally.batches_unknown += 1;
            self.outcome.unknown.push(number);
        } else {
            self.outcome.tally.batches_shed += 1;
        }
        self.enter_age(due);
        Ok(())
    }

    fn enter_answer(
        &mut self,
        number: u64,
        due: Instant,
        sent: Instant,
        answer: &Answer,
    ) -> Result<(), LoadError> {
        let now = Instant::now();
        self.outcome.latency_us.saturating_record(micros(now - due));
        self.outcome.service_us.saturating_record(micros(now - sent));
        self.outcome.elapsed = now - self.shared.start;
        self.outcome.tally.enter(answer);
        let Shared { load, ledger, .. } = &*self.shared;
        let mut refused = answer.refused().map(|event| event.index).peekable();
        let mut ledger = lock(ledger);
        for (index, slot) in load.slots(number).enumerate() {
            if refused.next_if_eq(&(index as u64)).is_some() {
                continue;
            }
            let origin = load.traffic.origin(slot);
            if !ledger.has(origin) {
                ledger.acknowledge(origin, &load.traffic.event(origin))?;
            }
        }
        Ok(())
    }

    /// The batch was not answered: its age at the end is the least that its latency can be.
    fn enter_age(&mut self, due: Instant) {
        self.outcome.latency_us.saturating_record(micros(self.shared.give_up.saturating_duration_since(due)));
    }
}

impl Tally {
    #[must_use]
    pub fn batches_due(&self) -> u64 {
        self.batches_answered + self.batches_shed + self.batches_unknown + self.batches_unsent
    }

    fn enter(&mut self, answer: &Answer) {
        self.batches_answered += 1;
        for event in answer.refused().take(SAMPLES_MAX.saturating_sub(self.samples.len())) {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            let (code, path, reason) = (text(&event.code), text(&event.path), text(&event.reason));
            self.samples.push(format!("{:?} {code} {path}: {reason}", event.status));
        }
        self.answers.add(answer);
    }

    fn merge(&mut self, other: &Self) {
        self.batches_answered += other.batches_answered;
        self.batches_shed += other.batches_shed;
        self.batches_unknown += other.batches_unknown;
        self.batches_unsent += other.batches_unsent;
        self.attempts += other.attempts;
        self.shed += other.shed;
        self.unavailable += other.unavailable;
        self.unanswered += other.unanswered;
        self.bytes += other.bytes;
        self.answers.add(&other.answers);
        self.samples.extend(other.samples.iter().cloned());
        self.samples.truncate(SAMPLES_MAX);
    }
}

impl Answer {
    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        self.rejected += other.rejected;
        self.exceptions += other.exceptions;
    }
}

impl Outcome {
    fn new() -> Self {
        let empty =
            || Histogram::new_with_max(LATENCY_MAX_US, 3).expect("three digits up to an hour are in range");
        Self {
            tally: Tally::default(),
            latency_us: empty(),
            service_us: empty(),
            elapsed: Duration::ZERO,
            unknown: Vec::new(),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.latency_us.add(&other.latency_us).expect("all histograms have the same range");
        self.service_us.add(&other.service_us).expect("all histograms have the same range");
        self.elapsed = self.elapsed.max(other.elapsed);
        self.unknown.extend(&other.unknown);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
