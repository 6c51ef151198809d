//! Takes prepared blocks and other inputs, and commits what they cause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidemark_core::changes::{Changes, Fate, Fates};
use tidemark_core::identity::{Remembered, remembered_from};
use tidemark_core::resolve::Resolved;
use tidemark_core::settle::{Due, adopt, complete_at, declare, settle_due};
use tidemark_core::state::{Counts, Task, WindowKey};
use tidemark_core::step::{Prepared, count_rejections, count_replayed, step};
use tidemark_core::terms::Terms;
use tidemark_core::working::{Timers, Working};
use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::{EventTime, ReceiveTime};
use tidemark_schemas::wire;

use super::exceptions::Exceptions;
use super::load::{load, trim};
use super::prepare::{PreparedBlock, Preparer};
use crate::archive::ArchivedFile;
use crate::store::codec::{
    Codec, archive_block_key, group_count_key, group_key, posting_key, series_key, settle_key, settle_row,
    task_key, time_key, window_key,
};
use crate::store::{Identities, Keyspace, Store, StoreError, Testimony, Witness, WitnessError, WriteBatch};

/// Where a source stands: a name that is stable across runs, and bytes that only the source understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub source: String,
    pub bytes: Vec<u8>,
}

/// Why the partition stops.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// An earlier failure; nothing is taken any more.
    #[error("the partition stopped after an earlier failure: {first}; start the process again")]
    Stopped { first: String },
}

/// What became of one block.
pub struct Taken {
    pub prepared: PreparedBlock,
    pub fates: Fates,
}

/// The state of one partition and the only writer to it.
pub struct Partition {
    pub(super) store: Arc<dyn Store>,
    pub(super) identities: Identities,
    pub(super) witness: Witness,
    pub(super) working: Working,
    pub(super) terms: Arc<Terms>,
    /// Prepares blocks again that were prepared under another catalog.
    pub(super) preparer: Arc<Preparer>,
    pub(super) exceptions: Exceptions,
    /// Counts that metrics know already.
    pub(super) told: Counts,
    /// Rows that were put back in the outbox since the start.
    pub(super) resent: u64,
    pub(super) stopped: Option<String>,
    /// The last commit's batch, emptied.
    pub(super) spare: WriteBatch,
}

/// A write batch in the making, and what must be in it besides the working set.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) batch: WriteBatch,
    changes: Changes,
    archive_blocks: u32,
    /// Events that waited, were counted as exceptions when they came, and are counted now.
    replayed: u64,
}

impl Partition {
    #[must_use]
    pub fn working(&self) -> &Working {
        &self.working
    }

    #[must_use]
    pub fn preparer(&self) -> &Arc<Preparer> {
        &self.preparer
    }

    #[must_use]
    pub fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    #[must_use]
    pub fn open_exceptions(&self) -> u64 {
        self.exceptions.open()
    }

    /// Takes blocks in order, in one commit unless more falls due than one commit may hold.
    ///
    /// # Errors
    /// [`PartitionError`]; then nothing of an unfinished commit is acknowledged and the partition has stopped.
    pub fn take(
        &mut self,
        blocks: Vec<PreparedBlock>,
        now: ReceiveTime,
    ) -> Result<Vec<Taken>, PartitionError> {
        self.guarded(|partition| {
            let mut staged = partition.staged();
            let mut taken = Vec::with_capacity(blocks.len());
            for mut prepared in blocks {
                if !Arc::ptr_eq(&prepared.terms, &partition.preparer.terms) {
                    prepared = partition.preparer.prepare_again(prepared);
                }
                partition.drop_settled_replays(&mut prepared)?;
                let fates = partition.take_one(&prepared, &mut staged, now)?;
                taken.push(Taken { prepared, fates });
            }
            partition.commit(staged, now)?;
            Ok(taken)
        })
    }

