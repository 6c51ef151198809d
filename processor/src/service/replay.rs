//! Books what waited, after its cause was mended: the catalog knows the subject now, the price exists, the time has come.
//! Sends again what was refused: the other side would take it now.

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
    let Selected { by_tenant, refused } = select(store, scope, selection)?;
    let mut report = ReplayReport { selected: 0, resolved: 0, waiting: 0, resent: 0 };
    for part in refused.chunks(REPLAYED_AT_ONCE_MAX) {
        let resent = handle.ask(|reply| Input::Resend(part.to_vec(), reply)).ok_or(ReplayError::Gone)??;
        report.selected += part.len() as u64;
        report.resent += resent;
        report.waiting += part.len() as u64 - resent;
    }
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

fn select(store: &dyn KeyValue, scope: &Scope, selection: &ReplaySelection) -> Result<Selected, StoreError> {
    let mut selected = Selected::default();
    let mut add = |found: v1::ExceptionRecord| selected.add(scope, found);
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

/// What can be replayed.
#[derive(Default)]
struct Selected {
    by_tenant: BTreeMap<TenantId, Vec<Waiting>>,
    /// Exceptions of records that were refused.
    refused: Vec<RecordId>,
}

impl Selected {
    fn add(&mut self, scope: &Scope, found: v1::ExceptionRecord) {
        let kind = ExceptionKind::ALL.into_iter().find(|kind| kind.name() == found.kind);
        let is_open = found.status == ExceptionStatus::Open.name();
        if !is_open || !is_in_scope(scope, &found.tenant) {
            return;
        }
        match kind {
            Some(ExceptionKind::RefusedByBilling | ExceptionKind::RefusedByErp) => {
                self.refused.push(RecordId(found.id));
            }
            Some(kind) if kind.replayable() => self.add_event(found),
            Some(_) | None => {}
        }
    }

    fn add_event(&mut self, found: v1::ExceptionRecord) {
        let Ok(tenant) = TenantId::new(&found.tenant) else { return };
        let meter = found.meter.as_deref().and_then(|meter| MeterId::new(meter).ok());
        let of = ReplayOf { exception: RecordId(found.id), meter };
        self.by_tenant.entry(tenant).or_default().push(Waiting { of, payload: found.payload.into_bytes() });
    }
}
