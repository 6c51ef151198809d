//! Which events does a CSV file hold? Each row below the header is one, made by the mapping.
//!
//! Source of the format: RFC 4180, read leniently as the csv crate does. Quoted fields may hold line feeds; a row is
//! named by the line on which it begins. A row with more or fewer columns than the header is damaged: guessing which
//! column is missing would move a number into another meter.
//!
//! Keeps: a row that the end of the file cuts off is handed over, but stays behind the position (see
//! [`Position::complete`]). It may be complete, since the last line needs no line feed; if it was half a number, the
//! completed row has the same identity and other content, and so becomes a conflict that someone looks at (I-2).
//!
//! Deliberately absent: going on after a quote that never closes. No row boundary behind it can be trusted.

use std::io::{self, Read};
use std::path::Path;

use csv::ByteRecord;

use super::bytes::{self, Feed};
use super::event::{Cell, EventShape, Fault};
use super::{Chunk, Limits, Mapping, Opened, Position, Source, SourceError};

/// What the csv reader takes at once.
const READ_BYTES: usize = 128 * 1024;

struct CsvSource {
    rows: csv::Reader<Tee>,
    row: ByteRecord,
    /// Where `Tee::unsettled` begins, in the csv reader's own count of bytes.
    settled: u64,
    /// End of what the position may cover, in `Tee::unsettled`.
    covered: usize,
    /// The header ended with the file instead of a line end.
    header_cut_off: bool,
    columns: usize,
    shape: EventShape,
    null: Vec<String>,
    limits: Limits,
    done: bool,
}

/// Keeps what passes through until a position covers it: the csv crate buffers, and hands out no raw rows.
struct Tee {
    feed: Feed,
    unsettled: Vec<u8>,
    /// Where the row that is being read begins, in `unsettled`.
    row_start: usize,
    /// How far beyond that the reader may go before the row counts as endless.
    row_bytes_max: usize,
    row_too_long: bool,
    at_end: bool,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unsettled.len() - self.row_start > self.row_bytes_max + READ_BYTES {
            self.row_too_long = true;
            return Err(io::Error::other("a row without an end"));
        }
        let read = self.feed.bytes.read(buffer)?;
        self.unsettled.extend_from_slice(&buffer[..read]);
        self.at_end = read == 0;
        Ok(read)
    }
}

pub(super) fn open(
    path: &Path,
    mapping: &Mapping,
    resume: Option<&Position>,
    limits: Limits,
) -> Result<(Box<dyn Source>, Opened), SourceError> {
    let (feed, opened) = bytes::open(path, resume)?;
    let at_start = feed.units == 0;
    let mut rows = reader(feed, mapping, limits);
    let mut header = ByteRecord::new();
    if at_start {
        read_row(&mut rows, &mut header, 0)?;
    } else {
        read_row(&mut reader(bytes::open_at_start(path)?, mapping, limits), &mut header, 0)?;
    }
    let columns: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let header_cut_off = at_start && rows.get_ref().at_end;
    let covered = if at_start && !header_cut_off { index(rows.position().byte()) } else { 0 };
    rows.get_mut().feed.lines += newlines(&rows.get_ref().unsettled[..covered]);
    let source = CsvSource {
        shape: EventShape::bind(mapping, &columns, path)?,
        row: ByteRecord::new(),
        settled: 0,
        covered,
        header_cut_off,
        columns: columns.len(),
        rows,
        null: mapping.null.clone(),
        limits,
        done: matches!(opened, Opened::Unchanged { .. }),
    };
    Ok((Box::new(source), opened))
}

