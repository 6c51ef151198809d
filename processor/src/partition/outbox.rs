//! What has to leave, in which order, and what was answered? Records for a destination are numbered from 1 without gaps,
//! and lie in rows of many, as do the numbers that wait and the answers: windows close in crowds, and destinations answer
//! for hundreds at once.
//!
//! Keeps: I-4, because records and the numbers that wait are staged together. A record is answered exactly when its number
//! waits no more. Rows end with their last number, so the first row at or above a number is the only one that can have it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use tidemark_core::changes::Changes;
use tidemark_schemas::outbox::{Destination, OutboxRow};
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::wire::v1;

use super::load::{decode, undecodable};
use crate::store::codec::{
    Codec, EntryKey, RECORDS_PER_ROW_MAX, Record, Records, Sequences, Stored, destination_key, entry_key,
    members_key, pack_records, sequence_from, sequence_key,
};
use crate::store::{KeyValue, Keyspace, StoreError, WriteBatch};

/// Rows of records read at once.
const ROWS_PER_READ: usize = 16;

/// Where the records for a destination are.
fn records_of(destination: Destination) -> Keyspace {
    match destination {
        Destination::Billing => Keyspace::Rated,
        Destination::Erp => Keyspace::Journal,
    }
}

/// Where a record's number is found by its id.
fn index_of(destination: Destination) -> Keyspace {
    match destination {
        Destination::Billing => Keyspace::RatedIndex,
        Destination::Erp => Keyspace::JournalIndex,
    }
}

/// A record to be stored: what [`Stored`] borrows.
struct Made {
    id: RecordId,
    entry: Option<EntryKey>,
    text: Vec<u8>,
}

/// Stages what a commit made: the records, their numbers in the outbox (I-4), and how each is found.
pub(super) fn stage(changes: &Changes, batch: &mut WriteBatch) {
    let mut members: BTreeMap<EntryKey, Sequences> = BTreeMap::new();
    let lines = changes.rated.iter().map(|row| {
        let entry = row.entry.map(|(posting, number)| entry_key(posting, number));
        if let Some(entry) = entry {
            members.entry(entry).or_default().insert(row.sequence);
        }
        let text = v1::to_bytes(&v1::RatedSummary::from(&row.rated));
        Made { id: row.rated.id.clone(), entry, text }
    });
    let first = changes.rated.first().map(|row| row.sequence);
    stage_records(Destination::Billing, first, lines, batch);
    let entries = changes.journal.iter().map(|row| {
        let entry = entry_key(row.posting, row.entry.number);
        batch.put(Keyspace::JournalIndex, &entry, &sequence_key(row.sequence));
        let text = v1::to_bytes(&v1::JournalEntry::from(&row.entry));
        Made { id: row.entry.id.clone(), entry: Some(entry), text }
    });
    let entries: Vec<Made> = entries.collect();
    let first = changes.journal.first().map(|row| row.sequence);
    stage_records(Destination::Erp, first, entries.into_iter(), batch);
    for (entry, sequences) in members {
        let last = sequences.last().expect("an entry is listed with its first member");
        batch.put(Keyspace::JournalMember, &members_key(entry, last), &sequences.to_bytes());
    }
}

/// `records` are numbered from `first` on.
fn stage_records(
    destination: Destination,
    first: Option<u64>,
    mut records: impl Iterator<Item = Made>,
    batch: &mut WriteBatch,
) {
    let Some(mut first) = first else { return };
    loop {
        let row: Vec<Made> = records.by_ref().take(RECORDS_PER_ROW_MAX).collect();
        if row.is_empty() {
            return;
        }
        let next = first + row.len() as u64;
        let stored: Vec<_> =
            row.iter().map(|made| Stored { id: &made.id, entry: made.entry, text: &made.text }).collect();
        batch.put(records_of(destination), &sequence_key(next - 1), &pack_records(&stored));
        batch.put(
            Keyspace::Outbox,
            &destination_key(destination, next - 1),
            &Sequences::range(first, next - 1).to_bytes(),
        );
        for (made, sequence) in row.iter().zip(first..) {
            batch.put(index_of(destination), made.id.0.as_bytes(), &sequence_key(sequence));
        }
        first = next;
    }
}

