//! Keys of every kind of row. Each function's doc is the layout.

use tidemark_core::state::{GroupId, PostingId, SeriesId, WindowKey};
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::EventTime;

use super::bytes::Damaged;
use super::records::EntryKey;

/// Microseconds with the sign bit flipped, big-endian: byte order is time order.
#[must_use]
pub fn time_key(time: EventTime) -> [u8; 8] {
    (time.micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// # Errors
/// [`Damaged`] when it is no [`time_key`].
pub fn time_key_from(bytes: &[u8]) -> Result<EventTime, Damaged> {
    time_from(bytes)
}

pub(super) fn time_from(bytes: &[u8]) -> Result<EventTime, Damaged> {
    let bits = u64::from_be_bytes(*bytes.first_chunk().ok_or(Damaged("a key is too short"))?);
    Ok(EventTime::from_micros((bits ^ (1 << 63)).cast_signed()))
}

pub(super) fn hash_from(bytes: &[u8]) -> Result<u128, Damaged> {
    Ok(u128::from_be_bytes(*bytes.first_chunk().ok_or(Damaged("a key is too short"))?))
}

/// `0`, group 16.
#[must_use]
pub fn group_key(group: GroupId) -> [u8; 17] {
    tagged(0, group.0)
}

/// `1`, hash of subscription and meter 16: how many groups they have.
#[must_use]
pub fn group_count_key(count: GroupId) -> [u8; 17] {
    tagged(1, count.0)
}

fn tagged(tag: u8, hash: u128) -> [u8; 17] {
    let mut key = [tag; 17];
    key[1..].copy_from_slice(&hash.to_be_bytes());
    key
}

/// start 8, group 16: old windows lie together.
#[must_use]
pub fn window_key(key: WindowKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&time_key(key.start));
    bytes[8..].copy_from_slice(&key.group.0.to_be_bytes());
    bytes
}

/// # Errors
/// [`Damaged`] when it is no window's key.
pub fn window_key_from(bytes: &[u8]) -> Result<WindowKey, Damaged> {
    let (start, group) = bytes.split_at_checked(8).ok_or(Damaged("a key is too short"))?;
    Ok(WindowKey { start: time_from(start)?, group: GroupId(hash_from(group)?) })
}

/// series 16.
#[must_use]
pub fn series_key(series: SeriesId) -> [u8; 16] {
    series.0.to_be_bytes()
}

/// posting 16.
#[must_use]
pub fn posting_key(posting: PostingId) -> [u8; 16] {
    posting.0.to_be_bytes()
}

/// `u64` big-endian: rows of records, by the last sequence in them.
#[must_use]
pub fn sequence_key(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// # Errors
/// [`Damaged`] when it is no sequence.
pub fn sequence_from(bytes: &[u8]) -> Result<u64, Damaged> {
    Ok(u64::from_be_bytes(*bytes.first_chunk().ok_or(Damaged("a sequence is too short"))?))
}

/// posting 16, number `u64` big-endian: one journal entry, cut or in the making.
#[must_use]
pub fn entry_key(posting: PostingId, number: u64) -> EntryKey {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&posting_key(posting));
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// entry 24, sequence of the last of the members `u64` big-endian.
#[must_use]
pub fn members_key(entry: EntryKey, last: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..24].copy_from_slice(&entry);
    bytes[24..].copy_from_slice(&last.to_be_bytes());
    bytes
}

/// destination 1, sequence `u64` big-endian: rows of the outbox and of answers, by the last sequence in them.
#[must_use]
pub fn destination_key(destination: Destination, last: u64) -> [u8; 9] {
    let mut bytes = [destination_tag(destination); 9];
    bytes[1..].copy_from_slice(&last.to_be_bytes());
    bytes
}

/// destination 1 with its highest bit set, record id, attempt `u32` big-endian from 1: an answer that was superseded when the
/// row was sent again.
#[must_use]
pub fn superseded_receipt_key(destination: Destination, record: &RecordId, attempt: u32) -> Vec<u8> {
    let mut bytes = vec![destination_tag(destination) | 0x80];
    bytes.extend_from_slice(record.0.as_bytes());
    bytes.extend_from_slice(&attempt.to_be_bytes());
    bytes
}

fn destination_tag(destination: Destination) -> u8 {
    match destination {
        Destination::Billing => 1,
        Destination::Erp => 2,
    }
}

/// commit `u64`, block `u32`, both big-endian.
#[must_use]
pub fn archive_block_key(commit: u64, block: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&commit.to_be_bytes());
    bytes[8..].copy_from_slice(&block.to_be_bytes());
    bytes
}
