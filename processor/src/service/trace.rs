//! From one event to the journal entry it is in, and from a journal entry back to its events.
//!
//! Keeps: everything is read as of one commit. An archived event is behind a window when it was counted there, at once or
//! by a replay; what the catalog would make of an event that still waits, or was dismissed, is nobody's usage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidemark_core::batch::EventBlock;
use tidemark_core::resolve::{PlannedWindow, Resolved};
use tidemark_core::settle::line_id_of;
use tidemark_core::state::{Group, Window, WindowKey};
use tidemark_core::step::evidence_digest;
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::ids::{MeterId, TenantId};
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::summary::{Evidence, Span};
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1;

use super::records::{is_in_scope, parse, receipts};
use crate::archive::{ArchiveError, ArchivedEvent, events_between, find_event};
use crate::config::Scope;
use crate::decode::envelope;
use crate::http::metering::{EventTrace, PostingTrace, TracedEvent, TracedUsage};
use crate::partition::{
    Preparer, decode_row, members_of, parked_id, parse_record, record_at, sequence_of, sequence_of_entry,
};
use crate::store::codec::{EntryKey, window_key};
use crate::store::{KeyValue, Keyspace, Store, StoreError};

/// Events listed behind a journal entry; their number and digest cover all of them.
const EVENTS_LISTED_MAX: usize = 1_000;

/// Events decoded at once while looking for those of a window.
const EVENTS_AT_ONCE: usize = 8_192;

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("there is no archive, so events cannot be found again; set [archive] kind = \"local\"")]
    NoArchive,
}

/// Everything that one event led to. `None` when no such event was ever kept.
///
/// # Errors
/// [`TraceError`]
pub fn trace_event(
    store: &dyn Store,
    preparer: &Preparer,
    archive: Option<&Path>,
    tenant: &TenantId,
    source: &str,
    id: &str,
) -> Result<Option<EventTrace>, TraceError> {
    let folder = archive.ok_or(TraceError::NoArchive)?;
    let snapshot = store.snapshot();
    let store = &*snapshot;
    let Some(found) = find_event(store, folder, tenant.as_str(), source, id)? else { return Ok(None) };
    let (block, resolved) = preparer.resolve_again(tenant, std::slice::from_ref(&found.event));
    let exceptions = exceptions_of(store, preparer, &block)?;
    let left_out = |meter: Option<&str>| {
        exceptions.iter().find(|exception| is_left_out(exception) && exception.meter.as_deref() == meter)
    };
    let fate = match left_out(None) {
        None => "counted",
        Some(exception) if exception.status == ExceptionStatus::Open.name() => "waiting",
        Some(_) => "dismissed",
    };
    let is_left_out_by = |meter: u16| left_out(Some(meter_id(preparer, meter).as_str())).is_some();
    let counted = |meter: u16| left_out(None).is_none() && !is_left_out_by(meter);
    let mut usage = Vec::new();
    for feed in resolved.feeds.iter().filter(|feed| counted(feed.meter)) {
        let window = &resolved.windows[feed.window as usize];
        let group = group_of(preparer, &block, &resolved, window);
        if let Some(traced) = traced_usage(store, preparer, &group, window)? {
            usage.push(traced);
        }
    }
    Ok(Some(EventTrace {
        source: source.into(),
        id: id.into(),
        fate: fate.into(),
        archived_in: found.file,
        event: String::from_utf8_lossy(&found.event.raw).into_owned(),
        usage,
        exceptions,
    }))
}

fn group_of(preparer: &Preparer, block: &EventBlock, resolved: &Resolved, window: &PlannedWindow) -> Group {
    resolved.groups[window.group as usize].row(&preparer.terms, block)
}

fn traced_usage(
    store: &dyn KeyValue,
    preparer: &Preparer,
    group: &Group,
    planned: &PlannedWindow,
) -> Result<Option<TracedUsage>, StoreError> {
    let key = window_key(planned.key);
    let Some(bytes) = store.get(Keyspace::Window, &key)? else { return Ok(None) };
    let window: Window = decode_row(Keyspace::Window, &key, &bytes)?;
    let Some(meter) = preparer.terms.meter_named(&group.meter) else { return Ok(None) };
    let meter = preparer.terms.meter(meter);
    let mut traced = TracedUsage {
        customer: group.customer.to_string(),
        meter: group.meter.to_string(),
        window: Span { start: planned.key.start, end: window.end }.into(),
        state: if window.revision == 0 { "open" } else { "closed" }.into(),
        rated: Vec::new(),
        journal_entries: Vec::new(),
        receipts: Vec::new(),
    };
    for revision in 1..=window.revision {
        let id = line_id_of(meter, group, planned.key.start, revision);
        let Some(sequence) = sequence_of(store, Destination::Billing, &id.0)? else { continue };
        let Some((line, entry)) = line_at(store, sequence)? else { continue };
        traced.receipts.extend(receipts(store, Destination::Billing, &line.id)?);
        if let Some(entry) = entry.map(|entry| cut_entry(store, &entry)).transpose()?.flatten() {
            traced.receipts.extend(receipts(store, Destination::Erp, &entry.id)?);
            traced.journal_entries.push(entry);
        }
        traced.rated.push(line);
    }
    Ok(Some(traced))
}

