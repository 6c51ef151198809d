//! Do chunk sizes and interruptions change what is read? They must not (I-10).

use proptest::prelude::*;

use super::{Item, Limits, Mapping, SMALL, TestFile, items, mapping, rest};

const LIMITS: Limits = Limits { line_bytes_max: 20, kept_bytes_max: 9, ..SMALL };

fn csv_mapping() -> Mapping {
    mapping(
        "format = \"csv\"\nnull = [\"n\"]\n[event]\nid = \"{#}\"\nsource = \"{a}\"\ntype = \"t\"\n[data]\nb = \"b\"\n[where]\nb = [\"1\", \"x\", \"n\", \"\"]\n",
    )
}

fn lines_mapping() -> Mapping {
    mapping(
        "format = \"lines\"\npattern = '^(?P<a>[^ ]+) (?P<b>.*)$'\n[event]\nid = \"{#}\"\nsource = \"{a}\"\ntype = \"t\"\n[data]\nb = \"b\"\n",
    )
}

fn read(file: &TestFile, mapping: Option<&Mapping>, limits: Limits) -> Vec<Item> {
    let (mut source, _) = file.try_open(mapping, None, limits).expect("a readable file");
    items(&rest(source.as_mut()))
}

/// Any chunk size gives the same records, and a run that resumes after any chunk gives exactly the remaining ones.
fn check_interruptions(
    file: &TestFile,
    mapping: Option<&Mapping>,
    chunk_bytes: usize,
    records_max: usize,
    limits: Limits,
) {
    let all = read(file, mapping, Limits { chunk_bytes: 1_000_000, chunk_records_max: 1_000_000, ..limits });
    let limits = Limits { chunk_bytes, chunk_records_max: records_max, ..limits };
    let (mut source, _) = file.try_open(mapping, None, limits).expect("a readable file");
    let chunks = rest(source.as_mut());
    assert_eq!(items(&chunks), all);
    for (index, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| !chunk.position.complete) {
        let (mut source, _) = file.try_open(mapping, Some(&chunk.position), limits).expect("a readable file");
        assert_eq!(items(&rest(source.as_mut())), items(&chunks[index + 1..]), "after chunk {index}");
    }
}

/// Lines with everything that has a meaning somewhere: quotes, delimiters, line ends, blanks, marks, long lines.
fn hostile_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        3 => Just(b",".to_vec()),
        1 => Just(b"\"".to_vec()),
        2 => Just(b" ".to_vec()),
        1 => Just(b"\xEF\xBB\xBF".to_vec()),
        1 => Just(b"xxxxxxxxxxxxxxxxxxxxxxxx".to_vec()),
        6 => "[a-z0-9]{1,4}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// CSV whose quotes close, so that it has rows to the end.
fn csv_text() -> impl Strategy<Value = Vec<u8>> {
    let cell = prop_oneof![
        4 => "[a-zn0-9]{0,4}",
        1 => Just("\"q,\n\"\"q\"".to_owned()),
        1 => Just("\u{feff}x".to_owned()),
    ];
    let row = (proptest::collection::vec(cell, 1..4), prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")])
        .prop_map(|(cells, end)| cells.join(",") + end);
    (proptest::collection::vec(row, 0..25), any::<bool>()).prop_map(|(rows, cut_off)| {
        let mut text = format!("a,b\n{}", rows.concat());
        if cut_off {
            text.truncate(text.trim_end().len());
        }
        text.into_bytes()
    })
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_chunks(text in hostile_text(), chunk_bytes in 1_usize..60, records_max in 1_usize..5) {
        check_interruptions(&TestFile::new("a.ndjson", &text), None, chunk_bytes, records_max, LIMITS);
        check_interruptions(&TestFile::new("a", &text), Some(&lines_mapping()), chunk_bytes, records_max, LIMITS);
    }

    #[test]
    fn rows_do_not_depend_on_chunks(text in csv_text(), chunk_bytes in 1_usize..60, records_max in 1_usize..5) {
        check_interruptions(&TestFile::new("a.csv", &text), Some(&csv_mapping()), chunk_bytes, records_max, SMALL);
    }

    #[test]
    fn reading_is_total(text in hostile_text(), header in any::<bool>(), chunk_bytes in 1_usize..60) {
        let limits = Limits { chunk_bytes, ..LIMITS };
        let text = if header { [b"a,b\n".as_slice(), &text].concat() } else { text };
        for name in ["a.ndjson", "a.csv", "a.csv.gz", "a.ndjson.zst", "a.parquet", "a"] {
            let file = TestFile::new(name, &text);
            let mapping = match file.format() {
                super::Format::Ndjson => None,
                super::Format::Csv => Some(csv_mapping()),
                super::Format::Lines => Some(lines_mapping()),
                super::Format::Parquet => Some(mapping("format = \"parquet\"\n[event]\nid = \"{#}\"\nsource = \"s\"\ntype = \"t\"\n")),
            };
            let Ok((mut source, _)) = file.try_open(mapping.as_ref(), None, limits) else { continue };
            while let Ok(Some(chunk)) = source.next_chunk() {
                prop_assert!(chunk.records.len() + chunk.damaged.len() <= limits.chunk_records_max + 1);
                for record in &chunk.records {
                    prop_assert!(record.range.start <= record.range.end && record.range.end as usize <= chunk.text.len());
                    if mapping.is_some() {
                        let text = &chunk.text[record.range.start as usize..record.range.end as usize];
                        prop_assert!(serde_json::from_slice::<serde_json::Value>(text).is_ok());
                    }
                }
            }
        }
    }
}