/// The place of a record in its destination's order.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn sequence_of(
    store: &dyn KeyValue,
    destination: Destination,
    id: &str,
) -> Result<Option<u64>, StoreError> {
    sequence_at(store, index_of(destination), id.as_bytes())
}

/// The place of a journal entry in the ERP's order; `None` while it is in the making.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn sequence_of_entry(store: &dyn KeyValue, entry: &EntryKey) -> Result<Option<u64>, StoreError> {
    sequence_at(store, Keyspace::JournalIndex, entry)
}

fn sequence_at(store: &dyn KeyValue, space: Keyspace, key: &[u8]) -> Result<Option<u64>, StoreError> {
    let found = store.get(space, key)?;
    found.map(|row| sequence_from(&row).map_err(|damaged| undecodable(space, key, &damaged))).transpose()
}

/// A row of records with consecutive numbers.
struct RecordRow {
    first: u64,
    last: u64,
    records: Records,
}

impl RecordRow {
    fn read(space: Keyspace, key: &[u8], value: &[u8], sequence_at: usize) -> Result<Self, StoreError> {
        let damaged = |damaged: crate::store::codec::Damaged| undecodable(space, key, &damaged);
        let last = sequence_from(key.get(sequence_at..).unwrap_or_default()).map_err(damaged)?;
        let records = Records::unpack(value).map_err(damaged)?;
        let count = records.len() as u64;
        match (last + 1).checked_sub(count) {
            Some(first) if count > 0 => Ok(Self { first, last, records }),
            _ => Err(undecodable(space, key, &"it has none of the records that it should have")),
        }
    }

    fn get(&self, sequence: u64) -> Option<Record<'_>> {
        let at = sequence.checked_sub(self.first)?;
        (sequence <= self.last).then(|| self.records.get(at as usize))
    }
}

/// The row that holds a record, if it was reached.
fn row_of(
    store: &dyn KeyValue,
    destination: Destination,
    sequence: u64,
) -> Result<Option<RecordRow>, StoreError> {
    let space = records_of(destination);
    let rows = store.scan(space, &sequence_key(sequence), None, 1)?;
    rows.first().map(|row| RecordRow::read(space, &row.key, &row.value, 0)).transpose()
}

