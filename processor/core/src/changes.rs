//! What does a step add to the state? Rows that are written once and never change. Rows that change in place are in
//! [`crate::working::Working`]; both go into the same write batch.

use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::posting::JournalEntry;
use tidemark_schemas::summary::{RatedSummary, RecordId};

use crate::resolve::Park;
use crate::state::{PostingId, WindowKey};

/// Windows, periods and entries that one commit settles at most: about 50 MB of rows.
pub const SETTLED_MAX: usize = 50_000;

/// Everything that the events of one commit cause.
#[derive(Debug, Default)]
pub struct Changes {
    pub rated: Vec<RatedRow>,
    pub journal: Vec<JournalRow>,
    /// Windows whose price does not fit a number. They wait for finance.
    pub unratable: Vec<Unratable>,
    /// Windows, periods and entries settled so far.
    pub settled: usize,
    /// Windows settled for the first time, and later ones.
    pub closed: usize,
    pub adjusted: usize,
}

/// A rated summary with its place in the order for billing.
#[derive(Debug)]
pub struct RatedRow {
    pub sequence: u64,
    /// The journal entry that it is in, which may not be cut yet: its posting and number. `None` when its amount is zero.
    pub entry: Option<(PostingId, u64)>,
    pub rated: RatedSummary,
}

/// A journal entry with its place in the order for the ERP.
#[derive(Debug)]
pub struct JournalRow {
    pub sequence: u64,
    pub posting: PostingId,
    pub entry: JournalEntry,
}

#[derive(Debug)]
pub struct Unratable {
    pub window: WindowKey,
    pub id: RecordId,
    pub reason: String,
}

/// What became of the events of one block.
#[derive(Debug, Default)]
pub struct Fates {
    /// One per event, in order.
    pub events: Vec<Fate>,
    /// What waits, with the index of its event.
    pub parked: Vec<(u32, Park)>,
    /// Indexes of replayed events that no longer wait.
    pub resolved: Vec<u32>,
}

/// Where an event went. Every event has exactly one fate (I-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Counted,
    /// Seen before with the same content.
    Again,
    /// Waits as an exception of this kind; a conflict is one.
    Parked(ExceptionKind),
}
