//! What is a line of an NDJSON file?

use std::io::Write;

use super::super::{CHUNK_BYTES, LINE_BYTES_MAX, Limits};
use super::{TestFile, items, rest, shown};
use expect_test::{Expect, expect};
use tidemark_schemas::limits::EXCEPTION_PAYLOAD_BYTES_MAX;

fn check(bytes: &[u8], expected: &Expect) {
    let file = TestFile::new("a.ndjson", bytes);
    expected.assert_eq(&shown(&file.items(None)));
}

#[test]
fn lines_are_records_as_they_are() {
    check(
        b"{\"a\":1}\n{\"b\":2}\n",
        &expect![[r#"
        1 {"a":1}
        2 {"b":2}
    "#]],
    );
    // No line feed at the end, and half a last line: the decoder tells them apart.
    check(
        b"{\"a\":1}\n{\"b\":2}",
        &expect![[r#"
        1 {"a":1}
        2 {"b":2}
    "#]],
    );
    check(
        b"{\"a\":1}\n{\"b\":",
        &expect![[r#"
        1 {"a":1}
        2 {"b":
    "#]],
    );
}

#[test]
fn line_ends_marks_and_blank_lines_are_no_content() {
    check(
        b"{\"a\":1}\r\n\r\n{\"b\":2}\r\n",
        &expect![[r#"
        1 {"a":1}
        3 {"b":2}
    "#]],
    );
    check(
        b"\xEF\xBB\xBF{\"a\":1}\n\xEF\xBB\xBF{\"b\":2}\n",
        &expect![["
        1 {\"a\":1}
        2 \u{feff}{\"b\":2}
    "]],
    );
    check(
        b"\n \t\n\n{\"a\":1}\n  \n",
        &expect![[r#"
        4 {"a":1}
    "#]],
    );
    check(b"\xEF\xBB\xBF", &expect![[""]]);
    check(b"\xEF\xBB\xBF\n", &expect![[""]]);
    check(b"", &expect![[""]]);
    check(b"\n", &expect![[""]]);
    check(b"\0\n{\"a\":\"\0\"}\n", &expect![["1 \0\n2 {\"a\":\"\0\"}\n"]]);
}

/// Zeros without end, then a line end and a good line: what a log looks like after a crash of its writer.
struct LongLine {
    left: usize,
    after: std::io::Cursor<&'static [u8]>,
}

impl std::io::Read for LongLine {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return self.after.read(buffer);
        }
        let count = buffer.len().min(self.left);
        buffer[..count].fill(b'x');
        self.left -= count;
        Ok(count)
    }
}

#[test]
fn a_line_of_100_mb_is_damaged_and_never_held_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("long.ndjson");
    let mut file = std::fs::File::create(&path).expect("a temporary file");
    file.write_all(b"{\"first\":1}\n").expect("written");
    std::io::copy(
        &mut LongLine { left: 100_000_000, after: std::io::Cursor::new(b"\n{\"last\":1}\n") },
        &mut file,
    )
    .expect("written");
    let (mut source, _) =
        super::super::open(&path, super::super::Format::Ndjson, None, None).expect("a readable file");
    let chunks = rest(source.as_mut());
    let largest = chunks.iter().map(|chunk| chunk.text.capacity()).max().unwrap_or(0);
    assert!(largest <= 2 * CHUNK_BYTES + LINE_BYTES_MAX, "{largest} bytes were held");
    let items = items(&chunks);
    assert_eq!(
        items.iter().map(|item| (item.place, item.code)).collect::<Vec<_>>(),
        [(1, None), (2, Some("too_large")), (3, None)]
    );
    assert_eq!(items[1].text.len(), EXCEPTION_PAYLOAD_BYTES_MAX);
    assert_eq!(chunks.last().map(|chunk| chunk.position.place), Some(3));
}

#[test]
fn the_limit_of_a_line_counts_its_content_only() {
    let limits = Limits { line_bytes_max: 40, ..super::SMALL };
    for (bytes, code) in [(40, None), (41, Some("too_large"))] {
        for (before, after) in [("", "\n"), ("", "\r\n"), ("\u{feff}", "\r\n"), ("", ""), ("", "\n\n")] {
            for chunk_bytes in [1, 7, 41, 45, 1_000] {
                let file = TestFile::new("a.ndjson", format!("{before}{}{after}", "x".repeat(bytes)));
                let limits = Limits { chunk_bytes, ..limits };
                let (mut source, _) = file.try_open(None, None, limits).expect("a readable file");
                let items = items(&rest(source.as_mut()));
                assert_eq!(items.len(), 1);
                assert_eq!(items[0].code, code, "{bytes} {after:?} {chunk_bytes}");
                assert_eq!(items[0].text.len(), if code.is_some() { limits.kept_bytes_max } else { bytes });
            }
        }
    }
}

#[test]
fn compressed_files_hold_the_same_records() {
    let text = b"{\"a\":1}\n{\"b\":2}\n".repeat(50);
    let plain = TestFile::new("a.ndjson", &text).items(None);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&text).expect("memory");
    let gz = gz.finish().expect("memory");
    assert_eq!(TestFile::new("a.ndjson.gz", &gz).items(None), plain);
    let zst = zstd::encode_all(text.as_slice(), 1).expect("memory");
    assert_eq!(TestFile::new("a.ndjson.zst", &zst).items(None), plain);
    // Rotated logs are concatenated compressed files.
    assert_eq!(TestFile::new("b.ndjson.gz", [gz.clone(), gz].concat()).items(None).len(), 2 * plain.len());
    assert_eq!(TestFile::new("b.ndjson.zst", [zst.clone(), zst].concat()).items(None).len(), 2 * plain.len());
}

#[test]
fn a_cut_off_compressed_file_is_an_error_that_names_it() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&b"{\"a\":1}\n".repeat(500)).expect("memory");
    let mut gz = gz.finish().expect("memory");
    gz.truncate(gz.len() / 2);
    let file = TestFile::new("a.ndjson.gz", gz);
    let (mut source, _) = file.open(None, None);
    let error = loop {
        match source.next_chunk() {
            Ok(Some(chunk)) => assert!(!chunk.position.complete),
            Ok(None) => panic!("a cut-off file has no end"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("a.ndjson.gz failed after"), "{error}");
    assert!(source.next_chunk().expect("stopped").is_none(), "nothing follows an error");
}
