//! Do the totals tie out? Events received, kept and counted; amounts rated, billed and booked. It reports; it never repairs.
//!
//! Keeps: the state is read as of one commit, so that a difference is one, and not the commit that came in between. Files
//! are looked at after that: they are written before the commit that lists them.
//! Deliberately absent: what files say. Names, sizes and row counts are looked at; `trace entry` proves the events.

use std::collections::BTreeMap;

use tidemark_core::state::{Counts, OpenPosting};
use tidemark_schemas::money::{Currency, in_units};
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::time::ReceiveTime;
use tidemark_schemas::wire::v1;

use super::delivered::{Delivered, FAULTS_NAMED_MAX, Folders, files};
use super::records::{each_row, is_in_scope};
use crate::archive::{ArchiveError, archived_events, look_at_files};
use crate::config::Scope;
use crate::http::metering::{AcceptedLoss, MinorUnits, Reconciliation, ReconciliationCheck};
use crate::partition::{
    self, Answers, accepted_losses, decode_row, each_record, parse_record, progress, undecodable,
};
use crate::store::{KeyValue, Keyspace, Store, StoreError};

/// All checks that the scope allows: a tenant sees that its lines are billed, an operator sees everything.
///
/// # Errors
/// [`ArchiveError`] when the store or an archived block cannot be read.
pub fn reconcile(
    store: &dyn Store,
    scope: &Scope,
    folders: &Folders,
) -> Result<Reconciliation, ArchiveError> {
    let snapshot = store.snapshot();
    let store = &*snapshot;
    let mut checks = Vec::new();
    let is_operator = *scope == Scope::Every;
    let mut billed = folders.billing.as_deref().filter(|_| is_operator).map(Delivered::new);
    let mut booked = folders.erp.as_deref().map(Delivered::new);
    let rated = rated_totals(store, scope, billed.as_mut())?;
    if is_operator {
        let counts = progress(store)?.counts;
        let sum = counts.counted + counts.again + counts.rejected + counts.exceptions;
        checks.push(check(
            "received = counted + again + rejected + exceptions",
            "events",
            counts.received,
            sum,
            0,
        ));
        checks.push(archived(&counts, archived_events(store)?));
        checks.extend(archive_files(store, folders)?);
        let (entries, open) = booked_totals(store, booked.as_mut())?;
        checks.extend(booked.map(|files| files.check("journal files delivered = there")));
        for currency in rated.keys().chain(entries.keys()).collect::<std::collections::BTreeSet<_>>() {
            let rated = rated.get(currency).copied().unwrap_or_default();
            let entered = entries.get(currency).copied().unwrap_or_default();
            let in_the_making = open.get(currency).copied().unwrap_or_default();
            checks.push(amounts(
                "rated = in journal entries",
                currency,
                rated.all,
                entered.all,
                in_the_making,
            )?);
            checks.push(amounts(
                "in journal entries = booked by the ERP",
                currency,
                entered.all,
                entered.accepted,
                entered.waiting,
            )?);
        }
    }
    for (currency, totals) in &rated {
        checks.push(amounts(
            "rated = accepted by billing",
            currency,
            totals.all,
            totals.accepted,
            totals.waiting,
        )?);
    }
    checks.extend(billed.map(|files| files.check("billing files delivered = there")));
    let accepted_losses = if is_operator { accepted(store)? } else { Vec::new() };
    Ok(Reconciliation { ties_out: checks.iter().all(|check| check.ties_out), checks, accepted_losses })
}

fn accepted(store: &dyn KeyValue) -> Result<Vec<AcceptedLoss>, StoreError> {
    let shown = |loss: &partition::AcceptedLoss| AcceptedLoss {
        accepted_at: ReceiveTime::from_micros(loss.accepted_at_micros).to_string(),
        commits: loss.commits,
        events: loss.events,
    };
    Ok(accepted_losses(store)?.iter().map(shown).collect())
}

/// Events that came while the archive was off are in no archive, and never will be.
fn archived(counts: &Counts, archived: u64) -> ReconciliationCheck {
    let first_seen = counts.counted + counts.exceptions - counts.conflicts;
    let expected = first_seen.saturating_sub(counts.unarchived);
    let mut check = check("archived = counted + waiting", "events", archived, expected, 0);
    if counts.unarchived > 0 {
        let unarchived = counts.unarchived;
        check.note = Some(format!("{unarchived} events came while the archive was off; no archive has them"));
    }
    check
}

/// The files that took over from the store. Without a folder in the configuration nobody knows where they are.
fn archive_files(
    store: &dyn KeyValue,
    folders: &Folders,
) -> Result<Option<ReconciliationCheck>, ArchiveError> {
    let Some(folder) = &folders.archive else { return Ok(None) };
    let found = look_at_files(store, folder, FAULTS_NAMED_MAX)?;
    let looked = format!("looked at names and row counts (Parquet footers) in {}", folder.display());
    let name = "archive files listed = whole";
    Ok(Some(files(name, &looked, found.listed, found.whole, &found.faults)))
}

/// By ISO 4217 code.
type ByCurrency<T> = BTreeMap<String, T>;

