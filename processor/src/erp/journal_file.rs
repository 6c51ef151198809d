//! How are books kept without an ERP? As a plain-text journal that hledger (and its kin) check strictly.
//!
//! `entries/<entry id>.journal` is one entry, complete from the moment it exists; `all.journal` includes them all:
//! `hledger -f all.journal check -s`. Each file declares the accounts and the commodity it uses.
//! Keeps: amounts are whole minor units under a commodity of their own (`47037 USDc`), because hledger tolerates an
//! imbalance below a commodity's display precision, and there is none below one; an entry is acknowledged when its file was read
//! back and parsed to the same lines; an entry that is there already is never written over.
//! The date is the last day of the accounting period: the entry knows no other, and a clock would change its bytes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use tidemark_schemas::legal_entity::AccountingPeriod;
use tidemark_schemas::outbox::OutboxRow;
use tidemark_schemas::summary::RecordId;

use super::booking::{Booking, BookingLine};
use crate::deliver::{Answer, Failure, Remedy, Sink, durable_file};

/// Entries of up to 900 lines have about 150 KB: 10 MB in memory at most, and one commit for 64 receipts.
const ENTRIES_PER_BATCH: usize = 64;

const ENTRIES_FOLDER: &str = "entries";

const INCLUDE_ALL: &str = "all.journal";

/// Does not match itself: hledger calls that a cyclic include.
const INCLUDE_ALL_TEXT: &str = "; Check with: hledger -f all.journal check -s\ninclude entries/*.journal\n";

#[derive(Clone, Debug)]
pub struct JournalFiles {
    folder: Arc<PathBuf>,
}

impl JournalFiles {
    /// # Errors
    /// [`Failure::FileUnavailable`] when the folders cannot be made or listed.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        durable_file::open_folder(folder)?;
        durable_file::open_folder(&folder.join(ENTRIES_FOLDER))?;
        Ok(Self { folder: Arc::new(folder.into()) })
    }

    fn take(&self, rows: &[OutboxRow]) -> Vec<Answer> {
        let mut answers = vec![Answer::NotSent; rows.len()];
        for (row, answer) in rows.iter().zip(&mut answers) {
            *answer = match self.book(row) {
                Ok(reference) => Answer::Accepted { reference },
                Err(failure) => Answer::Failed(failure),
            };
            if matches!(answer, Answer::Failed(failure) if failure.remedy() != Remedy::Park) {
                break;
            }
        }
        answers
    }

    /// The reference is the file's name within the folder.
    fn book(&self, row: &OutboxRow) -> Result<String, Failure> {
        let booking = Booking::of(row)?;
        let entries = self.folder.join(ENTRIES_FOLDER);
        let name = format!("{}.journal", booking.entry.id);
        let path = entries.join(&name);
        if path.exists() {
            // The crash may have come between the rename and its fsync.
            durable_file::sync_folder(&entries)?;
        } else {
            durable_file::write(&entries, &name, journal(&booking).as_bytes())?;
        }
        self.acknowledge(&row.id, &booking, &path)?;
        if !self.folder.join(INCLUDE_ALL).exists() {
            // After the first entry: hledger refuses a pattern that matches nothing.
            durable_file::write(&self.folder, INCLUDE_ALL, INCLUDE_ALL_TEXT.as_bytes())?;
        }
        Ok(format!("{ENTRIES_FOLDER}/{name}"))
    }

    /// What is on the disk, not what we meant to write.
    fn acknowledge(&self, record: &RecordId, booking: &Booking, path: &Path) -> Result<(), Failure> {
        let contents = durable_file::read(path)?;
        let found = read_back(&String::from_utf8_lossy(&contents));
        if found.as_ref() == Some(&Booked::expected(booking)) {
            return Ok(());
        }
        let difference = match found {
            None => "the file there is not one of our journal entries".into(),
            Some(found) => {
                format!("dated {}, {} lines, debits {}", found.date, found.postings.len(), found.debits())
            }
        };
        Err(Failure::Conflict { to: path.display().to_string(), record: record.clone(), difference })
    }
}

impl Sink for JournalFiles {
    fn rows_per_batch(&self) -> usize {
        ENTRIES_PER_BATCH
    }

    /// One key for all: files are written one after the other, and what fails for one fails for all.
    fn key(&self, _: &OutboxRow) -> String {
        String::new()
    }

    async fn send(&self, rows: Arc<[OutboxRow]>) -> Vec<Answer> {
        let files = self.clone();
        match tokio::task::spawn_blocking(move || files.take(&rows)).await {
            Ok(answers) => answers,
            Err(lost) => std::panic::resume_unwind(lost.into_panic()),
        }
    }
}

