//! What time is it here? The only file that reads the wall clock; everything else is told the time.
//!
//! Keeps I-10: what a replay must repeat never asks for the time, so nothing below the edges imports this.

use std::time::{SystemTime, UNIX_EPOCH};

use tidemark_schemas::ReceiveTime;

/// Whoever needs times more than once is given one of these: [`now`] in production, a fixed time in tests.
pub type Clock = fn() -> ReceiveTime;

/// The machine's clock. It can jump either way: durations are measured with [`std::time::Instant`], not with this.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn now() -> ReceiveTime {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    // A machine that believes in 1969 has a dead battery; its receipts then say 1970.
    let micros = since_1970.map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
    ReceiveTime::from_micros(micros)
}
