//! Which events have we seen? Hundreds of millions of identities, looked up thousands at a time, most of them absent.
//!
//! The newest identities are in memory. Each commit writes its own as one row of `IdentityLog`, in the same atomic
//! batch as everything else it changes (I-1). When memory is full it is frozen, and a thread of its own writes it, sorted,
//! as one table of `Identity` that never passes through the log of writes, while commits go on in a second memory. The
//! first commit after the table is there deletes the log rows that it covers:
//!
//! ```text
//! commit n:     [ windows … + identity_log/n ]        one atomic batch
//! full:         freeze ─► fingerprints ingested ─► sorted table ingested, by another thread; each is durable on its own
//! commit n+1:   [ windows … + identity_log/n+1 ]      any number of commits
//! table there:  forget the frozen memory
//! commit n+k:   [ windows … + identity_log/n+k, delete identity_log/..=n ]
//! ```
//!
//! A crash before the last of these leaves identities in two places, which changes nothing: being a member twice is
//! being a member. So there is no order in which a crash forgets a committed identity or invents one. When the second
//! memory is full too before the table is there, the commit waits for it: memory is bounded.
//!
//! A look-up first asks `identity_filter`, which says of nearly all new events that they are new. What it lets through is
//! looked up in the two memories, the newer one first, and then in the tables: events that were sent again, and 0.2 % of
//! the new ones.
//!
//! Why not a row for each event: a put costs a memtable entry, its share of the log of writes and several merges of
//! 26 random bytes; here it costs 26 bytes of an append and one sorted write.
//!
//! Keeps: what `look_up` answers is exactly what commits wrote, whatever was spilled when (I-10): when memory is frozen
//! depends on nothing but the commits, and when the table is done shows in no answer. Deliberately absent: judging
//! (`Seen::of` in the core) and the wall clock: forgetting follows the watermark, and dropping forgotten rows from disk
//! only saves space.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tidemark_core::identity::{ContentDigest, Identity, Remembered};

use super::error::StoreError;
use super::identity_filter::{IdentityFilter, Spilled, Spilling, delete_spill};
use super::keyspace::Keyspace;
use super::kv::{Store, WriteBatch};

/// Identities in one of the two memories: exactly what a table of 2^20 buckets takes before it would double, at 27 bytes a
/// bucket 28 MB. One more would cost 28 MB; half as many would cost twice the tables, and so more merging.
pub const RECENT_MAX: usize = (1 << 20) / 8 * 7;

/// Log rows read at a time when opening: a row of a full batch has 1.7 MB.
const LOG_ROWS_PER_READ: usize = 16;

const KEY_BYTES: usize = 16;
const ROW_BYTES: usize = 26;

/// An identity and what is remembered of it, as stored: identity `u128` big-endian so that byte order is number order,
/// digest `u64` and forget day `u16` little-endian. Also the form in memory: 26 bytes instead of an aligned 32.
pub(super) type PackedRow = [u8; ROW_BYTES];

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
    frozen: Option<Frozen>,
    filter: IdentityFilter,
    /// What the next commit deletes.
    covered: Option<Covered>,
    /// The last frozen memory, emptied: the next one fills it, without new pages.
    spare: Option<HashTable<PackedRow>>,
}

/// Identities that are becoming a table.
struct Frozen {
    rows: Arc<HashTable<PackedRow>>,
    /// The last commit whose identities are in it.
    through: u64,
    table: JoinHandle<Result<Spilled, StoreError>>,
}

