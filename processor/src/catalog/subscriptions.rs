//! What did the customer agree to? The `[[subscription]]` tables.
//!
//! Read in two steps: its own keys with the file, then, when all files are read, what it takes from others: the
//! currency of its rate card, and the only legal entity.

use jiff::tz::TimeZone;
use tidemark_schemas::Currency;
use tidemark_schemas::ids::{CustomerId, LegalEntityId, RateCardId, SubscriptionId, TenantId};
use tidemark_schemas::subscription::{CivilDate, PeriodLength, Subscription};
use tidemark_schemas::time::EventTime;

use super::customers::{Customers, default_tenant};
use super::mistake::{Mistakes, Place};
use super::names::{Kind, Names, suggest};
use super::rate_cards::Cards;
use super::table::Table;
use super::value::{Value, Zones, zone_name};

/// A subscription as written. A key is `None` when it is wrong.
pub(super) struct Draft {
    place: Place,
    id: Option<SubscriptionId>,
    tenant: Option<TenantId>,
    customer: Option<(CustomerId, Place)>,
    rate_card: Option<RateCardId>,
    terms: Option<Terms>,
    /// Inside: `None` when not written.
    currency: Option<Option<(Currency, Place)>>,
    legal_entity: Option<Option<LegalEntityId>>,
}

/// From when to when, in whose calendar.
struct Terms {
    start: EventTime,
    end: Option<EventTime>,
    period_anchor: CivilDate,
    period: PeriodLength,
    time_zone: String,
}

/// A subscription with its place; the entity and the card even when the rest is wrong.
pub(super) struct Settled {
    pub place: Place,
    pub rate_card: Option<RateCardId>,
    pub legal_entity: Option<LegalEntityId>,
    pub subscription: Option<Subscription>,
}

pub(super) fn read(tops: &mut [Table<'_>], names: &mut Names, zones: &Zones) -> Vec<Draft> {
    tops.iter_mut()
        .flat_map(|top| top.tables("subscription"))
        .map(|table| draft(table, names, zones))
        .collect()
}

fn draft(mut table: Table<'_>, names: &mut Names, zones: &Zones) -> Draft {
    let id = table.id(Kind::Subscription, names, SubscriptionId::new);
    let tenant = table.or("tenant", default_tenant(), |v| v.name(TenantId::new));
    let customer =
        table.required("customer", |v| Some((names.refer(Kind::Customer, &v, CustomerId::new)?, v.place)));
    let rate_card = table.required("rate_card", |v| names.refer(Kind::RateCard, &v, RateCardId::new));
    let terms = terms(&mut table, zones);
    let currency = table.optional("currency", |v| {
        let place = v.place.clone();
        Some((v.currency()?, place))
    });
    let legal_entity =
        table.optional("legal_entity", |v| names.refer(Kind::LegalEntity, &v, LegalEntityId::new));
    let place = table.place.clone();
    table.finish();
    Draft { place, id, tenant, customer, rate_card, terms, currency, legal_entity }
}

fn terms(table: &mut Table<'_>, zones: &Zones) -> Option<Terms> {
    let start = table.required("start", Value::moment);
    let end = table.optional("end", |v| {
        let place = v.place.clone();
        Some((v.moment()?, place))
    });
    let anchor = table.optional("period_anchor", Value::day);
    let period =
        table.or("period", PeriodLength::Month, |v| v.choice(&PeriodLength::ALL, PeriodLength::name));
    let zone = table.or("time_zone", TimeZone::UTC, |v| v.zone(zones))?;
    let first_day = start?.day_in(&zone);
    let start = start?.start_in(&zone);
    let end = end?.map(|(moment, place)| (moment.start_in(&zone), place));
    if let Some((end, place)) = &end
        && *end <= start
    {
        let message = format!("it ends at {end}, which is not after its start at {start}");
        table.mistakes.add(place, message, "`end` is the first instant after it");
        return None;
    }
    Some(Terms {
        start,
        end: end.map(|(end, _)| end),
        period_anchor: anchor?.unwrap_or(first_day),
        period: period?,
        time_zone: zone_name(&zone),
    })
}

/// Takes from the other entries what the subscriptions do not say themselves, and checks that they agree.
pub(super) fn settle(
    drafts: Vec<Draft>,
    customers: &Customers,
    cards: &Cards,
    names: &Names,
    mistakes: &Mistakes<'_>,
) -> Vec<Settled> {
    let entities = names.all(Kind::LegalEntity);
    drafts
        .into_iter()
        .map(|draft| {
            draft.check_tenant(customers, mistakes);
            let currency = draft.settled_currency(cards, mistakes);
            let legal_entity = draft.settled_entity(&entities, names, mistakes);
            draft.settled(currency, legal_entity)
        })
        .collect()
}

impl Draft {
    fn check_tenant(&self, customers: &Customers, mistakes: &Mistakes<'_>) {
        let (Some(tenant), Some((customer, place))) = (&self.tenant, &self.customer) else {
            return;
        };
        if let Some(theirs) = customers.tenants.get(customer).filter(|theirs| *theirs != tenant) {
            let message = format!(
                "the customer `{customer}` is of the tenant `{theirs}`, this subscription of `{tenant}`"
            );
            mistakes.add(
                place,
                message,
                format!("write tenant = \"{theirs}\" here, or name another customer"),
            );
        }
    }

    fn settled_currency(&self, cards: &Cards, mistakes: &Mistakes<'_>) -> Option<Currency> {
        let card = self.rate_card.as_ref()?;
        let theirs = cards.facts_of(card)?.currency?;
        if let Some((ours, place)) = self.currency.as_ref()?
            && *ours != theirs
        {
            let message = format!("the subscription is in {ours}, its rate card `{card}` in {theirs}");
            mistakes.add(
                place,
                message,
                format!("write {theirs} or leave it out, or name a rate card in {ours}"),
            );
            return None;
        }
        Some(theirs)
    }

    fn settled_entity(
        &self,
        entities: &[&str],
        names: &Names,
        mistakes: &Mistakes<'_>,
    ) -> Option<LegalEntityId> {
        if let Some(named) = self.legal_entity.as_ref()? {
            return Some(named.clone());
        }
        match entities {
            [only] => LegalEntityId::new(only).ok(),
            // Which one would be the only one is not known.
            _ if names.is_open(Kind::LegalEntity) => None,
            all => {
                let message = format!("it names no legal entity, and the catalog has {}", all.len());
                mistakes.add(&self.place, message, suggest("", all, "legal_entity"));
                None
            }
        }
    }

    fn settled(self, currency: Option<Currency>, legal_entity: Option<LegalEntityId>) -> Settled {
        let Self { place, id, tenant, customer, rate_card, terms, .. } = self;
        let all = || {
            let terms = terms?;
            Some(Subscription {
                id: id?,
                tenant: tenant?,
                customer: customer?.0,
                rate_card: rate_card.clone()?,
                start: terms.start,
                end: terms.end,
                period_anchor: terms.period_anchor,
                period: terms.period,
                time_zone: terms.time_zone,
                currency: currency?,
                legal_entity: legal_entity.clone()?,
            })
        };
        let subscription = all();
        Settled { place, rate_card, legal_entity, subscription }
    }
}
