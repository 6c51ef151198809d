//! Does what was decided leave, whatever the other side does? A service against a billing platform and an ERP that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::product::{Product, event, event_of};
use crate::service::{Arrived, OtherSide, Service, wait_for};

const PENDING: &str = r#"tidemark_outbox_pending{destination="billing"}"#;
const BREAKER: &str = r#"tidemark_delivery_breaker_state{destination="billing"}"#;

/// A second customer, `bolt`.
const BOLT: &str = "[[customer]]\nid = \"bolt\"\nsubjects = [\"bolt\"]\n\n[[subscription]]\nid = \"bolt-1\"\ncustomer = \"bolt\"\nrate_card = \"std\"\nstart = \"2026-01-01\"\n";

fn product() -> Product {
    let product = Product::new();
    product.write("catalog/bolt.toml", BOLT);
    product
}

fn no_body(status: u16) -> (u16, String) {
    (status, String::new())
}

#[test]
fn one_failing_subscriber_holds_no_other() {
    let platform = OtherSide::start(|request| match request.subscriber().as_str() {
        "acme" => (500, "database of acme is down".into()),
        _ => no_body(204),
    });
    let product = product();
    let service = Service::configured(&product, &platform.webhook());
    let of = |subscriber: &str| {
        platform.arrived().iter().filter(|request| request.subscriber() == subscriber).count()
    };
    service.send(&[event("a1", "01:00:00", "5"), event_of("bolt", "b1", "01:00:00", "5")]);
    service.send(&[event("a2", "03:00:00", "5")]);
    wait_for("acme has failed more often than a breaker takes", || (of("acme") > 5).then_some(()));
    for hour in [4, 6, 8] {
        let before = of("bolt");
        service.send(&[event_of("bolt", &format!("b{hour}"), &format!("0{hour}:00:00"), "5")]);
        service.send(&[event(&format!("c{hour}"), &format!("0{}:30:00", hour + 1), "5")]);
        wait_for("bolt is billed", || (of("bolt") > before).then_some(()));
        assert_eq!(service.metric(BREAKER), 0.0, "{}", service.log());
    }
    let bodies: Vec<String> =
        platform.arrived().iter().filter(|r| r.subscriber() == "acme").map(|r| r.body.clone()).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "nothing of acme overtakes its first row");
}

#[test]
fn a_wrong_address_holds_the_rows_and_says_why() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let platform = OtherSide::start(move |_| no_body(if mended.load(Ordering::Relaxed) { 204 } else { 404 }));
    let service = Service::configured(&product(), &platform.webhook());
    service.send(&[event("a1", "01:00:00", "5"), event("a2", "03:00:00", "5")]);
    wait_for("it was tried twice", || (platform.arrived().len() > 1).then_some(()));
    assert_eq!(service.metric(PENDING), 1.0);
    assert_eq!(service.metric("tidemark_exceptions_open"), 0.0);
    let log = service.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("404")), "{log}");
    is_mended.store(true, Ordering::Relaxed);
    wait_for("it has arrived", || (service.metric(PENDING) == 0.0).then_some(()));
}