/// Rows that are not needed any more.
struct Covered {
    /// Log rows up to this commit are in a table.
    through: u64,
    forgotten: Vec<u64>,
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
        let filter = match IdentityFilter::load(&*store, recent_max)? {
            Some(filter) => filter,
            None if store.scan(Keyspace::Identity, &[], None, 1)?.is_empty() => {
                IdentityFilter::empty(recent_max)
            }
            None => {
                tracing::warn!("the filter of identities is missing and is made again from their tables");
                IdentityFilter::made_from_tables(&*store, recent_max)?
            }
        };
        let mut identities = Self {
            store,
            forget_before,
            recent_max,
            recent: HashTable::with_capacity(recent_max),
            recent_through: 0,
            frozen: None,
            filter,
            covered: None,
            spare: None,
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
                packed.iter().for_each(|row| self.remember(*row));
                self.recent_through = commit;
            }
        }
    }

    /// Adds a commit's new identities to its batch. Nothing is remembered before [`Self::committed`].
    pub fn stage(&self, batch: &mut WriteBatch, commit: u64, new: &[(Identity, Remembered)]) {
        if let Some(covered) = &self.covered {
            batch.delete_range(Keyspace::IdentityLog, &[], &(covered.through + 1).to_be_bytes());
            covered.forgotten.iter().for_each(|through| delete_spill(batch, *through));
        }
        if !new.is_empty() {
            let packed: Vec<PackedRow> =
                new.iter().map(|(identity, remembered)| pack(*identity, *remembered)).collect();
            batch.put(Keyspace::IdentityLog, &commit.to_be_bytes(), packed.as_flattened());
        }
    }

    /// Remembers what [`Self::stage`] wrote, now that the batch is durable. Call it for every commit, also without new
    /// identities. Waits only when both memories are full.
    ///
    /// # Errors
    /// [`StoreError`] from writing a table, now or since an earlier commit; the store is poisoned then, and opening it
    /// again loses nothing.
    pub fn committed(&mut self, commit: u64, new: &[(Identity, Remembered)]) -> Result<(), StoreError> {
        self.covered = None;
        if self.frozen.as_ref().is_some_and(|frozen| frozen.table.is_finished()) {
            self.await_table()?;
        }
        if !self.recent.is_empty() && self.recent.len() + new.len() > self.recent_max {
            self.await_table()?;
            self.freeze();
        }
        for (identity, remembered) in new {
            self.remember(pack(*identity, *remembered));
        }
        self.recent_through = commit;
        Ok(())
    }

    /// The last one wins: an identity that was forgotten by rule and came again is remembered anew.
    fn remember(&mut self, row: PackedRow) {
        let identity = key_of(&row);
        self.filter.insert(Identity(identity));
        let is_it = |other: &PackedRow| key_of(other) == identity;
        match self.recent.entry(hash(identity), is_it, |other| hash(key_of(other))) {
            Entry::Occupied(mut before) => *before.get_mut() = row,
            Entry::Vacant(free) => {
                free.insert(row);
            }
        }
    }

    fn freeze(&mut self) {
        let empty = self.spare.take().unwrap_or_else(|| HashTable::with_capacity(self.recent_max));
        let rows = Arc::new(std::mem::replace(&mut self.recent, empty));
        let (store, through, frozen) = (Arc::clone(&self.store), self.recent_through, Arc::clone(&rows));
        let (spilling, remembered_from) = (self.filter.spilling(), self.forget_before.day());
        let write = move || write_table(&*store, through, &frozen, spilling, remembered_from);
        let table = std::thread::Builder::new().name("identities".into()).spawn(write);
        let table = table.expect("the operating system can start one more thread");
        self.frozen = Some(Frozen { rows, through, table });
    }

    /// Waits for the table that is being written, if any, and takes it over.
    fn await_table(&mut self) -> Result<(), StoreError> {
        let Some(Frozen { rows, through, table }) = self.frozen.take() else { return Ok(()) };
        let mut spilled = table.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        self.covered = Some(Covered { through, forgotten: std::mem::take(&mut spilled.forgotten) });
        self.filter.spilled(spilled, self.recent.iter().map(|row| Identity(key_of(row))));
        // One that was filled beyond its measure, after a crash, gives its memory back.
        self.spare = Arc::into_inner(rows).filter(|rows| rows.capacity() < 2 * self.recent_max);
        self.spare.iter_mut().for_each(HashTable::clear);
        Ok(())
    }

    /// What is remembered of each identity, in the order asked. Forgotten ones may still be answered; the core knows.
    ///
    /// # Errors
    /// [`StoreError`] when a table cannot be read.
    pub fn look_up(&self, identities: &[Identity]) -> Result<Vec<Option<Remembered>>, StoreError> {
        let mut found = vec![None; identities.len()];
        let mut wanted: Vec<(u128, usize)> = Vec::new();
        for at in self.filter.probably_seen(identities) {
            found[at] = self.look_up_memory(identities[at]);
            if found[at].is_none() {
                wanted.push((identities[at].0, at));
            }
        }
        if !wanted.is_empty() {
            // In ascending order, so that neighbours share a block of a table.
            wanted.sort_unstable();
            self.look_up_tables(&wanted, &mut found)?;
        }
        Ok(found)
    }

    fn look_up_memory(&self, identity: Identity) -> Option<Remembered> {
        let is_it = |row: &PackedRow| key_of(row) == identity.0;
        let older = || self.frozen.as_ref()?.rows.find(hash(identity.0), is_it);
        let row = self.recent.find(hash(identity.0), is_it).or_else(older)?;
        row.last_chunk().map(unpack_value)
    }

    fn look_up_tables(
        &self,
        wanted: &[(u128, usize)],
        found: &mut [Option<Remembered>],
    ) -> Result<(), StoreError> {
        let keys: Vec<[u8; KEY_BYTES]> = wanted.iter().map(|(identity, _)| identity.to_be_bytes()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; KEY_BYTES]>::as_slice).collect();
        let answers = self.store.multi_get(Keyspace::Identity, &keys)?;
        for (&(identity, at), value) in wanted.iter().zip(answers) {
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

    /// Bytes of memory that all this takes: both memories with their free buckets, and the filter.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let frozen = self.frozen.iter().map(|frozen| frozen.rows.allocation_size());
        let spare = self.spare.iter().map(HashTable::allocation_size);
        self.recent.allocation_size() + frozen.chain(spare).sum::<usize>() + self.filter.memory_bytes()
    }
}

impl Drop for Identities {
    /// The thread that writes a table holds the store: whoever closes the partition must find it closed.
    fn drop(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            let _ = frozen.table.join();
        }
    }
}

/// Makes the table. Its fingerprints come first: nothing that is in a table may be missing there.
fn write_table(
    store: &dyn Store,
    through: u64,
    frozen: &HashTable<PackedRow>,
    spilling: Spilling,
    remembered_from: u16,
) -> Result<Spilled, StoreError> {
    let mut rows: Vec<PackedRow> = frozen.iter().copied().collect();
    rows.sort_unstable_by_key(key_of);
    let spilled = spilling.write(store, through, &rows, remembered_from)?;
    store.ingest(Keyspace::Identity, &mut rows.iter().map(|row| row.split_at(KEY_BYTES)))?;
    Ok(spilled)
}

/// Identities are keyed hashes already: hashing them again would only cost time.
fn hash(identity: u128) -> u64 {
    identity as u64
}

pub(super) fn key_of(row: &PackedRow) -> u128 {
    u128::from_be_bytes(*row.first_chunk().expect("a row has 26 bytes"))
}

pub(super) fn forget_day_of(row: &PackedRow) -> u16 {
    u16::from_le_bytes(*row.last_chunk().expect("a row has 26 bytes"))
}

pub(super) fn pack(identity: Identity, remembered: Remembered) -> PackedRow {
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
