//! Turns archived blocks into Parquet files, oldest first, one file at a time.
//!
//! A file's name is the range of blocks in it, so writing it twice gives the same file. It is complete when it has its
//! name: until then it has another, and is fsynced before it is renamed.
//!
//! Keeps: a complete file is never deleted and never replaced by another content. What the state does not know may be all
//! that is left of events that a restored or damaged state lacks, so it is moved aside, with a warning.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

use super::block::{ArchivedEvent, BlockRow, Mask, Size};
use super::columns::{Columns, FileWriter};
use crate::store::codec::Damaged;
use crate::store::{KeyValue, Keyspace, Row, StoreError};

/// Blocks read at once: at most as many megabytes as a few requests hold.
const BLOCKS_READ_MAX: usize = 8;

/// Events in one file: about 18 MB of Parquet. Large blocks are in memory one at a time while it is written.
const FILE_EVENTS_MAX: u64 = 250_000;

/// Bytes of events in one file, so that large events do not fill the memory.
const FILE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Ends the name of a file that is not complete yet.
const UNFINISHED: &str = ".tmp";

/// Where complete files go that the state does not know. Nothing reads it.
const ORPHANED: &str = "orphaned";

/// Events of small blocks in one row group, the unit that a reader skips.
const ROW_GROUP_EVENTS: usize = 50_000;

/// One row in four that is no event: more, and what was kept of a block is encoded anew, so that a stream of events that
/// are sent twice does not fill the archive.
const IGNORED_SHARE_MAX: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the archive file {path}: {source}; check that its folder is writable and the disk is not full")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "the archive file {path} is missing, although the state lists it; restore it from a copy of the archive folder"
    )]
    Missing { path: PathBuf },
    #[error("the archive file {path}: {source}; if the file is damaged, restore it from a copy")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("an archived block does not decode ({0}); keep the data folder and restore it from a backup")]
    Damaged(#[from] Damaged),
}

/// What one archive file holds. Stored under its name as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub events: u64,
    pub counted: u64,
    /// Rows besides, of events that are not in the archive: their fate is `ignored`. Files of the first release have none.
    #[serde(default)]
    pub ignored: u64,
    /// Oldest and newest event time of the rows, microseconds since 1970.
    pub oldest_micros: i64,
    pub newest_micros: i64,
}

/// A complete file and the range of blocks that it replaces.
#[derive(Clone, Debug)]
pub struct ArchivedFile {
    pub name: String,
    pub from: Vec<u8>,
    /// Exclusive.
    pub to: Vec<u8>,
    pub manifest: Manifest,
}

impl ArchivedFile {
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).expect("a manifest always serializes")
    }
}

/// Writes the files of one partition.
pub struct Archiver {
    store: Arc<dyn KeyValue>,
    folder: PathBuf,
    /// Blocks that are in no file yet, as far as they were looked at: whether they fill a file is known without reading
    /// them again.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    blocks: VecDeque<(Vec<u8>, Size)>,
    events: u64,
    bytes: usize,
    /// Key of the last block looked at, in a file or not.
    last: Vec<u8>,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.events >= FILE_EVENTS_MAX || self.bytes >= FILE_BYTES_MAX
    }

    /// Keys of the oldest blocks, as many as fill a file.
    fn next_file(&self) -> Vec<Vec<u8>> {
        let (mut keys, mut events, mut bytes) = (Vec::new(), 0, 0);
        for (key, size) in &self.blocks {
            if events >= FILE_EVENTS_MAX || bytes >= FILE_BYTES_MAX {
                break;
            }
            events += size.events;
            bytes += size.bytes;
            keys.push(key.clone());
        }
        keys
    }

    fn drop_first(&mut self, count: usize) {
        for (_, size) in self.blocks.drain(..count) {
            self.events -= size.events;
            self.bytes -= size.bytes;
        }
    }
}

