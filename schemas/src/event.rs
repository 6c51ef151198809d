//! What happened? One usage event, as CloudEvents 1.0 describes it, and where it stands in its source.

use crate::ids::TenantId;
use crate::time::{EventTime, ReceiveTime};

/// The checked attributes of one CloudEvent. `raw` is the event as received, the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    pub tenant: TenantId,
    pub source: String,
    pub id: String,
    pub event_type: String,
    pub subject: String,
    pub time: EventTime,
    pub received_at: ReceiveTime,
    pub raw: Vec<u8>,
}

/// Where the product keeps an event: the commit that covered it, and its place in that commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    pub commit: u64,
    pub index: u32,
}

impl std::fmt::Display for LogPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.commit, self.index)
    }
}
