//! The HTTP edge: how producers, the billing platform and operators talk to the product.
//!
//! Reading order: `operation` lists the routes; `gate` lets a request in; `auth` says who it is; `body`, `binding`
//! and `events` take usage; `rated`, `queries` and `probes` answer; `problem` refuses; `metering` is the seam to the
//! rest of the product; `openapi` describes all of it; `serve` listens.
//!
//! Keeps: a refused request changes nothing. Every refusal is a problem (RFC 9457) that says what to do. Bodies,
//! requests, connections, waits and lists are bounded (I-9).
//! Deliberately absent: rules, storage, the wall clock.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

pub mod auth;
pub mod binding;
pub mod body;
pub mod events;
mod gate;
pub mod metering;
pub mod openapi;
pub mod operation;
mod probes;
pub mod problem;
mod queries;
mod rated;
mod request;
pub mod serve;
#[cfg(test)]
mod tests;

use auth::Keys;
use metering::Metering;
use operation::Operation;

/// What the routes need besides the request. Cheap to clone.
#[derive(Clone)]
pub struct Edge {
    metering: Arc<dyn Metering>,
    keys: Arc<Keys>,
    options: Options,
    requests: Arc<Semaphore>,
    /// Requests that wait for news; they take no room from the others.
    long_polls: Arc<Semaphore>,
    /// Turns true when the server stops, so that readers who wait leave at once.
    closing: watch::Receiver<bool>,
    openapi: Bytes,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// Requests in progress; one more is answered 503.
    pub requests_max: usize,
}

impl Edge {
    #[must_use]
    pub fn new(
        metering: Arc<dyn Metering>,
        keys: Keys,
        options: Options,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            metering,
            keys: Arc::new(keys),
            options,
            requests: Arc::new(Semaphore::new(options.requests_max)),
            long_polls: Arc::new(Semaphore::new(gate::LONG_POLLS_MAX)),
            closing,
            openapi: openapi::text().into(),
        }
    }
}

/// Every route of [`Operation::ALL`], each behind its gate.
pub fn router(edge: Edge) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL {
        let gate = middleware::from_fn_with_state((edge.clone(), operation), gate::pass);
        router = router.route(operation.path(), route(operation).route_layer(gate));
    }
    router.fallback(gate::not_found).method_not_allowed_fallback(gate::method_not_allowed).with_state(edge)
}

fn route(operation: Operation) -> MethodRouter<Edge> {
    let method = MethodFilter::try_from(operation.method()).expect("only GET and POST are listed");
    match operation {
        Operation::SubmitEvents => on(method, events::submit),
        Operation::RatedSummaries => on(method, rated::page),
        Operation::Receipts => on(method, rated::acknowledge),
        Operation::Exceptions => on(method, queries::exceptions),
        Operation::Exception => on(method, queries::exception),
        Operation::Replay => on(method, queries::replay),
        Operation::Dismiss => on(method, queries::dismiss),
        Operation::Usage => on(method, queries::usage),
        Operation::TraceEvent => on(method, queries::trace_event),
        Operation::TracePosting => on(method, queries::trace_posting),
        Operation::Reconciliation => on(method, queries::reconciliation),
        Operation::Metrics => on(method, probes::metrics),
        Operation::Health => on(method, probes::health),
        Operation::Ready => on(method, probes::ready),
        Operation::OpenApi => on(method, probes::openapi),
    }
}
