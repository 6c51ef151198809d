//! Which keys wait, and until when? A key whose row failed backs off by itself, while the others go on. Time is a parameter.
//!
//! Keeps: a key is held from its oldest row that failed, so nothing of the key overtakes that row. Rows are read from the
//! front to the end before keys that are due are read again ("armed"), so that rows at the end have their turn however
//! many keys fail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Some ten megabytes. While so many keys fail at once, only these are tried, in turn.
const KEYS_MAX: usize = 100_000;

#[derive(Clone, Debug)]
struct Key {
    /// Sequence of its oldest row without an answer.
    first: u64,
    /// Attempts in a row without an answer.
    failures: u32,
    until: Instant,
    /// Which attempt of all was its last.
    tried: u64,
    /// Due, and the reading has begun again at or before its first row.
    is_armed: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Held {
    keys: BTreeMap<String, Key>,
    attempts: u64,
}

impl Held {
    /// Holds `key` from its row `first` on, for as long as `wait` says after so many failures in a row. Answers both.
    pub fn failed(
        &mut self,
        key: &str,
        first: u64,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) -> (u32, Duration) {
        self.attempts += 1;
        let failures = self.keys.get(key).map_or(0, |key| key.failures).saturating_add(1);
        let wait = wait(failures);
        let held = Key { first, failures, until: now + wait, tried: self.attempts, is_armed: false };
        self.keys.insert(key.to_owned(), held);
        (failures, wait)
    }

    /// One of its rows was answered. Answers the row from which others of it were passed over, if any were.
    pub fn release(&mut self, key: &str) -> Option<u64> {
        self.keys.remove(key).filter(|key| !key.is_armed).map(|key| key.first)
    }

    #[must_use]
    pub fn holds(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Held, so that its rows are passed over.
    #[must_use]
    pub fn waits(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|key| !key.is_armed)
    }

    /// The oldest row of all held keys.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.keys.values().map(|key| key.first).min()
    }

    /// At the end of the rows, lets the keys that are due be sent. Answers their oldest row, from which to read again.
    pub fn arm(&mut self, now: Instant) -> Option<u64> {
        // Armed before and not met on the way: what held it was answered by someone else.
        self.keys.retain(|_, key| !key.is_armed);
        let mut oldest = None;
        for key in self.keys.values_mut().filter(|key| key.until <= now) {
            key.is_armed = true;
            oldest = Some(oldest.map_or(key.first, |oldest: u64| oldest.min(key.first)));
        }
        oldest
    }

    /// Rows will be passed over without being sent.
    pub fn disarm(&mut self) {
        self.keys.values_mut().for_each(|key| key.is_armed = false);
    }

    /// The due key that was left alone for longest, so that probes take turns, and its oldest row.
    #[must_use]
    pub fn next_in_turn(&self, now: Instant) -> Option<(&str, u64)> {
        let due = self.keys.iter().filter(|(_, key)| key.until <= now);
        due.min_by_key(|(_, key)| key.tried).map(|(name, key)| (name.as_str(), key.first))
    }

    /// How long until a key is due.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Option<Duration> {
        self.keys.values().map(|key| key.until.saturating_duration_since(now)).min()
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.keys.len() >= KEYS_MAX
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed(held: &mut Held, key: &str, first: u64, now: Instant) -> u32 {
        held.failed(key, first, now, |failures| SECOND * failures).0
    }

    #[test]
    fn each_key_waits_by_itself() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert_eq!(failed(&mut held, "a", 3, now), 1);
        assert_eq!(failed(&mut held, "a", 3, now), 2);
        assert_eq!(failed(&mut held, "b", 5, now), 1);
        assert_eq!(held.next_due(now), Some(SECOND));
        let later = now + SECOND;
        assert_eq!((held.oldest(), held.arm(now), held.arm(later)), (Some(3), None, Some(5)));
        assert!(held.waits("a") && !held.waits("b") && !held.waits("c"));
        assert_eq!(held.release("b"), None, "nothing of it was passed over");
        assert_eq!(held.release("a"), Some(3));
        assert_eq!(held.release("a"), None);
        assert_eq!(failed(&mut held, "a", 4, later), 1, "an answer begins the count again");
    }

    #[test]
    fn probes_take_turns() {
        let (mut held, now) = (Held::default(), Instant::now());
        let later = now + 10 * SECOND;
        for (key, first) in [("a", 1), ("b", 2), ("c", 3)] {
            failed(&mut held, key, first, now);
        }
        let mut turns = Vec::new();
        for _ in 0..4 {
            let (key, first) = held.next_in_turn(later).expect("all are due");
            let key = key.to_owned();
            held.failed(&key, first, now, |_| SECOND);
            turns.push(key);
        }
        assert_eq!(turns.join(" "), "a b c a");
        assert_eq!(held.next_in_turn(now), None);
    }
}
