//! Timers as rows. Byte order of keys is the order in which timers go off. Windows close in crowds, so those that one commit
//! set for one time are one row; the other timers are few, and all key.

use tidemark_core::state::{PostingId, Task, Timer, WindowKey};
use tidemark_schemas::time::EventTime;

use super::bytes::{Damaged, Reader, Writer};
use super::keys::{hash_from, posting_key, time_from, time_key, window_key, window_key_from};

const VERSION: u8 = 1;
const SETTLE: u8 = 1;
const END_PERIOD: u8 = 2;
const CUT: u8 = 3;
const WINDOW_BYTES: usize = 24;

/// due 8, `1`, commit `u64` big-endian: windows to settle. With the commits 0 and `u64::MAX` the ends of all such rows.
#[must_use]
pub fn settle_key(due: EventTime, commit: u64) -> [u8; 17] {
    let mut key = [SETTLE; 17];
    key[..8].copy_from_slice(&time_key(due));
    key[9..].copy_from_slice(&commit.to_be_bytes());
    key
}

/// Version 1, then each window's key 24.
#[must_use]
pub fn settle_row(windows: impl Iterator<Item = WindowKey>) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    windows.for_each(|window| row.raw(&window_key(window)));
    row.into_bytes()
}

/// The row of a timer that settles no window: due 8; then `2` subscription 16 and period start 8, or `3` posting 16.
#[must_use]
pub fn task_key(due: EventTime, task: Task) -> Option<Vec<u8>> {
    let mut key = time_key(due).to_vec();
    match task {
        Task::Settle(_) => return None,
        Task::EndPeriod(subscription, start) => {
            key.push(END_PERIOD);
            key.extend_from_slice(&subscription.to_be_bytes());
            key.extend_from_slice(&time_key(start));
        }
        Task::Cut(posting) => {
            key.push(CUT);
            key.extend_from_slice(&posting_key(posting));
        }
    }
    Some(key)
}

/// The timers of a row.
///
/// # Errors
/// [`Damaged`] when it is none of ours.
pub fn timers_from(key: &[u8], value: &[u8]) -> Result<Vec<Timer>, Damaged> {
    let (due, rest) = key.split_at_checked(8).ok_or(Damaged("a timer's key is too short"))?;
    let due = time_from(due)?;
    let task = match rest {
        [SETTLE, commit @ ..] if commit.len() == 8 => return windows_from(due, value),
        [END_PERIOD, subscription @ ..] if subscription.len() == 24 => {
            Task::EndPeriod(hash_from(subscription)?, time_from(&subscription[16..])?)
        }
        [CUT, posting @ ..] => Task::Cut(PostingId(hash_from(posting)?)),
        _ => return Err(Damaged("a timer for a task that this release does not know")),
    };
    Ok(vec![Timer { due, task }])
}

fn windows_from(due: EventTime, value: &[u8]) -> Result<Vec<Timer>, Damaged> {
    let mut reader = Reader::new(value);
    if reader.u8()? != VERSION {
        return Err(Damaged("the layout version is not one this release reads"));
    }
    let (windows, rest) = reader.left().as_chunks::<WINDOW_BYTES>();
    if !rest.is_empty() {
        return Err(Damaged("a window to settle is cut short"));
    }
    let timer = |key: &[u8; WINDOW_BYTES]| Ok(Timer { due, task: Task::Settle(window_key_from(key)?) });
    windows.iter().map(timer).collect()
}
