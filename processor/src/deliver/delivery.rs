//! How does one destination work through its rows? Read, send, commit receipts, again; and what happens when it cannot.
//!
//! Keeps: the next rows are read only after the receipts of the last ones are committed, so there is nothing to
//! remember across a restart; a failed commit ends the delivery, because the partition is not to be guessed at.
//! Stop order: deliveries first, then the partition, because a delivery finishes the attempt it is in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tidemark_schemas::outbox::{Destination, OutboxRow};
use tidemark_schemas::receipt::{Outcome, Receipt};
use tidemark_schemas::time::ReceiveTime;
use tokio::sync::{Notify, watch};

use super::backoff::{Backoff, random};
use super::breaker::{Breaker, Permit};
use super::{Answer, Failure, Outbox, PartitionError, Receipts, Remedy, Sink};
use crate::clock::Clock;
use crate::observe::{self, Attempt};

/// Rows that [`drain`] counts at once when it reports what is left.
const COUNT_ROWS_PER_READ: usize = 4_096;

/// Attempts in a row without a single answer after which [`drain`] gives up: a command line waits seconds, not hours.
pub const DRAIN_ATTEMPTS_MAX: u32 = 4;

/// The longest that [`drain`] waits for one attempt; a destination that asks for more is left for the next run.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// A refusal's reason is read by people; past this it is a page of HTML.
pub const REASON_CHARS_MAX: usize = 2_000;

/// How patiently a destination is tried. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Bound of the wait after the first failure; doubles with each further one.
    pub first_wait_ms: u64,
    /// Bound of every wait that we choose ourselves.
    pub longest_wait_ms: u64,
    /// Failures in a row after which nothing is sent for `open_ms`.
    pub failures_to_open: u32,
    pub open_ms: u64,
    /// The other side's `Retry-After` is honoured up to this.
    pub retry_after_max_ms: u64,
    /// Looks for rows this often even when nobody announced any.
    pub poll_ms: u64,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            first_wait_ms: 200,
            longest_wait_ms: 30_000,
            failures_to_open: 5,
            open_ms: 15_000,
            retry_after_max_ms: 300_000,
            poll_ms: 5_000,
        }
    }
}

/// Why a delivery ended. Rows are where they were: in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("cannot read the outbox of {destination}: {source}; the partition has to be restarted")]
    Outbox { destination: Destination, source: PartitionError },
    #[error(
        "cannot commit receipts of {destination}: {source}; the partition has to be restarted, then the same rows are sent again"
    )]
    Receipts { destination: Destination, source: PartitionError },
    #[error("cannot start delivering: {source}; the machine is out of file descriptors or memory")]
    NoRuntime { source: std::io::Error },
    #[error("delivery to {destination} has stopped: {failure}")]
    Stopped { destination: Destination, failure: Failure },
}

/// What a [`drain`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub accepted: u64,
    /// Parked, each with its reason in a receipt.
    pub refused: u64,
    /// Still in the outbox.
    pub left: u64,
    /// Of the payloads that were answered.
    pub bytes: u64,
    /// Why some are left.
    pub held_by: Option<Failure>,
}

/// One destination's delivery.
pub struct Delivery<O, R, S> {
    destination: Destination,
    outbox: O,
    receipts: R,
    sink: S,
    clock: Clock,
    config: DeliveryConfig,
    breaker: Breaker,
    /// Attempts in a row without a single answer.
    failures: u32,
    /// Every row up to here is gone: spares the partition from walking over deleted rows.
    done_through: u64,
    /// The oldest row that waits, and since when it has been the oldest.
    oldest: Option<(u64, ReceiveTime)>,
    /// Totals since the start.
    delivered: Drained,
}

/// What one round came to.
enum Round {
    /// Nothing to send.
    Idle,
    /// Something was answered: there may be more.
    Moved,
    Held {
        wait: Duration,
    },
}

impl<O: Outbox, R: Receipts, S: Sink> Delivery<O, R, S> {
    pub fn new(
        destination: Destination,
        outbox: O,
        receipts: R,
        sink: S,
        clock: Clock,
        config: DeliveryConfig,
    ) -> Self {
        Self {
            destination,
            outbox,
            receipts,
            sink,
            clock,
            config,
            breaker: Breaker::new(config.failures_to_open, Duration::from_millis(config.open_ms)),
            failures: 0,
            done_through: 0,
            oldest: None,
            delivered: Drained::default(),
        }
    }

