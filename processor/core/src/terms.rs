//! Which terms hold for this usage? A catalog with its references resolved, so that an event finds customer, contract,
//! window, price and accounts by look-up.
//!
//! Everything here is a function of the catalog alone. A catalog may follow another only if it keeps what past usage
//! depends on: see [`Terms::follows`].

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tidemark_schemas::catalog::{Catalog, Timing};
use tidemark_schemas::customer::Customer;
use tidemark_schemas::ids::{CustomerId, LegalEntityId, MeterId, SubscriptionId, TenantId};
use tidemark_schemas::legal_entity::{AccountingPeriod, LegalEntity};
use tidemark_schemas::meter::Meter;
use tidemark_schemas::posting_rule::PostingRule;
use tidemark_schemas::rate_card::{Charge, RateCard, RateCardVersion};
use tidemark_schemas::subscription::Subscription;
use tidemark_schemas::time::EventTime;

use crate::calendar::{Calendar, CalendarError, accounting_period, zone};
use crate::record::name_hash;
use crate::working::FixedMap;

/// A subject that stands for every subject of its tenant that no customer names.
pub const ANY_SUBJECT: &str = "*";

/// A catalog, resolved. Indexes are positions in the catalog's lists.
pub struct Terms {
    pub catalog: Arc<Catalog>,
    subjects: BTreeMap<TenantId, FixedMap<String, usize>>,
    /// By customer index.
    contracts: Vec<Vec<usize>>,
    /// By subscription index.
    agreements: Vec<Agreement>,
    /// Each once: many subscriptions share theirs.
    calendars: Vec<Calendar>,
    subscriptions: BTreeMap<SubscriptionId, usize>,
    subscription_hashes: BTreeMap<u128, usize>,
    customers: BTreeMap<(TenantId, CustomerId), usize>,
    meters: BTreeMap<MeterId, usize>,
    zones: BTreeMap<LegalEntityId, (TimeZone, usize)>,
}

