//! Books what waited, after its cause was mended: the catalog knows the subject now, the price exists, the time has come.
//! Sends again what was refused: the other side would take it now.
//!
//! Keeps: memory is bounded by one page, however much waits; what a replay leaves waiting is not met again in the same
//! replay, because exceptions are selected as of its beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_core::batch::ReplayOf;
use tidemark_core::changes::Fate;
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::ids::{MeterId, TenantId};
use tidemark_schemas::limits::REQUEST_BYTES_MAX;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::wire::v1;

use super::intake::Intake;
use super::records::{is_in_scope, parse, record};
use crate::clock;
use crate::config::Scope;
use crate::http::metering::{ReplayReport, ReplaySelection};
use crate::partition::{Handle, Input, PartitionError, Waiting};
use crate::store::{KeyValue, Keyspace, Store, StoreError};

/// Exceptions read at once: 64 of the largest are 4 MiB.
const ROWS_PER_READ: usize = 64;

/// How much is read before it is replayed.
#[derive(Clone, Copy)]
struct Bounds {
    events: usize,
    bytes: usize,
}

/// About as much as one request may bring.
const PAGE: Bounds = Bounds { events: 8_192, bytes: REQUEST_BYTES_MAX };

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
    store: &dyn Store,
    handle: &Handle,
    intake: &Intake,
    scope: &Scope,
    selection: &ReplaySelection,
) -> Result<ReplayReport, ReplayError> {
    let snapshot = store.snapshot();
    let mut pages = Pages::new(&*snapshot, scope, selection, PAGE);
    let mut report = ReplayReport::default();
    while let Some(page) = pages.next_page()? {
        if !page.refused.is_empty() {
            let refused = page.refused.len() as u64;
            let resent =
                handle.ask(|reply| Input::Resend(page.refused, reply)).ok_or(ReplayError::Gone)??;
            report.selected += refused;
            report.resent += resent;
            report.waiting += refused - resent;
        }
        for (tenant, waiting) in page.by_tenant {
            // The clock's word now: a time that was in the future may have come.
            let prepared = intake.preparer().prepare_replay(&tenant, clock::now(), &waiting);
            let taken =
                handle.ask(|reply| Input::Block(Box::new(prepared), reply)).ok_or(ReplayError::Gone)??;
            let resolved = taken.fates.events.iter().filter(|fate| **fate == Fate::Counted).count() as u64;
            report.selected += waiting.len() as u64;
            report.resolved += resolved;
            report.waiting += waiting.len() as u64 - resolved;
        }
    }
    report.unknown = pages.unknown;
    Ok(report)
}

/// What a selection finds, by tenant, a bounded part at a time.
struct Pages<'a> {
    store: &'a dyn KeyValue,
    scope: &'a Scope,
    selection: &'a ReplaySelection,
    bounds: Bounds,
    /// Ids of the selection that were looked up.
    ids_done: usize,
    /// Those of no exception in scope.
    unknown: Vec<String>,
    /// Where to read on among all exceptions; `None` at their end.
    from: Option<Vec<u8>>,
}

impl<'a> Pages<'a> {
    fn new(
        store: &'a dyn KeyValue,
        scope: &'a Scope,
        selection: &'a ReplaySelection,
        bounds: Bounds,
    ) -> Self {
        // With ids, only those.
        let from = selection.ids.is_empty().then(Vec::new);
        Self { store, scope, selection, bounds, ids_done: 0, unknown: Vec::new(), from }
    }

    /// The next page that has something; `None` when nothing is left.
    fn next_page(&mut self) -> Result<Option<Page>, StoreError> {
        let mut page = Page::default();
        while page.exceptions < self.bounds.events && page.bytes < self.bounds.bytes {
            let Some(found) = self.read()? else { break };
            found.into_iter().for_each(|found| page.add(self.scope, found));
        }
        Ok((page.exceptions > 0).then_some(page))
    }

    /// The next few exceptions of the selection, in whatever state; `None` at the end.
    fn read(&mut self) -> Result<Option<Vec<v1::ExceptionRecord>>, StoreError> {
        let mut ids = self.selection.ids[self.ids_done..].iter().take(ROWS_PER_READ).peekable();
        if ids.peek().is_some() {
            let mut found = Vec::new();
            for id in ids {
                let record: Option<v1::ExceptionRecord> =
                    record(self.store, Keyspace::Exception, id.as_bytes())?;
                match record.filter(|record| is_in_scope(self.scope, &record.tenant)) {
                    Some(record) => found.push(record),
                    None => self.unknown.push(id.clone()),
                }
            }
            self.ids_done = (self.ids_done + ROWS_PER_READ).min(self.selection.ids.len());
            return Ok(Some(found));
        }
        let Some(from) = self.from.take() else { return Ok(None) };
        let rows = self.store.scan(Keyspace::Exception, &from, None, ROWS_PER_READ)?;
        self.from = rows.last().filter(|_| rows.len() == ROWS_PER_READ).map(|last| {
            let mut next = last.key.clone();
            next.push(0);
            next
        });
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let record: v1::ExceptionRecord = parse(Keyspace::Exception, &row.key, &row.value)?;
            if self.selection.kind.as_ref().is_none_or(|kind| *kind == record.kind) {
                found.push(record);
            }
        }
        Ok(Some(found))
    }
}

