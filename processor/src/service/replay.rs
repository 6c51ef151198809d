//! Books what waited, after its cause was mended: the catalog knows the subject now, the price exists, the time has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_core::batch::ReplayOf;
use tidemark_core::changes::Fate;
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::ids::{MeterId, TenantId};
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::wire::v1;

use super::intake::Intake;
use super::records::{each_row, is_in_scope, parse, record};
use crate::clock;
use crate::config::Scope;
use crate::http::metering::{ReplayReport, ReplaySelection};
use crate::partition::{Handle, Input, PartitionError, Waiting};
use crate::store::{KeyValue, Keyspace, StoreError};

/// Events replayed in one commit.
const REPLAYED_AT_ONCE_MAX: usize = 8_192;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Partition(#[from] Arc<PartitionError>),
    #[error("the partition is gone; start the process again")]
    Gone,
}

/// Replays the selected exceptions that are open and can be replayed.
///
/// # Errors
/// [`ReplayError`]; what was reported as resolved before is durable.
pub fn replay(
    store: &dyn KeyValue,
    handle: &Handle,
    intake: &Intake,
    scope: &Scope,
    selection: &ReplaySelection,
) -> Result<ReplayReport, ReplayError> {
    let by_tenant = select(store, scope, selection)?;
    let mut report = ReplayReport { selected: 0, resolved: 0, waiting: 0 };
    for (tenant, waiting) in by_tenant {
        for part in waiting.chunks(REPLAYED_AT_ONCE_MAX) {
            // The clock's word now: a time that was in the future may have come.
            let prepared = intake.preparer().prepare_replay(&tenant, clock::now(), part);
            let taken =
                handle.ask(|reply| Input::Block(Box::new(prepared), reply)).ok_or(ReplayError::Gone)??;
            let resolved = taken.fates.events.iter().filter(|fate| **fate == Fate::Counted).count() as u64;
            report.selected += part.len() as u64;
            report.resolved += resolved;
            report.waiting += part.len() as u64 - resolved;
        }
    }
    Ok(report)
}

fn select(
    store: &dyn KeyValue,
    scope: &Scope,
    selection: &ReplaySelection,
) -> Result<BTreeMap<TenantId, Vec<Waiting>>, StoreError> {
    let mut selected: BTreeMap<TenantId, Vec<Waiting>> = BTreeMap::new();
    let mut add = |found: v1::ExceptionRecord| {
        if let Some((tenant, waiting)) = replayable(scope, found) {
            selected.entry(tenant).or_default().push(waiting);
        }
    };
    for id in &selection.ids {
        record(store, Keyspace::Exception, id.as_bytes())?.into_iter().for_each(&mut add);
    }
    if selection.ids.is_empty() {
        each_row(store, Keyspace::Exception, &[], None, |key, value| {
            let found: v1::ExceptionRecord = parse(Keyspace::Exception, key, value)?;
            if selection.kind.as_ref().is_none_or(|kind| *kind == found.kind) {
                add(found);
            }
            Ok(true)
        })?;
    }
    Ok(selected)
}

fn replayable(scope: &Scope, found: v1::ExceptionRecord) -> Option<(TenantId, Waiting)> {
    let kind = ExceptionKind::ALL.into_iter().find(|kind| kind.name() == found.kind)?;
    let is_open = found.status == ExceptionStatus::Open.name();
    if !is_open || !kind.replayable() || !is_in_scope(scope, &found.tenant) {
        return None;
    }
    let meter = found.meter.as_deref().and_then(|meter| MeterId::new(meter).ok());
    let of = ReplayOf { exception: RecordId(found.id), meter };
    Some((TenantId::new(&found.tenant).ok()?, Waiting { of, payload: found.payload.into_bytes() }))
}