/// A rated line and the journal entry that it is in.
fn line_at(
    store: &dyn KeyValue,
    sequence: u64,
) -> Result<Option<(v1::RatedSummary, Option<EntryKey>)>, StoreError> {
    record_at(store, Destination::Billing, sequence, |record| {
        Ok((parse_record(Destination::Billing, sequence, record.text)?, record.entry))
    })
}

/// A journal entry; `None` while it is in the making.
fn cut_entry(store: &dyn KeyValue, entry: &EntryKey) -> Result<Option<v1::JournalEntry>, StoreError> {
    let Some(sequence) = sequence_of_entry(store, entry)? else { return Ok(None) };
    record_at(store, Destination::Erp, sequence, |record| {
        parse_record(Destination::Erp, sequence, record.text)
    })
}

/// Exceptions of the one event in `block`: their ids follow from what may wait of it.
fn exceptions_of(
    store: &dyn KeyValue,
    preparer: &Preparer,
    block: &EventBlock,
) -> Result<Vec<v1::ExceptionRecord>, StoreError> {
    if block.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let meters = preparer.terms.catalog.meters.iter().map(|meter| Some(&meter.id));
    for meter in std::iter::once(None).chain(meters) {
        found.extend(exceptions_at(store, block, 0, meter)?);
    }
    Ok(found)
}

/// Exceptions of an event as a whole, or of one of its meters. A record keeps its id when a replay changes its kind.
fn exceptions_at(
    store: &dyn KeyValue,
    block: &EventBlock,
    event: usize,
    meter: Option<&MeterId>,
) -> Result<Vec<v1::ExceptionRecord>, StoreError> {
    let ids = ExceptionKind::ALL.map(|kind| parked_id(block, event, kind, meter));
    let keys: Vec<_> = ids.iter().map(|id| id.0.as_bytes()).collect();
    let rows = keys.iter().zip(store.multi_get(Keyspace::Exception, &keys)?);
    let found = rows.filter_map(|(key, row)| row.map(|row| parse(Keyspace::Exception, key, &row)));
    found.collect()
}

/// Whether what it is about is in no window: it waits, or it was dismissed.
fn is_left_out(exception: &v1::ExceptionRecord) -> bool {
    exception.status != ExceptionStatus::Resolved.name()
}

fn meter_id(preparer: &Preparer, meter: u16) -> &MeterId {
    &preparer.terms.meter(usize::from(meter)).id
}

/// A journal entry, the rated lines in it, and the events behind them, with the proof that these are all.
///
/// # Errors
/// [`TraceError`]
pub fn trace_posting(
    store: &dyn Store,
    preparer: &Preparer,
    archive: Option<&Path>,
    scope: &Scope,
    id: &str,
) -> Result<Option<PostingTrace>, TraceError> {
    let snapshot = store.snapshot();
    let store = &*snapshot;
    let Some(sequence) = sequence_of(store, Destination::Erp, id)? else { return Ok(None) };
    let found = record_at(store, Destination::Erp, sequence, |record| {
        let entry: v1::JournalEntry = parse_record(Destination::Erp, sequence, record.text)?;
        Ok((entry, record.entry))
    })?;
    let Some((journal_entry, Some(entry))) = found else { return Ok(None) };
    let mut rated: Vec<v1::RatedSummary> = Vec::new();
    for sequence in members_of(store, &entry)?.from(0) {
        rated.extend(line_at(store, sequence)?.map(|(line, _)| line));
    }
    if !rated.iter().all(|line| is_in_scope(scope, &line.summary.tenant)) {
        return Ok(None);
    }
    let receipts = receipts(store, Destination::Erp, id)?;
    let behind = match archive {
        Some(folder) => Some(events_behind(store, preparer, folder, &rated)?),
        None => None,
    };
    let (events, events_total, evidence_matches) = match behind {
        Some(behind) => (behind.listed, behind.total, Some(behind.matches)),
        None => (Vec::new(), 0, None),
    };
    Ok(Some(PostingTrace { journal_entry, rated, receipts, events, events_total, evidence_matches }))
}

struct Behind {
    listed: Vec<TracedEvent>,
    total: u64,
    matches: bool,
}

