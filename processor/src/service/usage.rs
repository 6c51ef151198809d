//! How much has been used so far? Windows still open and windows closed, merged as their meter merges, by billing period.
//!
//! Keeps: memory is bounded by one page, however many rows there are; what is asked for by name is in the catalog, so that a
//! misspelt name is not answered like one without usage.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tidemark_core::aggregate::{Aggregate, merge_into};
use tidemark_core::state::{Group, GroupId, Window, WindowKey};
use tidemark_core::terms::Terms;
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::meter::Meter;
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::EventTime;

use super::records::{each_row, is_in_scope};
use crate::config::Scope;
use crate::http::metering::{Unknown, UsageFilter, UsagePage, UsageRow};
use crate::partition::{decode_row, undecodable};
use crate::store::codec::{group_key, window_key, window_key_from};
use crate::store::{KeyValue, Keyspace, StoreError};

/// Groups whose names are kept while windows are read: some 20 MB. Windows are in the order of time, so a group comes again.
const GROUPS_CACHED_MAX: usize = 100_000;

/// What one row of the answer is about. Its order is that of the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey {
    group: GroupKey,
    /// Start and end, microseconds since 1970.
    period: (i64, i64),
}

/// The part of a row that a group decides: tenant, customer, meter, values of the dimensions asked for.
type GroupKey = (String, String, String, Vec<(String, String)>);

/// A page of the usage in scope, by tenant, customer, meter, the dimensions asked for, and billing period.
///
/// # Errors
/// [`StoreError`]; and [`Unknown`] for a name that is not in the catalog.
pub fn usage(
    store: &dyn KeyValue,
    terms: &Terms,
    scope: &Scope,
    filter: &UsageFilter,
) -> Result<Result<UsagePage, Unknown>, StoreError> {
    let after = match known(terms, scope, filter).and_then(|()| cursor(filter)) {
        Ok(after) => after,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let mut groups: HashMap<GroupId, Option<GroupKey>> = HashMap::new();
    let mut totals: BTreeMap<RowKey, (Option<Aggregate>, u64)> = BTreeMap::new();
    let bound = |time: EventTime| window_key(WindowKey { start: time, group: GroupId(0) });
    let (from, to) = (filter.from.map(bound), filter.to.map(bound));
    let from = from.as_ref().map_or(&[][..], |from| &from[..]);
    each_row(store, Keyspace::Window, from, to.as_ref().map(|to| &to[..]), |key, value| {
        let id = window_key_from(key).map_err(|damaged| undecodable(Keyspace::Window, key, &damaged))?.group;
        if groups.len() == GROUPS_CACHED_MAX && !groups.contains_key(&id) {
            groups.clear();
        }
        if let std::collections::hash_map::Entry::Vacant(unread) = groups.entry(id) {
            unread.insert(group_of(store, terms, scope, filter, id)?);
        }
        let Some(group) = &groups[&id] else { return Ok(true) };
        let window: Window = decode_row(Keyspace::Window, key, value)?;
        let Span { start, end } = window.period;
        let row = RowKey { group: group.clone(), period: (start.micros(), end.micros()) };
        if after.as_ref().is_some_and(|after| row <= *after) {
            return Ok(true);
        }
        let (total, events) = totals.entry(row).or_default();
        for part in [&window.settled, &window.pending].into_iter().flatten() {
            merge_into(total, part).map_err(|error| undecodable(Keyspace::Window, key, &error))?;
        }
        *events += window.evidence.events;
        if totals.len() > filter.limit.saturating_add(1) {
            // Whatever comes, this row is behind so many others that it is not of this page.
            totals.pop_last();
        }
        Ok(true)
    })?;
    let has_more = totals.len() > filter.limit;
    if has_more {
        totals.pop_last();
    }
    let next = totals.last_key_value().filter(|_| has_more).map(|(last, _)| cursor_text(last));
    let items = totals.into_iter().filter_map(|(key, total)| row(terms, key, total)).collect();
    Ok(Ok(UsagePage { items, next }))
}

fn row(terms: &Terms, key: RowKey, (total, events): (Option<Aggregate>, u64)) -> Option<UsageRow> {
    let (tenant, customer, meter, dimensions) = key.group;
    let definition = named(terms, &meter)?;
    let (start, end) = (EventTime::from_micros(key.period.0), EventTime::from_micros(key.period.1));
    let quantity = total?.quantity(definition).ok()?.to_string();
    let (unit, dimensions) = (definition.unit.clone(), dimensions.into_iter().collect());
    let period = Span { start, end }.into();
    Some(UsageRow { tenant, customer, meter, period, dimensions, quantity, events, unit })
}

fn named<'a>(terms: &'a Terms, meter: &str) -> Option<&'a Meter> {
    Some(terms.meter(terms.meter_named(&MeterId::new(meter).ok()?)?))
}

