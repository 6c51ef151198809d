//! What does the HTTP edge ask of the product? One trait, with typed answers that serialize as they are documented.
//!
//! Keeps: an answer to [`Metering::submit`] is given after the commit, never before. Quantities and amounts are
//! decimal strings. Every list has a bound that the caller chose and the route capped.
//! Deliberately absent: how any of it is found. The wiring implements the trait; tests have one in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::limits::ATTRIBUTE_BYTES_MAX;
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1;
use tokio::sync::watch;

use super::auth::Caller;
use crate::config::Scope;

/// A replay or a dismissal is one commit; a thousand exceptions keep it short.
pub const IDS_MAX: usize = 1_000;

/// Names shown in a refusal: enough to see a misspelling, not the whole list of customers.
const NAMES_SHOWN_MAX: usize = 20;

/// An answer that may have to wait for a disk.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send>>;

pub trait Metering: Send + Sync + 'static {
    /// The fate of each event, in the order given, once that fate is durable. Events are structured-mode JSON as
    /// received: each may be anything, and one that is no event is that one's rejection.
    /// An error means that nothing of the request is known to be stored; sending it again is always safe.
    fn submit(&self, caller: &Caller, events: Vec<Bytes>) -> Pending<Vec<Fate>>;

    /// Whether events would be taken now, and under which catalog; the error says why not.
    fn ready(&self) -> Result<Readiness, String>;

    /// Rated summaries of the scope with a sequence above `after`, ascending, at most `limit`. Unknown is an `after`
    /// beyond the newest of all.
    fn rated_after(&self, scope: &Scope, after: u64, limit: usize)
    -> Pending<Result<Vec<RatedRow>, Unknown>>;

    /// Changes whenever a rated summary is added, for readers that wait.
    fn rated_changes(&self) -> watch::Receiver<u64>;

    /// Commits what billing answered. Each acknowledgement has its own result, in the order given.
    fn acknowledge(
        &self,
        caller: &Caller,
        answers: Vec<Acknowledgement>,
    ) -> Pending<Vec<AcknowledgementResult>>;

    /// Newest first.
    fn exceptions(&self, scope: &Scope, filter: ExceptionFilter) -> Pending<Result<ExceptionPage, Unknown>>;

    fn exception(&self, scope: &Scope, id: &str) -> Pending<Option<v1::ExceptionRecord>>;

    /// Books again what waits, and says what became of it.
    fn replay(&self, caller: &Caller, selection: ReplaySelection) -> Pending<ReplayReport>;

    /// Closes exceptions without counting them, and says which of them it did not find or not find open.
    fn dismiss(&self, caller: &Caller, selection: DismissSelection) -> Pending<DismissReport>;

    fn usage(&self, scope: &Scope, filter: UsageFilter) -> Pending<Result<UsagePage, Unknown>>;

    /// From an event to the journal entries it is in.
    fn trace_event(&self, scope: &Scope, source: &str, id: &str) -> Pending<Option<EventTrace>>;

    /// From a journal entry to the rated summaries behind it.
    fn trace_posting(&self, scope: &Scope, id: &str) -> Pending<Option<PostingTrace>>;

    fn reconciliation(&self, scope: &Scope) -> Pending<Reconciliation>;

    /// Prometheus text of every metric.
    fn metrics(&self) -> String;
}

/// Why the product cannot answer now. The edge turns it into 429 or 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// A bounded queue is full.
    #[error("the queue is full; send the same request again after the time given in Retry-After")]
    Busy { retry_after: Duration },
    /// Starting, recovering, or moving away.
    #[error("not ready: {why}; send the same request again later")]
    NotReady { why: String },
    /// Stopped rather than guess; a person must look.
    #[error("stopped: {why}; keep the request and send it again once an operator has restarted the service")]
    Stopped { why: String },
}

/// The question names something that is not there; the text says which, and what is allowed. The edge turns it into 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

