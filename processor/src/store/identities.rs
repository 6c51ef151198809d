//! Which events have we seen? Hundreds of millions of identities, looked up thousands at a time, most of them absent.
//!
//! The newest identities are in memory. Each commit writes its own as one row of `IdentityLog`, in the same atomic
//! batch as everything else it changes (I-1). When memory is full, it is sorted and becomes one table of `Identity`
//! that never passes through the log of writes; the next commit deletes the log rows that the table covers:
//!
//! ```text
//! commit n:   [ windows … + identity_log/n ]        one atomic batch
//! full:       sort ─► table file ─► ingested         durable on its own
//! commit n+1: [ windows … + identity_log/n+1, delete identity_log/..=n ]
//! ```
//!
//! A crash between the last two leaves identities in both places, which changes nothing: being a member twice is
//! being a member. So there is no order in which a crash forgets a committed identity or invents one.
//!
//! Why not a row for each event: a put costs a memtable entry, its share of the log of writes and several merges of
//! 26 random bytes; here it costs 26 bytes of an append and one sorted write.
//!
//! Keeps: what `look_up` answers is exactly what commits wrote, whatever was spilled when. When a table is written
//! depends on nothing but the commits (I-10). Deliberately absent: judging (`Seen::of` in the core) and the wall
//! clock: forgetting follows the watermark, and dropping forgotten rows from disk only saves space.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tidemark_core::identity::{ContentDigest, Identity, Remembered};

use super::error::StoreError;
use super::keyspace::Keyspace;
use super::kv::{Store, WriteBatch};

/// Identities kept in memory: exactly what a table of 2^21 buckets takes before it would double, at 27 bytes a bucket
/// 57 MB. One more would cost 57 MB; half as many would cost twice the tables, and so more merging.
pub const RECENT_MAX: usize = (1 << 21) / 8 * 7;

/// Log rows read at a time when opening: a row of a full batch has 1.7 MB.
const LOG_ROWS_PER_READ: usize = 16;

const KEY_BYTES: usize = 16;
const ROW_BYTES: usize = 26;

/// An identity and what is remembered of it, as stored: identity `u128` big-endian so that byte order is number order,
/// digest `u64` and forget day `u16` little-endian. Also the form in memory: 26 bytes instead of an aligned 32.
type PackedRow = [u8; ROW_BYTES];

/// The day before which identities are forgotten, shared with the store so that a merge of tables can drop them.
///
/// Days since 1970 (UTC). Only ever rises, and must not pass the watermark of a durable commit: what is dropped on it
/// does not come back.
#[derive(Clone, Debug, Default)]
pub struct ForgetBefore(Arc<AtomicU16>);

impl ForgetBefore {
    pub fn raise(&self, day: u16) {
        self.0.fetch_max(day, Ordering::Relaxed);
    }

    #[must_use]
    pub fn day(&self) -> u16 {
        self.0.load(Ordering::Relaxed)
    }

    /// May a row of [`Keyspace::Identity`] with this value be dropped from disk? A value we cannot read stays.
    #[must_use]
    pub fn covers(&self, value: &[u8]) -> bool {
        value.last_chunk::<2>().is_some_and(|day| u16::from_le_bytes(*day) < self.day())
    }
}

/// Every identity of one partition. One thread changes it, the committer's; others may look up meanwhile.
pub struct Identities {
    store: Arc<dyn Store>,
    forget_before: ForgetBefore,
    recent_max: usize,
    recent: HashTable<PackedRow>,
    /// The last commit whose identities are in `recent`.
    recent_through: u64,
    /// Log rows up to this commit are in a table, and the next commit deletes them.
    covered_through: Option<u64>,
    has_tables: bool,
}

impl Identities {
    /// Loads the newest identities from the log.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read or does not decode.
    pub fn open(store: Arc<dyn Store>, forget_before: ForgetBefore) -> Result<Self, StoreError> {
        Self::open_with(store, forget_before, RECENT_MAX)
    }

