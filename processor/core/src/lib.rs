//! The verbs of Tidemark: how usage becomes money, as pure functions.
//!
//! Modules are listed in the order in which an event passes through them; `step` shows the whole path on a screen.
//! No I/O, no clock, no randomness, no binary float: `tests/purity.rs` and the manifest keep it so.

pub mod terms;

pub mod batch;
pub mod identity;
pub mod resolve;
mod siphash;

pub mod needs;
pub mod step;

pub mod aggregate;
pub mod calendar;
pub mod post;
pub mod rate;
pub mod settle;

pub mod changes;
pub mod record;
pub mod state;
pub mod working;
