//! Does the store on disk lose anything without saying so? Damage of every kind, each with its control.

use std::fs;

use super::super::conformance::conformance;
use super::super::{Identities, Testimony, check};
use super::*;

const COMMITS: u64 = 400;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

fn open(root: &Path) -> Result<Rocks, StoreError> {
    Rocks::open(root, &Settings::default())
}

/// What the partition's counters look like in these tests: commit and events, `u64` each.
fn commit_numbered(store: &dyn Store, commit: u64) {
    let mut batch = WriteBatch::new();
    batch.put(Keyspace::Window, &commit.to_be_bytes(), &[commit as u8; 100]);
    batch.put(Keyspace::Partition, b"counters", &[commit.to_be_bytes(), (commit * 7).to_be_bytes()].concat());
    store.commit(&batch).expect("the disk works");
}

fn testimony(commit: u64) -> Testimony {
    Testimony { commit, events: commit * 7, at_micros: 0 }
}

/// The last commit, after checking that every one up to it is there and none beyond.
fn whole_state(store: &dyn KeyValue) -> Testimony {
    let counters = store.get(Keyspace::Partition, b"counters").expect("readable").unwrap_or(vec![0; 16]);
    let commit = u64::from_be_bytes(*counters.first_chunk().expect("two numbers"));
    let rows = store.scan(Keyspace::Window, b"", None, COMMITS as usize + 1).expect("readable");
    let found: Vec<_> = rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
    let expected: Vec<_> =
        (1..=commit).map(|commit| (commit.to_be_bytes().to_vec(), vec![commit as u8; 100])).collect();
    assert_eq!(found, expected, "a commit is whole or absent, and none is missing before the last");
    testimony(commit)
}

/// The newest log of writes: the one that holds what is in no table yet.
fn log_of_writes(root: &Path) -> PathBuf {
    let files = fs::read_dir(root.join("rows")).expect("the folder is there");
    let logs = files.map(|file| file.expect("readable").path());
    logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .expect("an open store has a log")
}

/// A closed store of [`COMMITS`] commits; the length of its log after each.
fn history(root: &Path) -> Vec<u64> {
    let store = open(root).expect("a new store");
    let log = log_of_writes(root);
    let lengths = (1..=COMMITS).map(|commit| {
        commit_numbered(&store, commit);
        fs::metadata(&log).expect("the log is there").len()
    });
    lengths.collect()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder for the test");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).expect("the disk works");
        }
    }
}

/// A copy of the history with its log changed.
fn with_log(root: &Path, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let copy = folder();
    copy_folder(root, copy.path());
    let log = log_of_writes(copy.path());
    let mut bytes = fs::read(&log).expect("the log is there");
    change(&mut bytes);
    fs::write(&log, bytes).expect("the disk works");
    copy
}

#[test]
fn rocks_conforms() {
    let folder = folder();
    conformance(&open(folder.path()).expect("a new store"));
}

#[test]
fn reopening_keeps_commits_and_tables() {
    let folder = folder();
    history(folder.path());
    for _ in 0..2 {
        let store = open(folder.path()).expect("sound");
        assert_eq!(whole_state(&store), testimony(COMMITS));
        let rows = [(b"a".as_slice(), b"v".as_slice())];
        store.ingest(Keyspace::Identity, &mut rows.into_iter()).expect("sorted");
    }
    let store = open(folder.path()).expect("sound");
    assert_eq!(store.get(Keyspace::Identity, b"a").expect("readable").as_deref(), Some(b"v".as_slice()));
}

#[test]
fn a_flipped_byte_of_the_log_is_never_passed_over() {
    let folder = folder();
    history(folder.path());
    // Control: the copy opens when nothing is changed.
    let sound = with_log(folder.path(), |_| ());
    assert_eq!(whole_state(&open(sound.path()).expect("sound")), testimony(COMMITS));

    let length = fs::metadata(log_of_writes(folder.path())).expect("the log is there").len() as usize;
    let mut refused = 0;
    for at in (0..length).step_by(length / 31) {
        let damaged = with_log(folder.path(), |log| log[at] ^= 0x40);
        match open(damaged.path()) {
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
            // A length in the last block now points past the end, so the rest looks like a record cut short.
            Ok(store) => {
                let missing = check(Some(testimony(COMMITS)), whole_state(&store));
                assert!(missing.is_err(), "byte {at}: something was lost and nobody said so");
            }
        }
    }
    assert!(refused >= 28, "only {refused} flipped bytes were refused by the log itself");
}

