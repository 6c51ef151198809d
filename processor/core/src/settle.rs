//! What happens when time has passed? Windows close, late usage becomes adjustments, periods end, entries are cut.
//!
//! Everything that must happen is a timer in event time; the watermark sets it off, in the timers' order, whatever block
//! the watermark moved in. Logical time here is the timer's own `due`, never the watermark that set it off: a watermark
//! that jumps and one that creeps lead to the same lines and entries (I-10).

use tidemark_schemas::decimal::{Decimal, NumberError};
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::meter::Meter;
use tidemark_schemas::summary::{Dimensions, Evidence, RatedSummary, RecordId, Span, UsageSummary};
use tidemark_schemas::time::EventTime;

use crate::aggregate::{Aggregate, merge_into};
use crate::changes::{Changes, RatedRow, SETTLED_MAX, Unratable};
use crate::identity::DeploymentKey;
use crate::post::{cut, post};
use crate::rate::{Series, Step, amount};
use crate::record::{name_hash, record_id};
use crate::resolve::series_id;
use crate::state::{Group, SeriesId, Task, Timer, Window, WindowKey};
use crate::terms::Terms;
use crate::working::Working;

/// A line of more than 10^30 minor units is a mistake in usage or price; 10^8 such lines still fit one entry.
const LINE_MINOR_MAX: i128 = 10_i128.pow(30);

/// Whether everything that is due has been settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// More is due than one commit may hold, or a row is not loaded: commit, load, go on.
    Waiting,
}

/// Settles what is due at the watermark, in order.
pub fn settle_due(terms: &Terms, working: &mut Working, changes: &mut Changes) -> Due {
    let Some(watermark) = working.progress.watermark(terms.timing().disorder_micros) else {
        return Due::Nothing;
    };
    while let Some(timer) = working.timers.first_due(watermark) {
        if changes.settled >= SETTLED_MAX || !is_ready(terms, working, timer) {
            return Due::Waiting;
        }
        changes.settled += 1;
        working.timers.clear(timer);
        match timer.task {
            Task::Settle(key) => settle_window(terms, working, key, timer.due, changes),
            Task::EndPeriod(subscription, start) => {
                end_period(terms, working, subscription, start, timer.due, changes)
            }
            Task::Cut(posting) => cut(working, posting, changes),
        }
    }
    Due::Nothing
}

/// Declares that no event older than `until` is expected any more: an idle tick, or an operator's "complete".
pub fn declare(working: &mut Working, until: EventTime) {
    let declared = &mut working.progress.declared;
    *declared = (*declared).max(Some(until));
}

/// The watermark at which everything counted so far is billed and booked: the end of the newest billing period with
/// usage, and the time that closing, adjusting and cutting take after it. Once that is reached and nothing waits for a
/// later one, it is the present watermark, so that declaring twice is declaring once.
#[must_use]
pub fn complete_at(terms: &Terms, working: &Working) -> Option<EventTime> {
    let timing = terms.timing();
    let after = timing.grace_micros + 2 * timing.adjust_every_micros + 2 * timing.post_every_micros;
    let watermark = working.progress.watermark(timing.disorder_micros);
    let period_end = working.progress.latest_period_end;
    let is_over = period_end.is_none_or(|end| Some(end.plus_micros(after)) <= watermark);
    let is_settled =
        working.timers.windows() == 0 && working.postings.values().all(|open| open.due.is_none());
    if is_over && is_settled {
        return watermark;
    }
    Some(period_end.max(watermark)?.plus_micros(after))
}

/// Takes over a catalog: subscriptions with fees for periods without usage are watched from their first period on.
pub fn adopt(terms: &Terms, working: &mut Working) {
    for (at, subscription) in terms.catalog.subscriptions.iter().enumerate() {
        let id = name_hash(subscription.id.as_str());
        let charges = terms.rate_card(at).versions.iter().flat_map(|version| &version.charges);
        let has_fee =
            charges.into_iter().any(|charge| amount(charge, Decimal::ZERO).is_ok_and(|fee| !fee.is_zero()));
        if has_fee {
            // From where it was left: an end that was moved makes it watched again. Setting a timer twice changes nothing.
            let from = working.watched.get(&id).copied().unwrap_or(subscription.start);
            watch(terms, working, at, from);
        }
    }
}

/// Sets the timer for the end of the period that `time` is in, if the subscription is active in it.
fn watch(terms: &Terms, working: &mut Working, subscription: usize, time: EventTime) {
    let contract = terms.subscription(subscription);
    let id = name_hash(contract.id.as_str());
    let period = terms.calendar(subscription).period(time);
    working.watched.insert(id, period.start);
    working.watched_dirty.insert(id);
    if contract.end.is_none_or(|end| period.start < end) && period.end > period.start {
        let due = period.end.plus_micros(terms.timing().grace_micros);
        working.timers.set(Timer { due, task: Task::EndPeriod(id, period.start) });
    }
}

