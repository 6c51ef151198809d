//! Is the proof behind a journal entry about what was counted, and about nothing that waits?

use crate::product::{CATALOG, Product, event, event_of};

#[test]
fn evidence_takes_what_was_counted_and_not_what_waits() {
    let product = Product::new();
    let counted = event("e1", "10:00:00", "5");
    let (eu, us) = (event_of("acme-eu", "w1", "10:10:00", "7"), event_of("acme-us", "w2", "10:20:00", "9"));
    product.write("events.ndjson", &format!("{counted}\n{eu}\n{us}\n"));
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    let entries = |id: &str| {
        let trace = product.json(&["trace", "event", "/s", id, "--json"]);
        let entries = trace["usage"][0]["journal_entries"].as_array().expect("a list").clone();
        let ids = entries.iter().map(|entry| entry["id"].as_str().expect("text").to_owned());
        ids.collect::<std::collections::BTreeSet<_>>()
    };
    let evidence = |entry: &str| {
        let back = product.json(&["trace", "entry", entry, "--json"]);
        (back["events_total"].as_u64().expect("a number"), back["evidence_matches"] == true)
    };
    let first = entries("e1");
    for entry in &first {
        assert_eq!(evidence(entry), (1, true), "before the catalog knows the others");
    }

    // From now on the other two would feed the same window, but nobody has replayed them.
    let subjects = r#"subjects = ["acme", "acme-eu", "acme-us"]"#;
    product.write("catalog/catalog.toml", &CATALOG.replace(r#"subjects = ["acme"]"#, subjects));
    for entry in &first {
        assert_eq!(evidence(entry), (1, true), "while the others wait");
    }
    assert_eq!(product.json(&["trace", "event", "/s", "w1", "--json"])["fate"], "waiting");

    let list = product.succeed(&["exceptions", "list", "--json"]);
    let waiting = list.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let of_eu = waiting.filter(|record| record["event"]["id"] == "w1").map(|record| record["id"].clone());
    let ids: Vec<_> = of_eu.map(|id| id.as_str().expect("text").to_owned()).collect();
    let replayed = product.succeed(&["exceptions", "replay", &ids[0]]);
    assert!(replayed.contains("1 replayed: 1 are counted now"), "{replayed}");
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    let all = entries("w1");
    assert!(all.len() > first.len() && all.is_superset(&first), "{all:?}");
    for entry in &all {
        assert_eq!(evidence(entry), (2, true), "the replayed one was counted, the other still waits");
    }
}

#[test]
fn evidence_leaves_out_a_meter_that_waits_alone() {
    let product = Product::new();
    let requests = "\n[[meter]]\nid = \"requests\"\nevent_type = \"llm.request\"\naggregation = \"count\"\nwindow = \"hour\"\nunit = \"request\"\n";
    let catalog = format!("{CATALOG}{requests}");
    product.write("catalog/catalog.toml", &catalog);
    product.write("first.ndjson", &(event("e1", "10:00:00", "5") + "\n"));
    product.succeed(&["ingest", "first.ndjson"]);
    assert!(product.succeed(&["exceptions", "list"]).contains("missing_price"));

    let version = "\n[[rate_card.version]]\nversion = \"2\"\neffective_from = \"2026-01-02\"\n[[rate_card.version.charge]]\nmeter = \"tokens\"\nprice = { per_unit = \"0.01\" }\n[[rate_card.version.charge]]\nmeter = \"requests\"\nprice = { per_unit = \"1.00\" }\n\n[[legal_entity]]";
    product.write("catalog/catalog.toml", &catalog.replacen("\n[[legal_entity]]", version, 1));
    product.write("second.ndjson", &(event("e2", "10:20:00", "7") + "\n"));
    product.succeed(&["ingest", "second.ndjson", "--complete"]);
    let trace = product.json(&["trace", "event", "/s", "e1", "--json"]);
    let meters: Vec<_> =
        trace["usage"].as_array().expect("a list").iter().map(|usage| &usage["meter"]).collect();
    assert_eq!(meters, ["tokens"], "e1 waits for the other meter: {trace:#}");
    for usage in product.json(&["trace", "event", "/s", "e2", "--json"])["usage"].as_array().expect("a list")
    {
        for entry in usage["journal_entries"].as_array().expect("a list") {
            let id = entry["id"].as_str().expect("text");
            let back = product.json(&["trace", "entry", id, "--json"]);
            assert_eq!(back["evidence_matches"], true, "{back:#}");
        }
    }
}
