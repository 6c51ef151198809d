//! How do deliveries go? Attempts by their outcome, and what holds a destination's rows.

use metrics::{counter, gauge};
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::time::ReceiveTime;

use super::registry as metric;

/// What became of the rows of one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    pub accepted: u64,
    /// Parked with a reason.
    pub refused: u64,
    /// To be sent again.
    pub retried: u64,
    /// Nothing more is sent until a person has acted.
    pub stopped: u64,
}

/// Rows were sent, or fetched and answered.
pub fn attempted(destination: Destination, attempt: Attempt) {
    let outcomes = [
        ("accepted", attempt.accepted),
        ("refused", attempt.refused),
        ("retried", attempt.retried),
        ("stopped", attempt.stopped),
    ];
    for (outcome, rows) in outcomes {
        let labels = [("destination", destination.name()), ("outcome", outcome)];
        counter!(metric::DELIVERIES_TOTAL.name, &labels).increment(rows);
    }
}

/// Where a delivery stands: since when its oldest row has been the oldest, and whether its breaker holds rows back.
pub fn delivering(destination: Destination, oldest_since: Option<ReceiveTime>, is_held: bool) {
    let seconds = oldest_since.map_or(0, |since| since.micros() / 1_000_000);
    let labels = [("destination", destination.name())];
    gauge!(metric::OUTBOX_OLDEST_TIMESTAMP_SECONDS.name, &labels)
        .set(super::progress::f64_of(seconds.unsigned_abs()));
    gauge!(metric::DELIVERY_BREAKER_OPEN.name, &labels).set(if is_held { 1.0 } else { 0.0 });
}