#[test]
fn a_flipped_byte_in_the_middle_says_what_to_do() {
    let folder = folder();
    history(folder.path());
    let damaged = with_log(folder.path(), |log| {
        let middle = log.len() / 2;
        log[middle] ^= 1;
    });
    let error = open(damaged.path()).err().expect("damaged");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    for part in ["is damaged, found on open", "put back the last good copy of the data folder"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_log_cut_short_opens_and_the_witness_counts_what_is_missing() {
    let folder = folder();
    let lengths = history(folder.path());
    let whole = *lengths.last().expect("there were commits");
    for cut in [whole - 1, whole - 150, whole / 2, 40_000, lengths[2] + 1, lengths[0], 1, 0] {
        let shortened = with_log(folder.path(), |log| log.truncate(cut as usize));
        let state = whole_state(&open(shortened.path()).expect("a record cut short is an ordinary crash"));
        let kept = lengths.iter().filter(|length| **length <= cut).count() as u64;
        assert_eq!(state.commit, kept, "cut at {cut}");
        let missing = check(Some(testimony(COMMITS)), state).expect_err("acknowledged commits are gone");
        assert_eq!((missing.commits(), missing.events()), (COMMITS - kept, (COMMITS - kept) * 7));
        // Control: without a witness nobody would have noticed.
        assert_eq!(check(None, state), Ok(()));
    }
}

#[test]
fn a_flipped_byte_of_a_table_fails_the_read() {
    let folder = folder();
    let store = open(folder.path()).expect("a new store");
    // No two bytes alike, so that compression leaves them as they are.
    let value: Vec<u8> = (0..100).collect();
    let mut batch = WriteBatch::new();
    batch.put(Keyspace::Window, b"k", &value);
    store.commit(&batch).expect("the disk works");
    store.compact(Keyspace::Window).expect("the disk works");
    assert_eq!(store.get(Keyspace::Window, b"k").expect("control: sound"), Some(value.clone()));
    drop(store);
    let rows = folder.path().join("rows");
    let mut damaged = 0;
    for entry in fs::read_dir(rows).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let mut bytes = fs::read(&path).expect("readable");
        if path.extension().is_some_and(|extension| extension == "sst")
            && let Some(at) = bytes.windows(20).position(|run| run == &value[..20])
        {
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("the disk works");
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    let store = open(folder.path()).expect("tables are read when they are needed");
    let corrupt = |error: Option<StoreError>| matches!(error, Some(StoreError::Corrupt { .. }));
    assert!(corrupt(store.get(Keyspace::Window, b"k").err()));
    assert!(corrupt(store.multi_get(Keyspace::Window, &[b"k"]).err()));
    assert!(corrupt(store.scan(Keyspace::Window, b"", None, 10).err()));
}

#[test]
fn a_failed_write_poisons_until_the_store_is_opened_again() {
    let folder = folder();
    let store = open(folder.path()).expect("a new store");
    fs::remove_dir(folder.path().join("incoming")).expect("it is empty");
    let ingest = |store: &Rocks| {
        let rows = [(b"a".as_slice(), b"v".as_slice())];
        store.ingest(Keyspace::Identity, &mut rows.into_iter())
    };
    let first = ingest(&store).expect_err("there is no folder to write to");
    assert!(matches!(first, StoreError::Io { .. }), "{first}");
    let poisoned = Err(StoreError::Poisoned { first: first.to_string() });
    assert_eq!(store.commit(&WriteBatch::new()), poisoned);
    assert_eq!(ingest(&store), poisoned);
    drop(store);
    let store = open(folder.path()).expect("sound");
    commit_numbered(&store, 1);
    ingest(&store).expect("the folder is back");
}

#[test]
fn a_second_open_says_who_is_in_the_way() {
    let folder = folder();
    let first = open(folder.path()).expect("a new store");
    let error = open(folder.path()).err().expect("one at a time");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("stop that process"), "{error}");
    drop(first);
    open(folder.path()).expect("control: it opens when the first has closed");
}

#[test]
fn what_another_version_wrote_is_refused_untouched() {
    let folder = folder();
    drop(open(folder.path()).expect("a new store"));
    let format = folder.path().join("format");
    let current = fs::read(folder.path().join("rows/CURRENT")).expect("an opened store has one");
    fs::write(&format, "tidemark store 1000\n").expect("the disk works");
    let error = open(folder.path()).err().expect("a later version's");
    assert!(matches!(error, StoreError::FormatVersion { .. }), "{error}");
    assert!(error.to_string().contains("has format `tidemark store 1000`"), "{error}");
    fs::remove_file(&format).expect("the disk works");
    assert!(matches!(open(folder.path()).err(), Some(StoreError::FormatVersion { .. })));
    assert_eq!(fs::read(folder.path().join("rows/CURRENT")).expect("still there"), current);
    fs::write(&format, FORMAT).expect("the disk works");
    open(folder.path()).expect("control: it opens with its own format");
}

#[test]
fn a_key_space_of_a_later_version_is_refused() {
    let folder = folder();
    let mut store = open(folder.path()).expect("a new store");
    store.db.create_cf("weather", &Options::default()).expect("the disk works");
    drop(store);
    let error = open(folder.path()).err().expect("a later version's");
    assert!(matches!(error, StoreError::FormatVersion { .. }), "{error}");
    assert!(error.to_string().contains("key space `weather`"), "{error}");
}

#[test]
fn rows_without_their_index_file_are_not_taken_for_a_new_store() {
    let folder = folder();
    history(folder.path());
    fs::remove_file(folder.path().join("rows/CURRENT")).expect("the disk works");
    let error = open(folder.path()).err().expect("something is missing");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn merging_drops_forgotten_identities_and_only_those() {
    let folder = folder();
    let settings = Settings::default();
    let store = Rocks::open(folder.path(), &settings).expect("a new store");
    let value = |day: u16| [&[0; 8], day.to_le_bytes().as_slice()].concat();
    let values = [value(9), value(10), value(11), vec![0]];
    let keys = [b"9".as_slice(), b"a", b"b", b"unreadable"];
    let mut rows = keys.iter().zip(&values).map(|(key, value)| (*key, value.as_slice()));
    store.ingest(Keyspace::Identity, &mut rows).expect("sorted");
    let kept = || store.scan(Keyspace::Identity, b"", None, 10).expect("readable").len();
    store.compact(Keyspace::Identity).expect("the disk works");
    assert_eq!(kept(), 4, "control: nothing is forgotten before the day is raised");
    settings.forget_before.raise(10);
    settings.forget_before.raise(3);
    store.compact(Keyspace::Identity).expect("the disk works");
    assert_eq!(kept(), 3);
}

#[test]
fn identities_outlive_reopening_and_merging() {
    use tidemark_core::identity::{ContentDigest, Identity, Remembered};
    let folder = folder();
    let seen = |n: u64| {
        let spread = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (Identity(spread), Remembered { digest: ContentDigest(n), forget_day: 100 })
    };
    let all: Vec<_> = (1..=1_000).map(seen).collect();
    for round in 0..5_u64 {
        let store = std::sync::Arc::new(open(folder.path()).expect("sound"));
        let mut identities =
            Identities::open_with(store.clone(), ForgetBefore::default(), 64).expect("readable");
        for commit in round * 10 + 1..=round * 10 + 10 {
            let new = &all[(commit as usize - 1) * 20..commit as usize * 20];
            let mut batch = WriteBatch::new();
            identities.stage(&mut batch, commit, new);
            store.commit(&batch).expect("the disk works");
            identities.committed(commit, new).expect("the disk works");
        }
        if round == 3 {
            store.compact(Keyspace::Identity).expect("the disk works");
        }
        let asked: Vec<_> = all.iter().map(|(identity, _)| *identity).collect();
        let known = (round as usize + 1) * 200;
        let expected: Vec<_> =
            all.iter().enumerate().map(|(at, (_, seen))| (at < known).then_some(*seen)).collect();
        assert_eq!(identities.look_up(&asked).expect("readable"), expected, "round {round}");
    }
    let stats = open(folder.path()).expect("sound").stats().expect("figures");
    assert!(stats.spaces[Keyspace::Identity.index()].table_bytes > 900 * 26, "{stats:?}");
    assert!(!stats.write_stopped);
}
