//! Which routes are there? One list that makes the router, the access rules, the metrics' labels and the OpenAPI
//! document, so that none of them can forget a route.

use axum::http::Method;

use crate::config::Role;
use crate::observe::registry::{ROUTE_UNMATCHED, RouteCodes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    SubmitEvents,
    RatedSummaries,
    Receipts,
    Exceptions,
    Exception,
    Replay,
    Dismiss,
    Usage,
    TraceEvent,
    TracePosting,
    Reconciliation,
    Metrics,
    Health,
    Ready,
    OpenApi,
}

impl Operation {
    pub const ALL: [Self; 15] = [
        Self::SubmitEvents,
        Self::RatedSummaries,
        Self::Receipts,
        Self::Exceptions,
        Self::Exception,
        Self::Replay,
        Self::Dismiss,
        Self::Usage,
        Self::TraceEvent,
        Self::TracePosting,
        Self::Reconciliation,
        Self::Metrics,
        Self::Health,
        Self::Ready,
        Self::OpenApi,
    ];

    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::SubmitEvents | Self::Receipts | Self::Replay | Self::Dismiss => Method::POST,
            _ => Method::GET,
        }
    }

    /// With `{name}` for a parameter, as both the router and OpenAPI write it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::SubmitEvents => "/v1/events",
            Self::RatedSummaries => "/v1/rated-summaries",
            Self::Receipts => "/v1/rated-summaries/receipts",
            Self::Exceptions => "/v1/exceptions",
            Self::Exception => "/v1/exceptions/{id}",
            Self::Replay => "/v1/exceptions/replay",
            Self::Dismiss => "/v1/exceptions/dismiss",
            Self::Usage => "/v1/usage",
            Self::TraceEvent => "/v1/trace/event",
            Self::TracePosting => "/v1/trace/posting/{id}",
            Self::Reconciliation => "/v1/reconciliation",
            Self::Metrics => "/metrics",
            Self::Health => "/healthz",
            Self::Ready => "/ready",
            Self::OpenApi => "/openapi.json",
        }
    }

    /// Whether this request may wait for news: it is counted apart, so that those who wait leave room to those who work.
    #[must_use]
    pub fn waits(self, query: &str) -> bool {
        self == Self::RatedSummaries
            && query.split('&').any(|part| part.strip_prefix("wait=").is_some_and(|seconds| seconds != "0"))
    }

    /// The role a key needs; `None` needs no key, because nothing of any tenant is in the answer.
    #[must_use]
    pub fn role(self) -> Option<Role> {
        match self {
            Self::SubmitEvents => Some(Role::Ingest),
            Self::Receipts => Some(Role::Acknowledge),
            Self::Replay | Self::Dismiss => Some(Role::Operate),
            Self::RatedSummaries
            | Self::Exceptions
            | Self::Exception
            | Self::Usage
            | Self::TraceEvent
            | Self::TracePosting
            | Self::Reconciliation => Some(Role::Read),
            Self::Metrics | Self::Health | Self::Ready | Self::OpenApi => None,
        }
    }

    /// Every status it may answer, ascending.
    #[must_use]
    pub fn statuses(self) -> &'static [u16] {
        match self {
            Self::SubmitEvents => &[200, 202, 400, 401, 403, 408, 409, 413, 415, 429, 500, 503],
            Self::Receipts | Self::Replay | Self::Dismiss => {
                &[200, 400, 401, 403, 408, 413, 415, 429, 500, 503]
            }
            Self::Exception | Self::TraceEvent | Self::TracePosting => {
                &[200, 400, 401, 403, 404, 429, 500, 503]
            }
            Self::RatedSummaries | Self::Exceptions | Self::Usage | Self::Reconciliation => {
                &[200, 400, 401, 403, 429, 500, 503]
            }
            Self::Ready => &[200, 503],
            Self::Metrics | Self::Health | Self::OpenApi => &[200],
        }
    }
}

/// What the metrics' labels `route` and `code` can be.
#[must_use]
pub fn route_codes() -> Vec<RouteCodes> {
    let listed = Operation::ALL.map(|operation| (operation.path(), operation.statuses()));
    let refused = Operation::ALL.map(|operation| (operation.path(), &[405][..]));
    listed.into_iter().chain(refused).chain([(ROUTE_UNMATCHED, &[404][..])]).collect()
}
