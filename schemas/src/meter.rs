//! What is counted? A meter turns events of one type into a quantity per window.

use std::fmt;

use crate::decimal::Decimal;
use crate::ids::{MeterId, TenantId};

/// One meter of the catalog. Filter and value are SQL expressions over [`Meter::fields`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    pub id: MeterId,
    /// `None`: events of every tenant.
    pub tenant: Option<TenantId>,
    /// The CloudEvents `type` it reads.
    pub event_type: String,
    /// Names that the expressions and dimensions may use, in the order of the file.
    pub fields: Vec<Field>,
    /// Boolean expression; an event for which it is not true feeds nothing.
    pub filter: Option<String>,
    /// Decimal expression; absent only for `count`. For a unique count it may be of any type.
    pub value: Option<String>,
    pub aggregation: Aggregation,
    /// Fields that split the count; each distinct combination is a group of its own.
    pub dimensions: Vec<String>,
    /// At most this many groups per subscription (cardinality cap).
    pub groups_max: u32,
    pub window: WindowLength,
    pub unit: String,
    /// Fractional digits kept of a value; more are refused, never rounded.
    pub scale: u32,
}

/// Where a name in an expression gets its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Member names from the top of the event: `["data", "usage", "tokens"]`, or `["subject"]`.
    pub path: Vec<String>,
    pub kind: FieldKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// An exact number with at most this many fractional digits; a numeric string counts as the number.
    Decimal {
        scale: u32,
    },
    Text,
    Boolean,
}

/// How values become one quantity. Each is a commutative merge, so arrival order cannot change a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    Count,
    Sum,
    Min,
    Max,
    /// Exact sum and count; divided once, when asked.
    Average,
    /// The value with the newest event time; among equal times the one with the greater identity.
    Latest,
    /// Distinct values, exact; at most [`crate::limits::UNIQUE_VALUES_MAX`] in one window.
    UniqueCount,
}

impl Aggregation {
    pub const ALL: [Self; 7] =
        [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Average, Self::Latest, Self::UniqueCount];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Average => "avg",
            Self::Latest => "latest",
            Self::UniqueCount => "unique_count",
        }
    }

    /// Fractional digits of the quantity that a meter of `scale` reports: an average keeps six more than its values.
    #[must_use]
    pub fn result_scale(self, scale: u32) -> u32 {
        match self {
            Self::Count | Self::UniqueCount => 0,
            Self::Average => scale + 6,
            Self::Sum | Self::Min | Self::Max | Self::Latest => scale,
        }
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a window is, in the subscription's time zone. Half-open; never across a billing-period boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowLength {
    Minute,
    FiveMinutes,
    Hour,
    /// A local calendar day: 23 or 25 hours when the clocks change.
    Day,
    /// The whole billing period.
    Period,
}

impl WindowLength {
    pub const ALL: [Self; 5] = [Self::Minute, Self::FiveMinutes, Self::Hour, Self::Day, Self::Period];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::FiveMinutes => "five_minutes",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Period => "period",
        }
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one event contributes to one meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasuredValue {
    /// For `count`: the event itself.
    Occurrence,
    Number(Decimal),
    /// For `unique_count`: keyed hash of the canonical value.
    Member(u128),
}
