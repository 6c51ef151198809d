//! Which rows must be in memory before a step? The keys of a block, and of the timers that it will set off.

use tidemark_schemas::time::EventTime;

use crate::changes::SETTLED_MAX;
use crate::resolve::Resolved;
use crate::settle::period_series;
use crate::state::{GroupId, SeriesId, Task, WindowKey};
use crate::terms::Terms;
use crate::working::Working;

/// Keys that are not loaded yet.
#[derive(Debug, Default)]
pub struct Needs {
    pub windows: Vec<WindowKey>,
    pub groups: Vec<GroupId>,
    pub group_counts: Vec<GroupId>,
    pub series: Vec<SeriesId>,
}

/// What a block needs, and what the timers need that are due once the watermark has reached `watermark`.
///
/// Series of windows that are not loaded yet follow from their rows: load these, then ask [`series_of_due`].
#[must_use]
pub fn needs(terms: &Terms, working: &Working, resolved: &Resolved, watermark: Option<EventTime>) -> Needs {
    let mut needs = Needs::default();
    for window in &resolved.windows {
        needs.windows.push(window.key);
        needs.series.push(window.series);
    }
    for group in &resolved.groups {
        needs.groups.push(group.id);
        needs.group_counts.push(group.count);
    }
    for timer in watermark.into_iter().flat_map(|watermark| working.timers.due(watermark, SETTLED_MAX)) {
        match timer.task {
            Task::Settle(key) => {
                needs.windows.push(key);
                needs.groups.push(key.group);
            }
            Task::EndPeriod(subscription, start) => {
                needs.series.extend(
                    period_series(terms, &working.key, subscription, start).into_iter().map(|(_, id)| id),
                );
            }
            Task::Cut(_) => {}
        }
    }
    keep_missing(&mut needs.windows, |key| working.windows.is_loaded(key));
    keep_missing(&mut needs.groups, |key| working.groups.is_loaded(key));
    keep_missing(&mut needs.group_counts, |key| working.group_counts.is_loaded(key));
    keep_missing(&mut needs.series, |key| working.series.is_loaded(key));
    needs
}

/// Series of the windows that due timers will settle, once those windows are loaded.
#[must_use]
pub fn series_of_due(working: &Working, watermark: Option<EventTime>) -> Vec<SeriesId> {
    let mut series = Vec::new();
    for timer in watermark.into_iter().flat_map(|watermark| working.timers.due(watermark, SETTLED_MAX)) {
        if let Task::Settle(key) = timer.task {
            let window =
                working.windows.get(&key).expect("a timer's window is stored as long as the timer is");
            series.push(window.series);
        }
    }
    keep_missing(&mut series, |id| working.series.is_loaded(id));
    series
}

fn keep_missing<K: Ord>(keys: &mut Vec<K>, is_loaded: impl Fn(&K) -> bool) {
    keys.retain(|key| !is_loaded(key));
    keys.sort_unstable();
    keys.dedup();
}
