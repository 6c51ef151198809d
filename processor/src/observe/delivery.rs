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

/// Since when a destination's oldest row has been the oldest; `None` when none waits.
pub fn oldest_waits_since(destination: Destination, since: Option<ReceiveTime>) {
    let seconds = since.map_or(0, |since| since.micros() / 1_000_000);
    gauge!(metric::OUTBOX_OLDEST_TIMESTAMP_SECONDS.name, "destination" => destination.name())
        .set(super::progress::f64_of(seconds.unsigned_abs()));
}

/// How a destination's breaker stands, as the metric's help says.
pub fn breaker(destination: Destination, position: f64) {
    gauge!(metric::DELIVERY_BREAKER_STATE.name, "destination" => destination.name()).set(position);
}
