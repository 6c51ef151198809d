//! Answers the HTTP edge: the trait it asks, implemented by the running processor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use tidemark_core::changes;
use tidemark_core::resolve::Park;
use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::receipt::{self, Receipt};
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1;
use tokio::sync::{oneshot, watch};

use super::engine::Engine;
use super::records::{is_in_scope, record};
use crate::clock;
use crate::config::Scope;
use crate::decode::envelope;
use crate::http::auth::Caller;
use crate::http::metering::{
    Acknowledgement, AcknowledgementOutcome, AcknowledgementResult, AcknowledgementStatus, DismissReport,
    DismissSelection, EventTrace, ExceptionFilter, ExceptionPage, Fate, MeterRefusal, Metering, Outcome,
    Pending, PostingTrace, RatedRow, Readiness, Reconciliation, ReplayReport, ReplaySelection, Unavailable,
    Unknown, UsageFilter, UsagePage,
};
use crate::observe::{self, Attempt};
use crate::partition::{
    Answers, Input, PartitionError, PreparedBlock, RawBlock, Taken, parked_id, parse_record, record_at,
    sequence_of,
};
use crate::store::{KeyValue, Keyspace};

/// After this a client may try again: about the time in which a full queue empties.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The running processor behind the HTTP edge.
pub struct MeteringService {
    engine: Arc<Engine>,
    prometheus: PrometheusHandle,
    rated: watch::Receiver<u64>,
}

impl MeteringService {
    /// Must be called inside the async runtime.
    #[must_use]
    pub fn new(engine: Arc<Engine>, prometheus: PrometheusHandle) -> Self {
        let mut heads = engine.handle.heads();
        let (sender, rated) = watch::channel(heads.borrow().rated);
        tokio::spawn(async move {
            while heads.changed().await.is_ok() {
                let now = heads.borrow_and_update().rated;
                sender.send_if_modified(|rated| std::mem::replace(rated, now) != now);
            }
        });
        Self { engine, prometheus, rated }
    }

    /// Runs a question to the store off the async threads.
    fn read<T: Send + 'static, E: std::fmt::Display>(
        &self,
        question: impl FnOnce(&Engine) -> Result<T, E> + Send + 'static,
    ) -> Pending<T> {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            let answer =
                tokio::task::spawn_blocking(move || question(&engine).map_err(|error| stopped(&error))).await;
            answer.unwrap_or_else(|error| Err(stopped(&error)))
        })
    }
}

impl Metering for MeteringService {
    fn submit(&self, caller: &Caller, events: Vec<Bytes>) -> Pending<Vec<Fate>> {
        if let Some(why) = &self.engine.handle.snapshot().stopped {
            let why = why.clone();
            return Box::pin(async { Err(Unavailable::Stopped { why }) });
        }
        let Some(tenant) = tenant_of(&caller.scope) else {
            return Box::pin(async {
                Err(stopped(&"an operator's key cannot send events: they need a tenant"))
            });
        };
        let count = events.len();
        let raw = raw_block(tenant, &caller.key_id, &events);
        let (sender, receiver) = oneshot::channel();
        let started = Instant::now();
        let handle = self.engine.handle.clone();
        let next = move |prepared| {
            let reply = Box::new(move |answer| {
                let _ = sender.send(answer);
            });
            // The partition's channel is bounded: a preparing thread that waits here is the back-pressure.
            let _ = handle.send(Input::Block(Box::new(prepared), reply));
        };
        if self.engine.intake.try_submit(raw, next).is_err() {
            return Box::pin(async { Err(Unavailable::Busy { retry_after: RETRY_AFTER }) });
        }
        Box::pin(async move {
            let answer: Result<Taken, Arc<PartitionError>> =
                receiver.await.map_err(|_| stopped(&"the partition is gone"))?;
            let taken = answer.map_err(|error| stopped(&error))?;
            observe::batch_committed(started.elapsed());
            Ok(fates(&taken, count))
        })
    }

