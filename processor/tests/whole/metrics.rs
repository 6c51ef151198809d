//! Is every metric fed? A service is made to do everything that one of them counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tidemark::observe::registry;

use crate::product::{Product, event, event_of};
use crate::service::Service;

/// Zero in a service that is well and idle; `observe::progress` sets them in its own tests.
const QUIET: [&str; 3] =
    ["tidemark_partition_poisoned", "tidemark_channel_depth", "tidemark_accepted_loss_events"];

/// A machine that is busy with other tests is given this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A billing platform that takes the first record, refuses the second, and is away from then on.
fn platform() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            read_request(&mut stream);
            let status =
                ["200 OK", "422 Unprocessable Content"].get(number).unwrap_or(&"503 Service Unavailable");
            let _ = write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    let _ = reader.read_exact(&mut vec![0; length]);
}

#[test]
fn every_metric_is_fed() {
    let product = Product::new();
    let config = format!(
        "[billing]\nkind = \"webhook\"\nurl = \"http://{}/usage\"\nsecret_env = \"BILLING_SECRET\"\n\
         [delivery]\nfailures_to_open = 1\n",
        platform()
    );
    product.write("config.toml", &config);
    let service = Service::start(&product, &["--config", "config.toml"]);
    let batch = |events: &[String]| {
        let answer = service.ask("POST", "/v1/events", &(events.join("\n") + "\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    batch(&[
        event("e1", "01:00:00", "5"),
        event("e1", "01:00:00", "5"),
        event("e1", "01:00:00", "6"),
        "{not json".into(),
        event_of("nobody", "e2", "01:00:00", "5"),
    ]);
    batch(&[event("e3", "05:00:00", "5")]);
    // Late, so that the window that has closed is adjusted.
    batch(&[event("e4", "01:30:00", "5")]);
    batch(&[event("e5", "10:00:00", "5"), event("e6", "20:00:00", "5")]);
    let lost = service.ask("GET", "/nowhere", "");
    assert!(lost.starts_with("HTTP/1.1 404"), "{lost}");

    let expected = [
        ("tidemark_ingest_batches_total", 4.0),
        (r#"tidemark_ingest_events_total{fate="accepted"}"#, 5.0),
        (r#"tidemark_ingest_events_total{fate="duplicate"}"#, 1.0),
        (r#"tidemark_ingest_events_total{fate="conflict"}"#, 1.0),
        (r#"tidemark_ingest_events_total{fate="rejected"}"#, 1.0),
        (r#"tidemark_ingest_events_total{fate="exception"}"#, 1.0),
        ("tidemark_windows_open", 1.0),
        ("tidemark_windows_closed_total", 3.0),
        ("tidemark_adjustments_total", 1.0),
        ("tidemark_exceptions_open", 4.0),
        (r#"tidemark_outbox_pending{destination="billing"}"#, 2.0),
        (r#"tidemark_outbox_pending{destination="erp"}"#, 0.0),
        (r#"tidemark_deliveries_total{destination="billing",outcome="accepted"}"#, 1.0),
        (r#"tidemark_deliveries_total{destination="billing",outcome="refused"}"#, 1.0),
        (r#"tidemark_delivery_breaker_state{destination="billing"}"#, 2.0),
        (r#"tidemark_delivery_breaker_state{destination="erp"}"#, 0.0),
        (r#"tidemark_http_requests_total{route="unmatched",code="404"}"#, 1.0),
    ];
    let began = Instant::now();
    let wrong = loop {
        let samples = service.samples();
        let value = |name: &str| samples.iter().find(|(sample, _)| sample == name).map(|(_, value)| *value);
        let mut wrong: Vec<_> = expected
            .iter()
            .filter(|(name, expected)| value(name) != Some(*expected))
            .map(|(name, expected)| format!("{name} is {:?} and not {expected}", value(name)))
            .collect();
        for metric in registry::ALL.iter().filter(|metric| !QUIET.contains(&metric.name)) {
            let of_metric =
                |name: &str| name.split(['{', ' ']).next().is_some_and(|name| belongs(name, metric.name));
            if !samples.iter().any(|(name, value)| of_metric(name) && *value > 0.0) {
                wrong.push(format!("{} was never fed", metric.name));
            }
        }
        if wrong.is_empty() || began.elapsed() > PATIENCE {
            break wrong;
        }
        std::thread::yield_now();
    };
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a sample is one of the metric: a histogram's has an ending of its own.
fn belongs(sample: &str, metric: &str) -> bool {
    let rest = sample.strip_prefix(metric);
    rest.is_some_and(|rest| rest.is_empty() || rest == "_count")
}
