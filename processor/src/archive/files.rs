//! Turns archived blocks into Parquet files, oldest first, one file at a time.
//!
//! A file's name is the range of blocks in it, so writing it twice gives the same file. It is complete when it has its
//! name: until then it has another, and is fsynced before it is renamed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use tidemark_schemas::exception::EventRef;

use super::block::{ArchivedEvent, events_of};
use crate::decode::envelope;
use crate::store::codec::Damaged;
use crate::store::{KeyValue, Keyspace, Row, StoreError};

/// Blocks read at once: at most as many megabytes as a few requests hold.
const BLOCKS_READ_MAX: usize = 8;

/// Events in one file: about 15 MB of Parquet, and 100 MB of memory while it is written.
const FILE_EVENTS_MAX: usize = 250_000;

/// Bytes of events in one file, so that large events do not fill the memory.
const FILE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Events in one row group, the unit that a reader skips.
const ROW_GROUP_EVENTS: usize = 50_000;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the archive file {path}: {source}; check that its folder is writable and the disk is not full")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the archive file {path}: {source}; if the file is damaged, restore it from a copy")]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("an archived block does not decode ({0}); keep the data folder and restore it from a backup")]
    Damaged(#[from] Damaged),
}

/// What one archive file holds. Stored under its name as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub events: u64,
    pub counted: u64,
    /// Oldest and newest event time, microseconds since 1970.
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
#[derive(Clone)]
pub struct Archiver {
    store: Arc<dyn KeyValue>,
    folder: PathBuf,
}

impl Archiver {
    /// # Errors
    /// [`ArchiveError::Io`] when the folder cannot be made.
    pub fn new(store: Arc<dyn KeyValue>, folder: &Path) -> Result<Self, ArchiveError> {
        let at_folder = |source| ArchiveError::Io { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(at_folder)?;
        // A crash between a file and its commit leaves a file whose events are in the store too.
        for entry in std::fs::read_dir(folder).map_err(at_folder)? {
            let name = entry.map_err(at_folder)?.file_name().to_string_lossy().into_owned();
            let is_ours =
                name.starts_with("events-") && (name.ends_with(".parquet") || name.ends_with(".tmp"));
            if is_ours && store.get(Keyspace::ArchiveFile, name.as_bytes())?.is_none() {
                std::fs::remove_file(folder.join(&name)).map_err(at_folder)?;
            }
        }
        Ok(Self { store, folder: folder.to_owned() })
    }

    /// Writes the next file, when enough events wait for one, or with `flush` when any does.
    ///
    /// # Errors
    /// [`ArchiveError`]; the blocks stay in the store.
    pub fn write_next(&self, flush: bool) -> Result<Option<ArchivedFile>, ArchiveError> {
        let mut from = None;
        let mut last = Vec::new();
        let (mut events, mut bytes): (Vec<ArchivedEvent>, usize) = (Vec::new(), 0);
        while events.len() < FILE_EVENTS_MAX && bytes < FILE_BYTES_MAX {
            let rows = self.next_rows(&last)?;
            let is_end = rows.len() < BLOCKS_READ_MAX;
            for row in rows {
                let more = events_of(&row.value)?;
                bytes += more.iter().map(|event| event.raw.len()).sum::<usize>();
                events.extend(more);
                from.get_or_insert_with(|| row.key.clone());
                last = row.key;
            }
            if is_end {
                break;
            }
        }
        let is_full = events.len() >= FILE_EVENTS_MAX || bytes >= FILE_BYTES_MAX;
        let Some(from) = from.filter(|_| flush || is_full) else { return Ok(None) };
        let name = format!("events-{}-{}.parquet", hex(&from), hex(&last));
        let manifest = self.write(&name, &events)?;
        last.push(0);
        Ok(Some(ArchivedFile { name, from, to: last, manifest }))
    }

    fn next_rows(&self, last: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut from = last.to_vec();
        if !from.is_empty() {
            from.push(0);
        }
        self.store.scan(Keyspace::ArchiveBlock, &from, None, BLOCKS_READ_MAX)
    }

    fn write(&self, name: &str, events: &[ArchivedEvent]) -> Result<Manifest, ArchiveError> {
        let (path, unfinished) = (self.folder.join(name), self.folder.join(format!("{name}.tmp")));
        let io = |source| ArchiveError::Io { path: unfinished.clone(), source };
        let file = File::create(&unfinished).map_err(io)?;
        let manifest = write_parquet(&file, events)
            .map_err(|source| ArchiveError::Parquet { path: unfinished.clone(), source })?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&unfinished, &path).map_err(io)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(manifest)
    }
}

/// The columns of an archive file. `event` is the CloudEvent as received.
#[must_use]
pub fn schema() -> Arc<Schema> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let time =
        |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
    Arc::new(Schema::new(vec![
        text("tenant"),
        text("source"),
        text("id"),
        text("type"),
        text("subject"),
        time("time"),
        time("received_at"),
        text("fate"),
        text("origin"),
        Field::new("place", DataType::UInt64, false),
        text("event"),
    ]))
}

fn write_parquet(file: &File, events: &[ArchivedEvent]) -> Result<Manifest, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_EVENTS))
        // An event is looked for by its id.
        .set_column_bloom_filter_enabled(ColumnPath::from("id"), true)
        .build();
    let mut manifest = Manifest { events: 0, counted: 0, oldest_micros: i64::MAX, newest_micros: i64::MIN };
    let mut writer = ArrowWriter::try_new(file, schema(), Some(properties))?;
    for part in events.chunks(ROW_GROUP_EVENTS) {
        writer.write(&batch(part, &mut manifest))?;
    }
    writer.close()?;
    Ok(manifest)
}

fn batch(events: &[ArchivedEvent], manifest: &mut Manifest) -> RecordBatch {
    let mut texts: [StringBuilder; 8] = Default::default();
    let [tenant, source, id, event_type, subject, fate, origin, raw] = &mut texts;
    let mut time = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut received_at = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut place = UInt64Builder::new();
    for event in events {
        let attributes: EventRef =
            envelope(&event.raw).expect("archived events were decoded when they were taken");
        tenant.append_value(&event.tenant);
        source.append_value(&attributes.source);
        id.append_value(&attributes.id);
        event_type.append_value(&attributes.event_type);
        subject.append_value(&attributes.subject);
        fate.append_value(if event.counted { "counted" } else { "waiting" });
        origin.append_value(&event.origin);
        raw.append_value(std::str::from_utf8(&event.raw).expect("JSON that was decoded is UTF-8"));
        let micros = attributes.time.micros();
        time.append_value(micros);
        received_at.append_value(event.received_at.micros());
        place.append_value(event.place);
        manifest.events += 1;
        manifest.counted += u64::from(event.counted);
        manifest.oldest_micros = manifest.oldest_micros.min(micros);
        manifest.newest_micros = manifest.newest_micros.max(micros);
    }
    let mut text = |at: usize| -> ArrayRef { Arc::new(texts[at].finish()) };
    let columns: Vec<ArrayRef> = vec![
        text(0),
        text(1),
        text(2),
        text(3),
        text(4),
        Arc::new(time.finish()),
        Arc::new(received_at.finish()),
        text(5),
        text(6),
        Arc::new(place.finish()),
        text(7),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns are those of the schema")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
