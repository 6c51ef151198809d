//! Which identities are certainly in no table? One cache line of memory answers for nearly every identity that is in none.
//!
//! A blocked Bloom filter (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007) over 40
//! bits of each identity, which is a keyed hash already: 8 choose a segment, 32 are the fingerprint that chooses a block
//! of 512 bits in it, and one bit in each of the block's eight words.
//!
//! A Bloom filter cannot grow, and nothing can be taken out of it. So fingerprints are kept on disk, 4 bytes each: one row
//! for each segment and spill. A full segment is built anew, larger, from the spills that are still remembered; so bits
//! of forgotten identities leave without any search for them. Segments have different headroom, so that they do not all
//! become full at once: a spill builds a few, and memory has no peak at which everything is there twice.
//!
//! Keeps: every identity in a table is also in the rows of a spill here, or in the log of identities. A spill's rows are
//! durable before its table is, and log rows go only after both. When rows are missing or damaged all the same, they are
//! made again from the tables. Bits are set by one thread while another asks: what is being written is still answered
//! from memory, so nothing depends on when a bit is seen.

use std::iter::repeat_with;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tidemark_core::identity::Identity;

use super::error::StoreError;
use super::identities::{PackedRow, forget_day_of, key_of};
use super::keyspace::Keyspace;
use super::kv::{Store, WriteBatch};

const SPACE: Keyspace = Keyspace::IdentityFilter;

/// Few enough to list in a first-level cache; at 100 million identities a segment has 700 kB and is built in cache.
const SEGMENTS: usize = 256;

/// A full segment: 0.4 % of absent identities are asked for in the tables. With headroom it is 14 bits on average, and 0.2 %.
const BITS_PER_IDENTITY_MIN: usize = 12;

const WORDS: usize = 8;
const BLOCK_BITS: usize = WORDS * 64;
const FINGERPRINT_BYTES: usize = 4;

/// Rows of tables read at a time when the filter is made again.
const TABLE_ROWS_PER_READ: usize = 65_536;

/// What is in tables, as of one spill. Clones share their bits.
#[derive(Clone)]
pub(super) struct IdentityFilter {
    segments: Vec<Segment>,
    /// In the order of their commits.
    spills: Vec<Spill>,
}

/// Identities that became one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spill {
    /// The last commit in it. 0: whatever was in tables when the filter was made from them.
    through: u64,
    identities: u64,
    /// Past it, none of them is remembered.
    newest_forget_day: u16,
}

#[derive(Clone)]
struct Segment {
    blocks: Arc<[Block]>,
    identities: usize,
}

/// One cache line, so that a look-up waits for memory once.
#[derive(Default)]
#[repr(align(64))]
struct Block([AtomicU64; WORDS]);

impl IdentityFilter {
    /// Reads all fingerprints. `None`: they are damaged, or there are none.
    ///
    /// # Errors
    /// [`StoreError`] when a row cannot be read.
    pub(super) fn load(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        let Some(spills) = read_spills(store)? else { return Ok(None) };
        let counted = spills.iter().fold(0, |sum: u64, spill| sum.saturating_add(spill.identities));
        let mut filter = Self { spills, ..Self::empty() };
        for number in 0..SEGMENTS {
            filter.build_segment(store, number)?;
        }
        let built: usize = filter.segments.iter().map(|segment| segment.identities).sum();
        Ok((built > 0 && built as u64 == counted).then_some(filter))
    }

    /// For a store without tables.
    pub(super) fn empty() -> Self {
        let segments = (0..SEGMENTS).map(|number| Segment::with_room_for(number, 0)).collect();
        Self { segments, spills: Vec::new() }
    }

