//! Is any committed identity ever forgotten, or any uncommitted one invented? Every crash point, on a failing store, while
//! tables are written slowly.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Fault, KeyValue, Memory};
use super::*;

const COMMITS: u64 = 40;
const RECENT: usize = 50;

/// The `n`th event's identity, spread over the whole range like a keyed hash.
fn seen(n: u64) -> (Identity, Remembered) {
    let identity = u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (Identity(identity), Remembered { digest: ContentDigest(n), forget_day: 7 })
}

/// What the source holds at a position: ten new events and ten that were sent before.
fn source(position: u64) -> impl Iterator<Item = u64> {
    (position.saturating_sub(1) * 10..(position + 1) * 10).chain([position / 2, position * 10])
}

fn counters(store: &Memory) -> (u64, u64) {
    let number = |name: &[u8]| {
        let value = store.get(Keyspace::Partition, name).expect("readable");
        value.map_or(0, |value| u64::from_be_bytes(value.try_into().expect("a number")))
    };
    (number(b"commit"), number(b"counted"))
}

/// A partition in small: reads on from its last commit, counts first-seen events, commits. Until done or a failure. Each
/// table is there before the next commit, so that the same write always has the same number.
fn run(store: &Arc<Memory>) -> Result<Identities, StoreError> {
    let mut identities = Identities::open_with(store.clone(), ForgetBefore::default(), RECENT)?;
    let (last, mut counted) = counters(store);
    for commit in last + 1..=COMMITS {
        let mut events: Vec<u64> = source(commit - 1).collect();
        events.sort_unstable();
        events.dedup();
        let asked: Vec<_> = events.iter().map(|n| seen(*n).0).collect();
        let found = identities.look_up(&asked)?;
        let new: Vec<_> =
            events.iter().zip(found).filter(|(_, found)| found.is_none()).map(|(n, _)| seen(*n)).collect();
        counted += new.len() as u64;
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Partition, b"commit", &commit.to_be_bytes());
        batch.put(Keyspace::Partition, b"counted", &counted.to_be_bytes());
        identities.stage(&mut batch, commit, &new);
        store.commit(&batch)?;
        identities.committed(commit, &new)?;
        identities.await_table()?;
    }
    Ok(identities)
}

/// Everything that was committed is known with its content, and nothing else is.
fn assert_exact(store: &Memory, identities: &Identities) {
    let (commit, counted) = counters(store);
    let events = commit * 10;
    assert_eq!(counted, events, "I-1: each event is counted exactly once");
    let asked: Vec<_> = (0..events + 50).map(|n| seen(n).0).collect();
    let expected: Vec<_> = (0..events + 50).map(|n| (n < events).then_some(seen(n).1)).collect();
    assert_eq!(identities.look_up(&asked).expect("readable"), expected);
}

fn reopen(store: &Arc<Memory>) -> Identities {
    Identities::open_with(store.clone(), ForgetBefore::default(), RECENT).expect("readable")
}

#[test]
fn without_faults_each_event_is_counted_once_and_tables_take_over_from_the_log() {
    let store = Arc::new(Memory::new());
    let identities = run(&store).expect("no fault");
    assert_exact(&store, &identities);
    assert_exact(&store, &reopen(&store));
    assert!(identities.recent.len() <= RECENT);
    let log = store.scan(Keyspace::IdentityLog, b"", None, 1_000).expect("readable");
    assert!(log.len() <= RECENT / 10 + 1, "{} log rows were not deleted", log.len());
    let tables = store.scan(Keyspace::Identity, b"", None, 1_000).expect("readable");
    assert!(tables.len() >= COMMITS as usize * 10 - RECENT - 10, "{} rows in tables", tables.len());
}

#[test]
fn a_crash_at_any_write_loses_nothing_and_counts_nothing_twice() {
    let sound = Arc::new(Memory::new());
    run(&sound).expect("no fault");
    assert!(sound.writes() > COMMITS, "the run writes tables too, and each write fails once below");
    for write in 0..sound.writes() {
        for fault in [Fault::BeforeApplied, Fault::AfterApplied] {
            let store = Arc::new(Memory::new());
            store.fail_at(write, fault);
            assert!(run(&store).is_err(), "write {write} was to fail");
            let restarted = Arc::new(store.crash());
            assert_exact(&restarted, &reopen(&restarted));
            let identities = run(&restarted).expect("one fault only");
            assert_exact(&restarted, &identities);
            assert_exact(&restarted, &reopen(&restarted));
            assert_eq!(counters(&restarted).0, COMMITS);
        }
    }
}

