//! One archived block: the events' bytes as received, compressed before their turn came, and which of them were kept.
//!
//! Compressing is the dearest part, so it is done in parallel before dedupe; the few that turn out to be known already
//! are only masked. A large block is encoded as it will lie in its file; small ones share a row group later.
//!
//! Row: version `u8`, number of events `u32`, two bits an event (0 not kept, 1 counted, 2 waits), then the body.
//! Version 1, small: head and text, each as its length `u32`, its compressed length `u32` and zstd of it. The head has
//! tenant, origin, receive time, then for each event place `u64`, start `u32` and end `u32` in the text.
//! Version 2, large: length of the text `u32`, then a Parquet file of all columns but the fates, as its length `u32` and
//! its bytes.

use std::borrow::Cow;

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use tidemark_core::batch::EventBlock;
use tidemark_core::changes::Fate;
use tidemark_schemas::limits::REQUEST_BYTES_MAX;
use tidemark_schemas::time::ReceiveTime;

use super::columns::{Columns, FATES, each_row, may_hold_id, rows_of};
use crate::store::codec::{Damaged, Reader, Writer};

const TEXTS: u8 = 1;
const COLUMNS: u8 = 2;

/// Events from which on a block is a row group by itself: below, what a row group costs a reader (footer, filter,
/// pages of a few values) is no longer little beside the events in it.
pub(super) const COLUMNS_EVENTS_MIN: usize = 4_096;

/// A small block lives until its file is written, so speed counts and a third more bytes do not.
const ZSTD_LEVEL: i32 = -3;

/// A part holds one block's texts or their places; anything larger was not written by us.
const PART_BYTES_MAX: usize = 16 * REQUEST_BYTES_MAX;

/// Bits of a mask: indices into [`FATES`].
const NOT_KEPT: u8 = 0;
const COUNTED: u8 = 1;
const WAITS: u8 = 2;

/// An event as it was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedEvent<'a> {
    pub tenant: Cow<'a, str>,
    pub origin: Cow<'a, str>,
    pub received_at: ReceiveTime,
    pub place: u64,
    /// Counted, or waiting as an exception.
    pub counted: bool,
    pub raw: Cow<'a, [u8]>,
}

impl ArchivedEvent<'_> {
    /// Index into [`FATES`].
    pub(super) fn fate(&self) -> usize {
        usize::from(if self.counted { COUNTED } else { WAITS })
    }

    #[must_use]
    pub fn into_owned(self) -> ArchivedEvent<'static> {
        ArchivedEvent {
            tenant: self.tenant.into_owned().into(),
            origin: self.origin.into_owned().into(),
            raw: self.raw.into_owned().into(),
            received_at: self.received_at,
            place: self.place,
            counted: self.counted,
        }
    }
}

/// A block's events, compressed before anything is known of their fates.
#[derive(Clone, Debug)]
pub struct PackedBlock {
    version: u8,
    body: Vec<u8>,
}

impl PackedBlock {
    #[must_use]
    pub fn of(block: &EventBlock) -> Self {
        if block.len() < COLUMNS_EVENTS_MIN {
            Self { version: TEXTS, body: texts(block) }
        } else {
            Self { version: COLUMNS, body: columns(block) }
        }
    }

    /// The row: which events were kept, by fate, and the body.
    #[must_use]
    pub fn row(&self, kept: &[Option<Fate>]) -> Vec<u8> {
        let mut row = Writer::with_capacity(5 + kept.len().div_ceil(4) + self.body.len());
        row.u8(self.version);
        row.u32(length(kept.len()));
        for four in kept.chunks(4) {
            let bits = four.iter().enumerate().map(|(at, fate)| bits_of(*fate) << (2 * at));
            row.u8(bits.fold(0, |all, bits| all | bits));
        }
        row.raw(&self.body);
        row.into_bytes()
    }
}