impl Archiver {
    /// # Errors
    /// [`ArchiveError::Io`] when the folder cannot be made.
    pub fn new(store: Arc<dyn KeyValue>, folder: &Path) -> Result<Self, ArchiveError> {
        let at_folder = |source| ArchiveError::Io { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(at_folder)?;
        for entry in std::fs::read_dir(folder).map_err(at_folder)? {
            let name = entry.map_err(at_folder)?.file_name().to_string_lossy().into_owned();
            let is_unfinished = name.starts_with("events-") && name.ends_with(UNFINISHED);
            if is_unfinished {
                std::fs::remove_file(folder.join(&name)).map_err(at_folder)?;
            } else if is_orphan(&*store, &name)? {
                move_aside(folder, &name)?;
            }
        }
        Ok(Self { store, folder: folder.to_owned(), waiting: Mutex::default() })
    }

    /// Writes the next file, when enough events wait for one, or with `flush` when any does. Commit the answer before
    /// the next call: its blocks are not looked at again.
    ///
    /// # Errors
    /// [`ArchiveError`]; the blocks stay in the store, for the next start.
    pub fn write_next(&self, flush: bool) -> Result<Option<ArchivedFile>, ArchiveError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while !waiting.is_full() {
            let rows = self.next_rows(&waiting.last)?;
            let is_end = rows.len() < BLOCKS_READ_MAX;
            for row in rows {
                let size = BlockRow::of(&row.value)?.size();
                waiting.events += size.events;
                waiting.bytes += size.bytes;
                waiting.last.clone_from(&row.key);
                waiting.blocks.push_back((row.key, size));
            }
            if is_end {
                break;
            }
        }
        if waiting.blocks.is_empty() || !(flush || waiting.is_full()) {
            return Ok(None);
        }
        let keys = waiting.next_file();
        let (first, last) = (&keys[0], &keys[keys.len() - 1]);
        let name = format!("events-{}-{}.parquet", hex(first), hex(last));
        let manifest = self.write(&name, &keys)?;
        waiting.drop_first(keys.len());
        let mut to = last.clone();
        to.push(0);
        Ok(Some(ArchivedFile { name, from: first.clone(), to, manifest }))
    }

    fn next_rows(&self, last: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut from = last.to_vec();
        if !from.is_empty() {
            from.push(0);
        }
        self.store.scan(Keyspace::ArchiveBlock, &from, None, BLOCKS_READ_MAX)
    }

    fn write(&self, name: &str, blocks: &[Vec<u8>]) -> Result<Manifest, ArchiveError> {
        let (path, unfinished) = (self.folder.join(name), self.folder.join(format!("{name}{UNFINISHED}")));
        let io = |source| ArchiveError::Io { path: unfinished.clone(), source };
        let file = File::create(&unfinished).map_err(io)?;
        let manifest = self.write_parquet(&file, &unfinished, blocks)?;
        file.sync_all().map_err(io)?;
        if path.exists() && !has_same_bytes(&path, &unfinished).map_err(io)? {
            move_aside(&self.folder, name)?;
        }
        std::fs::rename(&unfinished, &path).map_err(io)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(manifest)
    }

    fn write_parquet(&self, file: &File, path: &Path, blocks: &[Vec<u8>]) -> Result<Manifest, ArchiveError> {
        let parquet = |source| ArchiveError::Parquet { path: path.to_owned(), source };
        let mut file = ArchiveFile::new(file).map_err(parquet)?;
        for key in blocks {
            let row = self.store.get(Keyspace::ArchiveBlock, key)?.ok_or(NOT_THERE)?;
            let block = BlockRow::of(&row)?;
            match block.columns()?.filter(|_| is_mostly_kept(&block.mask)) {
                Some(columns) => file.append(columns, &block.mask).map_err(parquet)?,
                None => {
                    block.each(&mut |event| file.gathered.push(event.into_owned()))?;
                    file.append_gathered(ROW_GROUP_EVENTS).map_err(parquet)?;
                }
            }
        }
        file.finish().map_err(parquet)
    }
}

fn is_mostly_kept(mask: &Mask<'_>) -> bool {
    (mask.events() - mask.kept()) * IGNORED_SHARE_MAX <= mask.events()
}

/// An archive file in the making.
struct ArchiveFile<'f> {
    writer: FileWriter<&'f File>,
    manifest: Manifest,
    /// Events of small blocks, until they fill a row group.
    gathered: Vec<ArchivedEvent<'static>>,
}

