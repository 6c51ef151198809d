//! Reads records back: rated lines in billing's order, exceptions, journal entries, receipts.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1;

use crate::config::Scope;
use crate::http::metering::{ExceptionFilter, ExceptionPage, RatedRow, Unknown};
use crate::partition::{Answers, each_record, parse_record, progress, sequence_of, undecodable};
use crate::store::codec::superseded_receipt_key;
use crate::store::{KeyValue, Keyspace, StoreError};

/// Rows read at once while looking for those in scope.
const PAGE_ROWS: usize = 1_000;

/// Whether a record of `tenant` may be shown.
#[must_use]
pub fn is_in_scope(scope: &Scope, tenant: &str) -> bool {
    match scope {
        Scope::Every => true,
        Scope::Tenant(of) => of.as_str() == tenant,
    }
}

/// A stored wire record.
///
/// # Errors
/// [`StoreError`] when it cannot be read or does not decode.
pub fn record<T: DeserializeOwned>(
    store: &dyn KeyValue,
    space: Keyspace,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    store.get(space, key)?.map(|bytes| parse(space, key, &bytes)).transpose()
}

/// # Errors
/// [`StoreError::Undecodable`]
pub fn parse<T: DeserializeOwned>(space: Keyspace, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| undecodable(space, key, &error))
}

/// Calls `take` with every row of a space from `from` on, until it answers `false`.
///
/// # Errors
/// [`StoreError`], of the store or of `take`.
pub fn each_row(
    store: &dyn KeyValue,
    space: Keyspace,
    from: &[u8],
    to: Option<&[u8]>,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut from = from.to_vec();
    loop {
        let page = store.scan(space, &from, to, PAGE_ROWS)?;
        for row in &page {
            if !take(&row.key, &row.value)? {
                return Ok(());
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => {
                from.clone_from(&last.key);
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

/// Rated lines in scope above `after`, ascending, at most `limit`.
///
/// # Errors
/// [`StoreError`]; and [`Unknown`] when there is no line `after` yet, as a reader finds after an older state was restored.
pub fn rated_after(
    store: &dyn KeyValue,
    scope: &Scope,
    after: u64,
    limit: usize,
) -> Result<Result<Vec<RatedRow>, Unknown>, StoreError> {
    let mut rows = Vec::new();
    each_record(store, Destination::Billing, after.saturating_add(1), |sequence, record| {
        let is_mine = match scope {
            Scope::Every => true,
            Scope::Tenant(_) => {
                let rated: v1::RatedSummary = parse_record(Destination::Billing, sequence, record.text)?;
                is_in_scope(scope, &rated.summary.tenant)
            }
        };
        if is_mine && rows.len() < limit {
            rows.push(RatedRow { sequence, wire: record.text.to_vec() });
        }
        Ok(rows.len() < limit)
    })?;
    // Looked up after the rows, so that a reader who has just got the newest line is never refused.
    let newest = progress(store)?.rated;
    if after > newest {
        let why = "the state may have been restored from a backup";
        return Ok(Err(Unknown(format!("after={after} is beyond the newest cursor, {newest}; {why}"))));
    }
    Ok(Ok(rows))
}

/// A page of exceptions in scope that pass the filter, newest first. All are read for it, and one page is kept.
///
/// # Errors
/// [`StoreError`]; and [`Unknown`] when the page before ended with no exception that there is.
pub fn exceptions(
    store: &dyn KeyValue,
    scope: &Scope,
    filter: &ExceptionFilter,
) -> Result<Result<ExceptionPage, Unknown>, StoreError> {
    let mut after = None;
    if let Some(id) = &filter.after {
        let last: Option<v1::ExceptionRecord> = record(store, Keyspace::Exception, id.as_bytes())?;
        let Some(last) = last.filter(|last| is_in_scope(scope, &last.tenant)) else {
            return Ok(Err(Unknown("after: not the `next` of a page of exceptions".into())));
        };
        after = Some(place(id.as_bytes(), &last)?);
    }
    let mut page: BTreeMap<Place, v1::ExceptionRecord> = BTreeMap::new();
    each_row(store, Keyspace::Exception, &[], None, |key, value| {
        let record: v1::ExceptionRecord = parse(Keyspace::Exception, key, value)?;
        let place = place(key, &record)?;
        let wanted = is_in_scope(scope, &record.tenant)
            && filter.kind.is_none_or(|kind| kind.name() == record.kind)
            && filter.status.is_none_or(|status| status.name() == record.status)
            && filter.since.is_none_or(|since| since.micros() <= place.0.0)
            && after.as_ref().is_none_or(|after| *after < place);
        if wanted {
            page.insert(place, record);
            if page.len() > filter.limit.saturating_add(1) {
                page.pop_last();
            }
        }
        Ok(true)
    })?;
    let has_more = page.len() > filter.limit;
    if has_more {
        page.pop_last();
    }
    let items: Vec<_> = page.into_values().collect();
    let next = items.last().filter(|_| has_more).map(|last| last.id.clone());
    Ok(Ok(ExceptionPage { items, next }))
}

/// Newest first: when it was received, then by id.
type Place = (Reverse<i64>, String);

fn place(key: &[u8], record: &v1::ExceptionRecord) -> Result<Place, StoreError> {
    let received = EventTime::parse(record.received_at.as_bytes());
    let received = received.map_err(|error| undecodable(Keyspace::Exception, key, &error))?;
    Ok((Reverse(received.micros()), record.id.clone()))
}

/// Every answer of a destination for a record, oldest first: a refusal that was replayed is followed by a later answer.
///
/// # Errors
/// [`StoreError`]
pub fn receipts(
    store: &dyn KeyValue,
    destination: Destination,
    id: &str,
) -> Result<Vec<v1::Receipt>, StoreError> {
    let (mut found, id_of_record) = (Vec::new(), RecordId(id.to_owned()));
    for attempt in 1.. {
        let key = superseded_receipt_key(destination, &id_of_record, attempt);
        let Some(before) = record(store, Keyspace::Receipt, &key)? else { break };
        found.push(before);
    }
    if let Some(sequence) = sequence_of(store, destination, id)? {
        found.extend(Answers::new(store, destination).of(sequence)?);
    }
    Ok(found)
}
