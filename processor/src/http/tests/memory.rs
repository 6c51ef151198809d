//! The product, in memory: just enough rules to tell the fates of events apart.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::Value;
use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1;
use tokio::sync::{Notify, watch};

use crate::config::Scope;
use crate::http::auth::Caller;
use crate::http::metering::{
    Acknowledgement, AcknowledgementResult, AcknowledgementStatus, DismissReport, DismissSelection,
    EventTrace, ExceptionFilter, ExceptionPage, Fate, MeterRefusal, Metering, Outcome, Pending, PostingTrace,
    RatedRow, Readiness, Reconciliation, ReconciliationCheck, ReplayReport, ReplaySelection, Unavailable,
    Unknown, UsageFilter, UsagePage, UsageRow,
};

#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
    added: watch::Sender<u64>,
    /// Told each time rated summaries are read.
    read: Notify,
}

#[derive(Default)]
struct State {
    seen: BTreeMap<(String, String), Value>,
    requests: Vec<(Caller, Vec<Bytes>)>,
    rated: Vec<RatedRow>,
    acknowledged: Vec<Acknowledgement>,
    unavailable: Option<Unavailable>,
}

impl Memory {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while holding it")
    }

    pub fn fail_with(&self, unavailable: Unavailable) {
        self.state().unavailable = Some(unavailable);
    }

    /// Number of requests that reached the product.
    pub fn requests(&self) -> usize {
        self.state().requests.len()
    }

    /// Events of the last request, as the product got them.
    pub fn last_events(&self) -> Vec<String> {
        let state = self.state();
        let (_, events) = state.requests.last().expect("a request came in");
        events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect()
    }

    pub fn last_caller(&self) -> Caller {
        self.state().requests.last().expect("a request came in").0.clone()
    }

    pub fn acknowledged(&self) -> Vec<Acknowledgement> {
        self.state().acknowledged.clone()
    }

    /// Returns once rated summaries have been read.
    pub async fn was_read(&self) {
        let read = tokio::time::timeout(std::time::Duration::from_secs(30), self.read.notified());
        read.await.expect("a reader comes");
    }

    pub fn add_rated(&self, wire: &str) {
        let sequence = {
            let mut state = self.state();
            let sequence = state.rated.len() as u64 + 1;
            state.rated.push(RatedRow { sequence, wire: wire.into() });
            sequence
        };
        self.added.send_replace(sequence);
    }
}

impl State {
    fn fate(&mut self, event: &[u8]) -> Fate {
        let rejected = |code, path: &str, reason: &str| Outcome::Rejected {
            code,
            path: path.into(),
            reason: reason.into(),
        };
        let Ok(event) = serde_json::from_slice::<Value>(event) else {
            return Fate { id: None, outcome: rejected("invalid_json", "$", "not JSON") };
        };
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let (Some(id), Some(source)) = (text("id"), text("source")) else {
            return Fate { id: text("id"), outcome: rejected("missing_attribute", "$.source", "no source") };
        };
        let outcome = match self.seen.get(&(source.clone(), id.clone())) {
            Some(before) if *before == event => Outcome::Duplicate,
            Some(_) => Outcome::Conflict { reason: format!("`{id}` was seen with other content") },
            None if event["type"] == "unknown" => Outcome::Waiting {
                kind: ExceptionKind::UnknownMeter,
                reason: "no meter reads `unknown`".into(),
            },
            None => {
                let refused = event["type"] == "partly";
                self.seen.insert((source, id.clone()), event);
                let refused_by = match refused {
                    false => Vec::new(),
                    true => vec![MeterRefusal {
                        meter: "tokens".into(),
                        code: "refused_value".into(),
                        reason: "`tokens` is not a number".into(),
                        exception: "ex_1".into(),
                    }],
                };
                Outcome::Accepted { refused_by }
            }
        };
        Fate { id: Some(id), outcome }
    }
}

fn now<T: Send + 'static>(answer: Result<T, Unavailable>) -> Pending<T> {
    Box::pin(std::future::ready(answer))
}

impl Metering for Memory {
    fn submit(&self, caller: &Caller, events: Vec<Bytes>) -> Pending<Vec<Fate>> {
        let mut state = self.state();
        if let Some(unavailable) = state.unavailable.clone() {
            return now(Err(unavailable));
        }
        let fates = events.iter().map(|event| state.fate(event)).collect();
        state.requests.push((caller.clone(), events));
        now(Ok(fates))
    }

