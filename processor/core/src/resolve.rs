//! Whose usage is it, and which windows does it feed? Everything about a block that needs the catalog but no state.
//!
//! It depends on nothing that a commit changes, so blocks are resolved in parallel before they queue for the partition.
//! Deliberately absent: whether an event was seen before, whether it is late, whether a group is over its cap.

use std::ops::Range;

use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::meter::WindowLength;
use tidemark_schemas::rate_card::Charge;
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::{EventTime, MICROS_PER_DAY};

use hashbrown::hash_map::Entry;

use crate::batch::{EventBlock, Measurement, Route};
use crate::identity::DeploymentKey;
use crate::state::{Group, GroupId, SeriesId, WindowKey};
use crate::terms::Terms;
use crate::working::FixedMap;

/// Purposes of keyed hashes, so that equal texts in different roles never share a key.
const PURPOSE_GROUP: u8 = 2;
const PURPOSE_SERIES: u8 = 3;
const PURPOSE_GROUP_COUNT: u8 = 4;

/// Identities of events that no contract explains are kept as long as the longest billing period could need.
const FORGET_UNEXPLAINED_AFTER_MICROS: i64 = 366 * MICROS_PER_DAY;

/// A block with its terms.
#[derive(Debug, Default)]
pub struct Resolved {
    /// One per event.
    pub events: Vec<ResolvedEvent>,
    /// Ordered by event.
    pub feeds: Vec<Feed>,
    /// Of single meters; ordered by event.
    pub parks: Vec<Park>,
    /// Distinct windows of the block.
    pub windows: Vec<PlannedWindow>,
    /// Distinct groups of the block.
    pub groups: Vec<PlannedGroup>,
}

#[derive(Debug)]
pub struct ResolvedEvent {
    /// Into [`Resolved::feeds`].
    pub feeds: Range<u32>,
    /// Into [`Resolved::parks`].
    pub parks: Range<u32>,
    /// Set when the event as a whole must wait.
    pub park: Option<Box<Park>>,
    pub customer: Option<usize>,
    /// End of the newest billing period it belongs to; decides how long it can still be corrected.
    pub period_end: EventTime,
    /// See [`crate::identity::Remembered`].
    pub forget_day: u16,
}

/// One value into one window.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    pub meter: u16,
    /// Into [`Resolved::windows`].
    pub window: u32,
    pub value: i128,
}

#[derive(Clone, Debug)]
pub struct PlannedWindow {
    pub key: WindowKey,
    pub end: EventTime,
    pub period: Span,
    pub series: SeriesId,
    pub effective_from: EventTime,
    /// Into [`Resolved::groups`].
    pub group: u32,
}

/// Its row is only made when it turns out to be new: see [`Self::row`].
#[derive(Clone, Copy, Debug)]
pub struct PlannedGroup {
    pub id: GroupId,
    pub subscription: usize,
    pub meter: u16,
    /// Into [`EventBlock::dimension_values`].
    pub dimensions: u32,
    /// Where the number of groups of this subscription and meter is counted.
    pub count: GroupId,
    pub groups_max: u32,
}

impl PlannedGroup {
    /// Under the terms that the block was resolved with.
    #[must_use]
    pub fn row(&self, terms: &Terms, block: &EventBlock) -> Group {
        let contract = terms.subscription(self.subscription);
        Group {
            tenant: contract.tenant.clone(),
            customer: contract.customer.clone(),
            subscription: contract.id.clone(),
            meter: terms.meter(usize::from(self.meter)).id.clone(),
            dimension_values: block.dimension_values[self.dimensions as usize].clone(),
        }
    }
}

/// Why something waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Park {
    pub kind: ExceptionKind,
    /// Index of the meter, when the event's other meters are not affected.
    pub meter: Option<u16>,
    pub reason: String,
}

/// What a route, meter and dimensions led to last time: right again for any event of the same window and contract.
struct Memo {
    valid: Span,
    window: u32,
    period_end: EventTime,
}

/// The window and the billing period that a calendar gave last time: right again for any time in the window.
struct Spans {
    window: Span,
    period: Span,
    /// The period's start, as series are named by it.
    period_name: String,
}

