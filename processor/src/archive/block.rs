//! One archived block: the events' bytes as received, compressed before their turn came, and which of them were kept.
//!
//! Compressing is the dearest part, so it is done in parallel before dedupe; the few that turn out to be known already
//! are only masked.
//!
//! Row: version 1, number of events `u32`, two bits an event (0 not kept, 1 counted, 2 waits), then zstd of the body.
//! Body: tenant, origin, receive time, then for each event place `u64` and text with its length.

use std::io::Read;

use tidemark_core::batch::EventBlock;
use tidemark_core::changes::Fate;
use tidemark_schemas::limits::REQUEST_BYTES_MAX;
use tidemark_schemas::time::ReceiveTime;

use crate::store::codec::{Damaged, Reader, Writer};

const VERSION: u8 = 1;

/// The fastest level: twice as small as LZ4 at two thirds of its speed.
const ZSTD_LEVEL: i32 = 1;

/// A body holds one block's texts and a little more; anything larger was not written by us.
const BODY_BYTES_MAX: u64 = 16 * REQUEST_BYTES_MAX as u64;

/// An event as it was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedEvent {
    pub tenant: String,
    pub origin: String,
    pub received_at: ReceiveTime,
    pub place: u64,
    /// Counted, or waiting as an exception.
    pub counted: bool,
    pub raw: Vec<u8>,
}

/// The body, before anything is known of the events' fates.
#[must_use]
pub fn compress(block: &EventBlock) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(block.tenant.as_str());
    body.text(&block.origin);
    body.raw(&block.received_at.micros().to_le_bytes());
    for event in 0..block.len() {
        body.u64(block.places[event]);
        let text = block.event_text(event);
        body.u32(u32::try_from(text.len()).expect("events are bounded"));
        body.raw(text);
    }
    zstd::bulk::compress(&body.into_bytes(), ZSTD_LEVEL).expect("compressing in memory does not fail")
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

/// The events that were kept, in order.
///
/// # Errors
/// [`Damaged`] when the row is none of ours.
pub fn events_of(row: &[u8]) -> Result<Vec<ArchivedEvent>, Damaged> {
    let mut reader = Reader::new(row);
    if reader.u8()? != VERSION {
        return Err(Damaged("the layout version is not one this release reads"));
    }
    let count = reader.u32()? as usize;
    let mask_bytes = count.div_ceil(4);
    let mask = reader.raw(mask_bytes)?;
    let compressed = &row[5 + mask_bytes..];
    let body = decompress(compressed).map_err(|_| Damaged("the block does not decompress"))?;
    let mut body = Reader::new(&body);
    let (tenant, origin) = (body.text()?.to_owned(), body.text()?.to_owned());
    let received_at = ReceiveTime::from_micros(body.u64()?.cast_signed());
    let mut events = Vec::with_capacity(count);
    for event in 0..count {
        let place = body.u64()?;
        let length = body.u32()? as usize;
        let raw = body.raw(length)?;
        let bits = (mask[event / 4] >> (2 * (event % 4))) & 3;
        if bits != 0 {
            let (tenant, origin) = (tenant.clone(), origin.clone());
            events.push(ArchivedEvent {
                tenant,
                origin,
                received_at,
                place,
                counted: bits == 1,
                raw: raw.to_vec(),
            });
        }
    }
    body.finish()?;
    Ok(events)
}

/// How many events of a row were kept, without decompressing it.
///
/// # Errors
/// [`Damaged`] when the row is none of ours.
pub fn kept_in(row: &[u8]) -> Result<u64, Damaged> {
    let mut reader = Reader::new(row);
    if reader.u8()? != VERSION {
        return Err(Damaged("the layout version is not one this release reads"));
    }
    let count = reader.u32()? as usize;
    let mask = reader.raw(count.div_ceil(4))?;
    let kept = |event: &usize| (mask[event / 4] >> (2 * (event % 4))) & 3 != 0;
    Ok((0..count).filter(kept).count() as u64)
}

fn decompress(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    zstd::stream::read::Decoder::new(compressed)?.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    Ok(body)
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
        let events = events_of(&block_row(&kept, &compressed)).expect("reads back");
        let told: Vec<_> =
            events.iter().map(|e| (e.place, e.counted, String::from_utf8_lossy(&e.raw))).collect();
        assert_eq!(told, [(1, true, "a".into()), (3, false, "".into()), (5, true, "e".into())]);
        assert_eq!(events[0].received_at, ReceiveTime::from_micros(77));
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
