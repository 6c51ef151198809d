//! What is measured? Every metric once: name, kind, help, labels with all their values, buckets.
//!
//! Keeps: base units and Prometheus' naming rules; every label set exists at zero from the start, so that `rate()`
//! and `absent()` mean what they say; histograms have fixed buckets, so that instances can be added up.
//! Deliberately absent: labels by tenant, customer or meter, and routes, which the HTTP edge passes in.
//!
//! Who counts what: sources count bytes and batches as they arrive; the partition counts fates, windows and
//! amounts at commit, so that a replayed batch is counted once; deliveries count attempts.

use metrics::{
    counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// One metric. Pass `name` to the macros of the crate `metrics`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub help: &'static str,
    pub labels: &'static [Label],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    Counter,
    Gauge,
    /// Upper bounds, ascending, in the unit of the name.
    Histogram(&'static [f64]),
}

/// A label and every value it can have; none when the values are not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: &'static str,
    pub values: &'static [&'static str],
}

const FATES: Label =
    Label { name: "fate", values: &["accepted", "duplicate", "conflict", "rejected", "exception"] };
const DESTINATIONS: Label = Label { name: "destination", values: &["billing", "erp"] };
const OUTCOMES: Label = Label { name: "outcome", values: &["accepted", "refused", "retried", "stopped"] };
const CHANNELS: Label = Label { name: "channel", values: &["submit", "commit"] };
/// Values are the routes and the statuses that each may answer.
const ROUTE: Label = Label { name: "route", values: &[] };
const CODE: Label = Label { name: "code", values: &[] };
const VERSION: Label = Label { name: "version", values: &[env!("CARGO_PKG_VERSION")] };

/// The `route` of requests that no route takes.
pub const ROUTE_UNMATCHED: &str = "unmatched";

/// From a memory copy to a stalled disk, in seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Powers of four up to twice the largest batch.
const EVENTS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, $labels:expr, $help:literal;)+) => {
        $(pub const $constant: Metric = Metric { name: $name, kind: $kind, help: $help, labels: $labels };)+

        /// Every metric, in the order of an event's path.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

use MetricKind::{Counter, Gauge, Histogram};

metrics! {
    INGEST_BATCHES_TOTAL = "tidemark_ingest_batches_total", Counter, &[],
        "Requests or file blocks with at least one event.";
    INGEST_BYTES_TOTAL = "tidemark_ingest_bytes_total", Counter, &[],
        "Bytes of events as received, compressed when they came compressed.";
    INGEST_EVENTS_TOTAL = "tidemark_ingest_events_total", Counter, &[FATES],
        "Events by their fate at commit; the sum over all fates is what was received.";
    INGEST_TO_COMMIT_SECONDS = "tidemark_ingest_to_commit_seconds", Histogram(SECONDS), &[],
        "From the receipt of a batch to its durable commit.";
    BATCH_EVENTS = "tidemark_batch_events", Histogram(EVENTS), &[],
        "Events that share one commit.";
    COMMIT_SECONDS = "tidemark_commit_seconds", Histogram(SECONDS), &[],
        "Duration of one durable commit.";
    CHANNEL_DEPTH = "tidemark_channel_depth", Gauge, &[CHANNELS],
        "Entries waiting in a bounded channel.";
    IDENTITIES = "tidemark_identities", Gauge, &[],
        "Events remembered for deduplication.";
    WATERMARK_TIMESTAMP_SECONDS = "tidemark_watermark_timestamp_seconds", Gauge, &[],
        "The watermark as seconds since 1970; time() less this is the lag in event time. 0 before the first event.";
    WINDOWS_OPEN = "tidemark_windows_open", Gauge, &[],
        "Windows with usage that is not reported yet.";
    WINDOWS_CLOSED_TOTAL = "tidemark_windows_closed_total", Counter, &[],
        "Windows made final.";
    ADJUSTMENTS_TOTAL = "tidemark_adjustments_total", Counter, &[],
        "Revisions of closed windows, because of late events.";
    RATED_LINES_TOTAL = "tidemark_rated_lines_total", Counter, &[],
        "Rated summaries written to the outbox.";
    JOURNAL_ENTRIES_TOTAL = "tidemark_journal_entries_total", Counter, &[],
        "Journal entries written to the outbox.";
    OUTBOX_PENDING = "tidemark_outbox_pending", Gauge, &[DESTINATIONS],
        "Outbox rows without a receipt.";
    DELIVERIES_TOTAL = "tidemark_deliveries_total", Counter, &[DESTINATIONS, OUTCOMES],
        "Attempts to deliver an outbox row, by what came of them; a destination that fetches its rows answers each once.";
    OUTBOX_OLDEST_TIMESTAMP_SECONDS = "tidemark_outbox_oldest_timestamp_seconds", Gauge, &[DESTINATIONS],
        "Since when the oldest outbox row without a receipt has been the oldest, as seconds since 1970, at most since the start; 0 when none waits, or the destination fetches its rows.";
    DELIVERY_BREAKER_STATE = "tidemark_delivery_breaker_state", Gauge, &[DESTINATIONS],
        "0 while rows flow (closed), 1 while one row is tried (half-open), 2 while the destination fails as a whole and nothing is sent (open).";
    EXCEPTIONS_OPEN = "tidemark_exceptions_open", Gauge, &[],
        "Exceptions that wait for someone.";
    ACCEPTED_LOSS_EVENTS = "tidemark_accepted_loss_events", Gauge, &[],
        "Acknowledged events that were missing at a start with --accept-loss, since the data folder was made.";
    CATALOG_CHANGE_ACCEPTED = "tidemark_catalog_change_accepted", Gauge, &[],
        "1 while the catalog in force is the folder's, 0 while a change in the folder is refused.";
    CATALOG_IN_FORCE_TIMESTAMP_SECONDS = "tidemark_catalog_in_force_timestamp_seconds", Gauge, &[],
        "Since when this process has the catalog in force, as seconds since 1970.";
    PARTITION_POISONED = "tidemark_partition_poisoned", Gauge, &[],
        "1 when the partition stopped after a failed commit and takes nothing more.";
    HTTP_REQUESTS_TOTAL = "tidemark_http_requests_total", Counter, &[ROUTE, CODE],
        "HTTP requests answered, by route and status code.";
    HTTP_REQUEST_SECONDS = "tidemark_http_request_seconds", Histogram(SECONDS), &[ROUTE],
        "From the end of a request's headers to its answer; long polls include their wait.";
    BUILD_INFO = "tidemark_build_info", Gauge, &[VERSION],
        "Always 1; the labels say what is running.";
}

/// A route and the status codes that it may answer.
pub type RouteCodes = (&'static str, &'static [u16]);

/// Installs the process's recorder with every metric described and at zero. The handle renders the text. Its
/// `run_upkeep` must be called now and then: until it is, or until someone reads the text, every value of every
/// histogram is kept.
///
/// # Errors
/// When the process has a recorder already.
pub fn install(routes: &[RouteCodes]) -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder(routes)?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    Ok(handle)
}

