//! Where is one partition's state kept, and how is it known to be whole? Bytes by key space, below any codec.
//!
//! Reading order:
//!
//! - `keyspace`: every kind of row that exists, with its key, value, lifetime and meaning of absence.
//! - `kv`: the seam. Read rows, now or as of one moment; commit a batch, all or nothing and durable; ingest a sorted table.
//! - `rocks` and `memory`: the two things behind the seam. One is what customers run, the other fails on request.
//! - `identities`: dedupe keys, by far the most numerous rows, as sorted runs instead of puts.
//! - `identity_filter`: which identities have certainly not been seen.
//! - `witness`: a second, tiny record of the last commit, because a log cannot tell what was cut off its end.
//! - `error`: what went wrong, to what, and what a person does next.
//!
//! A partition's start and its commits, in the order that makes every crash harmless:
//!
//! ```text
//! start    Witness::open ─► Rocks::open ─► read the last commit ─► witness check ─► Identities::open
//! commit   look_up ─► step ─► stage ─► Store::commit ─► Witness::attest ─► Identities::committed ─► answer the source
//! ```
//!
//! What each failure costs:
//!
//! | failure | found by | outcome |
//! |---|---|---|
//! | crash at any instruction | replay of the log of writes | the commit is there or not; the source sends it again |
//! | last record of the log cut short | replay | that commit was never acknowledged |
//! | log cut further, or replaced by an older copy | witness | refuses to start, says how many commits and events |
//! | flipped byte in log or table | checksums | refuses to open, or the read fails; nothing is skipped |
//! | failed fsync, commit or ingest | the call | poisoned: no commit until the store is opened again |
//! | second process on the folder | lock | refuses to open |
//! | folder of another version | format file | refuses to open before anything is touched |
//!
//! Deliberately absent: typed rows (one codec file for each kind comes on top) and the partition's loop.

pub mod codec;
mod error;
mod identities;
mod identity_filter;
mod keyspace;
mod kv;
mod memory;
mod rocks;
mod witness;

#[cfg(test)]
mod conformance;

pub use error::StoreError;
pub use identities::{ForgetBefore, Identities, RECENT_MAX};
pub use keyspace::{Keyspace, Tuning};
pub use kv::{Change, KeyValue, Row, SortedRows, Store, WriteBatch};
pub use memory::{Fault, Memory};
pub use rocks::{Rocks, Settings, SpaceStats, Stats};
pub use witness::{Missing, Testimony, Witness, WitnessError, check};
