//! What becomes of input that is wrong? Each kind has an answer with a reason, hurts no neighbour, and is told once however
//! often it is sent. Sources: acceptance cases; JSONTestSuite (MIT, N. Seriot) for depth and bytes.

use tidemark_schemas::limits::EVENT_BYTES_MAX;

use super::catalogs::plain;
use super::lab::*;

/// A request's record with these members instead of its own.
fn record(members: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        ("specversion", "\"1.0\""),
        ("id", "\"bad\""),
        ("source", "\"/s\""),
        ("type", "\"llm.request\""),
        ("subject", "\"acme\""),
        ("time", "\"2026-01-15T10:00:00Z\""),
        ("data", r#"{"tokens":5,"model":"a"}"#),
    ];
    let value = |name, own| members.iter().find(|(other, _)| *other == name).map_or(own, |(_, value)| *value);
    let all = own.iter().map(|(name, own)| (name, value(*name, own))).filter(|(_, value)| !value.is_empty());
    let all: Vec<_> = all.map(|(name, value)| format!("{name:?}:{value}")).collect();
    format!("{{{}}}", all.join(",")).into_bytes()
}

fn data(text: &str) -> Vec<u8> {
    record(&[("data", text)])
}

fn good(id: &str) -> Vec<u8> {
    record(&[("id", &format!("{id:?}"))])
}

/// Between two good events and sent twice: how it counts, and every exception that it leaves.
fn answer(bad: &[u8]) -> String {
    let log = [good("before"), bad.to_vec(), good("after"), bad.to_vec()];
    let kept = Disk::run(&plain().text(), &log, &Cut::coarsest());
    let counts = kept.progress.counts;
    let mut waits: Vec<_> = kept
        .exceptions()
        .iter()
        .map(|record| {
            let place = record.reason.split(':').next().expect("a first part").to_owned();
            let about = record.meter.clone().unwrap_or(if record.kind == "malformed" {
                place
            } else {
                String::new()
            });
            format!("{} {about}", record.kind).trim().to_owned()
        })
        .collect();
    waits.sort();
    let fate = match (counts.counted, counts.again, counts.rejected, counts.exceptions) {
        (3, 1, 0, 0) => "counted",
        (2, 1, 0, 1) => "waits",
        (2, 0, 2, 0) => "rejected",
        other => panic!("{other:?} {waits:?}"),
    };
    format!("{fate}: {}", waits.join(", "))
}

#[test]
fn every_kind_of_bad_input_has_its_answer() {
    let refused = "counted: refused_value mean, refused_value peak, refused_value tokens";
    let deep = |depth: usize| data(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    let long_id = |bytes: usize| record(&[("id", &format!("\"{}\"", "x".repeat(bytes)))]);
    let invalid_utf8 = [&b"{\"id\":\"\xff\","[..], &record(&[("id", "")])[1..]].concat();
    for (bad, expected) in [
        // Numbers: other meters of the event still count.
        (data(r#"{"tokens":true,"model":"a"}"#), refused),
        (data(r#"{"tokens":{},"model":"a"}"#), refused),
        (data(r#"{"tokens":"five","model":"a"}"#), refused),
        (data(r#"{"tokens":"NaN","model":"a"}"#), refused),
        (data(r#"{"tokens":"Infinity","model":"a"}"#), refused),
        (data(r#"{"tokens":null,"model":"a"}"#), refused),
        (data(r#"{"model":"a"}"#), refused),
        (data(r#"{"tokens":0.005,"model":"a"}"#), refused),
        (data(r#"{"tokens":1e40,"model":"a"}"#), refused),
        (data(r#"{"tokens":"5.00","model":"a"}"#), "counted: "),
        // No JSON, or not what CloudEvents says.
        (data(r#"{"tokens":NaN,"model":"a"}"#), "rejected: malformed invalid_json at $"),
        (data(r#"{"tokens":5,"tokens":5}"#), "rejected: malformed duplicate_key at $.data.tokens"),
        (b"".to_vec(), "rejected: malformed invalid_json at $"),
        (b"[]".to_vec(), "rejected: malformed not_an_object at $"),
        (invalid_utf8, "rejected: malformed invalid_json at $"),
        (deep(100_000), "rejected: malformed too_large at $"),
        (record(&[("id", "")]), "rejected: malformed missing_attribute at $.id"),
        (record(&[("id", "5")]), "rejected: malformed invalid_attribute at $.id"),
        (record(&[("source", "")]), "rejected: malformed missing_attribute at $.source"),
        (record(&[("time", "")]), "rejected: malformed missing_time at $.time"),
        (record(&[("time", "\"yesterday\"")]), "rejected: malformed invalid_time at $.time"),
        (record(&[("subject", "")]), "rejected: malformed missing_subject at $.subject"),
        (long_id(2_000), "rejected: malformed invalid_attribute at $.id"),
        (long_id(EVENT_BYTES_MAX), "rejected: malformed too_large at $"),
        // Good events that the catalog does not explain.
        (record(&[("type", "\"other\"")]), "waits: unknown_meter"),
        (record(&[("subject", "\"nobody\"")]), "waits: unmapped_subject"),
        (record(&[("time", "\"2025-12-31T23:59:59Z\"")]), "waits: missing_contract"),
        (record(&[("time", "\"2099-01-01T00:00:00Z\"")]), "waits: bad_clock"),
    ] {
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(200)]).into_owned();
        assert_eq!(answer(&bad), expected, "{shown}");
    }
    assert!(answer(&deep(30_000)).starts_with("rejected: malformed too_deep at $.data[0]"));
}

#[test]
fn separators_in_names_join_no_two_events() {
    let names =
        [("/s", "a/b"), ("/s/a", "b"), ("/s/a/b", "c"), ("/s|a", "b"), ("/s", "a|b"), ("/s", "a\\u0000b")];
    let quoted = |text: &str| format!("\"{text}\"");
    let log: Vec<_> = names
        .iter()
        .map(|(source, id)| record(&[("source", &quoted(source)), ("id", &quoted(id))]))
        .collect();
    let kept = Disk::run(&plain().text(), &log, &Cut::coarsest());
    assert_eq!((kept.progress.counts.counted, kept.identities.len()), (6, 6));
}
