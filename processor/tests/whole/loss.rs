//! What happens when acknowledged commits are gone? A refusal, an operator's word, and a record of it that stays.

use crate::product::{Product, event};

#[test]
fn lost_commits_are_refused_until_an_operator_accepts_them() {
    let product = Product::new();
    product.write("first.ndjson", &(event("e1", "10:00:00", "5") + "\n"));
    product.write("second.ndjson", &(event("e2", "10:05:00", "7") + "\n"));
    product.succeed(&["ingest", "first.ndjson"]);
    product.succeed(&["ingest", "second.ndjson"]);
    lose_the_log(&product);

    let refused = product.run(&["ingest", "second.ndjson"]);
    assert!(!refused.succeeded, "{refused:#?}");
    for said in ["the state ends at commit", "1 events, but commit", "1 events are missing", "--accept-loss"]
    {
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
    }
    assert!(!product.run(&["reconcile"]).succeeded, "a refusal lasts until someone decides");

    let accepted = product.run(&["reconcile", "--json", "--accept-loss"]);
    assert!(accepted.succeeded, "{accepted:#?}");
    assert!(accepted.err.contains("starting without acknowledged commits"), "{}", accepted.err);
    // The position was lost with the event, so the file is read again.
    let again = product.succeed(&["ingest", "second.ndjson", "--complete"]);
    assert!(again.contains("counted 1 + again 0"), "{again}");
    assert_eq!(product.billed_minor(), 12);

    let report = product.json(&["reconcile", "--json"]);
    assert_eq!(report["ties_out"], true, "{report:#}");
    let losses = report["accepted_losses"].as_array().expect("they stay visible");
    assert_eq!((losses.len(), &losses[0]["events"]), (1, &1.into()), "{report:#}");
    let said = product.run(&["reconcile"]);
    assert!(said.out.contains("1 events were accepted as lost"), "{said:#?}");
    assert!(said.err.contains("accepted as lost"), "each start says so: {said:#?}");
}

/// Cuts the newest log of writes to nothing, as a disk does that reported syncs it did not make.
fn lose_the_log(product: &Product) {
    let entries = std::fs::read_dir(product.path("data/state/rows")).expect("a folder");
    let logs = entries.map(|entry| entry.expect("an entry").path());
    let newest = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max();
    let log = std::fs::OpenOptions::new().write(true).open(newest.expect("a log")).expect("a file");
    log.set_len(0).expect("a file that can be cut");
}
