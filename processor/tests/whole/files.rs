//! Does reconciliation notice that files behind its numbers are gone, and is a wrong folder refused?

use std::path::PathBuf;

use serde_json::Value;

use crate::product::{Product, event};

fn product() -> Product {
    let product = Product::new();
    let events = [event("e1", "10:00:00", "13000"), event("e2", "11:00:00", "69")];
    product.write("events.ndjson", &(events.join("\n") + "\n"));
    product.succeed(&["ingest", "events.ndjson", "--complete"]);
    product
}

fn first_file(product: &Product, folder: &str) -> PathBuf {
    let entries = std::fs::read_dir(product.path(folder)).expect("a folder");
    let files = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    files.min().expect("a file")
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no check `{name}`: {report:#}"))
}

#[test]
fn files_that_are_gone_or_cut_do_not_tie_out() {
    let parquet = "archive files listed = whole";
    for (folder, name) in [
        ("data/archive", parquet),
        ("data/billing", "billing files delivered = there"),
        ("data/erp/entries", "journal files delivered = there"),
    ] {
        let product = product();
        let report = product.json(&["reconcile", "--json"]);
        let whole = check(&report, name);
        assert_eq!((&report["ties_out"], &whole["ties_out"]), (&true.into(), &true.into()), "{report:#}");
        assert_ne!(whole["left"], "0", "{report:#}");
        assert!(whole["note"].as_str().is_some_and(|note| note.contains("looked at names")), "{report:#}");

        let file = first_file(&product, folder);
        let content = std::fs::read(&file).expect("a file");
        std::fs::write(&file, []).expect("cut");
        assert!(!product.run(&["reconcile"]).succeeded, "{name}: cut to nothing");
        std::fs::write(&file, content).expect("put back");
        std::fs::remove_file(&file).expect("removed");
        let said = product.run(&["reconcile"]);
        let missing = format!("{} is missing", file.file_name().expect("a name").display());
        assert!(!said.succeeded && said.out.contains(&missing), "{name}: {said:#?}");
    }
}

#[test]
fn an_event_of_a_missing_archive_file_is_not_blamed_on_the_disk() {
    let product = product();
    std::fs::remove_file(first_file(&product, "data/archive")).expect("removed");
    let said = product.run(&["trace", "event", "/s", "e1"]);
    assert!(!said.succeeded && said.err.contains("is missing") && !said.err.contains("disk"), "{said:#?}");
}

#[test]
fn amounts_are_in_the_unit_of_the_currency() {
    let product = product();
    let said = product.succeed(&["reconcile"]);
    assert!(said.contains("130.69") && !said.contains("13069"), "{said}");
    let report = product.json(&["reconcile", "--json"]);
    let rated = check(&report, "rated = accepted by billing");
    assert_eq!((&rated["left"], &rated["unit"]), (&"130.69".into(), &"USD".into()), "{report:#}");
    let minor = &rated["minor_units"];
    assert_eq!((&minor["left_minor"], &minor["minor_digits"]), (&"13069".into(), &2.into()), "{report:#}");
    let trace = product.json(&["trace", "event", "/s", "e1", "--json"]);
    let entry = trace["usage"][0]["journal_entries"][0]["id"].as_str().expect("booked").to_owned();
    let said = product.succeed(&["trace", "entry", &entry]);
    assert!(said.contains("debit         130.00 credit           0.00 USD"), "{said}");
    assert!(said.contains("rated 130.00 USD"), "{said}");
}

#[test]
fn questions_to_a_folder_that_is_none_are_refused_and_make_none() {
    let product = Product::new();
    for arguments in [
        vec!["reconcile"],
        vec!["exceptions", "list"],
        vec!["exceptions", "replay"],
        vec!["exceptions", "dismiss", "ex_1", "--reason", "none"],
        vec!["trace", "event", "/s", "e1"],
        vec!["trace", "entry", "je_1"],
    ] {
        let said = product.run(&arguments);
        assert!(!said.succeeded && said.err.contains("no data folder"), "{arguments:?}: {said:#?}");
        assert!(!product.path("data").exists(), "{arguments:?} made one");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let product = product();
    let all = |arguments: &[&str]| {
        let mut command = product.command(arguments);
        command.args(["--data", "data", "--catalog", "catalog"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    for arguments in [&["reconcile"][..], &["trace", "event", "/s", "e1"], &["exceptions", "list"]] {
        let mut child = all(arguments).spawn().expect("starts");
        // Nobody reads: the first line it prints finds a closed pipe.
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("ends");
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(!err.contains("panicked") && !err.contains("tidemark:"), "{arguments:?}: {err}");
        assert_eq!(ended.status.code(), Some(141), "{arguments:?}: as a shell shows an end by SIGPIPE");
    }
}

#[test]
fn a_hang_up_does_not_end_a_service() {
    let product = Product::new();
    let service = crate::service::Service::start(&product, &[]);
    let hang_up =
        std::process::Command::new("kill").args(["-HUP", &service.process_id().to_string()]).status();
    assert!(hang_up.expect("kill runs").success());
    for id in ["e1", "e2", "e3"] {
        let answer = service.json("POST", "/v1/events", &event(id, "10:00:00", "1"));
        assert_eq!(answer["accepted"], 1, "{answer}");
    }
}
