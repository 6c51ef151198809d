//! Which events does an NDJSON file hold? Each line is one, handed over as it is.
//!
//! Source of the format: github.com/ndjson/ndjson-spec. Deliberately absent: looking into the JSON. A half line or
//! one that is no JSON is a record too, and the decoder refuses it with its line number.

use std::path::Path;

use super::lines::{Block, LineReader};
use super::{Chunk, Damaged, Limits, Opened, Position, Record, Source, SourceError, bytes, range_of};

struct NdjsonSource {
    lines: LineReader,
}

pub(super) fn open(
    path: &Path,
    resume: Option<&Position>,
    limits: Limits,
) -> Result<(Box<dyn Source>, Opened), SourceError> {
    let (feed, opened) = bytes::open(path, resume)?;
    let nothing_new = matches!(opened, Opened::Unchanged { .. });
    Ok((Box::new(NdjsonSource { lines: LineReader::new(feed, nothing_new, limits) }), opened))
}

impl Source for NdjsonSource {
    fn name(&self) -> &str {
        &self.lines.feed.name
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        Ok(self.lines.next_block()?.map(|block| chunk_of(block, self.lines.line_bytes_max())))
    }

    fn total_units(&self) -> Option<u64> {
        self.lines.feed.total_units
    }
}

fn chunk_of(block: Block, line_bytes_max: usize) -> Chunk {
    let mut records = Vec::with_capacity(block.lines.len());
    let mut damaged = Vec::new();
    for line in block.lines {
        let range = range_of(line.range);
        if line.oversized {
            damaged.push(Damaged::too_large(line.number, range, line_bytes_max));
        } else {
            records.push(Record { place: line.number, range });
        }
    }
    Chunk { text: block.text, records, damaged, position: block.position }
}
