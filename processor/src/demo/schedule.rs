//! Who calls when? A day's swell with bursts over it, and customers of very different sizes.
//!
//! Keeps: exactly the asked number of calls, in the order of sending, spread by integer weights.
//! Deliberately absent: what a call contains, and anything that goes wrong with it.

use tidemark_schemas::time::MICROS_PER_SECOND;

use super::call::TRACE_MICROS;
use super::catalog::CUSTOMERS;
use super::dice::Dice;

const SECONDS: usize = (TRACE_MICROS / MICROS_PER_SECOND) as usize;

/// The weight of a quiet second; the swell adds up to as much again, a burst one to three times as much.
const QUIET: u64 = 100;

/// One moment at which a call is sent.
pub(super) struct Slot {
    /// Microseconds after the start of the trace.
    pub offset_micros: i64,
    /// Set when the call belongs to a burst: the customer whose batch job it is.
    pub bursting: Option<u32>,
}

pub(super) struct Schedule {
    /// Calls sent before the end of each second.
    sent_by: Vec<u64>,
    /// The burst of each second.
    bursts: Vec<Option<Burst>>,
    second: usize,
    sent: u64,
}

#[derive(Clone, Copy)]
struct Burst {
    customer: u32,
    /// In units of [`QUIET`].
    strength: u64,
}

impl Schedule {
    pub(super) fn new(calls: u64, dice: &mut Dice) -> Self {
        let bursts = plan_bursts(dice);
        let weights: Vec<u64> = bursts.iter().enumerate().map(|(at, burst)| weight(at, *burst)).collect();
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let mut so_far = 0_u128;
        let sent_by = weights.iter().map(|weight| {
            so_far += u128::from(*weight);
            u64::try_from(u128::from(calls) * so_far / total).expect("a part of the calls")
        });
        Self { sent_by: sent_by.collect(), bursts, second: 0, sent: 0 }
    }

    pub(super) fn next_slot(&mut self, dice: &mut Dice) -> Option<Slot> {
        while self.sent >= *self.sent_by.get(self.second)? {
            self.second += 1;
        }
        let before = self.second.checked_sub(1).map_or(0, |last| self.sent_by[last]);
        let (place, places) = (self.sent - before, self.sent_by[self.second] - before);
        // Evenly inside the second: the disorder that matters is added later, where it is known.
        let micros = place * MICROS_PER_SECOND as u64 / places;
        self.sent += 1;
        let bursting = self.bursts[self.second].filter(|burst| {
            let all = weight(self.second, Some(*burst));
            dice.below(all) < burst.strength * QUIET
        });
        Some(Slot {
            offset_micros: self.second as i64 * MICROS_PER_SECOND + micros as i64,
            bursting: bursting.map(|burst| burst.customer),
        })
    }
}

fn weight(second: usize, burst: Option<Burst>) -> u64 {
    let half = SECONDS as u64 / 2;
    let from_middle = (second as u64).abs_diff(half);
    QUIET + QUIET * (half - from_middle) / half + burst.map_or(0, |burst| burst.strength * QUIET)
}

/// Every minute or two some customer's batch job floods the API for 5 to 20 seconds.
fn plan_bursts(dice: &mut Dice) -> Vec<Option<Burst>> {
    let mut bursts = Vec::with_capacity(SECONDS + 120);
    while bursts.len() < SECONDS {
        let quiet = 40 + dice.below(80) as usize;
        bursts.extend(std::iter::repeat_n(None, quiet));
        let burst =
            Burst { customer: 1 + dice.below(u64::from(CUSTOMERS)) as u32, strength: 1 + dice.below(3) };
        bursts.extend(std::iter::repeat_n(Some(burst), 5 + dice.below(16) as usize));
    }
    bursts.truncate(SECONDS);
    bursts
}

/// Customers by size: the n-th largest calls 1/n as often as the largest (Zipf's law), in integers.
pub(super) struct Sizes {
    /// Weights of customer 1 to n, summed.
    cumulative: Vec<u64>,
}

impl Sizes {
    pub(super) fn new() -> Self {
        let mut sum = 0;
        let cumulative = (1..=u64::from(CUSTOMERS)).map(|rank| {
            sum += 1_000_000_000_000 / rank;
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// A customer's number, from 1.
    pub(super) fn draw(&self, dice: &mut Dice) -> u32 {
        let total = *self.cumulative.last().expect("there are customers");
        let at = dice.below(total);
        let rank = self.cumulative.partition_point(|sum| *sum <= at);
        u32::try_from(rank).expect("a customer's rank") + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_asked_calls_are_sent_in_order_inside_the_hour() {
        for calls in [0, 1, 7, 3_600, 20_011] {
            let mut dice = Dice::new(calls);
            let mut schedule = Schedule::new(calls, &mut dice);
            let slots: Vec<Slot> = std::iter::from_fn(|| schedule.next_slot(&mut dice)).collect();
            assert_eq!(slots.len() as u64, calls);
            assert!(slots.is_sorted_by_key(|slot| slot.offset_micros));
            assert!(slots.iter().all(|slot| (0..TRACE_MICROS).contains(&slot.offset_micros)));
        }
    }

    #[test]
    fn bursts_belong_to_one_customer_each() {
        let mut dice = Dice::new(3);
        let mut schedule = Schedule::new(20_000, &mut dice);
        let bursting: Vec<u32> =
            std::iter::from_fn(|| schedule.next_slot(&mut dice)).filter_map(|slot| slot.bursting).collect();
        let runs = bursting.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1;
        assert!((1_000..10_000).contains(&bursting.len()), "{} of 20,000 calls burst", bursting.len());
        assert!((20..80).contains(&runs), "{runs} bursts");
    }

    #[test]
    fn sizes_follow_zipfs_law() {
        let (sizes, mut dice) = (Sizes::new(), Dice::new(5));
        let mut calls = vec![0_u32; CUSTOMERS as usize + 1];
        for _ in 0..200_000 {
            calls[sizes.draw(&mut dice) as usize] += 1;
        }
        assert_eq!(calls[0], 0, "numbers start at 1");
        // 1 / H(5000) = 10.99 % of the calls are the largest customer's, a tenth of that the tenth's.
        assert!((21_500..22_500).contains(&calls[1]), "{}", calls[1]);
        assert!((2_000..2_400).contains(&calls[10]), "{}", calls[10]);
        assert!(calls[CUSTOMERS as usize - 100..].iter().sum::<u32>() > 0);
    }
}
