//! What is refused before it costs anything? Sizes, encodings, slowness, crowds.

use std::io::Write;
use std::time::Duration;

use serde_json::json;
use tidemark_schemas::limits::{REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Served, answer, settings, start, start_with};
use crate::http::metering::Unavailable;

const BATCHED: &str = "application/cloudevents-batch+json";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).expect("memory")
}

/// A batch whose events differ as much as real ones do.
fn batch(events: usize) -> String {
    let event = |n: usize| {
        let salt = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!(
            r#"{{"specversion":"1.0","id":"{salt:016x}","source":"/m","type":"call","subject":"{}"}}"#,
            salt >> 40
        )
    };
    format!("[{}]", (0..events).map(event).collect::<Vec<_>>().join(","))
}

async fn compressed(served: &Served, encoding: &str, body: Vec<u8>) -> (u16, serde_json::Value) {
    let request = served.client.post(served.url("/v1/events")).header("content-type", BATCHED);
    answer(request.header("content-encoding", encoding).body(body)).await
}

#[tokio::test]
async fn compressed_batches_are_counted_like_plain_ones() {
    let served = start();
    let plain = batch(3000);
    let (first, second) = plain.as_bytes().split_at(1000);
    let members = [gzip(first), gzip(second)].concat();
    for (encoding, body, counted) in [
        ("gzip", gzip(plain.as_bytes()), "accepted"),
        ("zstd", zstd(plain.as_bytes()), "duplicate"),
        ("x-gzip", gzip(plain.as_bytes()), "duplicate"),
        ("GZIP", members, "duplicate"),
        ("identity", plain.into_bytes(), "duplicate"),
    ] {
        let (status, answer) = compressed(&served, encoding, body).await;
        assert_eq!((status, &answer[counted]), (200, &json!(3000)), "{encoding}");
    }
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_unfolds() {
    let served = start();
    let zeros = vec![b' '; 64 * REQUEST_BYTES_MAX / 8];
    let slowly = batch(REQUEST_BYTES_MAX / 60);
    assert!(slowly.len() > REQUEST_BYTES_MAX);
    for (encoding, body) in [
        ("gzip", gzip(&zeros)),
        ("zstd", zstd(&zeros)),
        ("gzip", gzip(slowly.as_bytes())),
        ("zstd", zstd(slowly.as_bytes())),
    ] {
        let (status, _) = compressed(&served, encoding, body).await;
        assert_eq!(status, 413, "{encoding}");
    }
    // Small enough by itself, and still not what usage looks like.
    for body in [gzip(&zeros[..REQUEST_BYTES_MAX / 2]), gzip(&zeros[..128 * 1024])] {
        let (status, problem) = compressed(&served, "gzip", body).await;
        assert_eq!(status, 413);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("100 times")), "{problem}");
    }
    assert_eq!(served.memory.requests(), 0);
}

#[tokio::test]
async fn broken_and_unknown_encodings_are_refused() {
    let served = start();
    let whole = gzip(batch(100).as_bytes());
    let cut = whole[..whole.len() - 4].to_vec();
    let mut flipped = whole.clone();
    flipped[20] ^= 0xff;
    for (encoding, body, status) in [
        ("gzip", cut, 400),
        ("gzip", flipped, 400),
        ("gzip", batch(1).into_bytes(), 400),
        ("zstd", whole.clone(), 400),
        ("zstd", zstd(batch(100).as_bytes())[..40].to_vec(), 400),
        ("br", whole.clone(), 415),
        ("gzip, gzip", gzip(&whole), 415),
        ("", whole, 415),
    ] {
        assert_eq!(compressed(&served, encoding, body).await.0, status, "{encoding}");
    }
    assert_eq!(served.memory.requests(), 0);
}