/// What belongs to one subscription.
struct Agreement {
    calendar: usize,
    rate_card: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    #[error("{what} `{name}` refers to {missing}, which is not in the catalog")]
    Unresolved { what: &'static str, name: String, missing: String },
    #[error("{what} `{name}`: {error}")]
    Calendar { what: &'static str, name: String, error: CalendarError },
}

impl Terms {
    /// # Errors
    /// [`TermsError`] for what the catalog edge refuses with file and line; here it guards the core.
    pub fn new(catalog: Arc<Catalog>) -> Result<Self, TermsError> {
        let customers: BTreeMap<_, _> = catalog
            .customers
            .iter()
            .enumerate()
            .map(|(at, customer)| ((customer.tenant.clone(), customer.id.clone()), at))
            .collect();
        let cards: BTreeMap<_, _> =
            catalog.rate_cards.iter().enumerate().map(|(at, card)| (&card.id, at)).collect();
        let mut subjects: BTreeMap<TenantId, FixedMap<String, usize>> = BTreeMap::new();
        for (at, customer) in catalog.customers.iter().enumerate() {
            let of_tenant = subjects.entry(customer.tenant.clone()).or_default();
            of_tenant.extend(customer.subjects.iter().map(|subject| (subject.clone(), at)));
        }
        let mut contracts = vec![Vec::new(); catalog.customers.len()];
        let mut agreements = Vec::with_capacity(catalog.subscriptions.len());
        let mut calendars = Vec::new();
        let mut known_calendars = BTreeMap::new();
        for (at, subscription) in catalog.subscriptions.iter().enumerate() {
            let name = || subscription.id.to_string();
            let unresolved =
                |missing: String| TermsError::Unresolved { what: "subscription", name: name(), missing };
            let customer = customers.get(&(subscription.tenant.clone(), subscription.customer.clone()));
            let customer =
                customer.ok_or_else(|| unresolved(format!("customer `{}`", subscription.customer)))?;
            contracts[*customer].push(at);
            let card = cards.get(&subscription.rate_card);
            let rate_card =
                *card.ok_or_else(|| unresolved(format!("rate card `{}`", subscription.rate_card)))?;
            let (zone, anchor, period) =
                (subscription.time_zone.as_str(), subscription.period_anchor, subscription.period);
            let calendar = match known_calendars.get(&(zone, anchor, period.months())) {
                Some(known) => *known,
                None => {
                    let calendar = Calendar::new(zone, anchor, period);
                    calendars.push(calendar.map_err(|error| TermsError::Calendar {
                        what: "subscription",
                        name: name(),
                        error,
                    })?);
                    known_calendars.insert((zone, anchor, period.months()), calendars.len() - 1);
                    calendars.len() - 1
                }
            };
            agreements.push(Agreement { calendar, rate_card });
        }
        let mut zones = BTreeMap::new();
        for (at, entity) in catalog.legal_entities.iter().enumerate() {
            let zone = zone(&entity.time_zone).map_err(|error| TermsError::Calendar {
                what: "legal entity",
                name: entity.id.to_string(),
                error,
            })?;
            zones.insert(entity.id.clone(), (zone, at));
        }
        let subscriptions = catalog
            .subscriptions
            .iter()
            .enumerate()
            .map(|(at, subscription)| (subscription.id.clone(), at))
            .collect();
        let hashed = |(at, subscription): (usize, &Subscription)| (name_hash(subscription.id.as_str()), at);
        let subscription_hashes = catalog.subscriptions.iter().enumerate().map(hashed).collect();
        let meters = catalog.meters.iter().enumerate().map(|(at, meter)| (meter.id.clone(), at)).collect();
        let terms = Self {
            subjects,
            contracts,
            agreements,
            calendars,
            subscriptions,
            subscription_hashes,
            customers,
            meters,
            zones,
            catalog,
        };
        terms.check_postings()?;
        Ok(terms)
    }

    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.catalog.timing
    }

    /// Whether any meter reads events of this type.
    #[must_use]
    pub fn is_metered(&self, tenant: &TenantId, event_type: &str) -> bool {
        let reads = |meter: &Meter| {
            meter.event_type == event_type && meter.tenant.as_ref().is_none_or(|of| of == tenant)
        };
        self.catalog.meters.iter().any(reads)
    }

    /// Index of the customer that a subject belongs to.
    #[must_use]
    pub fn customer_of(&self, tenant: &TenantId, subject: &str) -> Option<usize> {
        let subjects = self.subjects.get(tenant)?;
        subjects.get(subject).or_else(|| subjects.get(ANY_SUBJECT)).copied()
    }

    #[must_use]
    pub fn customer(&self, at: usize) -> &Customer {
        &self.catalog.customers[at]
    }

    /// Indexes of the customer's subscriptions that are active at `time`.
    pub fn active(&self, customer: usize, time: EventTime) -> impl Iterator<Item = usize> + '_ {
        let active = move |at: &usize| {
            let subscription = &self.catalog.subscriptions[*at];
            subscription.start <= time && subscription.end.is_none_or(|end| time < end)
        };
        self.contracts[customer].iter().copied().filter(active)
    }

    #[must_use]
    pub fn subscription(&self, at: usize) -> &Subscription {
        &self.catalog.subscriptions[at]
    }

    #[must_use]
    pub fn subscription_named(&self, id: &SubscriptionId) -> Option<usize> {
        self.subscriptions.get(id).copied()
    }

    /// By [`name_hash`] of its id.
    #[must_use]
    pub fn subscription_hashed(&self, hash: u128) -> Option<usize> {
        self.subscription_hashes.get(&hash).copied()
    }

    #[must_use]
    pub fn customer_named(&self, tenant: &TenantId, id: &CustomerId) -> &Customer {
        let at = self
            .customers
            .get(&(tenant.clone(), id.clone()))
            .expect("subscriptions name customers of the catalog");
        &self.catalog.customers[*at]
    }

