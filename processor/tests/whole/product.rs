//! A data folder, a catalog and the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub const CATALOG: &str = r#"
[timing]
disorder = "5m"
grace = "5m"

[[meter]]
id = "tokens"
event_type = "llm.request"
fields = { tokens = "decimal(0)", model = "text" }
value = "tokens"
aggregation = "sum"
dimensions = ["model"]
window = "hour"
unit = "token"

[[customer]]
id = "acme"
subjects = ["acme"]

[[subscription]]
id = "acme-1"
customer = "acme"
rate_card = "std"
start = "2026-01-01"

[[rate_card]]
id = "std"
currency = "USD"
[[rate_card.version]]
version = "1"
effective_from = "2026-01-01"
[[rate_card.version.charge]]
meter = "tokens"
price = { per_unit = "0.01" }

[[legal_entity]]
id = "main"

[[posting_rule]]
id = "usage"
debit = "1150"
credit = "4000"
"#;

pub struct Product {
    pub folder: tempfile::TempDir,
}

/// What a command printed, and whether it succeeded.
#[derive(Debug)]
pub struct Said {
    pub succeeded: bool,
    pub out: String,
    pub err: String,
}

impl Product {
    pub fn new() -> Self {
        let product = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(product.path("catalog")).expect("a folder");
        product.write("catalog/catalog.toml", CATALOG);
        product
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// A command of the binary over this folder's data and catalog.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env_remove("TIDEMARK_CONFIG")
            .env("BILLING_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        let mut all = arguments.to_vec();
        if arguments[0] != "check" && arguments[0] != "keys" {
            all.extend(["--data", "data", "--catalog", "catalog"]);
        }
        said(self.command(&all).output().expect("the binary starts"))
    }

    #[track_caller]
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert!(said.succeeded, "{arguments:?}: {said:#?}");
        said.out
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.succeed(arguments);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Every rated line that was delivered, in order.
    pub fn rated_lines(&self) -> Vec<Value> {
        let mut files = names(&self.path("data/billing"));
        files.sort();
        let lines = files.iter().map(|file| std::fs::read_to_string(file).expect("a file"));
        lines
            .flat_map(|text| {
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Sum of the rated lines' amounts in minor units.
    pub fn billed_minor(&self) -> i128 {
        let minor =
            |line: &Value| line["amount_minor"].as_str().expect("text").parse::<i128>().expect("an integer");
        self.rated_lines().iter().map(minor).sum()
    }
}

pub fn said(output: Output) -> Said {
    Said {
        succeeded: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "ndjson"))
        .collect()
}

/// A CloudEvent of subject `acme` on 2026-01-15.
pub fn event(id: &str, time: &str, tokens: &str) -> String {
    event_of("acme", id, time, tokens)
}

pub fn event_of(subject: &str, id: &str, time: &str, tokens: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"llm.request","subject":"{subject}","time":"2026-01-15T{time}Z","data":{{"tokens":{tokens},"model":"a"}}}}"#
    )
}
