//! How long until the next attempt? Exponential with full jitter.
//!
//! Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: a wait drawn evenly between
//! zero and the exponential bound keeps many senders from coming back at the same moment.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first wait.
    pub first: Duration,
    /// Bound of every wait.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (from 1), placed by `random` between zero and the bound.
    #[must_use]
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let bound = self.first.saturating_mul(doubled).min(self.longest);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        // The high 64 bits of the product: even over 0..=nanos without a division's bias.
        Duration::from_nanos(((u128::from(random) * (u128::from(nanos) + 1)) >> 64) as u64)
    }
}

/// A random number for [`Backoff::wait`]. Without randomness every wait is the longest: slow, but never a stampede.
#[must_use]
pub fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_anywhere_below() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
        let bounds: Vec<u128> =
            [1, 2, 3, 6, 7, 40, u32::MAX].map(|n| backoff.wait(n, u64::MAX).as_millis()).into();
        assert_eq!(bounds, [100, 200, 400, 3_200, 5_000, 5_000, 5_000]);
        assert_eq!(backoff.wait(7, 0), Duration::ZERO);
        assert_eq!(backoff.wait(7, u64::MAX / 2).as_millis(), 2_500);
    }
}
