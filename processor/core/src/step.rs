//! What does a block of events do to the state? The whole path of an event, on one screen.
//!
//! Keeps: I-1 (an event changes each window it feeds once), I-2 (conflicts are parked), I-3 (closed windows only get
//! adjustments), I-8 (every event has one fate), I-10: events are taken one by one in log order, and whatever falls due
//! is settled before the next event, so block boundaries cannot show.

use tidemark_schemas::exception::ExceptionKind;
use tidemark_schemas::time::EventTime;

use crate::aggregate::{Aggregate, merge_into};
use crate::batch::EventBlock;
use crate::changes::{Changes, Fate, Fates};
use crate::identity::{DeploymentKey, Remembered, Seen};
use crate::resolve::{Feed, Park, PlannedGroup, Resolved, ResolvedEvent};
use crate::settle::{Due, next_multiple, settle_due};
use crate::state::{Group, GroupId, Task, Timer, Window};
use crate::terms::Terms;
use crate::working::{Table, Working};

/// A block ready for the partition: resolved, with what the store remembers of each identity.
pub struct Prepared<'a> {
    pub block: &'a EventBlock,
    pub resolved: &'a Resolved,
    /// One per event.
    pub remembered: &'a [Option<Remembered>],
}

/// Takes events from `from` on and answers how many of the block's events are done. Less than all, or [`Due::Waiting`]
/// after the last, means: commit, load what is needed, and go on.
pub fn step(
    terms: &Terms,
    working: &mut Working,
    prepared: &Prepared<'_>,
    from: usize,
    fates: &mut Fates,
    changes: &mut Changes,
) -> (usize, Due) {
    for event in from..prepared.block.len() {
        if settle_due(terms, working, changes) == Due::Waiting {
            return (event, Due::Waiting);
        }
        let fate = take(terms, working, prepared, event, fates);
        count(working, prepared.block, fate);
        fates.events.push(fate);
    }
    (prepared.block.len(), settle_due(terms, working, changes))
}

/// Counts inputs that are no events. Once per block.
pub fn count_rejections(working: &mut Working, block: &EventBlock) {
    let rejected = block.rejections.len() as u64;
    working.progress.counts.received += rejected;
    working.progress.counts.rejected += rejected;
}

fn take(
    terms: &Terms,
    working: &mut Working,
    prepared: &Prepared<'_>,
    event: usize,
    fates: &mut Fates,
) -> Fate {
    let Prepared { block, resolved, remembered } = prepared;
    let watermark = working.progress.watermark(terms.timing().disorder_micros);
    let resolved_event = &resolved.events[event];
    if block.replays.is_empty() {
        let (identity, digest) = (block.identities[event], block.digests[event]);
        let before = working.fresh.get(&identity).copied().or(remembered[event]);
        match Seen::of(before, digest, watermark.unwrap_or(EventTime::MIN)) {
            Seen::Again => return Fate::Again,
            Seen::Conflict => return park(fates, event, conflict(block)),
            Seen::First => {}
        }
        working.fresh.insert(identity, Remembered { digest, forget_day: resolved_event.forget_day });
    }
    if let Some(reason) = &resolved_event.park {
        if reason.kind != ExceptionKind::BadClock {
            working.progress.newest = working.progress.newest.max(Some(block.times[event]));
        }
        return park(fates, event, Park::clone(reason));
    }
    working.progress.newest = working.progress.newest.max(Some(block.times[event]));
    if let Some(late) = too_late(terms, resolved_event, watermark) {
        return park(fates, event, late);
    }
    feed_all(terms, working, prepared, event, watermark, fates)
}

/// Feeds every meter that can take the event; those that cannot wait alone.
fn feed_all(
    terms: &Terms,
    working: &mut Working,
    prepared: &Prepared<'_>,
    event: usize,
    watermark: Option<EventTime>,
    fates: &mut Fates,
) -> Fate {
    let Prepared { block, resolved, .. } = prepared;
    let resolved_event = &resolved.events[event];
    let range = |range: &std::ops::Range<u32>| range.start as usize..range.end as usize;
    let only = block.replays.get(event).and_then(|replay| replay.meter.as_ref());
    let wanted = |meter: u16| only.is_none_or(|only| terms.meter(usize::from(meter)).id == *only);
    let (mut fed, mut late, mut refused) = (false, false, Vec::new());
    for feed in resolved.feeds[range(&resolved_event.feeds)].iter().filter(|feed| wanted(feed.meter)) {
        match apply(terms, working, prepared, event, feed, watermark) {
            Ok(is_late) => (fed, late) = (true, late || is_late),
            Err(refusal) => refused.push(refusal),
        }
    }
    let known = resolved.parks[range(&resolved_event.parks)].iter();
    refused.extend(known.filter(|refusal| refusal.meter.is_none_or(wanted)).cloned());
    if fed {
        working.progress.counts.late += u64::from(late);
        let latest = &mut working.progress.latest_period_end;
        *latest = (*latest).max(Some(resolved_event.period_end));
    }
    let kind = refused.first().map(|refusal: &Park| refusal.kind);
    if !fed
        && only.is_none()
        && let Some(first) = refused.first()
    {
        // No meter could take it, so it waits as a whole: one exception, which counts it once when it is replayed.
        return park(fates, event, Park { meter: None, ..first.clone() });
    }
    fates.parked.extend(refused.into_iter().map(|refusal| (event as u32, refusal)));
    match kind {
        // A meter that still refuses leaves its replayed exception as it was.
        Some(kind) if only.is_some() => Fate::Parked(kind),
        _ => {
            if !block.replays.is_empty() {
                fates.resolved.push(event as u32);
            }
            Fate::Counted
        }
    }
}