/// Whether the catalog has every name that was asked for.
fn known(terms: &Terms, scope: &Scope, filter: &UsageFilter) -> Result<(), Unknown> {
    let catalog = &terms.catalog;
    let meters = match &filter.meter {
        None => catalog.meters.iter().collect(),
        Some(name) => vec![named(terms, name).ok_or_else(|| {
            let all = catalog.meters.iter().map(|meter| meter.id.as_str());
            Unknown::name("meter", name, "the catalog's meters are", all)
        })?],
    };
    for name in &filter.group_by {
        if !meters.iter().any(|meter| meter.dimensions.contains(name)) {
            let all = meters.iter().flat_map(|meter| &meter.dimensions).map(String::as_str);
            let all: std::collections::BTreeSet<_> = all.collect();
            return Err(Unknown::name("group_by", name, "the dimensions are", all.into_iter()));
        }
    }
    let Some(name) = &filter.customer else { return Ok(()) };
    let mut mine = catalog.customers.iter().filter(|customer| is_in_scope(scope, customer.tenant.as_str()));
    if mine.clone().any(|customer| customer.id.as_str() == name) {
        return Ok(());
    }
    let all = mine.by_ref().map(|customer| customer.id.as_str());
    Err(Unknown::name("customer", name, "the catalog's customers are", all))
}

fn cursor(filter: &UsageFilter) -> Result<Option<RowKey>, Unknown> {
    let Some(text) = &filter.after else { return Ok(None) };
    let parse = || {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (group, period) = serde_json::from_slice(&bytes).ok()?;
        Some(RowKey { group, period })
    };
    parse().map(Some).ok_or_else(|| Unknown("after: not the `next` of a page of usage".into()))
}

/// Opaque to others: the row's key.
fn cursor_text(key: &RowKey) -> String {
    let bytes = serde_json::to_vec(&(&key.group, &key.period)).expect("texts and numbers always serialize");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Where a group's windows are added up; `None` when they are not asked for.
fn group_of(
    store: &dyn KeyValue,
    terms: &Terms,
    scope: &Scope,
    filter: &UsageFilter,
    id: GroupId,
) -> Result<Option<GroupKey>, StoreError> {
    let key = group_key(id);
    let Some(bytes) = store.get(Keyspace::Group, &key)? else {
        return Err(undecodable(Keyspace::Group, &key, &"a window's group is missing"));
    };
    let group: Group = decode_row(Keyspace::Group, &key, &bytes)?;
    let wanted = is_in_scope(scope, group.tenant.as_str())
        && filter.customer.as_deref().is_none_or(|customer| customer == group.customer.as_str())
        && filter.meter.as_deref().is_none_or(|meter| meter == group.meter.as_str());
    let Some(meter) = terms.meter_named(&group.meter).filter(|_| wanted) else { return Ok(None) };
    let named = terms.meter(meter).dimensions.iter().zip(&group.dimension_values);
    let asked = named.filter(|(dimension, _)| filter.group_by.contains(dimension));
    let dimensions = asked.map(|(dimension, value)| (dimension.clone(), value.clone())).collect();
    Ok(Some((group.tenant.to_string(), group.customer.to_string(), group.meter.to_string(), dimensions)))
}
