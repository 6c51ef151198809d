//! The verbs of Tidemark: how usage becomes money, as pure functions.
//!
//! Files are listed in the order in which an event passes through them; `step` shows the whole path on a screen.
//! No I/O, no clock, no randomness, no binary float: `tests/purity.rs` and the manifest keep it so.

pub mod aggregate;
pub mod batch;
pub mod calendar;
pub mod identity;
pub mod rate;
