//! What did the customer agree to? A plan, from when to when, in whose calendar and currency.

use crate::ids::{CustomerId, LegalEntityId, RateCardId, SubscriptionId, TenantId};
use crate::money::Currency;
use crate::time::EventTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub tenant: TenantId,
    pub customer: CustomerId,
    pub rate_card: RateCardId,
    /// First instant that usage belongs to it.
    pub start: EventTime,
    /// First instant that it no longer does.
    pub end: Option<EventTime>,
    /// A local day that a billing period starts on; the 31st means the last day of shorter months.
    pub period_anchor: CivilDate,
    pub period: PeriodLength,
    /// IANA name, such as `Europe/Budapest`.
    pub time_zone: String,
    pub currency: Currency,
    /// Whose books its revenue goes into.
    pub legal_entity: LegalEntityId,
}

/// A day on a calendar, without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilDate {
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodLength {
    Month,
    Quarter,
    Year,
}

impl PeriodLength {
    pub const ALL: [Self; 3] = [Self::Month, Self::Quarter, Self::Year];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    #[must_use]
    pub fn months(self) -> i32 {
        match self {
            Self::Month => 1,
            Self::Quarter => 3,
            Self::Year => 12,
        }
    }
}

impl std::fmt::Display for CivilDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}
