//! What does a change of usage cost? A price is a function of the cumulative quantity of a billing period; a line is the
//! rounded function after, less the rounded function before.
//!
//! Keeps I-6: the lines of a period add up to the rounded price of its total, because each line is defined as that
//! difference. Falling usage gives negative lines.
//!
//! A rate card may change inside a period. Then the price is `f1(q1) + (f2(q1 + q2) - f2(q1)) + …`, with `q1` the usage of
//! windows under the first version and so on: every part is priced by the version in force when it happened, tiers go on
//! counting, and the sum depends only on the parts, not on the order in which windows closed.

mod price;

pub use price::amount;

use std::collections::BTreeMap;

use tidemark_schemas::decimal::{Decimal, NumberError};
use tidemark_schemas::meter::Meter;
use tidemark_schemas::money::{Currency, Money};
use tidemark_schemas::rate_card::Charge;
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::EventTime;

use crate::aggregate::{Aggregate, merge_into};

/// What a charge has cost so far in one billing period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub period: Span,
    /// Usage by rate card version, keyed by the instant the version came into force.
    /// An empty part is a version that was in force without usage.
    pub parts: BTreeMap<EventTime, Option<Aggregate>>,
    /// Unrounded price of all parts, as billed so far.
    pub amount: Decimal,
    /// The same in minor units, as billed so far.
    pub amount_minor: i128,
}

/// One step of the price function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub cumulative_before: Decimal,
    pub cumulative_after: Decimal,
    pub amount: Money,
    pub amount_unrounded: Decimal,
}

impl Series {
    #[must_use]
    pub fn new(period: Span) -> Self {
        Self { period, parts: BTreeMap::new(), amount: Decimal::ZERO, amount_minor: 0 }
    }

    /// Adds usage under the version in force since `effective_from` and answers what it costs.
    /// `charge_of` finds the charge of a version by the same key.
    ///
    /// # Errors
    /// [`NumberError`] when a quantity or amount does not fit; then nothing has changed.
    pub fn step<'a>(
        &mut self,
        meter: &Meter,
        currency: Currency,
        effective_from: EventTime,
        usage: Option<&Aggregate>,
        charge_of: impl Fn(EventTime) -> Option<&'a Charge>,
    ) -> Result<Step, NumberError> {
        let cumulative_before = total_quantity(&self.parts, meter)?;
        let mut parts = self.parts.clone();
        let part = parts.entry(effective_from).or_default();
        if let Some(usage) = usage {
            merge_into(part, usage)?;
        }
        let after = total_amount(&parts, meter, charge_of)?;
        let after_minor = Money::rounded(after, currency)?.minor;
        let minor = after_minor.checked_sub(self.amount_minor).ok_or(NumberError::Overflow)?;
        let step = Step {
            cumulative_before,
            cumulative_after: total_quantity(&parts, meter)?,
            amount: Money { minor, currency },
            amount_unrounded: after.sub(self.amount)?,
        };
        (self.parts, self.amount, self.amount_minor) = (parts, after, after_minor);
        Ok(step)
    }
}

fn total_quantity(
    parts: &BTreeMap<EventTime, Option<Aggregate>>,
    meter: &Meter,
) -> Result<Decimal, NumberError> {
    let mut total = None;
    for usage in parts.values().flatten() {
        merge_into(&mut total, usage)?;
    }
    quantity_of(total.as_ref(), meter)
}

fn quantity_of(usage: Option<&Aggregate>, meter: &Meter) -> Result<Decimal, NumberError> {
    usage.map_or(Ok(Decimal::ZERO), |usage| usage.quantity(meter))
}

fn total_amount<'a>(
    parts: &BTreeMap<EventTime, Option<Aggregate>>,
    meter: &Meter,
    charge_of: impl Fn(EventTime) -> Option<&'a Charge>,
) -> Result<Decimal, NumberError> {
    let mut usage_so_far: Option<Aggregate> = None;
    let mut total = Decimal::ZERO;
    let mut maximum = None;
    for (at, (effective_from, usage)) in parts.iter().enumerate() {
        let charge = charge_of(*effective_from)
            .expect("a catalog that drops a version in use is refused before it is applied");
        let before = quantity_of(usage_so_far.as_ref(), meter)?;
        if let Some(usage) = usage {
            merge_into(&mut usage_so_far, usage)?;
        }
        let after = quantity_of(usage_so_far.as_ref(), meter)?;
        // The first version's part starts at nothing, so that a flat fee at zero is inside its amount.
        let already = if at == 0 { Decimal::ZERO } else { amount(charge, before)? };
        total = total.add(amount(charge, after)?)?.sub(already)?;
        maximum = charge.maximum;
    }
    Ok(maximum.map_or(total, |maximum| total.min(maximum)))
}

#[cfg(test)]
mod tests;
