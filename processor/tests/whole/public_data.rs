//! The examples on the public data sets that they are for, to the exact totals. See `processor/examples` for addresses
//! and licences; the data is not in this repository.

use std::path::{Path, PathBuf};

use crate::product::{CATALOG, Product, said};

fn examples() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("examples")
}

/// The folder of data sets, or a line that says why the test was skipped.
fn data(set: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TIDEMARK_DATA").map(|folder| PathBuf::from(folder).join(set));
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("SKIPPED {set}: set TIDEMARK_DATA to a folder that has the data set `{set}`");
    }
    found
}

/// Runs one example on files of its data set.
fn run(set: &str, files: &[PathBuf]) -> (Product, String) {
    let product = Product::new();
    let example = examples().join(set);
    let (catalog, mapping) = (example.join("catalog"), example.join("mapping.toml"));
    let mut command = product.command(&["ingest", "--complete", "--tenant", "example", "--data", "data"]);
    command.arg("--catalog").arg(&catalog).arg("--mapping").arg(&mapping).args(files);
    let said = said(command.output().expect("starts"));
    assert!(said.succeeded, "{said:#?}");
    (product, said.out)
}

/// Sum of the quantities of a meter's last revisions, exact.
fn quantity(product: &Product, meter: &str) -> tidemark_schemas::Decimal {
    let deltas = product.rated_lines().into_iter().filter(|line| line["summary"]["meter"] == meter);
    deltas.fold(tidemark_schemas::Decimal::ZERO, |sum, line| {
        let delta = line["summary"]["quantity_delta"].as_str().expect("text").parse().expect("a number");
        sum.add(delta).expect("fits")
    })
}

fn unrounded(product: &Product) -> tidemark_schemas::Decimal {
    product.rated_lines().into_iter().fold(tidemark_schemas::Decimal::ZERO, |sum, line| {
        sum.add(line["amount_unrounded"].as_str().expect("text").parse().expect("a number")).expect("fits")
    })
}

#[test]
fn azure_llm_2023() {
    let Some(folder) = data("azure-llm-2023") else { return };
    let (product, out) = run("azure-llm-2023", &[folder.join("code.csv"), folder.join("conv.csv")]);
    assert!(out.contains("received 28185 = counted 28185 + again 0 + rejected 0 + exceptions 0"), "{out}");
    assert_eq!(quantity(&product, "context_tokens").to_string(), "40421844");
    assert_eq!(quantity(&product, "generated_tokens").to_string(), "4334561");
    assert_eq!(unrounded(&product).to_string(), "144.40022");
}

/// The rows as CloudEvents, in blocks of 64 turned round, every seventh sent twice: `(lines, re-sends)`.
fn disordered(folder: &Path) -> (String, u64) {
    let mut events = Vec::new();
    for service in ["code", "conv"] {
        let text = std::fs::read_to_string(folder.join(format!("{service}.csv"))).expect("a data file");
        for (row, line) in text.lines().skip(1).enumerate() {
            let [time, context, generated] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let time = time.replace(' ', "T");
            events.push(format!(
                r#"{{"specversion":"1.0","id":"{service}-{row}","source":"/azure-llm/{service}","type":"llm.request","subject":"{service}","time":"{time}Z","data":{{"context_tokens":{context},"generated_tokens":{generated}}}}}"#
            ));
        }
    }
    let (mut lines, mut resent) = (String::new(), 0);
    for block in events.chunks(64) {
        for (at, event) in block.iter().rev().enumerate() {
            lines.push_str(event);
            lines.push('\n');
            if at % 7 == 0 {
                resent += 1;
                lines.push_str(&block[at]);
                lines.push('\n');
            }
        }
    }
    (lines, resent)
}

#[test]
fn azure_llm_2023_with_duplicates_and_disorder() {
    let Some(folder) = data("azure-llm-2023") else { return };
    let product = Product::new();
    let (lines, resent) = disordered(&folder);
    product.write("disordered.ndjson", &lines);
    let catalog = examples().join("azure-llm-2023/catalog");
    let mut command = product.command(&[
        "ingest",
        "disordered.ndjson",
        "--complete",
        "--tenant",
        "example",
        "--data",
        "data",
    ]);
    let said = said(command.arg("--catalog").arg(catalog).output().expect("starts"));
    assert!(said.succeeded, "{said:#?}");
    assert!(
        said.out.contains(&format!("counted 28185 + again {resent} + rejected 0 + exceptions 0")),
        "{}",
        said.out
    );
    assert_eq!(quantity(&product, "context_tokens").to_string(), "40421844");
    assert_eq!(quantity(&product, "generated_tokens").to_string(), "4334561");
    assert_eq!(unrounded(&product).to_string(), "144.40022");
}

