//! Which identities have certainly not been seen? One cache line of memory answers for nearly every new event.
//!
//! A blocked Bloom filter (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007) over 40
//! bits of each identity, which is a keyed hash already: 8 choose a segment, 32 are the fingerprint that chooses a block
//! of 512 bits in it, and one bit in each of the block's eight words.
//!
//! A Bloom filter cannot grow, and nothing can be taken out of it. So the fingerprints of what is in tables are kept on
//! disk, 4 bytes each: one row for each segment and spill. A full segment is built anew, larger, from the spills that are
//! still remembered; so bits of forgotten identities leave without any search for them. Segments have different headroom,
//! so that they do not all become full at once: a spill builds a few, and memory has no peak at which everything is there
//! twice. The thread that writes tables builds them; the committer's thread alone owns the filter and changes it.
//!
//! Keeps: every identity in a table is also in the rows of a spill here, or in the log of identities. A spill's rows are
//! durable before its table is, and log rows go only after both. When rows are missing or damaged all the same, they are
//! made again from the tables.

use tidemark_core::identity::Identity;

use super::error::StoreError;
use super::identities::{PackedRow, forget_day_of, key_of};
use super::keyspace::Keyspace;
use super::kv::{Store, WriteBatch};

const SPACE: Keyspace = Keyspace::IdentityFilter;

/// Few enough to list in a first-level cache; at 100 million identities a segment has 700 kB and is built in cache.
const SEGMENTS: usize = 256;

/// At a full segment; headroom makes it about 14, at which 0.2 % of absent identities were measured to pass.
const BITS_PER_IDENTITY_MIN: usize = 12;

const WORDS: usize = 8;
const BLOCK_BITS: usize = WORDS * 64;
const FINGERPRINT_BYTES: usize = 4;

/// Identities whose cache lines are asked for together: measured with 8 to 64, and alike from 32 on.
const TOUCHED_AHEAD: usize = 32;

/// Rows of tables read at a time when the filter is made again.
const TABLE_ROWS_PER_READ: usize = 65_536;

/// Everything in memory and in tables.
pub(super) struct IdentityFilter {
    segments: Vec<Segment>,
    spills: Spills,
}

/// What is in tables.
#[derive(Clone)]
struct Spills {
    /// In the order of their commits.
    spills: Vec<Spill>,
    /// Room that a segment needs for what is not in tables: two memories, and no segment is built while they fill.
    margin: usize,
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

struct Segment {
    blocks: Vec<Block>,
    identities: usize,
}

/// One cache line, so that a look-up waits for memory once.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Block([u64; WORDS]);

/// What the thread that writes a table does for the filter.
pub(super) struct Spilling {
    spills: Spills,
    full: Vec<usize>,
}

/// What it did.
pub(super) struct Spilled {
    spills: Spills,
    built: Vec<(usize, Segment)>,
    /// Spills that were dropped, because nothing of them is remembered: [`delete_spill`] may delete their rows.
    pub(super) forgotten: Vec<u64>,
}

impl IdentityFilter {
    /// For a store without tables, and two memories of so many identities.
    pub(super) fn empty(recent_max: usize) -> Self {
        let spills = Spills { spills: Vec::new(), margin: 2 * recent_max / SEGMENTS };
        Self { segments: (0..SEGMENTS).map(|number| spills.segment(number, 0)).collect(), spills }
    }

    /// Reads the fingerprints of all that is in tables. `None`: they are damaged, or there are none.
    ///
    /// # Errors
    /// [`StoreError`] when a row cannot be read.
    pub(super) fn load(store: &dyn Store, recent_max: usize) -> Result<Option<Self>, StoreError> {
        let Some(spills) = read_spills(store)? else { return Ok(None) };
        let counted = spills.iter().fold(0, |sum: u64, spill| sum.saturating_add(spill.identities));
        let spills = Spills { spills, ..Self::empty(recent_max).spills };
        let segments = spills.build_all(store)?;
        let built: usize = segments.iter().map(|segment| segment.identities).sum();
        Ok((built > 0 && built as u64 == counted).then_some(Self { segments, spills }))
    }

    /// Reads every identity of every table and writes their fingerprints, as one spill: all of them or none, so that a
    /// crash meanwhile leaves no filter that looks whole. Takes 4 bytes of memory for each identity until it is done.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn made_from_tables(store: &dyn Store, recent_max: usize) -> Result<Self, StoreError> {
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
        let spills = Spills { spills: vec![spill], ..Self::empty(recent_max).spills };
        Ok(Self { segments: spills.build_all(store)?, spills })
    }

    pub(super) fn insert(&mut self, identity: Identity) {
        let (segment, fingerprint) = place_of(identity.0);
        self.segments[segment].insert(fingerprint);
    }

    /// Where those are that have probably been seen, by place in `identities`. The others certainly have not.
    pub(super) fn probably_seen(&self, identities: &[Identity]) -> Vec<usize> {
        let mut probably = Vec::new();
        for (chunk, identities) in identities.chunks(TOUCHED_AHEAD).enumerate() {
            // Memory is asked for all of them before the first is needed.
            let touched = identities.iter().fold(0, |touched, identity| {
                let (block, _) = self.block_and_bits(*identity);
                touched | block.0[0]
            });
            std::hint::black_box(touched);
            let seen = identities.iter().enumerate().filter(|(_, identity)| {
                let (block, bits) = self.block_and_bits(**identity);
                block.has(bits)
            });
            probably.extend(seen.map(|(at, _)| chunk * TOUCHED_AHEAD + at));
        }
        probably
    }

