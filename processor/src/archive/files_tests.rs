//! Does a file hold the events of its blocks, however these were kept, and what does a start do with files that it does not
//! know?

use tidemark_core::changes::Fate;
use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::EventTime;

use super::*;
use crate::archive::block::COLUMNS_EVENTS_MIN;
use crate::archive::lab::{block, event};
use crate::archive::{PackedBlock, archived_events, events_between, find_event, look_at_files};
use crate::store::codec::archive_block_key;
use crate::store::{Memory, Store, WriteBatch};

/// A state with a block of one counted event for each id, from commit 1 on.
fn state(ids: &[&str]) -> Arc<Memory> {
    let row = |id: &&str| PackedBlock::of(&block(&[event(id)])).row(&[Some(Fate::Counted)]);
    state_of(ids.iter().map(row))
}

fn state_of(rows: impl Iterator<Item = Vec<u8>>) -> Arc<Memory> {
    let (store, mut batch) = (Memory::new(), WriteBatch::new());
    for (commit, row) in (1..).zip(rows) {
        batch.put(Keyspace::ArchiveBlock, &archive_block_key(commit, 0), &row);
    }
    store.commit(&batch).expect("no fault is planned");
    Arc::new(store)
}

fn write(store: &Arc<Memory>, folder: &Path) -> Result<String, ArchiveError> {
    let archiver = Archiver::new(Arc::<Memory>::clone(store), folder)?;
    Ok(archiver.write_next(true)?.expect("blocks wait").name)
}

/// Names below the folder, the orphaned ones with their folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for inside in ["", ORPHANED] {
        let Ok(entries) = std::fs::read_dir(folder.join(inside)) else { continue };
        let found = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
        names.extend(found.map(|path| path.strip_prefix(folder).expect("below").display().to_string()));
    }
    names.sort();
    names
}

#[test]
fn a_file_of_a_lost_state_is_moved_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = write(&state(&["a", "b", "c"]), folder.path()).expect("written");
    let bytes = std::fs::read(folder.path().join(&name)).expect("there");
    // The state is restored as it was before `c`.
    let older = state(&["a", "b"]);
    let written = write(&older, folder.path()).expect("written");
    assert_eq!(names(folder.path()), [written, format!("{ORPHANED}/{name}")]);
    assert_eq!(std::fs::read(folder.path().join(ORPHANED).join(&name)).expect("kept"), bytes);
}

#[test]
fn a_file_without_its_commit_is_written_again() {
    let (folder, store) = (tempfile::tempdir().expect("a folder"), state(&["a", "b"]));
    let name = write(&store, folder.path()).expect("written");
    // The crash came before the commit.
    assert_eq!(write(&store, folder.path()).expect("written"), name);
    assert_eq!(names(folder.path()), [name]);
}

#[test]
fn a_file_with_other_content_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = write(&state(&["a", "b"]), folder.path()).expect("written");
    // A state whose commits have the same numbers, but other events: restored, and fed again.
    for again in [["a", "x"], ["a", "y"]] {
        assert_eq!(write(&state(&again), folder.path()).expect("written"), name);
    }
    let aside = [format!("{ORPHANED}/2-{name}"), format!("{ORPHANED}/{name}")];
    assert_eq!(names(folder.path()), [vec![name], aside.to_vec()].concat());
}

#[test]
fn what_is_unfinished_goes_and_what_is_not_ours_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["events-00-01.parquet.tmp", "notes.parquet", "events-2026.parquet"] {
        std::fs::write(folder.path().join(name), "x").expect("written");
    }
    Archiver::new(state(&[]), folder.path()).expect("opens");
    assert_eq!(names(folder.path()), ["events-2026.parquet", "notes.parquet"]);
}

const WAITING: Fate = Fate::Parked(ExceptionKind::TooLate);

/// The row of a block that is large enough to be a row group, with ids that begin like this. Of each four events, the
/// fates in turn.
fn large(name: &str, fates: [Option<Fate>; 4]) -> Vec<u8> {
    let records: Vec<_> = (0..COLUMNS_EVENTS_MIN).map(|at| event(&format!("{name}-{at}"))).collect();
    let kept: Vec<_> = fates.iter().copied().cycle().take(COLUMNS_EVENTS_MIN).collect();
    PackedBlock::of(&block(&records)).row(&kept)
}

/// Three small blocks with one event each, and between them a large one of which a quarter was not kept and one of which
/// more was not.
fn mixed() -> Arc<Memory> {
    let small = |id: &str, fate| PackedBlock::of(&block(&[event(id)])).row(&[Some(fate)]);
    let counted = Some(Fate::Counted);
    let rows = [
        small("s1", Fate::Counted),
        large("whole", [counted, None, Some(WAITING), counted]),
        small("s2", WAITING),
        large("half", [counted, None, None, counted]),
        small("s3", Fate::Counted),
    ];
    state_of(rows.into_iter())
}

