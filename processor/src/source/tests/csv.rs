//! What does a row of a CSV file become?

use super::{Opened, SMALL, SourceError, TestFile, mapping, rest, shown};
use expect_test::{Expect, expect};

const EVENT: &str = "[event]\nid = \"{file}-{#}\"\nsource = \"/s\"\ntype = \"t\"\n";

fn check(map: &str, text: impl AsRef<[u8]>, expected: &Expect) {
    let file = TestFile::new("a.csv", text);
    let map = mapping(&format!("format = \"csv\"\n{map}"));
    expected.assert_eq(&shown(&file.items(Some(&map))));
}

#[test]
fn rows_become_cloudevents() {
    let map = "null = [\"NULL\", \"\"]\n[event]\nid = \"{file}-{#}\"\nsource = \"/azure-llm/{file}\"\ntype = \"llm.request\"\n\
               subject = \"{Customer}\"\ntime = { column = \"T\", format = \"%Y-%m-%d %H:%M:%S%.f\", zone = \"UTC\" }\n\
               [data]\ntokens = \"Tokens\"\nmodel = { column = \"Model\", default = \"none\" }\nnote = \"Note\"\n";
    check(
        map,
        "T,Customer,Tokens,Model,Note\n\
         2023-11-16 18:17:03.9799600,acme,4808,NULL,\n\
         2023-11-16 18:17:04.0319600,\"Say \"\"hi\"\"\",1.50,gpt,\"two\nlines\"\n\
         2023-11-16 18:17:05,acme,007,gpt,1e5\n",
        &expect![[r#"
            2 {"specversion":"1.0","id":"a-1","source":"/azure-llm/a","type":"llm.request","subject":"acme","time":"2023-11-16T18:17:03.97996Z","data":{"model":"none","tokens":4808}}
            3 {"specversion":"1.0","id":"a-2","source":"/azure-llm/a","type":"llm.request","subject":"Say \"hi\"","time":"2023-11-16T18:17:04.03196Z","data":{"model":"gpt","note":"two\nlines","tokens":1.50}}
            5 {"specversion":"1.0","id":"a-3","source":"/azure-llm/a","type":"llm.request","subject":"acme","time":"2023-11-16T18:17:05Z","data":{"model":"gpt","note":1e5,"tokens":"007"}}
        "#]],
    );
}

#[test]
fn rows_that_are_no_event_are_damaged_with_their_line() {
    let map = format!(
        "null = [\"\"]\n{EVENT}subject = \"{{a}}\"\ntime = {{ column = \"b\", format = \"%F\", zone = \"UTC\" }}\n"
    );
    check(
        &map,
        b"a,b\n\"x\ny\",2024-01-01\nonly one\n1,2024-01-01,3\n,2024-01-01\nz,yesterday\n\n\xFF,2024-01-01\nlast,2024-01-02\n",
        &expect![[r#"
            2 {"specversion":"1.0","id":"a-1","source":"/s","type":"t","subject":"x\ny","time":"2024-01-01T00:00:00Z","data":{}}
            4 [ragged_row] only one
            5 [ragged_row] 1,2024-01-01,3
            6 [missing_value] ,2024-01-01
            7 [invalid_time] z,yesterday
            9 [invalid_utf8] �,2024-01-01
            10 {"specversion":"1.0","id":"a-7","source":"/s","type":"t","subject":"last","time":"2024-01-02T00:00:00Z","data":{}}
        "#]],
    );
}

#[test]
fn line_ends_marks_and_delimiters() {
    let map = format!("delimiter = \";\"\n{EVENT}[data]\na = \"a\"\nb = \"b c\"\n");
    check(
        &map,
        "\u{feff}a;b c\r\n1;2,5\r\n\r\n3;\"4;\r\n5\"\r\n6;7",
        &expect![[r#"
        2 {"specversion":"1.0","id":"a-1","source":"/s","type":"t","data":{"a":1,"b":"2,5"}}
        4 {"specversion":"1.0","id":"a-2","source":"/s","type":"t","data":{"a":3,"b":"4;\r\n5"}}
        6 {"specversion":"1.0","id":"a-3","source":"/s","type":"t","data":{"a":6,"b":7}}
    "#]],
    );
    check(&map, "a;b c\n", &expect![[""]]);
    check(&map, "a;b c", &expect![[""]]);
}

#[test]
fn only_rows_that_are_asked_for_count_but_all_are_numbered() {
    let map = format!("{EVENT}[data]\nn = \"n\"\n[where]\np = [\"AWS\", \"Oracle\"]\nq = \"1\"\n");
    check(
        &map,
        "p,q,n\nAWS,1,10\nMicrosoft,1,20\nAWS,2,30\nOracle,1,40\n",
        &expect![[r#"
        2 {"specversion":"1.0","id":"a-1","source":"/s","type":"t","data":{"n":10}}
        5 {"specversion":"1.0","id":"a-4","source":"/s","type":"t","data":{"n":40}}
    "#]],
    );
}

#[test]
fn missing_and_repeated_columns_are_refused_at_open() {
    let map = mapping(&format!("format = \"csv\"\n{EVENT}[data]\nn = \"n\"\n"));
    let refused = |text: &str| {
        let file = TestFile::new("a.csv", text);
        let path = file.path.display().to_string();
        file.try_open(Some(&map), None, SMALL).err().expect("refused").to_string().replace(&path, "a.csv")
    };
    expect![[r#"
        a.csv has no column `n`, which the mapping reads; it has: a, b
        a.csv has several columns named `n`; rename one, since the mapping cannot tell them apart
        a.csv has no column `n`, which the mapping reads; it has: none, since it has no header row"#]]
    .assert_eq(&[refused("a,b\n1,2\n"), refused("n,n\n1,2\n"), refused("")].join("\n"));
}

#[test]
fn a_quote_that_never_closes_stops_the_file() {
    let map = mapping(&format!("format = \"csv\"\n{EVENT}[data]\na = \"a\"\n"));
    let text = format!("a\n1\n2\n\"3\n{}", "x\n".repeat(300_000));
    let file = TestFile::new("a.csv", text);
    let (mut source, _) = file.open(Some(&map), None);
    let error = loop {
        match source.next_chunk() {
            Ok(chunk) => assert!(chunk.is_some(), "the file must not end in silence"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SourceError::RowTooLong { line: 4, .. }), "{error}");
    assert!(source.next_chunk().expect("stopped").is_none());
}

#[test]
fn an_unclosed_quote_never_swallows_rows_in_silence() {
    let map = format!("{EVENT}[data]\na = \"a\"\n");
    check(
        &map,
        "a,b\n1,x\n2,\"y\n3,z\n",
        &expect![[r#"
        2 {"specversion":"1.0","id":"a-1","source":"/s","type":"t","data":{"a":1}}
        3 [unclosed_quote] 2,"y
        3,z
    "#]],
    );
}

#[test]
fn a_mark_inside_the_file_is_content_wherever_a_run_resumes() {
    let map = mapping(&format!("format = \"csv\"\n{EVENT}[data]\na = \"a\"\n"));
    let file = TestFile::new("a.csv", "a\n1\n\u{feff}2\n");
    let one_row = super::Limits { chunk_records_max: 1, ..SMALL };
    let (mut source, _) = file.try_open(Some(&map), None, one_row).expect("a readable file");
    let first = source.next_chunk().expect("readable").expect("a chunk");
    let (mut resumed, _) = file.open(Some(&map), Some(&first.position));
    let expected = super::items(&rest(source.as_mut()));
    assert_eq!(super::items(&rest(resumed.as_mut())), expected);
    assert!(expected[0].text.contains("\u{feff}2"), "{}", expected[0].text);
}

#[test]
fn a_header_that_was_still_being_written_is_read_again() {
    let map = mapping(&format!("format = \"csv\"\n{EVENT}[data]\na = \"a\"\n"));
    let file = TestFile::new("a.csv", "\u{feff}a,b");
    let at = rest(file.open(Some(&map), None).0.as_mut()).pop().expect("a chunk").position;
    assert_eq!((at.units, at.complete), (0, true));
    file.write("\u{feff}a,b2\n1,2\n");
    let (mut source, opened) = file.open(Some(&map), Some(&at));
    assert_eq!((opened, super::items(&rest(source.as_mut())).len()), (Opened::Fresh, 1));
}

#[test]
fn a_finished_file_is_unchanged_whatever_its_line_ends() {
    let map = mapping(&format!("format = \"csv\"\n{EVENT}[data]\na = \"a\"\n"));
    for text in ["a\n1\n2\n", "a\r\n1\r\n2\r\n", "a\n1\n\n\n", "a\n"] {
        let file = TestFile::new("a.csv", text);
        let at = rest(file.open(Some(&map), None).0.as_mut()).pop().expect("a chunk").position;
        assert_eq!(at.units, text.len() as u64, "{text:?}");
        assert_eq!(file.open(Some(&map), Some(&at)).1, Opened::Unchanged { at }, "{text:?}");
    }
}

#[test]
fn a_cut_off_last_row_is_read_again_when_it_has_grown() {
    let map = mapping(&format!("format = \"csv\"\n{EVENT}[data]\na = \"a\"\n"));
    let file = TestFile::new("a.csv", "a,b\n1,x\n\"2\n2\",1");
    let at = rest(file.open(Some(&map), None).0.as_mut()).pop().expect("a chunk").position;
    assert_eq!((at.units, at.place, at.complete), (8, 1, true));
    file.write("a,b\n1,x\n\"2\n2\",123\n3,y\n");
    let (mut source, opened) = file.open(Some(&map), Some(&at));
    assert_eq!(opened, Opened::Resumed { from: at });
    expect![[r#"
        3 {"specversion":"1.0","id":"a-2","source":"/s","type":"t","data":{"a":"2\n2"}}
        5 {"specversion":"1.0","id":"a-3","source":"/s","type":"t","data":{"a":3}}
    "#]]
    .assert_eq(&shown(&super::items(&rest(source.as_mut()))));
}