/// Adds one value to its window, opening the group and the window where they are new. Answers whether the window had
/// closed already.
fn apply(
    terms: &Terms,
    working: &mut Working,
    prepared: &Prepared<'_>,
    event: usize,
    feed: &Feed,
    watermark: Option<EventTime>,
) -> Result<bool, Park> {
    let Prepared { block, resolved, .. } = prepared;
    let planned = &resolved.windows[feed.window as usize];
    let meter = terms.meter(usize::from(feed.meter));
    let refused = |kind, reason: String| Park { kind, meter: Some(feed.meter), reason };
    let (time, identity) = (block.times[event], block.identities[event]);
    let mut one = Aggregate::of(meter.aggregation, feed.value, time, identity)
        .map_err(|error| refused(ExceptionKind::RefusedValue, error.to_string()))?;
    let digest = evidence_digest(&working.key, block, event);
    let row = working.windows.change(planned.key);
    if let Some(window) = row {
        Aggregate::check_room([window.settled.as_ref(), window.pending.as_ref()], &one)
            .map_err(|error| refused(ExceptionKind::CardinalityExceeded, error.to_string()))?;
        if let Some(settled) = &window.settled {
            one = one.beyond(settled);
        }
    } else {
        // A window's group was opened before it.
        let planned = &resolved.groups[planned.group as usize];
        open_group(&mut working.groups, &mut working.group_counts, planned, || planned.row(terms, block))
            .map_err(|reason| refused(ExceptionKind::CardinalityExceeded, reason))?;
    }
    let window = row.get_or_insert_with(|| Window {
        end: planned.end,
        period: planned.period,
        series: planned.series,
        effective_from: planned.effective_from,
        settled: None,
        pending: None,
        evidence: Default::default(),
        revision: 0,
        reported: tidemark_schemas::Decimal::ZERO,
    });
    let close = window.end.plus_micros(terms.timing().grace_micros);
    let is_late = watermark.is_some_and(|watermark| close <= watermark);
    if window.pending.is_none() {
        let due = if is_late { next_adjustment(terms, watermark) } else { close };
        working.timers.set(Timer { due, task: Task::Settle(planned.key) });
    }
    merge_into(&mut window.pending, &one).expect("room was checked");
    window.evidence.events += 1;
    window.evidence.digest = window.evidence.digest.wrapping_add(digest);
    Ok(is_late)
}

/// When late usage is reported: with everything else that comes late until then (I-3).
fn next_adjustment(terms: &Terms, watermark: Option<EventTime>) -> EventTime {
    next_multiple(watermark.unwrap_or(EventTime::MIN), terms.timing().adjust_every_micros)
}

/// Opens the group unless it is open; a subscription's groups of one meter are capped.
fn open_group(
    groups: &mut Table<GroupId, Group>,
    counts: &mut Table<GroupId, u32>,
    planned: &PlannedGroup,
    row: impl FnOnce() -> Group,
) -> Result<(), String> {
    if groups.get(&planned.id).is_some() {
        return Ok(());
    }
    let count = counts.get(&planned.count).copied().unwrap_or(0);
    let row = row();
    if count >= planned.groups_max {
        return Err(format!(
            "meter `{}` of subscription `{}` has {count} combinations of dimension values already, its cap",
            row.meter, row.subscription
        ));
    }
    *counts.change(planned.count) = Some(count + 1);
    *groups.change(planned.id) = Some(row);
    Ok(())
}

/// What one event adds to the evidence of a window: a keyed hash of its identity and content.
#[must_use]
pub fn evidence_digest(key: &DeploymentKey, block: &EventBlock, event: usize) -> u128 {
    let mut hasher = key.hasher();
    hasher.number128(block.identities[event].0);
    hasher.number(block.digests[event].0);
    hasher.finish128()
}

fn too_late(terms: &Terms, event: &ResolvedEvent, watermark: Option<EventTime>) -> Option<Park> {
    let last = event.period_end.plus_micros(terms.timing().horizon_micros);
    let watermark = watermark.filter(|watermark| last <= *watermark)?;
    let reason = format!(
        "its billing period ended {} and could be corrected until {last}; the watermark is at {watermark}",
        event.period_end
    );
    Some(Park { kind: ExceptionKind::TooLate, meter: None, reason })
}

fn conflict(block: &EventBlock) -> Park {
    let reason = format!(
        "an event with the same source and id but other content was received before; this one was received from {}",
        block.origin
    );
    Park { kind: ExceptionKind::Conflict, meter: None, reason }
}

fn park(fates: &mut Fates, event: usize, park: Park) -> Fate {
    let kind = park.kind;
    fates.parked.push((event as u32, park));
    Fate::Parked(kind)
}

/// I-8. A replay counts what already was received: it moves from waiting to counted, once, when the whole event waited.
fn count(working: &mut Working, block: &EventBlock, fate: Fate) {
    let counts = &mut working.progress.counts;
    match fate {
        Fate::Counted if block.replays.is_empty() => counts.counted += 1,
        Fate::Again => counts.again += 1,
        Fate::Parked(kind) if block.replays.is_empty() => {
            counts.exceptions += 1;
            counts.conflicts += u64::from(kind == ExceptionKind::Conflict);
        }
        Fate::Counted | Fate::Parked(_) => return,
    }
    counts.received += 1;
    assert!(counts.is_conserved(), "I-8: received = counted + again + rejected + exceptions");
}

/// I-8 for replays: events that waited as a whole and are counted now. Answers how many.
pub fn count_replayed(working: &mut Working, block: &EventBlock, resolved: &[u32]) -> u64 {
    let whole =
        resolved.iter().filter(|event| block.replays[**event as usize].meter.is_none()).count() as u64;
    working.progress.counts.exceptions -= whole;
    working.progress.counts.counted += whole;
    whole
}