/// Resolves every event of the block.
#[must_use]
pub fn resolve(terms: &Terms, key: &DeploymentKey, block: &EventBlock) -> Resolved {
    let mut resolver = Resolver {
        terms,
        key,
        block,
        out: Resolved {
            events: Vec::with_capacity(block.len()),
            feeds: Vec::with_capacity(block.measurements.len()),
            ..Resolved::default()
        },
        metered: FixedMap::default(),
        spans: FixedMap::default(),
        forget: None,
        memos: FixedMap::with_capacity_and_hasher(block.routes.len(), Default::default()),
        window_index: FixedMap::default(),
        group_index: FixedMap::default(),
    };
    let routes: Vec<RouteTerms> = block.routes.iter().map(|route| resolver.route_terms(route)).collect();
    let newest_believable = block.received_at.newest_believable(terms.timing().clock_ahead_micros);
    let (mut measurement, mut refusal) = (0, 0);
    for event in 0..block.len() {
        let measurements = advance(&mut measurement, &block.measurements, |m| m.event as usize == event);
        let refusals = advance(&mut refusal, &block.refusals, |r| r.event as usize == event);
        let route = &routes[block.event_routes[event] as usize];
        let resolved = if block.times[event] > newest_believable {
            resolver.bad_clock(event)
        } else {
            resolver.event(event, route, &block.measurements[measurements], refusals)
        };
        resolver.out.events.push(resolved);
    }
    resolver.out
}

/// Moves `at` past the entries of one event and returns their range.
fn advance<T>(at: &mut usize, entries: &[T], belongs: impl Fn(&T) -> bool) -> Range<usize> {
    let start = *at;
    while entries.get(*at).is_some_and(&belongs) {
        *at += 1;
    }
    start..*at
}

struct RouteTerms {
    customer: Option<usize>,
    park: Option<Park>,
}

struct Resolver<'a> {
    terms: &'a Terms,
    key: &'a DeploymentKey,
    block: &'a EventBlock,
    out: Resolved,
    /// Event types, and whether a meter reads them.
    metered: FixedMap<&'a str, bool>,
    /// By calendar and length of window.
    spans: FixedMap<(usize, WindowLength), Spans>,
    /// The newest answer of [`Self::forget_day`], and what for.
    forget: Option<(EventTime, u16)>,
    /// By route, meter and dimensions.
    memos: FixedMap<(u32, u16, u32), Memo>,
    window_index: FixedMap<WindowKey, u32>,
    group_index: FixedMap<GroupId, u32>,
}

impl<'a> Resolver<'a> {
    fn route_terms(&mut self, route: &'a Route) -> RouteTerms {
        let tenant = &self.block.tenant;
        let is_metered = || self.terms.is_metered(tenant, &route.event_type);
        if !*self.metered.entry(&route.event_type).or_insert_with(is_metered) {
            let reason = format!("no meter reads events of type `{}`", route.event_type);
            return RouteTerms {
                customer: None,
                park: Some(Park { kind: ExceptionKind::UnknownMeter, meter: None, reason }),
            };
        }
        let customer = self.terms.customer_of(tenant, &route.subject);
        let park = customer.is_none().then(|| Park {
            kind: ExceptionKind::UnmappedSubject,
            meter: None,
            reason: format!("no customer of tenant `{tenant}` has the subject `{}`", route.subject),
        });
        RouteTerms { customer, park }
    }

    fn bad_clock(&mut self, event: usize) -> ResolvedEvent {
        let (time, received_at) = (self.block.times[event], self.block.received_at);
        let reason = format!("the event says {time}, but it was received at {received_at}");
        self.parked(event, None, Park { kind: ExceptionKind::BadClock, meter: None, reason })
    }

    fn parked(&mut self, event: usize, customer: Option<usize>, park: Park) -> ResolvedEvent {
        let forget = self.block.times[event].plus_micros(FORGET_UNEXPLAINED_AFTER_MICROS);
        let forget_day = self.forget_day(forget);
        ResolvedEvent {
            feeds: self.feeds_from(self.out.feeds.len()),
            parks: self.parks_from(self.out.parks.len()),
            park: Some(Box::new(park)),
            customer,
            period_end: EventTime::MAX,
            forget_day,
        }
    }