/// Calls `take` with the record that has this number. `None` when there is none.
///
/// # Errors
/// [`StoreError`] when it cannot be read, or of `take`.
pub fn record_at<T>(
    store: &dyn KeyValue,
    destination: Destination,
    sequence: u64,
    take: impl FnOnce(Record<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let row = row_of(store, destination, sequence)?;
    row.as_ref().and_then(|row| row.get(sequence)).map(take).transpose()
}

/// Calls `take` with every record from number `from` on, in order, until it answers `false`.
///
/// # Errors
/// [`StoreError`], of the store or of `take`.
pub fn each_record(
    store: &dyn KeyValue,
    destination: Destination,
    from: u64,
    mut take: impl FnMut(u64, Record<'_>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let (space, mut next) = (records_of(destination), from);
    loop {
        let rows = store.scan(space, &sequence_key(next), None, ROWS_PER_READ)?;
        for row in &rows {
            let row = RecordRow::read(space, &row.key, &row.value, 0)?;
            for sequence in next.max(row.first)..=row.last {
                let record = row.get(sequence).expect("the row has this number");
                if !take(sequence, record)? {
                    return Ok(());
                }
            }
            next = row.last + 1;
        }
        if rows.len() < ROWS_PER_READ {
            return Ok(());
        }
    }
}

/// A stored record as what it is.
///
/// # Errors
/// [`StoreError::Undecodable`]
pub fn parse_record<T: DeserializeOwned>(
    destination: Destination,
    sequence: u64,
    text: &[u8],
) -> Result<T, StoreError> {
    let (space, key) = (records_of(destination), sequence_key(sequence));
    serde_json::from_slice(text).map_err(|error| undecodable(space, &key, &error))
}

/// Numbers of the rated lines in a journal entry, ascending.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub fn members_of(store: &dyn KeyValue, entry: &EntryKey) -> Result<Sequences, StoreError> {
    let (mut members, mut from) = (Sequences::default(), members_key(*entry, 0).to_vec());
    let mut to = entry.to_vec();
    to.extend([0xFF; 9]);
    loop {
        let rows = store.scan(Keyspace::JournalMember, &from, Some(&to), ROWS_PER_READ)?;
        for row in &rows {
            let some: Sequences = decode(Keyspace::JournalMember, &row.key, &row.value)?;
            some.from(0).for_each(|sequence| members.insert(sequence));
        }
        match rows.last() {
            Some(last) if rows.len() == ROWS_PER_READ => {
                from.clone_from(&last.key);
                from.push(0);
            }
            _ => return Ok(members),
        }
    }
}

/// A row of the outbox.
pub(super) struct WaitingRow {
    pub last: u64,
    pub waiting: Sequences,
}

/// The only row of the outbox that can have this number, or else the next one.
pub(super) fn waiting_row(
    store: &dyn KeyValue,
    destination: Destination,
    sequence: u64,
) -> Result<Option<WaitingRow>, StoreError> {
    let (from, to) = (destination_key(destination, sequence), destination_key(destination, u64::MAX));
    let rows = store.scan(Keyspace::Outbox, &from, Some(&to), 1)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let last = sequence_from(row.key.get(1..).unwrap_or_default())
        .map_err(|damaged| undecodable(Keyspace::Outbox, &row.key, &damaged))?;
    Ok(Some(WaitingRow { last, waiting: decode(Keyspace::Outbox, &row.key, &row.value)? }))
}

/// Stages that answered records wait again; their numbers ascend.
///
/// Rows must not overlap: a number goes into the row that it is inside of, or else into a new one before that.
pub(super) fn stage_waiting(
    store: &dyn KeyValue,
    destination: Destination,
    mut sequences: &[u64],
    batch: &mut WriteBatch,
) -> Result<(), StoreError> {
    while let Some(first) = sequences.first() {
        let row = waiting_row(store, destination, *first)?;
        let begins = row.as_ref().and_then(|row| row.waiting.first()).unwrap_or(u64::MAX);
        let before = sequences.partition_point(|sequence| *sequence < begins);
        let (before, rest) = sequences.split_at(before);
        for some in before.chunks(RECORDS_PER_ROW_MAX) {
            let waiting: Sequences = some.iter().copied().collect();
            let key = destination_key(destination, some[some.len() - 1]);
            batch.put(Keyspace::Outbox, &key, &waiting.to_bytes());
        }
        sequences = rest;
        if let Some(mut row) = row {
            let inside = rest.partition_point(|sequence| *sequence <= row.last);
            let (inside, rest) = rest.split_at(inside);
            if !inside.is_empty() {
                inside.iter().for_each(|sequence| row.waiting.insert(*sequence));
                let key = destination_key(destination, row.last);
                batch.put(Keyspace::Outbox, &key, &row.waiting.to_bytes());
            }
            sequences = rest;
        }
    }
    Ok(())
}

/// The oldest records without an answer whose number is above `after`, ascending, at most `limit`.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub fn pending(
    store: &dyn KeyValue,
    destination: Destination,
    after: u64,
    limit: usize,
) -> Result<Vec<OutboxRow>, StoreError> {
    let (mut rows, mut from) = (Vec::new(), after.saturating_add(1));
    let mut records: Option<RecordRow> = None;
    while rows.len() < limit {
        let Some(row) = waiting_row(store, destination, from)? else { break };
        for sequence in row.waiting.from(from).take(limit - rows.len()) {
            if records.as_ref().is_none_or(|records| records.last < sequence) {
                records = row_of(store, destination, sequence)?;
            }
            let record = records.as_ref().and_then(|records| records.get(sequence)).ok_or_else(|| {
                let key = destination_key(destination, row.last);
                undecodable(Keyspace::Outbox, &key, &format!("record {sequence} does not exist (I-4)"))
            })?;
            let (id, payload) = (RecordId(record.id.to_owned()), record.text.to_vec());
            rows.push(OutboxRow { destination, sequence, id, payload });
        }
        from = row.last + 1;
    }
    Ok(rows)
}

