//! What leaves? A row of the outbox: bytes for one destination, written by the commit that caused them (I-4).

use std::fmt;

use crate::summary::RecordId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Billing,
    Erp,
}

impl Destination {
    pub const ALL: [Self; 2] = [Self::Billing, Self::Erp];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Billing => "billing",
            Self::Erp => "erp",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Id and bytes are functions of content, so sending a row twice is harmless (I-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    pub destination: Destination,
    /// Position in the destination's order, from 1, without gaps.
    pub sequence: u64,
    pub id: RecordId,
    pub payload: Vec<u8>,
}
