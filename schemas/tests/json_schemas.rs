//! Are the checked-in JSON Schemas those of the types, and can old records still be read?

use std::path::PathBuf;

use serde_json::Value;
use tidemark_schemas::wire::v1;

fn folder() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("json")
}

/// Set `UPDATE_EXPECT=1` to write the files after a compatible change.
#[test]
fn schemas_are_checked_in() {
    for (name, schema) in v1::json_schemas() {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema serializes"));
        expect_test::expect_file![folder().join(format!("{name}.json"))].assert_eq(&text);
    }
}

/// The upgrade rule: within a version members are added, never removed or retyped, and none becomes required.
fn incompatible(before: &Value, after: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let members = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
    for (name, old) in members(before) {
        match after["properties"].get(&name) {
            None => faults.push(format!("`{name}` is gone")),
            Some(new) if new["type"] != old["type"] || new["$ref"] != old["$ref"] => {
                faults.push(format!("`{name}` has another type"));
            }
            Some(_) => {}
        }
    }
    for name in required(before) {
        if !required(after).contains(&name) {
            faults.push(format!("{name} is not always written any more"));
        }
    }
    faults
}

#[test]
fn the_rule_finds_what_breaks_readers() {
    let (_, schema) = v1::json_schemas().remove(0);
    assert!(incompatible(&schema, &schema).is_empty());
    let mut changed = schema.clone();
    changed["properties"].as_object_mut().expect("members").remove("amount_minor");
    changed["properties"]["currency"]["type"] = "integer".into();
    let faults = incompatible(&schema, &changed).join("; ");
    assert!(
        faults.contains("`amount_minor` is gone") && faults.contains("`currency` has another type"),
        "{faults}"
    );
}

/// Records as the first release wrote them. They are in customers' stores: this text never changes.
#[test]
fn golden_records_are_read_and_written_alike() {
    let golden = [
        r#"{"schema":"tidemark.receipt.v1","destination":"erp","record":"je_00","outcome":"accepted","reference":"entries/je_00.journal","at":"2026-01-15T10:00:00Z"}"#,
        r#"{"schema":"tidemark.receipt.v1","destination":"billing","record":"rs_00","outcome":"refused","reason":"unknown subscriber","at":"2026-01-15T10:00:00Z"}"#,
    ];
    for text in golden {
        let receipt: v1::Receipt = serde_json::from_str(text).expect("reads");
        assert_eq!(String::from_utf8(v1::to_bytes(&receipt)).expect("UTF-8"), text);
    }
    let rated = r#"{"schema":"tidemark.rated_summary.v1","id":"rs_00","billing_subscriber":"sub-1","legal_entity":"main","summary":{"tenant":"t","customer":"acme","subscription":"acme-1","meter":"tokens","unit":"token","dimensions":{"model":"a"},"window":{"start":"2026-01-15T10:00:00Z","end":"2026-01-15T11:00:00Z"},"period":{"start":"2026-01-01T00:00:00Z","end":"2026-02-01T00:00:00Z"},"revision":1,"quantity":"5","quantity_delta":"5","evidence":{"events":1,"digest":"000000000000000000000000000000ff"},"catalog_version":"v1"},"rate_card":"std","rate_card_version":"1","price_kind":"per_unit","cumulative_before":"0","cumulative_after":"5","currency":"USD","amount_minor":"5","amount":"0.05","amount_unrounded":"0.05"}"#;
    let record: v1::RatedSummary = serde_json::from_str(rated).expect("reads");
    assert_eq!(String::from_utf8(v1::to_bytes(&record)).expect("UTF-8"), rated);
}

/// What we write is valid by the schema that we publish; what is not, is found.
#[test]
fn records_are_valid_by_their_schemas() {
    let (_, schema) =
        v1::json_schemas().into_iter().find(|(name, _)| *name == v1::Receipt::SCHEMA).expect("listed");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let mut receipt = serde_json::json!({
        "schema": v1::Receipt::SCHEMA, "destination": "erp", "record": "je_00", "outcome": "accepted",
        "reference": "2026-0001", "at": "2026-01-15T10:00:00Z"
    });
    assert!(schema.is_valid(&receipt));
    receipt.as_object_mut().expect("an object").remove("outcome");
    assert!(!schema.is_valid(&receipt), "a receipt without an outcome says nothing");
}
