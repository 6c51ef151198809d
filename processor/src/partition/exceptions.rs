//! Turns what waits into exception records, and closes them when a replay has counted them or a person dismisses them.
//!
//! A record's id is a function of what waits, so the same event never waits twice; a record that exists is not
//! overwritten, because someone may have looked at it already. So what was dismissed stays dismissed when it comes again.

use tidemark_core::batch::EventBlock;
use tidemark_core::changes::Changes;
use tidemark_core::record::record_id;
use tidemark_core::resolve::Park;
use tidemark_core::terms::Terms;
use tidemark_core::working::Working;
use tidemark_schemas::exception::{ExceptionKind, ExceptionRecord, ExceptionStatus};
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::limits::EXCEPTION_PAYLOAD_BYTES_MAX;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::ReceiveTime;
use tidemark_schemas::wire::v1;

use super::load::undecodable;
use super::prepare::PreparedBlock;
use crate::decode::envelope;
use crate::store::{KeyValue, Keyspace, StoreError, WriteBatch};

/// How many exceptions are open, with what the commit in the making changes.
#[derive(Debug, Default)]
pub struct Exceptions {
    open: u64,
    opened: u64,
    closed: u64,
    /// Ids opened or resolved in this batch already: the store does not show it yet.
    staged: std::collections::BTreeSet<String>,
}

impl Exceptions {
    #[must_use]
    pub fn new(open: u64) -> Self {
        Self { open, ..Self::default() }
    }

    #[must_use]
    pub fn open(&self) -> u64 {
        self.open
    }

    pub fn committed(&mut self) {
        self.open =
            (self.open + std::mem::take(&mut self.opened)).saturating_sub(std::mem::take(&mut self.closed));
        self.staged.clear();
    }

    /// Records inputs that are no valid event.
    pub fn reject(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        block: &EventBlock,
    ) -> Result<(), StoreError> {
        for rejection in &block.rejections {
            let payload = cut(block.slice(&rejection.range));
            let record = ExceptionRecord {
                id: record_id("ex", &[b"malformed", block.tenant.as_str().as_bytes(), payload]),
                kind: ExceptionKind::Malformed,
                tenant: block.tenant.clone(),
                reason: format!("{} at {}: {}", rejection.code, rejection.path, rejection.reason),
                meter: None,
                customer: None,
                event: envelope(payload),
                received_at: block.received_at,
                payload: payload.to_vec(),
                origin: format!("{}, record {}", block.origin, rejection.place),
                status: ExceptionStatus::Open,
            };
            self.put_new(store, batch, &record)?;
        }
        Ok(())
    }

    /// Records events, or single meters of events, that wait.
    pub fn park(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        terms: &Terms,
        prepared: &PreparedBlock,
        parked: &[(u32, Park)],
    ) -> Result<(), StoreError> {
        let block = &prepared.block;
        for (event, park) in parked {
            let at = *event as usize;
            if let Some(replay) = block.replays.get(at)
                && (park.meter.is_none() || replay.meter.is_some())
            {
                self.still_waits(store, batch, &replay.exception, park)?;
                continue;
            }
            let meter = park.meter.map(|meter| terms.meter(usize::from(meter)).id.clone());
            let payload = cut(block.event_text(at));
            let customer =
                prepared.resolved.events[at].customer.map(|customer| terms.customer(customer).id.clone());
            let record = ExceptionRecord {
                id: parked_id(block, at, park.kind, meter.as_ref()),
                kind: park.kind,
                tenant: block.tenant.clone(),
                reason: park.reason.clone(),
                meter,
                customer,
                event: envelope(payload),
                received_at: block.received_at,
                payload: payload.to_vec(),
                origin: format!("{}, record {}", block.origin, block.places[at]),
                status: ExceptionStatus::Open,
            };
            self.put_new(store, batch, &record)?;
        }
        Ok(())
    }

    /// Windows whose price does not fit a number.
    pub fn park_unratable(
        &mut self,
        batch: &mut WriteBatch,
        working: &Working,
        changes: &Changes,
        now: ReceiveTime,
    ) {
        for unratable in &changes.unratable {
            let group =
                working.groups.get(&unratable.window.group).expect("a settled window's group is loaded");
            let record = ExceptionRecord {
                id: unratable.id.clone(),
                kind: ExceptionKind::Unratable,
                tenant: group.tenant.clone(),
                reason: format!("window from {}: {}", unratable.window.start, unratable.reason),
                meter: Some(group.meter.clone()),
                customer: Some(group.customer.clone()),
                event: None,
                received_at: now,
                payload: Vec::new(),
                origin: format!("subscription {}", group.subscription),
                status: ExceptionStatus::Open,
            };
            batch.put(
                Keyspace::Exception,
                record.id.0.as_bytes(),
                &v1::to_bytes(&v1::ExceptionRecord::from(&record)),
            );
            self.opened += 1;
        }
    }

