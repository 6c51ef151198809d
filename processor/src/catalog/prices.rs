//! How does a quantity become an amount? The `price` of a charge: one kind, with exact numbers that are not negative.

use tidemark_schemas::Decimal;
use tidemark_schemas::rate_card::{Price, Tier};
use toml::de::DeValue;

use super::mistake::Place;
use super::table::Table;
use super::value::Value;

const KINDS: [&str; 4] = ["per_unit", "graduated", "volume", "package"];

/// More tiers than any public price list has, and few enough to walk for every line.
const TIERS_MAX: usize = 1_000;

pub(super) fn price(value: Value<'_>) -> Option<Price> {
    let mut table = match value.raw {
        DeValue::Table(_) => value.table()?,
        _ => return value.expected("a price", "write it like { per_unit = \"0.0001\" }"),
    };
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    if given.len() != 1 {
        let message = match given.as_slice() {
            [] => "the price has no kind".to_owned(),
            several => format!("the price has {} kinds: {}", several.len(), several.join(", ")),
        };
        table.mistake(message, format!("write exactly one of {}", KINDS.join(", ")));
    }
    let per_unit = table.optional("per_unit", Value::amount);
    let graduated = table.optional("graduated", tiers);
    let volume = table.optional("volume", tiers);
    let package = table.optional("package", |v| package(v.table()?));
    table.finish();
    if given.len() != 1 {
        return None;
    }
    match (per_unit?, graduated?, volume?, package?) {
        (Some(unit), ..) => Some(Price::PerUnit { unit }),
        (_, Some(tiers), ..) => Some(Price::Graduated { tiers }),
        (_, _, Some(tiers), _) => Some(Price::Volume { tiers }),
        (.., package) => package,
    }
}

/// The numbers that a quantity is multiplied by.
pub(super) fn units(price: &Price) -> Box<dyn Iterator<Item = Decimal> + '_> {
    match price {
        Price::PerUnit { unit } => Box::new(std::iter::once(*unit)),
        Price::Graduated { tiers } | Price::Volume { tiers } => Box::new(tiers.iter().map(|tier| tier.unit)),
        // Multiplied by a whole number of packages.
        Price::Package { .. } => Box::new(std::iter::empty()),
    }
}

fn package(mut table: Table<'_>) -> Option<Price> {
    let size = table.required("size", |value| {
        let (place, mistakes) = (value.place.clone(), value.mistakes);
        let size = value.amount()?;
        if !size.is_positive() {
            mistakes.add(&place, "a package of size 0 never fills", "allowed: more than 0");
            return None;
        }
        Some(size)
    });
    let price = table.required("price", Value::amount);
    let free = table.or("free", Decimal::ZERO, Value::amount);
    table.finish();
    Some(Price::Package { size: size?, price: price?, free: free? })
}

/// At least one tier; bounds strictly ascending, the last tier and only it without one.
fn tiers(value: Value<'_>) -> Option<Vec<Tier>> {
    let (place, mistakes) = (value.place.clone(), value.mistakes);
    let read = value.list(|element| {
        let place = element.place.clone();
        Some((tier(element.table()?)?, place))
    })?;
    if read.len() > TIERS_MAX {
        mistakes.add(&place, format!("{} tiers", read.len()), format!("at most {TIERS_MAX} are allowed"));
        return None;
    }
    let Some(last) = read.len().checked_sub(1) else {
        mistakes.add(&place, "there is no tier", "write at least one, such as [{ unit = \"0.5\" }]");
        return None;
    };
    let mut bound = Decimal::ZERO;
    let mut is_good = true;
    let mut wrong = |place: &Place, message: String, help: &str| {
        mistakes.add(place, message, help);
        is_good = false;
    };
    for (at, (tier, place)) in read.iter().enumerate() {
        match tier.up_to {
            None if at < last => {
                wrong(
                    place,
                    "a tier without `up_to` ends the list".into(),
                    "only the last tier has no `up_to`",
                );
            }
            Some(up_to) if at == last => {
                let message = format!("the last tier ends at {up_to}, so larger quantities have no price");
                wrong(place, message, "leave `up_to` out of the last tier");
            }
            Some(up_to) if up_to <= bound => {
                let message = format!("`up_to` {up_to} is not above {bound}");
                wrong(place, message, "tiers ascend strictly, from above 0");
            }
            Some(up_to) => bound = up_to,
            None => {}
        }
    }
    is_good.then(|| read.into_iter().map(|(tier, _)| tier).collect())
}

fn tier(mut table: Table<'_>) -> Option<Tier> {
    let up_to = table.optional("up_to", Value::amount);
    // A tier may cost a flat fee and nothing per unit; one without either was not finished.
    let unit = if table.has("flat") {
        table.or("unit", Decimal::ZERO, Value::amount)
    } else {
        table.required("unit", Value::amount)
    };
    let flat = table.or("flat", Decimal::ZERO, Value::amount);
    table.finish();
    Some(Tier { up_to: up_to?, unit: unit?, flat: flat? })
}
