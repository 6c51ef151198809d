//! Which events does a log of plain lines hold? A regular expression with named groups takes each line apart.
//!
//! Keeps: every line that is not blank takes a record number, whether it matches or not, so that correcting the pattern
//! does not change the ids of the other lines. Groups that take no part in a match are absent.
//!
//! Deliberately absent: entries that span lines, such as stack traces.

use std::path::Path;

use regex::bytes::{CaptureLocations, Regex};

use super::event::{Cell, EventShape, Fault};
use super::lines::LineReader;
use super::{Chunk, Damaged, Limits, Mapping, Opened, Position, Source, SourceError, bytes};

struct PatternSource {
    lines: LineReader,
    pattern: Regex,
    groups: CaptureLocations,
    /// Number of each named group in the pattern, in the order of the shape's columns.
    group_numbers: Vec<usize>,
    shape: EventShape,
    null: Vec<String>,
    limits: Limits,
}

pub(super) fn open(
    path: &Path,
    mapping: &Mapping,
    resume: Option<&Position>,
    limits: Limits,
) -> Result<(Box<dyn Source>, Opened), SourceError> {
    let pattern = mapping.pattern.clone().expect("a mapping for lines is refused without a pattern");
    let (columns, group_numbers) = pattern
        .capture_names()
        .enumerate()
        .filter_map(|(number, name)| name.map(|name| (name.to_owned(), number)))
        .unzip::<String, usize, Vec<_>, Vec<_>>();
    let shape = EventShape::bind(mapping, &columns, path)?;
    let (feed, opened) = bytes::open(path, resume)?;
    let nothing_new = matches!(opened, Opened::Unchanged { .. });
    let source = PatternSource {
        lines: LineReader::new(feed, nothing_new, limits),
        groups: pattern.capture_locations(),
        pattern,
        group_numbers,
        shape,
        null: mapping.null.clone(),
        limits,
    };
    Ok((Box::new(source), opened))
}

impl Source for PatternSource {
    fn name(&self) -> &str {
        &self.lines.feed.name
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(block) = self.lines.next_block()? else { return Ok(None) };
        let mut chunk = Chunk::new(block.position);
        for line in block.lines {
            let raw = &block.text[line.range];
            if line.oversized {
                let range = chunk.keep(raw, self.limits);
                chunk.damaged.push(Damaged::too_large(line.number, range, self.limits.line_bytes_max));
                continue;
            }
            let start = chunk.text.len();
            let written = match self.pattern.captures_read(&mut self.groups, raw) {
                None => Err(Fault {
                    code: "no_match",
                    reason: "the line does not match the mapping's pattern".into(),
                }),
                Some(_) => {
                    let cell = |column: usize| {
                        let (from, to) = self.groups.get(self.group_numbers[column])?;
                        Cell::untyped(&raw[from..to], &self.null)
                    };
                    self.shape.write(line.record, cell, &mut chunk.text)
                }
            };
            chunk.settle(line.number, start, written, || raw.into(), self.limits);
        }
        Ok(Some(chunk))
    }

    fn total_units(&self) -> Option<u64> {
        self.lines.feed.total_units
    }
}
