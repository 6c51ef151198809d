//! May this request come in? Key, role and room are checked before a byte of the body is read; then it is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::Edge;
use super::operation::Operation;
use super::problem::{Kind, Problem};
use crate::observe::registry;

/// Readers of billing that wait at the same time: a few instances of each of a few systems.
pub const LONG_POLLS_MAX: usize = 64;

pub async fn pass(
    State((edge, operation)): State<(Edge, Operation)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let response = match admit(&edge, operation, &mut request) {
        Ok(_room) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let seconds = started.elapsed().as_secs_f64();
    metrics::histogram!(registry::HTTP_REQUEST_SECONDS.name, "route" => operation.path()).record(seconds);
    count(operation.path(), response.status().as_u16());
    response
}

/// Probes and documents need neither key nor room: they must answer when the product is at its limit.
fn admit(
    edge: &Edge,
    operation: Operation,
    request: &mut Request,
) -> Result<Option<OwnedSemaphorePermit>, Problem> {
    let Some(role) = operation.role() else { return Ok(None) };
    let caller = edge.keys.caller(request.headers())?;
    caller.require(role)?;
    request.extensions_mut().insert(caller);
    let (seats, most, doing) = match operation.waits(request.uri().query().unwrap_or_default()) {
        true => (&edge.long_polls, LONG_POLLS_MAX, "long polls wait"),
        false => (&edge.requests, edge.options.requests_max, "requests are in progress"),
    };
    let room = Arc::clone(seats).try_acquire_owned().map_err(|_| {
        let detail = format!("{most} {doing}, as many as allowed; send the same request again");
        Problem::new(Kind::NotReady, detail).retry_after(Duration::from_secs(1))
    })?;
    Ok(Some(room))
}

pub async fn not_found(uri: Uri) -> Response {
    count(registry::ROUTE_UNMATCHED, 404);
    let path = uri.path().chars().take(100).collect::<String>();
    Problem::new(Kind::NotFound, format!("no resource is at `{path}`; /openapi.json lists them"))
        .into_response()
}

pub async fn method_not_allowed(method: Method, uri: Uri, matched: MatchedPath) -> Response {
    let known = Operation::ALL.into_iter().find(|operation| operation.path() == matched.as_str());
    count(known.map_or(registry::ROUTE_UNMATCHED, Operation::path), 405);
    let detail = format!("`{}` has no method {method}; the Allow header names those it has", uri.path());
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}

fn count(route: &'static str, code: u16) {
    let code = code.to_string();
    metrics::counter!(registry::HTTP_REQUESTS_TOTAL.name, "route" => route, "code" => code).increment(1);
}
