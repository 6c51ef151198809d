//! What does a crash inside a block leave? More falls due than one commit holds, and the second commit never happens.

use std::fmt::Write;
use std::sync::Arc;

use tidemark_core::changes::SETTLED_MAX;
use tidemark_core::state::Counts;
use tidemark_core::terms::Terms;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::time::ReceiveTime;

use crate::catalog;
use crate::ingest_plan::IngestPlan;
use crate::partition::{Partition, Position, Preparer, RawBlock};
use crate::store::{Fault, KeyValue, Keyspace, Memory, Settings, Witness};

const CATALOG: &str = r#"
[[meter]]
id = "calls"
event_type = "call"
fields = { line = "text" }
aggregation = "count"
dimensions = ["line"]
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

fn noon() -> ReceiveTime {
    ReceiveTime::from_micros(1_790_000_000_000_000)
}

fn opened(store: &Arc<Memory>, folder: &tempfile::TempDir) -> Partition {
    let files = [("catalog.toml".to_owned(), CATALOG.to_owned())];
    let (witness, _) = Witness::open(&folder.path().join("witness")).expect("a witness");
    let make = |key| {
        let terms = Arc::new(Terms::new(Arc::new(catalog::parse(&files).expect("good"))).expect("good"));
        let plan = IngestPlan::new(&terms.catalog, key).expect("good");
        Arc::new(Preparer::new(terms, plan, key, true))
    };
    let key = crate::partition::open::deployment_key(&**store).expect("a key");
    let store = Arc::clone(store);
    let mut partition = Partition::over(store, &Settings::default(), witness, make(key)).expect("opens");
    partition.put_in_force(&files, make(key), noon()).expect("in force");
    partition
}

/// Usage of more windows than one commit settles, an event that closes them all, and a line that is no event.
fn block() -> (RawBlock, u64) {
    const LINES: usize = 250;
    let (mut text, mut records, mut events) = (String::new(), Vec::new(), 0);
    let mut add = |record: &str| {
        let start = text.len() as u32;
        text.push_str(record);
        records.push((records.len() as u64 + 1, start..text.len() as u32));
    };
    let mut event = String::new();
    let minutes = SETTLED_MAX / LINES + 1;
    for number in 0..=minutes * LINES {
        let (minute, line) = (number / LINES, number % LINES);
        let (day, minute) = if minute == minutes { (20, 0) } else { (15, minute) };
        let (hour, minute) = (minute / 60, minute % 60);
        event.clear();
        write!(
            event,
            r#"{{"specversion":"1.0","id":"{number}","source":"/s","type":"call","subject":"acme","time":"2026-01-{day}T{hour:02}:{minute:02}:00Z","data":{{"line":"{line}"}}}}"#
        )
        .expect("text");
        add(&event);
        events += 1;
    }
    add("{not json");
    let raw = RawBlock {
        tenant: TenantId::new("default").expect("a name"),
        origin: "file".into(),
        received_at: noon(),
        text: text.into_bytes(),
        records,
        damaged: Vec::new(),
        position: Some(Position { source: "file".into(), bytes: vec![1] }),
    };
    (raw, events)
}

fn counts(store: &Memory) -> Counts {
    crate::partition::progress(store).expect("readable").counts
}

#[test]
fn a_crash_inside_a_block_counts_its_rejections_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Memory::new());
    let mut partition = opened(&store, &folder);
    store.fail_at(store.writes() + 1, Fault::BeforeApplied);
    let (raw, events) = block();
    let prepared = partition.preparer().prepare(raw);
    assert!(partition.take(vec![prepared], noon()).is_err(), "the second commit of the block fails");

    let store = Arc::new(store.crash());
    let first = counts(&store);
    assert!(first.counted > 0, "the first commit of the block is there: {first:?}");
    assert_eq!(store.get(Keyspace::Position, b"file").expect("readable"), None, "without the position (I-7)");
    assert_eq!(first.rejected, 0, "what is rejected comes with the position");

    let mut partition = opened(&store, &folder);
    let prepared = partition.preparer().prepare(block().0);
    partition.take(vec![prepared], noon()).expect("the disk works again");
    let second = counts(&store);
    assert_eq!((second.counted, second.again, second.rejected), (events, first.counted, 1));
    assert_eq!(partition.open_exceptions(), 1);
}