    fn ready(&self) -> Result<Readiness, String> {
        if let Some(why) = &self.state().unavailable {
            return Err(why.to_string());
        }
        let (catalog, catalog_since) = ("v1".into(), "2026-01-01T00:00:00Z".into());
        Ok(Readiness { catalog, catalog_since, catalog_change_refused: false })
    }

    fn rated_after(&self, _: &Scope, after: u64, limit: usize) -> Pending<Result<Vec<RatedRow>, Unknown>> {
        let rows =
            self.state().rated.iter().filter(|row| row.sequence > after).take(limit).cloned().collect();
        self.read.notify_one();
        let newest = self.state().rated.len() as u64;
        let unknown = Unknown(format!("after={after} is beyond the newest cursor, {newest}"));
        now(Ok(if after > newest { Err(unknown) } else { Ok(rows) }))
    }

    fn rated_changes(&self) -> watch::Receiver<u64> {
        self.added.subscribe()
    }

    fn acknowledge(&self, _: &Caller, answers: Vec<Acknowledgement>) -> Pending<Vec<AcknowledgementResult>> {
        let committed = |answer: &Acknowledgement| AcknowledgementResult {
            record: answer.record.clone(),
            status: AcknowledgementStatus::Committed,
        };
        let results = answers.iter().map(committed).collect();
        self.state().acknowledged.extend(answers);
        now(Ok(results))
    }

    fn exceptions(&self, _: &Scope, filter: ExceptionFilter) -> Pending<Result<ExceptionPage, Unknown>> {
        let next = filter.kind.map(|kind| format!("{kind}/{}", filter.limit));
        now(Ok(Ok(ExceptionPage { items: Vec::new(), next })))
    }

    fn exception(&self, _: &Scope, _: &str) -> Pending<Option<v1::ExceptionRecord>> {
        now(Ok(None))
    }

    fn replay(&self, _: &Caller, selection: ReplaySelection) -> Pending<ReplayReport> {
        let selected = selection.ids.len() as u64;
        now(Ok(ReplayReport { selected, resolved: selected, ..ReplayReport::default() }))
    }

    fn dismiss(&self, _: &Caller, selection: DismissSelection) -> Pending<DismissReport> {
        now(Ok(DismissReport { dismissed: selection.ids.len() as u64, ..DismissReport::default() }))
    }

    fn usage(&self, scope: &Scope, filter: UsageFilter) -> Pending<Result<UsagePage, Unknown>> {
        let Scope::Tenant(tenant) = scope else {
            return now(Ok(Ok(UsagePage { items: Vec::new(), next: None })));
        };
        if filter.after.is_some() {
            return now(Ok(Err(Unknown("after: not the `next` of a page of usage".into()))));
        }
        let time = |time: Option<EventTime>| time.map_or_else(|| "any".into(), |time| time.to_string());
        let dimensions = filter.group_by.into_iter().map(|name| (name, "any".into())).collect();
        let row = UsageRow {
            tenant: tenant.to_string(),
            customer: filter.customer.unwrap_or_else(|| tenant.to_string()),
            meter: filter.meter.unwrap_or_else(|| "api_calls".into()),
            period: v1::Span { start: time(filter.from), end: time(filter.to) },
            dimensions,
            quantity: "12345678901234567890.5".into(),
            events: 2,
            unit: "call".into(),
        };
        now(Ok(Ok(UsagePage { items: vec![row], next: Some(filter.limit.to_string()) })))
    }

    fn trace_event(&self, _: &Scope, source: &str, id: &str) -> Pending<Option<EventTrace>> {
        let seen = self.state().seen.contains_key(&(source.into(), id.into()));
        now(Ok(seen.then(|| EventTrace {
            source: source.into(),
            id: id.into(),
            archived_in: None,
            event: "{}".into(),
            fate: "counted".into(),
            usage: Vec::new(),
            exceptions: Vec::new(),
        })))
    }

    fn trace_posting(&self, _: &Scope, _: &str) -> Pending<Option<PostingTrace>> {
        now(Ok(None))
    }

    fn reconciliation(&self, _: &Scope) -> Pending<Reconciliation> {
        let check = ReconciliationCheck {
            name: "rated = billed".into(),
            unit: "EUR".into(),
            left: "100".into(),
            right: "90".into(),
            difference: "10".into(),
            in_flight: "10".into(),
            ties_out: true,
            minor_units: None,
            note: None,
        };
        now(Ok(Reconciliation { ties_out: true, checks: vec![check], accepted_losses: Vec::new() }))
    }

    fn metrics(&self) -> String {
        "# TYPE tidemark_build_info gauge\ntidemark_build_info 1\n".into()
    }
}
