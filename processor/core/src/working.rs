//! Which rows has a step read, and which has it changed? The working set between the store and the rules.
//!
//! The store loads what a block needs (see [`crate::needs`]), a step changes it in place, and the store writes what is
//! dirty in one batch. "Absent" and "not read" never look alike: asking for a row that was not loaded is a bug of ours
//! and panics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tidemark_schemas::time::EventTime;

use crate::identity::{DeploymentKey, Identity, Remembered};
use crate::rate::Series;
use crate::state::{
    Group, GroupId, OpenPosting, PostingId, Progress, SeriesId, Task, Timer, Window, WindowKey,
};

/// A map whose order of iteration is never used: results must not depend on it (I-10).
pub type FixedMap<K, V> = HashMap<K, V, FixedState>;

/// Rows of one kind that are in memory.
#[derive(Debug)]
pub struct Table<K, V> {
    rows: FixedMap<K, Slot<V>>,
    dirty: Vec<K>,
}

#[derive(Debug)]
struct Slot<V> {
    row: Option<V>,
    dirty: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: FixedMap::default(), dirty: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash + Ord + Debug, V> Table<K, V> {
    #[must_use]
    pub fn is_loaded(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// Takes over what the store has under `key`; `None` when it has nothing.
    pub fn load(&mut self, key: K, row: Option<V>) {
        self.rows.insert(key, Slot { row, dirty: false });
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.slot(key).row.as_ref()
    }

    /// The row, to be changed; it will be written.
    pub fn change(&mut self, key: K) -> &mut Option<V> {
        let slot =
            self.rows.get_mut(&key).unwrap_or_else(|| panic!("not read before it is changed: {key:?}"));
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(key);
        }
        &mut slot.row
    }

    /// What must be written, in key order, each once. Clean afterwards.
    pub fn take_dirty(&mut self) -> Vec<K> {
        let mut keys = std::mem::take(&mut self.dirty);
        keys.sort_unstable();
        for key in &keys {
            self.rows.get_mut(key).expect("dirty rows stay loaded").dirty = false;
        }
        keys
    }

    /// Drops clean rows that `keep` does not hold on to, when there are more than `rows_max`.
    pub fn trim(&mut self, rows_max: usize, keep: impl Fn(&V) -> bool) {
        if self.rows.len() > rows_max {
            self.rows.retain(|_, slot| slot.dirty || slot.row.as_ref().is_some_and(&keep));
        }
        if self.rows.len() > rows_max {
            self.rows.retain(|_, slot| slot.dirty);
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn slot(&self, key: &K) -> &Slot<V> {
        self.rows.get(key).unwrap_or_else(|| panic!("not read before it is used: {key:?}"))
    }
}

/// The state of a partition as far as it is in memory.
pub struct Working {
    pub key: DeploymentKey,
    pub progress: Progress,
    /// Identities first seen since the last commit.
    pub fresh: FixedMap<Identity, Remembered>,
    pub groups: Table<GroupId, Group>,
    /// How many groups a meter of a subscription has, by hash of both.
    pub group_counts: Table<GroupId, u32>,
    pub windows: Table<WindowKey, Window>,
    pub series: Table<SeriesId, Series>,
    /// All of them, always: one for each open window, entry in the making and watched subscription.
    pub timers: Timers,
    /// All of them, always: at most one for each legal entity, currency, accounting period and posting rule.
    pub postings: BTreeMap<PostingId, OpenPosting>,
    pub postings_dirty: BTreeSet<PostingId>,
    /// Next period start to watch for fees without usage, by hash of the subscription's id. All of them, always.
    pub watched: BTreeMap<u128, EventTime>,
    pub watched_dirty: BTreeSet<u128>,
}

impl Working {
    #[must_use]
    pub fn new(key: DeploymentKey, progress: Progress) -> Self {
        Self {
            key,
            progress,
            fresh: FixedMap::default(),
            groups: Table::default(),
            group_counts: Table::default(),
            windows: Table::default(),
            series: Table::default(),
            timers: Timers::default(),
            postings: BTreeMap::new(),
            postings_dirty: BTreeSet::new(),
            watched: BTreeMap::new(),
            watched_dirty: BTreeSet::new(),
        }
    }
}

/// Pending timers, and how they have changed since the last commit.
#[derive(Debug, Default)]
pub struct Timers {
    pending: BTreeSet<Timer>,
    /// How many of them settle a window.
    windows: usize,
    /// `true` for added, `false` for removed; a timer that came and went is in neither the store nor here.
    changed: BTreeMap<Timer, bool>,
}

impl Timers {
    /// Takes over a timer that the store has.
    pub fn load(&mut self, timer: Timer) {
        self.insert(timer);
    }

    pub fn set(&mut self, timer: Timer) {
        if self.insert(timer) && self.changed.remove(&timer).is_none() {
            self.changed.insert(timer, true);
        }
    }

    pub fn clear(&mut self, timer: Timer) {
        if self.pending.remove(&timer) {
            self.windows -= usize::from(is_of_window(timer));
            if self.changed.remove(&timer).is_none() {
                self.changed.insert(timer, false);
            }
        }
    }

    fn insert(&mut self, timer: Timer) -> bool {
        let is_new = self.pending.insert(timer);
        self.windows += usize::from(is_new && is_of_window(timer));
        is_new
    }

    /// The first timer due at or before `watermark`, in order; it stays pending.
    #[must_use]
    pub fn first_due(&self, watermark: EventTime) -> Option<Timer> {
        self.pending.first().filter(|timer| timer.due <= watermark).copied()
    }

    /// Up to `count` timers due at or before `watermark`, in order.
    pub fn due(&self, watermark: EventTime, count: usize) -> impl Iterator<Item = &Timer> {
        self.pending.iter().take_while(move |timer| timer.due <= watermark).take(count)
    }

    /// Windows that are to be settled at exactly this time, in order.
    pub fn windows_due(&self, due: EventTime) -> impl Iterator<Item = WindowKey> {
        let first = WindowKey { start: EventTime::MIN, group: GroupId(0) };
        let of_window = |timer: &Timer| match timer.task {
            Task::Settle(window) => Some(window),
            Task::EndPeriod(..) | Task::Cut(_) => None,
        };
        let from = self.pending.range(Timer { due, task: Task::Settle(first) }..);
        from.take_while(move |timer| timer.due == due).map_while(of_window)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Windows with usage that is not reported yet.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// What must be written (`true`) or deleted (`false`), in order.
    pub fn take_changed(&mut self) -> BTreeMap<Timer, bool> {
        std::mem::take(&mut self.changed)
    }
}

fn is_of_window(timer: Timer) -> bool {
    matches!(timer.task, Task::Settle(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(due: i64) -> Timer {
        Timer { due: EventTime::from_micros(due), task: Task::Cut(PostingId(1)) }
    }

    #[test]
    fn a_timer_that_came_and_went_is_not_written() {
        let mut timers = Timers::default();
        timers.load(timer(1));
        timers.clear(timer(1));
        timers.set(timer(2));
        timers.clear(timer(2));
        timers.set(timer(3));
        assert_eq!(
            timers.take_changed().into_iter().collect::<Vec<_>>(),
            [(timer(1), false), (timer(3), true)]
        );
        assert_eq!(timers.first_due(EventTime::from_micros(2)), None);
        assert_eq!(timers.first_due(EventTime::from_micros(3)), Some(timer(3)));
    }

    #[test]
    fn windows_are_counted_among_timers() {
        let settle = |due: i64| {
            let start = EventTime::from_micros(0);
            let task = Task::Settle(WindowKey { start, group: GroupId(due as u128) });
            Timer { due: EventTime::from_micros(due), task }
        };
        let mut timers = Timers::default();
        timers.load(settle(1));
        for timer in [settle(1), settle(2), settle(2), timer(3)] {
            timers.set(timer);
        }
        assert_eq!((timers.windows(), timers.len()), (2, 3));
        let due = |at: i64| timers.windows_due(EventTime::from_micros(at)).map(|window| window.group.0);
        assert_eq!(
            (due(1).collect::<Vec<_>>(), due(2).collect(), due(3).collect()),
            (vec![1], vec![2], vec![])
        );
        timers.clear(settle(2));
        timers.clear(settle(2));
        timers.clear(timer(3));
        assert_eq!((timers.windows(), timers.len()), (1, 1));
    }

    #[test]
    fn a_dirty_row_is_written_once_and_survives_trimming() {
        let mut table: Table<u64, u64> = Table::default();
        for key in 0..10 {
            table.load(key, Some(key));
        }
        *table.change(7) = Some(70);
        *table.change(7) = Some(71);
        table.trim(5, |_| false);
        assert_eq!((table.len(), table.get(&7)), (1, Some(&71)));
        assert_eq!(table.take_dirty(), [7]);
        assert!(table.take_dirty().is_empty());
    }

    #[test]
    #[should_panic(expected = "not read")]
    fn a_row_that_was_not_read_is_not_absent() {
        let _ = Table::<u64, u64>::default().get(&1);
    }
}