    fn take_one(
        &mut self,
        prepared: &PreparedBlock,
        staged: &mut Staged,
        now: ReceiveTime,
    ) -> Result<Fates, PartitionError> {
        let block = &prepared.block;
        let mut remembered = self.look_up(prepared)?;
        let watermark = self.watermark_after(prepared);
        let (mut fates, mut done, mut told, mut resolved_told) = (Fates::default(), 0, 0, 0);
        loop {
            load(&*self.store, &self.terms, &mut self.working, &prepared.resolved, watermark)?;
            let ready = Prepared { block, resolved: &prepared.resolved, remembered: &remembered };
            let (now_done, due) =
                step(&self.terms, &mut self.working, &ready, done, &mut fates, &mut staged.changes);
            self.exceptions.park(
                &*self.store,
                &mut staged.batch,
                &self.terms,
                prepared,
                &fates.parked[told..],
            )?;
            told = fates.parked.len();
            self.stage_archive(prepared, &fates, done, staged);
            if !block.replays.is_empty() {
                let resolved = &fates.resolved[resolved_told..];
                staged.replayed += count_replayed(&mut self.working, block, resolved);
                self.exceptions.resolve(&*self.store, &mut staged.batch, block, resolved)?;
                resolved_told = fates.resolved.len();
            }
            done = now_done;
            if due == Due::Nothing {
                break;
            }
            // More is due than one commit holds. What was taken so far is committed without the source's position:
            // after a crash here it is read again and recognised.
            self.commit(std::mem::take(staged), now)?;
            *staged = self.staged();
            // The commit took with it what was new in this block so far, and in the blocks before it.
            remembered = self.look_up(prepared)?;
        }
        // Rejected inputs have no identity by which they were recognised when read again: they come with the position.
        count_rejections(&mut self.working, block);
        self.exceptions.reject(&*self.store, &mut staged.batch, block)?;
        if let Some(position) = &prepared.position {
            staged.batch.put(Keyspace::Position, position.source.as_bytes(), &position.bytes);
        }
        Ok(fates)
    }

    /// Leaves out replays of exceptions that are not open any more, or that are in the block or commit already: a replay
    /// skips dedupe, so it must happen once.
    fn drop_settled_replays(&self, prepared: &mut PreparedBlock) -> Result<(), StoreError> {
        let mut seen = std::collections::BTreeSet::new();
        let mut keep = Vec::with_capacity(prepared.block.replays.len());
        for replay in &prepared.block.replays {
            let is_first = seen.insert(replay.exception.clone());
            keep.push(is_first && self.exceptions.is_open(&*self.store, &replay.exception)?);
        }
        if keep.contains(&false) {
            *prepared = self.preparer.prepare_part(prepared, &keep);
        }
        Ok(())
    }

    fn look_up(&self, prepared: &PreparedBlock) -> Result<Vec<Option<Remembered>>, StoreError> {
        if prepared.block.replays.is_empty() {
            self.identities.look_up(&prepared.block.identities)
        } else {
            Ok(vec![None; prepared.block.len()])
        }
    }

    /// An upper bound of the watermark once the block is done: what may fall due.
    fn watermark_after(&self, prepared: &PreparedBlock) -> Option<EventTime> {
        let believed = |event: &usize| {
            let park = prepared.resolved.events[*event].park.as_ref();
            park.is_none_or(|park| park.kind != ExceptionKind::BadClock)
        };
        let newest =
            (0..prepared.block.len()).filter(believed).map(|event| prepared.block.times[event]).max();
        let mut progress = self.working.progress;
        progress.newest = progress.newest.max(newest);
        progress.watermark(self.terms.timing().disorder_micros)
    }