    #[must_use]
    pub fn meter(&self, at: usize) -> &Meter {
        &self.catalog.meters[at]
    }

    #[must_use]
    pub fn meter_named(&self, id: &MeterId) -> Option<usize> {
        self.meters.get(id).copied()
    }

    #[must_use]
    pub fn calendar(&self, subscription: usize) -> &Calendar {
        &self.calendars[self.calendar_index(subscription)]
    }

    /// Equal for subscriptions that have the same calendar.
    #[must_use]
    pub fn calendar_index(&self, subscription: usize) -> usize {
        self.agreements[subscription].calendar
    }

    #[must_use]
    pub fn rate_card(&self, subscription: usize) -> &RateCard {
        &self.catalog.rate_cards[self.agreements[subscription].rate_card]
    }

    /// The version in force at `time`: the newest that is effective by then.
    #[must_use]
    pub fn version_at(&self, subscription: usize, time: EventTime) -> Option<&RateCardVersion> {
        self.rate_card(subscription).versions.iter().rev().find(|version| version.effective_from <= time)
    }

    /// The charge for a meter in the version that came into force at `effective_from`.
    #[must_use]
    pub fn charge(&self, subscription: usize, meter: &MeterId, effective_from: EventTime) -> Option<&Charge> {
        let version =
            self.rate_card(subscription).versions.iter().find(|v| v.effective_from == effective_from)?;
        version.charges.iter().find(|charge| charge.meter == *meter)
    }

    #[must_use]
    pub fn entity(&self, id: &LegalEntityId) -> &LegalEntity {
        let (_, at) = self.zones.get(id).expect("subscriptions name legal entities of the catalog");
        &self.catalog.legal_entities[*at]
    }

    /// The month of the entity's books that an instant belongs to, and the open month it is booked in.
    #[must_use]
    pub fn booked_in(&self, entity: &LegalEntityId, time: EventTime) -> (AccountingPeriod, AccountingPeriod) {
        let (zone, at) = self.zones.get(entity).expect("subscriptions name legal entities of the catalog");
        let service = accounting_period(zone, time);
        let closed_through = self.catalog.legal_entities[*at].closed_through;
        (service, closed_through.map_or(service, |closed| service.max(closed.next())))
    }

    /// The most specific posting rule: meter and entity, then entity, then meter, then neither.
    #[must_use]
    pub fn posting_rule(&self, meter: &MeterId, entity: &LegalEntityId) -> Option<&PostingRule> {
        let fits = |rule: &&PostingRule| {
            rule.meter.as_ref().is_none_or(|of| of == meter)
                && rule.legal_entity.as_ref().is_none_or(|of| of == entity)
        };
        let specificity = |rule: &&PostingRule| (rule.legal_entity.is_some(), rule.meter.is_some());
        self.catalog.posting_rules.iter().filter(fits).max_by_key(specificity)
    }

