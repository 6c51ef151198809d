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

use super::commit::{Partition, PartitionError, Staged};
use super::exceptions::exception_row;
use super::outbox::{
    Answered, answers_around, parse_record, record_at, sequence_of, stage_answers, stage_waiting, waiting_row,
};
use crate::store::codec::{Codec, destination_key, superseded_receipt_key};
use crate::store::{KeyValue, Keyspace, StoreError, WriteBatch};

/// The tenant of what several tenants share: no key's own, so that only operators see it.
const EVERY_TENANT: &str = "*";

impl Partition {
    /// Commits what destinations answered; the rows leave the outbox with it.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn receive(&mut self, receipts: &[Receipt], now: ReceiveTime) -> Result<(), PartitionError> {
        self.guarded(|partition| {
            let mut staged = partition.staged();
            for destination in Destination::ALL {
                let mut ours: Vec<_> = receipts.iter().filter(|r| r.destination == destination).collect();
                // Stable: the first answer for a record stands.
                ours.sort_by_key(|receipt| receipt.sequence);
                partition.receive_in_order(destination, &ours, &mut staged)?;
            }
            partition.commit(staged, now)
        })
    }

    /// Takes answers of one destination, by ascending number.
    fn receive_in_order(
        &mut self,
        destination: Destination,
        mut receipts: &[&Receipt],
        staged: &mut Staged,
    ) -> Result<(), StoreError> {
        let mut answered = Vec::with_capacity(receipts.len());
        while let Some(first) = receipts.first() {
            let Some(mut row) = waiting_row(&*self.store, destination, first.sequence)? else { break };
            let in_row = receipts.partition_point(|receipt| receipt.sequence <= row.last);
            let (these, rest) = receipts.split_at(in_row);
            receipts = rest;
            let before = answered.len();
            for receipt in these {
                // What waits no more has its answer.
                if row.waiting.remove(receipt.sequence) {
                    let wire = v1::Receipt::from(*receipt);
                    answered.push(Answered { sequence: receipt.sequence, receipt: wire });
                    self.note(receipt, staged)?;
                }
            }
            let key = destination_key(destination, row.last);
            match (answered.len() > before, row.waiting.is_empty()) {
                (false, _) => {}
                (true, false) => staged.batch.put(Keyspace::Outbox, &key, &row.waiting.to_bytes()),
                (true, true) => staged.batch.delete(Keyspace::Outbox, &key),
            }
        }
        *self.answered(destination) += answered.len() as u64;
        stage_answers(destination, &answered, &mut staged.batch);
        Ok(())
    }

    /// Puts the refused rows of these exceptions back in the outbox. Answers how many; a row that was accepted
    /// meanwhile, or is on its way again, is none.
    ///
    /// # Errors
    /// As [`Partition::take`].
    pub fn resend(&mut self, exceptions: &[RecordId], now: ReceiveTime) -> Result<u64, PartitionError> {
        self.guarded(|partition| {
            let (mut staged, mut resent) = (partition.staged(), 0);
            for destination in Destination::ALL {
                let mut sequences = BTreeSet::new();
                for exception in exceptions {
                    sequences.extend(refused_sequence(&*partition.store, destination, exception)?);
                }
                let store = &*partition.store;
                let again = put_back(store, destination, &sequences, &mut staged.batch)?;
                *partition.answered(destination) -= again;
                resent += again;
            }
            if resent > 0 {
                partition.commit(staged, now)?;
                partition.resent += resent;
            }
            Ok(resent)
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
    fn note(&mut self, receipt: &Receipt, staged: &mut Staged) -> Result<(), StoreError> {
        let kind = kind_of(receipt.destination);
        let id = record_id("ex", &[kind.name().as_bytes(), receipt.record.0.as_bytes()]);
        match &receipt.outcome {
            Outcome::Accepted { .. } => self.exceptions.accept(&*self.store, &mut staged.batch, &id),
            Outcome::Refused { reason } => {
                let destination = receipt.destination;
                tracing::warn!(%destination, record = %receipt.record, exception = %id, "refused: {reason}");
                let exception = self.refusal(receipt, kind, &id, reason)?;
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
    ) -> Result<v1::ExceptionRecord, StoreError> {
        let (destination, sequence) = (receipt.destination, receipt.sequence);
        let sent = record_at(&*self.store, destination, sequence, |record| Ok(record.text.to_vec()))?;
        let sent = sent.unwrap_or_default();
        let (tenant, customer, meter) = match destination {
            Destination::Billing => {
                let rated: v1::RatedSummary = parse_record(destination, sequence, &sent)?;
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
            origin: format!("{destination}, row {sequence} of the outbox"),
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

/// The number of the record that an open exception says was refused.
fn refused_sequence(
    store: &dyn KeyValue,
    destination: Destination,
    exception: &RecordId,
) -> Result<Option<u64>, StoreError> {
    let found = exception_row(store, exception)?.filter(|found| {
        found.status == ExceptionStatus::Open.name() && found.kind == kind_of(destination).name()
    });
    match found.and_then(|found| found.record) {
        Some(record) => sequence_of(store, destination, &record),
        None => Ok(None),
    }
}

/// Stages that refused records wait again, and that their refusals are history. Answers how many do: a record that was
/// accepted meanwhile, or waits already, is none.
fn put_back(
    store: &dyn KeyValue,
    destination: Destination,
    sequences: &BTreeSet<u64>,
    batch: &mut WriteBatch,
) -> Result<u64, StoreError> {
    let (mut again, mut from) = (Vec::new(), 0);
    while let Some(first) = sequences.range(from..).next() {
        let around = answers_around(store, destination, *first)?;
        from = around.last().map_or(*first, |last| last.sequence) + 1;
        let is_again = |answered: &Answered| {
            sequences.contains(&answered.sequence) && answered.receipt.outcome == v1::Receipt::REFUSED
        };
        let (refused, others): (Vec<_>, Vec<_>) = around.into_iter().partition(is_again);
        if refused.is_empty() {
            continue;
        }
        batch.delete(Keyspace::Receipt, &destination_key(destination, from - 1));
        stage_answers(destination, &others, batch);
        for Answered { sequence, receipt } in refused {
            let id = RecordId(receipt.record.clone());
            let attempt = attempts_before(store, destination, &id)? + 1;
            let history = superseded_receipt_key(destination, &id, attempt);
            batch.put(Keyspace::Receipt, &history, &v1::to_bytes(&receipt));
            again.push(sequence);
        }
    }
    stage_waiting(store, destination, &again, batch)?;
    Ok(again.len() as u64)
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