fn journal(booking: &Booking) -> String {
    let entry = &booking.entry;
    let commodity = commodity(&entry.currency, entry.minor_digits);
    let mut accounts: Vec<String> = booking.lines.iter().map(account).collect();
    accounts.sort();
    accounts.dedup();

    let mut text = String::new();
    let mut line = |written: std::fmt::Arguments<'_>| {
        text.write_fmt(written).and_then(|()| text.write_char('\n')).expect("a String takes every text");
    };
    line(format_args!(
        "; {}: one count of {commodity} is 10^-{} {}",
        entry.schema, entry.minor_digits, entry.currency
    ));
    line(format_args!("commodity {commodity}"));
    for account in &accounts {
        line(format_args!("account {account}"));
    }
    line(format_args!(""));
    line(format_args!("{} * ({}) usage revenue", last_day(booking.accounting_period), entry.id));
    line(format_args!(
        "    ; legal-entity:{}, accounting-period:{}, posting-rule:{}, number:{}, rated-lines:{}",
        encoded(&entry.legal_entity),
        booking.accounting_period,
        encoded(&entry.posting_rule),
        entry.number,
        entry.rated_lines
    ));
    for posting in &booking.lines {
        let debtor = posting.debtor.as_deref().map(|debtor| format!(", debtor:{}", encoded(debtor)));
        line(format_args!(
            "    {}  {} {commodity}  ; service-period:{}{}",
            account(posting),
            posting.minor,
            posting.service_period,
            debtor.unwrap_or_default()
        ));
    }
    text
}

/// The debtor is a subaccount, so that the receivables of each customer have a balance.
fn account(line: &BookingLine) -> String {
    match &line.debtor {
        Some(debtor) => format!("{}:{}", line.account, encoded(debtor)),
        None => line.account.clone(),
    }
}

/// Percent-encodes everything that could end an account name or a tag, injectively: a debtor is the catalog's free text.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes every text");
        }
    }
    encoded
}

/// A name for the minor unit: `USDc` is a hundredth, `BHDm` a thousandth, JPY has none below it. Others by exponent.
fn commodity(currency: &str, minor_digits: u32) -> String {
    match minor_digits {
        0 => currency.into(),
        2 => format!("{currency}c"),
        3 => format!("{currency}m"),
        // hledger wants quotes around a commodity with digits.
        digits => format!("\"{currency}e{digits}\""),
    }
}

fn last_day(period: AccountingPeriod) -> Date {
    Date::new(period.year, period.month, 1)
        .expect("a period was parsed from four digits and a month")
        .last_of_month()
}

/// What a journal file says was booked.
#[derive(Debug, PartialEq, Eq)]
struct Booked {
    id: String,
    date: String,
    /// Account, minor units, commodity; in the entry's order.
    postings: Vec<(String, i128, String)>,
}

impl Booked {
    fn expected(booking: &Booking) -> Self {
        let entry = &booking.entry;
        let commodity = commodity(&entry.currency, entry.minor_digits);
        let posting = |line: &BookingLine| (account(line), line.minor, commodity.clone());
        Self {
            id: entry.id.clone(),
            date: last_day(booking.accounting_period).to_string(),
            postings: booking.lines.iter().map(posting).collect(),
        }
    }

    fn debits(&self) -> String {
        let sum =
            self.postings.iter().try_fold(0_i128, |sum, (_, minor, _)| sum.checked_add((*minor).max(0)));
        sum.map_or_else(|| "too large".into(), |sum| sum.to_string())
    }
}

/// Reads one of our files; `None` for anything else. Whether it is complete shows in the comparison.
/// Layout and comments may change between versions, the entry may not.
fn read_back(text: &str) -> Option<Booked> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(|c: char| c.is_ascii_digit()));
    let (date, rest) = lines.next()?.split_once(" * (")?;
    let (id, _) = rest.split_once(')')?;
    let mut postings = Vec::new();
    for line in lines {
        let posting = line.strip_prefix("    ")?.split(';').next()?.trim();
        if posting.is_empty() {
            continue;
        }
        let (account, amount) = posting.split_once("  ")?;
        let (minor, commodity) = amount.trim().split_once(' ')?;
        postings.push((account.into(), minor.parse().ok()?, commodity.into()));
    }

    Some(Booked { id: id.into(), date: date.into(), postings })
}

#[cfg(test)]
#[path = "journal_file_tests.rs"]
mod tests;
