//! What does a quantity cost? `f(quantity)` for each kind of price, exact.
//!
//! Tiers are continuous and their upper bounds inclusive: 100.5 of "to 100, to 200" is in the second tier.
//! A negative quantity (more corrections than usage) is priced by the first tier's unit price, without fees.

use tidemark_schemas::decimal::{Decimal, NumberError};
use tidemark_schemas::rate_card::{Charge, Price, Tier};

/// The unrounded amount in currency units for a period's quantity.
///
/// # Errors
/// [`NumberError`] when the product does not fit 128 bits.
pub fn amount(charge: &Charge, quantity: Decimal) -> Result<Decimal, NumberError> {
    match &charge.price {
        Price::PerUnit { unit } => quantity.mul(*unit),
        Price::Graduated { tiers } => graduated(tiers, quantity, charge.flat_fee_at_zero),
        Price::Volume { tiers } => volume(tiers, quantity, charge.flat_fee_at_zero),
        Price::Package { size, price, free } => {
            let billable = quantity.sub(*free)?;
            Decimal::from_int(billable.packages_of(*size)?).mul(*price)
        }
    }
}

/// A tier is reached when the quantity is above the bound below it; the first one from the start,
/// unless its fee is not charged for a period without usage.
fn flat_fee(tier: &Tier, quantity: Decimal, is_first: bool, fee_at_zero: bool) -> Decimal {
    let charged = quantity.is_positive() || (is_first && quantity.is_zero() && fee_at_zero);
    if charged { tier.flat } else { Decimal::ZERO }
}

fn graduated(tiers: &[Tier], quantity: Decimal, fee_at_zero: bool) -> Result<Decimal, NumberError> {
    let mut total = Decimal::ZERO;
    let mut floor = Decimal::ZERO;
    for (at, tier) in tiers.iter().enumerate() {
        if at > 0 && quantity <= floor {
            break;
        }
        let ceiling = tier.up_to.map_or(quantity, |up_to| up_to.min(quantity));
        total = total.add(ceiling.sub(floor)?.mul(tier.unit)?)?;
        total = total.add(flat_fee(tier, quantity, at == 0, fee_at_zero))?;
        floor = ceiling;
        if tier.up_to.is_some_and(|up_to| quantity <= up_to) {
            break;
        }
    }
    Ok(total)
}

fn volume(tiers: &[Tier], quantity: Decimal, fee_at_zero: bool) -> Result<Decimal, NumberError> {
    let inside = |tier: &Tier| tier.up_to.is_none_or(|up_to| quantity <= up_to);
    let at = tiers.iter().position(inside).expect("the catalog makes the last tier unbounded");
    let tier = &tiers[at];
    quantity.mul(tier.unit)?.add(flat_fee(tier, quantity, at == 0, fee_at_zero))
}