/// What can be replayed, as far as it was read.
#[derive(Default)]
struct Page {
    by_tenant: BTreeMap<TenantId, Vec<Waiting>>,
    /// Exceptions of records that were refused.
    refused: Vec<RecordId>,
    exceptions: usize,
    /// Of payloads.
    bytes: usize,
}

impl Page {
    fn add(&mut self, scope: &Scope, found: v1::ExceptionRecord) {
        let kind = ExceptionKind::ALL.into_iter().find(|kind| kind.name() == found.kind);
        let is_open = found.status == ExceptionStatus::Open.name();
        if !is_open || !is_in_scope(scope, &found.tenant) {
            return;
        }
        match kind {
            Some(ExceptionKind::RefusedByBilling | ExceptionKind::RefusedByErp) => {
                self.exceptions += 1;
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
        self.exceptions += 1;
        self.bytes += found.payload.len();
        self.by_tenant.entry(tenant).or_default().push(Waiting { of, payload: found.payload.into_bytes() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, WriteBatch};
    use tidemark_schemas::exception::ExceptionRecord;
    use tidemark_schemas::time::ReceiveTime;

    /// `count` open exceptions of two tenants, of 100 bytes each, every tenth resolved.
    fn store(count: usize) -> Memory {
        let (store, mut batch) = (Memory::new(), WriteBatch::new());
        for number in 0..count {
            let tenant = if number % 2 == 0 { "even" } else { "odd" };
            let status = if number % 10 == 9 { ExceptionStatus::Resolved } else { ExceptionStatus::Open };
            let record = ExceptionRecord {
                id: RecordId(format!("ex_{number:05}")),
                kind: ExceptionKind::UnmappedSubject,
                tenant: TenantId::new(tenant).expect("a name"),
                reason: String::new(),
                meter: None,
                customer: None,
                event: None,
                received_at: ReceiveTime::from_micros(0),
                payload: vec![b'x'; 100],
                origin: String::new(),
                status,
            };
            batch.put(
                Keyspace::Exception,
                record.id.0.as_bytes(),
                &v1::to_bytes(&v1::ExceptionRecord::from(&record)),
            );
        }
        store.commit(&batch).expect("no fault");
        store
    }

    /// Exceptions on each page, and all of them once.
    fn check(selection: &ReplaySelection, bounds: Bounds, expected_pages: &[usize]) {
        let store = store(1_000);
        let mut pages = Pages::new(&store, &Scope::Every, selection, bounds);
        let (mut sizes, mut seen) = (Vec::<usize>::new(), std::collections::BTreeSet::new());
        while let Some(page) = pages.next_page().expect("readable") {
            sizes.push(page.exceptions);
            let ids = page.by_tenant.into_values().flatten().map(|waiting| waiting.of.exception.0);
            ids.for_each(|id| assert!(seen.insert(id), "each once"));
        }
        assert_eq!(sizes, expected_pages, "{selection:?}");
        assert_eq!(seen.len(), expected_pages.iter().sum::<usize>());
    }

    #[test]
    fn a_replay_reads_a_bounded_page_at_a_time() {
        let by_kind = |kind: &str| ReplaySelection { ids: Vec::new(), kind: Some(kind.into()) };
        let unmapped = by_kind("unmapped_subject");
        let large = Bounds { events: 10_000, bytes: 1_000_000 };
        check(&unmapped, large, &[900]);
        // A page ends with the read that fills it: 64 rows, of which 57 or 58 are open.
        check(&unmapped, Bounds { events: 300, ..large }, &[346, 346, 208]);
        check(&unmapped, Bounds { bytes: 30_000, ..large }, &[346, 346, 208]);
        check(&by_kind("too_late"), large, &[]);
        let ids = (0..200).map(|number| format!("ex_{number:05}")).chain(["unknown".into()]).collect();
        check(&ReplaySelection { ids, kind: None }, Bounds { events: 100, ..large }, &[116, 64]);
    }
}
