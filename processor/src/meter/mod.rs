//! What does an event contribute? Rows of found values in, measurements and refusals of every meter out.
//!
//! Reading order: `plan` (a catalog's meters, checked once), `field` (JSON values to declared kinds), `rules`
//! (which SQL is exact), `expression` (DataFusion on Arrow columns), `measure` (rows to measurements).
//! This is the only room that names DataFusion.
//!
//! Keeps: a value that a meter cannot take exactly is refused with a reason, and only for that meter; a filter
//! that is not true feeds nothing and refuses nothing. Results come ordered by event, then meter.
//!
//! Deliberately absent: reading bytes. Where the rows come from is the wiring's business.

mod expression;
mod field;
mod measure;
mod plan;
mod rules;

#[cfg(test)]
mod tests;

use crate::field_value::FieldValue;
pub use measure::Measured;
pub use plan::{MeterMistake, MeterPart, MeterPlans, TypePlan, plan_meters};

/// Values of events of one type, row after row, each with one value per slot of the type.
#[derive(Clone, Copy, Debug)]
pub struct RowBatch<'b, 'r> {
    /// Each row's event in its block, ascending.
    pub events: &'b [u32],
    pub values: &'b [FieldValue<'r>],
    /// Slots per row.
    pub slots: usize,
}

impl<'b, 'r> RowBatch<'b, 'r> {
    fn value(&self, row: u32, slot: usize) -> &'b FieldValue<'r> {
        &self.values[row as usize * self.slots + slot]
    }
}
