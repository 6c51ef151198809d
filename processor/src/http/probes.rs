//! Is it alive, is it ready, what does it measure, what does it offer? Answers without a key: nothing of any
//! tenant is in them.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

use super::Edge;
use super::metering::Readiness;
use super::problem::{Kind, Problem};

#[derive(Serialize, JsonSchema)]
pub struct Probe {
    /// `alive`.
    pub status: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub struct ReadyProbe {
    /// `ready`.
    pub status: &'static str,
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// Alive as long as it answers: a restart would not help what `ready` complains about.
pub async fn health() -> Json<Probe> {
    Json(Probe { status: "alive" })
}

pub async fn ready(State(edge): State<Edge>) -> Result<Json<ReadyProbe>, Problem> {
    if *edge.closing.borrow() {
        return Err(Problem::new(Kind::NotReady, "stopping; use another instance"));
    }
    match edge.metering.ready() {
        Ok(readiness) => Ok(Json(ReadyProbe { status: "ready", readiness })),
        Err(why) => Err(Problem::new(Kind::NotReady, why).retry_after(Duration::from_secs(1))),
    }
}

pub async fn metrics(State(edge): State<Edge>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, edge.metering.metrics()).into_response()
}

pub async fn openapi(State(edge): State<Edge>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], edge.openapi).into_response()
}