    /// As [`Self::open`], spilling to a table as soon as more than `recent_max` identities are in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        store: Arc<dyn Store>,
        forget_before: ForgetBefore,
        recent_max: usize,
    ) -> Result<Self, StoreError> {
        let has_tables = !store.scan(Keyspace::Identity, &[], None, 1)?.is_empty();
        let mut identities = Self {
            store,
            forget_before,
            recent_max,
            recent: HashTable::with_capacity(recent_max),
            recent_through: 0,
            covered_through: None,
            has_tables,
        };
        identities.load()?;
        Ok(identities)
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let mut from = Vec::new();
        loop {
            let rows = self.store.scan(Keyspace::IdentityLog, &from, None, LOG_ROWS_PER_READ)?;
            let Some(last) = rows.last() else { return Ok(()) };
            from.clone_from(&last.key);
            from.push(0);
            for row in &rows {
                let (commit, packed) = unpack_log_row(&row.key, &row.value)?;
                packed.iter().for_each(|row| remember(&mut self.recent, *row));
                self.recent_through = commit;
            }
        }
    }

    /// Adds a commit's new identities to its batch. Nothing is remembered before [`Self::committed`].
    pub fn stage(&self, batch: &mut WriteBatch, commit: u64, new: &[(Identity, Remembered)]) {
        if let Some(through) = self.covered_through {
            batch.delete_range(Keyspace::IdentityLog, &[], &(through + 1).to_be_bytes());
        }
        if !new.is_empty() {
            let packed: Vec<PackedRow> =
                new.iter().map(|(identity, remembered)| pack(*identity, *remembered)).collect();
            batch.put(Keyspace::IdentityLog, &commit.to_be_bytes(), packed.as_flattened());
        }
    }

    /// Remembers what [`Self::stage`] wrote, now that the batch is durable. Call it for every commit, also without new
    /// identities. When memory is full, this first writes it out as a table, which takes about a second.
    ///
    /// # Errors
    /// [`StoreError`] from writing the table; the store is poisoned then, and opening it again loses nothing.
    pub fn committed(&mut self, commit: u64, new: &[(Identity, Remembered)]) -> Result<(), StoreError> {
        self.covered_through = None;
        if !self.recent.is_empty() && self.recent.len() + new.len() > self.recent_max {
            self.spill()?;
        }
        for (identity, remembered) in new {
            remember(&mut self.recent, pack(*identity, *remembered));
        }
        self.recent_through = commit;
        Ok(())
    }

    fn spill(&mut self) -> Result<(), StoreError> {
        let mut rows: Vec<PackedRow> = self.recent.iter().copied().collect();
        rows.sort_unstable_by_key(key_of);
        self.store.ingest(Keyspace::Identity, &mut rows.iter().map(|row| row.split_at(KEY_BYTES)))?;
        // Keeps its buckets: the table fills to the same size again.
        self.recent.clear();
        self.covered_through = Some(self.recent_through);
        self.has_tables = true;
        Ok(())
    }

    /// What is remembered of each identity, in the order asked. Forgotten ones may still be answered; the core knows.
    ///
    /// # Errors
    /// [`StoreError`] when a table cannot be read.
    pub fn look_up(&self, identities: &[Identity]) -> Result<Vec<Option<Remembered>>, StoreError> {
        let mut found: Vec<_> = identities.iter().map(|identity| self.look_up_recent(*identity)).collect();
        if self.has_tables {
            self.look_up_tables(identities, &mut found)?;
        }
        Ok(found)
    }

    fn look_up_recent(&self, identity: Identity) -> Option<Remembered> {
        let row = self.recent.find(hash(identity.0), |row| key_of(row) == identity.0)?;
        row.last_chunk().map(unpack_value)
    }

    /// Answers those that memory could not, in ascending order so that neighbours share a block of a table.
    fn look_up_tables(
        &self,
        identities: &[Identity],
        found: &mut [Option<Remembered>],
    ) -> Result<(), StoreError> {
        let absent =
            identities.iter().zip(found.iter()).enumerate().filter(|(_, (_, found))| found.is_none());
        let mut wanted: Vec<(u128, usize)> = absent.map(|(at, (identity, _))| (identity.0, at)).collect();
        wanted.sort_unstable();
        let keys: Vec<[u8; KEY_BYTES]> = wanted.iter().map(|(identity, _)| identity.to_be_bytes()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; KEY_BYTES]>::as_slice).collect();
        let answers = self.store.multi_get(Keyspace::Identity, &keys)?;
        for ((identity, at), value) in wanted.into_iter().zip(answers) {
            let Some(value) = value else { continue };
            let value = value.as_slice().try_into().map_err(|_| StoreError::Undecodable {
                space: Keyspace::Identity,
                key: format!("{identity:032x}"),
                reason: format!("its value has {} bytes instead of 10", value.len()),
            })?;
            found[at] = Some(unpack_value(value));
        }
        Ok(())
    }

    /// Lets the store drop identities whose forget day is before this day (since 1970, UTC) when it next merges tables.
    /// The day must not be later than that of a durable watermark. Answers do not depend on it.
    pub fn forget(&self, before_day: u16) {
        self.forget_before.raise(before_day);
    }

    /// Identities in memory.
    #[must_use]
    pub fn recent_len(&self) -> usize {
        self.recent.len()
    }

    /// Bytes of memory that the newest identities take, free buckets included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.recent.allocation_size()
    }
}