#[test]
fn a_disk_that_lied_about_syncs_takes_identities_and_counts_back_together() {
    for lies_from in [0, 3, 17] {
        let store = Arc::new(Memory::new());
        store.fail_at(lies_from, Fault::BeforeApplied);
        assert!(run(&store).is_err());
        let store = Arc::new(store.crash());
        store.stop_syncing();
        run(&store).expect("a lie is not an error");
        let restarted = Arc::new(store.crash());
        assert!(counters(&restarted).0 <= lies_from);
        assert_exact(&restarted, &reopen(&restarted));
    }
}

#[test]
fn the_newest_memory_of_an_identity_wins_over_its_table() {
    let store = Arc::new(Memory::new());
    let mut identities = reopen(&store);
    let mut commit = |commit: u64, new: &[(Identity, Remembered)]| {
        let mut batch = WriteBatch::new();
        identities.stage(&mut batch, commit, new);
        store.commit(&batch).expect("no fault");
        identities.committed(commit, new).expect("no fault");
        identities.look_up(&[seen(1).0]).expect("readable")[0].expect("seen").digest.0
    };
    let filler: Vec<_> = (100..149).map(seen).collect();
    let again = (seen(1).0, Remembered { digest: ContentDigest(99), forget_day: 70 });
    assert_eq!(commit(1, &[seen(1)]), 1);
    assert_eq!(commit(2, &filler), 1);
    assert_eq!(commit(3, &[again]), 99, "from memory, over the table");
    assert_eq!(commit(4, &filler), 99);
    assert_eq!(commit(5, &filler), 99, "from the newer table");
    assert!(reopen(&store).look_up(&[seen(1).0]).expect("readable")[0] == Some(again.1));
}

#[test]
fn commits_go_on_while_a_table_is_written_and_wait_when_both_memories_are_full() {
    let store = Arc::new(Memory::new());
    let mut identities = reopen(&store);
    store.hold_ingests();
    let mut commit = |commit: u64| {
        let new: Vec<_> = ((commit - 1) * 10..commit * 10).map(seen).collect();
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Partition, b"commit", &commit.to_be_bytes());
        batch.put(Keyspace::Partition, b"counted", &(commit * 10).to_be_bytes());
        identities.stage(&mut batch, commit, &new);
        store.commit(&batch).expect("no fault");
        identities.committed(commit, &new).expect("no fault");
        assert_exact(&store, &identities);
        let tables = store.scan(Keyspace::Identity, b"", None, 1_000).expect("readable").len();
        (tables, identities.recent.len())
    };
    assert_eq!((1..=5).map(&mut commit).last(), Some((0, 50)));
    assert_eq!((6..=10).map(&mut commit).last(), Some((0, 50)), "the other memory");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            store.pass_ingest();
            store.pass_ingest();
        });
        assert_eq!(commit(11), (50, 10), "it waited for the first table");
    });
    store.release_ingests();
}

#[test]
fn a_table_that_cannot_be_written_stops_the_next_commit() {
    for (ingest, fault) in [(5, Fault::BeforeApplied), (6, Fault::BeforeApplied), (6, Fault::AfterApplied)] {
        let store = Arc::new(Memory::new());
        let mut identities = reopen(&store);
        store.fail_at(ingest, fault);
        let full: Vec<_> = (0..RECENT as u64).map(seen).collect();
        for commit in 1..=5 {
            store.commit(&WriteBatch::new()).expect("no fault yet");
            identities.committed(commit, if commit == 1 { &full } else { &[] }).expect("no fault yet");
        }
        identities.committed(6, &[seen(100)]).expect("the failure is not known yet");
        let asked = [seen(0).0, seen(100).0, seen(101).0];
        let found = || identities.look_up(&asked).expect("memory answers");
        assert_eq!(found(), [Some(seen(0).1), Some(seen(100).1), None]);
        while !identities.frozen.as_ref().expect("frozen").table.is_finished() {
            std::thread::yield_now();
        }
        let error = identities.committed(7, &[]).expect_err("the table failed");
        assert!(error.to_string().contains("ingest a table"), "{error}");
    }
}

type Damage<'a> = &'a dyn Fn(&mut WriteBatch);

