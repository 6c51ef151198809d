//! Everything finance and product teams decide, in one versioned value: meters, customers, prices, accounts, timing.

use std::fmt;

use crate::customer::Customer;
use crate::legal_entity::LegalEntity;
use crate::meter::Meter;
use crate::posting_rule::PostingRule;
use crate::rate_card::RateCard;
use crate::subscription::Subscription;
use crate::time::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE};

/// A checked catalog: every reference in it resolves.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub version: CatalogVersion,
    pub timing: Timing,
    pub meters: Vec<Meter>,
    pub customers: Vec<Customer>,
    pub subscriptions: Vec<Subscription>,
    pub rate_cards: Vec<RateCard>,
    pub legal_entities: Vec<LegalEntity>,
    pub posting_rules: Vec<PostingRule>,
}

/// The hash of the catalog's files: the same content has the same version on every machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogVersion(pub String);

impl fmt::Display for CatalogVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CatalogVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The clockwork, all in microseconds of event time. Part of the catalog because results depend on it (I-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How far events may arrive out of order: the watermark trails the newest event by this.
    pub disorder_micros: i64,
    /// How long after its end a window stays open.
    pub grace_micros: i64,
    /// How long after the end of its billing period an event can still correct it.
    pub horizon_micros: i64,
    /// An event further ahead of our clock than this has a bad clock.
    pub clock_ahead_micros: i64,
    /// Late usage of a closed window is gathered this long into one adjustment.
    pub adjust_every_micros: i64,
    /// A journal entry is cut after this time at the latest.
    pub post_every_micros: i64,
    /// A journal entry is cut when it would have more lines than this.
    pub post_lines_max: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            disorder_micros: 5 * MICROS_PER_MINUTE,
            grace_micros: 10 * MICROS_PER_MINUTE,
            horizon_micros: 35 * MICROS_PER_DAY,
            clock_ahead_micros: MICROS_PER_HOUR,
            adjust_every_micros: 5 * MICROS_PER_MINUTE,
            post_every_micros: 15 * MICROS_PER_MINUTE,
            // ERPs cap synchronous journals at 999 (SAP) or 1,000 (NetSuite) lines.
            post_lines_max: 900,
        }
    }
}
