//! A store in memory: the real thing for property tests and simulation, with a disk that fails on request.
//!
//! Keeps the same promises as RocksDB does (`conformance` in the tests checks both): order, atomic commits, poison
//! after a failure. [`Memory::crash`] gives what a restart would find.
//!
//! Deliberately absent: speed, and anything random. Which operation fails is said beforehand, so a failing seed fails
//! again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::error::StoreError;
use super::keyspace::Keyspace;
use super::kv::{Change, KeyValue, Row, SortedRows, Store, WriteBatch};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Spaces = [Rows; Keyspace::ALL.len()];

const UNPOISONED: &str = "no code panics while it holds this lock";

/// How the disk fails. Either way the caller sees an error and the store is poisoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Power went before anything was written.
    BeforeApplied,
    /// The write is durable, but the caller never learns that.
    AfterApplied,
}

/// Rows by key space, and what of them would survive a crash.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    /// An ingest may go on, or has ended.
    ingests: Condvar,
}

#[derive(Debug, Default)]
struct State {
    live: Spaces,
    /// What the disk really holds, once it has begun to report syncs that it does not make. `None`: it is honest.
    durable: Option<Box<Spaces>>,
    /// Commits and ingests so far, failed ones included.
    writes: u64,
    planned: Option<(u64, Fault)>,
    poison: Option<String>,
    /// How many ingests may go on. `None`: all.
    ingests_permitted: Option<u64>,
    ingests_ended: u64,
}

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The commit or ingest with this number (from 0, counted since this store was made) fails.
    pub fn fail_at(&self, write: u64, fault: Fault) {
        self.state().planned = Some((write, fault));
    }

    /// From now on the disk reports syncs that it does not make: what follows is lost in a crash.
    pub fn stop_syncing(&self) {
        let mut state = self.state();
        if state.durable.is_none() {
            state.durable = Some(Box::new(state.live.clone()));
        }
    }

    /// The disk is honest again, and first catches up.
    pub fn resume_syncing(&self) {
        self.state().durable = None;
    }

    /// From now on each ingest waits for [`Self::pass_ingest`].
    pub fn hold_ingests(&self) {
        self.state().ingests_permitted = Some(0);
    }

    /// Lets the ingest that waits, or the next one, go on, and waits until it has ended. For one that never comes, for ever.
    pub fn pass_ingest(&self) {
        let mut state = self.state();
        let ended = state.ingests_ended + 1;
        state.ingests_permitted = state.ingests_permitted.map(|permitted| permitted + 1);
        self.ingests.notify_all();
        drop(self.ingests.wait_while(state, |state| state.ingests_ended < ended).expect(UNPOISONED));
    }

    /// Ingests do not wait any more.
    pub fn release_ingests(&self) {
        self.state().ingests_permitted = None;
        self.ingests.notify_all();
    }

    /// Commits and ingests so far, failed ones included.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// What a restart finds: only what was synced, no poison, no planned fault.
    #[must_use]
    pub fn crash(&self) -> Self {
        let state = self.state();
        let live = state.durable.as_deref().unwrap_or(&state.live).clone();
        Self::of(live)
    }

    fn of(live: Spaces) -> Self {
        Self { state: Mutex::new(State { live, ..State::default() }), ingests: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    /// Applies one change to all rows, or the fault planned for it.
    fn write(&self, action: &'static str, apply: impl FnOnce(&mut Spaces)) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(first) = &state.poison {
            return Err(StoreError::Poisoned { first: first.clone() });
        }
        let number = state.writes;
        state.writes += 1;
        let fault = state.planned.filter(|(write, _)| *write == number).map(|(_, fault)| fault);
        if fault != Some(Fault::BeforeApplied) {
            apply(&mut state.live);
        }
        let Some(fault) = fault else { return Ok(()) };
        let reason = format!("planned fault {fault:?} at write {number}");
        let error = StoreError::Io { path: PathBuf::from("memory"), action, reason };
        state.poison = Some(error.to_string());
        Err(error)
    }
}

