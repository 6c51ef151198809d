//! How does one destination work through its rows? Read, send, commit receipts, again; and what happens when it cannot.
//!
//! Keeps: the next rows are read only after the receipts of the last ones are committed, so there is nothing to
//! remember across a restart; a failed commit ends the delivery, because the partition is not to be guessed at.
//! A key that fails backs off by itself and the others go on ([`Held`]); when the destination fails as a whole, nothing
//! but a probe is sent ([`Breaker`]), and probes take turns over the keys.
//! Stop order: deliveries first, then the partition, because a delivery finishes the attempt it is in, if its grace allows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_schemas::outbox::{Destination, OutboxRow};
use tidemark_schemas::receipt::{Outcome, Receipt};
use tidemark_schemas::time::ReceiveTime;
use tokio::sync::{Notify, watch};

use super::backoff::{Backoff, random};
use super::breaker::{Breaker, Failed, Permit, Position};
use super::held::Held;
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

/// Looks for rows this often even when nobody announced any.
const POLL: Duration = Duration::from_secs(5);

/// How patiently a destination is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Bound of the wait after a key's first failure; doubles with each further one.
    pub first_wait: Duration,
    /// Bound of every wait that we choose ourselves.
    pub longest_wait: Duration,
    /// The other side's `Retry-After` is honoured up to this.
    pub retry_after_max: Duration,
    /// Keys that fail with no success between them, or failures of the destination itself, after which nothing is sent
    /// for `open`.
    pub failures_to_open: u32,
    pub open: Duration,
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
    /// What was last said of the breaker.
    told: Position,
    held: Held,
    /// Every row up to here is gone, or of a key that is held from it or an older row on.
    cursor: u64,
    /// What [`Outbox::resent`] said last.
    resent: u64,
    /// Attempts in a row without a single answer.
    failures: u32,
    /// The oldest row that waits, and since when it has been the oldest.
    oldest: Option<(u64, ReceiveTime)>,
    /// Totals since the start.
    delivered: Drained,
}

/// What one round came to.
enum Round {
    /// Nothing to send.
    Idle,
    /// Something was answered, or passed over: there may be more.
    Moved,
    /// Nothing was answered; keys that were not tried may still be.
    Failed,
    Held {
        wait: Duration,
    },
}

