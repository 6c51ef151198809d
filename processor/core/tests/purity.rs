//! Is the core still pure? Its manifest names only crates that can reach nothing, and its code names no float, clock,
//! thread or file.

use std::path::{Path, PathBuf};

/// Crates that compute and nothing else. A new one is added here only after reading what it can reach.
const PURE: [&str; 6] = ["blake3", "foldhash", "hashbrown", "jiff", "thiserror", "tidemark-schemas"];

const BANNED: [(&str, &str); 9] = [
    ("f32", "binary floats are not exact"),
    ("f64", "binary floats are not exact"),
    ("std::fs", "the core does no I/O"),
    ("std::io", "the core does no I/O"),
    ("std::net", "the core does no I/O"),
    ("std::thread", "the core does not wait"),
    ("SystemTime", "the core has no clock"),
    ("Instant", "the core has no clock"),
    ("std::collections::HashMap", "its iteration order is random"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the core's sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn impure_words(text: &str) -> Vec<&'static str> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |word: &str| {
        code.match_indices(word).any(|(at, _)| {
            let before = code[..at].chars().next_back().is_some_and(is_word);
            let after = code[at + word.len()..].chars().next().is_some_and(is_word);
            !before && !after
        })
    };
    BANNED.iter().filter(|(word, _)| whole(word)).map(|(word, _)| *word).collect()
}

#[test]
fn the_manifest_names_only_pure_crates() {
    let manifest = include_str!("../Cargo.toml").parse::<toml::Table>().expect("a manifest");
    let dependencies = manifest["dependencies"].as_table().expect("dependencies");
    let impure: Vec<_> = dependencies.keys().filter(|name| !PURE.contains(&name.as_str())).collect();
    assert!(impure.is_empty(), "not known to be pure: {impure:?}");
}

#[test]
fn the_code_names_nothing_impure() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("../../schemas/src"), &mut files);
    assert!(files.len() > 20, "the sources were found");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        assert!(impure_words(&text).is_empty(), "{}: {:?}", file.display(), impure_words(&text));
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    assert_eq!(impure_words("let x: f64 = 1.0;\nuse std::time::Instant;"), ["f64", "Instant"]);
    assert!(impure_words("// an f64 in prose\nlet leaf64 = 1;").is_empty());
}
