//! Do the totals tie out whatever was archived?

use crate::product::{Product, event, event_of};

#[test]
fn an_archive_that_is_switched_on_later_ties_out() {
    let product = Product::new();
    product.write("without.toml", "[archive]\nkind = \"none\"\n");
    let before = [
        event("e1", "10:00:00", "5"),
        event("e1", "10:00:00", "5"),
        event_of("nobody", "e2", "10:00:00", "5"),
    ];
    product.write("before.ndjson", &(before.join("\n") + "\n"));
    product.succeed(&["ingest", "before.ndjson", "--config", "without.toml"]);
    product.write("after.ndjson", &(event("e3", "10:05:00", "5") + "\n"));
    product.succeed(&["ingest", "after.ndjson"]);

    let report = product.json(&["reconcile", "--json"]);
    assert_eq!(report["ties_out"], true, "{report:#}");
    let checks = report["checks"].as_array().expect("a list");
    let archived = checks.iter().find(|check| check["name"].as_str().expect("text").contains("archived"));
    let archived = archived.expect("the archive is checked");
    assert_eq!((&archived["left"], &archived["right"]), (&"1".into(), &"1".into()), "{report:#}");
    assert!(archived["note"].as_str().expect("said").contains("2 events"), "{report:#}");
    assert!(product.succeed(&["reconcile"]).contains("2 events came while the archive was off"));
}
