//! How does billing pull rated summaries, and answer for them?
//!
//! Keeps: pages are in the order of billing's sequence, so a reader that stores `next` after storing the items
//! never misses one and may see one again, with the same bytes. An answer is given after its commit.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Request, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidemark_schemas::limits::ATTRIBUTE_BYTES_MAX;
use tokio::time::{Instant, sleep_until};

use super::Edge;
use super::auth::Caller;
use super::body;
use super::metering::{Acknowledgement, AcknowledgementOutcome, AcknowledgementResult, RatedRow};
use super::problem::{Kind, Problem};
use super::request::{self, Parameters};

/// About 1 KB each: a page stays near a megabyte.
const PAGE_ITEMS_MAX: usize = 1000;
const PAGE_ITEMS_DEFAULT: usize = 100;

/// Below the idle timeout of common proxies.
const WAIT_SECONDS_MAX: u64 = 30;

/// As many as ten full pages.
pub const RECEIPTS_MAX: usize = 10_000;

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct PageParameters {
    /// The `next` of the page before; 0 or absent starts at the oldest.
    after: Option<u64>,
    /// 1 to 1000, by default 100.
    limit: Option<usize>,
    /// Seconds to wait for the first item, 0 to 30, by default 0.
    wait: Option<u64>,
    /// Only this tenant; for keys of every tenant.
    tenant: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct RatedPage {
    pub items: Vec<RatedItem>,
    /// Give it as `after` for the next page.
    pub next: u64,
}

#[derive(Serialize, JsonSchema)]
pub struct RatedItem {
    pub cursor: u64,
    /// The record's stored bytes, unchanged.
    #[schemars(with = "tidemark_schemas::wire::v1::RatedSummary")]
    pub record: Box<RawValue>,
}

pub async fn page(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    Parameters(asked): Parameters<PageParameters>,
) -> Result<Json<RatedPage>, Problem> {
    let scope = caller.narrowed(asked.tenant.as_deref())?;
    let limit = request::limit(asked.limit, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX)?;
    let wait = asked.wait.unwrap_or(0);
    if wait > WAIT_SECONDS_MAX {
        let detail = format!("wait={wait}: allowed are 0 to {WAIT_SECONDS_MAX} seconds");
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    let after = asked.after.unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(wait);
    let mut changes = edge.metering.rated_changes();
    let mut closing = edge.closing.clone();
    loop {
        // Marked as seen before reading: a row added after the read changes it again.
        changes.mark_unchanged();
        let rows = edge.metering.rated_after(&scope, after, limit).await??;
        if !rows.is_empty() || wait == 0 {
            return Ok(Json(listed(rows, after)?));
        }
        let stopped = async { closing.wait_for(|closing| *closing).await.map(drop) };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            _ = stopped => break,
            () = sleep_until(deadline) => break,
        }
    }
    Ok(Json(RatedPage { items: Vec::new(), next: after }))
}

fn listed(rows: Vec<RatedRow>, after: u64) -> Result<RatedPage, Problem> {
    let next = rows.last().map_or(after, |row| row.sequence);
    let item = |row: RatedRow| {
        let sequence = row.sequence;
        let record = String::from_utf8(row.wire).ok().and_then(|text| RawValue::from_string(text).ok());
        let Some(record) = record else {
            tracing::error!(sequence, "a stored rated summary is no JSON; run `tidemark audit verify`");
            let detail = format!("the stored record {sequence} cannot be read; an operator has to look");
            return Err(Problem::new(Kind::Internal, detail));
        };
        Ok(RatedItem { cursor: sequence, record })
    };
    Ok(RatedPage { items: rows.into_iter().map(item).collect::<Result<_, _>>()?, next })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// 1 to 10,000.
    pub receipts: Vec<Acknowledgement>,
}

#[derive(Serialize, JsonSchema)]
pub struct ReceiptsAnswer {
    /// In the order of the receipts.
    pub results: Vec<AcknowledgementResult>,
}

pub async fn acknowledge(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<ReceiptsAnswer>, Problem> {
    let (head, sent) = request.into_parts();
    request::require_json(&head.headers)?;
    let encoding = body::Encoding::of(&head.headers)?;
    let sent = body::read(&head.headers, sent, edge.options.body_timeout).await?;
    let Receipts { receipts } = request::json(&body::decompress(encoding, sent)?)?;
    if receipts.is_empty() || receipts.len() > RECEIPTS_MAX {
        let detail = format!("{} receipts; allowed are 1 to {RECEIPTS_MAX}", receipts.len());
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    for (index, receipt) in receipts.iter().enumerate() {
        check(receipt).map_err(|reason| {
            let detail = format!("receipts[{index}]: {reason}; none was committed");
            Problem::new(Kind::InvalidRequest, detail)
        })?;
    }
    let count = receipts.len();
    let results = edge.metering.acknowledge(&caller, receipts).await?;
    assert_eq!(results.len(), count, "every receipt has a result");
    Ok(Json(ReceiptsAnswer { results }))
}

fn check(receipt: &Acknowledgement) -> Result<(), String> {
    let texts = [Some(&receipt.record), receipt.reference.as_ref(), receipt.reason.as_ref()];
    if texts.into_iter().flatten().any(|text| text.len() > ATTRIBUTE_BYTES_MAX) {
        return Err(format!("a text has more than {ATTRIBUTE_BYTES_MAX} bytes"));
    }
    match (receipt.outcome, &receipt.reference, &receipt.reason) {
        (AcknowledgementOutcome::Refused, None, Some(reason)) if !reason.trim().is_empty() => Ok(()),
        (AcknowledgementOutcome::Refused, _, _) => {
            Err("a refusal has a `reason` and no `reference`, because someone will have to act on it".into())
        }
        (AcknowledgementOutcome::Accepted, _, None) => Ok(()),
        (AcknowledgementOutcome::Accepted, _, Some(_)) => Err("an acceptance has no `reason`".into()),
    }
}
