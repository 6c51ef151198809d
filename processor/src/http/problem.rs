//! What does a refusal look like? RFC 9457 problem details: what happened, to what, and what to do.
//!
//! Keeps: a problem never contains a credential or a part of a body.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::metering::{Unavailable, Unknown};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// A refused request. `type` is stable and for programs; `detail` is for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    /// Sent besides the body, such as `Allow` or `Retry-After`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Every way to refuse a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InvalidRequest,
    InvalidEvent,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    Conflict,
    TooLarge,
    UnsupportedMedia,
    Busy,
    Internal,
    NotReady,
}

/// The body, as RFC 9457 names its members.
#[derive(Serialize, JsonSchema)]
pub struct Details {
    /// `urn:tidemark:problem:` and a stable name.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    /// What happened, where, and what to do.
    pub detail: String,
}

impl Kind {
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid"),
            Self::InvalidEvent => (StatusCode::BAD_REQUEST, "invalid-event", "The event is not valid"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "No valid API key"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The API key may not do this"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Nothing is here"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The resource has no such method")
            }
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body came too slowly"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The event's identity has other content"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::UnsupportedMedia => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media", "The body's type is not supported")
            }
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "Too much at once"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of ours"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
        }
    }

    #[must_use]
    pub fn status(self) -> StatusCode {
        self.facts().0
    }

    #[must_use]
    pub fn details(self, detail: String) -> Details {
        let (status, name, title) = self.facts();
        Details { kind: format!("urn:tidemark:problem:{name}"), title, status: status.as_u16(), detail }
    }
}

impl Problem {
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), headers: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Whole seconds, rounded up and at least one: a client that comes back too early is refused again.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_millis().div_ceil(1000).clamp(1, 3600);
        let seconds = u64::try_from(seconds).expect("at most an hour");
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let detail = unavailable.to_string();
        match unavailable {
            Unavailable::Busy { retry_after } => Self::new(Kind::Busy, detail).retry_after(retry_after),
            Unavailable::NotReady { .. } => {
                Self::new(Kind::NotReady, detail).retry_after(Duration::from_secs(1))
            }
            // Only a person ends it, so coming back soon is useless.
            Unavailable::Stopped { .. } => {
                Self::new(Kind::NotReady, detail).retry_after(Duration::from_secs(60))
            }
        }
    }
}

impl From<Unknown> for Problem {
    fn from(unknown: Unknown) -> Self {
        Self::new(Kind::InvalidRequest, unknown.0)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut response = (status, Json(self.kind.details(self.detail))).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
