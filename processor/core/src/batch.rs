//! What arrives at the rules? A block of decoded events in log order, as columns.
//!
//! An edge has checked every event and evaluated every meter's expressions; nothing here can be malformed.
//! All events of a block share tenant, origin and receive time. Tables (`routes`, `dimension_values`) hold each
//! distinct value of the block once, so that the rules resolve it once.

use std::ops::Range;

use tidemark_schemas::ids::{MeterId, TenantId};
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::{EventTime, ReceiveTime};

use crate::identity::{ContentDigest, Identity};

/// Decoded events, in the order of their source. Vectors marked `[event]` have one entry per event.
#[derive(Clone, Debug)]
pub struct EventBlock {
    pub tenant: TenantId,
    /// Where it came from, for exceptions: a file name, an API key's id.
    pub origin: String,
    pub received_at: ReceiveTime,
    /// `[event]`
    pub identities: Vec<Identity>,
    /// `[event]`
    pub digests: Vec<ContentDigest>,
    /// `[event]`
    pub times: Vec<EventTime>,
    /// `[event]`: index into `routes`.
    pub event_routes: Vec<u32>,
    /// `[event]`: its text in `text`.
    pub ranges: Vec<Range<u32>>,
    /// `[event]`: its attribute `source` in `text`; empty when it has escapes, so that it is not there as it is.
    pub sources: Vec<Range<u32>>,
    /// `[event]`: its attribute `id`, likewise.
    pub ids: Vec<Range<u32>>,
    /// `[event]`: its place in the source, from 1: a line, a row, a place in a batch.
    pub places: Vec<u64>,
    /// The events' bytes as received.
    pub text: Vec<u8>,
    /// Distinct (event type, subject).
    pub routes: Vec<Route>,
    /// Ordered by event, then meter.
    pub measurements: Vec<Measurement>,
    /// Values that a meter could not take. Ordered by event, then meter.
    pub refusals: Vec<Refusal>,
    /// Distinct tuples of dimension values, each in its meter's order of dimensions.
    pub dimension_values: Vec<Vec<String>>,
    /// Inputs that are no valid event.
    pub rejections: Vec<Rejection>,
    /// `[event]` when these events waited as exceptions and are booked now, otherwise empty. Their identities are
    /// remembered already, so dedupe does not apply.
    pub replays: Vec<ReplayOf>,
}

/// Which waiting exception an event of a replay comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOf {
    pub exception: RecordId,
    /// Set when only this meter could not take the event; its other meters have counted it.
    pub meter: Option<MeterId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    pub event_type: String,
    pub subject: String,
}

/// One event's contribution to one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Index of the event in the block.
    pub event: u32,
    /// Index into the catalog's meters.
    pub meter: u16,
    /// Index into `dimension_values`.
    pub dimensions: u32,
    /// A count of `10^-scale` of the meter; for a unique count the bits of the member's hash; for a count 1.
    pub value: i128,
}

/// One meter could not take one event; its other meters are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub event: u32,
    pub meter: u16,
    pub reason: String,
}

/// One input that is no valid event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its place in the source, from 1.
    pub place: u64,
    /// Its text in `text`, cut to the exception payload limit.
    pub range: Range<u32>,
    /// Stable, for programs: `invalid_json`, `missing_attribute`, …
    pub code: &'static str,
    /// JSONPath of the fault, `$` for the whole.
    pub path: String,
    /// For a person: what is wrong and what is allowed.
    pub reason: String,
}

impl EventBlock {
    #[must_use]
    pub fn new(tenant: TenantId, origin: String, received_at: ReceiveTime) -> Self {
        Self::with_capacity(tenant, origin, received_at, 0)
    }

    /// With room for so many events.
    #[must_use]
    pub fn with_capacity(tenant: TenantId, origin: String, received_at: ReceiveTime, events: usize) -> Self {
        Self {
            tenant,
            origin,
            received_at,
            identities: Vec::with_capacity(events),
            digests: Vec::with_capacity(events),
            times: Vec::with_capacity(events),
            event_routes: Vec::with_capacity(events),
            ranges: Vec::with_capacity(events),
            sources: Vec::with_capacity(events),
            ids: Vec::with_capacity(events),
            places: Vec::with_capacity(events),
            text: Vec::new(),
            routes: Vec::new(),
            measurements: Vec::with_capacity(events),
            refusals: Vec::new(),
            dimension_values: Vec::new(),
            rejections: Vec::new(),
            replays: Vec::new(),
        }
    }

    /// Number of events; rejections are not events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    #[must_use]
    pub fn route(&self, event: usize) -> &Route {
        &self.routes[self.event_routes[event] as usize]
    }

    #[must_use]
    pub fn event_text(&self, event: usize) -> &[u8] {
        self.slice(&self.ranges[event])
    }

    #[must_use]
    pub fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.text[range.start as usize..range.end as usize]
    }
}
