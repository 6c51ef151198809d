//! Records with consecutive sequences, in one row: a window's worth of rated lines closes at once, and a row for each of
//! them costs more than making it.
//!
//! Row: version 1, length of the rest `u32`, zstd of the rest. The rest: distinct journal entries, each 24 bytes; then for each
//! record its entry (`u32`, from 1; 0 is none), id and text. The row's key ends with the sequence of its last record, so
//! that the first row at or above a sequence is the one that holds it.

use tidemark_schemas::summary::RecordId;

use super::bytes::{Damaged, Reader, Writer};

/// Records in one row: large enough to compress well, and a look-up of one record still takes a tenth of a millisecond.
pub const RECORDS_PER_ROW_MAX: usize = 256;

/// Records of one row, before they are compressed. Anything larger was not written by us.
const RECORDS_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The fastest level that is no worse than that of the log's own compression.
const ZSTD_LEVEL: i32 = 1;

const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 24;

/// Posting and number of a journal entry, as `entry_key` makes it.
pub type EntryKey = [u8; ENTRY_BYTES];

/// A record to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub id: &'a RecordId,
    /// The journal entry that it is in, or is.
    pub entry: Option<EntryKey>,
    /// Its wire form.
    pub text: &'a [u8],
}

/// At most [`RECORDS_PER_ROW_MAX`] records as a row.
#[must_use]
pub fn pack_records(records: &[Stored<'_>]) -> Vec<u8> {
    let mut entries: Vec<EntryKey> = Vec::new();
    let mut body = Writer::with_capacity(records.iter().map(|record| record.text.len() + 48).sum());
    for record in records {
        let entry = record.entry.map_or(0, |entry| place_of(&mut entries, entry));
        body.u32(entry);
        body.text(&record.id.0);
        body.u32(narrow(record.text.len()));
        body.raw(record.text);
    }
    let mut rest = Writer::default();
    rest.u32(narrow(entries.len()));
    rest.raw(entries.as_flattened());
    rest.u32(narrow(records.len()));
    rest.raw(&body.into_bytes());
    let rest = rest.into_bytes();
    let mut row = Writer::default();
    row.u8(VERSION);
    row.u32(narrow(rest.len()));
    row.raw(&zstd::bulk::compress(&rest, ZSTD_LEVEL).expect("compressing in memory does not fail"));
    row.into_bytes()
}

/// From 1. A row's lines are in one or two entries of each legal entity.
fn place_of(entries: &mut Vec<EntryKey>, entry: EntryKey) -> u32 {
    let known = entries.iter().rposition(|known| *known == entry);
    narrow(
        1 + known.unwrap_or_else(|| {
            entries.push(entry);
            entries.len() - 1
        }),
    )
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("rows are bounded far below 4 GiB")
}

/// A row, decompressed.
#[derive(Debug)]
pub struct Records {
    rest: Vec<u8>,
    entries: Vec<EntryKey>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    entry: u32,
    id: std::ops::Range<usize>,
    text: std::ops::Range<usize>,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub id: &'a str,
    /// The journal entry that it is in, or is.
    pub entry: Option<EntryKey>,
    pub text: &'a [u8],
}

impl Records {
    /// # Errors
    /// [`Damaged`] when the row is none of ours.
    pub fn unpack(row: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(row);
        if reader.u8()? != VERSION {
            return Err(Damaged("the layout version is not one this release reads"));
        }
        let bytes = reader.u32()? as usize;
        if bytes > RECORDS_BYTES_MAX {
            return Err(Damaged("the records are longer than any that this release writes"));
        }
        let rest = zstd::bulk::decompress(reader.left(), bytes)
            .map_err(|_| Damaged("the records do not decompress"))?;
        if rest.len() != bytes {
            return Err(Damaged("the records have another length than the row says"));
        }
        let mut reader = Reader::new(&rest);
        let entries = (0..reader.count()?).map(|_| reader.array()).collect::<Result<Vec<_>, _>>()?;
        let count = reader.count()?;
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = reader.u32()?;
            if entry as usize > entries.len() {
                return Err(Damaged("a record is in an entry that its row does not have"));
            }
            let id = reader.text()?.len();
            let id = rest.len() - reader.left().len() - id..rest.len() - reader.left().len();
            let length = reader.u32()? as usize;
            reader.raw(length)?;
            let end = rest.len() - reader.left().len();
            places.push(Place { entry, id, text: end - length..end });
        }
        reader.finish()?;
        Ok(Self { entries, places, rest })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// # Panics
    /// When `at` is not below [`Self::len`].
    #[must_use]
    pub fn get(&self, at: usize) -> Record<'_> {
        let place = &self.places[at];
        let entry = place.entry.checked_sub(1).map(|entry| self.entries[entry as usize]);
        let id = std::str::from_utf8(&self.rest[place.id.clone()]).expect("it was a text when it was read");
        Record { id, entry, text: &self.rest[place.text.clone()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let ids: Vec<_> = (0..4).map(|number| RecordId(format!("rs_{number}"))).collect();
        let (one, other) = ([1; ENTRY_BYTES], [2; ENTRY_BYTES]);
        let texts: [&[u8]; 4] = [b"{}", b"", b"{\"a\":1}", b"x"];
        let entries = [Some(one), None, Some(other), Some(one)];
        let stored = |at: usize| Stored { id: &ids[at], entry: entries[at], text: texts[at] };
        let row = pack_records(&[stored(0), stored(1), stored(2), stored(3)]);
        let records = Records::unpack(&row).expect("our own row");
        assert_eq!(records.len(), 4);
        for at in 0..4 {
            assert_eq!(
                records.get(at),
                Record { id: &ids[at].0, entry: entries[at], text: texts[at] },
                "{at}"
            );
        }
        for cut in 0..row.len() {
            assert!(Records::unpack(&row[..cut]).is_err(), "{cut}");
        }
    }

    /// Every byte of the uncompressed form is wrong once.
    #[test]
    fn a_damaged_row_is_an_error_or_other_records_and_never_a_panic() {
        let id = RecordId("rs_1".into());
        let row = pack_records(&[Stored { id: &id, entry: Some([7; ENTRY_BYTES]), text: b"{}" }]);
        let rest = zstd::bulk::decompress(&row[5..], 1_000).expect("our own row");
        for at in 0..rest.len() {
            for wrong in [0_u8, 1, 0x7F, 0x80, 0xFF] {
                let mut damaged = rest.clone();
                damaged[at] = wrong;
                let mut other = row[..5].to_vec();
                other.extend(zstd::bulk::compress(&damaged, ZSTD_LEVEL).expect("in memory"));
                if let Ok(records) = Records::unpack(&other) {
                    (0..records.len()).for_each(|at| assert!(records.get(at).id.len() <= rest.len()));
                }
            }
        }
    }
}