fn reader(feed: Feed, mapping: &Mapping, limits: Limits) -> csv::Reader<Tee> {
    let row_bytes_max = limits.line_bytes_max;
    let tee =
        Tee { feed, unsettled: Vec::new(), row_start: 0, row_bytes_max, row_too_long: false, at_end: false };
    csv::ReaderBuilder::new()
        .delimiter(mapping.delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(READ_BYTES)
        .from_reader(tee)
}

/// Reads the row that begins at `start` of the unsettled bytes; false at the end.
fn read_row(rows: &mut csv::Reader<Tee>, row: &mut ByteRecord, start: usize) -> Result<bool, SourceError> {
    rows.get_mut().row_start = start;
    match rows.read_byte_record(row) {
        Ok(more) => Ok(more),
        Err(error) => {
            let tee = rows.get_ref();
            if tee.row_too_long {
                return Err(too_long(tee, start));
            }
            Err(tee.feed.read_failed(io::Error::other(error)))
        }
    }
}

fn too_long(tee: &Tee, start: usize) -> SourceError {
    let blank = leading_line_ends(&tee.unsettled[start..]);
    SourceError::RowTooLong {
        name: tee.feed.name.clone(),
        line: tee.feed.lines + newlines(blank) + 1,
        bytes_max: tee.row_bytes_max,
    }
}

impl CsvSource {
    fn read_chunk(&mut self) -> Result<Chunk, SourceError> {
        let mut chunk = Chunk::new(self.rows.get_ref().feed.position(false));
        let first = self.rows.get_ref().feed.place;
        let (mut end, mut rows_read, mut rows_covered) = (self.covered, 0, 0);
        let mut complete = false;
        while rows_read < self.limits.chunk_records_max as u64
            && end < self.limits.chunk_bytes
            && chunk.text.len() < self.limits.chunk_bytes
        {
            let start = end;
            let more = read_row(&mut self.rows, &mut self.row, start)?;
            end = index(self.rows.position().byte() - self.settled);
            if !more {
                complete = true;
                if !self.header_cut_off {
                    self.covered = end;
                }
                break;
            }
            rows_read += 1;
            self.take_row(first + rows_read, start..end, &mut chunk)?;
            // The csv reader looks for more input only if the row has not ended by then.
            if self.rows.get_ref().at_end {
                complete = true;
                break;
            }
            (self.covered, rows_covered) = (end, rows_read);
        }
        let tee = self.rows.get_mut();
        tee.feed.consume(&tee.unsettled[..self.covered], rows_covered);
        tee.unsettled.drain(..self.covered);
        self.settled += self.covered as u64;
        self.covered = 0;
        chunk.position = tee.feed.position(complete);
        Ok(chunk)
    }

    fn take_row(
        &mut self,
        record: u64,
        range: std::ops::Range<usize>,
        chunk: &mut Chunk,
    ) -> Result<(), SourceError> {
        let tee = self.rows.get_ref();
        let raw = &tee.unsettled[range.clone()];
        let blank = leading_line_ends(raw);
        let line = tee.feed.lines + newlines(blank) + 1;
        let lines_after = tee.feed.lines + newlines(raw);
        let raw = raw[blank.len()..].trim_ascii_end();
        if raw.len() > self.limits.line_bytes_max {
            return Err(too_long(tee, range.start));
        }
        let start = chunk.text.len();
        let written = if tee.at_end && memchr::memchr_iter(b'"', raw).count() % 2 == 1 {
            // It may have swallowed the rows behind it, even when the number of columns is right.
            let reason = "a quote is not closed before the file ends; close it, and the row is read again";
            Err(Fault { code: "unclosed_quote", reason: reason.into() })
        } else if self.row.len() == self.columns {
            let cell = |column: usize| Cell::untyped(self.row.get(column)?, &self.null);
            self.shape.write(record, cell, &mut chunk.text)
        } else {
            let reason = format!("the row has {} columns, the header {}", self.row.len(), self.columns);
            Err(Fault { code: "ragged_row", reason })
        };
        chunk.settle(line, start, written, || raw.into(), self.limits);
        self.rows.get_mut().feed.lines = lines_after;
        Ok(())
    }
}

impl Source for CsvSource {
    fn name(&self) -> &str {
        &self.rows.get_ref().feed.name
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        if self.done {
            return Ok(None);
        }
        // Set until the chunk is whole: after an error no row boundary is known.
        self.done = true;
        let chunk = self.read_chunk()?;
        self.done = chunk.position.complete;
        Ok(Some(chunk))
    }

    fn total_units(&self) -> Option<u64> {
        self.rows.get_ref().feed.total_units
    }
}

/// The line feed of the row before, when it ends in CR LF, and blank lines: the csv crate counts them to the next row.
fn leading_line_ends(raw: &[u8]) -> &[u8] {
    &raw[..raw.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()]
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("unsettled bytes are in memory")
}