/// The first multiple of `every` after `time`.
#[must_use]
pub fn next_multiple(time: EventTime, every: i64) -> EventTime {
    time.plus_micros(every - time.micros().rem_euclid(every))
}

fn is_ready(terms: &Terms, working: &Working, timer: Timer) -> bool {
    match timer.task {
        Task::Settle(key) => {
            let window_is_ready = working.windows.is_loaded(&key) && working.groups.is_loaded(&key.group);
            let series = |window: &Window| working.series.is_loaded(&window.series);
            window_is_ready && working.windows.get(&key).is_some_and(series)
        }
        Task::EndPeriod(subscription, start) => period_series(terms, &working.key, subscription, start)
            .iter()
            .all(|(_, series)| working.series.is_loaded(series)),
        Task::Cut(_) => true,
    }
}

/// Reports what is pending in a window: revision 1 when it closes, later ones as adjustments (I-3).
fn settle_window(terms: &Terms, working: &mut Working, key: WindowKey, at: EventTime, changes: &mut Changes) {
    let window =
        working.windows.change(key).as_mut().expect("a timer's window is stored as long as the timer is");
    let pending = window.pending.take().expect("a settle timer means that something is pending");
    let group = working.groups.get(&key.group).expect("a window's group is stored before it");
    let subscription =
        terms.subscription_named(&group.subscription).expect("catalogs keep subscriptions in use");
    let meter = terms.meter(terms.meter_named(&group.meter).expect("catalogs keep meters in use"));
    let contract = terms.subscription(subscription);
    merge_into(&mut window.settled, &pending).expect("room was checked when the values were taken");
    window.revision += 1;
    if window.revision == 1 {
        changes.closed += 1;
    } else {
        changes.adjusted += 1;
    }
    let series = working.series.change(window.series).get_or_insert_with(|| Series::new(window.period));
    let mut priced_series = series.clone();
    let priced =
        price(terms, subscription, &meter.id, &mut priced_series, window.effective_from, Some(&pending));
    let priced = priced.and_then(|step| {
        if step.amount.minor.abs() > LINE_MINOR_MAX { Err(NumberError::Overflow) } else { Ok(step) }
    });
    let quantity = window.settled.as_ref().expect("just merged").quantity(meter);
    let (step, quantity, delta) = match (priced, quantity) {
        (Ok(step), Ok(quantity)) => (step, quantity, quantity.sub(window.reported)),
        (Err(error), _) | (_, Err(error)) => {
            changes.unratable.push(unratable(key, window.revision, &error));
            return;
        }
    };
    *series = priced_series;
    let quantity_delta = delta.expect("quantities of one window have one scale and are bounded");
    window.reported = quantity;
    let dimensions: Dimensions =
        meter.dimensions.iter().cloned().zip(group.dimension_values.iter().cloned()).collect();
    let summary = UsageSummary {
        tenant: group.tenant.clone(),
        customer: group.customer.clone(),
        subscription: contract.id.clone(),
        meter: meter.id.clone(),
        unit: meter.unit.clone(),
        dimensions,
        window: Span { start: key.start, end: window.end },
        period: window.period,
        revision: window.revision,
        quantity,
        quantity_delta,
        evidence: window.evidence,
        catalog_version: terms.catalog.version.clone(),
    };
    let effective_from = window.effective_from;
    emit(terms, working, subscription, effective_from, summary, step, at, changes);
}

/// Charges the fees of a billing period in which a charge saw no usage, and watches the next period.
fn end_period(
    terms: &Terms,
    working: &mut Working,
    subscription_hash: u128,
    start: EventTime,
    at: EventTime,
    changes: &mut Changes,
) {
    let Some(subscription) = terms.subscription_hashed(subscription_hash) else {
        return;
    };
    let contract = terms.subscription(subscription);
    let period = terms.calendar(subscription).period(start);
    if contract.end.is_some_and(|end| period.start >= end) {
        // It was ended after this period began to be watched.
        return;
    }
    let version = terms.version_at(subscription, start.max(contract.start));
    for (meter, series) in period_series(terms, &working.key, subscription_hash, start) {
        if working.series.get(&series).is_some() {
            continue;
        }
        let effective_from = version.expect("a series belongs to a charge of a version").effective_from;
        let mut fresh = Series::new(period);
        let Ok(step) = price(terms, subscription, &meter, &mut fresh, effective_from, None) else {
            continue;
        };
        *working.series.change(series) = Some(fresh);
        let meter = terms.meter(terms.meter_named(&meter).expect("charges name meters of the catalog"));
        let summary = UsageSummary {
            tenant: contract.tenant.clone(),
            customer: contract.customer.clone(),
            subscription: contract.id.clone(),
            meter: meter.id.clone(),
            unit: meter.unit.clone(),
            dimensions: Vec::new(),
            window: period,
            period,
            revision: 0,
            quantity: Decimal::ZERO,
            quantity_delta: Decimal::ZERO,
            evidence: Evidence::default(),
            catalog_version: terms.catalog.version.clone(),
        };
        emit(terms, working, subscription, effective_from, summary, step, at, changes);
    }
    watch(terms, working, subscription, period.end);
}

