//! Whose usage is it, and which windows does it feed? Everything about a block that needs the catalog but no state.
//!
//! It depends on nothing that a commit changes, so blocks are resolved in parallel before they queue for the partition.
//! Deliberately absent: whether an event was seen before, whether it is late, whether a group is over its cap.

use std::ops::Range;

use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::rate_card::Charge;
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::{EventTime, MICROS_PER_DAY};

use crate::batch::{EventBlock, Measurement};
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

#[derive(Clone, Debug)]
pub struct PlannedGroup {
    pub id: GroupId,
    pub row: Group,
    /// Where the number of groups of this subscription and meter is counted.
    pub count: GroupId,
    pub groups_max: u32,
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

/// Resolves every event of the block.
#[must_use]
pub fn resolve(terms: &Terms, key: &DeploymentKey, block: &EventBlock) -> Resolved {
    let mut resolver = Resolver {
        terms,
        key,
        block,
        out: Resolved::default(),
        memos: FixedMap::default(),
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
    memos: FixedMap<(u32, u16, u32), Memo>,
    window_index: FixedMap<WindowKey, u32>,
    group_index: FixedMap<GroupId, u32>,
}

impl Resolver<'_> {
    fn route_terms(&self, route: &crate::batch::Route) -> RouteTerms {
        let tenant = &self.block.tenant;
        if !self.terms.is_metered(tenant, &route.event_type) {
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

    fn bad_clock(&self, event: usize) -> ResolvedEvent {
        let (time, received_at) = (self.block.times[event], self.block.received_at);
        let reason = format!("the event says {time}, but it was received at {received_at}");
        self.parked(event, None, Park { kind: ExceptionKind::BadClock, meter: None, reason })
    }

    fn parked(&self, event: usize, customer: Option<usize>, park: Park) -> ResolvedEvent {
        let forget = self.block.times[event].plus_micros(FORGET_UNEXPLAINED_AFTER_MICROS);
        ResolvedEvent {
            feeds: self.feeds_from(self.out.feeds.len()),
            parks: self.parks_from(self.out.parks.len()),
            park: Some(Box::new(park)),
            customer,
            period_end: EventTime::MAX,
            forget_day: self.forget_day(forget),
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
        ResolvedEvent {
            feeds: self.feeds_from(feeds),
            parks: self.parks_from(parks),
            park: None,
            customer: Some(customer),
            period_end,
            forget_day: self.forget_day(period_end),
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
            let calendar = terms.calendar(subscription);
            let period = calendar.period(time);
            let window = calendar.window(meter.window, time, period);
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
        let group = self.plan_group(customer, subscription, value);
        let key = WindowKey { start: window.start, group: self.out.groups[group as usize].id };
        let next = u32::try_from(self.out.windows.len())
            .expect("a block has fewer windows than events times meters");
        let index = *self.window_index.entry(key).or_insert(next);
        if index == next {
            let dimension_values = &self.block.dimension_values[value.dimensions as usize];
            let tiers = tier_values(charge, &meter.dimensions, dimension_values);
            let series = series_id(self.key, contract.id.as_str(), meter.id.as_str(), period, &tiers);
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

    fn plan_group(&mut self, customer: usize, subscription: usize, value: &Measurement) -> u32 {
        let contract = self.terms.subscription(subscription);
        let meter = self.terms.meter(usize::from(value.meter));
        let dimension_values = &self.block.dimension_values[value.dimensions as usize];
        let mut names = vec![contract.id.as_str(), meter.id.as_str()];
        let count = GroupId(self.key.hash_parts(PURPOSE_GROUP_COUNT, &names));
        names.extend(dimension_values.iter().map(String::as_str));
        let id = GroupId(self.key.hash_parts(PURPOSE_GROUP, &names));
        let next =
            u32::try_from(self.out.groups.len()).expect("a block has fewer groups than events times meters");
        let index = *self.group_index.entry(id).or_insert(next);
        if index == next {
            let row = Group {
                tenant: contract.tenant.clone(),
                customer: self.terms.customer(customer).id.clone(),
                subscription: contract.id.clone(),
                meter: meter.id.clone(),
                dimension_values: dimension_values.clone(),
            };
            self.out.groups.push(PlannedGroup { id, row, count, groups_max: meter.groups_max });
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
    fn forget_day(&self, period_end: EventTime) -> u16 {
        let last = period_end.plus_micros(self.terms.timing().horizon_micros);
        let day = last.micros().div_euclid(MICROS_PER_DAY);
        u16::try_from(day.max(0)).unwrap_or(u16::MAX)
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("blocks are bounded far below 2^32 entries")
}

/// Values of the dimensions that have tiers of their own.
fn tier_values<'a>(charge: &Charge, dimensions: &[String], values: &'a [String]) -> Vec<&'a str> {
    let named = dimensions.iter().zip(values).filter(|(dimension, _)| charge.tiers_per.contains(dimension));
    named.map(|(_, value)| value.as_str()).collect()
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
    let start = period.start.micros().to_string();
    let mut names = vec![subscription, meter, start.as_str()];
    names.extend(tiers);
    SeriesId(key.hash_parts(PURPOSE_SERIES, &names))
}
