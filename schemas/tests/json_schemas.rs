//! Are the checked-in JSON Schemas those of the types, and can old records still be read?

use std::path::PathBuf;

use serde_json::Value;
use tidemark_schemas::wire::v1;

fn folder() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("json")
}

/// Set `UPDATE_EXPECT=1` to write the files after a compatible change. An incompatible one fails before a file is
/// touched: it needs a wire version of its own, whose schemas have other names.
#[test]
fn schemas_are_checked_in() {
    let schemas = v1::json_schemas();
    let faults: Vec<_> = schemas
        .iter()
        .flat_map(|(name, schema)| breaks(&folder().join(format!("{name}.json")), schema))
        .collect();
    assert!(faults.is_empty(), "readers would break; raise the wire version instead:\n{}", faults.join("\n"));
    for (name, schema) in schemas {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema serializes"));
        expect_test::expect_file![folder().join(format!("{name}.json"))].assert_eq(&text);
    }
}

/// A schema that was published stays: its records are in customers' stores.
#[test]
fn every_schema_that_is_checked_in_is_still_one_of_the_types() {
    let known: Vec<_> = v1::json_schemas().into_iter().map(|(name, _)| format!("{name}.json")).collect();
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name) || !name.ends_with(".json"), "{name} has no type any more");
    }
}

/// What would break readers of the schema that is checked in at `path`; nothing when there is none yet.
fn breaks(path: &std::path::Path, schema: &Value) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let before = serde_json::from_str(&text).expect("a checked-in schema is JSON");
    let named = |fault: String| format!("{}: {fault}", path.display());
    incompatible(&before, schema).into_iter().map(named).collect()
}

/// What says which values a member takes.
const TYPE_KEYWORDS: [&str; 7] = ["type", "$ref", "format", "const", "enum", "anyOf", "oneOf"];

/// The upgrade rule: within a version members are added, never removed or retyped; those that are always written stay so,
/// and none becomes so, because stored records lack it.
fn incompatible(before: &Value, after: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    compare("", before, after, &mut faults);
    let definitions = |schema: &Value| schema["$defs"].as_object().cloned().unwrap_or_default();
    for (name, old) in definitions(before) {
        // One that is gone is found where it was referred to.
        if let Some(new) = after["$defs"].get(&name) {
            compare(&format!("{name}."), &old, new, &mut faults);
        }
    }
    faults
}

/// `inside` is the path of the schema's members, with its last point.
fn compare(inside: &str, before: &Value, after: &Value, faults: &mut Vec<String>) {
    let members = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    for (name, old) in members(before) {
        let path = format!("{inside}{name}");
        match after["properties"].get(&name) {
            None => faults.push(format!("`{path}` is gone")),
            Some(new) => compare_type(&path, &old, new, faults),
        }
    }
    let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
    let names = |schema| -> Vec<String> {
        required(schema).iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let (always_before, always_after) = (names(before), names(after));
    for name in always_before.iter().filter(|name| !always_after.contains(name)) {
        faults.push(format!("`{inside}{name}` is not always written any more"));
    }
    for name in always_after.iter().filter(|name| !always_before.contains(name)) {
        faults.push(format!("`{inside}{name}` is required now, but stored records lack it"));
    }
}

fn compare_type(path: &str, before: &Value, after: &Value, faults: &mut Vec<String>) {
    if TYPE_KEYWORDS.iter().any(|keyword| before[keyword] != after[keyword]) {
        faults.push(format!("`{path}` has another type"));
    }
    compare(&format!("{path}."), before, after, faults);
    for inner in ["items", "additionalProperties"] {
        compare_type_of_each(path, &before[inner], &after[inner], faults);
    }
}

fn compare_type_of_each(path: &str, before: &Value, after: &Value, faults: &mut Vec<String>) {
    if before.is_object() && after.is_object() {
        compare_type(&format!("{path}[]"), before, after, faults);
    } else if before != after {
        faults.push(format!("`{path}[]` has another type"));
    }
}

/// The rated summary's schema after `change`, against itself: what breaks.
fn broken_by(change: impl FnOnce(&mut Value)) -> String {
    let (_, schema) =
        v1::json_schemas().into_iter().find(|(name, _)| *name == v1::RatedSummary::SCHEMA).expect("listed");
    let mut changed = schema.clone();
    change(&mut changed);
    incompatible(&schema, &changed).join("; ")
}

#[test]
fn the_rule_finds_what_breaks_readers() {
    assert_eq!(broken_by(|_| ()), "");
    assert_eq!(broken_by(|schema| schema["properties"]["new"] = serde_json::json!({"type": "string"})), "");
    assert_eq!(
        broken_by(|schema| schema["properties"]["currency"]["type"] = "integer".into()),
        "`currency` has another type"
    );
    let gone = broken_by(|schema| {
        schema["properties"].as_object_mut().expect("members").remove("amount_minor");
    });
    assert_eq!(gone, "`amount_minor` is gone");
    let nested = broken_by(|schema| {
        let members = &mut schema["$defs"]["UsageSummary"]["properties"];
        members.as_object_mut().expect("members").remove("quantity");
        members["unit"]["type"] = "integer".into();
    });
    assert_eq!(nested, "`UsageSummary.quantity` is gone; `UsageSummary.unit` has another type");
    let required = broken_by(|schema| schema["required"] = serde_json::json!(["new"]));
    assert!(required.contains("`amount` is not always written any more"), "{required}");
    assert!(required.ends_with("`new` is required now, but stored records lack it"), "{required}");
}

/// `UPDATE_EXPECT=1` must not write over a published schema what breaks its readers.
#[test]
fn a_breaking_change_is_found_in_the_file_that_it_would_replace() {
    let (name, mut schema) = v1::json_schemas().remove(0);
    let path = folder().join(format!("{name}.json"));
    assert_eq!(breaks(&path, &schema), Vec::<String>::new());
    schema["properties"] = serde_json::json!({});
    assert!(!breaks(&path, &schema).is_empty());
    assert_eq!(breaks(&folder().join("tidemark.new.v1.json"), &schema), Vec::<String>::new());
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
