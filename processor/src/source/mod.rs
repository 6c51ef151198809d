//! What arrives from files, and where do we stand in them? Records in source order, with a position after each chunk.
//!
//! Keeps: a position only covers whole records, so committing it with what it covers makes a restart exact (I-7);
//! the same file gives the same records whatever the chunk size; memory is bounded by the named limits below,
//! whatever the file contains (I-9); damaged input becomes a [`Damaged`] entry with its place, never a panic.
//!
//! Deliberately absent: checking events (the decoder does), remembering positions (the store does), and following
//! a growing file: a run ends at the end of the file, and the next run goes on from there.
//!
//! `bytes` opens and verifies, `lines` cuts text into lines, `ndjson`, `pattern`, `csv` and `parquet` make records,
//! `mapping` says which column goes where, `times` which instant is meant, and `event` writes the CloudEvent. `progress` tells a person.

mod bytes;
mod csv;
mod event;
mod lines;
pub mod mapping;
mod ndjson;
mod parquet;
mod pattern;
pub mod progress;
mod times;

use std::ops::Range;
use std::path::Path;

use thiserror::Error;
use tidemark_schemas::limits::EXCEPTION_PAYLOAD_BYTES_MAX;

pub use mapping::{Mapping, MappingError};

/// About 35,000 events of 240 bytes, of which ten or so share a window: what is done once a chunk and window (planning,
/// loading, writing) is then cheap beside what is done once an event.
pub const CHUNK_BYTES: usize = 8 * 1024 * 1024;

/// Records of one chunk, damaged ones included: bounds what one commit covers when records are tiny.
pub const CHUNK_RECORDS_MAX: usize = 65_536;

/// One line or row. Sixteen times the largest event, since a row may have columns that no meter needs.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The limits together, so that tests can show that results do not depend on the size of chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub chunk_bytes: usize,
    pub chunk_records_max: usize,
    pub line_bytes_max: usize,
    pub kept_bytes_max: usize,
}

impl Limits {
    pub(crate) const PRODUCT: Self = Self {
        chunk_bytes: CHUNK_BYTES,
        chunk_records_max: CHUNK_RECORDS_MAX,
        line_bytes_max: LINE_BYTES_MAX,
        kept_bytes_max: EXCEPTION_PAYLOAD_BYTES_MAX,
    };
}

/// Consecutive records, and the position behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What the ranges below point into.
    pub text: Vec<u8>,
    pub records: Vec<Record>,
    pub damaged: Vec<Damaged>,
    /// To be committed together with the records: a run that resumes here reads exactly what follows.
    pub position: Position,
}

/// One structured-mode CloudEvents JSON object, or what stands where one should stand: the decoder decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where a person finds it, from 1: the line of a text file, the row of a Parquet file.
    pub place: u64,
    pub range: Range<u32>,
}

/// A line or row that no record can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// As in [`Record`].
    pub place: u64,
    /// Its first bytes as read, at most [`EXCEPTION_PAYLOAD_BYTES_MAX`].
    pub range: Range<u32>,
    /// Stable, for programs: `too_large`, `ragged_row`, `unclosed_quote`, `no_match`, `missing_value`, `invalid_utf8`, `invalid_time`.
    pub code: &'static str,
    /// For a person: what is wrong and what is expected.
    pub reason: String,
}

/// How far a file has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes of a text file after decompression, rows of a Parquet file.
    pub units: u64,
    /// Lines or rows consumed: records, damaged ones and rows that `[where]` leaves out; no blank lines, no header.
    pub place: u64,
    /// BLAKE3 of the bytes before `units`; of the whole file for Parquet, whose bytes are not in row order.
    pub prefix_digest: [u8; 32],
    /// The end was reached. An unterminated last line was handed over, but stays behind the position: its producer
    /// may still be writing it, so the next run reads it again and deduplication drops it if nothing was added.
    pub complete: bool,
}

/// What a resumed run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    Fresh,
    /// The file still begins with what was read before.
    Resumed {
        from: Position,
    },
    /// Read to its end before, and nothing was added: the source has no chunk.
    Unchanged {
        at: Position,
    },
    /// Another file under the same name: read from its beginning.
    Replaced {
        before: Position,
    },
}

/// How the bytes of a file are records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One CloudEvents JSON object per line.
    Ndjson,
    /// Comma-separated values (RFC 4180) with a header row.
    Csv,
    Parquet,
    /// Plain lines, taken apart by a regular expression.
    Lines,
}

impl Format {
    /// What the file's name says, leaving out `.gz` and `.zst`. Nothing ends in a name that means `lines`.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = bytes::uncompressed_name(path);
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Lines => "lines",
        }
    }
}

/// A file that is read once, from a position to its end.
pub trait Source: Send {
    /// For messages and for the origin of exceptions: the path as given, or `standard input`.
    fn name(&self) -> &str;

