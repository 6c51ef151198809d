//! Finds events again: one by its identity, or all of a stretch of time. Looks in the Parquet files and in the blocks that
//! are not in a file yet.

use std::fs::File;
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use tidemark_schemas::summary::Span;

use super::block::{ArchivedEvent, BlockRow};
use super::columns::{IGNORED, each_row, may_hold_id};
use super::files::{ArchiveError, Manifest};
use crate::decode::attributes;
use crate::store::{KeyValue, Keyspace};

/// Rows of one page of files or blocks.
const PAGE_ROWS: usize = 64;

/// Where an archived event was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub event: ArchivedEvent<'static>,
    /// The file's name; `None` while it is in the store only.
    pub file: Option<String>,
}

/// The event with this identity, if it was ever kept.
///
/// # Errors
/// [`ArchiveError`] when a block or file cannot be read.
pub fn find_event(
    store: &dyn KeyValue,
    folder: &Path,
    tenant: &str,
    source: &str,
    id: &str,
) -> Result<Option<Found>, ArchiveError> {
    let is_it = |event: &ArchivedEvent<'_>| {
        event.tenant == tenant && attributes(&event.raw).is_some_and(|e| e.source == source && e.id == id)
    };
    let mut found = None;
    each_block(store, &mut |row| {
        if found.is_none() {
            BlockRow::of(row)?.each_like(id, &mut |event| {
                if found.is_none() && is_it(&event) {
                    found = Some(Found { event: event.into_owned(), file: None });
                }
            })?;
        }
        Ok(())
    })?;
    if found.is_some() {
        return Ok(found);
    }
    for (name, _) in manifests(store)? {
        let mut in_file = None;
        let may_hold =
            |builder: &ParquetRecordBatchReaderBuilder<File>, group: usize| may_hold_id(builder, group, id);
        each_in_file(&folder.join(&name), may_hold, &mut |event| {
            if in_file.is_none() && is_it(&event) {
                in_file = Some(event.into_owned());
            }
        })?;
        if let Some(event) = in_file {
            return Ok(Some(Found { event, file: Some(name) }));
        }
    }
    Ok(None)
}

/// Every kept event whose time is in `span`.
///
/// # Errors
/// [`ArchiveError`] when a block or file cannot be read.
pub fn events_between(
    store: &dyn KeyValue,
    folder: &Path,
    span: Span,
    take: &mut dyn FnMut(ArchivedEvent<'_>),
) -> Result<(), ArchiveError> {
    let mut take_inside = |event: ArchivedEvent<'_>| {
        if attributes(&event.raw).is_some_and(|attributes| span.contains(attributes.time)) {
            take(event);
        }
    };
    for (name, manifest) in manifests(store)? {
        let overlaps =
            manifest.oldest_micros < span.end.micros() && span.start.micros() <= manifest.newest_micros;
        if overlaps {
            each_in_file(&folder.join(&name), |_, _| Ok(true), &mut take_inside)?;
        }
    }
    each_block(store, &mut |row| Ok(BlockRow::of(row)?.each(&mut take_inside)?))
}

/// How many events are kept, in files and in blocks.
///
/// # Errors
/// [`ArchiveError`] when a row cannot be read.
pub fn archived_events(store: &dyn KeyValue) -> Result<u64, ArchiveError> {
    let mut total: u64 = manifests(store)?.iter().map(|(_, manifest)| manifest.events).sum();
    each_block(store, &mut |row| {
        total += BlockRow::of(row)?.size().events;
        Ok(())
    })?;
    Ok(total)
}

pub(super) fn manifests(store: &dyn KeyValue) -> Result<Vec<(String, Manifest)>, ArchiveError> {
    let (mut all, mut from) = (Vec::new(), Vec::new());
    loop {
        let page = store.scan(Keyspace::ArchiveFile, &from, None, PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        for row in page {
            from.clone_from(&row.key);
            from.push(0);
            let undecodable = |reason: String| crate::store::StoreError::Undecodable {
                space: Keyspace::ArchiveFile,
                key: String::from_utf8_lossy(&row.key).into_owned(),
                reason,
            };
            let manifest =
                serde_json::from_slice(&row.value).map_err(|error| undecodable(error.to_string()))?;
            all.push((String::from_utf8_lossy(&row.key).into_owned(), manifest));
        }
        if is_last {
            return Ok(all);
        }
    }
}

fn each_block(
    store: &dyn KeyValue,
    take: &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut from = Vec::new();
    loop {
        let page = store.scan(Keyspace::ArchiveBlock, &from, None, PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        for row in page {
            take(&row.value)?;
            from = row.key;
            from.push(0);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn each_in_file(
    path: &Path,
    may_hold: impl Fn(&ParquetRecordBatchReaderBuilder<File>, usize) -> Result<bool, ParquetError>,
    take: &mut dyn FnMut(ArchivedEvent<'_>),
) -> Result<(), ArchiveError> {
    let parquet = |source| ArchiveError::Parquet { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ArchiveError::Missing { path: path.to_owned() },
        _ => ArchiveError::Io { path: path.to_owned(), source },
    })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let groups: Result<Vec<_>, _> = (0..builder.metadata().num_row_groups())
        .filter_map(|group| match may_hold(&builder, group) {
            Ok(true) => Some(Ok(group)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })
        .collect();
    each_row(builder, groups.map_err(parquet)?, &mut |event, fate| {
        if fate != Some(IGNORED) {
            take(event);
        }
    })
    .map_err(parquet)
}
