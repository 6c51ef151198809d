//! What follows from an answer? An accepted row has left; a refused one is an exception, until it is sent again and accepted.
//!
//! Keeps: the first answer to an attempt stands. A row that is sent again has the same sequence, id and bytes; the refusal
//! moves to a key of its own, numbered by attempt, so that the row is unanswered again and the history stays.

use std::collections::BTreeSet;

use tidemark_core::record::record_id;
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::limits::EXCEPTION_PAYLOAD_BYTES_MAX;
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::receipt::{Outcome, Receipt};
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::ReceiveTime;
use tidemark_schemas::wire::v1;

use super::commit::{Partition, PartitionError, Staged, sequence_of};
use super::exceptions::exception_row;
use super::load::undecodable;
use crate::store::codec::{outbox_key, receipt_key, sequence_key, superseded_receipt_key};
use crate::store::{KeyValue, Keyspace, StoreError};

/// The tenant of what several tenants share: no key's own, so that only operators see it.
const EVERY_TENANT: &str = "*";

impl Partition {
    /// Commits what destinations answered; the rows leave the outbox with it.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn receive(&mut self, receipts: &[Receipt], now: ReceiveTime) -> Result<(), PartitionError> {
        self.guarded(|partition| {
            let (mut staged, mut answered) = (partition.staged(), BTreeSet::new());
            for receipt in receipts {
                let Some(sequence) = sequence_of(&*partition.store, receipt.destination, &receipt.record)? else {
                    tracing::warn!(record = %receipt.record, "a receipt for a record that we never sent; ignored");
                    continue;
                };
                let key = receipt_key(receipt.destination, &receipt.record);
                if partition.store.get(Keyspace::Receipt, &key)?.is_some() || !answered.insert(key.clone()) {
                    // The first answer stands.
                    continue;
                }
                *partition.answered(receipt.destination) += 1;
                let bytes = v1::to_bytes(&v1::Receipt::from(receipt));
                staged.batch.put(Keyspace::Receipt, &key, &bytes);
                staged.batch.delete(Keyspace::Outbox, &outbox_key(receipt.destination, sequence));
                partition.note(receipt, sequence, &mut staged)?;
            }
            partition.commit(staged, now)
        })
    }

    /// Puts the refused rows of these exceptions back in the outbox. Answers how many; a row that was accepted
    /// meanwhile, or is on its way again, is none.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn resend(&mut self, exceptions: &[RecordId], now: ReceiveTime) -> Result<u64, PartitionError> {
        self.guarded(|partition| {
            let (mut staged, mut resent) = (partition.staged(), BTreeSet::new());
            for exception in exceptions {
                let store = &*partition.store;
                let Some((destination, record)) = refused_record(store, exception)? else { continue };
                let key = receipt_key(destination, &record);
                let Some(refusal) = store.get(Keyspace::Receipt, &key)? else { continue };
                let receipt: v1::Receipt = serde_json::from_slice(&refusal)
                    .map_err(|error| undecodable(Keyspace::Receipt, &key, &error))?;
                if receipt.outcome != v1::Receipt::REFUSED || !resent.insert(key.clone()) {
                    continue;
                }
                let sequence = sequence_of(store, destination, &record)?;
                let sequence = sequence.ok_or_else(|| {
                    undecodable(Keyspace::Receipt, &key, &"it has a receipt, but no record")
                })?;
                let attempt = attempts_before(store, destination, &record)? + 1;
                let history = superseded_receipt_key(destination, &record, attempt);
                staged.batch.put(Keyspace::Receipt, &history, &refusal);
                staged.batch.delete(Keyspace::Receipt, &key);
                staged.batch.put(Keyspace::Outbox, &outbox_key(destination, sequence), record.0.as_bytes());
                *partition.answered(destination) -= 1;
            }
            if !resent.is_empty() {
                partition.commit(staged, now)?;
                partition.resent += resent.len() as u64;
            }
            Ok(resent.len() as u64)
        })
    }

    /// How many records of a destination have an answer.
    fn answered(&mut self, destination: Destination) -> &mut u64 {
        match destination {
            Destination::Billing => &mut self.working.progress.billed,
            Destination::Erp => &mut self.working.progress.booked,
        }
    }

    /// A refusal opens the record's exception, an acceptance resolves it.
    fn note(&mut self, receipt: &Receipt, sequence: u64, staged: &mut Staged) -> Result<(), StoreError> {
        let kind = kind_of(receipt.destination);
        let id = record_id("ex", &[kind.name().as_bytes(), receipt.record.0.as_bytes()]);
        match &receipt.outcome {
            Outcome::Accepted { .. } => self.exceptions.accept(&*self.store, &mut staged.batch, &id),
            Outcome::Refused { reason } => {
                let destination = receipt.destination;
                tracing::warn!(%destination, record = %receipt.record, exception = %id, "refused: {reason}");
                let exception = self.refusal(receipt, kind, &id, reason, sequence)?;
                self.exceptions.refuse(&*self.store, &mut staged.batch, exception)
            }
        }
    }

    fn refusal(
        &self,
        receipt: &Receipt,
        kind: ExceptionKind,
        id: &RecordId,
        reason: &str,
        sequence: u64,
    ) -> Result<v1::ExceptionRecord, StoreError> {
        let (space, key) = (records_of(receipt.destination), sequence_key(sequence));
        let sent = self.store.get(space, &key)?.unwrap_or_default();
        let (tenant, customer, meter) = match receipt.destination {
            Destination::Billing => {
                let rated: v1::RatedSummary =
                    serde_json::from_slice(&sent).map_err(|error| undecodable(space, &key, &error))?;
                let summary = rated.summary;
                (summary.tenant, Some(summary.customer), Some(summary.meter))
            }
            Destination::Erp => (self.only_tenant(), None, None),
        };
        Ok(v1::ExceptionRecord {
            schema: v1::ExceptionRecord::SCHEMA.into(),
            id: id.to_string(),
            kind: kind.name().into(),
            status: ExceptionStatus::Open.name().into(),
            owner: kind.owner().into(),
            reason: reason.to_owned(),
            remedy: kind.remedy().into(),
            tenant,
            meter,
            customer,
            record: Some(receipt.record.to_string()),
            event: None,
            received_at: receipt.at.to_string(),
            origin: format!("{}, row {sequence} of the outbox", receipt.destination),
            payload: String::from_utf8_lossy(&sent[..sent.len().min(EXCEPTION_PAYLOAD_BYTES_MAX)])
                .into_owned(),
            payload_base64: None,
            dismissal: None,
        })
    }

    /// A journal entry belongs to a legal entity, which tenants can share.
    fn only_tenant(&self) -> String {
        let tenants: BTreeSet<_> =
            self.terms.catalog.customers.iter().map(|customer| customer.tenant.as_str()).collect();
        match tenants.first() {
            Some(tenant) if tenants.len() == 1 => (*tenant).to_owned(),
            _ => EVERY_TENANT.to_owned(),
        }
    }
}

