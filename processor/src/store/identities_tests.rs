//! Is any committed identity ever forgotten, or any uncommitted one invented? Every crash point, on a failing store.

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

/// A partition in small: reads on from its last commit, counts first-seen events, commits. Until done or a failure.
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
    assert!(identities.recent_len() <= RECENT);
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
