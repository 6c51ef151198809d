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
mod outbox;
mod prepare;
mod receipts;
mod run;

#[cfg(test)]
mod tests;

pub use commit::{Partition, PartitionError, Position, Taken};
pub use exceptions::{exception_row, parked_id};
pub use load::{decode as decode_row, load_all, undecodable};
pub use open::{AcceptedLoss, OpenError, Options, accepted_losses, progress};
pub use outbox::{
    Answers, each_record, members_of, parse_record, pending, record_at, sequence_of, sequence_of_entry,
};
pub use prepare::{Damaged, PreparedBlock, Preparer, RawBlock, Waiting};
pub use run::{Busy, Handle, Heads, Input, Reply, Snapshot};
