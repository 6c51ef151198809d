//! What can only the whole catalog tell? Prices against meters, subscriptions against each other, charges against accounts.
//!
//! Keeps: a reference that does not resolve is reported once, where it is written, and skipped here.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidemark_schemas::decimal::SCALE_MAX;
use tidemark_schemas::ids::{CustomerId, LegalEntityId, MeterId};
use tidemark_schemas::meter::Meter;
use tidemark_schemas::time::EventTime;

use super::mistake::Mistakes;
use super::names::{Kind, Names, suggest};
use super::posting_rules::Rules;
use super::rate_cards::Cards;
use super::subscriptions::Settled;
use super::value::shown;

/// Tiers are split by dimensions that the meter has, and price times quantity is always an exact decimal.
pub(super) fn charges_fit_their_meters(cards: &Cards, meters: &[Meter], mistakes: &Mistakes<'_>) {
    let meters: HashMap<&MeterId, &Meter> = meters.iter().map(|meter| (&meter.id, meter)).collect();
    for charge in cards.facts.iter().flat_map(|card| &card.charges) {
        let Some(meter) = meters.get(&charge.meter) else {
            continue;
        };
        let dimensions: Vec<&str> = meter.dimensions.iter().map(String::as_str).collect();
        let mut seen = HashSet::new();
        for (dimension, place) in &charge.tiers_per {
            if !seen.insert(dimension) {
                mistakes.add(place, format!("`{}` is named twice", shown(dimension)), "name each once");
            } else if !dimensions.contains(&dimension.as_str()) {
                let message = format!("the meter `{}` has no dimension `{}`", meter.id, shown(dimension));
                let help = match dimensions.as_slice() {
                    [] => "remove tiers_per, or give the meter this dimension".to_owned(),
                    all => suggest(dimension, all, "dimension"),
                };
                mistakes.add(place, message, help);
            }
        }
        let quantity_scale = meter.aggregation.result_scale(meter.scale);
        if charge.unit_scale + quantity_scale > SCALE_MAX {
            let message = format!(
                "a price with {} fractional digits times `{}` with {quantity_scale} is not exact",
                charge.unit_scale, meter.id
            );
            let help =
                format!("allowed: {SCALE_MAX} digits together; shorten the price or the meter's scale");
            mistakes.add(&charge.meter_place, message, help);
        }
    }
}

/// The time that one subscription prices one meter.
struct Pricing {
    start: EventTime,
    /// [`EventTime::MAX`] when it does not end.
    end: EventTime,
    subscription: usize,
}

/// An event of a customer must have one price. A meter counts as priced by a subscription when any version of its
/// rate card charges for it: a version that starts in the middle of a window must not decide who prices the window.
///
/// Every subscription that overlaps an earlier one is reported, against the earlier one that lasts longest.
pub(super) fn no_meter_is_priced_twice(settled: &[Settled], cards: &Cards, mistakes: &Mistakes<'_>) {
    let mut pricings: HashMap<(&CustomerId, &MeterId), Vec<Pricing>> = HashMap::new();
    for (at, one) in settled.iter().enumerate() {
        let Some(subscription) = &one.subscription else { continue };
        let charges = cards.facts_of(&subscription.rate_card).map_or(&[][..], |card| &card.charges);
        let meters: HashSet<&MeterId> = charges.iter().map(|charge| &charge.meter).collect();
        for meter in meters {
            let end = subscription.end.unwrap_or(EventTime::MAX);
            let pricing = Pricing { start: subscription.start, end, subscription: at };
            pricings.entry((&subscription.customer, meter)).or_default().push(pricing);
        }
    }
    // (later, earlier) and the meters that both price; ordered, so that messages never depend on hashing.
    let mut overlaps: BTreeMap<(usize, usize), Vec<&MeterId>> = BTreeMap::new();
    for ((_, meter), mut list) in pricings {
        list.sort_by_key(|pricing| (pricing.start, pricing.subscription));
        let mut longest: Option<&Pricing> = None;
        for pricing in &list {
            if let Some(before) = longest.filter(|before| pricing.start < before.end) {
                overlaps.entry((pricing.subscription, before.subscription)).or_default().push(meter);
            }
            if longest.is_none_or(|before| pricing.end > before.end) {
                longest = Some(pricing);
            }
        }
    }
    for ((later, earlier), mut meters) in overlaps {
        meters.sort_unstable();
        let (later, earlier) = (&settled[later], &settled[earlier]);
        let Some(other) = &earlier.subscription else { continue };
        let at = mistakes.locate(&earlier.place);
        let until = other.end.map_or("without an end".to_owned(), |end| format!("until {end}"));
        let meters = meters.iter().take(3).map(|meter| format!("`{meter}`")).collect::<Vec<_>>().join(", ");
        let message = format!(
            "it prices {meters} at the same time as the subscription `{}` at {at}, which runs from {} {until}",
            other.id, other.start
        );
        mistakes.add(
            &later.place,
            message,
            "end one before the other starts, or charge for different meters",
        );
    }
}

/// Usage that is priced must be booked somewhere.
pub(super) fn every_charge_has_a_posting_rule(
    settled: &[Settled],
    cards: &Cards,
    rules: &Rules,
    names: &Names,
    mistakes: &Mistakes<'_>,
) {
    if names.is_open(Kind::PostingRule) {
        return;
    }
    let mut used = HashSet::new();
    let mut told: HashSet<(&MeterId, &LegalEntityId)> = HashSet::new();
    for one in settled {
        let (Some(card), Some(entity)) = (&one.rate_card, &one.legal_entity) else { continue };
        let is_news = used.insert((card, entity));
        if !is_news || !names.is_defined(Kind::LegalEntity, entity.as_str()) {
            continue;
        }
        for charge in cards.facts_of(card).into_iter().flat_map(|card| &card.charges) {
            let meter = &charge.meter;
            let is_known = names.is_defined(Kind::Meter, meter.as_str());
            if is_known && !rules.cover(meter, entity) && told.insert((meter, entity)) {
                let message = format!("no posting rule applies to `{meter}` at the legal entity `{entity}`");
                let help = "add a [[posting_rule]] for it, or one without meter and legal_entity for all";
                mistakes.add(&charge.meter_place, message, help);
            }
        }
    }
}
