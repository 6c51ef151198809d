//! Can a person close what no replay will ever count?

use serde_json::Value;

use crate::product::{CATALOG, Product, event, event_of};
use crate::service::Service;

fn listed(product: &Product) -> Vec<Value> {
    let list = product.succeed(&["exceptions", "list", "--all", "--json"]);
    list.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn id_of(records: &[Value], kind: &str) -> String {
    let found = records.iter().find(|record| record["kind"] == kind).expect("such an exception");
    found["id"].as_str().expect("text").to_owned()
}

#[test]
fn dismissed_exceptions_keep_their_record_and_leave_only_the_open_count() {
    let product = Product::new();
    let events = [
        event("e1", "10:00:00", "5"),
        event("e1", "10:00:00", "6"),
        event_of("acme-eu", "e2", "10:00:00", "7"),
        "{not json".into(),
    ];
    product.write("events.ndjson", &events.join("\n"));
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    let records = listed(&product);
    let (conflict, unmapped) = (id_of(&records, "conflict"), id_of(&records, "unmapped_subject"));
    let malformed = id_of(&records, "malformed");
    let out = product.succeed(&[
        "exceptions",
        "dismiss",
        &conflict,
        &malformed,
        "--reason",
        "a test of the gateway",
    ]);
    assert!(out.contains("2 dismissed, 1 open in all"), "{out}");

    let of_conflict = listed(&product).into_iter().find(|record| record["id"] == *conflict).expect("kept");
    assert_eq!(of_conflict["status"], "dismissed", "{of_conflict:#}");
    let dismissal = &of_conflict["dismissal"];
    assert_eq!(dismissal["reason"], "a test of the gateway");
    assert!(dismissal["by"].as_str().is_some_and(|by| by.contains("user")), "{dismissal}");
    assert!(dismissal["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{dismissal}");

    // Again, and of something that never was: told, and nothing changes.
    let again = product.run(&["exceptions", "dismiss", &conflict, "ex_nope", "--reason", "again"]);
    assert!(!again.succeeded && again.err.contains("ex_nope"), "{again:#?}");
    assert!(again.out.contains("0 dismissed") && again.out.contains("was not open"), "{again:#?}");
    assert!(
        !product.run(&["exceptions", "dismiss", &unmapped, "--reason", " "]).succeeded,
        "a reason is needed"
    );

    // What was dismissed is nobody's usage, also once the catalog knows its customer.
    product.succeed(&["exceptions", "dismiss", &unmapped, "--reason", "paid by cheque"]);
    let subjects = CATALOG.replace(r#"subjects = ["acme"]"#, r#"subjects = ["acme", "acme-eu"]"#);
    product.write("catalog/catalog.toml", &subjects);
    assert!(product.succeed(&["exceptions", "replay"]).contains("0 replayed"));
    let trace = product.json(&["trace", "event", "/s", "e2", "--json"]);
    assert_eq!((&trace["fate"], &trace["usage"]), (&"dismissed".into(), &serde_json::json!([])), "{trace:#}");
    assert!(product.succeed(&["trace", "event", "/s", "e2"]).contains("paid by cheque"));
    let entry =
        product.json(&["trace", "event", "/s", "e1", "--json"])["usage"][0]["journal_entries"][0]["id"]
            .clone();
    let back = product.json(&["trace", "entry", entry.as_str().expect("booked"), "--json"]);
    assert_eq!((&back["events_total"], &back["evidence_matches"]), (&1.into(), &true.into()), "{back:#}");

    // It is in the sum of I-8 as before.
    let report = product.json(&["reconcile", "--json"]);
    assert_eq!(
        (&report["ties_out"], &report["checks"][0]["left"]),
        (&true.into(), &"4".into()),
        "{report:#}"
    );
    assert!(product.succeed(&["exceptions", "list"]).contains("0 open in all"));
}

#[test]
fn the_open_count_of_a_service_returns_to_zero() {
    let product = Product::new();
    let service = Service::start(&product, &[]);
    service.json("POST", "/v1/events", "{not json");
    let open = || {
        let samples = service.samples();
        samples.iter().find(|(name, _)| name == "tidemark_exceptions_open").expect("the metric").1
    };
    assert!((open() - 1.0).abs() < f64::EPSILON);
    let page = service.json("GET", "/v1/exceptions", "");
    let id = page["items"][0]["id"].as_str().expect("an id").to_owned();
    let dismiss = |body: String| service.json("POST", "/v1/exceptions/dismiss", &body);
    assert_eq!(dismiss(format!(r#"{{"ids":["{id}"],"reason":""}}"#))["status"], 400);
    assert_eq!(dismiss(r#"{"ids":[],"reason":"none"}"#.into())["status"], 400);
    let report = dismiss(format!(r#"{{"ids":["{id}","ex_nope"],"reason":"not ours"}}"#));
    assert_eq!(report, serde_json::json!({ "dismissed": 1, "not_open": [], "unknown": ["ex_nope"] }));
    assert!(open().abs() < f64::EPSILON);
    let record = service.json("GET", &format!("/v1/exceptions/{id}"), "");
    assert_eq!(record["dismissal"]["by"], "API key open", "{record:#}");
    assert_eq!(service.json("GET", "/v1/exceptions?status=dismissed", "")["items"][0]["id"], *id);
}

#[test]
fn exceptions_come_newest_first_and_unknown_ids_are_named() {
    let product = Product::new();
    for id in ["e1", "e2", "e3"] {
        product.write("events.ndjson", &event_of("nobody", id, "10:00:00", "1"));
        product.succeed(&["ingest", "events.ndjson"]);
    }
    let records = listed(&product);
    let ids: Vec<_> = records.iter().map(|record| record["event"]["id"].as_str().expect("text")).collect();
    assert_eq!(ids, ["e3", "e2", "e1"]);
    let since = records[1]["received_at"].as_str().expect("text");
    let later = product.succeed(&["exceptions", "list", "--since", since, "--kind", "unmapped_subject"]);
    assert!(later.contains("2 shown, 3 open"), "{later}");

    let said = product.run(&["exceptions", "replay", "ex_nope"]);
    assert!(!said.succeeded && said.err.contains("no exception ex_nope"), "{said:#?}");

    let service = Service::start(&product, &[]);
    let first = service.json("GET", "/v1/exceptions?limit=2", "");
    assert_eq!(first["items"][0]["event"]["id"], "e3", "{first:#}");
    let next = first["next"].as_str().expect("there is more");
    let second = service.json("GET", &format!("/v1/exceptions?limit=2&after={next}"), "");
    assert_eq!((&second["items"][0]["event"]["id"], &second["next"]), (&"e1".into(), &Value::Null));
    assert_eq!(service.json("GET", "/v1/exceptions?after=zzz", "")["status"], 400);
    assert_eq!(service.json("GET", "/v1/rated-summaries?after=7", "")["status"], 400);
    let report = service.json("POST", "/v1/exceptions/replay", r#"{"ids":["ex_nope"]}"#);
    assert_eq!((&report["selected"], &report["unknown"][0]), (&0.into(), &"ex_nope".into()));
}
