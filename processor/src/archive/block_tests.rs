//! Does what was kept of a block come back as it was, and is anything else an error?

use tidemark_schemas::exception::ExceptionKind;

use super::*;
use crate::archive::lab::{block, event};

const KEPT: [Option<Fate>; 5] =
    [Some(Fate::Counted), None, Some(Fate::Parked(ExceptionKind::TooLate)), None, Some(Fate::Counted)];

fn records() -> Vec<String> {
    ["a", "b b", "c\\u00e9", "d", "\u{1f30a} \\\"e\\\""].iter().map(|id| event(id)).collect()
}

/// The same block in both layouts: as it would be if it was small, and if it was large.
fn both() -> [Vec<u8>; 2] {
    let block = block(&records());
    let packed = [
        PackedBlock { version: TEXTS, body: texts(&block) },
        PackedBlock { version: COLUMNS, body: columns(&block) },
    ];
    packed.map(|packed| packed.row(&KEPT))
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn what_was_kept_comes_back() {
    for row in both() {
        let events = events_of(&row).expect("reads back");
        let told: Vec<_> = events
            .iter()
            .map(|e| (e.place, e.counted, String::from_utf8_lossy(&e.raw).into_owned()))
            .collect();
        let [a, _, c, _, e] = <[String; 5]>::try_from(records()).expect("five");
        assert_eq!(told, [(1, true, a), (3, false, c), (5, true, e)]);
        for event in &events {
            let provenance = (&*event.tenant, &*event.origin, event.received_at);
            assert_eq!(provenance, ("t", "file", ReceiveTime::from_micros(77)));
        }
        let size = BlockRow::of(&row).expect("a row").size();
        assert_eq!(size, Size { events: 3, bytes: records().concat().len() });
    }
}

#[test]
fn an_event_is_found_by_its_id_with_or_without_escapes() {
    for row in both() {
        for id in ["a", "c\u{e9}", "\u{1f30a} \"e\""] {
            let mut found = Vec::new();
            let row = BlockRow::of(&row).expect("a row");
            row.each_like(id, &mut |event| found.push(event.into_owned())).expect("reads");
            let has_id = |event: &&ArchivedEvent<'_>| {
                crate::decode::attributes(&event.raw).is_some_and(|known| known.id == id)
            };
            assert_eq!(found.iter().filter(has_id).count(), 1, "{id}");
        }
    }
}

#[test]
fn a_large_block_is_passed_over_when_it_cannot_have_the_id() {
    let [_, large] = both();
    let row = BlockRow::of(&large).expect("a row");
    let taken = (0..100).filter(|number| {
        let mut any = false;
        row.each_like(&format!("other-{number}"), &mut |_| any = true).expect("reads");
        any
    });
    assert!(taken.count() < 30, "the filter says of most ids that they are not there");
}

#[test]
fn a_damaged_row_is_an_error() {
    for row in both() {
        for cut in 0..row.len() {
            assert!(events_of(&row[..cut]).is_err(), "{cut}");
        }
        assert!(events_of(&[&*row, &[0]].concat()).is_err(), "more");
    }
    assert!(events_of(&[9; 20]).is_err());
}

#[test]
fn damaged_columns_are_an_error() {
    let block = block(&records());
    let file = Columns::of_block(&block).into_file();
    let row = |file: &[u8], kept: &[Option<Fate>]| {
        let mut body = Writer::default();
        body.u32(length(block.text.len()));
        body.u32(length(file.len()));
        body.raw(file);
        PackedBlock { version: COLUMNS, body: body.into_bytes() }.row(kept)
    };
    for cut in 0..file.len() {
        let row = row(&file[..cut], &KEPT);
        assert!(events_of(&row).is_err(), "{cut}");
        assert!(BlockRow::of(&row).expect("the frame is whole").columns().is_err(), "{cut}");
    }
    for kept in [&KEPT[..4], &[KEPT, KEPT].concat()] {
        let row = row(&file, kept);
        assert!(events_of(&row).is_err(), "{} fates", kept.len());
        assert!(BlockRow::of(&row).expect("the frame is whole").columns().is_err(), "{} fates", kept.len());
    }
}

#[test]
fn a_fate_of_a_later_release_is_an_error() {
    for mut row in both() {
        row[5] |= 3;
        assert!(events_of(&row).is_err());
    }
}

/// The row that the first release wrote for one counted event.
#[test]
fn a_row_of_the_first_release_is_read() {
    let row = unhex(V1);
    let events = events_of(&row).expect("still read");
    assert_eq!(events.len(), 1);
    assert_eq!(&*events[0].raw, event("golden").as_bytes());
    assert!(events[0].counted);
}

const V1: &str = "010100000001250000002800000028b52ffd2025fd0000b801000000740400000066696c654d0000010000680000000200a0\
    860b2c01680000007100000028b52ffd20684103007b227370656376657273696f6e223a22312e30222c226964223a22676f\
    6c64656e222c22736f75726365223a222f73222c2274797065223a2274222c227375626a656374223a2273222c2274696d65\
    223a22323032362d30312d31355431303a30303a30305a227d";