    /// Declares that no older event is expected: an idle tick, or an operator's word.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn declare(&mut self, until: EventTime, now: ReceiveTime) -> Result<(), PartitionError> {
        self.guarded(|partition| {
            declare(&mut partition.working, until);
            partition.settle(now)
        })
    }

    /// Declares that all usage so far is complete, so that it is billed and booked. Answers the watermark declared; with
    /// nothing new since the last time it is the same, and nothing is written.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn complete(&mut self, now: ReceiveTime) -> Result<Option<EventTime>, PartitionError> {
        self.guarded(|partition| {
            let until = complete_at(&partition.terms, &partition.working);
            if let Some(until) = until.filter(|_| until > partition.watermark()) {
                declare(&mut partition.working, until);
                partition.settle(now)?;
            }
            Ok(until)
        })
    }

    pub(super) fn watermark(&self) -> Option<EventTime> {
        self.working.progress.watermark(self.terms.timing().disorder_micros)
    }

    fn settle(&mut self, now: ReceiveTime) -> Result<(), PartitionError> {
        let nothing = Resolved::default();
        let watermark = self.watermark();
        loop {
            let mut staged = self.staged();
            load(&*self.store, &self.terms, &mut self.working, &nothing, watermark)?;
            let due = settle_due(&self.terms, &mut self.working, &mut staged.changes);
            self.commit(staged, now)?;
            if due == Due::Nothing {
                return Ok(());
            }
        }
    }

    /// Closes exceptions without counting them, in one commit. Answers how many of them were open.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn dismiss(
        &mut self,
        ids: &[RecordId],
        by: &str,
        reason: &str,
        now: ReceiveTime,
    ) -> Result<u64, PartitionError> {
        let dismissal = wire::v1::Dismissal { by: by.into(), at: now.to_string(), reason: reason.into() };
        self.guarded(|partition| {
            let mut staged = partition.staged();
            let store = &*partition.store;
            let dismissed = partition.exceptions.dismiss(store, &mut staged.batch, ids, &dismissal)?;
            partition.commit(staged, now)?;
            Ok(dismissed)
        })
    }

    /// Takes over a catalog that follows the present one, and keeps its text.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn adopt(
        &mut self,
        preparer: Arc<Preparer>,
        text: &[u8],
        now: ReceiveTime,
    ) -> Result<(), PartitionError> {
        self.guarded(|partition| {
            let terms = Arc::clone(&preparer.terms);
            adopt(&terms, &mut partition.working);
            let mut staged = partition.staged();
            let version = terms.catalog.version.to_string();
            staged.batch.put(Keyspace::Catalog, version.as_bytes(), text);
            staged.batch.put(Keyspace::Meta, super::open::CATALOG_VERSION, version.as_bytes());
            partition.terms = terms;
            partition.preparer = preparer;
            partition.commit(staged, now)
        })
    }

    /// Keeps a fact about the store itself.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub(super) fn put_fact(
        &mut self,
        name: &[u8],
        fact: &[u8],
        now: ReceiveTime,
    ) -> Result<(), PartitionError> {
        self.guarded(|partition| {
            let mut staged = partition.staged();
            staged.batch.put(Keyspace::Meta, name, fact);
            partition.commit(staged, now)
        })
    }

    /// Replaces archived blocks by the file that now holds them.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn archived(&mut self, file: &ArchivedFile, now: ReceiveTime) -> Result<(), PartitionError> {
        self.guarded(|partition| {
            let mut staged = partition.staged();
            staged.batch.delete_range(Keyspace::ArchiveBlock, &file.from, &file.to);
            staged.batch.put(Keyspace::ArchiveFile, file.name.as_bytes(), &file.manifest());
            partition.commit(staged, now)
        })
    }

    /// An empty batch in the buffers of the last one. Every commit begins here: one that did not would leave its own small
    /// buffers to the next.
    pub(super) fn staged(&mut self) -> Staged {
        Staged { batch: std::mem::take(&mut self.spare), ..Staged::default() }
    }

    /// Runs `change`; after a failure nothing is taken any more.
    pub(super) fn guarded<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        self.refuse_when_stopped()?;
        change(self).inspect_err(|error| self.stopped = Some(error.to_string()))
    }

    pub(super) fn refuse_when_stopped(&self) -> Result<(), PartitionError> {
        match &self.stopped {
            Some(first) => Err(PartitionError::Stopped { first: first.clone() }),
            None => Ok(()),
        }
    }

    /// Counts the commit: what the counts were before it, and what it added.
    fn tell(&mut self, changes: &Changes, replayed: u64, took: std::time::Duration) {
        let (now, before) =
            (self.working.progress.counts, std::mem::replace(&mut self.told, self.working.progress.counts));
        crate::observe::committed(&crate::observe::Commit {
            // Each event has one fate, that of the commit that received it.
            accepted: now.counted - before.counted - replayed,
            duplicate: now.again - before.again,
            conflict: now.conflicts - before.conflicts,
            rejected: now.rejected - before.rejected,
            exception: now.exceptions - now.conflicts + replayed - (before.exceptions - before.conflicts),
            closed: changes.closed as u64,
            adjusted: changes.adjusted as u64,
            rated: changes.rated.len() as u64,
            journal: changes.journal.len() as u64,
            took,
        });
    }

    /// Keeps the events of this part of the block that were seen for the first time.
    fn stage_archive(&mut self, prepared: &PreparedBlock, fates: &Fates, from: usize, staged: &mut Staged) {
        let Some(packed) = &prepared.archive else {
            // A replayed event was kept when it came, or counted here then.
            if prepared.block.replays.is_empty() {
                let kept = fates.events[from..].iter().filter(|fate| is_kept(**fate)).count();
                self.working.progress.counts.unarchived += kept as u64;
            }
            return;
        };
        let kept: Vec<Option<Fate>> = (0..prepared.block.len())
            .map(|event| fates.events.get(event).copied().filter(|fate| event >= from && is_kept(*fate)))
            .collect();
        if kept.iter().any(Option::is_some) {
            let key = archive_block_key(self.working.progress.commits + 1, staged.archive_blocks);
            staged.batch.put(Keyspace::ArchiveBlock, &key, &packed.row(&kept));
            staged.archive_blocks += 1;
        }
    }

    /// Writes everything in one batch and makes it durable; only then is it known outside.
    pub(super) fn commit(&mut self, mut staged: Staged, now: ReceiveTime) -> Result<(), PartitionError> {
        let started = std::time::Instant::now();
        self.working.progress.commits += 1;
        let commit = self.working.progress.commits;
        let fresh: Vec<_> = self.working.fresh.drain().collect();
        self.identities.stage(&mut staged.batch, commit, &fresh);
        stage_rows(&mut self.working, &mut staged.batch);
        super::outbox::stage(&staged.changes, &mut staged.batch);
        self.exceptions.park_unratable(&mut staged.batch, &self.working, &staged.changes, now);
        staged.batch.put(Keyspace::Partition, super::open::PROGRESS, &self.working.progress.to_bytes());
        self.store.commit(&staged.batch)?;
        staged.batch.clear();
        self.spare = staged.batch;
        let testimony =
            Testimony { commit, events: self.working.progress.counts.counted, at_micros: now.micros() };
        self.witness.attest(testimony)?;
        self.identities.committed(commit, &fresh)?;
        if let Some(watermark) = self.watermark() {
            // Durable now, so what it forgets may go from disk.
            self.identities.forget(remembered_from(watermark));
        }
        self.exceptions.committed();
        trim(&mut self.working);
        self.tell(&staged.changes, staged.replayed, started.elapsed());
        Ok(())
    }
}