#[tokio::test]
async fn too_many_events_are_refused_whole() {
    let served = start();
    assert_eq!(served.post("/v1/events", BATCHED, batch(REQUEST_EVENTS_MAX + 1)).await.0, 413);
    let lines = "{}\n".repeat(REQUEST_EVENTS_MAX + 1);
    assert_eq!(served.post("/v1/events", "application/x-ndjson", lines).await.0, 413);
    assert_eq!(served.memory.requests(), 0);
    let (status, answer) = served.post("/v1/events", BATCHED, batch(REQUEST_EVENTS_MAX)).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(REQUEST_EVENTS_MAX)));
}

fn head(length: &str) -> String {
    format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: {BATCHED}\r\n{length}\r\n\r\n")
}

#[tokio::test]
async fn a_declared_length_is_refused_before_a_byte_is_read() {
    let served = start();
    let answer = served.raw(head(&format!("Content-Length: {}", REQUEST_BYTES_MAX + 1)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""type":"urn:tidemark:problem:too-large""#), "{answer}");
}

#[tokio::test]
async fn an_undeclared_length_is_counted_while_reading() {
    let served = start();
    let mut request = head("Transfer-Encoding: chunked").into_bytes();
    request.extend_from_slice(format!("{:x}\r\n", REQUEST_BYTES_MAX + 1).as_bytes());
    request.resize(request.len() + REQUEST_BYTES_MAX + 1, b' ');
    let answer = served.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_slow_body_and_slow_headers_end() {
    let short = Duration::from_millis(50);
    let served =
        start_with(super::Http { body_timeout: short, header_timeout: short, ..settings() }, Vec::new());
    let answer = served.raw(format!("{}[", head("Content-Length: 100")).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let answer = served.raw(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Slow:").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(served.memory.requests(), 0);
}

#[tokio::test]
async fn what_the_product_cannot_take_comes_back_with_a_time() {
    let served = start();
    for (unavailable, status, seconds) in [
        (Unavailable::Busy { retry_after: Duration::from_millis(1200) }, 429, "2"),
        (Unavailable::NotReady { why: "recovering".into() }, 503, "1"),
        (Unavailable::Stopped { why: "a commit failed".into() }, 503, "60"),
    ] {
        served.memory.fail_with(unavailable);
        let request = served.client.post(served.url("/v1/events")).header("content-type", BATCHED);
        let response = request.body("[{}]").send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["retry-after"], seconds);
    }
    assert_eq!(served.get("/ready").await.0, 503);
    assert_eq!(served.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn one_request_too_many_is_told_so_and_probes_still_answer() {
    let served = start_with(super::Http { requests_max: 1, ..settings() }, Vec::new());
    // A body that has not come yet keeps its place.
    let mut slow = TcpStream::connect(served.address).await.expect("listening");
    let head = "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 2\r\n\r\n";
    slow.write_all(head.as_bytes()).await.expect("open");
    while served.get("/v1/usage").await.0 != 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.get("/healthz").await.0, 200);
    slow.write_all(b"{}").await.expect("open");
    let mut start = [0; 12];
    slow.read_exact(&mut start).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 200");
    while served.get("/v1/usage").await.0 != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn those_who_wait_leave_room_to_those_who_work() {
    let served = start_with(super::Http { requests_max: 1, ..settings() }, Vec::new());
    let url = served.url("/v1/rated-summaries?wait=30");
    let waiting = [(); 2].map(|()| tokio::spawn(answer(served.client.get(&url))));
    served.memory.was_read().await;
    assert_eq!(served.post("/v1/events", "application/x-ndjson", "{}").await.0, 200);
    served.memory.add_rated("{}");
    for waiting in waiting {
        assert_eq!(waiting.await.expect("no panic").0, 200);
    }
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let served = start_with(super::Http { connections_max: 1, ..settings() }, Vec::new());
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = TcpStream::connect(served.address).await.expect("listening");
    first.write_all(request).await.expect("open");
    let mut start = [0; 12];
    first.read_exact(&mut start).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 200");

    let mut second = TcpStream::connect(served.address).await.expect("the backlog takes it");
    // It may be closed before or after the request is sent.
    let _ = second.write_all(request).await;
    let mut answer = Vec::new();
    let _ = second.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}
