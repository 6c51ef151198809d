//! Does the answer about an event say all that became of it?

use crate::product::{CATALOG, Product, event, event_of};
use crate::service::Service;

/// Reads the same events as `tokens`, and takes any value.
const REQUESTS: &str = r#"
[[meter]]
id = "requests"
event_type = "llm.request"
aggregation = "count"
window = "hour"
unit = "request"
"#;

fn product() -> Product {
    let product = Product::new();
    let charge = "[[rate_card.version.charge]]\nmeter = \"requests\"\nprice = { per_unit = \"0.01\" }\n\n[[legal_entity]]";
    product.write(
        "catalog/catalog.toml",
        &format!("{}{REQUESTS}", CATALOG.replacen("[[legal_entity]]", charge, 1)),
    );
    product
}

#[test]
fn an_event_that_one_meter_refused_is_not_answered_as_plainly_accepted() {
    let product = product();
    let service = Service::start(&product, &[]);
    let answer = service.json("POST", "/v1/events", &event("e1", "10:00:00", "1.5"));
    assert_eq!((&answer["accepted"], &answer["exceptions"]), (&1.into(), &0.into()), "{answer:#}");
    assert_eq!(answer["meter_refusals"], 1, "{answer:#}");
    let told = &answer["events"][0];
    assert_eq!((&told["status"], &told["id"]), (&"accepted".into(), &"e1".into()), "{answer:#}");
    let refusal = &told["refused_by"][0];
    assert_eq!((&refusal["meter"], &refusal["code"]), (&"tokens".into(), &"refused_value".into()));
    let id = refusal["exception"].as_str().expect("an id");
    let exception = service.json("GET", &format!("/v1/exceptions/{id}"), "");
    assert_eq!((&exception["status"], &exception["reason"]), (&"open".into(), &refusal["reason"]));
    let plain = service.json("POST", "/v1/events", &event("e2", "10:00:00", "2"));
    assert_eq!((&plain["accepted"], &plain["events"]), (&1.into(), &serde_json::json!([])), "{plain:#}");
}

#[test]
fn ingest_tells_of_single_meters_that_refused() {
    let product = product();
    product.write(
        "events.ndjson",
        &format!("{}\n{}\n", event("e1", "10:00:00", "1.5"), event("e2", "10:00:00", "2")),
    );
    let out = product.succeed(&["ingest", "events.ndjson"]);
    assert!(out.contains("received 2 = counted 2 + again 0 + rejected 0 + exceptions 0"), "{out}");
    assert!(out.contains("not counted by every meter: 1 more exceptions"), "{out}");
    assert!(out.contains("tidemark exceptions list"), "{out}");
}

#[test]
fn a_conflict_with_what_only_waits_is_not_said_to_be_counted() {
    let product = product();
    let waits = [event_of("nobody", "e1", "10:00:00", "1"), event_of("nobody", "e1", "10:00:00", "2")];
    let service = Service::start(&product, &[]);
    let answer = service.json("POST", "/v1/events", &waits.join("\n"));
    let reason = answer["events"][1]["reason"].as_str().expect("a reason");
    assert!(reason.contains("was received before") && !reason.contains("counted"), "{reason}");
}
