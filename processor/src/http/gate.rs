//! May this request come in? Key, role and room are checked before a byte of the body is read; then it is measured.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::Edge;
use super::operation::Operation;
use super::problem::{Kind, Problem};
use crate::observe::registry;

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
    let room = edge.requests.clone().try_acquire_owned().map_err(|_| {
        let most = edge.options.requests_max;
        let detail =
            format!("{most} requests are in progress, as many as allowed; send the same request again");
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

pub async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    count(registry::ROUTE_UNMATCHED, 405);
    let detail = format!("`{}` has no method {method}; the Allow header names those it has", uri.path());
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}

fn count(route: &'static str, code: u16) {
    let code = code.to_string();
    metrics::counter!(registry::HTTP_REQUESTS_TOTAL.name, "route" => route, "code" => code).increment(1);
}
