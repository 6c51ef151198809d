//! Counts what the partition does, at commit, so that a batch that is replayed counts once.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::registry as metric;

/// What one commit did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commit {
    pub accepted: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub rejected: u64,
    pub exception: u64,
    pub closed: u64,
    pub adjusted: u64,
    pub rated: u64,
    pub journal: u64,
    pub took: Duration,
}

/// A commit became durable.
pub fn committed(commit: &Commit) {
    let fates = [
        ("accepted", commit.accepted),
        ("duplicate", commit.duplicate),
        ("conflict", commit.conflict),
        ("rejected", commit.rejected),
        ("exception", commit.exception),
    ];
    for (fate, count) in fates {
        counter!(metric::INGEST_EVENTS_TOTAL.name, "fate" => fate).increment(count);
    }
    let events: u64 = fates.iter().map(|(_, count)| count).sum();
    if events > 0 {
        histogram!(metric::BATCH_EVENTS.name).record(f64_of(events));
    }
    counter!(metric::WINDOWS_CLOSED_TOTAL.name).increment(commit.closed);
    counter!(metric::ADJUSTMENTS_TOTAL.name).increment(commit.adjusted);
    counter!(metric::RATED_LINES_TOTAL.name).increment(commit.rated);
    counter!(metric::JOURNAL_ENTRIES_TOTAL.name).increment(commit.journal);
    histogram!(metric::COMMIT_SECONDS.name).record(commit.took.as_secs_f64());
}

/// A request or file block arrived.
pub fn batch_received(bytes: usize) {
    counter!(metric::INGEST_BATCHES_TOTAL.name).increment(1);
    counter!(metric::INGEST_BYTES_TOTAL.name).increment(bytes as u64);
}

/// It is durable, this long after it arrived.
pub fn batch_committed(took: Duration) {
    histogram!(metric::INGEST_TO_COMMIT_SECONDS.name).record(took.as_secs_f64());
}

/// Where the partition stands, read when metrics are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    pub watermark_micros: Option<i64>,
    pub windows_open: u64,
    pub exceptions_open: u64,
    pub identities: u64,
    pub accepted_loss_events: u64,
    pub is_stopped: bool,
    pub catalog_change_refused: bool,
    pub catalog_since_micros: i64,
    pub submit_depth: usize,
    pub commit_depth: usize,
    pub billing_pending: u64,
    pub erp_pending: u64,
}

pub fn standing(standing: &Standing) {
    let seconds = standing.watermark_micros.unwrap_or(0) / 1_000_000;
    gauge!(metric::WATERMARK_TIMESTAMP_SECONDS.name).set(f64_of(seconds.unsigned_abs()));
    gauge!(metric::WINDOWS_OPEN.name).set(f64_of(standing.windows_open));
    gauge!(metric::EXCEPTIONS_OPEN.name).set(f64_of(standing.exceptions_open));
    gauge!(metric::IDENTITIES.name).set(f64_of(standing.identities));
    gauge!(metric::ACCEPTED_LOSS_EVENTS.name).set(f64_of(standing.accepted_loss_events));
    let accepted = if standing.catalog_change_refused { 0.0 } else { 1.0 };
    gauge!(metric::CATALOG_CHANGE_ACCEPTED.name).set(accepted);
    let since = (standing.catalog_since_micros / 1_000_000).unsigned_abs();
    gauge!(metric::CATALOG_IN_FORCE_TIMESTAMP_SECONDS.name).set(f64_of(since));
    gauge!(metric::PARTITION_POISONED.name).set(if standing.is_stopped { 1.0 } else { 0.0 });
    gauge!(metric::CHANNEL_DEPTH.name, "channel" => "submit").set(f64_of(standing.submit_depth as u64));
    gauge!(metric::CHANNEL_DEPTH.name, "channel" => "commit").set(f64_of(standing.commit_depth as u64));
    gauge!(metric::OUTBOX_PENDING.name, "destination" => "billing").set(f64_of(standing.billing_pending));
    gauge!(metric::OUTBOX_PENDING.name, "destination" => "erp").set(f64_of(standing.erp_pending));
}

/// Gauges are floats by the exposition format; counts stay exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) fn f64_of(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_that_is_well_never_shows_is_shown() {
        let recorder = metric::recorder(&[]).expect("buckets are given");
        let _here = metrics::set_default_local_recorder(&recorder);
        let unwell = Standing {
            accepted_loss_events: 2,
            is_stopped: true,
            catalog_change_refused: true,
            submit_depth: 3,
            commit_depth: 4,
            ..Standing::default()
        };
        standing(&unwell);
        let text = recorder.handle().render();
        for line in [
            "tidemark_accepted_loss_events 2",
            "tidemark_partition_poisoned 1",
            "tidemark_catalog_change_accepted 0",
            "tidemark_channel_depth{channel=\"submit\"} 3",
            "tidemark_channel_depth{channel=\"commit\"} 4",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
