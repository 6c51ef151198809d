//! How are a request's parameters read? Strictly: an unknown or unreadable one is a 400 that names it.
//!
//! A misspelt filter that was ignored would answer another question than the one asked.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};

/// Query parameters.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(parameters)| Self(parameters)).map_err(|error| {
            // The rejection's source names the parameter and what is allowed.
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(Kind::InvalidRequest, format!("the query parameters: {reason}"))
        })
    }
}

/// A JSON body.
///
/// # Errors
/// 400 with the place of the fault.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(Kind::InvalidRequest, format!("the body: {error}; nothing was changed"))
    })
}

/// # Errors
/// 415 unless the body is declared as `application/json`.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = declared.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedMedia, "the body must be application/json; say so in Content-Type"))
}

/// A limit as asked, at most `most`.
///
/// # Errors
/// 400 when it is zero or above `most`: cutting it in silence would look like the end of the list.
pub fn limit(asked: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Problem::new(Kind::InvalidRequest, format!("limit={limit}: allowed are 1 to {most}")))
        }
    }
}
