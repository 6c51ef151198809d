//! Brings the rows that a step needs into the working set, in a few batched reads.

use std::collections::BTreeMap;
use std::hash::Hash;

use tidemark_core::needs::{needs, series_of_due};
use tidemark_core::resolve::Resolved;
use tidemark_core::state::SeriesId;
use tidemark_core::terms::Terms;
use tidemark_core::working::{Table, Working};
use tidemark_schemas::time::EventTime;

use crate::store::codec::{Codec, group_count_key, group_key, series_key, window_key};
use crate::store::{KeyValue, Keyspace, StoreError};

/// Rows of each kind that stay in memory between commits when they are clean: together about 500 MB at worst.
const ROWS_CACHED_MAX: usize = 400_000;

/// Loads what the block needs, and what falls due once the watermark has reached `watermark`.
pub fn load(
    store: &dyn KeyValue,
    terms: &Terms,
    working: &mut Working,
    resolved: &Resolved,
    watermark: Option<EventTime>,
) -> Result<(), StoreError> {
    let needs = needs(terms, working, resolved, watermark);
    load_table(store, Keyspace::Window, &mut working.windows, &needs.windows, |key| window_key(*key))?;
    load_table(store, Keyspace::Group, &mut working.groups, &needs.groups, |id| group_key(*id))?;
    load_table(store, Keyspace::Group, &mut working.group_counts, &needs.group_counts, |id| {
        group_count_key(*id)
    })?;
    load_series(store, working, &needs.series)?;
    let more = series_of_due(working, watermark);
    load_series(store, working, &more)
}

fn load_series(store: &dyn KeyValue, working: &mut Working, ids: &[SeriesId]) -> Result<(), StoreError> {
    load_table(store, Keyspace::Series, &mut working.series, ids, |id| series_key(*id))
}

fn load_table<K, V, const N: usize>(
    store: &dyn KeyValue,
    space: Keyspace,
    table: &mut Table<K, V>,
    keys: &[K],
    key_bytes: impl Fn(&K) -> [u8; N],
) -> Result<(), StoreError>
where
    K: Copy + Eq + Hash + Ord + std::fmt::Debug,
    V: Codec,
{
    if keys.is_empty() {
        return Ok(());
    }
    let bytes: Vec<[u8; N]> = keys.iter().map(&key_bytes).collect();
    let borrowed: Vec<&[u8]> = bytes.iter().map(<[u8; N]>::as_slice).collect();
    for (key, value) in keys.iter().zip(store.multi_get(space, &borrowed)?) {
        let row = value.map(|value| decode(space, &key_bytes(key), &value)).transpose()?;
        table.load(*key, row);
    }
    Ok(())
}

/// A stored value, or the error that stops the partition: our own row does not decode.
pub fn decode<V: Codec>(space: Keyspace, key: &[u8], value: &[u8]) -> Result<V, StoreError> {
    V::from_bytes(value).map_err(|damaged| undecodable(space, key, &damaged))
}

pub fn undecodable(space: Keyspace, key: &[u8], reason: &dyn std::fmt::Display) -> StoreError {
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
    StoreError::Undecodable { space, key, reason: reason.to_string() }
}

/// Drops clean rows beyond the bound, open windows last.
pub fn trim(working: &mut Working) {
    working.windows.trim(ROWS_CACHED_MAX, |window| window.pending.is_some());
    working.series.trim(ROWS_CACHED_MAX, |_| false);
    working.groups.trim(ROWS_CACHED_MAX, |_| false);
    working.group_counts.trim(ROWS_CACHED_MAX, |_| false);
}

/// All rows of a small kind.
pub fn load_all(store: &dyn KeyValue, space: Keyspace) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
    const PAGE_ROWS: usize = 10_000;
    let mut rows = BTreeMap::new();
    let mut from = Vec::new();
    loop {
        let page = store.scan(space, &from, None, PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        if let Some(last) = page.last() {
            from.clone_from(&last.key);
            from.push(0);
        }
        rows.extend(page.into_iter().map(|row| (row.key, row.value)));
        if is_last {
            return Ok(rows);
        }
    }
}