/// Ids of the kept events of `mixed`, with whether they were counted.
fn kept_of_mixed() -> Vec<(String, bool)> {
    let large = |name: &'static str, fates: [Option<bool>; 4]| {
        (0..COLUMNS_EVENTS_MIN)
            .filter_map(move |at| fates[at % 4].map(|counted| (format!("{name}-{at}"), counted)))
    };
    let small = [("s1".to_owned(), true), ("s2".to_owned(), false), ("s3".to_owned(), true)];
    let mut kept: Vec<_> = small
        .into_iter()
        .chain(large("whole", [Some(true), None, Some(false), Some(true)]))
        .chain(large("half", [Some(true), None, None, Some(true)]))
        .collect();
    kept.sort();
    kept
}

fn all(store: &Memory, folder: &Path) -> Vec<(String, bool)> {
    let always = Span { start: EventTime::MIN, end: EventTime::MAX };
    let mut found = Vec::new();
    let mut take = |event: ArchivedEvent<'_>| {
        let id = crate::decode::attributes(&event.raw).expect("an event").id.into_owned();
        found.push((id, event.counted));
    };
    events_between(store, folder, always, &mut take).expect("reads");
    found.sort();
    found
}

fn find(store: &Memory, folder: &Path, id: &str) -> Option<Option<String>> {
    find_event(store, folder, "t", "/s", id).expect("reads").map(|found| found.file)
}

/// Writes the file of `store`, and takes its blocks out of the state as its commit would.
fn put_into_a_file(store: &Arc<Memory>, folder: &Path) -> ArchivedFile {
    let archiver = Archiver::new(Arc::<Memory>::clone(store), folder).expect("opens");
    let file = archiver.write_next(true).expect("written").expect("blocks wait");
    let mut batch = WriteBatch::new();
    batch.delete_range(Keyspace::ArchiveBlock, &file.from, &file.to);
    batch.put(Keyspace::ArchiveFile, file.name.as_bytes(), &file.manifest());
    store.commit(&batch).expect("no fault is planned");
    file
}

#[test]
fn events_are_found_in_blocks_and_in_the_file_of_them() {
    let (folder, store) = (tempfile::tempdir().expect("a folder"), mixed());
    let folder = folder.path();
    let kept = kept_of_mixed();
    for in_a_file in [false, true] {
        let name = in_a_file.then(|| put_into_a_file(&store, folder).name);
        assert!(all(&store, folder) == kept, "in a file: {in_a_file}");
        assert_eq!(archived_events(&*store).expect("reads"), kept.len() as u64);
        for id in ["s1", "s2", "s3", "whole-0", "whole-4094", "half-3"] {
            assert_eq!(find(&store, folder, id), Some(name.clone()), "{id}");
        }
        // Not kept, and never there.
        for id in ["whole-1", "half-1", "half-2", "s4"] {
            assert_eq!(find(&store, folder, id), None, "{id}");
        }
    }
}

#[test]
fn a_file_counts_what_was_kept_and_the_rows_besides() {
    let (folder, store) = (tempfile::tempdir().expect("a folder"), mixed());
    let file = put_into_a_file(&store, folder.path());
    let (kept, quarter) = (kept_of_mixed(), COLUMNS_EVENTS_MIN as u64 / 4);
    let Manifest { events, counted, ignored, oldest_micros, newest_micros } = file.manifest;
    assert_eq!(events, kept.len() as u64);
    assert_eq!(counted, kept.iter().filter(|(_, counted)| *counted).count() as u64);
    assert_eq!(ignored, quarter, "of the one block that was taken over as it was");
    assert_eq!((oldest_micros, newest_micros), (1_768_471_200_000_000, 1_768_471_200_000_000));
    let looked = look_at_files(&*store, folder.path(), 9).expect("reads");
    assert_eq!((looked.listed, looked.whole), (1, 1), "{:?}", looked.faults);
}

#[test]
fn a_file_of_all_kinds_of_blocks_is_written_again_with_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let bytes = |folder: &Path| {
        let name = write(&mixed(), folder).expect("written");
        std::fs::read(folder.join(name)).expect("there")
    };
    assert!(bytes(one.path()) == bytes(other.path()));
}

#[test]
fn a_list_of_the_first_release_has_no_rows_besides() {
    let listed = r#"{"events":3,"counted":2,"oldest_micros":1,"newest_micros":2}"#;
    let manifest: Manifest = serde_json::from_str(listed).expect("still read");
    assert_eq!((manifest.events, manifest.ignored), (3, 0));
}
