//! One archived block: the events' bytes as received, compressed before their turn came, and which of them were kept.
//!
//! Compressing is the dearest part, so it is done in parallel before dedupe; the few that turn out to be known already
//! are only masked.
//!
//! Row: version 1, number of events `u32`, two bits an event (0 not kept, 1 counted, 2 waits), then head and text, each as
//! its length `u32`, its compressed length `u32` and zstd of it.
//! Head: tenant, origin, receive time, then for each event place `u64`, start `u32` and end `u32` in the text.

use std::borrow::Cow;

use tidemark_core::batch::EventBlock;
use tidemark_core::changes::Fate;
use tidemark_schemas::limits::REQUEST_BYTES_MAX;
use tidemark_schemas::time::ReceiveTime;

use crate::store::codec::{Damaged, Reader, Writer};

const VERSION: u8 = 1;

/// A block lives until its file is written, so speed counts and a third more bytes do not.
const ZSTD_LEVEL: i32 = -3;

/// A part holds one block's texts or their places; anything larger was not written by us.
const PART_BYTES_MAX: usize = 16 * REQUEST_BYTES_MAX;

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

/// Head and text, compressed before anything is known of the events' fates.
#[must_use]
pub fn compress(block: &EventBlock) -> Vec<u8> {
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
        let length = |bytes: usize| u32::try_from(bytes).expect("blocks are bounded far below 4 GiB");
        packed.u32(length(part.len()));
        packed.u32(length(compressed.len()));
        packed.raw(&compressed);
    }
    packed.into_bytes()
}

/// The row: which events were kept, by fate, and the body.
#[must_use]
pub fn block_row(kept: &[Option<Fate>], compressed: &[u8]) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    row.u32(u32::try_from(kept.len()).expect("blocks are bounded"));
    for four in kept.chunks(4) {
        let bits = four.iter().enumerate().map(|(at, fate)| bits_of(*fate) << (2 * at));
        row.u8(bits.fold(0, |all, bits| all | bits));
    }
    row.raw(compressed);
    row.into_bytes()
}

fn bits_of(fate: Option<Fate>) -> u8 {
    match fate {
        None => 0,
        Some(Fate::Parked(_)) => 2,
        Some(Fate::Counted | Fate::Again) => 1,
    }
}

/// A row, decompressed.
pub struct OpenBlock<'row> {
    count: usize,
    mask: &'row [u8],
    head: Vec<u8>,
    text: Vec<u8>,
}

/// What a row says of itself without being decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Events that were kept.
    pub events: u64,
    /// The text's, with the events that were not.
    pub bytes: usize,
}

struct Parts<'row> {
    count: usize,
    mask: &'row [u8],
    head: Packed<'row>,
    text: Packed<'row>,
}

struct Packed<'row> {
    bytes: usize,
    compressed: &'row [u8],
}

impl<'row> Parts<'row> {
    fn of(row: &'row [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(row);
        if reader.u8()? != VERSION {
            return Err(Damaged("the layout version is not one this release reads"));
        }
        let count = reader.u32()? as usize;
        let mask = reader.raw(count.div_ceil(4))?;
        let (head, text) = (Packed::read(&mut reader)?, Packed::read(&mut reader)?);
        reader.finish()?;
        Ok(Self { count, mask, head, text })
    }
}

impl<'row> Packed<'row> {
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

fn bits(mask: &[u8], event: usize) -> u8 {
    (mask[event / 4] >> (2 * (event % 4))) & 3
}

/// # Errors
/// [`Damaged`] when the row is none of ours.
pub fn size_of(row: &[u8]) -> Result<Size, Damaged> {
    let Parts { count, mask, text, .. } = Parts::of(row)?;
    let events = (0..count).filter(|event| bits(mask, *event) != 0).count() as u64;
    Ok(Size { events, bytes: text.bytes })
}

impl<'row> OpenBlock<'row> {
    /// # Errors
    /// [`Damaged`] when the row is none of ours.
    pub fn open(row: &'row [u8]) -> Result<Self, Damaged> {
        let Parts { count, mask, head, text } = Parts::of(row)?;
        Ok(Self { count, mask, head: head.open()?, text: text.open()? })
    }

    /// Calls `take` for each event that was kept, in order.
    ///
    /// # Errors
    /// [`Damaged`] when the block is none of ours; some events may have been taken before.
    pub fn each<'b>(&'b self, mut take: impl FnMut(ArchivedEvent<'b>)) -> Result<(), Damaged> {
        let mut head = Reader::new(&self.head);
        let (tenant, origin) = (head.text()?, head.text()?);
        let received_at = ReceiveTime::from_micros(head.u64()?.cast_signed());
        for event in 0..self.count {
            let place = head.u64()?;
            let range = head.u32()? as usize..head.u32()? as usize;
            let raw = self.text.get(range).ok_or(Damaged("an event lies outside of its block"))?;
            let bits = bits(self.mask, event);
            if bits != 0 {
                let (tenant, origin, raw) = (tenant.into(), origin.into(), raw.into());
                take(ArchivedEvent { tenant, origin, received_at, place, counted: bits == 1, raw });
            }
        }
        head.finish()
    }
}

/// The events of a row that were kept.
#[cfg(test)]
pub fn events_of(row: &[u8]) -> Result<Vec<ArchivedEvent<'static>>, Damaged> {
    let (block, mut events) = (OpenBlock::open(row)?, Vec::new());
    block.each(|event| events.push(event.into_owned()))?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::identity::{ContentDigest, Identity};
    use tidemark_schemas::exception::ExceptionKind;
    use tidemark_schemas::ids::TenantId;
    use tidemark_schemas::time::EventTime;

    fn block(texts: &[&str]) -> EventBlock {
        let received_at = ReceiveTime::from_micros(77);
        let mut block = EventBlock::new(TenantId::new("t").expect("a name"), "file".into(), received_at);
        for (at, text) in texts.iter().enumerate() {
            let start = block.text.len() as u32;
            block.text.extend_from_slice(text.as_bytes());
            block.ranges.push(start..block.text.len() as u32);
            block.identities.push(Identity(at as u128));
            block.digests.push(ContentDigest(0));
            block.times.push(EventTime::from_micros(0));
            block.event_routes.push(0);
            block.places.push(at as u64 + 1);
        }
        block
    }

    #[test]
    fn what_was_kept_comes_back() {
        let compressed = compress(&block(&["a", "bb", "", "dddd", "e"]));
        let kept = [
            Some(Fate::Counted),
            None,
            Some(Fate::Parked(ExceptionKind::TooLate)),
            None,
            Some(Fate::Counted),
        ];
        let row = block_row(&kept, &compressed);
        let events = events_of(&row).expect("reads back");
        let told: Vec<_> =
            events.iter().map(|e| (e.place, e.counted, String::from_utf8_lossy(&e.raw))).collect();
        assert_eq!(told, [(1, true, "a".into()), (3, false, "".into()), (5, true, "e".into())]);
        assert_eq!(events[0].received_at, ReceiveTime::from_micros(77));
        assert_eq!(size_of(&row).expect("a row").events, 3);
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        let row = block_row(&[Some(Fate::Counted)], &compress(&block(&["abc"])));
        for cut in 0..row.len() {
            assert!(events_of(&row[..cut]).is_err(), "{cut}");
        }
        assert!(events_of(&[9; 20]).is_err());
    }
}
