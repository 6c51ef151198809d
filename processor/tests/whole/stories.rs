//! From events to books, through the binary.

use crate::product::{CATALOG, Product, event, event_of, said};

#[test]
fn usage_becomes_lines_entries_and_a_proof() {
    let product = Product::new();
    let events = [
        event("e1", "10:00:00", "5"),
        event("e1", "10:00:00", "5"),
        event("e1", "10:00:00", "6"),
        event("e2", "10:30:00", "7"),
        event("e3", "11:00:00", "\"12\""),
        event_of("nobody", "e4", "11:00:00", "1"),
        "{not json".into(),
    ];
    product.write("events.ndjson", &events.join("\n"));
    let out = product.succeed(&["ingest", "events.ndjson", "--complete"]);
    assert!(out.contains("received 7 = counted 3 + again 1 + rejected 1 + exceptions 2"), "{out}");
    assert_eq!(product.billed_minor(), 24, "24 tokens at 0.01");

    let reconciliation = product.json(&["reconcile", "--json"]);
    assert_eq!(reconciliation["ties_out"], true, "{reconciliation:#}");

    let trace = product.json(&["trace", "event", "/s", "e2", "--json"]);
    let usage = &trace["usage"][0];
    assert_eq!(usage["rated"][0]["summary"]["quantity"], "12");
    let entry = usage["journal_entries"][0]["id"].as_str().expect("booked").to_owned();
    assert_eq!(usage["receipts"].as_array().expect("receipts").len(), 2, "billing and the ERP: {trace:#}");

    let back = product.json(&["trace", "entry", &entry, "--json"]);
    assert_eq!((&back["events_total"], &back["evidence_matches"]), (&2.into(), &true.into()), "{back:#}");
    assert!(product.path("data/erp").join(format!("entries/{entry}.journal")).exists());
}

#[test]
fn a_second_run_changes_nothing_and_says_so() {
    let product = Product::new();
    product.write(
        "events.ndjson",
        &format!("{}\n{}\n", event("e1", "10:00:00", "5"), event("e2", "12:00:00", "5")),
    );
    product.succeed(&["ingest", "events.ndjson"]);
    let first = product.rated_lines();
    let second = product.run(&["ingest", "events.ndjson"]);
    assert!(second.succeeded && second.err.contains("nothing has changed"), "{second:#?}");
    // The same events under another name are recognised one by one.
    std::fs::copy(product.path("events.ndjson"), product.path("copy.ndjson")).expect("a copy");
    let copy = product.succeed(&["ingest", "copy.ndjson"]);
    assert!(copy.contains("counted 0 + again 2"), "{copy}");
    assert_eq!(product.rated_lines(), first);
}

#[test]
fn what_waits_is_booked_once_the_catalog_knows_it() {
    let product = Product::new();
    product.write("events.ndjson", &format!("{}\n", event_of("bolt", "e1", "10:00:00", "50")));
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    let list = product.succeed(&["exceptions", "list"]);
    assert!(list.contains("unmapped_subject") && list.contains("1 open in all"), "{list}");
    let again = product.succeed(&["exceptions", "replay"]);
    assert!(again.contains("1 replayed: 0 are counted now, 1 still wait"), "{again}");

    let more = "[[customer]]\nid = \"bolt\"\nsubjects = [\"bolt\"]\n\n[[subscription]]\nid = \"bolt-1\"\ncustomer = \"bolt\"\nrate_card = \"std\"\nstart = \"2026-01-01\"\n";
    product.write("catalog/bolt.toml", more);
    let replayed = product.succeed(&["exceptions", "replay"]);
    assert!(replayed.contains("1 replayed: 1 are counted now, 0 still wait"), "{replayed}");
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    assert_eq!(product.billed_minor(), 50);
    assert!(product.succeed(&["exceptions", "list"]).contains("0 open in all"));
    assert_eq!(product.json(&["reconcile", "--json"])["ties_out"], true);
}

#[test]
fn a_catalog_that_changes_the_past_is_refused() {
    let product = Product::new();
    product.write("events.ndjson", &event("e1", "10:00:00", "5"));
    product.succeed(&["ingest", "events.ndjson"]);
    product.write("catalog/catalog.toml", &CATALOG.replace("0.01", "0.02"));
    let refused = product.run(&["ingest", "events.ndjson"]);
    assert!(!refused.succeeded, "{refused:#?}");
    assert!(refused.err.contains("rate card `std` version `1` has changed"), "{}", refused.err);
}