    fn ready(&self) -> Result<Readiness, String> {
        if let Some(why) = &self.engine.handle.snapshot().stopped {
            return Err(why.clone());
        }
        let standing = self.engine.catalog_standing();
        Ok(Readiness {
            catalog: self.engine.intake.preparer().terms.catalog.version.to_string(),
            catalog_since: standing.since.to_string(),
            catalog_change_refused: standing.change_refused,
        })
    }

    fn rated_after(
        &self,
        scope: &Scope,
        after: u64,
        limit: usize,
    ) -> Pending<Result<Vec<RatedRow>, Unknown>> {
        let scope = scope.clone();
        self.read(move |engine| super::rated_after(&*engine.store, &scope, after, limit))
    }

    fn rated_changes(&self) -> watch::Receiver<u64> {
        self.rated.clone()
    }

    fn acknowledge(
        &self,
        caller: &Caller,
        answers: Vec<Acknowledgement>,
    ) -> Pending<Vec<AcknowledgementResult>> {
        let scope = caller.scope.clone();
        self.read(move |engine| acknowledge(engine, &scope, answers))
    }

    fn exceptions(&self, scope: &Scope, filter: ExceptionFilter) -> Pending<Result<ExceptionPage, Unknown>> {
        let scope = scope.clone();
        self.read(move |engine| super::exceptions(&*engine.store, &scope, &filter))
    }

    fn exception(&self, scope: &Scope, id: &str) -> Pending<Option<v1::ExceptionRecord>> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.read(move |engine| {
            let found = record::<v1::ExceptionRecord>(&*engine.store, Keyspace::Exception, id.as_bytes());
            found.map(|found| found.filter(|found| is_in_scope(&scope, &found.tenant)))
        })
    }

    fn replay(&self, caller: &Caller, selection: ReplaySelection) -> Pending<ReplayReport> {
        let scope = caller.scope.clone();
        tracing::info!(key = caller.key_id, ?selection, "replay of exceptions");
        self.read(move |engine| {
            super::replay(&*engine.store, &engine.handle, &engine.intake, &scope, &selection)
        })
    }

    fn dismiss(&self, caller: &Caller, selection: DismissSelection) -> Pending<DismissReport> {
        let (scope, by) = (caller.scope.clone(), format!("API key {}", caller.key_id));
        tracing::info!(key = caller.key_id, ids = selection.ids.len(), "dismissal of exceptions");
        self.read(move |engine| super::dismiss(&*engine.store, &engine.handle, &scope, &selection, &by))
    }

    fn usage(&self, scope: &Scope, filter: UsageFilter) -> Pending<Result<UsagePage, Unknown>> {
        let scope = scope.clone();
        self.read(move |engine| {
            super::usage(&*engine.store, &engine.intake.preparer().terms, &scope, &filter)
        })
    }

    fn trace_event(&self, scope: &Scope, source: &str, id: &str) -> Pending<Option<EventTrace>> {
        let (tenant, source, id) = (tenant_of(scope), source.to_owned(), id.to_owned());
        self.read(move |engine| {
            let Some(tenant) = tenant else { return Ok(None) };
            let preparer = engine.intake.preparer();
            super::trace_event(
                &*engine.store,
                &preparer,
                engine.folders.archive.as_deref(),
                &tenant,
                &source,
                &id,
            )
        })
    }

    fn trace_posting(&self, scope: &Scope, id: &str) -> Pending<Option<PostingTrace>> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.read(move |engine| {
            let preparer = engine.intake.preparer();
            super::trace_posting(&*engine.store, &preparer, engine.folders.archive.as_deref(), &scope, &id)
        })
    }

    fn reconciliation(&self, scope: &Scope) -> Pending<Reconciliation> {
        let scope = scope.clone();
        self.read(move |engine| super::reconcile(&*engine.store, &scope, &engine.folders))
    }

    fn metrics(&self) -> String {
        let (snapshot, standing) = (self.engine.handle.snapshot(), self.engine.catalog_standing());
        observe::standing(&observe::Standing {
            watermark_micros: snapshot.watermark.map(EventTime::micros),
            windows_open: snapshot.windows_open as u64,
            exceptions_open: snapshot.open_exceptions,
            identities: snapshot.progress.counts.counted + snapshot.progress.counts.exceptions
                - snapshot.progress.counts.conflicts,
            accepted_loss_events: self.engine.accepted_loss_events,
            catalog_change_refused: standing.change_refused,
            catalog_since_micros: standing.since.micros(),
            is_stopped: snapshot.stopped.is_some(),
            submit_depth: self.engine.intake.waiting(),
            commit_depth: self.engine.handle.waiting(),
            billing_pending: snapshot.progress.rated - snapshot.progress.billed,
            erp_pending: snapshot.progress.journal - snapshot.progress.booked,
        });
        self.prometheus.render()
    }
}