impl Unknown {
    /// `name`, given as the parameter `parameter`, is none of `all`, which is shown in part when it is long.
    pub fn name<'a>(parameter: &str, name: &str, are: &str, mut all: impl Iterator<Item = &'a str>) -> Self {
        let shown: Vec<_> = all.by_ref().take(NAMES_SHOWN_MAX).collect();
        let more = if all.next().is_some() { ", …" } else { "" };
        let name = name.chars().take(100).collect::<String>();
        Self(format!("{parameter}: there is no `{name}`; {are} [{}{more}]", shown.join(", ")))
    }
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The event's `id`, when it has a readable one.
    pub id: Option<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Counted, by every meter that reads it but these.
    Accepted { refused_by: Vec<MeterRefusal> },
    /// Seen before with the same content: it stays as the first one is, counted or waiting.
    Duplicate,
    /// Seen before with other content: the first one stands, this one waits for a person.
    Conflict { reason: String },
    /// No valid event; kept as an exception, but only the producer can correct it.
    Rejected { code: &'static str, path: String, reason: String },
    /// Valid, but the catalog does not say yet what it is worth: it waits and can be replayed.
    Waiting { kind: ExceptionKind, reason: String },
}

/// Under which catalog events are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Readiness {
    /// Version of the catalog in force.
    pub catalog: String,
    /// Since when this process has it in force, RFC 3339.
    pub catalog_since: String,
    /// The folder was changed and the change refused; the log says why.
    pub catalog_change_refused: bool,
}

/// A meter that could not take an event which others have counted. Its part waits as an exception of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MeterRefusal {
    pub meter: String,
    /// The kind of exception: `refused_value`, `missing_price` or `cardinality_exceeded`.
    pub code: String,
    /// What is wrong, for a person.
    pub reason: String,
    /// Id of the exception.
    pub exception: String,
}

/// A rated summary as stored, with its position in billing's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatedRow {
    pub sequence: u64,
    /// JSON of `tidemark.rated_summary.v1`.
    pub wire: Vec<u8>,
}