    /// Delivers until `stop` turns true. `committed` is notified (with `notify_one`, one [`Notify`] for each
    /// destination) when a commit added rows.
    ///
    /// # Errors
    /// [`DeliveryError`]; everything less is waited out.
    pub async fn run(
        mut self,
        committed: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), DeliveryError> {
        let poll = Duration::from_millis(self.config.poll_ms);
        while !*stop.borrow() {
            let round = self.round().await?;
            let stopping = async {
                // A sender that is gone can no longer stop us otherwise: that is a stop too.
                let _ = stop.wait_for(|stop| *stop).await;
            };
            match round {
                Round::Moved => continue,
                Round::Idle => tokio::select! {
                    () = committed.notified() => {}
                    () = tokio::time::sleep(poll) => {}
                    () = stopping => break,
                },
                Round::Held { wait } => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stopping => break,
                },
            }
        }
        Ok(())
    }

    /// Delivers what is pending, gives up after [`DRAIN_ATTEMPTS_MAX`] attempts without an answer or at an open
    /// breaker, and says what is left.
    ///
    /// # Errors
    /// [`DeliveryError::Outbox`] or [`DeliveryError::Receipts`]; a destination that stopped is in `held_by`.
    pub async fn drain(mut self) -> Result<Drained, DeliveryError> {
        loop {
            match self.round().await {
                Ok(Round::Moved) => {}
                Ok(Round::Idle) => break,
                Ok(Round::Held { wait }) if self.is_worth_waiting(wait) => {
                    tokio::time::sleep(wait).await;
                }
                Ok(Round::Held { .. }) => break,
                Err(DeliveryError::Stopped { failure, .. }) => {
                    self.delivered.held_by = Some(failure);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.delivered.left = self.count_left()?;
        Ok(self.delivered)
    }

    fn is_worth_waiting(&self, wait: Duration) -> bool {
        self.failures < DRAIN_ATTEMPTS_MAX && self.breaker.is_closed() && wait <= DRAIN_WAIT_MAX
    }

    async fn round(&mut self) -> Result<Round, DeliveryError> {
        let round = self.attempt().await;
        observe::delivering(self.destination, self.oldest.map(|(_, since)| since), !self.breaker.is_closed());
        round
    }

    async fn attempt(&mut self) -> Result<Round, DeliveryError> {
        let rows_max = match self.breaker.permit(Instant::now()) {
            Permit::Wait(wait) => return Ok(Round::Held { wait }),
            Permit::Probe => 1,
            Permit::Batch => self.sink.rows_per_batch(),
        };
        let rows: Arc<[OutboxRow]> = self.pending(self.done_through, rows_max)?.into();
        let sequence = rows.first().map(|row| row.sequence);
        if self.oldest.map(|(oldest, _)| oldest) != sequence {
            self.oldest = sequence.map(|sequence| (sequence, (self.clock)()));
        }
        if rows.is_empty() {
            return Ok(Round::Idle);
        }
        let answers = self.sink.send(Arc::clone(&rows)).await;
        assert_eq!(answers.len(), rows.len(), "a sink answers for each row");
        observe::attempted(self.destination, outcomes(&answers));
        let failure = worst(&answers);
        let receipts = self.receipts_for(&rows, &answers);
        let moved = !receipts.is_empty();
        if moved {
            self.commit(receipts, &rows, &answers).await?;
            self.failures = 0;
            self.breaker.succeeded();
        }
        let Some(failure) = failure else {
            self.delivered.held_by = None;
            return Ok(Round::Moved);
        };
        self.report(&failure);
        self.delivered.held_by = Some(failure.clone());
        if failure.remedy() == Remedy::Stop {
            return Err(DeliveryError::Stopped { destination: self.destination, failure });
        }
        Ok(match failure.retry_after() {
            _ if !moved => self.held(&failure),
            Some(asked) => Round::Held { wait: self.bounded(asked) },
            // The rows that moved may have been in front of others; the held ones are met again next time.
            None => Round::Moved,
        })
    }

    fn pending(&self, after: u64, limit: usize) -> Result<Vec<OutboxRow>, DeliveryError> {
        let destination = self.destination;
        let rows = self
            .outbox
            .pending(destination, after, limit)
            .map_err(|source| DeliveryError::Outbox { destination, source })?;
        let ascending = rows.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
        assert!(ascending && rows.len() <= limit, "I-4: the outbox answers in order, within the limit");
        Ok(rows)
    }

    fn receipts_for(&self, rows: &[OutboxRow], answers: &[Answer]) -> Vec<Receipt> {
        let at = (self.clock)();
        let outcome = |answer: &Answer| match answer {
            Answer::Accepted { reference } => Some(Outcome::Accepted { reference: reference.clone() }),
            Answer::Failed(failure) if failure.remedy() == Remedy::Park => {
                let reason = failure.to_string().chars().take(REASON_CHARS_MAX).collect();
                Some(Outcome::Refused { reason })
            }
            Answer::Failed(_) | Answer::NotSent => None,
        };
        let receipt = |(row, answer): (&OutboxRow, &Answer)| {
            let outcome = outcome(answer)?;
            Some(Receipt { destination: self.destination, record: row.id.clone(), outcome, at })
        };
        rows.iter().zip(answers).filter_map(receipt).collect()
    }

    async fn commit(
        &mut self,
        receipts: Vec<Receipt>,
        rows: &[OutboxRow],
        answers: &[Answer],
    ) -> Result<(), DeliveryError> {
        let destination = self.destination;
        let total = receipts.len() as u64;
        let refused = receipts.iter().filter(|r| matches!(r.outcome, Outcome::Refused { .. })).count() as u64;
        self.receipts
            .commit(receipts)
            .await
            .map_err(|source| DeliveryError::Receipts { destination, source })?;

        let answered = rows.iter().zip(answers).filter(|(_, answer)| is_answered(answer));
        self.delivered.bytes += answered.map(|(row, _)| row.payload.len() as u64).sum::<u64>();
        self.delivered.accepted += total - refused;
        self.delivered.refused += refused;
        let oldest_left = rows.iter().zip(answers).find(|(_, answer)| !is_answered(answer));
        self.done_through = match oldest_left {
            Some((row, _)) => row.sequence - 1,
            None => rows[rows.len() - 1].sequence,
        };
        Ok(())
    }

    /// Nothing was answered: how long to leave the other side alone.
    fn held(&mut self, failure: &Failure) -> Round {
        self.failures = self.failures.saturating_add(1);
        self.breaker.failed(Instant::now());
        let backoff = Backoff {
            first: Duration::from_millis(self.config.first_wait_ms),
            longest: Duration::from_millis(self.config.longest_wait_ms),
        };
        let asked = self.bounded(failure.retry_after().unwrap_or_default());
        Round::Held { wait: backoff.wait(self.failures, random()).max(asked) }
    }

    fn bounded(&self, asked: Duration) -> Duration {
        asked.min(Duration::from_millis(self.config.retry_after_max_ms))
    }

    fn report(&self, failure: &Failure) {
        let (destination, remedy) = (self.destination.name(), failure.remedy().name());
        match failure.remedy() {
            Remedy::Stop => tracing::error!(destination, remedy, "{failure}"),
            Remedy::Park | Remedy::ResendSameBytes => {
                tracing::warn!(destination, remedy, attempts = self.failures + 1, "{failure}");
            }
        }
    }

    fn count_left(&self) -> Result<u64, DeliveryError> {
        let (mut left, mut after) = (0, self.done_through);
        loop {
            let rows = self.pending(after, COUNT_ROWS_PER_READ)?;
            let Some(last) = rows.last() else {
                return Ok(left);
            };
            after = last.sequence;
            left += rows.len() as u64;
        }
    }
}

/// [`Delivery::drain`] for a command that has no runtime of its own; a thread of a tokio runtime must await that instead.
///
/// # Errors
/// As [`Delivery::drain`].
pub fn drain<O: Outbox, R: Receipts, S: Sink>(delivery: Delivery<O, R, S>) -> Result<Drained, DeliveryError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DeliveryError::NoRuntime { source })?
        .block_on(delivery.drain())
}

fn is_answered(answer: &Answer) -> bool {
    match answer {
        Answer::Accepted { .. } => true,
        Answer::Failed(failure) => failure.remedy() == Remedy::Park,
        Answer::NotSent => false,
    }
}

fn outcomes(answers: &[Answer]) -> Attempt {
    let mut attempt = Attempt::default();
    for answer in answers {
        match answer {
            Answer::Accepted { .. } => attempt.accepted += 1,
            Answer::Failed(failure) => match failure.remedy() {
                Remedy::Park => attempt.refused += 1,
                Remedy::ResendSameBytes => attempt.retried += 1,
                Remedy::Stop => attempt.stopped += 1,
            },
            Answer::NotSent => {}
        }
    }
    attempt
}

/// The failure that decides how to go on: a stop before a resend, and the longest wait asked for. Parked rows do not hold.
fn worst(answers: &[Answer]) -> Option<Failure> {
    let failures = answers.iter().filter_map(|answer| match answer {
        Answer::Failed(failure) if failure.remedy() != Remedy::Park => Some(failure),
        _ => None,
    });
    failures.max_by_key(|failure| (failure.remedy() == Remedy::Stop, failure.retry_after())).cloned()
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
