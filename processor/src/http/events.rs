//! How do events come in? `POST /v1/events`: one commit a request, an answer an event.
//!
//! Answers 200 with a result per event whenever a list was taken, even if every event in it was rejected: a list has no single
//! status (and 207 would only say "look inside"). A request with a single event (structured or binary mode) says
//! its fate by status too: 200 counted, or received before; 202 waits as an exception; 409 conflict; 400 rejected.
//!
//! Keeps: nothing is submitted of a request that is refused; the counts add up to `received` (I-8).

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::binding::Mode;
use super::body::{self, Encoding};
use super::metering::{Fate, MeterRefusal, Outcome};
use super::problem::{self, Kind, Problem};
use super::request::Parameters;
use super::{Edge, problem::Details};
use crate::observe::registry;

/// Below this, decompressing and splitting takes less time than handing it to another thread.
const INLINE_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct EventsParameters {
    /// `all` lists accepted events too.
    #[serde(default)]
    pub detail: Detail,
}

#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// Only events that were not accepted, or that some meter refused.
    #[default]
    Exceptional,
    All,
}

/// The answer. `received` = `accepted` + `duplicate` + `conflict` + `rejected` + `exceptions`.
#[derive(Serialize, JsonSchema, Default, Debug, PartialEq, Eq)]
pub struct EventsAnswer {
    pub received: u64,
    /// Counted now, by at least one meter.
    pub accepted: u64,
    /// Received before, with the same content; counted once, or waiting as an exception.
    pub duplicate: u64,
    /// Received before with other content; not counted.
    pub conflict: u64,
    /// No valid events; not counted.
    pub rejected: u64,
    /// Waiting as exceptions; not counted yet.
    pub exceptions: u64,
    /// Meters that could not take an accepted event. Each waits as an exception that `events` names; since the event
    /// was accepted, it is in no other count.
    pub meter_refusals: u64,
    /// By default those that were not accepted, and those that some meter refused; with `detail=all` every one.
    pub events: Vec<EventAnswer>,
}

#[derive(Serialize, JsonSchema, Debug, PartialEq, Eq)]
pub struct EventAnswer {
    /// Place in the request, from 0.
    pub index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub status: EventStatus,
    /// Stable, for programs: `missing_attribute`, `unmapped_subject`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// JSONPath of the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is wrong and what to do, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of an accepted event: the meters that could not take it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub refused_by: Vec<MeterRefusal>,
}

#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    Accepted,
    Duplicate,
    Conflict,
    Rejected,
    Exception,
}

/// A single event's refusal: the problem and the same answer in one object.
#[derive(Serialize, JsonSchema)]
pub struct SingleRefusal {
    #[serde(flatten)]
    pub problem: Details,
    #[serde(flatten)]
    pub answer: EventsAnswer,
}

pub async fn submit(
    State(edge): State<Edge>,
    Extension(caller): Extension<Caller>,
    Parameters(parameters): Parameters<EventsParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, sent) = request.into_parts();
    let mode = Mode::of(&head.headers)?;
    let encoding = Encoding::of(&head.headers)?;
    let sent = read(&edge, &head.headers, sent).await?;
    let events = split(mode.clone(), encoding, sent).await?;
    if events.is_empty() {
        return Ok(Json(EventsAnswer::default()).into_response());
    }
    metrics::counter!(registry::INGEST_BATCHES_TOTAL.name).increment(1);
    let received = events.len();
    let fates = edge.metering.submit(&caller, events).await?;
    assert_eq!(fates.len(), received, "I-8: every event that was received has a fate");
    Ok(if mode.is_single() { single(fates, parameters.detail) } else { list(fates, parameters.detail) })
}

async fn read(edge: &Edge, headers: &axum::http::HeaderMap, sent: Body) -> Result<Bytes, Problem> {
    let sent = body::read(headers, sent, edge.options.body_timeout).await?;
    metrics::counter!(registry::INGEST_BYTES_TOTAL.name).increment(sent.len() as u64);
    Ok(sent)
}

async fn split(mode: Mode, encoding: Encoding, sent: Bytes) -> Result<Vec<Bytes>, Problem> {
    let inline = sent.len() <= INLINE_BYTES_MAX && encoding == Encoding::Identity;
    let work = move || mode.events(&body::decompress(encoding, sent)?);
    if inline {
        return work();
    }
    // A large body would hold up every other connection of its I/O thread.
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Problem::new(
            Kind::Internal,
            "reading the body failed here; nothing was counted, send the request again",
        )
    })?
}

fn list(fates: Vec<Fate>, detail: Detail) -> Response {
    Json(answer(fates, detail)).into_response()
}

fn single(fates: Vec<Fate>, detail: Detail) -> Response {
    let answer = answer(fates, detail);
    let reason = || answer.events.first().and_then(|event| event.reason.clone()).unwrap_or_default();
    let (kind, detail) = if answer.rejected > 0 {
        (Kind::InvalidEvent, format!("{}; correct the event and send it again", reason()))
    } else if answer.conflict > 0 {
        let remedy = "the first one stands; give a different event a different id";
        (Kind::Conflict, format!("{}; {remedy}", reason()))
    } else {
        let status = if answer.exceptions > 0 { StatusCode::ACCEPTED } else { StatusCode::OK };
        return (status, Json(answer)).into_response();
    };
    let refusal = SingleRefusal { problem: kind.details(detail), answer };
    let content_type = [(header::CONTENT_TYPE, problem::CONTENT_TYPE)];
    (kind.status(), content_type, Json(refusal)).into_response()
}

fn answer(fates: Vec<Fate>, detail: Detail) -> EventsAnswer {
    let mut answer = EventsAnswer { received: fates.len() as u64, ..EventsAnswer::default() };
    for (index, fate) in (0_u64..).zip(fates) {
        let mut refused_by = Vec::new();
        let (count, status, code, path, reason) = match fate.outcome {
            Outcome::Accepted { refused_by: meters } => {
                refused_by = meters;
                (&mut answer.accepted, EventStatus::Accepted, None, None, None)
            }
            Outcome::Duplicate => (&mut answer.duplicate, EventStatus::Duplicate, None, None, None),
            Outcome::Conflict { reason } => {
                let code = Some("conflict".to_owned());
                (&mut answer.conflict, EventStatus::Conflict, code, None, Some(reason))
            }
            Outcome::Rejected { code, path, reason } => {
                (&mut answer.rejected, EventStatus::Rejected, Some(code.to_owned()), Some(path), Some(reason))
            }
            Outcome::Waiting { kind, reason } => {
                let code = Some(kind.name().to_owned());
                (&mut answer.exceptions, EventStatus::Exception, code, None, Some(reason))
            }
        };
        *count += 1;
        answer.meter_refusals += refused_by.len() as u64;
        if status != EventStatus::Accepted || !refused_by.is_empty() || detail == Detail::All {
            answer.events.push(EventAnswer { index, id: fate.id, status, code, path, reason, refused_by });
        }
    }
    let counted = answer.accepted + answer.duplicate + answer.conflict + answer.rejected + answer.exceptions;
    assert_eq!(counted, answer.received, "I-8: the counts add up to what was received");
    answer
}