    /// Whether the exception waits still, also after what this commit has resolved so far.
    pub fn is_open(&self, store: &dyn KeyValue, id: &RecordId) -> Result<bool, StoreError> {
        if self.staged.contains(&id.0) {
            return Ok(false);
        }
        Ok(exception_row(store, id)?.is_some_and(|record| record.status == ExceptionStatus::Open.name()))
    }

    /// Marks the exceptions of replayed events as resolved.
    pub fn resolve(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        block: &EventBlock,
        resolved: &[u32],
    ) -> Result<(), StoreError> {
        for event in resolved {
            let id = &block.replays[*event as usize].exception;
            let Some(mut record) = exception_row(store, id)? else { continue };
            record.status = ExceptionStatus::Resolved.name().into();
            batch.put(Keyspace::Exception, id.0.as_bytes(), &v1::to_bytes(&record));
            self.staged.insert(id.0.clone());
            self.closed += 1;
        }
        Ok(())
    }

    /// A destination has refused a record, or has refused it again.
    pub fn refuse(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        mut record: v1::ExceptionRecord,
    ) -> Result<(), StoreError> {
        let before = exception_row(store, &RecordId(record.id.clone()))?;
        match before.filter(|before| before.status == ExceptionStatus::Open.name()) {
            // Its age counts from the first refusal.
            Some(before) => record.received_at = before.received_at,
            None => self.opened += 1,
        }
        batch.put(Keyspace::Exception, record.id.as_bytes(), &v1::to_bytes(&record));
        Ok(())
    }

    /// A destination has accepted a record: what it refused before is resolved.
    pub fn accept(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        id: &RecordId,
    ) -> Result<(), StoreError> {
        if self.open == 0 {
            // Nearly always: no look-up for each accepted row.
            return Ok(());
        }
        let found = exception_row(store, id)?;
        let Some(mut record) = found.filter(|found| found.status == ExceptionStatus::Open.name()) else {
            return Ok(());
        };
        record.status = ExceptionStatus::Resolved.name().into();
        batch.put(Keyspace::Exception, id.0.as_bytes(), &v1::to_bytes(&record));
        self.closed += 1;
        Ok(())
    }

    /// Closes what is open of `ids` without counting it; it stays in the sum of I-8 as an exception. Answers how many.
    pub fn dismiss(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        ids: &[RecordId],
        dismissal: &v1::Dismissal,
    ) -> Result<u64, StoreError> {
        let mut dismissed = 0;
        for id in ids {
            if !self.is_open(store, id)? {
                continue;
            }
            let Some(mut record) = exception_row(store, id)? else { continue };
            record.status = ExceptionStatus::Dismissed.name().into();
            record.dismissal = Some(dismissal.clone());
            batch.put(Keyspace::Exception, id.0.as_bytes(), &v1::to_bytes(&record));
            self.staged.insert(id.0.clone());
            dismissed += 1;
        }
        self.closed += dismissed;
        Ok(dismissed)
    }

    /// A replay that did not help: the record says why now.
    fn still_waits(
        &self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        id: &RecordId,
        park: &Park,
    ) -> Result<(), StoreError> {
        if let Some(mut record) = exception_row(store, id)? {
            record.kind = park.kind.name().into();
            record.reason.clone_from(&park.reason);
            record.owner = park.kind.owner().into();
            record.remedy = park.kind.remedy().into();
            batch.put(Keyspace::Exception, id.0.as_bytes(), &v1::to_bytes(&record));
        }
        Ok(())
    }

    fn put_new(
        &mut self,
        store: &dyn KeyValue,
        batch: &mut WriteBatch,
        record: &ExceptionRecord,
    ) -> Result<(), StoreError> {
        let is_new = !self.staged.contains(&record.id.0)
            && store.get(Keyspace::Exception, record.id.0.as_bytes())?.is_none();
        if is_new {
            batch.put(
                Keyspace::Exception,
                record.id.0.as_bytes(),
                &v1::to_bytes(&v1::ExceptionRecord::from(record)),
            );
            self.staged.insert(record.id.0.clone());
            self.opened += 1;
        }
        Ok(())
    }
}

/// One stored exception.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn exception_row(store: &dyn KeyValue, id: &RecordId) -> Result<Option<v1::ExceptionRecord>, StoreError> {
    let Some(bytes) = store.get(Keyspace::Exception, id.0.as_bytes())? else { return Ok(None) };
    let record = serde_json::from_slice(&bytes);
    record.map(Some).map_err(|error| undecodable(Keyspace::Exception, id.0.as_bytes(), &error))
}

/// The exception of an event that waits, or of one of its meters that waits alone.
#[must_use]
pub fn parked_id(block: &EventBlock, event: usize, kind: ExceptionKind, meter: Option<&MeterId>) -> RecordId {
    let (identity, digest) = (block.identities[event].0.to_be_bytes(), block.digests[event].0.to_be_bytes());
    let meter = meter.map_or("", MeterId::as_str);
    record_id("ex", &[kind.name().as_bytes(), &identity, &digest, meter.as_bytes()])
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(EXCEPTION_PAYLOAD_BYTES_MAX)]
}
