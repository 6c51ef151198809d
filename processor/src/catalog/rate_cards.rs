//! What does it cost? The `[[rate_card]]` tables with their versions and charges.
//!
//! Keeps: versions are in force one after the other, and a version prices a meter once.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use tidemark_schemas::ids::{MeterId, RateCardId};
use tidemark_schemas::rate_card::{Charge, RateCard, RateCardVersion};
use tidemark_schemas::time::EventTime;
use tidemark_schemas::{Currency, Decimal};
use toml::de::DeValue;

use super::mistake::Place;
use super::names::{Kind, Names};
use super::prices::{self, price};
use super::table::Table;
use super::value::{Moment, Value, shown};

pub(super) struct Cards {
    /// Those without a mistake of their own.
    pub list: Vec<RateCard>,
    /// What other checks need of every card, in the order of the files.
    pub facts: Vec<CardFacts>,
    by_id: HashMap<RateCardId, usize>,
}

/// What is known of a card, even of one that is otherwise wrong.
pub(super) struct CardFacts {
    pub currency: Option<Currency>,
    pub charges: Vec<ChargeFacts>,
}

pub(super) struct ChargeFacts {
    pub meter: MeterId,
    pub meter_place: Place,
    /// With the place of each.
    pub tiers_per: Vec<(String, Place)>,
    /// Most fractional digits of any number that a quantity is multiplied by; 0 when the price is wrong.
    pub unit_scale: u32,
}

impl Cards {
    pub fn read(tops: &mut [Table<'_>], names: &mut Names) -> Self {
        let mut cards = Self { list: Vec::new(), facts: Vec::new(), by_id: HashMap::new() };
        for table in tops.iter_mut().flat_map(|top| top.tables("rate_card")) {
            cards.card(table, names);
        }
        cards
    }

    pub fn facts_of(&self, id: &RateCardId) -> Option<&CardFacts> {
        self.by_id.get(id).map(|at| &self.facts[*at])
    }

    fn card(&mut self, mut table: Table<'_>, names: &mut Names) {
        let id = table.id(Kind::RateCard, names, RateCardId::new);
        let currency = table.required("currency", Value::currency);
        let versions = table.tables("version");
        if versions.is_empty() {
            table
                .mistake("a rate card has no version", "add a [[rate_card.version]] with its effective_from");
        }
        let mut charges = Vec::new();
        let mut order = Order::default();
        let versions: Vec<_> =
            versions.into_iter().map(|table| version(table, names, &mut order, &mut charges)).collect();
        table.finish();
        if let Some(id) = &id {
            self.by_id.insert(id.clone(), self.facts.len());
        }
        self.facts.push(CardFacts { currency, charges });
        let versions: Option<Vec<RateCardVersion>> = versions.into_iter().collect();
        if let (Some(id), Some(currency), Some(mut versions)) = (id, currency, versions) {
            versions.sort_by_key(|version| version.effective_from);
            self.list.push(RateCard { id, currency, versions });
        }
    }
}

/// What the versions of one card may not share.
#[derive(Default)]
struct Order {
    names: HashMap<String, Place>,
    starts: HashMap<EventTime, Place>,
}

fn version(
    mut table: Table<'_>,
    names: &mut Names,
    order: &mut Order,
    facts: &mut Vec<ChargeFacts>,
) -> Option<RateCardVersion> {
    let name = table.required("version", |value| {
        let name = version_name(&value)?;
        if let Some(first) = order.names.insert(name.clone(), value.place.clone()) {
            let message =
                format!("another version is called `{}`, at {}", shown(&name), value.mistakes.locate(&first));
            value.mistake(message, "each version of a rate card has its own name");
        }
        Some(name)
    });
    let effective_from = table.required("effective_from", |value| {
        let (place, mistakes) = (value.place.clone(), value.mistakes);
        let start = value.moment().map(|moment: Moment| moment.start_in(&TimeZone::UTC))?;
        if let Some(first) = order.starts.insert(start, place.clone()) {
            let message =
                format!("another version is effective from {start} too, at {}", mistakes.locate(&first));
            mistakes.add(&place, message, "each version of a rate card begins at its own time");
        }
        Some(start)
    });
    let charges = table.tables("charge");
    if charges.is_empty() {
        table.mistake(
            "a version has no charge",
            "add a [[rate_card.version.charge]]; a free meter has per_unit = \"0\"",
        );
    }
    let mut priced = HashMap::new();
    let charges: Vec<_> = charges.into_iter().map(|table| charge(table, names, &mut priced, facts)).collect();
    table.finish();
    Some(RateCardVersion {
        version: name?,
        effective_from: effective_from?,
        charges: charges.into_iter().collect::<Option<_>>()?,
    })
}

/// Text, or a whole number for those who count their versions.
fn version_name(value: &Value<'_>) -> Option<String> {
    match value.raw {
        DeValue::Integer(_) => value.integer(0..=i64::MAX).map(|number| number.to_string()),
        _ => value.text().map(str::to_owned),
    }
}

fn charge(
    mut table: Table<'_>,
    names: &mut Names,
    priced: &mut HashMap<MeterId, Place>,
    facts: &mut Vec<ChargeFacts>,
) -> Option<Charge> {
    let meter = table.required("meter", |value| {
        let meter = names.refer(Kind::Meter, &value, MeterId::new)?;
        if let Some(first) = priced.insert(meter.clone(), value.place.clone()) {
            let message =
                format!("this version already charges for `{meter}`, at {}", value.mistakes.locate(&first));
            value.mistake(message, "a version prices a meter once");
        }
        Some((meter, value.place))
    });
    let price = table.required("price", price);
    let tiers_per = table.or("tiers_per", Vec::new(), |value| {
        value.list(|element| Some((element.text()?.to_owned(), element.place)))
    });
    let maximum = table.optional("maximum", Value::amount);
    let flat_fee_at_zero = table.or("flat_fee_at_zero", true, Value::boolean);
    table.finish();
    let (meter, meter_place) = meter?;
    facts.push(ChargeFacts {
        meter: meter.clone(),
        meter_place,
        tiers_per: tiers_per.clone().unwrap_or_default(),
        unit_scale: price
            .as_ref()
            .and_then(|price| prices::units(price).map(Decimal::scale).max())
            .unwrap_or(0),
    });
    Some(Charge {
        meter,
        price: price?,
        tiers_per: tiers_per?.into_iter().map(|(dimension, _)| dimension).collect(),
        maximum: maximum?,
        flat_fee_at_zero: flat_fee_at_zero?,
    })
}
