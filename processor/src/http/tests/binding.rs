//! Which events are in a request? The CloudEvents HTTP binding, its conformance scenarios, and bodies that are no JSON.

use serde_json::{Value, json};

use super::{Served, answer, start};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";

fn event(id: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/m","type":"call","data":{{"n":1.10}}}}"#)
}

/// The only event of the last request, parsed.
fn last(served: &Served) -> Value {
    let events = served.memory.last_events();
    assert_eq!(events.len(), 1, "{events:?}");
    serde_json::from_str(&events[0]).expect("the product gets JSON")
}

/// Source: CloudEvents conformance, `http-protocol-binding.feature`, "Binary content mode".
#[tokio::test]
async fn conformance_binary_content_mode() {
    let served = start();
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        let body = "{\n    \"message\": \"Hello World!\"\n}";
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nce-specversion: 1.0\r\n\
             ce-type: com.example.someevent\r\nce-time: 2018-04-05T03:56:24Z\r\nce-id: 1234-1234-1234\r\n\
             ce-source: /mycontext/subcontext\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = served.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        let expected = json!({
            "id": "1234-1234-1234", "specversion": "1.0", "type": "com.example.someevent",
            "source": "/mycontext/subcontext", "time": "2018-04-05T03:56:24Z", "datacontenttype": content_type,
            "data": { "message": "Hello World!" },
        });
        assert_eq!(last(&served), expected);
    }
}

/// Source: as above, "Structured content mode".
#[tokio::test]
async fn conformance_structured_content_mode() {
    let served = start();
    let body = r#"{
        "specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z",
        "id": "1234-1234-1234", "source": "/mycontext/subcontext", "datacontenttype": "application/json",
        "data": { "message": "Hello World!" }
    }"#;
    for content_type in
        [STRUCTURED, "application/cloudevents+json; charset=utf-8", "Application/CloudEvents+JSON"]
    {
        let (status, _) = served.post("/v1/events", content_type, body).await;
        assert_eq!(status, 200);
        assert_eq!(served.memory.last_events(), [body], "the bytes are passed on unchanged");
    }
}