#[test]
fn a_refused_record_is_an_exception_until_a_replay_is_accepted() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let platform = OtherSide::start(move |request| match request.subscriber().as_str() {
        "acme" if !mended.load(Ordering::Relaxed) => (422, "no such subscriber".into()),
        _ => no_body(204),
    });
    let service = Service::configured(&product(), &platform.webhook());
    service.send(&[event("a1", "01:00:00", "5"), event_of("bolt", "b1", "01:00:00", "5")]);
    service.send(&[event("a2", "03:00:00", "5")]);
    wait_for("both are answered", || {
        (service.metric(PENDING) == 0.0 && platform.arrived().len() > 1).then_some(())
    });

    let exceptions = |status: &str| {
        service.json("GET", &format!("/v1/exceptions?kind=refused_by_billing&status={status}"), "")["items"]
            .clone()
    };
    let open = exceptions("open");
    let record = &open[0];
    assert_eq!(open.as_array().map(Vec::len), Some(1), "{open:#}");
    assert!(
        record["reason"].as_str().is_some_and(|reason| reason.contains("no such subscriber")),
        "{record:#}"
    );
    assert_eq!(record["customer"], "acme");
    assert_eq!(service.metric("tidemark_exceptions_open"), 1.0);
    let refused = platform.arrived().into_iter().find(|r| r.subscriber() == "acme").expect("it was sent");
    assert_eq!(record["record"], refused.json()["id"]);
    let log = service.log();
    let warnings = log.lines().filter(|line| line.contains("WARN") && line.contains("no such subscriber"));
    assert_eq!(warnings.count(), 1, "{log}");
    assert_eq!(service.json("GET", "/v1/reconciliation", "")["ties_out"], false);

    // Nothing was mended: it is sent, refused and waits again.
    let id = record["id"].as_str().expect("an id");
    let replay = || service.json("POST", "/v1/exceptions/replay", &format!(r#"{{"ids":["{id}"]}}"#));
    let sent = || {
        let same =
            |r: &Arrived| r.body == refused.body && r.header("webhook-id") == record["record"].as_str();
        platform.arrived().iter().filter(|r| same(r)).count()
    };
    assert_eq!(replay()["resent"], 1);
    wait_for("it was refused again", || (sent() == 2 && service.metric(PENDING) == 0.0).then_some(()));
    assert_eq!(service.metric("tidemark_exceptions_open"), 1.0);

    is_mended.store(true, Ordering::Relaxed);
    assert_eq!(replay()["resent"], 1);
    wait_for("it was accepted", || (sent() == 3 && service.metric(PENDING) == 0.0).then_some(()));
    assert_eq!(exceptions("resolved")[0]["id"], id);
    assert_eq!(service.metric("tidemark_exceptions_open"), 0.0);
    assert_eq!(replay()["selected"], 0, "nothing waits any more");
    let trace = service.json("GET", "/v1/trace/event?source=/s&id=a1", "");
    let receipts = trace["usage"][0]["receipts"].as_array().expect("receipts").iter();
    let of_billing = receipts.filter(|receipt| receipt["destination"] == "billing");
    let outcomes: Vec<_> = of_billing.map(|receipt| receipt["outcome"].clone()).collect();
    assert_eq!(outcomes, ["refused", "refused", "accepted"], "{trace:#}");
    let reconciliation = service.json("GET", "/v1/reconciliation", "");
    assert_eq!(reconciliation["ties_out"], true, "{reconciliation:#}");
}

#[test]
fn an_entry_that_the_erp_refuses_is_an_exception_too() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let booked = std::sync::Mutex::new(None);
    let erp = OtherSide::start(move |request| {
        let mut booked = booked.lock().expect("no thread panics holding it");
        match (request.method.as_str(), &*booked) {
            ("GET", Some(standing)) => (200, serde_json::Value::to_string(standing)),
            ("GET", None) => no_body(404),
            _ if !mended.load(Ordering::Relaxed) => (400, "period 2026-01 is closed".into()),
            _ => {
                let entry = request.json();
                let sum = |side: &str| {
                    let lines = entry["lines"].as_array().expect("lines").iter();
                    lines
                        .map(|line| line[side].as_str().expect("text").parse::<i64>().expect("digits"))
                        .sum::<i64>()
                        .to_string()
                };
                *booked = Some(serde_json::json!({
                    "id": entry["id"], "state": "posted", "legal_entity": entry["legal_entity"],
                    "currency": entry["currency"], "accounting_period": entry["accounting_period"],
                    "debit_minor": sum("debit_minor"), "credit_minor": sum("credit_minor"),
                    // An ERP that echoes our own number, which is one.
                    "number": entry["number"],
                }));
                no_body(201)
            }
        }
    });
    let product = product();
    product.write("events.ndjson", &event("a1", "01:00:00", "5"));
    product
        .write("config.toml", &format!("[erp]\nkind = \"http\"\nurl = \"http://{}/journal\"\n", erp.address));
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--config", "config.toml"]);
        product.succeed(&all)
    };
    run(&["ingest", "events.ndjson", "--complete"]);
    let list = run(&["exceptions", "list"]);
    assert!(list.contains("refused_by_erp") && list.contains("period 2026-01 is closed"), "{list}");
    assert!(list.contains("1 open in all"), "{list}");
    is_mended.store(true, Ordering::Relaxed);
    let replayed = run(&["exceptions", "replay"]);
    assert!(replayed.contains("1 sent again"), "{replayed}");
    assert!(run(&["exceptions", "list"]).contains("0 open in all"));
    let reconciliation: serde_json::Value =
        serde_json::from_str(&run(&["reconcile", "--json"])).expect("JSON");
    assert_eq!(reconciliation["ties_out"], true, "{reconciliation:#}");
}

