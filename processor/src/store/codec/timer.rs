//! A timer is all key: due 8, task 1, what it is about. Byte order is the order in which timers go off.

use tidemark_core::state::{PostingId, Task, Timer};

use super::bytes::Damaged;
use super::keys::{hash_from, posting_key, time_from, time_key, window_key, window_key_from};

/// due 8; then `1` window 24, or `2` subscription 16 and period start 8, or `3` posting 16.
#[must_use]
pub fn timer_key(timer: Timer) -> Vec<u8> {
    let mut key = time_key(timer.due).to_vec();
    match timer.task {
        Task::Settle(window) => {
            key.push(1);
            key.extend_from_slice(&window_key(window));
        }
        Task::EndPeriod(subscription, start) => {
            key.push(2);
            key.extend_from_slice(&subscription.to_be_bytes());
            key.extend_from_slice(&time_key(start));
        }
        Task::Cut(posting) => {
            key.push(3);
            key.extend_from_slice(&posting_key(posting));
        }
    }
    key
}

/// # Errors
/// [`Damaged`] when it is no timer's key.
pub fn timer_from(key: &[u8]) -> Result<Timer, Damaged> {
    let (due, rest) = key.split_at_checked(8).ok_or(Damaged("a timer's key is too short"))?;
    let task = match rest {
        [1, window @ ..] => Task::Settle(window_key_from(window)?),
        [2, subscription @ ..] if subscription.len() == 24 => {
            Task::EndPeriod(hash_from(subscription)?, time_from(&subscription[16..])?)
        }
        [3, posting @ ..] => Task::Cut(PostingId(hash_from(posting)?)),
        _ => return Err(Damaged("a timer for a task that this release does not know")),
    };
    Ok(Timer { due: time_from(due)?, task })
}