#[test]
fn every_mistake_of_a_catalog_is_explained() {
    let product = Product::new();
    assert!(product.succeed(&["check", "catalog"]).contains("no mistakes"));
    product.write(
        "catalog/catalog.toml",
        &CATALOG.replace("aggregation = \"sum\"", "aggregation = \"total\"\ncolour = 1"),
    );
    let mistakes = product.run(&["check", "catalog"]);
    assert!(!mistakes.succeeded);
    assert!(mistakes.err.contains("catalog.toml:11:") && mistakes.err.contains("colour"), "{}", mistakes.err);
    product.write(
        "catalog/catalog.toml",
        &CATALOG.replace("value = \"tokens\"", "value = \"tokens * 1.5 / 3\""),
    );
    let expression = product.run(&["check", "catalog"]);
    assert!(
        !expression.succeeded && expression.err.contains("catalog.toml:10:9: meter \"tokens\" value: "),
        "{}",
        expression.err
    );
    let missing = product.run(&["check", "nowhere"]);
    assert!(!missing.succeeded && !missing.err.contains("nowhere:1:1"), "{missing:#?}");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_by_name() {
    let product = Product::new();
    product.write("events.ndjson", &event("e1", "10:00:00", "5"));
    let mut command = product.command(&["ingest", "-", "--data", "data", "--catalog", "catalog"]);
    let mut first = command
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    // It holds the folder once its lock is there; how long that takes is the machine's business.
    let lock = product.path("data/state/rows/LOCK");
    let began = std::time::Instant::now();
    while !lock.exists() && began.elapsed() < std::time::Duration::from_secs(60) {
        std::thread::yield_now();
    }
    let mut second = product.run(&["ingest", "events.ndjson"]);
    while second.succeeded && began.elapsed() < std::time::Duration::from_secs(60) {
        second = product.run(&["ingest", "events.ndjson"]);
    }
    drop(first.stdin.take());
    assert!(first.wait().expect("ends").success());
    assert!(second.err.contains("another process"), "{second:#?}");
}

#[test]
fn an_interrupted_run_loses_and_doubles_nothing() {
    let product = Product::new();
    let lines: String = (0..200_000).map(|id| event(&format!("e{id}"), "10:00:00", "1") + "\n").collect();
    product.write("events.ndjson", &lines);
    for _ in 0..3 {
        let mut run = product
            .command(&["ingest", "events.ndjson", "--data", "data", "--catalog", "catalog"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        // Kill it as soon as it has written something more.
        let state = product.path("data/state/witness");
        let before = std::fs::read(&state).ok();
        let began = std::time::Instant::now();
        while std::fs::read(&state).ok() == before && began.elapsed() < std::time::Duration::from_secs(60) {
            std::thread::yield_now();
        }
        run.kill().expect("kill -9");
        run.wait().expect("ends");
    }
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    assert_eq!(product.billed_minor(), 200_000, "200,000 tokens at 0.01");
    assert_eq!(product.json(&["reconcile", "--json"])["ties_out"], true);
}

#[test]
fn keys_are_shown_once_and_stored_hashed() {
    let product = Product::new();
    let key = said(product.command(&["keys", "new", "gateway", "--tenant", "t"]).output().expect("runs"));
    assert!(key.out.starts_with("tm_gateway_") && key.out.lines().count() == 1, "{key:#?}");
    assert!(key.err.contains("hash = \"sha256:") && !key.err.contains(key.out.trim()), "{key:#?}");
    assert!(!product.run(&["keys", "new", "not a name"]).succeeded);
    let operator = product.run(&["keys", "new", "sre", "--tenant", "*", "--roles", "read,operate"]);
    assert!(operator.err.contains("tenant = \"*\"\nroles = [\"read\", \"operate\"]"), "{operator:#?}");
    for wrong in [&["--tenant", "*", "--roles", "ingest"][..], &["--roles", "root"], &["--tenant", "a b"]] {
        let said = product.run(&[&["keys", "new", "x"], wrong].concat());
        assert!(!said.succeeded && said.out.is_empty(), "{said:#?}");
    }
}
