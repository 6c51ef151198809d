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

#[test]
fn usage_comes_by_billing_period_and_page_by_page() {
    let product = product();
    product.write("events.ndjson", "");
    let service = Service::start(&product, &[]);
    let at = |id: &str, day: &str, tokens: &str| event(id, "10:00:00", tokens).replace("2026-01-15", day);
    let events = [at("e1", "2026-01-15", "1"), at("e2", "2026-01-20", "2"), at("e3", "2026-02-03", "4")];
    assert_eq!(service.json("POST", "/v1/events", &events.join("\n"))["accepted"], 3);
    let rows = |path: &str| {
        let page = service.json("GET", path, "");
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{path}: {page}")).clone();
        let row = |row: &serde_json::Value| {
            format!("{} {} {}", row["meter"], row["period"]["start"], row["quantity"]).replace('"', "")
        };
        (items.iter().map(row).collect::<Vec<_>>(), page["next"].as_str().map(str::to_owned))
    };
    let all = [
        "requests 2026-01-01T00:00:00Z 2",
        "requests 2026-02-01T00:00:00Z 1",
        "tokens 2026-01-01T00:00:00Z 3",
        "tokens 2026-02-01T00:00:00Z 4",
    ];
    assert_eq!(rows("/v1/usage").0, all);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let (items, next) = rows(&format!("/v1/usage?limit=1{after}"));
        assert_eq!(items.len(), 1);
        paged.extend(items);
        let Some(next) = next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, all);
    let january = rows("/v1/usage?meter=tokens&from=2026-01-16T00:00:00Z&to=2026-02-01T00:00:00Z").0;
    assert_eq!(january, ["tokens 2026-01-01T00:00:00Z 2"]);
    for (asked, named) in [
        ("meter=nope", "tokens"),
        ("customer=nobody", "acme"),
        ("group_by=nope", "model"),
        ("after=zzz", "next"),
    ] {
        let problem = service.json("GET", &format!("/v1/usage?{asked}"), "");
        assert_eq!(problem["status"], 400, "{asked}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{problem}");
    }
}

#[test]
fn a_refused_change_of_the_catalog_shows_without_the_log() {
    let product = product();
    let service = Service::start(&product, &[]);
    let ready = service.json("GET", "/ready", "");
    assert_eq!((&ready["status"], &ready["catalog_change_refused"]), (&"ready".into(), &false.into()));
    let version = ready["catalog"].clone();
    assert!(version.is_string(), "{ready}");
    product.write("catalog/broken.toml", "[[meter]]\n");
    let began = std::time::Instant::now();
    while service.json("GET", "/ready", "")["catalog_change_refused"] == false {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "the change is looked at");
        std::thread::yield_now();
    }
    assert_eq!(service.json("GET", "/ready", "")["catalog"], version, "the old one is in force");
    let samples = service.samples();
    let accepted = samples.iter().find(|(name, _)| name == "tidemark_catalog_change_accepted");
    assert!(accepted.expect("the metric").1.abs() < f64::EPSILON);
}

#[test]
fn ingest_says_plainly_what_was_not_counted_and_fails_on_demand() {
    let product = product();
    let events = [event("e1", "10:00:00", "1"), event("e1", "10:00:00", "1"), "{not json".into()];
    product.write("events.ndjson", &events.join("\n"));
    let said = product.run(&["ingest", "events.ndjson", "--fail-on-rejected"]);
    assert!(!said.succeeded && said.err.contains("--fail-on-rejected"), "{said:#?}");
    assert!(said.out.contains("1 of 3 events were NOT counted: 1 rejected, 0 wait"), "{said:#?}");
    product.write("again.ndjson", &events[..2].join("\n"));
    product.succeed(&["ingest", "again.ndjson", "--fail-on-rejected"]);
}

#[test]
fn ingest_refuses_an_unknown_tenant_and_a_missing_file_before_it_reads() {
    let product = product();
    product.write("f1.ndjson", &event("e1", "10:00:00", "1"));
    let tenant = product.run(&["ingest", "f1.ndjson", "--tenant", "defualt"]);
    assert!(!tenant.succeeded && tenant.err.contains("name one of default"), "{tenant:#?}");
    let missing = product.run(&["ingest", "f1.ndjson", "nope.ndjson"]);
    assert!(!missing.succeeded && missing.err.contains("nope.ndjson"), "{missing:#?}");
    let out = product.succeed(&["ingest", "f1.ndjson"]);
    assert!(out.contains("counted 1"), "nothing was taken before: {out}");
}
