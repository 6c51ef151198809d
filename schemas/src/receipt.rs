//! What did the other side answer? Receipts come back in as input and are committed like anything else.

use crate::outbox::Destination;
use crate::summary::RecordId;
use crate::time::ReceiveTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub destination: Destination,
    /// The record that was delivered.
    pub record: RecordId,
    /// Its position in the destination's order, from 1.
    pub sequence: u64,
    pub outcome: Outcome,
    pub at: ReceiveTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it, under this name of its own (a journal number, a file name).
    Accepted { reference: String },
    /// The other side read it and said no. It is parked with the reason until someone acts.
    Refused { reason: String },
}
