//! What does a number on the command line mean? Durations, shares and rates, parsed once.
//!
//! Shares and rates are integers, so that a run is the same on every machine.

use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("`{text}` is not a duration; write a whole number and a unit, such as 250ms, 60s, 5m or 1h")]
    Duration { text: String },
    #[error(
        "`{text}` is not a share; write a decimal from 0 to 1 with at most six digits after the point, such as 0.02"
    )]
    Share { text: String },
    #[error("`{text}` is not a rate; write events per second, such as 20000, or max")]
    Rate { text: String },
    #[error("`{text}` is not a time; write it like 2026-01-01T00:00:00Z ({reason})")]
    Time { text: String, reason: String },
}

/// A duration such as `250ms`, `60s`, `5m`, `1h`; a bare number is seconds.
///
/// # Errors
/// [`UnitError::Duration`]
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration { text: text.into() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

/// A share of the whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub millionths: u32,
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Share { text: text.into() };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || whole.len() > 1 || fraction.len() > 6 {
            return Err(wrong());
        }
        let millionths = format!("{whole}{fraction:0<6}").parse().map_err(|_| wrong())?;
        if millionths > 1_000_000 { Err(wrong()) } else { Ok(Self { millionths }) }
    }
}

/// How fast events are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Open loop: this many events per second are due, whatever the answers do.
    EventsPerSecond(u64),
    /// Closed loop: each connection sends its next batch when the last one was answered.
    Max,
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "max" => Ok(Self::Max),
            _ => match text.parse() {
                Ok(rate) if rate > 0 => Ok(Self::EventsPerSecond(rate)),
                _ => Err(UnitError::Rate { text: text.into() }),
            },
        }
    }
}

/// An instant as milliseconds since 1970.
///
/// # Errors
/// [`UnitError::Time`]
pub fn instant_ms(text: &str) -> Result<i64, UnitError> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|error| UnitError::Time { text: text.into(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in
            [("250ms", 250), ("60s", 60_000), ("60", 60_000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1.5s", "-1s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration(text), Err(UnitError::Duration { text: text.into() }));
        }
    }

    #[test]
    fn shares_are_exact() {
        for (text, millionths) in
            [("0", 0), ("0.02", 20_000), ("1", 1_000_000), ("1.0", 1_000_000), ("0.000001", 1)]
        {
            assert_eq!(text.parse(), Ok(Share { millionths }), "{text}");
        }
        for text in ["", ".", "0.", ".5", "1.000001", "2", "-0.1", "0.0000001", "2%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_a_number_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("20000".parse(), Ok(Rate::EventsPerSecond(20_000)));
        for text in ["0", "-1", "fast", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