impl<'f> ArchiveFile<'f> {
    fn new(file: &'f File) -> Result<Self, ParquetError> {
        let manifest =
            Manifest { events: 0, counted: 0, ignored: 0, oldest_micros: i64::MAX, newest_micros: i64::MIN };
        Ok(Self { writer: FileWriter::new(file)?, manifest, gathered: Vec::new() })
    }

    /// Appends a block as it was encoded when it came.
    fn append(&mut self, columns: Columns, mask: &Mask<'_>) -> Result<(), ParquetError> {
        self.take_note(&columns, mask.kept(), mask.counted());
        self.writer.append(columns, mask.iter().map(usize::from))
    }

    /// Appends what was gathered, when it has at least so many events.
    fn append_gathered(&mut self, events_min: usize) -> Result<(), ParquetError> {
        if self.gathered.len() < events_min.max(1) {
            return Ok(());
        }
        let events = std::mem::take(&mut self.gathered);
        let columns = Columns::of_events(&events);
        self.take_note(&columns, events.len(), events.iter().filter(|event| event.counted).count());
        self.writer.append(columns, events.iter().map(ArchivedEvent::fate))
    }

    fn take_note(&mut self, columns: &Columns, kept: usize, counted: usize) {
        let manifest = &mut self.manifest;
        manifest.events += kept as u64;
        manifest.counted += counted as u64;
        manifest.ignored += (columns.rows - kept) as u64;
        // A block without times could be of any.
        let (oldest, newest) = columns.times().unwrap_or((i64::MIN, i64::MAX));
        manifest.oldest_micros = manifest.oldest_micros.min(oldest);
        manifest.newest_micros = manifest.newest_micros.max(newest);
    }

    fn finish(mut self) -> Result<Manifest, ParquetError> {
        self.append_gathered(1)?;
        self.writer.finish()?;
        Ok(self.manifest)
    }
}

/// Whether this is a complete file of which the state knows neither the name nor the blocks. With the blocks it was
/// written before a crash, and its commit is still to come.
fn is_orphan(store: &dyn KeyValue, name: &str) -> Result<bool, StoreError> {
    let Some((first, last)) = blocks_of(name) else { return Ok(false) };
    Ok(store.get(Keyspace::ArchiveFile, name.as_bytes())?.is_none()
        && (store.get(Keyspace::ArchiveBlock, &first)?.is_none()
            || store.get(Keyspace::ArchiveBlock, &last)?.is_none()))
}

/// Keys of the first and the last block in a file of this name.
fn blocks_of(name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (first, last) = name.strip_prefix("events-")?.strip_suffix(".parquet")?.split_once('-')?;
    Some((unhex(first)?, unhex(last)?))
}

/// Moves a complete file into [`ORPHANED`], under a name that nothing has there.
fn move_aside(folder: &Path, name: &str) -> Result<(), ArchiveError> {
    let (from, orphaned) = (folder.join(name), folder.join(ORPHANED));
    let io = |source| ArchiveError::Io { path: from.clone(), source };
    std::fs::create_dir_all(&orphaned).map_err(io)?;
    let names = std::iter::once(name.to_owned()).chain((2..).map(|copy: u64| format!("{copy}-{name}")));
    let to = names.map(|name| orphaned.join(name)).find(|to| !to.exists()).expect("one number is free");
    std::fs::rename(&from, &to).map_err(io)?;
    for changed in [&*orphaned, folder] {
        File::open(changed).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    tracing::warn!(
        file = %to.display(),
        "the state does not know this archive file, so it was moved aside: after a restore or an accepted loss it may \
         hold events that are missing; take them in again with `tidemark ingest`, what is counted is recognised"
    );
    Ok(())
}

/// Only after a crash is there anything to compare: two files of some megabytes, in memory for a moment.
fn has_same_bytes(one: &Path, other: &Path) -> std::io::Result<bool> {
    Ok(std::fs::read(one)? == std::fs::read(other)?)
}

/// Only the archiver removes blocks.
const NOT_THERE: Damaged = Damaged("a block that waited for a file is gone");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.filter(|bytes| hex(bytes) == text)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
