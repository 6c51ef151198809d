//! Which events are in which batch? A pure function of seed, run and slot.
//!
//! The stream is an endless row of slots. A slot is an event of its own or a re-send of the event of an earlier
//! slot. Any slot can be made again at any time, so retries and re-sends need no memory of what was sent.

use crate::event::{Event, EventType};
use crate::rng::{Draws, Zipf, seed_of};
use crate::units::Share;

/// A re-send repeats one of this many slots before it: about a second at 100,000 events/s, so it may
/// overtake the batch that it repeats.
pub const RESEND_SLOTS: u64 = 100_000;

/// Totals are kept in rows by customer number: this many take 320 MB.
pub const CUSTOMERS_MAX: u32 = 10_000_000;

#[derive(Clone, Debug)]
pub struct Traffic {
    seed: u64,
    customers: Zipf,
    resends: Share,
    time: EventClock,
}

/// Event time as a function of the slot, so that a batch that is sent again says the same.
#[derive(Clone, Copy, Debug)]
pub struct EventClock {
    /// Milliseconds since 1970 at slot 0.
    pub start_ms: i64,
    pub slots_per_second: u64,
    /// Seconds of event time per second of load.
    pub speed: u64,
}

impl EventClock {
    fn at(&self, slot: u64) -> i64 {
        let elapsed_ms =
            u128::from(slot) * 1_000 * u128::from(self.speed) / u128::from(self.slots_per_second);
        self.start_ms + i64::try_from(elapsed_ms).expect("a run is shorter than the calendar")
    }
}

impl Traffic {
    #[must_use]
    pub fn new(seed: u64, run_id: &str, customers: u32, resends: Share, time: EventClock) -> Self {
        Self { seed: seed_of(seed, run_id), customers: Zipf::new(customers), resends, time }
    }

    /// The slot whose event this slot carries: itself, or an earlier one when it is a re-send.
    #[must_use]
    pub fn origin(&self, mut slot: u64) -> u64 {
        loop {
            let mut draws = Draws::at(!self.seed, slot);
            if slot == 0 || draws.below(1_000_000) >= u64::from(self.resends.millionths) {
                return slot;
            }
            slot -= 1 + draws.below(slot.min(RESEND_SLOTS));
        }
    }

    /// The event that first appears in this slot; ask [`Self::origin`] first.
    #[must_use]
    pub fn event(&self, origin: u64) -> Event {
        let mut draws = Draws::at(self.seed, origin);
        Event::draw(&mut draws, &self.customers, EventType::ApiRequest, self.time.at(origin))
    }

    /// A JSON array of the events of `slots`: the body of one batch.
    #[must_use]
    pub fn body(&self, slots: std::ops::Range<u64>) -> Vec<u8> {
        let mut body = Vec::with_capacity((slots.end - slots.start) as usize * 260 + 2);
        for slot in slots {
            body.push(if body.is_empty() { b'[' } else { b',' });
            self.event(self.origin(slot)).render(&mut body);
        }
        body.push(b']');
        body
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn traffic(seed: u64, run_id: &str) -> Traffic {
        let time = EventClock { start_ms: 1_767_225_600_000, slots_per_second: 1_000, speed: 60 };
        Traffic::new(seed, run_id, 100, Share { millionths: 20_000 }, time)
    }

    #[test]
    fn the_same_seed_and_run_give_the_same_bytes() {
        let body = traffic(1, "a").body(500..600);
        assert_eq!(body, traffic(1, "a").body(500..600));
        assert_ne!(body, traffic(2, "a").body(500..600));
        assert_ne!(body, traffic(1, "b").body(500..600));
    }

    #[test]
    fn two_in_a_hundred_slots_repeat_an_earlier_event_and_no_other_ids_repeat() {
        let traffic = traffic(7, "a");
        let mut ids = HashSet::new();
        let mut resends = 0;
        for slot in 0..100_000 {
            let origin = traffic.origin(slot);
            let fresh = ids.insert(traffic.event(origin).id);
            assert_eq!(fresh, origin == slot, "slot {slot}");
            resends += u32::from(!fresh);
        }
        assert!((1_800..2_200).contains(&resends), "{resends} re-sends");
    }

    #[test]
    fn event_time_follows_the_slot() {
        let traffic = traffic(1, "a");
        // 1,000 slots are one second of load and, at speed 60, one minute of event time.
        assert_eq!(traffic.event(1_000).time_ms - traffic.event(0).time_ms, 60_000);
    }

    #[test]
    fn a_body_is_a_json_array_of_its_slots() {
        let body = traffic(1, "a").body(0..50);
        let events: Vec<serde_json::Value> = serde_json::from_slice(&body).expect("a body is JSON");
        assert_eq!(events.len(), 50);
    }
}
