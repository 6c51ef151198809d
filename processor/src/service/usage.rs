//! How much has been used so far? Windows still open and windows closed, merged as their meter merges.

use std::collections::{BTreeMap, HashMap};

use tidemark_core::aggregate::{Aggregate, merge_into};
use tidemark_core::state::{Group, GroupId, Window};
use tidemark_core::terms::Terms;

use super::records::{each_row, is_in_scope};
use crate::config::Scope;
use crate::http::metering::{UsageFilter, UsageRow};
use crate::partition::{decode_row, undecodable};
use crate::store::codec::{group_key, window_key_from};
use crate::store::{KeyValue, Keyspace, StoreError};

/// What one row of the answer is about: customer, meter, values of the dimensions asked for.
type RowKey = (String, String, Vec<(String, String)>);

/// Usage in scope, by customer and meter and the dimensions asked for.
///
/// # Errors
/// [`StoreError`]
pub fn usage(
    store: &dyn KeyValue,
    terms: &Terms,
    scope: &Scope,
    filter: &UsageFilter,
) -> Result<Vec<UsageRow>, StoreError> {
    let mut groups: HashMap<GroupId, Option<RowKey>> = HashMap::new();
    let mut totals: BTreeMap<RowKey, (Option<Aggregate>, u64)> = BTreeMap::new();
    each_row(store, Keyspace::Window, &[], None, |key, value| {
        let id = window_key_from(key).map_err(|damaged| undecodable(Keyspace::Window, key, &damaged))?.group;
        if let std::collections::hash_map::Entry::Vacant(unknown) = groups.entry(id) {
            unknown.insert(row_key(store, terms, scope, filter, id)?);
        }
        let Some(row) = &groups[&id] else { return Ok(true) };
        let window: Window = decode_row(Keyspace::Window, key, value)?;
        let (total, events) = totals.entry(row.clone()).or_default();
        for part in [&window.settled, &window.pending].into_iter().flatten() {
            merge_into(total, part).map_err(|error| undecodable(Keyspace::Window, key, &error))?;
        }
        *events += window.evidence.events;
        Ok(true)
    })?;
    let row = |((customer, meter, dimensions), (total, events)): (RowKey, (Option<Aggregate>, u64))| {
        let definition = terms.meter(terms.meter_named(&name(&meter)?)?);
        let quantity = total?.quantity(definition).ok()?.to_string();
        let (unit, dimensions) = (definition.unit.clone(), dimensions.into_iter().collect());
        Some(UsageRow { customer, meter, dimensions, quantity, events, unit })
    };
    Ok(totals.into_iter().filter_map(row).collect())
}

fn name(meter: &str) -> Option<tidemark_schemas::ids::MeterId> {
    tidemark_schemas::ids::MeterId::new(meter).ok()
}

/// Where a group's windows are added up; `None` when they are not asked for.
fn row_key(
    store: &dyn KeyValue,
    terms: &Terms,
    scope: &Scope,
    filter: &UsageFilter,
    id: GroupId,
) -> Result<Option<RowKey>, StoreError> {
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
    Ok(Some((group.customer.to_string(), group.meter.to_string(), dimensions)))
}