    /// Whether this catalog can take over from `before`, with usage counted up to `reached`: that was computed with
    /// subscriptions, meters and rate card versions that must stay as they were. Answers what is wrong, in sentences for
    /// the catalog's author.
    #[must_use]
    pub fn follows(&self, before: &Terms, reached: Option<EventTime>) -> Vec<String> {
        let mut faults = Vec::new();
        if self.timing().horizon_micros > before.timing().horizon_micros {
            faults.push(
                "the horizon is longer than it was, but identities beyond the old one are forgotten; keep it"
                    .into(),
            );
        }
        for old in &before.catalog.meters {
            match self.meter_named(&old.id).map(|at| self.meter(at)) {
                None => faults.push(format!("meter `{}` is gone; past usage depends on it: keep it", old.id)),
                Some(new) if !same_measure(old, new) => faults.push(format!(
                    "meter `{}` has another aggregation, window, scale or dimensions; make a new meter instead",
                    old.id
                )),
                Some(_) => {}
            }
        }
        for old in &before.catalog.subscriptions {
            match self.subscription_named(&old.id).map(|at| self.subscription(at)) {
                None => faults.push(format!("subscription `{}` is gone; give it an `end` instead", old.id)),
                Some(new) if !same_contract(old, new) => faults.push(format!(
                    "subscription `{}` has another customer, rate card, calendar, currency or legal entity; end it and start a new one",
                    old.id
                )),
                Some(_) => {}
            }
        }
        for old in &before.catalog.rate_cards {
            let new = self.catalog.rate_cards.iter().find(|card| card.id == old.id);
            let kept = |version: &RateCardVersion| new.is_some_and(|card| card.versions.contains(version));
            for version in old.versions.iter().filter(|version| !kept(version)) {
                faults.push(format!(
                    "rate card `{}` version `{}` has changed or is gone; add a version with a later effective_from instead",
                    old.id, version.version
                ));
            }
            if let (Some(new), Some(reached)) = (new, reached)
                && before.catalog.subscriptions.iter().any(|subscription| subscription.rate_card == old.id)
            {
                faults.extend(backdated(old, new, reached));
            }
        }
        faults
    }

    fn check_postings(&self) -> Result<(), TermsError> {
        for (at, subscription) in self.catalog.subscriptions.iter().enumerate() {
            let unresolved = |missing: String| TermsError::Unresolved {
                what: "subscription",
                name: subscription.id.to_string(),
                missing,
            };
            let entity = &subscription.legal_entity;
            if !self.zones.contains_key(entity) {
                return Err(unresolved(format!("legal entity `{entity}`")));
            }
            for charge in self.rate_card(at).versions.iter().flat_map(|version| &version.charges) {
                if self.meter_named(&charge.meter).is_none() {
                    return Err(unresolved(format!("meter `{}` through its rate card", charge.meter)));
                }
                if self.posting_rule(&charge.meter, entity).is_none() {
                    return Err(unresolved(format!(
                        "a posting rule for meter `{}` and entity `{entity}`",
                        charge.meter
                    )));
                }
            }
        }
        Ok(())
    }
}

fn same_measure(old: &Meter, new: &Meter) -> bool {
    (old.aggregation, old.window, old.scale, &old.dimensions)
        == (new.aggregation, new.window, new.scale, &new.dimensions)
}

/// New versions that would price usage up to `reached` otherwise than it was priced (I-3): windows that are open would
/// keep the old price while those beside them get the new one. A version that only adds meters without a price changes
/// nothing that was billed; it is how usage that waits for a price gets one.
fn backdated(old: &RateCard, new: &RateCard, reached: EventTime) -> Vec<String> {
    let is_backdated =
        |version: &&RateCardVersion| version.effective_from <= reached && !old.versions.contains(version);
    let mut faults = Vec::new();
    for version in new.versions.iter().filter(is_backdated) {
        let in_force = old.versions.iter().rev().find(|old| old.effective_from <= version.effective_from);
        for charge in in_force.into_iter().flat_map(|old| &old.charges) {
            if !version.charges.contains(charge) {
                faults.push(format!(
                    "rate card `{}` version `{}` changes the price of meter `{}` from {} on, but usage up to {reached} is \
                     priced already; let it begin after {reached}",
                    old.id, version.version, charge.meter, version.effective_from
                ));
            }
        }
    }
    faults
}

fn same_contract(old: &Subscription, new: &Subscription) -> bool {
    let terms = |s: &Subscription| {
        (
            s.tenant.clone(),
            s.customer.clone(),
            s.rate_card.clone(),
            s.start,
            s.period_anchor,
            s.period,
            s.time_zone.clone(),
            s.currency,
            s.legal_entity.clone(),
        )
    };
    terms(old) == terms(new)
}
