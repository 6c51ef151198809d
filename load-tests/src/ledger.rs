//! What has the product promised to count? Every event that it acknowledged, once.
//!
//! The independent side of the comparison: it is written from answers alone and never asks the product.
//! An event is entered when any answer covers it as accepted or duplicate, and only the first time.
//! In memory one bit per slot and one total per customer; on file 24 bytes per event
//! (144 MB for a minute at 100,000 events/s).
//!
//! File: the 8 bytes `TMLEDG01`, then per event 16 bytes id, 4 bytes customer, 4 bytes tokens, big-endian.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::event::Event;
use crate::traffic::CUSTOMERS_MAX;

const MAGIC: [u8; 8] = *b"TMLEDG01";
const RECORD_BYTES: usize = 24;

/// Collects the writes of about 40,000 events into one system call.
const BUFFER_BYTES: usize = 1 << 20;

/// What one customer, or everybody, has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub events: u64,
    pub quantity: u128,
}

impl Total {
    pub fn add(&mut self, tokens: u32) {
        self.events += 1;
        self.quantity += u128::from(tokens);
    }

    #[must_use]
    pub fn of_all(totals: &[Self]) -> Self {
        totals.iter().fold(Self::default(), |sum, total| Self {
            events: sum.events + total.events,
            quantity: sum.quantity + total.quantity,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger {path} cannot be {action}: {source}; check the folder and the space on its disk")]
    File { path: PathBuf, action: &'static str, source: io::Error },
    #[error("{path} is not a whole ledger ({reason}); was the run that wrote it cut short?")]
    Damaged { path: PathBuf, reason: String },
}

/// Acknowledged events of one run.
#[derive(Debug)]
pub struct Ledger {
    /// Bit per slot: 6 million slots are 750 kB.
    entered: Vec<u64>,
    totals: Vec<Total>,
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl Ledger {
    /// In memory only.
    #[must_use]
    pub fn new(customers: u32) -> Self {
        Self { entered: Vec::new(), totals: vec![Total::default(); customers as usize], file: None }
    }

    /// Also on file; an existing file is replaced.
    ///
    /// # Errors
    /// [`LedgerError::File`]
    pub fn create(customers: u32, path: &Path) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::File { path: path.into(), action: "created", source };
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path).map_err(failed)?);
        file.write_all(&MAGIC).map_err(failed)?;
        Ok(Self { file: Some((path.into(), file)), ..Self::new(customers) })
    }

    /// Whether the event of this slot has been entered.
    #[must_use]
    pub fn has(&self, origin: u64) -> bool {
        self.entered.get((origin / 64) as usize).is_some_and(|word| word & (1 << (origin % 64)) != 0)
    }

    /// Enters the event that first appeared in slot `origin`, unless it is entered already.
    ///
    /// # Errors
    /// [`LedgerError::File`]
    pub fn acknowledge(&mut self, origin: u64, event: &Event) -> Result<(), LedgerError> {
        if self.has(origin) {
            return Ok(());
        }
        let word = (origin / 64) as usize;
        if word >= self.entered.len() {
            self.entered.resize(word + 1, 0);
        }
        self.entered[word] |= 1 << (origin % 64);
        self.totals[event.customer as usize].add(event.tokens);
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let mut record = [0; RECORD_BYTES];
        record[..16].copy_from_slice(&event.id);
        record[16..20].copy_from_slice(&event.customer.to_be_bytes());
        record[20..].copy_from_slice(&event.tokens.to_be_bytes());
        file.write_all(&record).map_err(|source| LedgerError::File {
            path: path.clone(),
            action: "written",
            source,
        })
    }

    /// Hands what is buffered to the operating system.
    ///
    /// # Errors
    /// [`LedgerError::File`]
    pub fn flush(&mut self) -> Result<(), LedgerError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.flush().map_err(|source| LedgerError::File { path: path.clone(), action: "written", source })
    }

    /// Per customer, by number.
    #[must_use]
    pub fn totals(&self) -> &[Total] {
        &self.totals
    }

    #[must_use]
    pub fn total(&self) -> Total {
        Total::of_all(&self.totals)
    }
}

/// Counts a ledger file again, from its bytes alone: totals per customer, by number.
///
/// # Errors
/// [`LedgerError::File`]; [`LedgerError::Damaged`] also when an event is entered twice.
pub fn recount(path: &Path) -> Result<Vec<Total>, LedgerError> {
    let failed = |source| LedgerError::File { path: path.into(), action: "read", source };
    let damaged = |reason: String| LedgerError::Damaged { path: path.into(), reason };
    let mut bytes = Vec::new();
    BufReader::new(File::open(path).map_err(failed)?).read_to_end(&mut bytes).map_err(failed)?;
    let records = bytes.strip_prefix(&MAGIC).ok_or_else(|| damaged("it does not begin like one".into()))?;
    let (records, rest) = records.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        return Err(damaged(format!("{} bytes follow the last whole event", rest.len())));
    }
    let mut totals: Vec<Total> = Vec::new();
    let mut ids = Vec::with_capacity(records.len());
    for record in records {
        let number =
            |at: usize| u32::from_be_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let customer = number(16) as usize;
        if customer >= CUSTOMERS_MAX as usize {
            return Err(damaged(format!(
                "it names customer {customer}, and there are at most {CUSTOMERS_MAX}"
            )));
        }
        if customer >= totals.len() {
            totals.resize(customer + 1, Total::default());
        }
        totals[customer].add(number(20));
        ids.push(&record[..16]);
    }
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(damaged(format!("the event {:02x?} is entered twice", pair[0]))),
        None => Ok(totals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{EventClock, Traffic};
    use crate::units::Share;

    fn traffic() -> Traffic {
        let time = EventClock { start_ms: 0, slots_per_second: 1, speed: 1 };
        Traffic::new(5, "ledger", 20, Share { millionths: 200_000 }, time)
    }

    #[test]
    fn an_event_is_entered_once_however_often_it_is_acknowledged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ledger");
        let traffic = traffic();
        let mut ledger = Ledger::create(20, &path).expect("created");
        let mut origins = std::collections::BTreeSet::new();
        // Twice over, as when every batch is sent again; a fifth of the slots are re-sends besides.
        for slot in (0..2_000).chain(0..2_000) {
            let origin = traffic.origin(slot);
            ledger.acknowledge(origin, &traffic.event(origin)).expect("written");
            origins.insert(origin);
        }
        ledger.flush().expect("flushed");
        let mut expected = vec![Total::default(); 20];
        for origin in &origins {
            let event = traffic.event(*origin);
            expected[event.customer as usize].add(event.tokens);
        }
        assert!(origins.len() < 1_700, "some slots are re-sends");
        assert_eq!(ledger.totals(), expected);
        assert_eq!(recount(&path).expect("whole"), expected);
        assert_eq!(ledger.total().events, origins.len() as u64);
    }

    #[test]
    fn a_damaged_ledger_is_not_believed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ledger");
        let mut record = [7; RECORD_BYTES];
        record[16..20].copy_from_slice(&3_u32.to_be_bytes());
        let refused = |bytes: &[&[u8]]| {
            std::fs::write(&path, bytes.concat()).expect("written");
            recount(&path).expect_err("damaged").to_string()
        };
        assert!(refused(&[b"NOTALEDG", &record]).contains("does not begin"));
        assert!(refused(&[&MAGIC, &record, &record[..3]]).contains("3 bytes follow"));
        assert!(refused(&[&MAGIC, &record, &record]).contains("entered twice"));
        // A wild number would be a wild allocation.
        assert!(refused(&[&MAGIC, &[0xff; RECORD_BYTES]]).contains("names customer 4294967295"));
    }
}