fn kind_of(destination: Destination) -> ExceptionKind {
    match destination {
        Destination::Billing => ExceptionKind::RefusedByBilling,
        Destination::Erp => ExceptionKind::RefusedByErp,
    }
}

/// Where the records for a destination are.
#[must_use]
pub fn records_of(destination: Destination) -> Keyspace {
    match destination {
        Destination::Billing => Keyspace::Rated,
        Destination::Erp => Keyspace::Journal,
    }
}

/// The record that an open exception says was refused.
fn refused_record(
    store: &dyn KeyValue,
    exception: &RecordId,
) -> Result<Option<(Destination, RecordId)>, StoreError> {
    let found = exception_row(store, exception)?.filter(|found| found.status == ExceptionStatus::Open.name());
    let Some(found) = found else { return Ok(None) };
    let destination = Destination::ALL.into_iter().find(|to| kind_of(*to).name() == found.kind);
    Ok(destination.zip(found.record.map(RecordId)))
}

/// How many answers of the record are history.
fn attempts_before(
    store: &dyn KeyValue,
    destination: Destination,
    record: &RecordId,
) -> Result<u32, StoreError> {
    let mut attempts = 0;
    while store.get(Keyspace::Receipt, &superseded_receipt_key(destination, record, attempts + 1))?.is_some()
    {
        attempts += 1;
    }
    Ok(attempts)
}
