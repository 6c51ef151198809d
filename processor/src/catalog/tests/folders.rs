//! A catalog as a folder: which files count, which version they are, and when it changed.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::super::{CatalogErrors, FILE_BYTES_MAX, FILES_MAX, changed, load, parse};
use super::{BASE, files};

fn folder(texts: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in texts {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn refused(folder: &Path) -> CatalogErrors {
    load(folder).expect_err("the folder is refused")
}

const ENTITY: &str = "[[legal_entity]]\nid = \"at\"\n";

#[test]
fn visible_toml_files_directly_in_the_folder_count() {
    let (rest, entity) =
        BASE.split_once("[[customer]]").map(|(a, b)| (a, format!("[[customer]]{b}"))).expect("both");
    let folder = folder(&[("b.toml", rest), ("a.toml", &entity), (".hidden.toml", "?"), ("readme.md", "?")]);
    fs::create_dir(folder.path().join("more.toml")).expect("a folder");
    fs::write(folder.path().join("more.toml/x.toml"), "?").expect("a file");
    let catalog = load(folder.path()).expect("a good catalog");
    let parsed = parse(&files(&[("a.toml", &entity), ("b.toml", rest)])).expect("a good catalog");
    assert_eq!(catalog.version, parsed.version);
    assert_eq!(catalog.meters, parsed.meters);
    assert_eq!(catalog.subscriptions, parsed.subscriptions);
}

#[test]
fn a_folder_without_a_catalog_says_so() {
    let empty = folder(&[("readme.md", "")]);
    let error = refused(empty.path()).to_string();
    assert!(error.contains("has no .toml file; add a file that ends in .toml"), "{error}");
    let error = refused(&empty.path().join("absent")).to_string();
    assert!(error.contains("absent: the catalog's folder cannot be read: "), "{error}");
}

#[test]
fn unreadable_files_do_not_hide_the_mistakes_of_others() {
    let folder = folder(&[("b.toml", "[timing]\ngrace = 1\n")]);
    fs::write(folder.path().join("a.toml"), b"[[legal_entity]]\nid = \"\xff\"\n").expect("a file");
    let big = fs::File::create(folder.path().join("c.toml")).expect("a file");
    big.set_len(FILE_BYTES_MAX + 1).expect("a sparse file");
    expect_test::expect![[r#"
        a.toml: the file is not UTF-8 from line 2 on; save it as UTF-8
        b.toml:2:9: timing.grace: expected text, found an integer; write it in quotes
        c.toml: the file has more than 67108864 bytes; allowed: 64 MiB a file and 256 MiB for the whole catalog; split or shorten it"#]].assert_eq(&refused(folder.path()).to_string());
}

#[test]
fn the_number_of_files_is_bounded() {
    let folder = TempDir::new().expect("a folder");
    for at in 0..=FILES_MAX {
        fs::write(folder.path().join(format!("{at}.toml")), "").expect("a file");
    }
    let error = refused(folder.path()).to_string();
    assert!(error.contains("has 1025 .toml files; at most 1024 are allowed"), "{error}");
}

#[test]
fn the_version_is_a_function_of_names_and_texts() {
    let version = |texts: &[(&str, &str)]| parse(&files(texts)).expect("good").version.0;
    let one = version(&[("a.toml", ENTITY), ("b.toml", "")]);
    assert_eq!(one.len(), 16);
    assert_eq!(one, version(&[("b.toml", ""), ("a.toml", ENTITY)]), "the order of reading is not content");
    for other in [
        &[("a.toml", ENTITY)][..],
        &[("a.toml", ""), ("b.toml", ENTITY)],
        &[("a.toml", ENTITY), ("c.toml", "")],
        &[("a.toml", ENTITY), ("b.toml", "\n")],
    ] {
        assert_ne!(one, version(other), "{other:?}");
    }
    // The same bytes in a row, but one file instead of two.
    assert_ne!(version(&[("a.toml", "#"), ("b.toml", "#")]), version(&[("a.toml", "#b.toml#")]));
    // Every journal line carries it: it must not change by accident.
    expect_test::expect!["562048a944c359de"].assert_eq(&one);
}

#[test]
fn a_change_of_content_is_a_change_and_a_change_of_time_is_none() {
    let folder = folder(&[("a.toml", ENTITY)]);
    let first = load(folder.path()).expect("good");
    assert!(changed(folder.path(), &first.version).expect("good").is_none());

    let file = fs::File::options().append(true).open(folder.path().join("a.toml")).expect("the file");
    file.set_modified(std::time::UNIX_EPOCH).expect("a time");
    assert!(changed(folder.path(), &first.version).expect("good").is_none());

    fs::write(folder.path().join("b.toml"), "[timing]\ngrace = \"1h\"\n").expect("a file");
    let (second, _) = changed(folder.path(), &first.version).expect("good").expect("another catalog");
    assert_ne!(second.version, first.version);
    assert!(changed(folder.path(), &second.version).expect("good").is_none());

    fs::write(folder.path().join("b.toml"), "[timing]\ngrace = 1\n").expect("a file");
    let error = changed(folder.path(), &second.version).expect_err("a mistake").to_string();
    assert!(error.starts_with("b.toml:2:9: timing.grace: expected text, found an integer"), "{error}");
}

/// Ten thousand customers load between two polls. The bound is far above the time it takes (tens of milliseconds)
/// and far below what a pass over all customers for each customer would take.
#[test]
fn ten_thousand_customers_load_fast() {
    let mut text = BASE.to_owned();
    for n in 0..10_000 {
        text += &format!(
            "[[customer]]\nid = \"c{n}\"\nname = \"Customer {n}\"\nsubjects = [\"c{n}-a\", \"c{n}-b\"]\nerp_debtor = \"D{n}\"\n\
             [[subscription]]\nid = \"s{n}\"\ncustomer = \"c{n}\"\nrate_card = \"std\"\nstart = 2026-01-01\ntime_zone = \"Europe/Budapest\"\n"
        );
    }
    let texts = files(&[("all.toml", &text)]);
    let begin = std::time::Instant::now();
    let catalog = parse(&texts).expect("good");
    let took = begin.elapsed();
    println!("10,000 customers and subscriptions ({} bytes): {took:?}", text.len());
    assert_eq!((catalog.customers.len(), catalog.subscriptions.len()), (10_001, 10_001));
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}
