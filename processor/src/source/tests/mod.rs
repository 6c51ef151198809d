//! Do files of every kind give the records that they hold, once, in order, wherever a run is interrupted?

mod csv;
mod lines;
mod mapping;
mod ndjson;
mod parquet;
mod properties;
mod public_sets;
mod resume;

use std::path::{Path, PathBuf};

use super::{Chunk, Format, Limits, Mapping, Opened, Position, Source, SourceError, open_limited};

/// Small enough that a few lines make several chunks.
const SMALL: Limits =
    Limits { chunk_bytes: 16, chunk_records_max: 3, line_bytes_max: 4_096, kept_bytes_max: 24 };

/// What became of one line or row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    place: u64,
    text: String,
    /// Of a damaged one.
    code: Option<&'static str>,
}

/// A file in a folder of its own, which goes away with it.
struct TestFile {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl TestFile {
    fn new(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Self { path: folder.path().join(name), _folder: folder };
        file.write(bytes);
        file
    }

    fn write(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(&self.path, bytes).expect("a temporary file");
    }

    fn format(&self) -> Format {
        Format::of_path(&self.path).unwrap_or(Format::Lines)
    }

    fn try_open(
        &self,
        mapping: Option<&Mapping>,
        resume: Option<&Position>,
        limits: Limits,
    ) -> Result<(Box<dyn Source>, Opened), SourceError> {
        open_limited(&self.path, self.format(), mapping, resume, limits)
    }

    fn open(&self, mapping: Option<&Mapping>, resume: Option<&Position>) -> (Box<dyn Source>, Opened) {
        self.try_open(mapping, resume, SMALL).expect("a readable file")
    }

    fn items(&self, mapping: Option<&Mapping>) -> Vec<Item> {
        items(&rest(self.open(mapping, None).0.as_mut()))
    }
}

fn mapping(text: &str) -> Mapping {
    Mapping::parse("map.toml", text).expect("a valid mapping")
}

/// All chunks up to the end, with what every chunk promises.
fn rest(source: &mut dyn Source) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    while let Some(chunk) = source.next_chunk().expect("a readable file") {
        if let Some(before) = chunks.last() {
            assert!(before.position.units <= chunk.position.units, "I-7: a position only moves forward");
            assert!(before.position.place <= chunk.position.place, "I-7: a position only moves forward");
            assert!(!before.position.complete, "nothing follows the end");
        }
        chunks.push(chunk);
    }
    assert!(chunks.last().is_none_or(|chunk| chunk.position.complete), "the last chunk ends the file");
    chunks
}

fn items(chunks: &[Chunk]) -> Vec<Item> {
    chunks.iter().flat_map(items_of).collect()
}

fn items_of(chunk: &Chunk) -> Vec<Item> {
    let text = |range: &std::ops::Range<u32>| {
        String::from_utf8_lossy(&chunk.text[range.start as usize..range.end as usize]).into_owned()
    };
    let records = chunk.records.iter().map(|record| Item {
        place: record.place,
        text: text(&record.range),
        code: None,
    });
    let damaged = chunk.damaged.iter().map(|damaged| Item {
        place: damaged.place,
        text: text(&damaged.range),
        code: Some(damaged.code),
    });
    let mut items: Vec<Item> = records.chain(damaged).collect();
    items.sort_by_key(|item| item.place);
    items
}

/// One line per item, for tables of expectations.
fn shown(items: &[Item]) -> String {
    items
        .iter()
        .map(|item| {
            format!(
                "{} {}{}\n",
                item.place,
                item.code.map(|code| format!("[{code}] ")).unwrap_or_default(),
                item.text
            )
        })
        .collect()
}

#[test]
fn formats_are_known_by_name() {
    for (name, format) in [
        ("a.ndjson", Some(Format::Ndjson)),
        ("a.JSONL.gz", Some(Format::Ndjson)),
        ("b.csv.zst", Some(Format::Csv)),
        ("c.parquet", Some(Format::Parquet)),
        ("access_log", None),
        ("-", None),
    ] {
        assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let file = TestFile::new("a.csv", "a\n1\n");
    let message = |result: Result<(Box<dyn Source>, Opened), SourceError>| match result {
        Ok(_) => "opened".to_owned(),
        Err(error) => error.to_string().replace(&file.path.display().to_string(), "a.csv"),
    };
    let csv = mapping("format = \"csv\"\n[event]\nid = \"{b}\"\nsource = \"/s\"\ntype = \"t\"\n");
    let missing = Path::new("/nowhere/a.csv");
    let open = |path: &Path, format, mapping| message(open_limited(path, format, mapping, None, SMALL));
    expect_test::expect![[r#"
        cannot open /nowhere/a.csv: No such file or directory (os error 2); check the path and its permissions
        a.csv is csv, which needs a mapping from columns to event attributes; give one with --mapping
        the mapping is for csv, but a.csv is to be read as ndjson; use the mapping that fits
        a.csv has no column `b`, which the mapping reads; it has: a
        Parquet keeps its index at the end, so standard input cannot be read as it arrives; write it to a file first"#]].assert_eq(
        &[
            open(missing, Format::Ndjson, None),
            open(&file.path, Format::Csv, None),
            open(&file.path, Format::Ndjson, Some(&csv)),
            open(&file.path, Format::Csv, Some(&csv)),
            open(
                Path::new("-"),
                Format::Parquet,
                Some(&mapping(
                    "format = \"parquet\"\n[event]\nid = \"{#}\"\nsource = \"/s\"\ntype = \"t\"\n",
                )),
            ),
        ]
        .join("\n"),
    );
}
