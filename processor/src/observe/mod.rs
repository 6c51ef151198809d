//! How is the product watched? Metrics by name, and logs to stderr.
//!
//! Keeps: a metric exists in [`registry`] or not at all. No label holds a tenant, a customer or a meter: their
//! number is not ours to bound, and metrics need no key.

mod delivery;
pub mod logging;
mod progress;
pub mod registry;

pub use delivery::{Attempt, attempted, breaker, oldest_waits_since};
pub use progress::{Commit, Standing, batch_committed, batch_received, committed, standing};
