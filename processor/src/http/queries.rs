//! What waits, what was used, where did it go, does it tie out? The read routes, replay and dismissal.
//!
//! Keeps: a key sees its own tenant only; what belongs to another tenant is not found rather than forbidden, so
//! that ids cannot be probed.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use schemars::JsonSchema;
use serde::Deserialize;
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::limits::ATTRIBUTE_BYTES_MAX;
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1;

use super::Edge;
use super::auth::Caller;
use super::body;
use super::metering::{
    DismissReport, DismissSelection, EventTrace, ExceptionFilter, ExceptionPage, IDS_MAX, PostingTrace,
    Reconciliation, ReplayReport, ReplaySelection, UsageFilter, UsagePage,
};
use super::problem::{Kind, Problem};
use super::request::{self, Parameters};

/// An exception may carry 64 KiB of payload: a page stays within some 6 MB.
const EXCEPTIONS_MAX: usize = 100;

/// Rows of usage on one page, about 250 bytes each.
const USAGE_ROWS_MAX: usize = 10_000;
const USAGE_ROWS_DEFAULT: usize = 1_000;

/// Dimensions to group by; meters have fewer.
const GROUP_BY_MAX: usize = 16;

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct ExceptionParameters {
    /// Such as `unmapped_subject`.
    kind: Option<String>,
    /// `open`, `resolved` or `dismissed`.
    status: Option<String>,
    /// Only those received at or after this time, RFC 3339.
    since: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// 1 to 100, by default 50.
    limit: Option<usize>,
    /// Only this tenant; for keys of every tenant.
    tenant: Option<String>,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct UsageParameters {
    customer: Option<String>,
    meter: Option<String>,
    /// Names of dimensions, with commas between.
    group_by: Option<String>,
    /// Only windows that start at or after this time, RFC 3339.
    from: Option<String>,
    /// Only windows that start before this time, RFC 3339.
    to: Option<String>,
    /// The `next` of the page before; the other parameters stay the same.
    after: Option<String>,
    /// 1 to 10,000, by default 1,000.
    limit: Option<usize>,
    /// Only this tenant; for keys of every tenant.
    tenant: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceEventParameters {
    /// The event's `source`.
    source: String,
    /// The event's `id`.
    id: String,
    /// Required for keys of every tenant: an event's identity includes its tenant.
    tenant: Option<String>,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct TenantParameters {
    /// Only this tenant; for keys of every tenant.
    tenant: Option<String>,
}

type Id = Result<Path<String>, PathRejection>;

pub async fn exceptions(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    Parameters(asked): Parameters<ExceptionParameters>,
) -> Result<Json<ExceptionPage>, Problem> {
    let scope = caller.narrowed(asked.tenant.as_deref())?;
    let filter = ExceptionFilter {
        kind: asked.kind.as_deref().map(kind).transpose()?,
        status: asked.status.as_deref().map(status).transpose()?,
        since: asked.since.as_deref().map(|text| time("since", text)).transpose()?,
        after: asked.after,
        limit: request::limit(asked.limit, 50, EXCEPTIONS_MAX)?,
    };
    Ok(Json(edge.metering.exceptions(&scope, filter).await??))
}

pub async fn exception(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    id: Id,
) -> Result<Json<v1::ExceptionRecord>, Problem> {
    let id = named(id)?;
    let found = edge.metering.exception(&caller.scope, &id).await?;
    found.map(Json).ok_or_else(|| missing("exception", &id))
}

pub async fn replay(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<ReplayReport>, Problem> {
    let (head, sent) = request.into_parts();
    request::require_json(&head.headers)?;
    let encoding = body::Encoding::of(&head.headers)?;
    let sent = body::read(&head.headers, sent, edge.options.body_timeout).await?;
    let selection: ReplaySelection = request::json(&body::decompress(encoding, sent)?)?;
    let invalid = |detail: String| Err(Problem::new(Kind::InvalidRequest, detail));
    if selection.ids.is_empty() == selection.kind.is_none() {
        return invalid("name either `ids` or a `kind` of exceptions to replay".into());
    }
    if selection.ids.len() > IDS_MAX {
        return invalid(format!("{} ids; allowed are 1 to {IDS_MAX}", selection.ids.len()));
    }
    if let Some(name) = &selection.kind {
        let kind = kind(name)?;
        if !kind.replayable() {
            return invalid(format!("`{kind}` cannot be replayed; {}", kind.remedy()));
        }
    }
    Ok(Json(edge.metering.replay(&caller, selection).await?))
}

pub async fn dismiss(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<DismissReport>, Problem> {
    let (head, sent) = request.into_parts();
    request::require_json(&head.headers)?;
    let encoding = body::Encoding::of(&head.headers)?;
    let sent = body::read(&head.headers, sent, edge.options.body_timeout).await?;
    let selection: DismissSelection = request::json(&body::decompress(encoding, sent)?)?;
    selection.check().map_err(|fault| Problem::new(Kind::InvalidRequest, fault))?;
    Ok(Json(edge.metering.dismiss(&caller, selection).await?))
}

pub async fn usage(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    Parameters(asked): Parameters<UsageParameters>,
) -> Result<Json<UsagePage>, Problem> {
    let scope = caller.narrowed(asked.tenant.as_deref())?;
    let names = asked.group_by.as_deref().unwrap_or_default();
    let group_by: Vec<String> =
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect();
    if group_by.len() > GROUP_BY_MAX {
        let detail =
            format!("group_by names {} dimensions; at most {GROUP_BY_MAX} are allowed", group_by.len());
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    let filter = UsageFilter {
        customer: asked.customer,
        meter: asked.meter,
        group_by,
        from: asked.from.as_deref().map(|text| time("from", text)).transpose()?,
        to: asked.to.as_deref().map(|text| time("to", text)).transpose()?,
        after: asked.after,
        limit: request::limit(asked.limit, USAGE_ROWS_DEFAULT, USAGE_ROWS_MAX)?,
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        let detail = "`from` is not before `to`, so no window is between them";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    Ok(Json(edge.metering.usage(&scope, filter).await??))
}

pub async fn trace_event(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    Parameters(asked): Parameters<TraceEventParameters>,
) -> Result<Json<EventTrace>, Problem> {
    let scope = caller.narrowed(asked.tenant.as_deref())?;
    if scope == crate::config::Scope::Every {
        let detail = "this key sees every tenant, and an event's identity includes its tenant; add `tenant=`";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    let found = edge.metering.trace_event(&scope, &asked.source, &asked.id).await?;
    found.map(Json).ok_or_else(|| missing("event", &asked.id))
}

pub async fn trace_posting(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    id: Id,
) -> Result<Json<PostingTrace>, Problem> {
    let id = named(id)?;
    let found = edge.metering.trace_posting(&caller.scope, &id).await?;
    found.map(Json).ok_or_else(|| missing("journal entry", &id))
}

pub async fn reconciliation(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    Parameters(asked): Parameters<TenantParameters>,
) -> Result<Json<Reconciliation>, Problem> {
    let scope = caller.narrowed(asked.tenant.as_deref())?;
    Ok(Json(edge.metering.reconciliation(&scope).await?))
}

fn time(parameter: &str, text: &str) -> Result<EventTime, Problem> {
    EventTime::parse(text.as_bytes()).map_err(|error| {
        let detail = format!("{parameter}: {error}; write it like 2026-01-31T00:00:00Z, with `+` as %2B");
        Problem::new(Kind::InvalidRequest, detail)
    })
}

fn kind(name: &str) -> Result<ExceptionKind, Problem> {
    ExceptionKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let all = ExceptionKind::ALL.map(ExceptionKind::name).join(", ");
        Problem::new(
            Kind::InvalidRequest,
            format!("kind: there is no such kind of exception; allowed are {all}"),
        )
    })
}

fn status(name: &str) -> Result<ExceptionStatus, Problem> {
    ExceptionStatus::ALL.into_iter().find(|status| status.name() == name).ok_or_else(|| {
        Problem::new(
            Kind::InvalidRequest,
            "status: there is no such status; allowed are open, resolved, dismissed",
        )
    })
}

fn named(id: Id) -> Result<String, Problem> {
    match id {
        Ok(Path(id)) if id.len() <= ATTRIBUTE_BYTES_MAX => Ok(id),
        _ => Err(Problem::new(Kind::InvalidRequest, "the id in the path is too long or is not UTF-8")),
    }
}

fn missing(what: &str, id: &str) -> Problem {
    let id = id.chars().take(100).collect::<String>();
    Problem::new(Kind::NotFound, format!("no {what} `{id}` is known in the key's scope; check the id"))
}
