//! Version 1 of every record that leaves the processor, as JSON.
//!
//! Numbers that money depends on are strings, so that no reader turns them into binary floats. Times are
//! RFC 3339 in UTC. `schema` names record and version. Members marked `x-sensitivity: financial` are
//! amounts, prices and accounts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exception;
use crate::posting;
use crate::receipt;
use crate::summary;

/// Half-open `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// First instant inside.
    pub start: String,
    /// First instant after.
    pub end: String,
}

impl From<summary::Span> for Span {
    fn from(span: summary::Span) -> Self {
        Self { start: span.start.to_string(), end: span.end.to_string() }
    }
}

/// Which events a summary covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Number of events.
    pub events: u64,
    /// Wrapping sum of the events' keyed 128-bit digests, 32 hex digits.
    pub digest: String,
}

impl From<summary::Evidence> for Evidence {
    fn from(evidence: summary::Evidence) -> Self {
        Self { events: evidence.events, digest: format!("{:032x}", evidence.digest) }
    }
}

/// The usage of one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSummary {
    pub tenant: String,
    pub customer: String,
    pub subscription: String,
    pub meter: String,
    pub unit: String,
    pub dimensions: BTreeMap<String, String>,
    pub window: Span,
    /// The billing period that the window is in.
    pub period: Span,
    /// 1 when the window closed; each adjustment adds one.
    pub revision: u32,
    /// Total of the window at this revision, a decimal.
    pub quantity: String,
    /// This revision's quantity less the one before, a decimal.
    pub quantity_delta: String,
    pub evidence: Evidence,
    /// Hash of the catalog that decided.
    pub catalog_version: String,
}

impl From<&summary::UsageSummary> for UsageSummary {
    fn from(summary: &summary::UsageSummary) -> Self {
        Self {
            tenant: summary.tenant.to_string(),
            customer: summary.customer.to_string(),
            subscription: summary.subscription.to_string(),
            meter: summary.meter.to_string(),
            unit: summary.unit.clone(),
            dimensions: summary.dimensions.iter().cloned().collect(),
            window: summary.window.into(),
            period: summary.period.into(),
            revision: summary.revision,
            quantity: summary.quantity.to_string(),
            quantity_delta: summary.quantity_delta.to_string(),
            evidence: summary.evidence.into(),
            catalog_version: summary.catalog_version.to_string(),
        }
    }
}

/// `tidemark.rated_summary.v1`: one line for billing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RatedSummary {
    pub schema: String,
    /// Function of content: the idempotency key.
    pub id: String,
    /// Whom billing charges.
    pub billing_subscriber: String,
    pub legal_entity: String,
    pub summary: UsageSummary,
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub rate_card: String,
    pub rate_card_version: String,
    /// `per_unit`, `graduated`, `volume` or `package`.
    pub price_kind: String,
    /// Quantity of the billing period before this line, a decimal.
    pub cumulative_before: String,
    /// Quantity of the billing period after this line, a decimal.
    pub cumulative_after: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Integer count of the currency's minor unit; lines of a period add up to the price of its total.
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub amount_minor: String,
    /// The same amount as a decimal of the currency unit.
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub amount: String,
    /// The step of the price function before rounding, a decimal.
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub amount_unrounded: String,
}

impl RatedSummary {
    pub const SCHEMA: &str = "tidemark.rated_summary.v1";
}

impl From<&summary::RatedSummary> for RatedSummary {
    fn from(rated: &summary::RatedSummary) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            id: rated.id.to_string(),
            billing_subscriber: rated.billing_subscriber.clone(),
            legal_entity: rated.legal_entity.to_string(),
            summary: (&rated.summary).into(),
            rate_card: rated.rate_card.to_string(),
            rate_card_version: rated.rate_card_version.clone(),
            price_kind: rated.price_kind.into(),
            cumulative_before: rated.cumulative_before.to_string(),
            cumulative_after: rated.cumulative_after.to_string(),
            currency: rated.amount.currency.to_string(),
            amount_minor: rated.amount.minor.to_string(),
            amount: rated.amount.amount().to_string(),
            amount_unrounded: rated.amount_unrounded.to_string(),
        }
    }
}

/// One side of a journal entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalLine {
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub account: String,
    /// The ERP's party, on the receivable side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debtor: Option<String>,
    /// The accounting period the usage belongs to, `YYYY-MM`; differs from the entry's when that one was closed.
    pub service_period: String,
    /// Minor units debited; `0` on a credit line.
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub debit_minor: String,
    /// Minor units credited; `0` on a debit line.
    #[schemars(extend("x-sensitivity" = "financial"))]
    pub credit_minor: String,
}

/// `tidemark.journal_entry.v1`: one balanced entry for the ERP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    pub schema: String,
    /// Function of content: the idempotency key.
    pub id: String,
    pub legal_entity: String,
    pub currency: String,
    /// Fractional digits of the currency's minor unit.
    pub minor_digits: u32,
    /// The open period it is booked in, `YYYY-MM`.
    pub accounting_period: String,
    pub posting_rule: String,
    /// Counts the entries of entity, currency, period and rule from 1.
    pub number: u64,
    /// How many rated lines it sums.
    pub rated_lines: u64,
    /// Debits equal credits.
    pub lines: Vec<JournalLine>,
}

impl JournalEntry {
    pub const SCHEMA: &str = "tidemark.journal_entry.v1";
}