    /// The next records; none when all has been read. The last chunk's position is complete. A chunk may have no
    /// records but still moves the position.
    ///
    /// # Errors
    /// [`SourceError`]: the source stops there, and what earlier chunks held stays valid.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError>;

    /// [`Position::units`] at the end; none for standard input and compressed files, which do not say.
    fn total_units(&self) -> Option<u64>;
}

/// Why a file cannot be read, or not further.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("cannot open {name}: {cause}; check the path and its permissions")]
    Open { name: String, cause: std::io::Error },
    #[error(
        "reading {name} failed after {units} units: {cause}; all before is safe, run the same command again to go on"
    )]
    Read { name: String, units: u64, cause: std::io::Error },
    #[error(
        "{name} is {format}, which needs a mapping from columns to event attributes; give one with --mapping"
    )]
    MappingNeeded { name: String, format: &'static str },
    #[error("the mapping is for {mapping}, but {name} is to be read as {format}; use the mapping that fits")]
    MappingOfOtherFormat { name: String, mapping: &'static str, format: &'static str },
    #[error("{name} has no column `{column}`, which the mapping reads; it has: {available}")]
    MissingColumn { name: String, column: String, available: String },
    #[error(
        "{name} has several columns named `{column}`; rename one, since the mapping cannot tell them apart"
    )]
    AmbiguousColumn { name: String, column: String },
    #[error(
        "column `{column}` of {name} is {kind}, which has no plain text; map one of the plain columns instead"
    )]
    UnreadableColumn { name: String, column: String, kind: String },
    #[error("column `{column}` of {name} holds times without a zone; name it in the mapping: zone = \"UTC\"")]
    ZoneNeeded { name: String, column: String },
    #[error(
        "the row at line {line} of {name} does not end within {bytes_max} bytes; most likely a quote is not closed: \
         correct the file at that line, then run the same command again"
    )]
    RowTooLong { name: String, line: u64, bytes_max: usize },
    #[error(
        "Parquet keeps its index at the end, so {name} cannot be read as it arrives; write it to a file first"
    )]
    NotSeekable { name: String },
    #[error("{name} is no Parquet file that can be read: {cause}")]
    Parquet { name: String, cause: Box<dyn std::error::Error + Send + Sync> },
}

/// Opens `path` (`-` is standard input) where `resume` left off, if it is still the same file.
///
/// Standard input cannot be compared with an earlier run before it is consumed, so it always starts fresh;
/// deduplication drops what was received before.
///
/// # Errors
/// [`SourceError`] when it cannot be opened, or when a column that the mapping reads is missing.
pub fn open(
    path: &Path,
    format: Format,
    mapping: Option<&Mapping>,
    resume: Option<&Position>,
) -> Result<(Box<dyn Source>, Opened), SourceError> {
    open_limited(path, format, mapping, resume, Limits::PRODUCT)
}

fn open_limited(
    path: &Path,
    format: Format,
    mapping: Option<&Mapping>,
    resume: Option<&Position>,
    limits: Limits,
) -> Result<(Box<dyn Source>, Opened), SourceError> {
    let name = bytes::display_name(path);
    if let Some(mapping) = mapping
        && mapping.format != format
    {
        let (mapping, format) = (mapping.format.name(), format.name());
        return Err(SourceError::MappingOfOtherFormat { name, mapping, format });
    }
    let needed =
        || mapping.ok_or_else(|| SourceError::MappingNeeded { name: name.clone(), format: format.name() });
    match format {
        Format::Ndjson => ndjson::open(path, resume, limits),
        Format::Csv => csv::open(path, needed()?, resume, limits),
        Format::Lines => pattern::open(path, needed()?, resume, limits),
        Format::Parquet => parquet::open(path, needed()?, resume, limits),
    }
}

impl Chunk {
    fn new(position: Position) -> Self {
        Self { text: Vec::new(), records: Vec::new(), damaged: Vec::new(), position }
    }

    /// Appends what an exception keeps of a line or row.
    fn keep(&mut self, raw: &[u8], limits: Limits) -> Range<u32> {
        let start = self.text.len();
        self.text.extend_from_slice(&raw[..raw.len().min(limits.kept_bytes_max)]);
        range_of(start..self.text.len())
    }
}

impl Damaged {
    fn too_large(place: u64, range: Range<u32>, bytes_max: usize) -> Self {
        let reason = format!("the line is longer than {bytes_max} bytes; only its beginning is kept");
        Self { place, range, code: "too_large", reason }
    }
}

/// A range into a chunk's text, which the limits keep far below 4 GiB.
fn range_of(range: Range<usize>) -> Range<u32> {
    let offset = |at: usize| u32::try_from(at).expect("a chunk's text is bounded far below 4 GiB");
    offset(range.start)..offset(range.end)
}

#[cfg(test)]
mod tests;