    /// Reads every identity of every table and writes their fingerprints, as one spill: all of them or none, so that a
    /// crash meanwhile leaves no filter that looks whole. Takes about half a second for a million identities, and 4
    /// bytes of memory for each until it is done.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn made_from_tables(store: &dyn Store) -> Result<Self, StoreError> {
        let mut batch = WriteBatch::new();
        batch.delete_range(SPACE, &[], &spill_end(u64::MAX));
        store.commit(&batch)?;
        let mut fingerprints: Vec<Vec<u32>> = vec![Vec::new(); SEGMENTS];
        let (mut newest_forget_day, mut from) = (0, Vec::new());
        loop {
            let rows = store.scan(Keyspace::Identity, &from, None, TABLE_ROWS_PER_READ)?;
            let Some(last) = rows.last() else { break };
            from.clone_from(&last.key);
            from.push(0);
            for row in &rows {
                let key = row.key.as_slice().try_into().map_err(|_| StoreError::Undecodable {
                    space: Keyspace::Identity,
                    key: format!("{:02x?}", row.key),
                    reason: format!("its key has {} bytes instead of 16", row.key.len()),
                })?;
                let (segment, fingerprint) = place_of(u128::from_be_bytes(key));
                fingerprints[segment].push(fingerprint);
                // A value that cannot be read is remembered for ever, as merging does.
                let day = row.value.last_chunk().map_or(u16::MAX, |day| u16::from_le_bytes(*day));
                newest_forget_day = day.max(newest_forget_day);
            }
        }
        let identities = fingerprints.iter().map(Vec::len).sum::<usize>() as u64;
        let spill = Spill { through: 0, identities, newest_forget_day };
        write_spill(store, spill, fingerprints.iter().map(Vec::as_slice))?;
        let mut filter = Self { spills: vec![spill], ..Self::empty() };
        for number in 0..SEGMENTS {
            filter.build_segment(store, number)?;
        }
        Ok(filter)
    }

    /// Adds identities that are about to become a table, and makes them durable here. Answers the spills that were dropped
    /// because nothing of them is remembered: their rows may be deleted with [`delete_spill`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn add(
        &mut self,
        store: &dyn Store,
        through: u64,
        sorted: &[PackedRow],
        remembered_from: u16,
    ) -> Result<Vec<u64>, StoreError> {
        let mut fingerprints: Vec<Vec<u32>> = vec![Vec::new(); SEGMENTS];
        for row in sorted {
            let (segment, fingerprint) = place_of(key_of(row));
            fingerprints[segment].push(fingerprint);
        }
        let newest_forget_day = sorted.iter().map(forget_day_of).max().unwrap_or(0);
        let spill = Spill { through, identities: sorted.len() as u64, newest_forget_day };
        write_spill(store, spill, fingerprints.iter().map(Vec::as_slice))?;
        let forgotten = |spill: &Spill| spill.newest_forget_day < remembered_from;
        let dropped =
            self.spills.extract_if(.., |spill| forgotten(spill)).map(|spill| spill.through).collect();
        // A crash before the table was there leaves a spill of the same commits.
        self.spills.retain(|other| other.through != through);
        self.spills.push(spill);
        for (number, fingerprints) in fingerprints.iter().enumerate() {
            let segment = &mut self.segments[number];
            if segment.has_room_for(fingerprints.len()) {
                segment.insert(fingerprints.iter().copied());
            } else {
                self.build_segment(store, number)?;
            }
        }
        Ok(dropped)
    }

    fn build_segment(&mut self, store: &dyn Store, number: usize) -> Result<(), StoreError> {
        let keys: Vec<_> = self.spills.iter().map(|spill| row_key(spill.through, number)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 9]>::as_slice).collect();
        // A spill without identities in this segment has no row for it.
        let rows: Vec<_> = store.multi_get(SPACE, &keys)?.into_iter().flatten().collect();
        let identities = rows.iter().map(|row| row.len() / FINGERPRINT_BYTES).sum();
        let mut segment = Segment::with_room_for(number, identities);
        rows.iter().for_each(|row| segment.insert(fingerprints_in(row)));
        self.segments[number] = segment;
        Ok(())
    }

    /// `false`: it is in no table. `true`: it probably is.
    ///
    /// Without a branch, so that the processor fetches the cache lines of many identities at once.
    #[inline]
    pub(super) fn may_have(&self, identity: Identity) -> bool {
        let (segment, fingerprint) = place_of(identity.0);
        let blocks = &self.segments[segment].blocks;
        blocks[block_of(fingerprint, blocks.len())].has(bits_of(fingerprint))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.segments.iter().map(|segment| size_of_val(&*segment.blocks)).sum()
    }
}

impl Segment {
    /// Between an eighth and three eighths of headroom, by number.
    fn with_room_for(number: usize, identities: usize) -> Self {
        let room = identities + identities / 8 + identities * number / (4 * SEGMENTS);
        let blocks = (room * BITS_PER_IDENTITY_MIN).div_ceil(BLOCK_BITS).max(1);
        Self { blocks: repeat_with(Block::default).take(blocks).collect(), identities: 0 }
    }

