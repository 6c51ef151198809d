//! What came out of a run? One table for a person and one JSON file for a program, from the same value.
//!
//! The JSON is `tidemark.load_report.v1`: members may be added, never removed or given another meaning.
//! All numbers are integers; times carry their unit in the name.

use std::io;
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::compare::Difference;
use crate::http::{Load, Outcome};
use crate::ledger::Total;
use crate::units::Rate;

/// On the screen; the JSON has all of them.
const FINDINGS_SHOWN: usize = 20;

pub const SCHEMA: &str = "tidemark.load_report.v1";

/// `tidemark.load_report.v1`
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    /// `http` or `crash`.
    pub scenario: &'static str,
    pub run: Run,
    /// From the start to the last answer, milliseconds.
    pub elapsed_ms: u64,
    /// Events answered, re-sends included, per second of `elapsed_ms`.
    pub events_per_second: u64,
    /// Bytes of request bodies, attempts included, per second of `elapsed_ms`.
    pub bytes_per_second: u64,
    pub batches: Batches,
    pub attempts: Attempts,
    pub events: Events,
    /// From when a batch was due to its answer; an unanswered batch counts with its age at the end.
    pub latency_us: Percentiles,
    /// From when the answered attempt was sent to its answer. Leaves the queue out: not what producers feel.
    pub service_us: Percentiles,
    /// Only of the scenario `crash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
    /// Broken promises, each one sentence. Empty: the run passed.
    pub findings: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub url: String,
    pub run_id: String,
    pub seed: u64,
    /// Events per second, or `null` when the run was closed-loop.
    pub rate: Option<u64>,
    pub batch_events: u64,
    pub connections: usize,
    pub duration_ms: u64,
}

/// Every batch that was due is in exactly one of the last four.
#[derive(Clone, Debug, Serialize)]
pub struct Batches {
    pub due: u64,
    pub answered: u64,
    /// Answered with 429 to the end.
    pub shed: u64,
    /// Sent, never answered.
    pub unknown: u64,
    /// Never sent: the product was too slow for this rate and number of connections.
    pub unsent: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Attempts {
    pub sent: u64,
    /// Answered with 429.
    pub shed: u64,
    /// Answered with 408 or 5xx.
    pub unavailable: u64,
    /// Connection refused, cut or timed out.
    pub unanswered: u64,
}

/// `answered` is the sum of the five that follow.
#[derive(Clone, Debug, Serialize)]
pub struct Events {
    pub answered: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub rejected: u64,
    pub exceptions: u64,
    /// Different events in the ledger.
    pub acknowledged: u64,
    /// Sum of their values, decimal digits.
    pub acknowledged_quantity: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    pub kills: u64,
    /// Of these, before the server said that it was ready.
    pub kills_while_starting: u64,
    /// From start to ready.
    pub restart_ms: Percentiles,
    /// The product's own total after the last restart.
    pub counted: u64,
    pub counted_quantity: String,
    /// Customers whose totals differ from the ledger.
    pub differences: u64,
}

impl Percentiles {
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }
}

