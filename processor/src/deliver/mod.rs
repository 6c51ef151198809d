//! How does what we decided leave, exactly as decided? Rows of the outbox are sent until a receipt for each is committed.
//!
//! Keeps: at-least-once with the row's id as idempotency key (I-5); rows of one key never overtake each other;
//! a row leaves the outbox only through a committed receipt (I-4); every wait, batch and body has a named maximum (I-9).
//!
//! `billing` and `erp` implement [`Sink`]; this room knows neither of them. Deliberately absent: retry limits after
//! which a row would be given up. What may have arrived is not refused, so an unreachable destination holds its rows
//! (oldest first, visible as lag) and only the rate of attempts is bounded, by each key's backoff and the breaker.

pub mod backoff;
pub mod breaker;
pub mod delivery;
pub mod durable_file;
pub mod exchange;
pub mod failure;
pub mod held;
pub mod lanes;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use tidemark_schemas::outbox::{Destination, OutboxRow};
use tidemark_schemas::receipt::Receipt;

pub use delivery::{Delivery, DeliveryConfig, DeliveryError, Drained, drain};
pub use failure::{Failure, Remedy};

/// What the partition says when it cannot read or commit; the delivery then stops, because the partition has.
pub type PartitionError = Box<dyn Error + Send + Sync>;

/// The partition's undelivered rows.
pub trait Outbox: Send + Sync {
    /// The oldest rows whose sequence is above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// Whatever kept the partition from reading.
    fn pending(
        &self,
        destination: Destination,
        after: u64,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, PartitionError>;

    /// Changes when rows that had left come back, with the sequences that they had: what was read is read again.
    fn resent(&self) -> u64;
}

/// The way back into the partition.
pub trait Receipts: Send + Sync {
    /// Returns when the receipts are durable and their rows have left the outbox, never before.
    fn commit(&self, receipts: Vec<Receipt>) -> impl Future<Output = Result<(), PartitionError>> + Send;
}

/// One destination's side of the wire.
pub trait Sink: Send + Sync {
    /// How many rows one call takes at most.
    fn rows_per_batch(&self) -> usize;

    /// The key within which rows keep their order, and which waits alone when one of its rows fails.
    fn key(&self, row: &OutboxRow) -> String;

    /// Sends rows and says what became of each: one answer per row, in the order of `rows`.
    ///
    /// Every call can be a repetition: the sink, or the other side by the row's id, makes that harmless.
    fn send(&self, rows: Arc<[OutboxRow]>) -> impl Future<Output = Vec<Answer>> + Send;
}

/// What became of one row in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The other side has it, durably, under this name of its own.
    Accepted {
        reference: String,
    },
    Failed(Failure),
    /// An earlier row of the same key failed, and must not be overtaken; or all before it failed.
    NotSent,
}

impl Answer {
    /// Whether a receipt follows from it: the other side took the row, or judged it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Accepted { .. } => true,
            Self::Failed(failure) => failure.remedy() == Remedy::Park,
            Self::NotSent => false,
        }
    }
}