fn stopped(why: &dyn std::fmt::Display) -> Unavailable {
    Unavailable::Stopped { why: why.to_string() }
}

fn tenant_of(scope: &Scope) -> Option<TenantId> {
    match scope {
        Scope::Tenant(tenant) => Some(tenant.clone()),
        Scope::Every => None,
    }
}

fn raw_block(tenant: TenantId, key_id: &str, events: &[Bytes]) -> RawBlock {
    let mut text = Vec::with_capacity(events.iter().map(Bytes::len).sum());
    let mut records = Vec::with_capacity(events.len());
    for (event, place) in events.iter().zip(1..) {
        let start = u32::try_from(text.len()).expect("requests are bounded far below 4 GiB");
        text.extend_from_slice(event);
        records.push((place, start..start + event.len() as u32));
    }
    let origin = format!("HTTP, key {key_id}");
    RawBlock { tenant, origin, received_at: clock::now(), text, records, damaged: Vec::new(), position: None }
}

/// One fate per event of the request, in its order. Ids are looked up for those that every meter did not simply take.
fn fates(taken: &Taken, count: usize) -> Vec<Fate> {
    let block = &taken.prepared.block;
    let accepted = Outcome::Accepted { refused_by: Vec::new() };
    let mut fates = vec![Fate { id: None, outcome: accepted }; count];
    let place = |place: u64| place as usize - 1;
    for (event, fate) in taken.fates.events.iter().enumerate() {
        let id = || envelope(block.event_text(event)).map(|attributes| attributes.id);
        let slot = &mut fates[place(block.places[event])];
        match fate {
            changes::Fate::Counted => {
                let refused_by = refused_by(taken, event);
                if !refused_by.is_empty() {
                    *slot = Fate { id: id(), outcome: Outcome::Accepted { refused_by } };
                }
            }
            changes::Fate::Again => *slot = Fate { id: id(), outcome: Outcome::Duplicate },
            changes::Fate::Parked(kind) => {
                let reason = reason_of(&taken.fates.parked, event, *kind);
                let outcome = match kind {
                    ExceptionKind::Conflict => Outcome::Conflict { reason },
                    _ => Outcome::Waiting { kind: *kind, reason },
                };
                *slot = Fate { id: id(), outcome };
            }
        }
    }
    for rejection in &block.rejections {
        let (code, path, reason) = (rejection.code, rejection.path.clone(), rejection.reason.clone());
        let id = envelope(block.slice(&rejection.range)).map(|attributes| attributes.id);
        fates[place(rejection.place)] = Fate { id, outcome: Outcome::Rejected { code, path, reason } };
    }
    fates
}

fn reason_of(parked: &[(u32, Park)], event: usize, kind: ExceptionKind) -> String {
    let found = parked_of(parked, event).find(|park| park.kind == kind);
    found.map(|park| park.reason.clone()).unwrap_or_default()
}

/// What waits of one event; `parked` is in the order of events.
fn parked_of(parked: &[(u32, Park)], event: usize) -> impl Iterator<Item = &Park> {
    let first = parked.partition_point(|(at, _)| (*at as usize) < event);
    parked[first..].iter().take_while(move |(at, _)| *at as usize == event).map(|(_, park)| park)
}

