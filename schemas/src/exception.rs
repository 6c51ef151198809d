//! What could not be counted, and why? A record with the whole business context, kept until someone resolves it.

use std::fmt;

use crate::ids::{CustomerId, MeterId, TenantId};
use crate::summary::RecordId;
use crate::time::{EventTime, ReceiveTime};

/// Why usage waits. Each kind has one owner role and one way to resolve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExceptionKind {
    /// The bytes are no valid event.
    Malformed,
    /// Same identity, other content.
    Conflict,
    /// No meter reads this event type.
    UnknownMeter,
    /// No customer has this subject.
    UnmappedSubject,
    /// The customer has no subscription at the event's time.
    MissingContract,
    /// The subscription's rate card does not price the meter.
    MissingPrice,
    /// The meter cannot take this event's value.
    RefusedValue,
    /// A new dimension value or unique member beyond the meter's cap.
    CardinalityExceeded,
    /// Its time is ahead of our clock by more than producers' clocks may be.
    BadClock,
    /// Its billing period can no longer be corrected.
    TooLate,
    /// The price of a window's usage does not fit a number.
    Unratable,
    /// Billing read a rated summary and said no.
    RefusedByBilling,
    /// The ERP read a journal entry and said no, or has another one under its id.
    RefusedByErp,
}

impl ExceptionKind {
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::Conflict,
        Self::UnknownMeter,
        Self::UnmappedSubject,
        Self::MissingContract,
        Self::MissingPrice,
        Self::RefusedValue,
        Self::CardinalityExceeded,
        Self::BadClock,
        Self::TooLate,
        Self::Unratable,
        Self::RefusedByBilling,
        Self::RefusedByErp,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Conflict => "conflict",
            Self::UnknownMeter => "unknown_meter",
            Self::UnmappedSubject => "unmapped_subject",
            Self::MissingContract => "missing_contract",
            Self::MissingPrice => "missing_price",
            Self::RefusedValue => "refused_value",
            Self::CardinalityExceeded => "cardinality_exceeded",
            Self::BadClock => "bad_clock",
            Self::TooLate => "too_late",
            Self::Unratable => "unratable",
            Self::RefusedByBilling => "refused_by_billing",
            Self::RefusedByErp => "refused_by_erp",
        }
    }

    /// Who can resolve it.
    #[must_use]
    pub fn owner(self) -> &'static str {
        match self {
            Self::Malformed | Self::Conflict | Self::RefusedValue | Self::BadClock => "product",
            Self::UnknownMeter | Self::CardinalityExceeded => "metering",
            Self::UnmappedSubject | Self::MissingContract => "sales operations",
            Self::MissingPrice | Self::TooLate | Self::Unratable | Self::RefusedByErp => "finance",
            Self::RefusedByBilling => "billing operations",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "correct the producer and send the event again",
            Self::Conflict => "find out which of the two is right; the first one stands, counted or waiting",
            Self::UnknownMeter => "add a meter for this event type to the catalog, then replay",
            Self::UnmappedSubject => "add the subject to a customer in the catalog, then replay",
            Self::MissingContract => "add or extend a subscription of the customer, then replay",
            Self::MissingPrice => "add a charge for the meter to the rate card, then replay",
            Self::RefusedValue => "correct the producer, or the meter's expression or scale, then replay",
            Self::CardinalityExceeded => {
                "raise groups_max, drop the dimension, or make a meter with shorter windows, then replay"
            }
            Self::BadClock => "correct the producer's clock; replay when the time has come",
            Self::Unratable => "check the usage and the price; agree on a manual adjustment",
            Self::RefusedByBilling => {
                "correct in the billing system what made it refuse the record, then replay: the same record is sent again"
            }
            Self::RefusedByErp => {
                "correct in the ERP what made it refuse the entry, then replay: the same entry is sent again"
            }
            Self::TooLate => {
                "its billing period is beyond the correction horizon; agree on a manual adjustment"
            }
        }
    }

    /// Whether a replay can help: it books an event once the catalog or the clock allows, or sends a refused record again.
    #[must_use]
    pub fn replayable(self) -> bool {
        !matches!(self, Self::Malformed | Self::Conflict | Self::Unratable)
    }
}

impl fmt::Display for ExceptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that waits. Its id is a function of what waits, so the same event never waits twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionRecord {
    pub id: RecordId,
    pub kind: ExceptionKind,
    pub tenant: TenantId,
    /// What is wrong, in a sentence for a person.
    pub reason: String,
    /// Set when only this meter could not take the event; the others have counted it.
    pub meter: Option<MeterId>,
    pub customer: Option<CustomerId>,
    pub event: Option<EventRef>,
    pub received_at: ReceiveTime,
    /// The event as it came, cut at [`crate::limits::EXCEPTION_PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// Where it came from: a file and line, an API key, a topic and offset.
    pub origin: String,
    pub status: ExceptionStatus,
}

/// What is known of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRef {
    pub source: String,
    pub id: String,
    pub event_type: String,
    pub subject: String,
    pub time: EventTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionStatus {
    Open,
    /// A replay has counted it, or its record was accepted.
    Resolved,
    /// A person has closed it without counting it.
    Dismissed,
}

impl ExceptionStatus {
    pub const ALL: [Self; 3] = [Self::Open, Self::Resolved, Self::Dismissed];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Dismissed => "dismissed",
        }
    }
}
