//! When is each batch due? At an instant fixed before the first answer: the open loop.
//!
//! Invariant: [`Schedule::due`] looks at the batch's number only. A generator that waits for answers before it
//! schedules measures a slow server as a quiet one (Tene, "How NOT to measure latency": coordinated omission).

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    events_per_second: u64,
    batch_events: u64,
    batches: u64,
}

impl Schedule {
    /// The batches that are due within `duration`, evenly spaced.
    #[must_use]
    pub fn new(events_per_second: u64, batch_events: u64, duration: Duration) -> Self {
        let events = u128::from(events_per_second) * duration.as_nanos() / 1_000_000_000;
        let batches = events.div_ceil(u128::from(batch_events));
        let batches = u64::try_from(batches).expect("a run has fewer than 2^64 batches");
        Self { events_per_second, batch_events, batches }
    }

    /// How long after the start batch `number` (from 0) is due; `None` after the last one.
    #[must_use]
    pub fn due(&self, number: u64) -> Option<Duration> {
        let ns = u128::from(number) * u128::from(self.batch_events) * 1_000_000_000
            / u128::from(self.events_per_second);
        (number < self.batches)
            .then(|| Duration::from_nanos(u64::try_from(ns).expect("a run is below 584 years")))
    }

    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_evenly_spaced_without_drift() {
        let schedule = Schedule::new(30_000, 100, Duration::from_secs(60));
        assert_eq!(schedule.batches(), 18_000);
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        assert_eq!(schedule.due(1), Some(Duration::from_nanos(3_333_333)));
        assert_eq!(schedule.due(300), Some(Duration::from_secs(1)));
        assert_eq!(schedule.due(17_999), Some(Duration::from_nanos(59_996_666_666)));
        assert_eq!(schedule.due(18_000), None);
    }

    #[test]
    fn a_run_of_less_than_a_batch_still_sends_one() {
        assert_eq!(Schedule::new(10, 500, Duration::from_secs(1)).batches(), 1);
    }
}
