//! Does every folder of `examples` hang together? Its mapping feeds the meters, its prices give the expected amounts.
//!
//! Deliberately absent: the data. The folders say where it is published; here only their own files are compared.

use std::path::{Path, PathBuf};

use tidemark_schemas::Decimal;
use toml::{Table, Value};

fn folders() -> Vec<PathBuf> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("examples");
    let entries = std::fs::read_dir(root).expect("the folder of examples");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn read(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of the catalog as one table.
fn catalog(folder: &Path) -> Table {
    let mut whole = Table::new();
    for entry in std::fs::read_dir(folder.join("catalog")).expect("a catalog") {
        for (key, value) in read(&entry.expect("an entry").path()) {
            assert!(
                whole.insert(key.clone(), value).is_none(),
                "{key} is in two files of {}",
                folder.display()
            );
        }
    }
    whole
}

fn list<'a>(table: &'a Table, key: &str) -> &'a [Value] {
    table.get(key).and_then(Value::as_array).unwrap_or_else(|| panic!("no [[{key}]]"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no text `{key}` in {value:?}"))
}

fn number(value: &Value, key: &str) -> Decimal {
    text(value, key).parse().expect("a number")
}

#[test]
fn every_example_says_what_it_is_and_whose() {
    let folders = folders();
    assert!(folders.len() >= 3, "{folders:?}");
    for folder in folders {
        let readme = std::fs::read_to_string(folder.join("README.md")).expect("a README");
        for part in ["- address: <https://", "- licence: ", "- attribution: ", "```sh\ntidemark "] {
            assert!(readme.contains(part), "{} does not say {part}", folder.display());
        }
    }
}

#[test]
fn mappings_feed_every_field_of_every_meter() {
    for folder in folders() {
        let (mapping, catalog) = (read(&folder.join("mapping.toml")), catalog(&folder));
        let event = &mapping["event"];
        for attribute in ["id", "source", "subject"] {
            assert!(text(event, attribute).contains('{'), "{attribute} is the same for every row");
        }
        let members = mapping["data"].as_table().expect("[data]");
        for meter in list(&catalog, "meter") {
            assert_eq!(text(meter, "event_type"), text(event, "type"), "{}", folder.display());
            let fields = meter["fields"].as_table().expect("fields");
            for name in fields.keys() {
                assert!(members.contains_key(name), "{}: nothing feeds `{name}`", folder.display());
            }
            for dimension in meter["dimensions"].as_array().expect("dimensions") {
                assert!(fields.contains_key(dimension.as_str().expect("a name")), "{dimension:?}");
            }
        }
    }
}

#[test]
fn expected_amounts_are_quantity_times_price() {
    for folder in folders() {
        let (expected, catalog) = (read(&folder.join("expected.toml")), catalog(&folder));
        let charges = list(catalog["rate_card"][0]["version"][0].as_table().expect("a version"), "charge");
        let (mut unrounded, mut amount) = (Decimal::ZERO, Decimal::ZERO);
        for line in list(&expected, "line") {
            let charge = charges.iter().find(|charge| text(charge, "meter") == text(line, "meter"));
            let unit = number(&charge.expect("a charge for the meter")["price"], "per_unit");
            let owed = number(line, "quantity").mul(unit).expect("fits");
            assert_eq!(number(line, "unrounded"), owed, "{}: {line:?}", folder.display());
            assert_eq!(number(line, "amount"), Decimal::new(owed.rounded(2).expect("fits"), 2), "{line:?}");
            unrounded = unrounded.add(owed).expect("fits");
            amount = amount.add(number(line, "amount")).expect("fits");
        }
        let total = &expected["total"];
        assert_eq!((number(total, "unrounded"), number(total, "amount")), (unrounded, amount));
    }
}

#[test]
fn expected_records_reconcile() {
    for folder in folders() {
        let expected = read(&folder.join("expected.toml"));
        let of = |key: &str| expected["records"][key].as_integer().expect("a count");
        assert_eq!(of("received"), of("counted") + of("again") + of("rejected") + of("exceptions"), "I-8");
        let rows: i64 =
            list(&expected, "file").iter().map(|file| file["rows"].as_integer().expect("rows")).sum();
        assert!(of("received") <= rows, "{}", folder.display());
    }
}