#[test]
fn plain_http_is_refused_by_the_key_that_allows_it() {
    let product = product();
    product.write("events.ndjson", &event("a1", "01:00:00", "5"));
    for (section, kind, more) in
        [("billing", "webhook", "secret_env = \"BILLING_SECRET\"\n"), ("erp", "http", "")]
    {
        let config = format!("[{section}]\nkind = \"{kind}\"\nurl = \"http://192.0.2.1:9/\"\n{more}");
        product.write("config.toml", &config);
        let arguments = ["ingest", "events.ndjson", "--config", "config.toml"];
        let refused = product.run(&arguments);
        let key = format!("{section}.plain_http = true");
        assert!(!refused.succeeded && refused.err.contains(&key), "{refused:#?}");
        product.write("config.toml", &format!("{config}plain_http = true\n"));
        let allowed = product.run(&arguments);
        assert!(allowed.succeeded, "{allowed:#?}");
    }
}

#[test]
fn a_stop_takes_no_longer_than_its_grace() {
    let platform = OtherSide::start(|_| {
        std::thread::sleep(Duration::from_secs(15));
        no_body(204)
    });
    let config = format!("{}[http]\nshutdown_grace_ms = 500\n", platform.webhook());
    let service = Service::configured(&product(), &config);
    service.send(&[event("a1", "01:00:00", "5"), event("a2", "03:00:00", "5")]);
    wait_for("a request is on its way", || (!platform.arrived().is_empty()).then_some(()));
    let (status, took, log) = service.terminate();
    assert!(status.success(), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}: {log}");
    assert!(log.lines().last().is_some_and(|line| line.ends_with("stopped")), "{log}");
}

#[test]
fn a_breaker_is_seen_opening_and_closing() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let platform = OtherSide::start(move |_| no_body(if mended.load(Ordering::Relaxed) { 204 } else { 401 }));
    let config = format!(
        "{}[delivery]\nfailures_to_open = 2\nopen_ms = 100\nfirst_wait_ms = 10\nlongest_wait_ms = 50\n",
        platform.webhook()
    );
    let service = Service::configured(&product(), &config);
    service.send(&[event("a1", "01:00:00", "5"), event("a2", "03:00:00", "5")]);
    wait_for("the breaker is open", || (service.metric(BREAKER) == 2.0).then_some(()));
    is_mended.store(true, Ordering::Relaxed);
    wait_for("it is closed", || (service.metric(BREAKER) == 0.0).then_some(()));
    assert_eq!(service.metric(PENDING), 0.0);
    let log = service.log();
    for word in ["breaker is open", "breaker is half-open", "breaker is closed"] {
        assert!(log.contains(word), "{word}: {log}");
    }
}

#[test]
fn a_folder_that_was_deleted_is_made_again() {
    let product = product();
    let service = Service::configured(&product, "");
    service.send(&[event("a1", "01:00:00", "5"), event("a2", "03:00:00", "5")]);
    wait_for("the first line is there", || {
        (product.path("data/billing").exists() && product.rated_lines().len() == 1).then_some(())
    });
    for folder in ["data/billing", "data/erp"] {
        std::fs::remove_dir_all(product.path(folder)).expect("deleted");
    }
    service.send(&[event("a3", "05:00:00", "5")]);
    wait_for("the second line is there", || {
        (product.path("data/billing").exists() && product.rated_lines().len() == 1).then_some(())
    });
    wait_for("its receipt is committed", || (service.metric(PENDING) == 0.0).then_some(()));
    let log = service.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("was missing")), "{log}");
}