/// An answer with the number of its record, as it is stored.
pub(super) struct Answered {
    pub sequence: u64,
    pub receipt: v1::Receipt,
}

/// Stages answers; their numbers ascend.
pub(super) fn stage_answers(destination: Destination, answers: &[Answered], batch: &mut WriteBatch) {
    for run in answers.chunk_by(|one, next| one.sequence + 1 == next.sequence) {
        for row in run.chunks(RECORDS_PER_ROW_MAX) {
            let made: Vec<_> = row
                .iter()
                .map(|answered| (RecordId(answered.receipt.record.clone()), v1::to_bytes(&answered.receipt)))
                .collect();
            let stored: Vec<_> = made.iter().map(|(id, text)| Stored { id, entry: None, text }).collect();
            let last = row[row.len() - 1].sequence;
            batch.put(Keyspace::Receipt, &destination_key(destination, last), &pack_records(&stored));
        }
    }
}

/// The only row of answers that can have this number, or else the next one.
fn answers_row(
    store: &dyn KeyValue,
    destination: Destination,
    sequence: u64,
) -> Result<Option<RecordRow>, StoreError> {
    let (from, to) = (destination_key(destination, sequence), destination_key(destination, u64::MAX));
    let rows = store.scan(Keyspace::Receipt, &from, Some(&to), 1)?;
    rows.first().map(|row| RecordRow::read(Keyspace::Receipt, &row.key, &row.value, 1)).transpose()
}

/// All answers of the row that has this number's. Empty when it has no answer.
pub(super) fn answers_around(
    store: &dyn KeyValue,
    destination: Destination,
    sequence: u64,
) -> Result<Vec<Answered>, StoreError> {
    let row = answers_row(store, destination, sequence)?.filter(|row| row.first <= sequence);
    let Some(row) = row else { return Ok(Vec::new()) };
    let answered = |sequence| {
        let record = row.get(sequence).expect("the row has this number");
        Ok(Answered { sequence, receipt: receipt_from(destination, sequence, record)? })
    };
    (row.first..=row.last).map(answered).collect()
}

fn receipt_from(
    destination: Destination,
    sequence: u64,
    record: Record<'_>,
) -> Result<v1::Receipt, StoreError> {
    let key = destination_key(destination, sequence);
    serde_json::from_slice(record.text).map_err(|error| undecodable(Keyspace::Receipt, &key, &error))
}

/// What a destination answered, for whoever asks record by record in the order of their numbers: a row is read once.
pub struct Answers<'store> {
    store: &'store dyn KeyValue,
    destination: Destination,
    /// A number, and the first row at or above it.
    read: Option<(u64, Option<RecordRow>)>,
}

impl<'store> Answers<'store> {
    #[must_use]
    pub fn new(store: &'store dyn KeyValue, destination: Destination) -> Self {
        Self { store, destination, read: None }
    }

    /// The answer for a record, if there is one and the record was not sent again since.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn of(&mut self, sequence: u64) -> Result<Option<v1::Receipt>, StoreError> {
        let is_read = |(asked, row): &(u64, Option<RecordRow>)| {
            *asked <= sequence && row.as_ref().is_none_or(|row| sequence <= row.last)
        };
        if !self.read.as_ref().is_some_and(is_read) {
            self.read = Some((sequence, answers_row(self.store, self.destination, sequence)?));
        }
        let row = self.read.as_ref().and_then(|(_, row)| row.as_ref());
        let found = row.and_then(|row| row.get(sequence));
        found.map(|record| receipt_from(self.destination, sequence, record)).transpose()
    }
}