#[test]
fn focus_1_0() {
    let Some(folder) = data("focus-1.0") else { return };
    let (product, out) = run("focus-1.0", &[folder.join("focus_sample.csv")]);
    assert!(out.contains("rejected 0 + exceptions 0"), "{out}");
    assert_eq!(unrounded(&product).to_string(), "20.7630176406");
}

#[test]
fn web_logs() {
    let Some(folder) = data("web-logs") else { return };
    let (product, out) = run("web-logs", &[folder.join("apache_logs")]);
    assert!(out.contains("received 10000 = counted 10000 + again 0 + rejected 0 + exceptions 0"), "{out}");
    assert_eq!(quantity(&product, "bytes_sent").to_string(), "2747282740");
    let lines = product.rated_lines();
    let of_bytes = || lines.iter().filter(|line| line["summary"]["meter"] == "bytes_sent");
    let clients: std::collections::BTreeSet<_> =
        of_bytes().map(|line| line["summary"]["dimensions"]["client"].as_str().expect("text")).collect();
    assert_eq!(clients.len(), 1_753);
    assert!(of_bytes().all(|line| line["summary"]["revision"] == 1), "disorder of 59 s is not late");
}

/// Mooncake (Qin et al., FAST 2025; Apache-2.0): an hour of requests in milliseconds from its start.
#[test]
fn mooncake() {
    let Some(folder) = data("mooncake") else { return };
    let trace = std::fs::read_to_string(folder.join("conversation_trace.jsonl")).expect("a data file");
    let (product, mut events) = (Product::new(), String::new());
    for (row, line) in trace.lines().enumerate() {
        let request: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let (input, output) = (&request["input_length"], &request["output_length"]);
        let millis = request["timestamp"].as_u64().expect("milliseconds");
        let (minute, second) = (millis / 60_000, millis as f64 / 1_000.0 % 60.0);
        events.push_str(&format!(
            r#"{{"specversion":"1.0","id":"{row}","source":"/mooncake","type":"llm.request","subject":"acme","time":"2026-01-15T10:{minute:02}:{second:06.3}Z","data":{{"tokens":{input},"output":{output}}}}}"#
        ));
        events.push('\n');
    }
    product.write("events.ndjson", &events);
    let output_meter = "[[meter]]\nid = \"output\"\nevent_type = \"llm.request\"\nfields = { output = \"decimal(0)\" }\n\
                        value = \"output\"\naggregation = \"sum\"\nwindow = \"hour\"\nunit = \"token\"\n\n[[customer]]";
    let charges = "{ per_unit = \"0.01\" }\n[[rate_card.version.charge]]\nmeter = \"output\"\nprice = { per_unit = \"0.01\" }";
    let catalog = CATALOG.replace("[[customer]]", output_meter).replace("{ per_unit = \"0.01\" }", charges);
    product.write("catalog/catalog.toml", &catalog);
    let out = product.succeed(&["ingest", "events.ndjson", "--complete"]);
    assert!(out.contains("received 12031 = counted 12031 + again 0 + rejected 0 + exceptions 0"), "{out}");
    assert_eq!(quantity(&product, "tokens").to_string(), "144793823");
    assert_eq!(quantity(&product, "output").to_string(), "4122048");
}

/// Numenta Anomaly Benchmark (MIT), network bytes: twelve samples of the second series share one timestamp where the clocks
/// were put forward, and all of them count.
#[test]
fn nab_cloudwatch() {
    let Some(folder) = data("nab-cloudwatch") else { return };
    let catalog = CATALOG
        .replace("2026-01-01", "2013-01-01")
        .replace("decimal(0)", "decimal(2)")
        .replace("unit = \"token\"", "unit = \"byte\"\nscale = 2")
        .replace("subjects = [\"acme\"]", "subjects = [\"*\"]");
    let mapping = "format = \"csv\"\n[event]\nid = \"{file}-{#}\"\nsource = \"/nab/{file}\"\ntype = \"llm.request\"\nsubject = \"{file}\"\n\
                   time = { column = \"timestamp\", format = \"%Y-%m-%d %H:%M:%S\", zone = \"UTC\" }\n[data]\ntokens = \"value\"\n";
    for (series, samples, bytes) in
        [("ec2_network_in_257a54", 4_032, "2301505330.1"), ("ec2_network_in_5abac7", 4_730, "561520260.3")]
    {
        let product = Product::new();
        product.write("catalog/catalog.toml", &catalog);
        product.write("mapping.toml", mapping);
        let file = folder.join("realAWSCloudwatch").join(format!("{series}.csv"));
        let file = file.to_str().expect("a plain path");
        let out = product.succeed(&["ingest", file, "--mapping", "mapping.toml", "--complete"]);
        let counted = format!("received {samples} = counted {samples} + again 0 + rejected 0 + exceptions 0");
        assert!(out.contains(&counted), "{out}");
        assert_eq!(quantity(&product, "tokens").to_string(), bytes);
    }
}