/// Every archived event that was counted in a window of these lines. The windows' evidence says whether any is missing or too many.
fn events_behind(
    store: &dyn KeyValue,
    preparer: &Preparer,
    folder: &Path,
    rated: &[v1::RatedSummary],
) -> Result<Behind, TraceError> {
    let spans: Vec<Span> = rated.iter().filter_map(|line| span_of(&line.summary.window)).collect();
    let Some(start) = spans.iter().map(|span| span.start).min() else {
        return Ok(Behind { listed: Vec::new(), total: 0, matches: true });
    };
    let end = spans.iter().map(|span| span.end).max().unwrap_or(start);
    let wanted: BTreeSet<LineKey> =
        rated.iter().filter(|line| line.summary.evidence.events > 0).map(LineKey::of).collect();
    let mut search = Search { store, preparer, wanted, found: BTreeMap::new(), listed: Vec::new(), total: 0 };
    let (mut read, mut taken) = (Vec::new(), Ok(()));
    events_between(store, folder, Span { start, end }, &mut |event| {
        read.push(event.into_owned());
        if read.len() == EVENTS_AT_ONCE {
            let events = std::mem::take(&mut read);
            // After a failure the rest is only read: what walks the archive cannot be told to stop.
            if taken.is_ok() {
                taken = search.take(&events);
            }
        }
    })?;
    taken?;
    search.take(&read)?;
    let mut matches = true;
    for (key, evidence) in &search.found {
        let bytes = store.get(Keyspace::Window, &window_key(*key))?;
        let row = bytes
            .map(|bytes| decode_row::<Window>(Keyspace::Window, &window_key(*key), &bytes))
            .transpose()?;
        matches &= row.is_some_and(|window| window.evidence == *evidence);
    }
    let windows_with_events = rated.iter().filter(|line| line.summary.evidence.events > 0).map(LineKey::of);
    matches &= windows_with_events.collect::<BTreeSet<_>>().len() == search.found.len();
    Ok(Behind { listed: search.listed, total: search.total, matches })
}

/// What tells one window from another in a rated line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineKey {
    subscription: String,
    meter: String,
    dimensions: Vec<String>,
    start: String,
}

impl LineKey {
    fn of(line: &v1::RatedSummary) -> Self {
        let summary = &line.summary;
        // Ordered by the dimensions' names, as they are in the record.
        let dimensions = summary.dimensions.values().cloned().collect();
        let start = summary.window.start.clone();
        Self { subscription: summary.subscription.clone(), meter: summary.meter.clone(), dimensions, start }
    }
}

struct Search<'a> {
    store: &'a dyn KeyValue,
    preparer: &'a Preparer,
    wanted: BTreeSet<LineKey>,
    found: BTreeMap<WindowKey, Evidence>,
    listed: Vec<TracedEvent>,
    total: u64,
}

impl Search<'_> {
    /// Looks at archived events, tenant by tenant.
    fn take(&mut self, events: &[ArchivedEvent<'_>]) -> Result<(), StoreError> {
        events.chunk_by(|a, b| a.tenant == b.tenant).try_for_each(|events| self.take_tenant(events))
    }

    fn take_tenant(&mut self, events: &[ArchivedEvent<'_>]) -> Result<(), StoreError> {
        let Some(tenant) = events.first().and_then(|event| TenantId::new(&event.tenant).ok()) else {
            return Ok(());
        };
        let (block, resolved) = self.preparer.resolve_again(&tenant, events);
        for (at, event) in resolved.events.iter().enumerate() {
            let feeds = &resolved.feeds[event.feeds.start as usize..event.feeds.end as usize];
            let counted_at_once = events[block.places[at] as usize - 1].counted;
            let mut is_behind = false;
            for feed in feeds {
                let window = &resolved.windows[feed.window as usize];
                if self.is_wanted(&group_of(self.preparer, &block, &resolved, window), window)
                    && self.is_counted(&block, at, counted_at_once, feed.meter)?
                {
                    is_behind = true;
                    let evidence = self.found.entry(window.key).or_default();
                    evidence.events += 1;
                    evidence.digest =
                        evidence.digest.wrapping_add(evidence_digest(&self.preparer.key(), &block, at));
                }
            }
            if is_behind {
                self.total += 1;
                if self.listed.len() < EVENTS_LISTED_MAX {
                    self.listed.extend(envelope(block.event_text(at)).map(|attributes| TracedEvent {
                        source: attributes.source,
                        id: attributes.id,
                        time: attributes.time.to_string(),
                    }));
                }
            }
        }
        Ok(())
    }

    /// Whether the event was counted for this meter. Of those that were counted at once, single meters may
    /// wait still, or have been dismissed.
    fn is_counted(
        &self,
        block: &EventBlock,
        event: usize,
        counted_at_once: bool,
        meter: u16,
    ) -> Result<bool, StoreError> {
        let left_out = |meter| -> Result<bool, StoreError> {
            Ok(exceptions_at(self.store, block, event, meter)?.iter().any(is_left_out))
        };
        let left_out_whole = !counted_at_once && left_out(None)?;
        Ok(!left_out_whole && !left_out(Some(meter_id(self.preparer, meter)))?)
    }

    fn is_wanted(&self, group: &Group, window: &PlannedWindow) -> bool {
        let terms = &self.preparer.terms;
        let Some(meter) = terms.meter_named(&group.meter) else { return false };
        let named: BTreeMap<_, _> =
            terms.meter(meter).dimensions.iter().zip(&group.dimension_values).collect();
        let key = LineKey {
            subscription: group.subscription.to_string(),
            meter: group.meter.to_string(),
            dimensions: named.into_values().cloned().collect(),
            start: window.key.start.to_string(),
        };
        self.wanted.contains(&key)
    }
}

fn span_of(span: &v1::Span) -> Option<Span> {
    let time = |text: &str| EventTime::parse(text.as_bytes()).ok();
    Some(Span { start: time(&span.start)?, end: time(&span.end)? })
}
