//! Who owns a partition's state? One committer: it loads rows, lets the rules step, and writes everything that they
//! changed in one batch.
//!
//! ```text
//! prepare (any thread)          commit (one thread)
//! decode ─► meter ─► resolve ─► look up ─► load ─► step ─► write batch ─► fsync ─► witness ─► answer
//! ```
//!
//! Keeps: I-1, I-4 and I-7, because identities, windows, lines, entries, outbox rows, exceptions, archive blocks and
//! source positions of a batch are in one write batch. After a failed commit nothing more is acknowledged.

mod commit;
mod exceptions;
mod load;
mod open;
mod prepare;
mod receipts;
mod run;

#[cfg(test)]
mod tests;

pub use commit::{Partition, PartitionError, Position, Taken, sequence_of};
pub use exceptions::{exception_row, parked_id};
pub use load::{decode as decode_row, load_all, undecodable};
pub use open::{AcceptedLoss, OpenError, Options, accepted_losses, progress};
pub use prepare::{Damaged, PreparedBlock, Preparer, RawBlock, Waiting};
pub use receipts::records_of;
pub use run::{Busy, Handle, Heads, Input, Reply, Snapshot};