/// Minor units of one currency.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    all: i128,
    accepted: i128,
    /// Not answered yet. What was refused is neither: it is a difference until someone resolves it.
    waiting: i128,
}

impl Totals {
    fn add(&mut self, minor: i128, receipt: Option<&v1::Receipt>) {
        self.all += minor;
        match receipt.map(|receipt| receipt.outcome.as_str()) {
            Some("accepted") => self.accepted += minor,
            Some(_) => {}
            None => self.waiting += minor,
        }
    }
}

fn rated_totals(
    store: &dyn KeyValue,
    scope: &Scope,
    mut files: Option<&mut Delivered<'_>>,
) -> Result<BTreeMap<String, Totals>, StoreError> {
    let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
    let mut answers = Answers::new(store, Destination::Billing);
    each_record(store, Destination::Billing, 1, |sequence, record| {
        let rated: v1::RatedSummary = parse_record(Destination::Billing, sequence, record.text)?;
        if is_in_scope(scope, &rated.summary.tenant) {
            let receipt = answers.of(sequence)?;
            // A line and its end.
            delivered(&mut files, Destination::Billing, receipt.as_ref(), record.text.len() as u64 + 1);
            let minor = minor(Keyspace::Rated, record.id.as_bytes(), &rated.amount_minor)?;
            totals.entry(rated.currency).or_default().add(minor, receipt.as_ref());
        }
        Ok(true)
    })?;
    Ok(totals)
}

/// Debits less credits on the lines with a debtor: what customers owe, by currency, in cut entries and in open ones.
fn booked_totals(
    store: &dyn KeyValue,
    mut files: Option<&mut Delivered<'_>>,
) -> Result<(ByCurrency<Totals>, ByCurrency<i128>), StoreError> {
    let mut entries: BTreeMap<String, Totals> = BTreeMap::new();
    let mut answers = Answers::new(store, Destination::Erp);
    each_record(store, Destination::Erp, 1, |sequence, record| {
        let entry: v1::JournalEntry = parse_record(Destination::Erp, sequence, record.text)?;
        let receipt = answers.of(sequence)?;
        // The size of its text is not known here; an empty file is none.
        delivered(&mut files, Destination::Erp, receipt.as_ref(), 1);
        let mut owed = 0;
        for line in entry.lines.iter().filter(|line| line.debtor.is_some()) {
            owed += minor(Keyspace::Journal, record.id.as_bytes(), &line.debit_minor)?
                - minor(Keyspace::Journal, record.id.as_bytes(), &line.credit_minor)?;
        }
        entries.entry(entry.currency).or_default().add(owed, receipt.as_ref());
        Ok(true)
    })?;
    let mut open: BTreeMap<String, i128> = BTreeMap::new();
    each_row(store, Keyspace::OpenPosting, &[], None, |key, value| {
        let posting: OpenPosting = decode_row(Keyspace::OpenPosting, key, value)?;
        let owed: i128 =
            posting.amounts.lines().filter(|(line, _)| line.debtor.is_some()).map(|(_, minor)| minor).sum();
        *open.entry(posting.group.currency.to_string()).or_default() += owed;
        Ok(true)
    })?;
    Ok((entries, open))
}

fn delivered(
    files: &mut Option<&mut Delivered<'_>>,
    destination: Destination,
    receipt: Option<&v1::Receipt>,
    bytes: u64,
) {
    let reference = receipt.and_then(|receipt| receipt.reference.as_deref());
    if let (Some(files), Some(reference)) = (files, reference) {
        files.row(destination, reference, bytes);
    }
}

fn minor(space: Keyspace, key: &[u8], text: &str) -> Result<i128, StoreError> {
    text.parse().map_err(|error| undecodable(space, key, &error))
}

pub fn check(name: &str, unit: &str, left: u64, right: u64, in_flight: u64) -> ReconciliationCheck {
    let difference = i128::from(left) - i128::from(right);
    ReconciliationCheck {
        name: name.into(),
        unit: unit.into(),
        left: left.to_string(),
        right: right.to_string(),
        difference: difference.to_string(),
        in_flight: in_flight.to_string(),
        ties_out: difference == i128::from(in_flight),
        minor_units: None,
        note: None,
    }
}

/// Amounts in minor units of `currency`, shown in its unit.
fn amounts(
    name: &str,
    currency: &str,
    left: i128,
    right: i128,
    in_flight: i128,
) -> Result<ReconciliationCheck, StoreError> {
    let known = currency.parse::<Currency>();
    let known = known.map_err(|error| undecodable(Keyspace::Rated, currency.as_bytes(), &error))?;
    let (minor_digits, difference) = (known.minor_digits(), left - right);
    let shown = |minor: i128| in_units(minor, minor_digits);
    Ok(ReconciliationCheck {
        name: name.into(),
        unit: currency.into(),
        left: shown(left),
        right: shown(right),
        difference: shown(difference),
        in_flight: shown(in_flight),
        ties_out: difference == in_flight,
        minor_units: Some(MinorUnits {
            currency: currency.into(),
            minor_digits,
            left_minor: left.to_string(),
            right_minor: right.to_string(),
            difference_minor: difference.to_string(),
            in_flight_minor: in_flight.to_string(),
        }),
        note: None,
    })
}
