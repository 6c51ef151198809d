//! What was used, and what does it cost? A usage summary covers one window; a rated summary prices its change.

use std::fmt;

use crate::catalog::CatalogVersion;
use crate::decimal::Decimal;
use crate::ids::{CustomerId, LegalEntityId, MeterId, RateCardId, SubscriptionId, TenantId};
use crate::money::Money;
use crate::time::EventTime;

/// Half-open `[start, end)` in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: EventTime,
    pub end: EventTime,
}

impl Span {
    #[must_use]
    pub fn contains(self, time: EventTime) -> bool {
        self.start <= time && time < self.end
    }
}

/// Which events a summary covers: how many, and the wrapping sum of their keyed 128-bit digests.
/// The sum does not depend on order, so whoever holds the archive can recompute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Evidence {
    pub events: u64,
    pub digest: u128,
}

/// Values of the meter's dimensions, in the meter's order.
pub type Dimensions = Vec<(String, String)>;

/// The quantity of one window, final unless a later revision follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSummary {
    pub tenant: TenantId,
    pub customer: CustomerId,
    pub subscription: SubscriptionId,
    pub meter: MeterId,
    pub unit: String,
    pub dimensions: Dimensions,
    pub window: Span,
    pub period: Span,
    /// 1 when the window closed; each adjustment adds one.
    pub revision: u32,
    pub quantity: Decimal,
    /// This revision's quantity less the last one's.
    pub quantity_delta: Decimal,
    pub evidence: Evidence,
    pub catalog_version: CatalogVersion,
}

/// One line for billing: the step of the price function that this summary causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatedSummary {
    pub id: RecordId,
    pub summary: UsageSummary,
    pub billing_subscriber: String,
    pub legal_entity: LegalEntityId,
    pub rate_card: RateCardId,
    pub rate_card_version: String,
    pub price_kind: &'static str,
    /// Quantity of the billing period before and after this line.
    pub cumulative_before: Decimal,
    pub cumulative_after: Decimal,
    /// Rounded cumulative amount after, less before: the lines of a period add up to the price of its total.
    pub amount: Money,
    /// The same step before rounding.
    pub amount_unrounded: Decimal,
}

/// An id that is a function of content (I-5): a prefix for people, and 128 bits of BLAKE3 in hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub String);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