/// A row and the key within which it keeps its place.
struct Keyed {
    key: String,
    row: OutboxRow,
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
            resent: outbox.resent(),
            outbox,
            receipts,
            sink,
            clock,
            config,
            breaker: Breaker::new(config.failures_to_open, config.open),
            told: Position::Closed,
            held: Held::default(),
            cursor: 0,
            failures: 0,
            oldest: None,
            delivered: Drained::default(),
        }
    }

    /// Delivers until `stop` turns true, then for at most `grace`. `committed` is notified (with `notify_one`, one
    /// [`Notify`] for each destination) when a commit added rows.
    ///
    /// # Errors
    /// [`DeliveryError`]; everything less is waited out.
    pub async fn run(
        self,
        committed: Arc<Notify>,
        stop: watch::Receiver<bool>,
        grace: Duration,
    ) -> Result<(), DeliveryError> {
        let destination = self.destination.name();
        let mut told = stop.clone();
        let overdue = async move {
            // A sender that is gone can no longer stop us otherwise: that is a stop too.
            let _ = told.wait_for(|stop| *stop).await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            ended = self.run_until(committed, stop) => ended,
            // It may have arrived: the same bytes go out again under the same id, after the next start.
            () = overdue => {
                tracing::warn!(destination, "the attempt in progress took longer than the shutdown grace; it is abandoned, its rows are sent again after the next start");
                Ok(())
            }
        }
    }

    async fn run_until(
        mut self,
        committed: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), DeliveryError> {
        while !*stop.borrow() {
            let wait = match self.round().await? {
                Round::Moved | Round::Failed => continue,
                Round::Idle => POLL,
                Round::Held { wait } => wait.min(POLL),
            };
            tokio::select! {
                () = committed.notified() => {}
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => break,
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
                Ok(Round::Failed) if self.is_worth_waiting(Duration::ZERO) => {}
                Ok(Round::Held { wait }) if self.is_worth_waiting(wait) => {
                    tokio::time::sleep(wait).await;
                }
                Ok(Round::Idle | Round::Failed | Round::Held { .. }) => break,
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
        self.failures < DRAIN_ATTEMPTS_MAX
            && self.breaker.position() == Position::Closed
            && wait <= DRAIN_WAIT_MAX
    }

    async fn round(&mut self) -> Result<Round, DeliveryError> {
        let now = Instant::now();
        let permit = self.breaker.permit(now);
        self.tell_breaker();
        let rows = match permit {
            Permit::Wait(wait) => return Ok(Round::Held { wait }),
            Permit::Probe => self.probe(now)?,
            Permit::Batch => self.batch(now)?,
        };
        self.tell_oldest(rows.as_deref());
        let round = match rows {
            Some(rows) if !rows.is_empty() => self.attempt(rows).await,
            Some(_) => {
                // A whole page of held keys: other tasks are let in before the next one.
                tokio::task::yield_now().await;
                Ok(Round::Moved)
            }
            None => {
                let wait = self.held.next_due(now);
                Ok(wait.map_or(Round::Idle, |wait| Round::Held { wait }))
            }
        };
        self.tell_breaker();
        round
    }

    /// The next rows of keys that need not wait; empty when all of a page must, `None` at the end of the outbox.
    fn batch(&mut self, now: Instant) -> Result<Option<Vec<Keyed>>, DeliveryError> {
        self.begin_again_if_resent();
        if self.held.is_full() {
            return self.next_in_turn(now);
        }
        let mut page = self.pending(self.cursor, self.sink.rows_per_batch())?;
        if page.is_empty()
            && let Some(first) = self.held.arm(now)
        {
            self.cursor = first - 1;
            page = self.pending(self.cursor, self.sink.rows_per_batch())?;
        }
        let Some(last) = page.last() else { return Ok(None) };
        self.cursor = last.sequence;
        let keyed = page.into_iter().map(|row| Keyed { key: self.sink.key(&row), row });
        Ok(Some(keyed.filter(|keyed| !self.held.waits(&keyed.key)).collect()))
    }

    /// A row of a key that has not failed, if there is one, because what holds one key says nothing about the others;
    /// else of the key whose turn it is. `None` when there is none, or none is due.
    fn probe(&mut self, now: Instant) -> Result<Option<Vec<Keyed>>, DeliveryError> {
        self.begin_again_if_resent();
        self.held.disarm();
        loop {
            let page = self.pending(self.cursor, self.sink.rows_per_batch())?;
            if page.is_empty() {
                break;
            }
            for row in page {
                self.cursor = row.sequence;
                let key = self.sink.key(&row);
                if !self.held.holds(&key) {
                    return Ok(Some(vec![Keyed { key, row }]));
                }
            }
        }
        self.next_in_turn(now)
    }

    fn next_in_turn(&mut self, now: Instant) -> Result<Option<Vec<Keyed>>, DeliveryError> {
        while let Some((key, first)) = self.held.next_in_turn(now) {
            let key = key.to_owned();
            match self.pending(first - 1, 1)?.pop() {
                Some(row) if row.sequence == first => return Ok(Some(vec![Keyed { key, row }])),
                // Answered by someone else.
                _ => self.release(&key),
            }
        }
        Ok(None)
    }

    /// Rows that were refused and are sent again lie below the cursor. Someone has acted, so that every key is tried again.
    fn begin_again_if_resent(&mut self) {
        let resent = self.outbox.resent();
        if std::mem::replace(&mut self.resent, resent) != resent {
            (self.cursor, self.held) = (0, Held::default());
        }
    }

    async fn attempt(&mut self, keyed: Vec<Keyed>) -> Result<Round, DeliveryError> {
        let (keys, rows): (Vec<String>, Vec<OutboxRow>) =
            keyed.into_iter().map(|keyed| (keyed.key, keyed.row)).unzip();
        let rows: Arc<[OutboxRow]> = rows.into();
        let answers = self.sink.send(Arc::clone(&rows)).await;
        assert_eq!(answers.len(), rows.len(), "a sink answers for each row");
        observe::attempted(self.destination, outcomes(&answers));
        let receipts = self.receipts_for(&rows, &answers);
        let moved = !receipts.is_empty();
        if moved {
            self.commit(receipts, &rows, &answers).await?;
            self.failures = 0;
            self.breaker.succeeded();
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        for ((key, row), answer) in keys.iter().zip(rows.iter()).zip(&answers) {
            match answer {
                Answer::Accepted { .. } => self.release(key),
                Answer::Failed(failure) => self.failed(key, row, failure, moved)?,
                // The lanes ended early: its turn comes when those before it have been seen to.
                Answer::NotSent if !self.held.waits(key) => self.cursor = self.cursor.min(row.sequence - 1),
                Answer::NotSent => {}
            }
        }
        if self.held.is_empty() {
            self.delivered.held_by = None;
        }
        Ok(if moved { Round::Moved } else { Round::Failed })
    }

    /// Rows of the key that were passed over while it was held are read again.
    fn release(&mut self, key: &str) {
        if let Some(first) = self.held.release(key) {
            self.cursor = self.cursor.min(first);
        }
    }

    fn failed(
        &mut self,
        key: &str,
        row: &OutboxRow,
        failure: &Failure,
        others_moved: bool,
    ) -> Result<(), DeliveryError> {
        let (destination, remedy) = (self.destination, failure.remedy().name());
        match failure.remedy() {
            // Logged where its receipt is committed, like the refusals of a destination that fetches its rows.
            Remedy::Park => self.release(key),
            Remedy::Stop => {
                tracing::error!(%destination, remedy, "{failure}");
                return Err(DeliveryError::Stopped { destination, failure: failure.clone() });
            }
            Remedy::ResendSameBytes => {
                let now = Instant::now();
                let asked = failure.retry_after().unwrap_or_default().min(self.config.retry_after_max);
                let backoff = Backoff { first: self.config.first_wait, longest: self.config.longest_wait };
                let wait = |failures| backoff.wait(failures, random()).max(asked);
                let (attempts, wait) = self.held.failed(key, row.sequence, now, wait);
                if !others_moved {
                    let is_of_destination = failure.is_of_destination();
                    self.breaker.failed(Failed { key, is_of_destination, asked }, now);
                }
                let wait_ms = wait.as_millis();
                tracing::warn!(%destination, remedy, key, attempts, wait_ms, "{failure}");
                self.delivered.held_by = Some(failure.clone());
            }
        }
        Ok(())
    }

    /// One line for each change, and the gauge.
    fn tell_breaker(&mut self) {
        let (destination, now) = (self.destination, self.breaker.position());
        observe::breaker(destination, now.gauge());
        if std::mem::replace(&mut self.told, now) == now {
            return;
        }
        match now {
            Position::Closed => tracing::info!(%destination, "the breaker is closed: rows flow again"),
            Position::HalfOpen => tracing::info!(%destination, "the breaker is half-open: one row is tried"),
            Position::Open => {
                tracing::warn!(%destination, "the breaker is open: the destination fails as a whole, its rows wait");
            }
        }
    }

    fn tell_oldest(&mut self, rows: Option<&[Keyed]>) {
        let read = rows.and_then(|rows| rows.first()).map(|keyed| keyed.row.sequence);
        let sequence = self.held.oldest().into_iter().chain(read).min();
        if self.oldest.map(|(oldest, _)| oldest) != sequence {
            self.oldest = sequence.map(|sequence| (sequence, (self.clock)()));
        }
        observe::oldest_waits_since(self.destination, self.oldest.map(|(_, since)| since));
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
            let (destination, record) = (self.destination, row.id.clone());
            Some(Receipt { destination, record, sequence: row.sequence, outcome, at })
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

        let answered = rows.iter().zip(answers).filter(|(_, answer)| answer.is_final());
        self.delivered.bytes += answered.map(|(row, _)| row.payload.len() as u64).sum::<u64>();
        self.delivered.accepted += total - refused;
        self.delivered.refused += refused;
        Ok(())
    }

    fn count_left(&self) -> Result<u64, DeliveryError> {
        let (mut left, mut after) = (0, 0);
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

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