#[tokio::test]
async fn one_bad_event_does_not_hurt_its_neighbours() {
    let served = start();
    let body = format!(r#" [{}, {{"id":"no source"}} , 7,{}] "#, event("a"), event("b"));
    let (status, answer) = served.post("/v1/events", BATCHED, body).await;
    assert_eq!(status, 200);
    assert_eq!(served.memory.last_events(), [&event("a"), r#"{"id":"no source"}"#, "7", &event("b")]);
    let expected = json!({
        "received": 4, "accepted": 2, "duplicate": 0, "conflict": 0, "rejected": 2, "exceptions": 0, "meter_refusals": 0,
        "events": [
            { "index": 1, "id": "no source", "status": "rejected", "code": "missing_attribute", "path": "$.source", "reason": "no source" },
            { "index": 2, "status": "rejected", "code": "missing_attribute", "path": "$.source", "reason": "no source" },
        ],
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn every_fate_of_a_list_and_all_of_them_on_demand() {
    let served = start();
    let other = event("a").replace("1.10", "2");
    let waiting = event("w").replace("call", "unknown");
    let body = format!("[{},{},{other},{waiting},{{}}]", event("a"), event("a"));
    let (status, answer) = served.post("/v1/events?detail=all", BATCHED, body).await;
    assert_eq!(status, 200);
    let statuses: Vec<_> =
        answer["events"].as_array().expect("a list").iter().map(|event| &event["status"]).collect();
    assert_eq!(statuses, ["accepted", "duplicate", "conflict", "exception", "rejected"]);
    for count in ["accepted", "duplicate", "conflict", "exceptions", "rejected"] {
        assert_eq!(answer[count], 1, "{count}");
    }
    assert_eq!(answer["events"][3]["code"], "unknown_meter");
}

#[tokio::test]
async fn a_single_event_says_its_fate_by_status() {
    let served = start();
    for (body, status, counted) in [
        (event("a"), 200, "accepted"),
        (event("a"), 200, "duplicate"),
        (event("a").replace("1.10", "1.2"), 409, "conflict"),
        (event("w").replace("call", "unknown"), 202, "exceptions"),
        (r#"{"id":"x"}"#.into(), 400, "rejected"),
        ("7".into(), 400, "rejected"),
    ] {
        let (got, answer) = served.post("/v1/events", STRUCTURED, body.clone()).await;
        assert_eq!((got, &answer[counted], &answer["received"]), (status, &json!(1), &json!(1)), "{body}");
    }
}

#[tokio::test]
async fn an_empty_batch_is_fine_and_disturbs_nobody() {
    let served = start();
    for (content_type, body) in [(BATCHED, "[]"), (BATCHED, " [ ] "), (LINES, ""), (LINES, "\n\r\n")] {
        let (status, answer) = served.post("/v1/events", content_type, body).await;
        assert_eq!((status, &answer["received"]), (200, &json!(0)), "{content_type} {body:?}");
    }
    assert_eq!(served.memory.requests(), 0);
}

#[tokio::test]
async fn lines_are_events_and_a_broken_line_is_only_itself() {
    let served = start();
    let body = format!("{}\r\n\n{{\"id\": broken\n{}", event("a"), event("b"));
    let (status, answer) = served.post("/v1/events", LINES, body).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &json!(2), &json!(1)));
    assert_eq!(answer["events"][0]["index"], 1);
}

/// Sources: binding 1.0.2, section 3.1.3.2, with its example; RFC 7230, section 3.2.6 for quoted strings.
#[tokio::test]
async fn header_values_are_unquoted_and_percent_decoded_once() {
    let served = start();
    for (value, expected) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("Euro%20%e2%82%ac", "Euro €"),
        ("%41%2541", "A%41"),
        ("\"a \\\"quoted\\\" %41\"", "a \"quoted\" A"),
        ("plain", "plain"),
    ] {
        let request = binary(&served).header("ce-subject", value);
        let (status, _) = answer(request).await;
        assert!(status == 200 || status == 409, "{value}: {status}");
        assert_eq!(last(&served)["subject"], expected, "{value}");
    }
}

fn binary(served: &Served) -> reqwest::RequestBuilder {
    let request = served.client.post(served.url("/v1/events")).header("ce-specversion", "1.0");
    request.header("ce-id", "1").header("ce-source", "/m").header("ce-type", "call")
}

#[tokio::test]
async fn headers_that_break_the_binding_are_refused_whole() {
    let served = start();
    for (name, value) in [
        ("ce-subject", "%C0%A0"),
        ("ce-subject", "100%"),
        ("ce-subject", "%4"),
        ("ce-subject", "%zz"),
        ("ce-subject", "\"open"),
        ("ce-subject", "\"a\" b"),
        ("ce-datacontenttype", "text/plain"),
        ("ce-data", "1"),
        ("ce-a_b", "1"),
        ("ce-", "1"),
        ("ce-id", "again"),
    ] {
        let (status, problem) = answer(binary(&served).header(name, value)).await;
        assert_eq!(status, 400, "{name}: {value}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{problem}");
    }
    assert_eq!(served.memory.requests(), 0);
}

#[tokio::test]
async fn binary_data_keeps_its_digits_its_text_or_its_bytes() {
    let served = start();
    for (content_type, body, member, expected) in [
        (
            "application/json",
            &b"{\"n\": 12345678901234567890.10}"[..],
            "data",
            "{\"n\": 12345678901234567890.10}",
        ),
        ("application/vnd.x+json", b"[1]", "data", "[1]"),
        ("text/plain", "a \"b\" ä".as_bytes(), "data", "\"a \\\"b\\\" ä\""),
        ("application/octet-stream", b"\xff\x00", "data_base64", "\"/wA=\""),
        ("text/plain", b"\xff\x00", "data_base64", "\"/wA=\""),
    ] {
        let request = binary(&served).header("content-type", content_type).body(body);
        answer(request).await;
        let got = served.memory.last_events().remove(0);
        assert!(got.ends_with(&format!(",\"{member}\":{expected}}}")), "{content_type}: {got}");
        assert_eq!(last(&served)["datacontenttype"], content_type);
    }
    answer(binary(&served)).await;
    assert_eq!(last(&served).get("data"), None, "no body, no data");
}

#[tokio::test]
async fn other_types_are_refused_with_the_allowed_ones() {
    let served = start();
    for content_type in [
        "application/json",
        "text/plain",
        "application/cloudevents+avro",
        "application/cloudevents-batch+xml",
        "application/cloudevents+json; charset=utf-16",
    ] {
        let (status, problem) = served.post("/v1/events", content_type, event("a")).await;
        assert_eq!(status, 415, "{content_type}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!([STRUCTURED, BATCHED, LINES].iter().all(|allowed| detail.contains(allowed)), "{detail}");
    }
    assert_eq!(served.memory.requests(), 0);
}

/// Source: JSONTestSuite by Nicolas Seriot, `test_parsing/n_*`: what every parser must refuse.
const NO_JSON: &[&[u8]] = &[
    b"",
    b" ",
    b"[1 true]",
    b"[a\xe5]",
    b"[\"\": 1]",
    b"[\"\"],",
    b"[,1]",
    b"[1,,2]",
    b"[\"x\",,]",
    b"[\"x\"]]",
    b"[\"\",]",
    b"[\"x\"",
    b"[x",
    b"[3[4]]",
    b"[\xff]",
    b"[1:2]",
    b"[,]",
    b"[-]",
    b"[   , \"\"]",
    b"[\"a\",\n4\n,1,",
    b"[1,]",
    b"[1,1,]",
    b"[*]",
    b"[\"\"",
    b"[fals]",
    b"[nul]",
    b"[tru]",
    b"[++1234]",
    b"[+1]",
    b"[+Inf]",
    b"[-01]",
    b"[-1.0.]",
    b"[-2.]",
    b"[-NaN]",
    b"[.-1]",
    b"[.2e-3]",
    b"[0.1.2]",
    b"[0.3e+]",
    b"[0.e1]",
    b"[0E]",
    b"[1.0e+]",
    b"[1 000.0]",
    b"[1eE2]",
    b"[2.e3]",
    b"[9.e+]",
    b"[Inf]",
    b"[NaN]",
    b"[0x1]",
    b"[1+2]",
    b"[-Infinity]",
    b"[-foo]",
    b"[- 1]",
    b"[-012]",
    b"[012]",
    b"[1.]",
    b"[1ea]",
    b"[1e\xe5]",
    b"[\"x\", truth]",
    b"{[: \"x\"}\n",
    b"{\"x\", null}",
    b"{\"x\"::\"b\"}",
    b"{\"a\":\"a\" 123}",
    b"{key: 'value'}",
    b"{\"b\":1,",
    b"{\"id\":0,}",
    b"{1:1}",
    b"{\"a\":\"b\"}/**/",
    b"{\"a\":\"b\"}#",
    b"{\"a\" b}",
    b"{:\"b\"}",
    b"[\"\\uD800\\\"]",
    b"[\"\\u00A\"]",
    b"[\"\\x00\"]",
    b"[\"\\\xf0\x9f\x8c\x80\"]",
    b"[\"a\x00a\"]",
    b"[\"new\nline\"]",
    b"[\"\t\"]",
    b"abc",
    b"[\"asd]",
    b"\xef\xbb\xbf{}",
    b"<.>",
    b"[<null>]",
    b"[1]x",
    b"['",
    b"[True]",
    b"{\"asd\":\"asd\"",
    b"{}}",
    b"\x00",
    b"[\x0c]",
    b"2@",
    b"{\"a\": true} \"x\"",
    b"[\"a\xff\"]",
];

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_whole() {
    let served = start();
    let deep = vec![b'['; 100_000];
    for body in NO_JSON.iter().copied().chain([&deep[..]]) {
        for content_type in [STRUCTURED, BATCHED] {
            let (status, _) = served.post("/v1/events", content_type, body.to_vec()).await;
            assert_eq!(
                status,
                400,
                "{content_type} {:?}",
                String::from_utf8_lossy(&body[..body.len().min(80)])
            );
        }
    }
    // Good events before the fault do not slip through.
    let (status, _) = served.post("/v1/events", BATCHED, format!("[{},{},", event("a"), event("b"))).await;
    assert_eq!(status, 400);
    let (status, problem) = served.post("/v1/events", BATCHED, event("a")).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("array")), "{problem}");
    assert_eq!(served.memory.requests(), 0);
}