impl Report {
    /// What `outcome` has shown, with the promises that it shows broken.
    #[must_use]
    pub fn new(
        scenario: &'static str,
        run_id: &str,
        seed: u64,
        load: &Load,
        outcome: &Outcome,
        acknowledged: Total,
    ) -> Self {
        let (tally, answers) = (&outcome.tally, &outcome.tally.answers);
        let elapsed_ms = u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX);
        let per_second = |count: u64| count.saturating_mul(1_000) / elapsed_ms.max(1);
        let mut report = Self {
            schema: SCHEMA,
            scenario,
            run: Run {
                url: load.product.url().into(),
                run_id: run_id.into(),
                seed,
                rate: match load.rate {
                    Rate::EventsPerSecond(rate) => Some(rate),
                    Rate::Max => None,
                },
                batch_events: load.batch_events,
                connections: load.connections,
                duration_ms: u64::try_from(load.duration.as_millis()).unwrap_or(u64::MAX),
            },
            elapsed_ms,
            events_per_second: per_second(answers.received),
            bytes_per_second: per_second(tally.bytes),
            batches: Batches {
                due: tally.batches_due(),
                answered: tally.batches_answered,
                shed: tally.batches_shed,
                unknown: tally.batches_unknown,
                unsent: tally.batches_unsent,
            },
            attempts: Attempts {
                sent: tally.attempts,
                shed: tally.shed,
                unavailable: tally.unavailable,
                unanswered: tally.unanswered,
            },
            events: Events {
                answered: answers.received,
                accepted: answers.accepted,
                duplicate: answers.duplicate,
                conflict: answers.conflict,
                rejected: answers.rejected,
                exceptions: answers.exceptions,
                acknowledged: acknowledged.events,
                acknowledged_quantity: acknowledged.quantity.to_string(),
            },
            latency_us: Percentiles::of(&outcome.latency_us),
            service_us: Percentiles::of(&outcome.service_us),
            crash: None,
            findings: Vec::new(),
        };
        report.find(&tally.samples);
        report
    }

    fn find(&mut self, samples: &[String]) {
        let events = &self.events;
        let refused = events.conflict + events.rejected + events.exceptions;
        if refused > 0 {
            self.findings.push(format!(
                "{refused} events of ours were not accepted (conflict {}, rejected {}, exceptions {}): {}",
                events.conflict,
                events.rejected,
                events.exceptions,
                samples.join("; ")
            ));
        }
        if events.accepted > events.acknowledged {
            self.findings.push(format!(
                "{} events were accepted more than once: an answer of `accepted` belongs to the first time only",
                events.accepted - events.acknowledged
            ));
        }
    }

    /// Adds what the comparison of the crash scenario has shown.
    pub fn compared(&mut self, crash: Crash, differences: &[Difference]) {
        self.findings.extend(differences.iter().map(ToString::to_string));
        self.crash = Some(crash);
    }

    /// After a crash run the server is up again, so that every batch must come to an answer.
    pub fn find_unfinished(&mut self) {
        let Batches { due, answered, shed, unknown, unsent } = self.batches;
        if due > answered {
            self.findings.push(format!(
                "{} of {due} batches were not answered by the end (shed {shed}, unknown {unknown}, unsent {unsent}): \
                 give --drain more time, or the server does not recover",
                due - answered
            ));
        }
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        json.push(b'\n');
        std::fs::write(path, json)
    }

    /// The table for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let rate =
            self.run.rate.map_or("max, closed loop".into(), |rate| format!("{rate} events/s, open loop"));
        let (batches, attempts, events) = (&self.batches, &self.attempts, &self.events);
        let mut lines = vec![
            format!("{} {} (run {}, seed {})", self.scenario, self.run.url, self.run.run_id, self.run.seed),
            format!(
                "offered    {rate}, {} connections, batches of {}",
                self.run.connections, self.run.batch_events
            ),
            format!(
                "answered   {} events in {} ms: {} events/s, {} bytes/s",
                events.answered, self.elapsed_ms, self.events_per_second, self.bytes_per_second
            ),
            format!(
                "batches    due {}  answered {}  shed {}  unknown {}  unsent {}",
                batches.due, batches.answered, batches.shed, batches.unknown, batches.unsent
            ),
            format!(
                "attempts   sent {}  shed (429) {}  unavailable (5xx) {}  unanswered {}",
                attempts.sent, attempts.shed, attempts.unavailable, attempts.unanswered
            ),
            format!(
                "events     accepted {}  duplicate {}  conflict {}  rejected {}  exceptions {}",
                events.accepted, events.duplicate, events.conflict, events.rejected, events.exceptions
            ),
            format!("ledger     {} events, quantity {}", events.acknowledged, events.acknowledged_quantity),
            percentile_line("latency us", &self.latency_us),
            percentile_line("service us", &self.service_us),
        ];
        if let Some(crash) = &self.crash {
            lines.push(format!(
                "crashes    {} kills, {} of them while starting",
                crash.kills, crash.kills_while_starting
            ));
            lines.push(percentile_line("restart ms", &crash.restart_ms));
            lines.push(format!(
                "product    {} events, quantity {}; customers that differ: {}",
                crash.counted, crash.counted_quantity, crash.differences
            ));
        }
        match self.findings.as_slice() {
            [] => lines.push("passed     no broken promise found".into()),
            findings => {
                lines.extend(
                    findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("BROKEN     {finding}")),
                );
                if findings.len() > FINDINGS_SHOWN {
                    lines.push(format!(
                        "BROKEN     and {} more: see --report",
                        findings.len() - FINDINGS_SHOWN
                    ));
                }
            }
        }
        lines.join("\n")
    }
}

fn percentile_line(name: &str, percentiles: &Percentiles) -> String {
    let Percentiles { p50, p90, p99, p999, max } = percentiles;
    format!("{name} p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}")
}
