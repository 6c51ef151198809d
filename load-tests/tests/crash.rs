//! Does the crash scenario pass a server that keeps its word, and fail one that does not? The whole program,
//! against a stand-in that is really killed.

use std::process::{Command, Output};

/// Two seconds of load with a kill every 200 ms on average.
fn crash(fault: &str) -> (Output, serde_json::Value) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_tidemark-load"))
        .args(["crash", "--binary", env!("CARGO_BIN_EXE_tidemark-stand-in"), "--run-id", fault])
        .args(["--server-arg", "--fault", "--server-arg", fault])
        .args(["--rate", "10000", "--batch", "100", "--customers", "20", "--connections", "4"])
        .args(["--duration", "2s", "--every", "200ms", "--drain", "30s"])
        .arg("--dir")
        .arg(folder.path().join("run"))
        .arg("--report")
        .arg(&report)
        .output()
        .expect("the program starts");
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, serde_json::from_str(&text).expect("a report is JSON"))
}

fn findings(report: &serde_json::Value) -> Vec<&str> {
    report["findings"].as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

#[test]
fn an_honest_server_passes() {
    let (output, report) = crash("honest");
    assert_eq!(findings(&report), Vec::<&str>::new());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report["schema"], "tidemark.load_report.v1");
    assert_eq!(report["batches"]["answered"], 200);
    assert_eq!(report["crash"]["counted"], report["events"]["acknowledged"]);
    assert_eq!(report["crash"]["counted_quantity"], report["events"]["acknowledged_quantity"]);
    assert!(report["crash"]["kills"].as_u64().is_some_and(|kills| kills >= 5), "{report}");
}

#[test]
fn a_server_that_loses_acknowledged_events_fails() {
    let (output, report) = crash("loses");
    assert_eq!(output.status.code(), Some(1));
    assert!(findings(&report).iter().any(|finding| finding.contains(": lost ")), "{report}");
    assert!(!findings(&report).iter().any(|finding| finding.contains("too many")), "{report}");
}

#[test]
fn a_server_that_counts_twice_fails() {
    let (output, report) = crash("forgets");
    assert_eq!(output.status.code(), Some(1));
    assert!(findings(&report).iter().any(|finding| finding.contains("too many")), "{report}");
    assert!(!findings(&report).iter().any(|finding| finding.contains(": lost ")), "{report}");
}

#[test]
fn a_used_folder_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    let output = Command::new(env!("CARGO_BIN_EXE_tidemark-load"))
        .args(["crash", "--binary", "/nonexistent", "--run-id", "x", "--dir"])
        .arg(folder.path())
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("starts from an empty store"), "{output:?}");
}
