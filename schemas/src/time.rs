//! What time is it, and according to whom? Producers' clocks and ours are different types.
//!
//! Both count microseconds since 1970-01-01T00:00:00Z. Finer digits of a producer's time stay in its payload
//! (and so in its content digest); no window is shorter than a minute.

use std::fmt;

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// When the producer says the usage happened. Chooses the window, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

/// When we received it. Decides lag and whether a clock runs ahead, nothing else: producers' clocks are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiveTime(i64);

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z less two days: any offset and any window edge stay inside RFC 3339.
const MICROS_MIN: i64 = -62_135_596_800 * MICROS_PER_SECOND + 2 * MICROS_PER_DAY;
const MICROS_MAX: i64 = 253_402_300_799 * MICROS_PER_SECOND - 2 * MICROS_PER_DAY;

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("not an RFC 3339 time; write it like 2026-01-31T13:45:00.123Z or with an offset like +02:00")]
    Syntax,
    #[error("a date or time of day that does not exist")]
    OutOfCalendar,
    #[error("outside the years 1 to 9999")]
    OutOfRange,
}

impl EventTime {
    pub const MIN: Self = Self(MICROS_MIN);
    pub const MAX: Self = Self(MICROS_MAX);

    /// Microseconds since 1970, clamped to the years 1 to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(MICROS_MIN, MICROS_MAX))
    }

    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Reads RFC 3339 (the CloudEvents `time` attribute), with `t`, `z` or a space allowed as RFC 3339 section 5.6 does.
    ///
    /// Digits beyond microseconds are read and dropped; a leap second counts as the second before it.
    ///
    /// # Errors
    /// [`TimeError`]
    pub fn parse(text: &[u8]) -> Result<Self, TimeError> {
        parse_rfc3339(text).map(Self)
    }
}

impl ReceiveTime {
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(MICROS_MIN, MICROS_MAX))
    }

    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// The newest event time that a healthy clock could claim now.
    #[must_use]
    pub fn newest_believable(self, ahead_micros: i64) -> EventTime {
        EventTime::from_micros(self.0.saturating_add(ahead_micros))
    }
}

#[inline]
fn digits(bytes: &[u8]) -> Result<i64, TimeError> {
    let (mut sum, mut all_digits) = (0_i64, true);
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        all_digits &= digit < 10;
        sum = sum * 10 + i64::from(digit);
    }
    if all_digits { Ok(sum) } else { Err(TimeError::Syntax) }
}

fn parse_rfc3339(text: &[u8]) -> Result<i64, TimeError> {
    let Some((head, rest)) = text.split_first_chunk::<19>().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(TimeError::Syntax);
    };
    let &[y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] =
        head
    else {
        return Err(TimeError::Syntax);
    };
    let (year, month, day) = (digits(&[y1, y2, y3, y4])?, digits(&[o1, o2])?, digits(&[d1, d2])?);
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    let days_ok = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !days_ok || hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError::OutOfCalendar);
    }
    let (fraction, zone) = read_fraction(rest)?;
    let offset_minutes = read_offset(zone)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    let micros = (seconds - offset_minutes * 60) * MICROS_PER_SECOND + fraction;
    if (MICROS_MIN..=MICROS_MAX).contains(&micros) { Ok(micros) } else { Err(TimeError::OutOfRange) }
}

/// Microseconds of `.123456789`, and what follows it.
fn read_fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeError> {
    let Some((b'.', rest)) = text.split_first() else {
        return Ok((0, text));
    };
    let (mut micros, mut count) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = rest.get(count) {
        if count < 6 {
            micros += i64::from(digit - b'0') * MICROS_OF_DIGIT[count];
        }
        count += 1;
    }
    if count == 0 { Err(TimeError::Syntax) } else { Ok((micros, &rest[count..])) }
}

/// What a one is worth in each place behind the point of a second.
const MICROS_OF_DIGIT: [i64; 6] = [100_000, 10_000, 1_000, 100, 10, 1];

fn read_offset(zone: &[u8]) -> Result<i64, TimeError> {
    match zone {
        [b'Z' | b'z'] => Ok(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return Err(TimeError::OutOfCalendar);
            }
            let magnitude = hours * 60 + minutes;
            Ok(if *sign == b'-' { -magnitude } else { magnitude })
        }
        _ => Err(TimeError::Syntax),
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`], same source.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn write_utc(micros: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (seconds, fraction) = (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    match fraction {
        0 => f.write_str("Z"),
        micros if micros % 1_000 == 0 => write!(f, ".{:03}Z", micros / 1_000),
        micros => write!(f, ".{micros:06}Z"),
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_utc(self.0, f)
    }
}

impl fmt::Display for ReceiveTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_utc(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc3339_is_read() {
        for (text, shown) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2023-11-16T18:15:46.6805900Z", "2023-11-16T18:15:46.680590Z"),
            ("2026-01-31t13:45:00.5+02:00", "2026-01-31T11:45:00.500Z"),
            ("2024-02-29 23:59:60Z", "2024-02-29T23:59:59Z"),
            ("1985-04-12T23:20:50.52-00:00", "1985-04-12T23:20:50.520Z"),
        ] {
            assert_eq!(EventTime::parse(text.as_bytes()).expect("a time").to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused_by_kind() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0200",
            "2O26-01-01T00:00:00Z",
        ] {
            assert_eq!(EventTime::parse(text.as_bytes()), Err(TimeError::Syntax), "{text}");
        }
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+24:00",
        ] {
            assert_eq!(EventTime::parse(text.as_bytes()), Err(TimeError::OutOfCalendar), "{text}");
        }
        assert_eq!(EventTime::parse(b"0000-12-31T00:00:00Z"), Err(TimeError::OutOfRange));
        assert_eq!(EventTime::parse(b"9999-12-31T23:59:59Z"), Err(TimeError::OutOfRange));
    }

    proptest! {
        #[test]
        fn shown_times_read_back(micros in MICROS_MIN..MICROS_MAX) {
            let time = EventTime::from_micros(micros);
            prop_assert_eq!(EventTime::parse(time.to_string().as_bytes()), Ok(time));
        }

        #[test]
        fn parsing_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = EventTime::parse(&bytes);
        }
    }
}