    fn has_room_for(&self, more: usize) -> bool {
        (self.identities + more) * BITS_PER_IDENTITY_MIN <= self.blocks.len() * BLOCK_BITS
    }

    /// Only one thread may insert.
    fn insert(&mut self, fingerprints: impl Iterator<Item = u32>) {
        for fingerprint in fingerprints {
            self.blocks[block_of(fingerprint, self.blocks.len())].insert(bits_of(fingerprint));
            self.identities += 1;
        }
    }
}

impl Block {
    #[inline]
    fn has(&self, bits: u64) -> bool {
        let words = self.0.iter().enumerate();
        words.fold(0, |missing, (at, word)| missing | (!word.load(Relaxed) & bit(bits, at))) == 0
    }

    #[inline]
    fn insert(&self, bits: u64) {
        for (at, word) in self.0.iter().enumerate() {
            // No other thread writes, and an atomic `or` costs twenty times as much.
            word.store(word.load(Relaxed) | bit(bits, at), Relaxed);
        }
    }
}

/// Segment and fingerprint: the first 40 bits. The hash table of the newest identities uses others.
fn place_of(identity: u128) -> (usize, u32) {
    ((identity >> 120) as usize, (identity >> 88) as u32)
}

/// Ascending with the fingerprint, so that a sorted row is inserted from one end of memory to the other.
fn block_of(fingerprint: u32, blocks: usize) -> usize {
    ((u64::from(fingerprint) * blocks as u64) >> 32) as usize
}

/// Six bits for each word. Fingerprints of one block differ in their low bits only; multiplying spreads them.
fn bits_of(fingerprint: u32) -> u64 {
    let spread = u64::from(fingerprint).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread ^ (spread >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 16
}

fn bit(bits: u64, word: usize) -> u64 {
    1 << ((bits >> (6 * word)) & 63)
}

fn row_key(through: u64, segment: usize) -> [u8; 9] {
    let mut key = [segment as u8; 9];
    key[..8].copy_from_slice(&through.to_be_bytes());
    key
}

/// Past every row of a spill.
fn spill_end(through: u64) -> [u8; 10] {
    let mut key = [0xff; 10];
    key[..8].copy_from_slice(&through.to_be_bytes());
    key
}

/// Deletes a spill's rows.
pub(super) fn delete_spill(batch: &mut WriteBatch, through: u64) {
    batch.delete_range(SPACE, &through.to_be_bytes(), &spill_end(through));
}

fn write_spill<'rows>(
    store: &dyn Store,
    spill: Spill,
    fingerprints: impl Iterator<Item = &'rows [u32]>,
) -> Result<(), StoreError> {
    let mut head = Vec::with_capacity(10);
    head.extend_from_slice(&spill.identities.to_le_bytes());
    head.extend_from_slice(&spill.newest_forget_day.to_le_bytes());
    let mut rows = vec![(spill.through.to_be_bytes().to_vec(), head)];
    let filled = fingerprints.enumerate().filter(|(_, fingerprints)| !fingerprints.is_empty());
    rows.extend(filled.map(|(segment, fingerprints)| {
        let value = fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()).collect();
        (row_key(spill.through, segment).to_vec(), value)
    }));
    store.ingest(SPACE, &mut rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
}

/// The heads of all spills. `None`: one is damaged.
fn read_spills(store: &dyn Store) -> Result<Option<Vec<Spill>>, StoreError> {
    let (mut spills, mut from) = (Vec::new(), Vec::new());
    while let Some(row) = store.scan(SPACE, &from, None, 1)?.first() {
        let Ok(through) = row.key.as_slice().try_into().map(u64::from_be_bytes) else { return Ok(None) };
        let Some((identities, day)) = row.value.split_first_chunk() else { return Ok(None) };
        let Ok(day) = day.try_into().map(u16::from_le_bytes) else { return Ok(None) };
        let identities = u64::from_le_bytes(*identities);
        spills.push(Spill { through, identities, newest_forget_day: day });
        from = spill_end(through).to_vec();
    }
    Ok(Some(spills))
}

/// A row cut short has fewer than its spill's head says.
fn fingerprints_in(row: &[u8]) -> impl Iterator<Item = u32> {
    row.as_chunks().0.iter().map(|bytes: &[u8; FINGERPRINT_BYTES]| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
#[path = "identity_filter_tests.rs"]
mod tests;
