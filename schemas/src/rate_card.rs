//! What does it cost? Rate cards: versions in force from a date on, each with one price per meter.

use crate::decimal::Decimal;
use crate::ids::{MeterId, RateCardId};
use crate::money::Currency;
use crate::time::EventTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateCard {
    pub id: RateCardId,
    pub currency: Currency,
    /// By `effective_from`, oldest first, no two alike.
    pub versions: Vec<RateCardVersion>,
}

/// The prices for windows that start at or after `effective_from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateCardVersion {
    /// Shown on every line that it priced.
    pub version: String,
    pub effective_from: EventTime,
    pub charges: Vec<Charge>,
}

/// The price of one meter's usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub meter: MeterId,
    pub price: Price,
    /// Dimensions whose values each get their own tiers; empty: all usage of the meter adds up.
    pub tiers_per: Vec<String>,
    /// The amount of a billing period never exceeds this.
    pub maximum: Option<Decimal>,
    /// Whether a flat fee of the first tier is charged for a period without usage.
    pub flat_fee_at_zero: bool,
}

/// A function of the cumulative quantity of a billing period, in currency units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    PerUnit {
        unit: Decimal,
    },
    /// Each tier prices the part of the quantity inside it.
    Graduated {
        tiers: Vec<Tier>,
    },
    /// The tier that the whole quantity falls into prices all of it.
    Volume {
        tiers: Vec<Tier>,
    },
    /// Whole packages, the last one begun counts; the first `free` units cost nothing.
    Package {
        size: Decimal,
        price: Decimal,
        free: Decimal,
    },
}

/// Upper bounds are inclusive and tiers are continuous: 100.5 of "to 100, to 200" is in the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// `None` only in the last tier.
    pub up_to: Option<Decimal>,
    pub unit: Decimal,
    /// Charged once when the tier is reached.
    pub flat: Decimal,
}

impl Price {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PerUnit { .. } => "per_unit",
            Self::Graduated { .. } => "graduated",
            Self::Volume { .. } => "volume",
            Self::Package { .. } => "package",
        }
    }
}