/// The meters that could not take an event which was counted.
fn refused_by(taken: &Taken, event: usize) -> Vec<MeterRefusal> {
    let PreparedBlock { block, terms, .. } = &taken.prepared;
    let refusal = |park: &Park| {
        let meter = &terms.meter(usize::from(park.meter?)).id;
        Some(MeterRefusal {
            meter: meter.to_string(),
            code: park.kind.name().into(),
            reason: park.reason.clone(),
            exception: parked_id(block, event, park.kind, Some(meter)).to_string(),
        })
    };
    parked_of(&taken.fates.parked, event).filter_map(refusal).collect()
}

fn acknowledge(
    engine: &Engine,
    scope: &Scope,
    answers: Vec<Acknowledgement>,
) -> Result<Vec<AcknowledgementResult>, Box<dyn std::error::Error + Send + Sync>> {
    let store: &dyn KeyValue = &*engine.store;
    let (mut results, mut receipts) = (Vec::with_capacity(answers.len()), Vec::<Receipt>::new());
    for answer in answers {
        let sequence = sequence_of(store, Destination::Billing, &answer.record)?;
        let status = match sequence {
            Some(sequence) => status_of(store, scope, &answer, sequence, &receipts)?,
            None => AcknowledgementStatus::Unknown,
        };
        if let Some(sequence) = sequence.filter(|_| status == AcknowledgementStatus::Committed) {
            receipts.push(receipt_from(&answer, sequence));
        }
        results.push(AcknowledgementResult { record: answer.record, status });
    }
    if !receipts.is_empty() {
        let is_accepted = |receipt: &&Receipt| matches!(receipt.outcome, receipt::Outcome::Accepted { .. });
        let accepted = receipts.iter().filter(is_accepted).count() as u64;
        let attempt = Attempt { accepted, refused: receipts.len() as u64 - accepted, ..Attempt::default() };
        let committed = engine.handle.ask(|reply| Input::Receive(receipts, reply));
        committed.ok_or("the partition is gone")?.map_err(|error| error.to_string())?;
        observe::attempted(Destination::Billing, attempt);
    }
    Ok(results)
}

fn status_of(
    store: &dyn KeyValue,
    scope: &Scope,
    answer: &Acknowledgement,
    sequence: u64,
    before: &[Receipt],
) -> Result<AcknowledgementStatus, crate::store::StoreError> {
    let tenant = record_at(store, Destination::Billing, sequence, |record| {
        let rated: v1::RatedSummary = parse_record(Destination::Billing, sequence, record.text)?;
        Ok(rated.summary.tenant)
    })?;
    if !tenant.is_some_and(|tenant| is_in_scope(scope, &tenant)) {
        return Ok(AcknowledgementStatus::Unknown);
    }
    let stored = Answers::new(store, Destination::Billing).of(sequence)?.map(|receipt| receipt.outcome);
    let earlier = before.iter().find(|receipt| receipt.record.0 == answer.record);
    let earlier = earlier.map(|receipt| v1::Receipt::from(receipt).outcome);
    let given = match answer.outcome {
        AcknowledgementOutcome::Accepted => "accepted",
        AcknowledgementOutcome::Refused => "refused",
    };
    Ok(match stored.or(earlier) {
        None => AcknowledgementStatus::Committed,
        Some(before) if before == given => AcknowledgementStatus::Again,
        Some(_) => AcknowledgementStatus::Contradicts,
    })
}

fn receipt_from(answer: &Acknowledgement, sequence: u64) -> Receipt {
    let outcome = match answer.outcome {
        AcknowledgementOutcome::Accepted => {
            receipt::Outcome::Accepted { reference: answer.reference.clone().unwrap_or_default() }
        }
        AcknowledgementOutcome::Refused => {
            receipt::Outcome::Refused { reason: answer.reason.clone().unwrap_or_default() }
        }
    };
    Receipt {
        destination: Destination::Billing,
        record: RecordId(answer.record.clone()),
        sequence,
        outcome,
        at: clock::now(),
    }
}