#[test]
fn a_filter_that_is_missing_or_damaged_is_made_again() {
    let sound = Arc::new(Memory::new());
    run(&sound).expect("no fault");
    let rows = sound.scan(Keyspace::IdentityFilter, b"", None, 10_000).expect("readable");
    let head = rows.iter().position(|row| row.key.len() == 8).expect("a head");
    let end = [0xff; 10];
    let damages: [(&str, Damage); 6] = [
        ("all gone", &|batch| batch.delete_range(Keyspace::IdentityFilter, b"", &end)),
        ("a head gone", &|batch| batch.delete(Keyspace::IdentityFilter, &rows[head].key)),
        ("a row gone", &|batch| batch.delete(Keyspace::IdentityFilter, &rows[head + 1].key)),
        ("a row cut", &|batch| batch.put(Keyspace::IdentityFilter, &rows[head + 1].key, &[1, 2, 3])),
        ("a head cut", &|batch| batch.put(Keyspace::IdentityFilter, &rows[head].key, &[1; 9])),
        ("a head wrong", &|batch| batch.put(Keyspace::IdentityFilter, &rows[head].key, &[0xff; 10])),
    ];
    for (damage, change) in damages {
        let store = Arc::new(sound.crash());
        let mut batch = WriteBatch::new();
        change(&mut batch);
        store.commit(&batch).expect("no fault");
        assert_exact(&store, &reopen(&store));
        assert_exact(&store, &reopen(&store));
        // Whatever is interrupted, the next start does not take a part for the whole.
        for (write, fault) in [(0, Fault::AfterApplied), (1, Fault::BeforeApplied), (1, Fault::AfterApplied)]
        {
            let store = Arc::new(store.crash());
            let mut batch = WriteBatch::new();
            batch.delete_range(Keyspace::IdentityFilter, b"", &end);
            store.commit(&batch).expect("no fault");
            let store = Arc::new(store.crash());
            store.fail_at(write, fault);
            let failed = Identities::open_with(store.clone(), ForgetBefore::default(), RECENT);
            assert!(failed.is_err(), "{damage}: write {write} was to fail");
            let store = Arc::new(store.crash());
            assert_exact(&store, &reopen(&store));
        }
    }
}

#[test]
fn spills_of_which_nothing_is_remembered_leave_the_disk() {
    let store = Arc::new(Memory::new());
    let mut identities = reopen(&store);
    let spilled =
        |commit: u64| (commit * 50..(commit + 1) * 50).map(move |n| (seen(n).0, on_day(n, commit as u16)));
    let mut rows = 0;
    for commit in 1..=100 {
        let new: Vec<_> = spilled(commit).collect();
        let mut batch = WriteBatch::new();
        identities.stage(&mut batch, commit, &new);
        store.commit(&batch).expect("no fault");
        identities.committed(commit, &new).expect("no fault");
        identities.await_table().expect("no fault");
        identities.forget(commit.saturating_sub(10) as u16);
        let heads = store.scan(Keyspace::IdentityFilter, b"", None, 100_000).expect("readable");
        rows = heads.iter().filter(|row| row.key.len() == 8).count();
    }
    assert!((10..=13).contains(&rows), "{rows} spills");
    let asked: Vec<_> = (89..=100).flat_map(spilled).collect();
    let found = identities.look_up(&asked.iter().map(|(identity, _)| *identity).collect::<Vec<_>>());
    let expected: Vec<_> = asked.iter().map(|(_, remembered)| Some(*remembered)).collect();
    assert_eq!(found.expect("readable"), expected, "what is remembered stays");
}

fn on_day(n: u64, forget_day: u16) -> Remembered {
    Remembered { digest: ContentDigest(n), forget_day }
}

/// What may happen to a partition, in an order that nobody plans.
#[derive(Clone, Debug)]
enum Happening {
    /// These are seen, with this forget day.
    Commit(Vec<u64>, u16),
    /// One more of the two ingests of a table comes to its end.
    Ingested,
    /// The watermark reaches this day.
    Forget(u16),
    DiskLies,
    Crash,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let commit = (prop::collection::vec(0..400_u64, 0..25), 0..40_u16);
    let happening = prop_oneof![
        12 => commit.prop_map(|(seen, day)| Happening::Commit(seen, day)),
        4 => Just(Happening::Ingested),
        1 => (0..40_u16).prop_map(Happening::Forget),
        1 => Just(Happening::DiskLies),
        1 => Just(Happening::Crash),
    ];
    prop::collection::vec(happening, 1..60)
}