    fn event(
        &mut self,
        event: usize,
        route: &RouteTerms,
        values: &[Measurement],
        refusals: Range<usize>,
    ) -> ResolvedEvent {
        let time = self.block.times[event];
        if let Some(park) = &route.park {
            return self.parked(event, route.customer, park.clone());
        }
        let customer = route.customer.expect("a route without a customer is parked");
        let (feeds, parks) = (self.out.feeds.len(), self.out.parks.len());
        for refusal in &self.block.refusals[refusals] {
            let park = Park {
                kind: ExceptionKind::RefusedValue,
                meter: Some(refusal.meter),
                reason: refusal.reason.clone(),
            };
            self.out.parks.push(park);
        }
        let mut period_end = None;
        for value in values {
            match self.feed(event, customer, value) {
                Ok(end) => period_end = period_end.max(Some(end)),
                Err(park) => self.out.parks.push(park),
            }
        }
        let period_end = match period_end {
            Some(end) => end,
            // Fed nothing. The first contract's period says how long the identity matters; without a contract that is why.
            None => match self.terms.active(customer, time).next() {
                Some(subscription) => self.terms.calendar(subscription).period(time).end,
                None => {
                    self.out.parks.truncate(parks);
                    return self.parked(event, Some(customer), self.missing_contract(customer, time));
                }
            },
        };
        let forget_day = self.forget_day(period_end);
        ResolvedEvent {
            feeds: self.feeds_from(feeds),
            parks: self.parks_from(parks),
            park: None,
            customer: Some(customer),
            period_end,
            forget_day,
        }
    }

    fn missing_contract(&self, customer: usize, time: EventTime) -> Park {
        let id = &self.terms.customer(customer).id;
        let reason = format!("customer `{id}` has no subscription that is active at {time}");
        Park { kind: ExceptionKind::MissingContract, meter: None, reason }
    }

    fn feed(&mut self, event: usize, customer: usize, value: &Measurement) -> Result<EventTime, Park> {
        let time = self.block.times[event];
        let memo_key = (self.block.event_routes[event], value.meter, value.dimensions);
        let memo = match self.memos.get(&memo_key) {
            Some(memo) if memo.valid.contains(time) => (memo.window, memo.period_end),
            _ => {
                let memo = self.plan(customer, value, time)?;
                let found = (memo.window, memo.period_end);
                self.memos.insert(memo_key, memo);
                found
            }
        };
        self.out.feeds.push(Feed { meter: value.meter, window: memo.0, value: value.value });
        Ok(memo.1)
    }

    /// Finds contract, window and price, and plans the window's row.
    fn plan(&mut self, customer: usize, value: &Measurement, time: EventTime) -> Result<Memo, Park> {
        let terms = self.terms;
        let meter = terms.meter(usize::from(value.meter));
        let mut priced = None;
        for subscription in terms.active(customer, time) {
            let Spans { window, period, .. } = *self.spans(subscription, meter.window, time);
            let charge = terms.version_at(subscription, window.start).and_then(|version| {
                let charge = version.charges.iter().find(|charge| charge.meter == meter.id)?;
                Some((charge, version.effective_from))
            });
            if let Some((charge, effective_from)) = charge {
                priced = Some((subscription, period, window, charge, effective_from));
                break;
            }
        }
        let Some((subscription, period, window, charge, effective_from)) = priced else {
            let reason = format!(
                "no rate card of customer `{}` prices meter `{}` at {time}",
                terms.customer(customer).id,
                meter.id
            );
            return Err(Park { kind: ExceptionKind::MissingPrice, meter: Some(value.meter), reason });
        };
        let contract = terms.subscription(subscription);
        let group = self.plan_group(subscription, value);
        let key = WindowKey { start: window.start, group: self.out.groups[group as usize].id };
        let next = u32::try_from(self.out.windows.len())
            .expect("a block has fewer windows than events times meters");
        let index = *self.window_index.entry(key).or_insert(next);
        if index == next {
            let dimension_values = &self.block.dimension_values[value.dimensions as usize];
            let tiers = tier_values(charge, &meter.dimensions, dimension_values);
            let period_name = &self.spans[&(terms.calendar_index(subscription), meter.window)].period_name;
            let names = [contract.id.as_str(), meter.id.as_str(), period_name].into_iter();
            let series = SeriesId(self.key.hash_parts(PURPOSE_SERIES, names.chain(tiers)));
            self.out.windows.push(PlannedWindow {
                key,
                end: window.end,
                period,
                series,
                effective_from,
                group,
            });
        }
        let valid = Span {
            start: window.start.max(contract.start),
            end: contract.end.map_or(window.end, |end| end.min(window.end)),
        };
        Ok(Memo { valid, window: index, period_end: period.end })
    }

