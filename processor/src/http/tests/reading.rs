//! What is answered? Rated summaries and receipts, exceptions, usage, traces, and the interface's own description.

use serde_json::{Value, json};

use super::{answer, start};
use crate::http::openapi;
use crate::http::operation::Operation;

#[tokio::test]
async fn rated_summaries_come_in_order_page_by_page_with_their_own_bytes() {
    let served = start();
    for amount in ["1.10", "2.200", "3"] {
        served.memory.add_rated(&format!(r#"{{"amount": {amount}}}"#));
    }
    let response =
        served.client.get(served.url("/v1/rated-summaries?limit=2")).send().await.expect("an answer");
    let text = response.text().await.expect("a body");
    let expected = r#"{"items":[{"cursor":1,"record":{"amount": 1.10}},{"cursor":2,"record":{"amount": 2.200}}],"next":2}"#;
    assert_eq!(text, expected);
    assert_eq!(served.get("/v1/rated-summaries?after=2").await.1["next"], 3);
    assert_eq!(served.get("/v1/rated-summaries?after=3").await.1, json!({ "items": [], "next": 3 }));
}

#[tokio::test]
async fn a_reader_who_waits_is_woken() {
    let served = start();
    let waiting = tokio::spawn(answer(served.client.get(served.url("/v1/rated-summaries?after=0&wait=30"))));
    served.memory.was_read().await;
    served.memory.add_rated("{}");
    let (_, page) = waiting.await.expect("no panic");
    assert_eq!(page["items"][0]["cursor"], 1, "woken, not timed out: {page}");
}

#[tokio::test]
async fn receipts_are_committed_or_refused_whole() {
    let served = start();
    let post =
        |body: Value| served.post("/v1/rated-summaries/receipts", "application/json", body.to_string());
    let accepted = json!({ "record": "rs_1", "outcome": "accepted", "reference": "INV-7" });
    for wrong in [
        json!({ "record": "rs_2", "outcome": "refused" }),
        json!({ "record": "rs_2", "outcome": "refused", "reason": " " }),
        json!({ "record": "rs_2", "outcome": "accepted", "reason": "why?" }),
        json!({ "record": "r".repeat(2000), "outcome": "accepted" }),
        json!({ "record": "rs_2", "outcome": "maybe" }),
        json!({ "record": "rs_2", "outcome": "accepted", "unknown": 1 }),
    ] {
        let (status, _) = post(json!({ "receipts": [accepted, wrong] })).await;
        assert_eq!(status, 400, "{wrong}");
    }
    assert_eq!(post(json!({ "receipts": [] })).await.0, 400);
    assert_eq!(served.post("/v1/rated-summaries/receipts", "text/plain", "{}").await.0, 415);
    assert_eq!(served.memory.acknowledged(), []);

    let refused = json!({ "record": "rs_2", "outcome": "refused", "reason": "unknown subscriber" });
    let (status, body) = post(json!({ "receipts": [accepted, refused] })).await;
    assert_eq!((status, &body["results"][1]), (200, &json!({ "record": "rs_2", "status": "committed" })));
    assert_eq!(served.memory.acknowledged().len(), 2);
}

#[tokio::test]
async fn parameters_are_read_strictly() {
    let served = start();
    for (path, named) in [
        ("/v1/usage?custmer=a", "custmer"),
        ("/v1/usage?from=yesterday", "from"),
        ("/v1/usage?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "before"),
        ("/v1/usage?limit=10001", "10000"),
        ("/v1/usage?after=zzz", "next"),
        ("/v1/exceptions?kind=nonsense", "unmapped_subject"),
        ("/v1/exceptions?status=shut", "resolved"),
        ("/v1/exceptions?limit=0", "limit"),
        ("/v1/exceptions?limit=101", "100"),
        ("/v1/exceptions?since=yesterday", "since"),
        ("/v1/rated-summaries?after=x", "invalid digit"),
        ("/v1/rated-summaries?after=18446744073709551615", "beyond the newest cursor, 0"),
        ("/v1/rated-summaries?wait=31", "30"),
        ("/v1/trace/event?source=s", "id"),
        ("/v1/events?detail=some", "method"),
    ] {
        let (status, problem) = served.get(path).await;
        assert!([400, 405].contains(&status), "{path}: {status}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{path}: {problem}");
    }
}

#[tokio::test]
async fn queries_pass_on_what_was_asked() {
    let served = start();
    assert_eq!(
        served.get("/v1/usage?customer=c1&meter=m1&group_by=region,%20tier").await.1,
        json!({ "items": [{
            "tenant": "default", "customer": "c1", "meter": "m1", "period": { "start": "any", "end": "any" },
            "dimensions": { "region": "any", "tier": "any" },
            "quantity": "12345678901234567890.5", "events": 2, "unit": "call",
        }], "next": "1000" })
    );
    let part =
        served.get("/v1/usage?from=2026-01-31T00:00:00Z&to=2026-02-01T00:00:00%2B01:00&limit=7").await.1;
    assert_eq!(
        (&part["items"][0]["period"], &part["next"]),
        (&json!({ "start": "2026-01-31T00:00:00Z", "end": "2026-01-31T23:00:00Z" }), &json!("7"))
    );
    assert_eq!(served.get("/v1/exceptions?kind=too_late&limit=7").await.1["next"], "too_late/7");
    assert_eq!(served.get("/v1/exceptions/none").await.0, 404);
    assert_eq!(served.get("/v1/trace/posting/none").await.0, 404);
    assert_eq!(served.get("/v1/reconciliation").await.1["ties_out"], true);
    assert_eq!(served.get("/v1/trace/event?source=/m&id=e1").await.0, 404);
    let event = r#"{"id":"e1","source":"/m"}"#;
    served.post("/v1/events", "application/cloudevents+json", event).await;
    assert_eq!(served.get("/v1/trace/event?source=/m&id=e1").await.1["fate"], "counted");

    let replay = |body: &'static str| served.post("/v1/exceptions/replay", "application/json", body);
    assert_eq!(replay(r#"{"ids":["ex_1","ex_2"]}"#).await.1["resolved"], 2);
    for wrong in
        ["{}", r#"{"ids":["a"],"kind":"too_late"}"#, r#"{"kind":"conflict"}"#, r#"{"kind":"x"}"#, "["]
    {
        assert_eq!(replay(wrong).await.0, 400, "{wrong}");
    }
}

#[test]
fn the_checked_in_description_is_current() {
    expect_test::expect_file!["../../../openapi.json"].assert_eq(&openapi::text());
}

#[test]
fn the_description_has_every_route_and_every_reference_in_it_leads_somewhere() {
    let document = openapi::document();
    for operation in Operation::ALL {
        let method = operation.method().as_str().to_lowercase();
        let described = &document["paths"][operation.path()][&method];
        assert!(described["operationId"].is_string(), "{operation:?} is missing");
        let responses = described["responses"].as_object().expect("responses");
        assert_eq!(responses.len(), operation.statuses().len(), "{operation:?}");
    }
    let mut found = 0;
    references(&document, &mut |reference| {
        found += 1;
        let pointer = reference.strip_prefix('#').expect("references stay inside");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    });
    assert!(found > 20, "only {found} references");
}

/// What a schema requires is in the answer, at every depth that the schema describes.
fn assert_has_what_is_required(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("references stay inside");
        let target = document.pointer(pointer).expect("checked by another test");
        return assert_has_what_is_required(document, target, value, at);
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(value.get(name).is_some(), "{at} has no `{name}`: {value}");
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            assert_has_what_is_required(document, schema, value, &format!("{at}.{name}"));
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        assert_has_what_is_required(document, &schema["items"], value, &format!("{at}[{index}]"));
    }
}

#[tokio::test]
async fn answers_have_what_the_description_requires() {
    let (served, document) = (start(), openapi::document());
    let event = r#"{"id":"e1","source":"/m"}"#;
    let submitted = served.post("/v1/events?detail=all", "application/cloudevents+json", event).await;
    let mut answers = vec![("post", "/v1/events", submitted)];
    for (path, asked) in [
        ("/v1/usage", "/v1/usage"),
        ("/v1/usage", "/v1/usage?group_by=region"),
        ("/v1/exceptions", "/v1/exceptions"),
        ("/v1/rated-summaries", "/v1/rated-summaries"),
        ("/v1/reconciliation", "/v1/reconciliation"),
        ("/v1/trace/event", "/v1/trace/event?source=/m&id=e1"),
        ("/healthz", "/healthz"),
        ("/ready", "/ready"),
    ] {
        answers.push(("get", path, served.get(asked).await));
    }
    for (method, path, (status, answer)) in answers {
        assert_eq!(status, 200, "{path}: {answer}");
        let schema =
            &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path} is described");
        assert_has_what_is_required(&document, schema, &answer, path);
    }
}

/// An event with exactly the required attributes is one that the decoder takes.
#[test]
fn the_event_schema_requires_what_the_decoder_requires() {
    let document = openapi::document();
    let content = &document["paths"]["/v1/events"]["post"]["requestBody"]["content"];
    let required = &content["application/cloudevents+json"]["schema"]["required"];
    assert_eq!(*required, json!(["specversion", "id", "source", "type", "subject", "time"]));
}

fn references(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                visit(reference);
            }
            members.values().for_each(|member| references(member, visit));
        }
        Value::Array(elements) => elements.iter().for_each(|element| references(element, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn probes_and_documents_have_their_types() {
    let served = start();
    for (path, content_type) in [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/openapi.json", "application/json"),
        ("/ready", "application/json"),
    ] {
        let response = served.client.get(served.url(path)).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], content_type, "{path}");
    }
}