fn texts(block: &EventBlock) -> Vec<u8> {
    let mut head = Writer::with_capacity(16 * block.len() + 256);
    head.text(block.tenant.as_str());
    head.text(&block.origin);
    head.raw(&block.received_at.micros().to_le_bytes());
    for (place, range) in block.places.iter().zip(&block.ranges) {
        head.u64(*place);
        head.u32(range.start);
        head.u32(range.end);
    }
    let mut packed = Writer::default();
    for part in [&head.into_bytes(), &block.text] {
        let compressed = zstd::bulk::compress(part, ZSTD_LEVEL).expect("compressing in memory does not fail");
        packed.u32(length(part.len()));
        packed.u32(length(compressed.len()));
        packed.raw(&compressed);
    }
    packed.into_bytes()
}

fn columns(block: &EventBlock) -> Vec<u8> {
    let file = Columns::of_block(block).into_file();
    let mut packed = Writer::with_capacity(8 + file.len());
    packed.u32(length(block.text.len()));
    packed.u32(length(file.len()));
    packed.raw(&file);
    packed.into_bytes()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("blocks are bounded far below 4 GiB")
}

fn bits_of(fate: Option<Fate>) -> u8 {
    match fate {
        None => NOT_KEPT,
        Some(Fate::Parked(_)) => WAITS,
        Some(Fate::Counted | Fate::Again) => COUNTED,
    }
}

/// Which events of a block were kept.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'row> {
    events: usize,
    bits: &'row [u8],
}

impl Mask<'_> {
    /// Of each event: 0 not kept, 1 counted, 2 waits.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u8> {
        (0..self.events).map(|event| self.get(event))
    }

    fn get(&self, event: usize) -> u8 {
        (self.bits[event / 4] >> (2 * (event % 4))) & 3
    }

    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    #[must_use]
    pub fn kept(&self) -> usize {
        self.iter().filter(|bits| *bits != NOT_KEPT).count()
    }

    #[must_use]
    pub fn counted(&self) -> usize {
        self.iter().filter(|bits| *bits == COUNTED).count()
    }
}

/// What a row says of itself without being decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Events that were kept.
    pub events: u64,
    /// The text's, with the events that were not.
    pub bytes: usize,
}

/// A row in its parts.
#[derive(Debug)]
pub struct BlockRow<'row> {
    pub mask: Mask<'row>,
    body: Body<'row>,
}

#[derive(Debug)]
enum Body<'row> {
    Texts { head: Zipped<'row>, text: Zipped<'row> },
    Columns { text_bytes: usize, file: &'row [u8] },
}

#[derive(Debug)]
struct Zipped<'row> {
    bytes: usize,
    compressed: &'row [u8],
}

impl<'row> Zipped<'row> {
    fn read(reader: &mut Reader<'row>) -> Result<Self, Damaged> {
        let (bytes, compressed_bytes) = (reader.u32()? as usize, reader.u32()? as usize);
        if bytes > PART_BYTES_MAX {
            return Err(Damaged("the block is longer than any that this release writes"));
        }
        Ok(Self { bytes, compressed: reader.raw(compressed_bytes)? })
    }

    fn open(&self) -> Result<Vec<u8>, Damaged> {
        let opened = zstd::bulk::decompress(self.compressed, self.bytes);
        opened.map_err(|_| Damaged("the block does not decompress"))
    }
}

impl<'row> BlockRow<'row> {
    /// # Errors
    /// [`Damaged`] when the row is none of ours.
    pub fn of(row: &'row [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(row);
        let version = reader.u8()?;
        let events = reader.u32()? as usize;
        let mask = Mask { events, bits: reader.raw(events.div_ceil(4))? };
        if mask.iter().any(|bits| usize::from(bits) >= FATES.len()) {
            return Err(Damaged("an event has a fate that this release does not know"));
        }
        let body = match version {
            TEXTS => Body::Texts { head: Zipped::read(&mut reader)?, text: Zipped::read(&mut reader)? },
            COLUMNS => {
                let (text_bytes, file_bytes) = (reader.u32()? as usize, reader.u32()? as usize);
                Body::Columns { text_bytes, file: reader.raw(file_bytes)? }
            }
            _ => return Err(Damaged("the layout version is not one this release reads")),
        };
        reader.finish()?;
        Ok(Self { mask, body })
    }

