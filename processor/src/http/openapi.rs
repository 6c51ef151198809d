//! What does the interface look like to a program? OpenAPI 3.1, made from the list of routes and the types that the
//! routes read and write, so it cannot say anything else than the code does.
//!
//! `openapi.json` beside `Cargo.toml` is the checked-in text; a test fails when it drifts.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::events::{EventsAnswer, EventsParameters, SingleRefusal};
use super::metering::{
    DismissReport, DismissSelection, EventTrace, ExceptionPage, PostingTrace, Reconciliation, ReplayReport,
    ReplaySelection, UsagePage,
};
use super::operation::Operation;
use super::probes::{Probe, ReadyProbe};
use super::problem::{self, Details};
use super::queries::{ExceptionParameters, TenantParameters, TraceEventParameters, UsageParameters};
use super::rated::{PageParameters, RatedPage, Receipts, ReceiptsAnswer};
use tidemark_schemas::limits::ATTRIBUTE_BYTES_MAX;
use tidemark_schemas::wire::v1;

/// The document as pretty JSON with a final newline.
#[must_use]
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).expect("JSON values have text keys");
    text.push('\n');
    text
}

#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let methods = paths.entry(operation.path()).or_insert_with(|| json!({}));
        let method = operation.method().as_str().to_ascii_lowercase();
        methods[method] = described(operation, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemark",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Usage events in; rated summaries, exceptions and evidence out. Every refusal is a \
                            problem of RFC 9457. Sending the same request again is always safe.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`tm_<id>_<secret>`. The description of each operation names the role it needs.",
                },
            },
        },
    })
}

fn described(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let (id, summary) = names(operation);
    let description = match operation.role() {
        Some(role) => format!("Needs an API key with the role `{role}`."),
        None => "Needs no API key.".into(),
    };
    let mut description = json!({
        "operationId": id,
        "summary": summary,
        "description": description,
        "security": if operation.role().is_some() { json!([{ "api_key": [] }]) } else { json!([]) },
        "responses": responses(operation, generator),
    });
    let parameters = parameters(operation, generator);
    if !parameters.is_empty() {
        description["parameters"] = parameters.into();
    }
    if let Some(body) = body(operation, generator) {
        description["requestBody"] = json!({ "required": true, "content": body });
    }
    description
}

fn names(operation: Operation) -> (&'static str, &'static str) {
    match operation {
        Operation::SubmitEvents => ("submitEvents", "Submit usage events; each is counted exactly once"),
        Operation::RatedSummaries => {
            ("listRatedSummaries", "Rated summaries in billing's order, with long poll")
        }
        Operation::Receipts => ("acknowledgeRatedSummaries", "Accept or refuse rated summaries"),
        Operation::Exceptions => ("listExceptions", "What could not be counted, and why, newest first"),
        Operation::Exception => ("getException", "One exception with its whole context"),
        Operation::Replay => ("replayExceptions", "Book again what waits, after its cause was corrected"),
        Operation::Dismiss => ("dismissExceptions", "Close exceptions without counting them, with a reason"),
        Operation::Usage => ("getUsage", "Usage so far, open windows included"),
        Operation::TraceEvent => ("traceEvent", "From an event to the journal entries it is in"),
        Operation::TracePosting => ("tracePosting", "From a journal entry to the rated summaries behind it"),
        Operation::Reconciliation => ("getReconciliation", "Whether counted, billed and booked tie out"),
        Operation::Metrics => ("getMetrics", "Metrics as Prometheus text"),
        Operation::Health => ("getHealth", "Whether the service is alive"),
        Operation::Ready => ("getReadiness", "Whether the service takes events"),
        Operation::OpenApi => ("getOpenApi", "This document"),
    }
}

fn parameters(operation: Operation, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut listed: Vec<Value> = operation
        .path()
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    listed.extend(match operation {
        Operation::SubmitEvents => query::<EventsParameters>(generator),
        Operation::RatedSummaries => query::<PageParameters>(generator),
        Operation::Exceptions => query::<ExceptionParameters>(generator),
        Operation::Usage => query::<UsageParameters>(generator),
        Operation::TraceEvent => query::<TraceEventParameters>(generator),
        Operation::Reconciliation => query::<TenantParameters>(generator),
        _ => Vec::new(),
    });
    listed
}

