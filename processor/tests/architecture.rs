//! Who may import whom? Edges do not import each other; one room names RocksDB, one DataFusion, one reads the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms and the rooms that they may import. A room that is not here may import nothing of this crate.
const MAY_IMPORT: [(&str, &[&str]); 16] = [
    // Edges. `field_value` is the word that decoding and metering share.
    ("decode", &["field_value"]),
    ("meter", &["field_value"]),
    ("source", &[]),
    ("store", &[]),
    ("catalog", &[]),
    ("deliver", &["clock", "observe"]),
    // Sinks implement the seam of `deliver`.
    ("billing", &["clock", "deliver"]),
    ("erp", &["clock", "deliver"]),
    ("http", &["config", "observe"]),
    ("observe", &["config"]),
    // Archived events are stored rows whose texts are decoded again.
    ("archive", &["decode", "store"]),
    // Wiring.
    ("ingest_plan", &["decode", "meter"]),
    ("demo", &[]),
    ("partition", &["archive", "catalog", "decode", "ingest_plan", "meter", "observe", "store"]),
    (
        "service",
        &[
            "archive",
            "catalog",
            "clock",
            "config",
            "decode",
            "deliver",
            "http",
            "ingest_plan",
            "meter",
            "observe",
            "partition",
            "store",
        ],
    ),
    (
        "cli",
        &[
            "billing",
            "clock",
            "config",
            "deliver",
            "demo",
            "erp",
            "http",
            "observe",
            "partition",
            "service",
            "source",
            "store",
        ],
    ),
];

/// Words that only one place may say.
const ONLY_IN: [(&str, &str); 3] =
    [("rocksdb::", "store/rocks.rs"), ("datafusion::", "meter/"), ("SystemTime::now", "clock.rs")];

/// Asked when run, not when built: a build may be shared by several checkouts.
fn package() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
}

fn root() -> PathBuf {
    package().join("src")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `(path below src, text)` of every source, tests aside.
fn all() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let relative =
        |path: &PathBuf| path.strip_prefix(root()).expect("below src").to_string_lossy().into_owned();
    let texts = files.iter().map(|path| (relative(path), std::fs::read_to_string(path).expect("a source")));
    let product: Vec<_> = texts.filter(|(path, _)| !path.contains("tests")).collect();
    assert!(product.len() > 60, "the sources were found");
    product
}

fn room(path: &str) -> &str {
    path.split('/').next().expect("a path").trim_end_matches(".rs")
}

/// The part before an inline test module.
fn code(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().expect("a text")
}

fn imports(text: &str) -> BTreeSet<&str> {
    let after = |marker: &'static str| {
        code(text).match_indices(marker).map(move |(at, _)| {
            let rest = &text[at + marker.len()..];
            &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
        })
    };
    after("crate::").filter(|name| !name.is_empty() && name.starts_with(char::is_lowercase)).collect()
}

#[test]
fn rooms_import_only_what_they_may() {
    let may: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let mut faults = Vec::new();
    for (path, text) in all() {
        let from = room(&path);
        for to in imports(&text) {
            let allowed = to == from || may.get(from).is_some_and(|rooms| rooms.contains(&to));
            if !allowed {
                faults.push(format!("{path} imports {to}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn one_place_names_each_engine() {
    for (word, place) in ONLY_IN {
        let elsewhere: Vec<_> = all()
            .into_iter()
            .filter(|(path, text)| {
                let said = code(text)
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .any(|line| line.contains(word));
                said && !path.starts_with(place)
            })
            .map(|(path, _)| path)
            .collect();
        assert!(elsewhere.is_empty(), "{word} belongs in {place}, not in {elsewhere:?}");
    }
}

#[test]
fn every_file_opens_with_its_question() {
    let mut files = Vec::new();
    let crates = ["src", "core/src", "../schemas/src", "../load-tests/src", "../benches/src"];
    for folder in crates {
        sources(&package().join(folder), &mut files);
    }
    let opens = |path: &PathBuf| std::fs::read_to_string(path).expect("a source").starts_with("//!");
    let silent: Vec<_> = files.iter().filter(|path| !opens(path)).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn the_search_finds_an_import() {
    let text = "use crate::store::Row;\nfn f() { crate::decode::envelope(b\"\") }\n#[cfg(test)]\nmod tests { use crate::http::x; }";
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), ["decode", "store"]);
}