/// A recorder of one's own, complete like the installed one.
///
/// # Errors
/// When a histogram has no buckets.
pub fn recorder(routes: &[RouteCodes]) -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), buckets)?;
        }
    }
    let recorder = builder.build_recorder();
    with_local_recorder(&recorder, || {
        for metric in ALL {
            describe(metric);
            for labels in label_sets(metric, routes) {
                start_at_zero(metric, labels);
            }
        }
        gauge!(BUILD_INFO.name, VERSION.name => VERSION.values[0]).set(1.0);
    });
    Ok(recorder)
}

fn describe(metric: &Metric) {
    match metric.kind {
        Counter => describe_counter!(metric.name, metric.help),
        Gauge => describe_gauge!(metric.name, metric.help),
        Histogram(_) => describe_histogram!(metric.name, metric.help),
    }
}

type LabelSet = Vec<(&'static str, String)>;

fn start_at_zero(metric: &Metric, labels: LabelSet) {
    match metric.kind {
        Counter => counter!(metric.name, &labels).absolute(0),
        Gauge => gauge!(metric.name, &labels).set(0.0),
        // Registering it is enough: its count and buckets are then rendered as 0.
        Histogram(_) => drop(histogram!(metric.name, &labels)),
    }
}

fn label_sets(metric: &Metric, routes: &[RouteCodes]) -> Vec<LabelSet> {
    let of_route = |(route, codes): &RouteCodes| -> Vec<LabelSet> {
        let route = (ROUTE.name, (*route).to_owned());
        if !metric.labels.contains(&CODE) {
            return vec![vec![route]];
        }
        codes.iter().map(|code| vec![route.clone(), (CODE.name, code.to_string())]).collect()
    };
    if metric.labels.contains(&ROUTE) {
        return routes.iter().flat_map(of_route).collect();
    }
    let mut sets = vec![LabelSet::new()];
    for label in metric.labels {
        sets = sets
            .iter()
            .flat_map(|set| {
                label.values.iter().map(|value| {
                    let mut longer = set.clone();
                    longer.push((label.name, (*value).to_owned()));
                    longer
                })
            })
            .collect();
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[RouteCodes] = &[("/v1/events", &[200, 429]), (ROUTE_UNMATCHED, &[404])];

    #[test]
    fn every_metric_and_every_label_set_is_rendered_from_the_start() {
        let text = recorder(ROUTES).expect("buckets are given").handle().render();
        for metric in ALL {
            let name = metric.name;
            let kind = match metric.kind {
                Counter => "counter",
                Gauge => "gauge",
                Histogram(_) => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} has no type in\n{text}");
            assert!(
                text.contains(&format!("# HELP {name} {}\n", metric.help)),
                "{name} has no help in\n{text}"
            );
            for set in label_sets(metric, ROUTES) {
                for (label, value) in set {
                    assert!(text.contains(&format!("{label}=\"{value}\"")), "{name} lacks {label}={value}");
                }
            }
            let samples = text.lines().filter(|line| line.starts_with(name)).count();
            assert!(samples >= label_sets(metric, ROUTES).len(), "{name} has {samples} samples");
        }
        assert!(text.contains("tidemark_http_requests_total{route=\"/v1/events\",code=\"429\"} 0"), "{text}");
        assert!(
            text.contains("tidemark_deliveries_total{destination=\"erp\",outcome=\"refused\"} 0"),
            "{text}"
        );
        assert!(text.contains("tidemark_commit_seconds_bucket{le=\"+Inf\"} 0"), "{text}");
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for metric in ALL {
            let name = metric.name;
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("tidemark_") && name.chars().all(plain), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Counter,
                "{name}: counters, and only they, end in _total"
            );
            for label in metric.labels {
                assert!(
                    !["tenant", "customer", "meter"].contains(&label.name),
                    "{name} is labelled by {}",
                    label.name
                );
            }
            if let Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted() && !buckets.is_empty(), "{name}");
            }
        }
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name is listed twice");
    }
}
