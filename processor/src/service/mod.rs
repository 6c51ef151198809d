//! The product, for whoever asks: the HTTP edge and the command line both go through here.
//!
//! This is wiring: it combines the partition with what prepares, archives, queries and delivers.

mod delivered;
mod dismiss;
mod engine;
mod intake;
mod metering;
mod outgoing;
mod reconcile;
mod records;
mod replay;
#[cfg(test)]
mod tests;
mod trace;
mod usage;

pub use delivered::Folders;
pub use dismiss::dismiss;
pub use engine::{Engine, EngineError, check_catalog};
pub use intake::{Full, Intake};
pub use metering::MeteringService;
pub use outgoing::OutboxRows;
pub use reconcile::reconcile;
pub use records::{exceptions, rated_after};
pub use replay::{ReplayError, replay};
pub use trace::{TraceError, trace_event, trace_posting};
pub use usage::usage;
