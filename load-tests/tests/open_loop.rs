//! Does the generator feel the product's slowness, and does it keep its ledger straight? Against stand-ins.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_load::http::{Load, LoadError, Outcome};
use tidemark_load::ledger::{Ledger, Total};
use tidemark_load::product::{Product, ProductError};
use tidemark_load::report::Report;
use tidemark_load::stand_in::{Fault, spawn};
use tidemark_load::traffic::{EventClock, Traffic};
use tidemark_load::units::{Rate, Share};

const CUSTOMERS: u32 = 50;

fn load(url: &str, rate: Rate, duration: Duration) -> Load {
    let time = EventClock { start_ms: 1_767_225_600_000, slots_per_second: 1_000, speed: 1 };
    let resends = Share { millionths: 50_000 };
    Load {
        product: Product::new(url, None, 4, Duration::from_secs(10)).expect("an address"),
        traffic: Arc::new(Traffic::new(11, "test", CUSTOMERS, resends, time)),
        rate,
        batch_events: 20,
        connections: 4,
        duration,
        drain: Duration::from_secs(60),
    }
}

fn run(load: &Load) -> (Result<Outcome, LoadError>, Arc<Mutex<Ledger>>) {
    let ledger = Arc::new(Mutex::new(Ledger::new(CUSTOMERS)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(load.run(&ledger));
    (outcome, ledger)
}

/// Different events of the first `batches` batches, made again without the generator's bookkeeping.
fn brute_force(load: &Load, batches: u64) -> Total {
    let origins: std::collections::BTreeSet<u64> =
        (0..batches * load.batch_events).map(|slot| load.traffic.origin(slot)).collect();
    let mut total = Total::default();
    origins.iter().for_each(|origin| total.add(load.traffic.event(*origin).tokens));
    total
}

fn report(load: &Load, outcome: &Outcome, ledger: &Mutex<Ledger>) -> Report {
    Report::new("http", "test", 11, load, outcome, ledger.lock().expect("not poisoned").total())
}

#[test]
fn latency_of_an_overloaded_server_includes_the_queue() {
    // 100 batches are due within 200 ms, and the server needs 10 ms for each: the last one is answered after at
    // least 1,000 ms, and was due at 198 ms.
    let url = spawn(Fault::Slow(Duration::from_millis(10))).expect("a port");
    let open = load(&url, Rate::EventsPerSecond(10_000), Duration::from_millis(200));
    let (outcome, ledger) = run(&open);
    let outcome = outcome.expect("answered");
    assert_eq!(outcome.tally.batches_answered, 100);
    assert!(outcome.latency_us.max() >= 800_000, "{} us at most", outcome.latency_us.max());
    // The control: what a generator that waits for answers would have reported, of the same requests.
    let (felt, seen) = (outcome.latency_us.value_at_quantile(0.9), outcome.service_us.value_at_quantile(0.5));
    assert!(seen * 4 < felt, "a closed loop sees {seen} us where producers wait {felt} us");
    assert_eq!(ledger.lock().expect("not poisoned").total(), brute_force(&open, 100));
}

#[test]
fn arrivals_do_not_wait_for_answers() {
    // One connection is stuck behind 50 ms of work per batch: all 20 batches stay due within the first 100 ms, and
    // so the median one has waited for about ten others.
    let url = spawn(Fault::Slow(Duration::from_millis(50))).expect("a port");
    let mut open = load(&url, Rate::EventsPerSecond(4_000), Duration::from_millis(100));
    open.connections = 1;
    let outcome = run(&open).0.expect("answered");
    assert_eq!(outcome.tally.batches_answered, 20);
    assert!(outcome.latency_us.value_at_quantile(0.5) >= 400_000, "the median includes nine others' work");
    assert!(outcome.service_us.min() >= 50_000);
}

#[test]
fn what_could_not_be_sent_is_reported_with_its_age() {
    let url = spawn(Fault::Slow(Duration::from_millis(50))).expect("a port");
    let mut open = load(&url, Rate::EventsPerSecond(20_000), Duration::from_millis(100));
    open.drain = Duration::from_millis(100);
    let (outcome, ledger) = run(&open);
    let outcome = outcome.expect("ran");
    let report = report(&open, &outcome, &ledger);
    assert_eq!(report.batches.due, 100);
    assert!(report.batches.unsent > 50, "{} unsent", report.batches.unsent);
    assert!(outcome.latency_us.len() == 100, "every batch that was due has a latency");
    assert!(report.latency_us.p50 >= 100_000, "an unsent batch is at least as old as the drain is long");
}

#[test]
fn shed_batches_are_sent_again_until_they_are_taken() {
    let url = spawn(Fault::Sheds(7)).expect("a port");
    let open = load(&url, Rate::EventsPerSecond(20_000), Duration::from_millis(100));
    let (outcome, ledger) = run(&open);
    let outcome = outcome.expect("answered");
    let report = report(&open, &outcome, &ledger);
    assert_eq!((report.attempts.shed, report.attempts.sent), (7, 107));
    assert_eq!((report.batches.answered, report.batches.shed), (100, 0));
    assert_eq!(ledger.lock().expect("not poisoned").total(), brute_force(&open, 100));
    assert_eq!(report.findings, Vec::<String>::new());
    let events = report.events;
    assert_eq!(events.accepted, events.acknowledged);
    assert_eq!(events.accepted + events.duplicate, 2_000);
}

#[test]
fn the_closed_loop_counts_the_same() {
    let url = spawn(Fault::Honest).expect("a port");
    let closed = load(&url, Rate::Max, Duration::from_millis(100));
    let (outcome, ledger) = run(&closed);
    let batches = outcome.expect("answered").tally.batches_answered;
    assert!(batches > 0);
    assert_eq!(ledger.lock().expect("not poisoned").total(), brute_force(&closed, batches));
}

#[test]
fn refused_events_are_findings_and_not_in_the_ledger() {
    let url = spawn(Fault::Refuses).expect("a port");
    let open = load(&url, Rate::EventsPerSecond(20_000), Duration::from_millis(100));
    let (outcome, ledger) = run(&open);
    let report = report(&open, &outcome.expect("answered"), &ledger);
    assert_eq!(report.events.exceptions, 2);
    assert!(report.findings[0].contains("unmapped_subject"), "{:?}", report.findings);
    assert_eq!(report.events.accepted, report.events.acknowledged);
}

#[test]
fn an_event_accepted_twice_is_a_finding() {
    let url = spawn(Fault::Honest).expect("a port");
    let open = load(&url, Rate::EventsPerSecond(20_000), Duration::from_millis(100));
    let (outcome, ledger) = run(&open);
    let mut outcome = outcome.expect("answered");
    outcome.tally.answers.accepted += 1;
    outcome.tally.answers.duplicate -= 1;
    let findings = report(&open, &outcome, &ledger).findings;
    assert!(findings[0].starts_with("1 events were accepted more than once"), "{findings:?}");
}

#[test]
fn a_refused_request_ends_the_run_with_the_server_s_words() {
    let url = spawn(Fault::Honest).expect("a port");
    let wrong = load(&format!("{url}/elsewhere"), Rate::EventsPerSecond(1_000), Duration::from_secs(30));
    let error = run(&wrong).0.expect_err("there is no such path");
    assert!(
        matches!(&error, LoadError::Product(ProductError::Refused { status, .. }) if status.as_u16() == 404)
    );
    assert!(error.to_string().contains("not found"), "{error}");
}

#[test]
fn without_a_server_every_batch_ends_unknown() {
    // A port that was free a moment ago: connections are refused.
    let address = tidemark_load::server::free_loopback_port().expect("a port");
    let mut open =
        load(&format!("http://{address}"), Rate::EventsPerSecond(1_000), Duration::from_millis(100));
    open.drain = Duration::from_millis(100);
    let (outcome, ledger) = run(&open);
    let outcome = outcome.expect("ran");
    let tally = &outcome.tally;
    assert_eq!((tally.batches_answered, tally.batches_unknown + tally.batches_unsent), (0, 5));
    assert_eq!(outcome.unknown.len() as u64, tally.batches_unknown);
    assert!(tally.unanswered >= tally.batches_unknown && tally.batches_unknown > 0);
    assert_eq!(ledger.lock().expect("not poisoned").total(), Total::default());
}