/// A partition whose tables are written when the test says so.
struct Slow {
    store: Arc<Memory>,
    identities: Identities,
    /// What was committed, after each commit.
    history: Vec<BTreeMap<u64, Remembered>>,
    /// Ingests of the frozen memory that have ended, by the commit it goes through.
    ingested: (u64, usize),
    forgotten: u16,
}

impl Slow {
    fn new() -> Self {
        let store = Arc::new(Memory::new());
        let identities = reopen(&store);
        store.hold_ingests();
        Self { store, identities, history: vec![BTreeMap::new()], ingested: (0, 0), forgotten: 0 }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Commit(seen, day) => self.commit(&seen, day),
            Happening::Ingested => self.ingested(),
            Happening::Forget(day) => {
                self.identities.forget(day);
                self.forgotten = self.forgotten.max(day);
            }
            Happening::DiskLies => self.store.stop_syncing(),
            Happening::Crash => self.crash(),
        }
        self.assert_exact();
    }

    fn commit(&mut self, numbers: &[u64], day: u16) {
        let commit = self.history.len() as u64;
        let mut new: BTreeMap<_, _> = BTreeMap::new();
        new.extend(numbers.iter().map(|n| (*n, on_day(n * 1_000 + commit, day))));
        let staged: Vec<_> = new.iter().map(|(n, remembered)| (seen(*n).0, *remembered)).collect();
        while self.identities.frozen.is_some()
            && self.ingested.1 < 2
            && self.identities.recent.len() + staged.len() > RECENT
        {
            self.ingested();
        }
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Partition, b"commit", &commit.to_be_bytes());
        self.identities.stage(&mut batch, commit, &staged);
        self.store.commit(&batch).expect("no fault");
        self.identities.committed(commit, &staged).expect("no fault");
        let mut known = self.history.last().expect("there is a first").clone();
        known.extend(new);
        self.history.push(known);
        self.count_from_freezing();
    }

    fn count_from_freezing(&mut self) {
        let through = self.identities.frozen.as_ref().map_or(0, |frozen| frozen.through);
        if self.ingested.0 != through {
            self.ingested = (through, 0);
        }
    }

    fn ingested(&mut self) {
        let Some(frozen) = self.identities.frozen.as_ref().filter(|_| self.ingested.1 < 2) else { return };
        self.store.pass_ingest();
        self.ingested.1 += 1;
        while self.ingested.1 == 2 && !frozen.table.is_finished() {
            std::thread::yield_now();
        }
    }

    fn crash(&mut self) {
        let store = Arc::new(self.store.crash());
        self.store.release_ingests();
        self.identities = reopen(&store);
        store.hold_ingests();
        self.history.truncate(counters(&store).0 as usize + 1);
        (self.store, self.ingested) = (store, (0, 0));
    }

    fn assert_exact(&self) {
        let known = self.history.last().expect("there is a first");
        let asked: Vec<_> = (0..400).map(|n| seen(n).0).collect();
        let found = self.identities.look_up(&asked).expect("readable");
        for (n, found) in (0..).zip(found) {
            let expected = known.get(&n).copied();
            let may_be_gone = expected.is_some_and(|expected| expected.forget_day < self.forgotten);
            assert!(
                found == expected || (may_be_gone && found.is_none()),
                "{n}: {found:?}, not {expected:?}"
            );
        }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.store.release_ingests();
    }
}

proptest! {
    #[test]
    fn answers_are_what_was_committed_whenever_tables_are_done(happenings in happenings()) {
        let mut partition = Slow::new();
        happenings.into_iter().for_each(|happening| partition.happens(happening));
    }
}

#[test]
fn a_log_row_that_does_not_decode_is_named() {
    for (key, value, says) in [
        (5_u64.to_be_bytes().to_vec(), vec![0; 27], "27 bytes, no multiple of 26"),
        (vec![1, 2], vec![0; 26], "its key has 2 bytes"),
    ] {
        let store = Memory::new();
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::IdentityLog, &key, &value);
        store.commit(&batch).expect("no fault");
        let error = Identities::open(Arc::new(store), ForgetBefore::default()).err().expect("undecodable");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// The layouts on disk. A change here needs a new format version.
#[test]
fn stored_bytes_stay() {
    let identity = Identity(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
    let row = pack(identity, Remembered { digest: ContentDigest(0x1122_3344_5566_7788), forget_day: 0x99aa });
    let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "000102030405060708090a0b0c0d0e0f8877665544332211aa99");
}