    #[must_use]
    pub fn size(&self) -> Size {
        let bytes = match &self.body {
            Body::Texts { text, .. } => text.bytes,
            Body::Columns { text_bytes, .. } => *text_bytes,
        };
        Size { events: self.mask.kept() as u64, bytes }
    }

    /// The columns of a large block, with the events that were not kept. `None` for a small one.
    ///
    /// # Errors
    /// [`Damaged`] when they are not those of the row's events.
    pub fn columns(&self) -> Result<Option<Columns>, Damaged> {
        let Body::Columns { file, .. } = &self.body else { return Ok(None) };
        let columns = Columns::of_file(&Bytes::copy_from_slice(file)).map_err(not_ours)?;
        self.check(columns.rows)?;
        Ok(Some(columns))
    }

    fn open(&self, file: &[u8]) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, Damaged> {
        let file =
            ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file)).map_err(not_ours)?;
        self.check(rows_of(file.metadata()).map_err(not_ours)?)?;
        Ok(file)
    }

    fn check(&self, rows: usize) -> Result<(), Damaged> {
        if rows == self.mask.events {
            Ok(())
        } else {
            Err(Damaged("the block has more or fewer events than fates"))
        }
    }

    /// Calls `take` for each event that was kept, in order.
    ///
    /// # Errors
    /// [`Damaged`] when the block is none of ours; some events may have been taken before.
    pub fn each(&self, take: &mut dyn FnMut(ArchivedEvent<'_>)) -> Result<(), Damaged> {
        match &self.body {
            Body::Texts { head, text } => self.each_text(&head.open()?, &text.open()?, take),
            Body::Columns { file, .. } => self.each_row(self.open(file)?, take),
        }
    }

    /// As [`BlockRow::each`], and perhaps without events that have another id.
    ///
    /// # Errors
    /// See [`BlockRow::each`].
    pub fn each_like(&self, id: &str, take: &mut dyn FnMut(ArchivedEvent<'_>)) -> Result<(), Damaged> {
        let Body::Columns { file, .. } = &self.body else { return self.each(take) };
        let file = self.open(file)?;
        if may_hold_id(&file, 0, id).map_err(not_ours)? { self.each_row(file, take) } else { Ok(()) }
    }

    fn each_text(
        &self,
        head: &[u8],
        text: &[u8],
        take: &mut dyn FnMut(ArchivedEvent<'_>),
    ) -> Result<(), Damaged> {
        let mut head = Reader::new(head);
        let (tenant, origin) = (head.text()?, head.text()?);
        let received_at = ReceiveTime::from_micros(head.u64()?.cast_signed());
        for bits in self.mask.iter() {
            let place = head.u64()?;
            let range = head.u32()? as usize..head.u32()? as usize;
            let raw = text.get(range).ok_or(Damaged("an event lies outside of its block"))?;
            if bits != NOT_KEPT {
                let (tenant, origin, raw) = (tenant.into(), origin.into(), raw.into());
                take(ArchivedEvent { tenant, origin, received_at, place, counted: bits == COUNTED, raw });
            }
        }
        head.finish()
    }

    fn each_row(
        &self,
        file: ParquetRecordBatchReaderBuilder<Bytes>,
        take: &mut dyn FnMut(ArchivedEvent<'_>),
    ) -> Result<(), Damaged> {
        let mut fates = self.mask.iter();
        each_row(file, vec![0], &mut |event, _| match fates.next() {
            Some(NOT_KEPT) | None => {}
            Some(bits) => take(ArchivedEvent { counted: bits == COUNTED, ..event }),
        })
        .map_err(not_ours)
    }
}

/// What the library says would not help whoever reads it: the bytes are those of a row, not of a file.
fn not_ours(_: ParquetError) -> Damaged {
    Damaged("the block's columns do not decode")
}

/// The events of a row that were kept.
#[cfg(test)]
pub fn events_of(row: &[u8]) -> Result<Vec<ArchivedEvent<'static>>, Damaged> {
    let mut events = Vec::new();
    BlockRow::of(row)?.each(&mut |event| events.push(event.into_owned()))?;
    Ok(events)
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