    #[inline]
    fn block_and_bits(&self, identity: Identity) -> (&Block, u64) {
        let (segment, fingerprint) = place_of(identity.0);
        let blocks = &self.segments[segment].blocks;
        (&blocks[block_of(fingerprint, blocks.len())], bits_of(fingerprint))
    }

    /// Memory is full and becomes a table.
    pub(super) fn spilling(&self) -> Spilling {
        let full = (0..SEGMENTS).filter(|number| self.segments[*number].is_full(self.spills.margin));
        Spilling { full: full.collect(), spills: self.spills.clone() }
    }

    /// The table is there. `recent`: what is in memory and was not in it.
    pub(super) fn spilled(&mut self, spilled: Spilled, recent: impl Iterator<Item = Identity>) {
        self.spills = spilled.spills;
        let mut is_new = [false; SEGMENTS];
        for (number, segment) in spilled.built {
            self.segments[number] = segment;
            is_new[number] = true;
        }
        if is_new.contains(&true) {
            recent
                .filter(|identity| is_new[place_of(identity.0).0])
                .for_each(|identity| self.insert(identity));
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.segments.iter().map(|segment| size_of_val(&*segment.blocks)).sum()
    }
}

impl Spilling {
    /// Makes the fingerprints of identities durable that are about to become a table, and builds the segments that are
    /// full.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) fn write(
        mut self,
        store: &dyn Store,
        through: u64,
        sorted: &[PackedRow],
        remembered_from: u16,
    ) -> Result<Spilled, StoreError> {
        let mut fingerprints: Vec<Vec<u32>> = vec![Vec::new(); SEGMENTS];
        for row in sorted {
            let (segment, fingerprint) = place_of(key_of(row));
            fingerprints[segment].push(fingerprint);
        }
        let newest_forget_day = sorted.iter().map(forget_day_of).max().unwrap_or(0);
        let spill = Spill { through, identities: sorted.len() as u64, newest_forget_day };
        write_spill(store, spill, fingerprints.iter().map(Vec::as_slice))?;
        let spills = &mut self.spills.spills;
        let forgotten = spills.extract_if(.., |spill| spill.newest_forget_day < remembered_from);
        let forgotten = forgotten.map(|spill| spill.through).collect();
        // A crash before the table was there leaves a spill of the same commits.
        spills.retain(|other| other.through != through);
        spills.push(spill);
        let built =
            self.full.into_iter().map(|number| Ok((number, self.spills.build_segment(store, number)?)));
        let built = built.collect::<Result<_, StoreError>>()?;
        Ok(Spilled { built, spills: self.spills, forgotten })
    }
}

impl Spills {
    /// Segment by segment, because each fits in a processor's cache, and on all cores: a start waits for it.
    fn build_all(&self, store: &dyn Store) -> Result<Vec<Segment>, StoreError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let numbers: Vec<usize> = (0..SEGMENTS).collect();
        std::thread::scope(|scope| {
            let build =
                |part: &[usize]| part.iter().map(|number| self.build_segment(store, *number)).collect();
            let parts = numbers.chunks(SEGMENTS.div_ceil(threads));
            let parts: Vec<_> = parts.map(|part| scope.spawn(move || build(part))).collect();
            let mut segments = Vec::with_capacity(SEGMENTS);
            for part in parts {
                let part: Result<Vec<_>, _> =
                    part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                segments.extend(part?);
            }
            Ok(segments)
        })
    }

    fn build_segment(&self, store: &dyn Store, number: usize) -> Result<Segment, StoreError> {
        let keys: Vec<_> = self.spills.iter().map(|spill| row_key(spill.through, number)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 9]>::as_slice).collect();
        // A spill without identities in this segment has no row for it.
        let rows: Vec<_> = store.multi_get(SPACE, &keys)?.into_iter().flatten().collect();
        let identities = rows.iter().map(|row| row.len() / FINGERPRINT_BYTES).sum();
        let mut segment = self.segment(number, identities);
        for fingerprint in rows.iter().flat_map(|row| fingerprints_in(row)) {
            segment.insert(fingerprint);
        }
        Ok(segment)
    }

    /// Between an eighth and three eighths of headroom, by number.
    fn segment(&self, number: usize, identities: usize) -> Segment {
        let identities = identities + self.margin;
        let room = identities + identities / 8 + identities * number / (4 * SEGMENTS);
        let blocks = (room * BITS_PER_IDENTITY_MIN).div_ceil(BLOCK_BITS).max(1);
        Segment { blocks: vec![Block::default(); blocks], identities: 0 }
    }
}

impl Segment {
    fn is_full(&self, margin: usize) -> bool {
        (self.identities + margin) * BITS_PER_IDENTITY_MIN > self.blocks.len() * BLOCK_BITS
    }

    fn insert(&mut self, fingerprint: u32) {
        let block = block_of(fingerprint, self.blocks.len());
        self.blocks[block].insert(bits_of(fingerprint));
        self.identities += 1;
    }
}

impl Block {
    /// Without a branch, so that the processor goes on to the next identity while it waits for this one's memory.
    #[inline]
    fn has(&self, bits: u64) -> bool {
        let words = self.0.iter().enumerate();
        words.fold(0, |missing, (at, word)| missing | (!word & bit(bits, at))) == 0
    }

    fn insert(&mut self, bits: u64) {
        self.0.iter_mut().enumerate().for_each(|(at, word)| *word |= bit(bits, at));
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