/// Identities are keyed hashes already: hashing them again would only cost time.
fn hash(identity: u128) -> u64 {
    identity as u64
}

fn key_of(row: &PackedRow) -> u128 {
    u128::from_be_bytes(*row.first_chunk().expect("a row has 26 bytes"))
}

/// The last one wins: an identity that was forgotten by rule and came again is remembered anew.
fn remember(recent: &mut HashTable<PackedRow>, row: PackedRow) {
    let identity = key_of(&row);
    match recent.entry(hash(identity), |other| key_of(other) == identity, |other| hash(key_of(other))) {
        Entry::Occupied(mut before) => *before.get_mut() = row,
        Entry::Vacant(free) => {
            free.insert(row);
        }
    }
}

fn pack(identity: Identity, remembered: Remembered) -> PackedRow {
    let mut row = [0; ROW_BYTES];
    row[..16].copy_from_slice(&identity.0.to_be_bytes());
    row[16..24].copy_from_slice(&remembered.digest.0.to_le_bytes());
    row[24..].copy_from_slice(&remembered.forget_day.to_le_bytes());
    row
}

fn unpack_value(value: &[u8; ROW_BYTES - KEY_BYTES]) -> Remembered {
    let (digest, forget_day) = value.split_first_chunk().expect("a value has ten bytes");
    let forget_day = forget_day.first_chunk().expect("two bytes follow the digest");
    Remembered {
        digest: ContentDigest(u64::from_le_bytes(*digest)),
        forget_day: u16::from_le_bytes(*forget_day),
    }
}

fn unpack_log_row<'row>(key: &[u8], value: &'row [u8]) -> Result<(u64, &'row [PackedRow]), StoreError> {
    let undecodable = |reason: String| StoreError::Undecodable {
        space: Keyspace::IdentityLog,
        key: format!("{key:02x?}"),
        reason,
    };
    let commit =
        key.try_into().map_err(|_| undecodable(format!("its key has {} bytes instead of 8", key.len())))?;
    let (rows, rest) = value.as_chunks();
    if !rest.is_empty() {
        return Err(undecodable(format!("its value has {} bytes, no multiple of 26", value.len())));
    }
    Ok((u64::from_be_bytes(commit), rows))
}

#[cfg(test)]
#[path = "identities_tests.rs"]
mod tests;