/// Charges of a subscription that cost something without usage, with the series of the period that starts at `start`.
pub(crate) fn period_series(
    terms: &Terms,
    key: &DeploymentKey,
    subscription_hash: u128,
    start: EventTime,
) -> Vec<(MeterId, SeriesId)> {
    let Some(subscription) = terms.subscription_hashed(subscription_hash) else {
        return Vec::new();
    };
    let contract = terms.subscription(subscription);
    let period = terms.calendar(subscription).period(start);
    let Some(version) = terms.version_at(subscription, start.max(contract.start)) else {
        return Vec::new();
    };
    let has_fee = |charge: &&tidemark_schemas::rate_card::Charge| {
        charge.tiers_per.is_empty() && amount(charge, Decimal::ZERO).is_ok_and(|fee| !fee.is_zero())
    };
    let series = |charge: &tidemark_schemas::rate_card::Charge| {
        (charge.meter.clone(), series_id(key, contract.id.as_str(), charge.meter.as_str(), period, &[]))
    };
    version.charges.iter().filter(has_fee).map(series).collect()
}

fn price(
    terms: &Terms,
    subscription: usize,
    meter: &MeterId,
    series: &mut Series,
    effective_from: EventTime,
    usage: Option<&Aggregate>,
) -> Result<Step, NumberError> {
    let currency = terms.subscription(subscription).currency;
    let definition = terms.meter(terms.meter_named(meter).expect("charges name meters of the catalog"));
    series.step(definition, currency, effective_from, usage, |from| terms.charge(subscription, meter, from))
}

/// Makes the rated line, with an id from its content, and posts it.
#[expect(
    clippy::too_many_arguments,
    reason = "the one place where summary, price and contract come together"
)]
fn emit(
    terms: &Terms,
    working: &mut Working,
    subscription: usize,
    effective_from: EventTime,
    summary: UsageSummary,
    step: Step,
    at: EventTime,
    changes: &mut Changes,
) {
    let contract = terms.subscription(subscription);
    let card = terms.rate_card(subscription);
    let version = card.versions.iter().find(|version| version.effective_from == effective_from);
    let version = version.expect("catalogs keep rate card versions in use");
    let charge =
        terms.charge(subscription, &summary.meter, effective_from).expect("the version prices the meter");
    let customer = terms.customer_named(&contract.tenant, &contract.customer);
    working.progress.rated += 1;
    let sequence = working.progress.rated;
    let rated = RatedSummary {
        id: rated_id(&summary),
        billing_subscriber: customer.billing_subscriber.clone(),
        legal_entity: contract.legal_entity.clone(),
        rate_card: card.id.clone(),
        rate_card_version: version.version.clone(),
        price_kind: charge.price.kind(),
        cumulative_before: step.cumulative_before,
        cumulative_after: step.cumulative_after,
        amount: step.amount,
        amount_unrounded: step.amount_unrounded,
        summary,
    };
    let is_posted = rated.amount.minor != 0;
    let entry = is_posted.then(|| post(terms, working, &rated, &customer.erp_debtor, at, changes));
    changes.rated.push(RatedRow { sequence, entry, rated });
}

fn rated_id(summary: &UsageSummary) -> RecordId {
    let UsageSummary { tenant, subscription, meter, dimensions, window, revision, .. } = summary;
    let names = [tenant.as_str(), subscription.as_str(), meter.as_str()];
    let dimensions = dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    line_id(names, dimensions, window.start, *revision)
}

/// The id of the rated line of a revision of a window, whether there is one or not.
#[must_use]
pub fn line_id_of(meter: &Meter, group: &Group, start: EventTime, revision: u32) -> RecordId {
    let names = [group.tenant.as_str(), group.subscription.as_str(), group.meter.as_str()];
    let values = group.dimension_values.iter().map(String::as_str);
    line_id(names, meter.dimensions.iter().map(String::as_str).zip(values), start, revision)
}

/// Names: tenant, subscription, meter.
fn line_id<'a>(
    names: [&'a str; 3],
    dimensions: impl Iterator<Item = (&'a str, &'a str)>,
    start: EventTime,
    revision: u32,
) -> RecordId {
    let (start, revision) = (start.micros().to_le_bytes(), revision.to_le_bytes());
    let mut parts: Vec<&[u8]> = names.map(str::as_bytes).to_vec();
    parts.extend([&start[..], &revision]);
    parts.extend(dimensions.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
    record_id("rs", &parts)
}

fn unratable(window: WindowKey, revision: u32, error: &NumberError) -> Unratable {
    let parts =
        [&window.start.micros().to_le_bytes()[..], &window.group.0.to_le_bytes(), &revision.to_le_bytes()];
    let reason = format!("the window's usage cannot be priced: {error}");
    Unratable { window, id: record_id("ex", &parts), reason }
}