/// Events that were seen for the first time, counted or waiting. Conflicts are kept with their exception.
fn is_kept(fate: Fate) -> bool {
    !matches!(fate, Fate::Again | Fate::Parked(ExceptionKind::Conflict))
}

/// Rows that change in place.
fn stage_rows(working: &mut Working, batch: &mut WriteBatch) {
    for key in working.windows.take_dirty() {
        put_or_delete(batch, Keyspace::Window, &window_key(key), working.windows.get(&key));
    }
    for id in working.series.take_dirty() {
        put_or_delete(batch, Keyspace::Series, &series_key(id), working.series.get(&id));
    }
    for id in working.groups.take_dirty() {
        put_or_delete(batch, Keyspace::Group, &group_key(id), working.groups.get(&id));
    }
    for id in working.group_counts.take_dirty() {
        put_or_delete(batch, Keyspace::Group, &group_count_key(id), working.group_counts.get(&id));
    }
    stage_timers(&mut working.timers, working.progress.commits, batch);
    for id in std::mem::take(&mut working.postings_dirty) {
        put_or_delete(batch, Keyspace::OpenPosting, &posting_key(id), working.postings.get(&id));
    }
    for id in std::mem::take(&mut working.watched_dirty) {
        batch.put(Keyspace::Watched, &id.to_be_bytes(), &time_key(working.watched[&id]));
    }
}

/// Windows that were set for one time are a row of this commit. When some of them have gone off, and what one commit may
/// settle ended before the others, those that are left move into it.
fn stage_timers(timers: &mut Timers, commit: u64, batch: &mut WriteBatch) {
    let (mut set, mut gone_off) = (BTreeMap::<EventTime, Vec<WindowKey>>::new(), BTreeSet::new());
    for (timer, is_set) in timers.take_changed() {
        match (timer.task, task_key(timer.due, timer.task)) {
            (Task::Settle(window), _) if is_set => set.entry(timer.due).or_default().push(window),
            (_, None) => drop(gone_off.insert(timer.due)),
            (_, Some(key)) if is_set => batch.put(Keyspace::Timer, &key, &[]),
            (_, Some(key)) => batch.delete(Keyspace::Timer, &key),
        }
    }
    for due in gone_off {
        batch.delete_range(Keyspace::Timer, &settle_key(due, 0), &settle_key(due, u64::MAX));
        set.insert(due, timers.windows_due(due).collect());
    }
    for (due, windows) in set.into_iter().filter(|(_, windows)| !windows.is_empty()) {
        batch.put(Keyspace::Timer, &settle_key(due, commit), &settle_row(windows.into_iter()));
    }
}

fn put_or_delete<V: Codec>(batch: &mut WriteBatch, space: Keyspace, key: &[u8], row: Option<&V>) {
    match row {
        Some(row) => batch.put(space, key, &row.to_bytes()),
        None => batch.delete(space, key),
    }
}