/// One query parameter per member of `T`.
fn query<T: JsonSchema>(generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = T::json_schema(generator).to_value();
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({
            "name": name, "in": "query", "required": required.contains(name.as_str()), "schema": schema,
        });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    };
    schema["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

fn body(operation: Operation, generator: &mut SchemaGenerator) -> Option<Value> {
    Some(match operation {
        Operation::SubmitEvents => {
            let text = json!({ "type": "string", "minLength": 1, "maxLength": ATTRIBUTE_BYTES_MAX });
            let event = json!({
                "type": "object",
                "description": "A CloudEvents 1.0 event, with the subject and time that metering needs",
                "required": ["specversion", "id", "source", "type", "subject", "time"],
                "properties": {
                    "specversion": { "const": "1.0" },
                    "id": text,
                    "source": text,
                    "type": text,
                    "subject": text,
                    "time": { "type": "string", "format": "date-time" },
                    "data": {},
                },
            });
            json!({
                "application/cloudevents+json": { "schema": event },
                "application/cloudevents-batch+json": { "schema": { "type": "array", "items": event } },
                "application/x-ndjson": {
                    "schema": { "type": "string", "description": "One event a line" },
                },
                "*/*": {
                    "schema": { "description": "Binary content mode: attributes in ce-* headers, data as the body" },
                },
            })
        }
        Operation::Receipts => content::<Receipts>(generator, "application/json"),
        Operation::Replay => content::<ReplaySelection>(generator, "application/json"),
        Operation::Dismiss => content::<DismissSelection>(generator, "application/json"),
        _ => return None,
    })
}

fn responses(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for status in operation.statuses() {
        let content = match (operation, status) {
            (_, 200 | 202) => answer(operation, generator),
            (Operation::SubmitEvents, 400 | 409) => {
                let problem = generator.subschema_for::<Details>();
                let refusal = generator.subschema_for::<SingleRefusal>();
                json!({ problem::CONTENT_TYPE: { "schema": { "anyOf": [refusal, problem] } } })
            }
            _ => content::<Details>(generator, problem::CONTENT_TYPE),
        };
        let reason =
            axum::http::StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let mut response = json!({ "description": reason.unwrap_or_default(), "content": content });
        if matches!(status, 429 | 503) {
            let header = json!({ "description": "Seconds", "schema": { "type": "integer", "minimum": 1 } });
            response["headers"] = json!({ "Retry-After": header });
        }
        responses.insert(status.to_string(), response);
    }
    responses.into()
}

fn answer(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    const JSON: &str = "application/json";
    match operation {
        Operation::SubmitEvents => content::<EventsAnswer>(generator, JSON),
        Operation::RatedSummaries => content::<RatedPage>(generator, JSON),
        Operation::Receipts => content::<ReceiptsAnswer>(generator, JSON),
        Operation::Exceptions => content::<ExceptionPage>(generator, JSON),
        Operation::Exception => content::<v1::ExceptionRecord>(generator, JSON),
        Operation::Replay => content::<ReplayReport>(generator, JSON),
        Operation::Dismiss => content::<DismissReport>(generator, JSON),
        Operation::Usage => content::<UsagePage>(generator, JSON),
        Operation::TraceEvent => content::<EventTrace>(generator, JSON),
        Operation::TracePosting => content::<PostingTrace>(generator, JSON),
        Operation::Reconciliation => content::<Reconciliation>(generator, JSON),
        Operation::Metrics => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Operation::Health => content::<Probe>(generator, JSON),
        Operation::Ready => content::<ReadyProbe>(generator, JSON),
        Operation::OpenApi => json!({ JSON: { "schema": { "type": "object" } } }),
    }
}

fn content<T: JsonSchema>(generator: &mut SchemaGenerator, media: &str) -> Value {
    json!({ media: { "schema": generator.subschema_for::<T>() } })
}