impl From<&posting::JournalEntry> for JournalEntry {
    fn from(entry: &posting::JournalEntry) -> Self {
        let line = |(key, minor): (&posting::LineKey, i128)| JournalLine {
            account: key.account.to_string(),
            debtor: key.debtor.clone(),
            service_period: key.service_period.to_string(),
            debit_minor: minor.max(0).to_string(),
            credit_minor: if minor < 0 { minor.unsigned_abs().to_string() } else { "0".into() },
        };
        Self {
            schema: Self::SCHEMA.into(),
            id: entry.id.to_string(),
            legal_entity: entry.group.legal_entity.to_string(),
            currency: entry.group.currency.to_string(),
            minor_digits: entry.group.currency.minor_digits(),
            accounting_period: entry.group.accounting_period.to_string(),
            posting_rule: entry.group.rule.to_string(),
            number: entry.number,
            rated_lines: entry.rated_lines,
            lines: entry.amounts.lines().map(line).collect(),
        }
    }
}

/// What is known of an event that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventRef {
    pub source: String,
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub subject: String,
    pub time: String,
}

/// A person's decision to close an exception without counting it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dismissal {
    /// The API key's id, or the operating system's user.
    pub by: String,
    pub at: String,
    pub reason: String,
}

/// `tidemark.exception.v1`: usage that waits or a record that was refused, with its context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExceptionRecord {
    pub schema: String,
    pub id: String,
    /// `malformed`, `conflict`, `unknown_meter`, `unmapped_subject`, `missing_contract`, `missing_price`,
    /// `refused_value`, `cardinality_exceeded`, `bad_clock`, `too_late`, `unratable`, `refused_by_billing` or
    /// `refused_by_erp`.
    pub kind: String,
    /// `open`, `resolved` (a replay has counted it) or `dismissed` (a person has closed it without counting it).
    pub status: String,
    /// The role that can resolve it.
    pub owner: String,
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// `*` when it concerns several tenants.
    pub tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Id of the rated summary or journal entry that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventRef>,
    pub received_at: String,
    /// File and line, API key, topic and offset, or the destination that refused it.
    pub origin: String,
    /// The event as it came, or the record as it was sent, cut at 64 KiB; bytes that are no UTF-8 are shown as U+FFFD.
    pub payload: String,
    /// The event as it came, base64, when it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Present when the status is `dismissed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dismissal: Option<Dismissal>,
}

impl ExceptionRecord {
    pub const SCHEMA: &str = "tidemark.exception.v1";
}

impl From<&exception::ExceptionRecord> for ExceptionRecord {
    fn from(record: &exception::ExceptionRecord) -> Self {
        let event = record.event.as_ref().map(|event| EventRef {
            source: event.source.clone(),
            id: event.id.clone(),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            time: event.time.to_string(),
        });
        let payload = String::from_utf8_lossy(&record.payload).into_owned();
        let lossy = payload.as_bytes() != record.payload;
        Self {
            schema: Self::SCHEMA.into(),
            id: record.id.to_string(),
            kind: record.kind.name().into(),
            status: record.status.name().into(),
            owner: record.kind.owner().into(),
            reason: record.reason.clone(),
            remedy: record.kind.remedy().into(),
            tenant: record.tenant.to_string(),
            meter: record.meter.as_ref().map(ToString::to_string),
            customer: record.customer.as_ref().map(ToString::to_string),
            record: None,
            event,
            received_at: record.received_at.to_string(),
            origin: record.origin.clone(),
            payload,
            payload_base64: lossy
                .then(|| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &record.payload)),
            dismissal: None,
        }
    }
}

/// `tidemark.receipt.v1`: what a destination answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    pub schema: String,
    /// `billing` or `erp`.
    pub destination: String,
    /// Id of the record that was delivered.
    pub record: String,
    /// `accepted` or `refused`.
    pub outcome: String,
    /// The other side's own name for it, when accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why not, when refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: String,
}

impl Receipt {
    pub const SCHEMA: &str = "tidemark.receipt.v1";
    /// The outcomes.
    pub const ACCEPTED: &str = "accepted";
    pub const REFUSED: &str = "refused";
}

impl From<&receipt::Receipt> for Receipt {
    fn from(receipt: &receipt::Receipt) -> Self {
        let (outcome, reference, reason) = match &receipt.outcome {
            receipt::Outcome::Accepted { reference } => (Self::ACCEPTED, Some(reference.clone()), None),
            receipt::Outcome::Refused { reason } => (Self::REFUSED, None, Some(reason.clone())),
        };
        Self {
            schema: Self::SCHEMA.into(),
            destination: receipt.destination.to_string(),
            record: receipt.record.to_string(),
            outcome: outcome.into(),
            reference,
            reason,
            at: receipt.at.to_string(),
        }
    }
}

/// One line, no trailing newline: the bytes that are stored, sent and signed.
///
/// Members come in the order of declaration and maps are ordered, so equal records have equal bytes (I-5).
#[must_use]
pub fn to_bytes<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("wire records have string keys and no floats, so they always serialize")
}

/// The JSON Schemas of this version by record name, as checked in under `schemas/json/`.
#[must_use]
pub fn json_schemas() -> Vec<(&'static str, serde_json::Value)> {
    fn schema<T: JsonSchema>() -> serde_json::Value {
        schemars::schema_for!(T).to_value()
    }
    vec![
        (RatedSummary::SCHEMA, schema::<RatedSummary>()),
        (JournalEntry::SCHEMA, schema::<JournalEntry>()),
        (ExceptionRecord::SCHEMA, schema::<ExceptionRecord>()),
        (Receipt::SCHEMA, schema::<Receipt>()),
    ]
}
