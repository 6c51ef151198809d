//! What does a start do with archive files that it does not know?

use tidemark_core::batch::EventBlock;
use tidemark_core::changes::Fate;
use tidemark_core::identity::{ContentDigest, Identity};
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::time::{EventTime, ReceiveTime};

use super::*;
use crate::archive::PackedBlock;
use crate::store::codec::archive_block_key;
use crate::store::{Memory, Store, WriteBatch};

/// The row of a block with one counted event.
fn block(id: &str) -> Vec<u8> {
    let received_at = ReceiveTime::from_micros(77);
    let mut block = EventBlock::new(TenantId::new("t").expect("a name"), "file".into(), received_at);
    let text = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","subject":"s","time":"2026-01-15T10:00:00Z"}}"#
    );
    block.text.extend_from_slice(text.as_bytes());
    block.ranges.push(0..text.len() as u32);
    block.identities.push(Identity(1));
    block.digests.push(ContentDigest(1));
    block.times.push(EventTime::from_micros(0));
    block.event_routes.push(0);
    block.places.push(1);
    PackedBlock::of(&block).row(&[Some(Fate::Counted)])
}

/// A state with one block for each id, from commit 1 on.
fn state(ids: &[&str]) -> Arc<Memory> {
    let (store, mut batch) = (Memory::new(), WriteBatch::new());
    for (commit, id) in (1..).zip(ids) {
        batch.put(Keyspace::ArchiveBlock, &archive_block_key(commit, 0), &block(id));
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
