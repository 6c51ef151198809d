//! What does a partition remember? The rows of its state, as the rules see them. The store knows their bytes.
//!
//! Rows are found by 128-bit keyed hashes of names, so that keys are short and of one length; the names themselves are
//! in the row.

use tidemark_schemas::decimal::Decimal;
use tidemark_schemas::ids::{CustomerId, MeterId, SubscriptionId, TenantId};
use tidemark_schemas::posting::{Balanced, PostingGroup};
use tidemark_schemas::summary::{Evidence, Span};
use tidemark_schemas::time::EventTime;

use crate::aggregate::Aggregate;

/// One meter of one subscription for one combination of dimension values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u128);

/// One charge of one subscription in one billing period (and for one combination of `tiers_per` values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u128);

/// One journal entry in the making: legal entity, currency, accounting period and posting rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostingId(pub u128);

/// A window of a group. Ordered by start, so that old windows lie together and are forgotten together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    pub start: EventTime,
    pub group: GroupId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub tenant: TenantId,
    pub customer: CustomerId,
    pub subscription: SubscriptionId,
    pub meter: MeterId,
    /// In the meter's order of dimensions.
    pub dimension_values: Vec<String>,
}

/// The usage of one window: what has been reported, and what has arrived since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub end: EventTime,
    pub period: Span,
    pub series: SeriesId,
    /// When the rate card version that prices it came into force.
    pub effective_from: EventTime,
    /// In the last revision. `None` before the first.
    pub settled: Option<Aggregate>,
    /// Not in any revision yet. `Some` as long as a timer will settle it.
    pub pending: Option<Aggregate>,
    /// Of all events, settled and pending.
    pub evidence: Evidence,
    /// 0 before the window closed.
    pub revision: u32,
    /// What the last revision said.
    pub reported: Decimal,
}

/// An entry that gathers rated lines until it is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPosting {
    pub group: PostingGroup,
    /// Of the entry in the making, from 1.
    pub number: u64,
    pub amounts: Balanced,
    pub rated_lines: u64,
    /// When a timer will cut it. `None` while it is empty.
    pub due: Option<EventTime>,
}

/// Something that must happen when the watermark passes `due`. Ordered as it will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    pub due: EventTime,
    pub task: Task,
}

/// In the order in which tasks of the same instant run: usage settles before periods end, periods end before entries are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Close the window, or report what arrived late since its last revision.
    Settle(WindowKey),
    /// Charge the fees of a billing period without usage: subscription (by hash of its id), period start.
    EndPeriod(u128, EventTime),
    Cut(PostingId),
}

/// Every input counts in exactly one of these (I-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    pub received: u64,
    pub counted: u64,
    pub again: u64,
    pub rejected: u64,
    pub exceptions: u64,
    /// Part of `counted`: a window had closed already, so it became an adjustment.
    pub late: u64,
    /// Part of `exceptions`: same identity, other content. The only exceptions that are not kept in the archive.
    pub conflicts: u64,
    /// Part of `counted` and `exceptions`: came while the archive was off, so it does not have them.
    pub unarchived: u64,
}

impl Counts {
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        // A damaged row can hold any numbers, so the sum is checked too.
        let parts = [self.counted, self.again, self.rejected, self.exceptions];
        let sum = parts.into_iter().try_fold(0_u64, u64::checked_add);
        sum == Some(self.received)
    }
}

/// The single row that says where the partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Commits so far; the next one has this number plus one.
    pub commits: u64,
    pub counts: Counts,
    /// Newest event time that a healthy clock sent.
    pub newest: Option<EventTime>,
    /// What an idle tick or an operator's "complete" has declared.
    pub declared: Option<EventTime>,
    /// Last rated line's sequence; the first has 1.
    pub rated: u64,
    /// Last journal entry's sequence; the first has 1.
    pub journal: u64,
    /// Rated lines that billing has answered.
    pub billed: u64,
    /// Journal entries that the ERP has answered.
    pub booked: u64,
    /// End of the newest billing period that usage belonged to.
    pub latest_period_end: Option<EventTime>,
}

impl Progress {
    /// No event older than this is expected any more. `None` before the first event.
    #[must_use]
    pub fn watermark(&self, disorder_micros: i64) -> Option<EventTime> {
        let from_events = self.newest.map(|newest| newest.plus_micros(-disorder_micros));
        from_events.max(self.declared)
    }
}