fn apply_batch(spaces: &mut Spaces, batch: &WriteBatch) {
    for change in batch.changes() {
        match change {
            Change::Put { space, key, value } => {
                spaces[space.index()].insert(key.to_vec(), value.to_vec());
            }
            Change::Delete { space, key } => {
                spaces[space.index()].remove(key);
            }
            Change::DeleteRange { space, from, to } => {
                let rows = &mut spaces[space.index()];
                let doomed: Vec<_> =
                    rows.range(range_of(from, Some(to))).map(|(key, _)| key.clone()).collect();
                for key in doomed {
                    rows.remove(&key);
                }
            }
        }
    }
}

fn range_of(from: &[u8], to: Option<&[u8]>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    // `BTreeMap::range` panics on a reversed range; for a scan it is simply empty.
    let end = to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.max(from).to_vec()));
    (Bound::Included(from.to_vec()), end)
}

fn row((key, value): (&Vec<u8>, &Vec<u8>)) -> Row {
    Row { key: key.clone(), value: value.clone() }
}

impl KeyValue for Memory {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().live[space.index()].get(key).cloned())
    }

    fn multi_get(&self, space: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let state = self.state();
        Ok(keys.iter().map(|key| state.live[space.index()].get(*key).cloned()).collect())
    }

    fn scan(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.state().live[space.index()].range(range_of(from, to)).take(limit).map(row).collect())
    }

    fn scan_back(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.state().live[space.index()].range(range_of(from, to)).rev().take(limit).map(row).collect())
    }
}

impl Store for Memory {
    fn snapshot(&self) -> Box<dyn KeyValue + '_> {
        Box::new(Self::of(self.state().live.clone()))
    }

    fn commit(&self, changes: &WriteBatch) -> Result<(), StoreError> {
        self.write("commit", |spaces| apply_batch(spaces, changes))
    }

    fn ingest<'rows>(&self, space: Keyspace, rows: &mut SortedRows<'rows>) -> Result<(), StoreError> {
        let rows: Vec<_> = rows.collect();
        if let Some(before) = rows.windows(2).position(|pair| pair[0].0 >= pair[1].0) {
            return Err(StoreError::Unsorted { space, row: before + 1 });
        }
        if rows.is_empty() {
            return Ok(());
        }
        let held = |state: &mut State| state.ingests_permitted == Some(0);
        let mut state = self.ingests.wait_while(self.state(), held).expect(UNPOISONED);
        state.ingests_permitted = state.ingests_permitted.map(|permitted| permitted - 1);
        drop(state);
        let written = self.write("ingest a table", |spaces| {
            spaces[space.index()].extend(rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        });
        self.state().ingests_ended += 1;
        self.ingests.notify_all();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Memory, key: &[u8]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Window, key, b"v");
        store.commit(&batch)
    }

    fn keys(store: &Memory) -> Vec<Vec<u8>> {
        let rows = store.scan(Keyspace::Window, b"", None, 100).expect("memory reads");
        rows.into_iter().map(|row| row.key).collect()
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_nothing_else() {
        let store = Memory::new();
        put(&store, b"a").expect("no fault");
        store.stop_syncing();
        put(&store, b"b").expect("the disk lies");
        assert_eq!(keys(&store), [b"a", b"b"]);
        assert_eq!(keys(&store.crash()), [b"a"]);
        store.resume_syncing();
        assert_eq!(keys(&store.crash()), [b"a", b"b"]);
    }

    #[test]
    fn a_failed_commit_poisons_and_only_the_crash_tells_whether_it_is_there() {
        for (fault, found) in [(Fault::BeforeApplied, 1), (Fault::AfterApplied, 2)] {
            let store = Memory::new();
            store.fail_at(1, fault);
            put(&store, b"a").expect("the first commit is not the planned one");
            assert!(matches!(put(&store, b"b"), Err(StoreError::Io { .. })));
            assert!(matches!(put(&store, b"c"), Err(StoreError::Poisoned { .. })));
            let reopened = store.crash();
            assert_eq!(keys(&reopened).len(), found, "{fault:?}");
            put(&reopened, b"d").expect("a restart clears the poison");
        }
    }
}