/// What billing says about one rated summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Id of the rated summary.
    pub record: String,
    pub outcome: AcknowledgementOutcome,
    /// Billing's own name for it, when accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why not; required when refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AcknowledgementOutcome {
    Accepted,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AcknowledgementResult {
    pub record: String,
    pub status: AcknowledgementStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AcknowledgementStatus {
    Committed,
    /// The same answer was committed before.
    Again,
    /// No rated summary with this id waits for an answer in the caller's scope.
    Unknown,
    /// Another answer was committed before; it stands until the record's exception is replayed.
    Contradicts,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ExceptionFilter {
    pub kind: Option<ExceptionKind>,
    pub status: Option<ExceptionStatus>,
    /// Only those received at or after this.
    pub since: Option<EventTime>,
    /// Id of the last exception of the page before.
    pub after: Option<String>,
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExceptionPage {
    pub items: Vec<v1::ExceptionRecord>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which exceptions to replay: those named, or all open ones of a kind. Exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaySelection {
    /// Ids of exceptions, at most 1,000.
    #[serde(default)]
    pub ids: Vec<String>,
    #[serde(default)]
    pub kind: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReplayReport {
    /// Exceptions that the selection found open and replayable.
    pub selected: u64,
    /// Counted now.
    pub resolved: u64,
    /// Still waiting, with a reason in each exception.
    pub waiting: u64,
    /// Refused records that are sent again; each exception is resolved when its record is accepted.
    pub resent: u64,
    /// Ids that were asked for and are of no exception in the key's scope.
    pub unknown: Vec<String>,
}

/// Which exceptions a person closes without counting them, and why.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DismissSelection {
    /// Ids of exceptions, 1 to 1,000.
    pub ids: Vec<String>,
    /// What became of them, for whoever asks later; 1 to 1,024 bytes.
    pub reason: String,
}

impl DismissSelection {
    /// # Errors
    /// What is wrong, for a person.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=IDS_MAX).contains(&self.ids.len()) {
            return Err(format!("{} ids; allowed are 1 to {IDS_MAX}", self.ids.len()));
        }
        let reason = self.reason.trim();
        if reason.is_empty() || reason.len() > ATTRIBUTE_BYTES_MAX {
            let allowed = format!("allowed are 1 to {ATTRIBUTE_BYTES_MAX} bytes");
            return Err(format!("the reason has {} bytes without spaces around it; {allowed}", reason.len()));
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct DismissReport {
    /// Closed now.
    pub dismissed: u64,
    /// Ids that were resolved or dismissed before; they stay as they are.
    pub not_open: Vec<String>,
    /// Ids of no exception in the key's scope.
    pub unknown: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UsageFilter {
    pub customer: Option<String>,
    pub meter: Option<String>,
    /// Names of dimensions; each distinct tuple of their values is a row.
    pub group_by: Vec<String>,
    /// Only windows that start at or after this.
    pub from: Option<EventTime>,
    /// Only windows that start before this.
    pub to: Option<EventTime>,
    /// The `next` of the page before.
    pub after: Option<String>,
    pub limit: usize,
}

/// Rows by tenant, customer, meter, dimensions and billing period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsagePage {
    pub items: Vec<UsageRow>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Usage of one billing period so far: windows still open and windows closed, adjustments included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageRow {
    pub tenant: String,
    pub customer: String,
    pub meter: String,
    /// The billing period that the windows are in.
    pub period: v1::Span,
    /// Values of the dimensions asked for; empty without `group_by`.
    pub dimensions: BTreeMap<String, String>,
    /// A decimal.
    pub quantity: String,
    pub events: u64,
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EventTrace {
    pub source: String,
    pub id: String,
    /// `counted`, `waiting` or `dismissed`.
    pub fate: String,
    /// The archive file that holds it; absent while it is in the store only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_in: Option<String>,
    /// The event as it was received.
    pub event: String,
    /// One entry per window that the event changed.
    pub usage: Vec<TracedUsage>,
    pub exceptions: Vec<v1::ExceptionRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TracedUsage {
    pub customer: String,
    pub meter: String,
    pub window: v1::Span,
    /// `open` or `closed`.
    pub state: String,
    pub rated: Vec<v1::RatedSummary>,
    pub journal_entries: Vec<v1::JournalEntry>,
    pub receipts: Vec<v1::Receipt>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PostingTrace {
    pub journal_entry: v1::JournalEntry,
    pub rated: Vec<v1::RatedSummary>,
    pub receipts: Vec<v1::Receipt>,
    /// The first of the archived events behind the rated summaries.
    pub events: Vec<TracedEvent>,
    /// How many there are in all.
    pub events_total: u64,
    /// Whether the archived events are exactly those that the windows counted, by number and digest. Absent without
    /// an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_matches: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TracedEvent {
    pub source: String,
    pub id: String,
    pub time: String,
}

/// Three totals that must tie out: counted, billed, booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reconciliation {
    /// All checks tie out.
    pub ties_out: bool,
    pub checks: Vec<ReconciliationCheck>,
    /// For an operator: acknowledged events that are gone, which no check can see any more.
    pub accepted_losses: Vec<AcceptedLoss>,
}

/// Acknowledged commits were missing at a start, and an operator accepted that with `--accept-loss`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AcceptedLoss {
    /// RFC 3339.
    pub accepted_at: String,
    pub commits: u64,
    pub events: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReconciliationCheck {
    /// What is compared, such as `rated = billed`.
    pub name: String,
    /// What is counted, `events` or `files`; or the ISO 4217 code of the currency that the amounts are in.
    pub unit: String,
    /// An integer; for amounts a decimal of the currency's unit with all its digits, such as `130.69`.
    pub left: String,
    /// As `left`.
    pub right: String,
    /// Left less right; `0` when it ties out.
    pub difference: String,
    /// Known and allowed part of the difference: what is on its way.
    pub in_flight: String,
    pub ties_out: bool,
    /// For amounts: the same four as integers of the currency's minor unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor_units: Option<MinorUnits>,
    /// What the check looked at, or leaves out, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Amounts as integers, for programs that add them up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MinorUnits {
    /// ISO 4217 code.
    pub currency: String,
    /// Fractional digits of the currency's minor unit: 2 for USD, whose minor unit is the cent.
    pub minor_digits: u32,
    pub left_minor: String,
    pub right_minor: String,
    pub difference_minor: String,
    pub in_flight_minor: String,
}