    fn spans(&mut self, subscription: usize, length: WindowLength, time: EventTime) -> &Spans {
        let calculate = || {
            let calendar = self.terms.calendar(subscription);
            let period = calendar.period(time);
            let window = calendar.window(length, time, period);
            Spans { window, period, period_name: period_name(period) }
        };
        match self.spans.entry((self.terms.calendar_index(subscription), length)) {
            Entry::Vacant(none) => none.insert(calculate()),
            Entry::Occupied(known) => {
                let spans = known.into_mut();
                if !spans.window.contains(time) {
                    *spans = calculate();
                }
                spans
            }
        }
    }

    fn plan_group(&mut self, subscription: usize, value: &Measurement) -> u32 {
        let contract = self.terms.subscription(subscription);
        let meter = self.terms.meter(usize::from(value.meter));
        let dimension_values = &self.block.dimension_values[value.dimensions as usize];
        let names = [contract.id.as_str(), meter.id.as_str()];
        let values = dimension_values.iter().map(String::as_str);
        let id = GroupId(self.key.hash_parts(PURPOSE_GROUP, names.into_iter().chain(values)));
        let next =
            u32::try_from(self.out.groups.len()).expect("a block has fewer groups than events times meters");
        let index = *self.group_index.entry(id).or_insert(next);
        if index == next {
            let Measurement { meter: meter_index, dimensions, .. } = *value;
            let count = GroupId(self.key.hash_parts(PURPOSE_GROUP_COUNT, names));
            let groups_max = meter.groups_max;
            self.out.groups.push(PlannedGroup {
                id,
                subscription,
                meter: meter_index,
                dimensions,
                count,
                groups_max,
            });
        }
        index
    }

    fn feeds_from(&self, start: usize) -> Range<u32> {
        narrow(start)..narrow(self.out.feeds.len())
    }

    fn parks_from(&self, start: usize) -> Range<u32> {
        narrow(start)..narrow(self.out.parks.len())
    }

    /// The last day on which an event of a period that ends at `period_end` can still be corrected.
    fn forget_day(&mut self, period_end: EventTime) -> u16 {
        match self.forget {
            Some((end, day)) if end == period_end => day,
            _ => {
                let last = period_end.plus_micros(self.terms.timing().horizon_micros);
                let day = last.micros().div_euclid(MICROS_PER_DAY);
                let day = u16::try_from(day.max(0)).unwrap_or(u16::MAX);
                self.forget = Some((period_end, day));
                day
            }
        }
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("blocks are bounded far below 2^32 entries")
}

/// Values of the dimensions that have tiers of their own.
fn tier_values<'v>(
    charge: &Charge,
    dimensions: &[String],
    values: &'v [String],
) -> impl Iterator<Item = &'v str> {
    let named = dimensions.iter().zip(values).filter(|(dimension, _)| charge.tiers_per.contains(dimension));
    named.map(|(_, value)| value.as_str())
}

/// Where the cumulative usage of a subscription's charge in one billing period is kept.
#[must_use]
pub fn series_id(
    key: &DeploymentKey,
    subscription: &str,
    meter: &str,
    period: Span,
    tiers: &[&str],
) -> SeriesId {
    let period = period_name(period);
    let names = [subscription, meter, &period].into_iter().chain(tiers.iter().copied());
    SeriesId(key.hash_parts(PURPOSE_SERIES, names))
}

fn period_name(period: Span) -> String {
    period.start.micros().to_string()
}
