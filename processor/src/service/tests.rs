//! Questions asked while events come in, and replays of more than is read at once.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use tidemark_schemas::ids::TenantId;

use super::*;
use crate::clock;
use crate::config::{Archive, Config, Scope};
use crate::partition::{Input, RawBlock, Taken};

const CATALOG: &str = r#"
[[meter]]
id = "calls"
event_type = "call"
aggregation = "count"
window = "minute"
unit = "call"
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
meter = "calls"
price = { per_unit = "0.01" }
[[legal_entity]]
id = "main"
[[posting_rule]]
id = "usage"
debit = "1150"
credit = "4000"
"#;

fn start(folder: &Path) -> Engine {
    let mut config = Config::load(None).expect("defaults");
    config.data_dir = folder.join("data");
    config.catalog_dir = folder.join("catalog");
    config.archive = Archive::Local { directory: folder.join("archive") };
    std::fs::create_dir_all(&config.catalog_dir).expect("a folder");
    std::fs::write(config.catalog_dir.join("catalog.toml"), CATALOG).expect("a file");
    Engine::start(&config, false).expect("starts")
}

/// Events of a subject, one a minute from the minute `first` of 2026-01-15 on.
fn block(subject: &str, first: usize, count: usize) -> RawBlock {
    let (mut text, mut records) = (String::new(), Vec::new());
    for minute in first..first + count {
        let (start, hour, second) = (text.len() as u32, minute / 60 % 24, minute % 60);
        write!(
            text,
            r#"{{"specversion":"1.0","id":"{minute}","source":"/{subject}","type":"call","subject":"{subject}","time":"2026-01-15T{hour:02}:{second:02}:00Z"}}"#
        )
        .expect("text");
        records.push((records.len() as u64 + 1, start..text.len() as u32));
    }
    let tenant = TenantId::new("default").expect("a name");
    let (origin, received_at) = ("test".into(), clock::now());
    RawBlock {
        tenant,
        origin,
        received_at,
        text: text.into_bytes(),
        records,
        damaged: Vec::new(),
        position: None,
    }
}

fn take(engine: &Engine, raw: RawBlock) -> Taken {
    let prepared = engine.intake.submit(raw).recv().expect("prepared");
    let taken = engine.handle.ask(|reply| Input::Block(Box::new(prepared), reply));
    taken.expect("it runs").expect("committed")
}

#[test]
fn totals_tie_out_at_every_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Arc::new(start(folder.path()));
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            for part in 0..60 {
                take(&engine, block("acme", part * 20, 20));
                take(&engine, block("nobody", part * 5, 5));
            }
        });
        while !feeding.is_finished() {
            let report = reconcile(&*engine.store, &Scope::Every, &engine.folders).expect("readable");
            assert!(report.ties_out, "{report:#?}");
        }
    });
    Arc::into_inner(engine).expect("nobody else has it").stop();
}
