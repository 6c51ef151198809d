//! How does the clockwork run? The `[timing]` table, at most one in the catalog.

use tidemark_schemas::catalog::Timing;
use tidemark_schemas::time::{MICROS_PER_DAY, MICROS_PER_MINUTE, MICROS_PER_SECOND};

use super::mistake::{Mistakes, Place};
use super::table::Table;
use super::value::show_duration;

/// Ten years: longer than any accounting rule keeps a period correctable, and far from overflow.
const HORIZON_MICROS_MAX: i64 = 3_653 * MICROS_PER_DAY;

/// Disorder and grace hold windows open; a month of open windows is a late feed, not disorder.
const OPEN_MICROS_MAX: i64 = 31 * MICROS_PER_DAY;

/// Ten years: recorded usage may be played on a machine whose clock is behind it. Against a live source an hour is right.
const CLOCK_AHEAD_MICROS_MAX: i64 = 3_653 * MICROS_PER_DAY;

/// An entry needs a debit and a credit line.
const POST_LINES_MIN: i64 = 2;

/// ERPs cap synchronous journals at 999 (SAP) or 1,000 (NetSuite) lines; some lines are theirs (tax, rounding).
const POST_LINES_MAX: i64 = 900;

pub(super) fn read(tops: &mut [Table<'_>], mistakes: &Mistakes<'_>) -> Option<Timing> {
    let mut first: Option<(Place, Option<Timing>)> = None;
    for top in tops {
        let Some(value) = top.find("timing") else {
            continue;
        };
        let place = value.place.clone();
        if let Some((earlier, _)) = &first {
            let message = format!("another [timing] is at {}", mistakes.locate(earlier));
            mistakes.add(&place, message, "keep one [timing] in all files");
        } else {
            first = Some((place, value.table().and_then(table)));
        }
    }
    first.map_or(Some(Timing::default()), |(_, timing)| timing)
}

fn table(mut table: Table<'_>) -> Option<Timing> {
    let default = Timing::default();
    let open = 0..=OPEN_MICROS_MAX;
    let disorder = table.or("disorder", default.disorder_micros, |v| v.duration(open.clone()));
    let grace = table.or("grace", default.grace_micros, |v| v.duration(open.clone()));
    let horizon =
        table.or("horizon", default.horizon_micros, |v| v.duration(MICROS_PER_MINUTE..=HORIZON_MICROS_MAX));
    let clock_ahead =
        table.or("clock_ahead", default.clock_ahead_micros, |v| v.duration(0..=CLOCK_AHEAD_MICROS_MAX));
    let every = MICROS_PER_SECOND..=OPEN_MICROS_MAX;
    let adjust_every = table.or("adjust_every", default.adjust_every_micros, |v| v.duration(every.clone()));
    let post_every = table.or("post_every", default.post_every_micros, |v| v.duration(every.clone()));
    let lines_default = i64::try_from(default.post_lines_max).expect("900 fits");
    let lines = table.or("post_lines_max", lines_default, |v| v.integer(POST_LINES_MIN..=POST_LINES_MAX));
    if let (Some(grace), Some(horizon)) = (grace, horizon)
        && horizon < grace
    {
        let message =
            format!("horizon {} is shorter than grace {}", show_duration(horizon), show_duration(grace));
        table.mistake(message, "a horizon is at least the grace: a window must close before it is forgotten");
    }
    table.finish();
    Some(Timing {
        disorder_micros: disorder?,
        grace_micros: grace?,
        horizon_micros: horizon?,
        clock_ahead_micros: clock_ahead?,
        adjust_every_micros: adjust_every?,
        post_every_micros: post_every?,
        post_lines_max: usize::try_from(lines?).expect("in a small positive range"),
    })
}
