//! Are the books complete, strict and written once? With hledger itself where it is installed.

use std::fs;
use std::process::Command;

use expect_test::expect;

use super::super::booking::tests::{entry, row};
use super::*;

fn take(folder: &Path, rows: &[OutboxRow]) -> Vec<Answer> {
    JournalFiles::open(folder).expect("a folder").take(rows)
}

fn accepted(id: &str) -> Answer {
    Answer::Accepted { reference: format!("entries/{id}.journal") }
}

/// Runs hledger in strict mode; `None`, with a line that says so, where it is not installed.
fn hledger(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let mut command = Command::new("hledger");
    command.arg("-f").arg(folder.join(INCLUDE_ALL)).args(arguments).env("LC_ALL", "C.UTF-8");
    match command.output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            eprintln!("SKIPPED: hledger cannot be run ({error}); the journal's strictness was NOT checked");
            None
        }
    }
}

#[test]
fn an_entry_is_one_strict_file() {
    let booking = Booking::of(&row(1, &entry("je-1"))).expect("balanced");
    expect![[r#"
        ; tidemark.journal_entry.v1: one count of USDc is 10^-2 USD
        commodity USDc
        account 1150:CUST-00001
        account 1150:M%C3%BCnster%3B%20GmbH%2C%2050%25
        account 4000

        2026-02-28 * (je-1) usage revenue
            ; legal-entity:acme-us, accounting-period:2026-02, posting-rule:usage, number:7, rated-lines:2
            1150:CUST-00001  40000 USDc  ; service-period:2026-01, debtor:CUST-00001
            1150:M%C3%BCnster%3B%20GmbH%2C%2050%25  7037 USDc  ; service-period:2026-01, debtor:M%C3%BCnster%3B%20GmbH%2C%2050%25
            4000  -47037 USDc  ; service-period:2026-01
    "#]]
    .assert_eq(&journal(&booking));
}

#[test]
fn hledger_accepts_the_books_and_agrees_on_the_balances() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut yen = entry("je-jpy");
    (yen.currency, yen.minor_digits) = ("JPY".into(), 0);
    let mut dinar = entry("je-bhd");
    (dinar.currency, dinar.minor_digits) = ("BHD".into(), 3);
    let mut unidad = entry("je-clf");
    (unidad.currency, unidad.minor_digits) = ("CLF".into(), 4);
    let mut nothing = entry("je-nothing");
    nothing.lines.clear();
    let mut huge = entry("je-huge");
    huge.lines.remove(1);
    huge.lines[0].debit_minor = i128::MAX.to_string();
    huge.lines[1].credit_minor = i128::MAX.to_string();
    huge.currency = "EUR".into();
    let entries = [entry("je-1"), entry("je-2"), yen, dinar, unidad, nothing, huge];
    let rows: Vec<OutboxRow> =
        entries.iter().zip(1..).map(|(entry, sequence)| row(sequence, entry)).collect();
    let expected: Vec<Answer> = entries.iter().map(|entry| accepted(&entry.id)).collect();
    assert_eq!(take(folder.path(), &rows), expected);

    let Some((strict, said)) = hledger(folder.path(), &["check", "-s"]) else { return };
    assert!(strict, "{said}");
    let (_, balances) =
        hledger(folder.path(), &["balance", "-s", "-N", "cur:USDc"]).expect("it ran a moment ago");
    let balances: Vec<&str> = balances.lines().map(str::trim).collect();
    let expected = [
        "-94074 USDc  4000",
        "80000 USDc  1150:CUST-00001",
        "14074 USDc  1150:M%C3%BCnster%3B%20GmbH%2C%2050%25",
    ];
    assert_eq!(balances, expected);
    let (_, by_debtor) =
        hledger(folder.path(), &["register", "tag:debtor=CUST-00001", "cur:USDc"]).expect("ran");
    assert_eq!(by_debtor.lines().count(), 2, "{by_debtor}");

    // The control: the same books with one cent too many are refused.
    let path = folder.path().join("entries/je-1.journal");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("40000 USDc", "40001 USDc")).expect("written");
    let (strict, said) = hledger(folder.path(), &["check", "-s"]).expect("it ran a moment ago");
    assert!(!strict && said.contains("1 USDc"), "{said}");
}

#[test]
fn a_repetition_changes_no_byte_and_is_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = [row(1, &entry("je-1"))];
    assert_eq!(take(folder.path(), &rows), [accepted("je-1")]);
    let path = folder.path().join("entries/je-1.journal");
    // A version with another layout wrote it: the entry counts, not the bytes.
    let older = fs::read_to_string(&path).expect("read").replace("usage revenue", "revenue");
    fs::write(&path, &older).expect("written");
    assert_eq!(take(folder.path(), &rows), [accepted("je-1")]);
    assert_eq!(fs::read_to_string(&path).expect("read"), older);
    assert_eq!(fs::read_dir(folder.path().join(ENTRIES_FOLDER)).expect("listed").count(), 1);
}

#[test]
fn other_content_under_the_same_id_is_a_conflict_and_stays() {
    for (from, to) in [
        ("40000 USDc", "40001 USDc"),
        ("1150:CUST-00001  ", "1150:CUST-00002  "),
        ("2026-02-28", "2026-03-31"),
        ("    4000  -47037 USDc  ; service-period:2026-01\n", ""),
        ("je-1) ", "je-2) "),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = [row(1, &entry("je-1")), row(2, &entry("je-2"))];
        take(folder.path(), &rows[..1]);
        let path = folder.path().join("entries/je-1.journal");
        let changed = fs::read_to_string(&path).expect("read").replace(from, to);
        fs::write(&path, &changed).expect("written");
        let answers = take(folder.path(), &rows);
        assert!(matches!(answers[0], Answer::Failed(Failure::Conflict { .. })), "{from}: {answers:?}");
        assert_eq!(answers[1], accepted("je-2"), "a parked entry holds nothing up");
        assert_eq!(fs::read_to_string(&path).expect("read"), changed);
    }
}

#[test]
fn a_damaged_row_stops_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut unbalanced = entry("je-1");
    unbalanced.lines.pop();
    let answers = take(folder.path(), &[row(1, &unbalanced), row(2, &entry("je-2"))]);
    assert!(matches!(answers[..], [Answer::Failed(Failure::Corrupt { .. }), Answer::NotSent]), "{answers:?}");
    assert_eq!(fs::read_dir(folder.path().join(ENTRIES_FOLDER)).expect("listed").count(), 0);
}
