//! Where does a line end? Cuts bytes into lines, block by block.
//!
//! Keeps: a block's position is behind its last terminated line; an unterminated last line is handed over and stays
//! behind the position. A line above the limit is never held whole: its first bytes are kept, the rest is read past.
//! Bytes are read straight into the block's text; only the cut-off line at its end is copied, to the next block.
//!
//! A line ends at a line feed; a carriage return before it, a byte order mark at the start of the file and blank lines
//! are no content.

use std::io::Read;
use std::ops::Range;

use memchr::{memchr, memchr_iter};

use super::bytes::Feed;
use super::{Limits, Position, SourceError};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// While reading past the rest of an oversized line.
const SKIP_BYTES: usize = 256 * 1024;

/// Consecutive lines that are not blank.
pub(super) struct Block {
    pub text: Vec<u8>,
    pub lines: Vec<Line>,
    pub position: Position,
}

pub(super) struct Line {
    /// Counts every line of the file, from 1.
    pub number: u64,
    /// Counts the lines that are not blank, from 1.
    pub record: u64,
    /// Its content in the block's text; for an oversized line the first bytes that an exception keeps.
    pub range: Range<usize>,
    /// Above the limit.
    pub oversized: bool,
}

pub(super) struct LineReader {
    pub feed: Feed,
    limits: Limits,
    /// Records handed over, the unterminated one included, which `feed.place` leaves out.
    records: u64,
    /// Read, but not yet handed over.
    carry: Vec<u8>,
    at_end: bool,
    done: bool,
}

impl LineReader {
    pub fn new(feed: Feed, nothing_new: bool, limits: Limits) -> Self {
        let records = feed.place;
        Self { feed, limits, records, carry: Vec::new(), at_end: false, done: nothing_new }
    }

    pub fn line_bytes_max(&self) -> usize {
        self.limits.line_bytes_max
    }

    pub fn next_block(&mut self) -> Result<Option<Block>, SourceError> {
        if self.done {
            return Ok(None);
        }
        // Set until the block is whole: after a failed read the next bytes would be taken for the start of a line.
        self.done = true;
        let block = self.read_block()?;
        self.done = block.position.complete;
        Ok(Some(block))
    }

    fn read_block(&mut self) -> Result<Block, SourceError> {
        let mut text = std::mem::take(&mut self.carry);
        self.fill(&mut text)?;
        let mut lines = Vec::with_capacity(text.len() / 256);
        let (mut start, mut full) = (0, false);
        for end in memchr_iter(b'\n', &text) {
            if lines.len() == self.limits.chunk_records_max {
                full = true;
                break;
            }
            self.push_line(&text, start..end, &mut lines);
            start = end + 1;
        }
        self.feed.consume(&text[..start], lines.len() as u64);
        let rest_bytes = text.len() - start;
        if !full && self.is_oversized_tail(rest_bytes) {
            return self.finish_oversized(text, start, lines);
        }
        if !full && self.at_end {
            let position = self.feed.position(true);
            self.push_line(&text, start..text.len(), &mut lines);
            return Ok(Block { text, lines, position });
        }
        self.carry.reserve(rest_bytes + self.limits.chunk_bytes);
        self.carry.extend_from_slice(&text[start..]);
        text.truncate(start);
        Ok(Block { text, lines, position: self.feed.position(false) })
    }

    /// Reads until the text holds a chunk and the end of a line, or the file ends, or the line is oversized.
    fn fill(&mut self, text: &mut Vec<u8>) -> Result<(), SourceError> {
        let (mut scanned, mut target) = (0, self.limits.chunk_bytes);
        loop {
            if !self.at_end && text.len() < target {
                let want = target - text.len();
                text.reserve_exact(want);
                let read = self.feed.bytes.by_ref().take(want as u64).read_to_end(text);
                self.at_end = read.map_err(|error| self.feed.read_failed(error))? < want;
            }
            let enough = self.at_end || memchr(b'\n', &text[scanned..]).is_some();
            if enough || self.is_oversized_tail(text.len()) {
                return Ok(());
            }
            scanned = text.len();
            target = text.len() + self.limits.chunk_bytes;
        }
    }

    /// Certainly above the limit, even if a byte order mark and a carriage return turn out not to count.
    fn is_oversized_tail(&self, bytes: usize) -> bool {
        bytes > self.limits.line_bytes_max + BYTE_ORDER_MARK.len() + 1
    }

    fn push_line(&mut self, text: &[u8], mut range: Range<usize>, lines: &mut Vec<Line>) {
        self.feed.lines += 1;
        if self.feed.lines == 1 && text[range.clone()].starts_with(BYTE_ORDER_MARK) {
            range.start += BYTE_ORDER_MARK.len();
        }
        if text[range.clone()].ends_with(b"\r") {
            range.end -= 1;
        }
        let oversized = range.len() > self.limits.line_bytes_max;
        if oversized {
            range.end = range.start + range.len().min(self.limits.kept_bytes_max);
        } else if text[range.clone()].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            return;
        }
        self.records += 1;
        lines.push(Line { number: self.feed.lines, record: self.records, range, oversized });
    }

    /// Reads past the rest of the line that begins at `start`, keeping its first bytes only.
    fn finish_oversized(
        &mut self,
        mut text: Vec<u8>,
        start: usize,
        mut lines: Vec<Line>,
    ) -> Result<Block, SourceError> {
        let before_line = self.feed.position(true);
        self.push_line(&text, start..text.len(), &mut lines);
        self.feed.consume(&text[start..], 0);
        text.truncate(lines.last().map_or(start, |line| line.range.end));
        let mut buffer = vec![0; SKIP_BYTES];
        loop {
            match self.feed.bytes.read(&mut buffer) {
                Ok(0) => return Ok(Block { text, lines, position: before_line }),
                Ok(read) => match memchr(b'\n', &buffer[..read]) {
                    Some(end) => {
                        self.feed.consume(&buffer[..=end], 1);
                        self.carry.extend_from_slice(&buffer[end + 1..read]);
                        return Ok(Block { text, lines, position: self.feed.position(false) });
                    }
                    None => self.feed.consume(&buffer[..read], 0),
                },
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.feed.read_failed(error)),
            }
        }
    }
}
