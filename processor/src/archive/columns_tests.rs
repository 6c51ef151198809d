//! Does the library read from our columns what was put into them? It is the judge of the pages that we encode.

use std::collections::BTreeMap;

use arrow::array::Array;
use proptest::prelude::*;

use super::*;
use crate::archive::lab::{block, event_of};

/// Every column of the file but `fate`, row by row, as text.
fn columns(file: Vec<u8>) -> BTreeMap<String, Vec<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).expect("a file").build();
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for batch in reader.expect("opens") {
        let batch = batch.expect("reads");
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let told: Vec<String> = match field.data_type() {
                DataType::Utf8 => column.as_string::<i32>().iter().flatten().map(str::to_owned).collect(),
                DataType::UInt64 => {
                    column.as_primitive::<UInt64Type>().values().iter().map(u64::to_string).collect()
                }
                _ => {
                    let times = column.as_primitive::<TimestampMicrosecondType>();
                    times.values().iter().map(i64::to_string).collect()
                }
            };
            assert_eq!(told.len(), column.len(), "{} has no nulls", field.name());
            columns.entry(field.name().clone()).or_default().extend(told);
        }
    }
    columns
}

fn archived(block: &EventBlock) -> Vec<ArchivedEvent<'_>> {
    let event = |event: usize| ArchivedEvent {
        tenant: block.tenant.as_str().into(),
        origin: block.origin.as_str().into(),
        received_at: block.received_at,
        place: block.places[event],
        counted: true,
        raw: block.event_text(event).into(),
    };
    (0..block.len()).map(event).collect()
}

/// Blocks and events come back as they were, and both ways give the same bytes.
fn check(records: &[String]) {
    let block = block(records);
    let file = Columns::of_block(&block).into_file();
    assert!(file == Columns::of_events(&archived(&block)).into_file(), "both ways give the same bytes");
    let columns = columns(file);
    assert_eq!(columns.len(), 10);
    for (row, record) in records.iter().enumerate() {
        let known = attributes(record.as_bytes()).expect("an event");
        let expected = [
            ("tenant", "t"),
            ("source", &*known.source),
            ("id", &*known.id),
            ("type", &*known.event_type),
            ("subject", &*known.subject),
            ("time", "1768471200000000"),
            ("received_at", "77"),
            ("origin", "file"),
            ("place", &*(row + 1).to_string()),
            ("event", record),
        ];
        for (name, value) in expected {
            assert_eq!(columns[name][row], value, "{name} of row {row}");
        }
    }
}

#[test]
fn attributes_without_escapes_are_not_read_again() {
    let block = block(&[event_of("/s", "a b", "t", "s"), event_of("/\\u0073", "\\u00e9", "t", "s")]);
    let text = |range: &Range<u32>| std::str::from_utf8(block.slice(range)).expect("UTF-8");
    let told: Vec<_> = block.sources.iter().zip(&block.ids).map(|(s, i)| (text(s), text(i))).collect();
    assert_eq!(told, [("/s", "a b"), ("", "")]);
}

/// Numbers of distinct values around which the width of their numbers changes, and rows that fill no group of eight.
#[test]
fn dictionaries_of_every_width_are_read() {
    for distinct in [1, 2, 3, 4, 5, 7, 8, 9, 127, 128, 129, 255, 256, 257, 4_095, 4_097, 20_000] {
        let of = |at: usize| {
            event_of(
                &format!("/s{}", at % distinct),
                &format!("e{at}"),
                &format!("t{}", at % 3),
                &format!("c{}", at * 7 % distinct),
            )
        };
        check(&(0..distinct + 11).map(of).collect::<Vec<_>>());
    }
}

#[test]
fn events_of_many_pages_are_read() {
    let large =
        |at: usize| event_of("/s", &format!("{at}-{}", "x".repeat(900)), "t", &"y".repeat(at % 900 + 1));
    check(&(0..3_000).map(large).collect::<Vec<_>>());
}

#[test]
fn an_id_that_is_there_is_never_denied() {
    let records: Vec<_> = (0..5_000).map(|at| event_of("/s", &format!("id {at}"), "t", "s")).collect();
    let file = Bytes::from(Columns::of_block(&block(&records)).into_file());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a file");
    let may_hold = |id: &str| may_hold_id(&builder, 0, id).expect("reads");
    assert!((0..5_000).all(|at| may_hold(&format!("id {at}"))));
    let others = (0..5_000).filter(|at| may_hold(&format!("other {at}"))).count();
    assert!(others < 500, "{others} of 5,000 others");
}

#[test]
fn places_and_times_keep_all_their_bits() {
    let mut block = block(&[event_of("/s", "a", "t", "s"), event_of("/s", "b", "t", "s")]);
    block.places = vec![u64::MAX, 0];
    block.times = vec![tidemark_schemas::time::EventTime::MAX, tidemark_schemas::time::EventTime::MIN];
    let packed = Columns::of_block(&block);
    let span = (block.times[1].micros(), block.times[0].micros());
    assert_eq!(packed.times(), Some(span));
    let columns = columns(packed.into_file());
    assert_eq!(columns["place"], [u64::MAX.to_string(), "0".into()]);
    assert_eq!(columns["time"], [span.1.to_string(), span.0.to_string()]);
}

/// A text attribute as it stands in JSON: often with escapes, often one that others have too.
fn attribute() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("same".to_owned()),
        "[a-c]{1,2}",
        ".{1,12}".prop_map(|text| {
            let quoted = serde_json::to_string(&text).expect("a text");
            quoted[1..quoted.len() - 1].to_owned()
        }),
        Just("\\u00e9\\/\\\\".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_events_say_comes_back(
        events in prop::collection::vec((attribute(), attribute(), attribute(), attribute()), 1..60)
    ) {
        let records: Vec<_> = events.iter().map(|(s, i, t, c)| event_of(s, i, t, c)).collect();
        check(&records);
    }
}
