//! What does the rest of the system need from a store of bytes? The seam under one partition.
//!
//! Two real things stand behind it: RocksDB, and a store in memory that can lose what was not synced.
//! Keeps: a commit is all or nothing and durable when it returns; after a commit, an ingest or a sync that failed the
//! store is poisoned, because nobody knows what the disk holds (a failed fsync drops the page and reports success the
//! next time: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
//!
//! Deliberately absent: types. Codecs give rows a meaning; here they are bytes.

use super::error::StoreError;
use super::keyspace::Keyspace;

/// One row as read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// Rows in key order for [`Store::ingest`], borrowed from the caller: two million of them are not copied.
pub type SortedRows<'rows> = dyn Iterator<Item = (&'rows [u8], &'rows [u8])> + 'rows;

/// Rows that can be read: a store as it is now, or a [`Store::snapshot`] of it.
pub trait KeyValue: Send + Sync {
    /// # Errors
    /// [`StoreError::Corrupt`] when the row's block fails its checksum, [`StoreError::Io`].
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// One answer for each key, in the order of the keys. Ascending keys are read with fewer seeks.
    ///
    /// # Errors
    /// As [`Self::get`]; one unreadable row fails the whole call.
    fn multi_get(&self, space: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Rows with `from <= key < to` in key order, at most `limit`, which is a named bound of the caller.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn scan(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// The same range from its end backwards: the first row is the one with the largest key.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn scan_back(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// A store of rows that can be changed. Whoever only asks takes a [`KeyValue`]: the partition is the one that commits.
pub trait Store: KeyValue {
    /// All rows of all key spaces as the last commit left them, whatever is committed while they are read.
    ///
    /// It keeps what is replaced meanwhile from being cleaned up, so it is for a question and not for long.
    fn snapshot(&self) -> Box<dyn KeyValue + '_>;

    /// All or nothing, and durable (log of writes fsynced) when it returns.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Corrupt`], after which every commit fails with [`StoreError::Poisoned`]:
    /// the changes may or may not be there, and only opening the store again tells.
    fn commit(&self, changes: &WriteBatch) -> Result<(), StoreError>;

    /// Writes rows as one sorted table and adds it to `space`, past the log of writes. Newer than every row before it.
    /// All or nothing, and durable when it returns. No rows: nothing happens.
    ///
    /// # Errors
    /// [`StoreError::Unsorted`] when keys are not strictly ascending: nothing was added, and the store stays usable.
    /// Otherwise as [`Self::commit`].
    fn ingest<'rows>(&self, space: Keyspace, rows: &mut SortedRows<'rows>) -> Result<(), StoreError>;
}

/// Changes of one commit, in order: a later one wins over an earlier one to the same key.
///
/// Rows lie one after another in one buffer, because a commit has thousands of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    verb: Verb,
    space: Keyspace,
    /// Lengths in `bytes`: key and value, or the two ends of a range.
    first: u32,
    second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Put,
    Delete,
    DeleteRange,
}

/// One change as it lies in a [`WriteBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'batch> {
    Put {
        space: Keyspace,
        key: &'batch [u8],
        value: &'batch [u8],
    },
    Delete {
        space: Keyspace,
        key: &'batch [u8],
    },
    /// Every key with `from <= key < to`.
    DeleteRange {
        space: Keyspace,
        from: &'batch [u8],
        to: &'batch [u8],
    },
}

impl WriteBatch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, space: Keyspace, key: &[u8], value: &[u8]) {
        self.push(Verb::Put, space, key, value);
    }

    pub fn delete(&mut self, space: Keyspace, key: &[u8]) {
        self.push(Verb::Delete, space, key, &[]);
    }

    /// Deletes every key with `from <= key < to`; nothing when `to <= from`.
    pub fn delete_range(&mut self, space: Keyspace, from: &[u8], to: &[u8]) {
        // RocksDB takes a reversed range as corruption of the batch.
        if from < to {
            self.push(Verb::DeleteRange, space, from, to);
        }
    }

    fn push(&mut self, verb: Verb, space: Keyspace, first: &[u8], second: &[u8]) {
        let length = |part: &[u8]| u32::try_from(part.len()).expect("rows are bounded far below 4 GiB");
        self.entries.push(Entry { verb, space, first: length(first), second: length(second) });
        self.bytes.extend_from_slice(first);
        self.bytes.extend_from_slice(second);
    }

    /// Empty again, with its buffers: they are as large as a commit, and the next one needs them.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Number of changes; a range counts as one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values: what the log of writes grows by, give or take its framing.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The changes in the order in which they were made.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let mut rest = self.bytes.as_slice();
        self.entries.iter().map(move |entry| {
            let (first, tail) = rest.split_at(entry.first as usize);
            let (second, tail) = tail.split_at(entry.second as usize);
            rest = tail;
            let space = entry.space;
            match entry.verb {
                Verb::Put => Change::Put { space, key: first, value: second },
                Verb::Delete => Change::Delete { space, key: first },
                Verb::DeleteRange => Change::DeleteRange { space, from: first, to: second },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_in_order_and_whole() {
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Window, b"k", b"value");
        batch.delete(Keyspace::Timer, b"due");
        batch.delete_range(Keyspace::Outbox, b"a", b"b");
        batch.delete_range(Keyspace::Outbox, b"b", b"b");
        batch.put(Keyspace::Window, b"", b"");
        assert_eq!(
            batch.changes().collect::<Vec<_>>(),
            [
                Change::Put { space: Keyspace::Window, key: b"k", value: b"value" },
                Change::Delete { space: Keyspace::Timer, key: b"due" },
                Change::DeleteRange { space: Keyspace::Outbox, from: b"a", to: b"b" },
                Change::Put { space: Keyspace::Window, key: b"", value: b"" },
            ]
        );
        assert_eq!((batch.len(), batch.size_bytes()), (4, 11));
    }
}
