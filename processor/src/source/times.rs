//! Which instant does a column's time mean? Clock readings of a file become RFC 3339 in UTC.
//!
//! Keeps: all digits of the file down to nanoseconds. A wall-clock reading that a zone skips or repeats (daylight
//! saving) is resolved as RFC 5545 and Temporal's `compatible` do: a skipped one moves forward by the gap, a repeated
//! one is its first occurrence. Files that need the second occurrence must carry an offset.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// Whether a time read by this strptime format says by itself how far it is from UTC.
pub(super) fn names_its_offset(format: &str) -> bool {
    ["%z", "%:z", "%::z", "%Q", "%:Q", "%s"].iter().any(|directive| format.contains(directive))
}

/// Reads a clock reading by a strptime format; `zone` counts only when the text has no offset of its own.
pub(super) fn read(format: &str, zone: Option<&TimeZone>, text: &[u8]) -> Result<String, jiff::Error> {
    let reading = strtime::parse(format, text)?;
    match zone {
        Some(zone) if !names_its_offset(format) => in_zone(reading.to_datetime()?, zone),
        _ => Ok(reading.to_timestamp()?.to_string()),
    }
}

/// The instant that a wall clock in `zone` shows.
pub(super) fn in_zone(reading: DateTime, zone: &TimeZone) -> Result<String, jiff::Error> {
    Ok(reading.to_zoned(zone.clone())?.timestamp().to_string())
}

/// The wall-clock reading that a naive Parquet timestamp counts as if it were UTC.
pub(super) fn wall_clock(counted: Timestamp) -> DateTime {
    counted.to_zoned(TimeZone::UTC).datetime()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, zone: Option<&str>, text: &str, expected: &str) {
        let zone = zone.map(|name| TimeZone::get(name).expect("a bundled zone"));
        assert_eq!(read(format, zone.as_ref(), text.as_bytes()).expect(text), expected);
    }

    #[test]
    fn clock_readings_become_utc() {
        check(
            "%Y-%m-%d %H:%M:%S%.f",
            Some("UTC"),
            "2023-11-16 18:17:03.9799600",
            "2023-11-16T18:17:03.97996Z",
        );
        check("%Y-%m-%d %H:%M:%S", Some("Europe/Berlin"), "2024-01-31 12:00:00", "2024-01-31T11:00:00Z");
        check("%d/%b/%Y:%H:%M:%S %z", None, "17/May/2015:10:05:03 +0000", "2015-05-17T10:05:03Z");
        check("%d/%b/%Y:%H:%M:%S %z", None, "17/May/2015:10:05:03 -0730", "2015-05-17T17:35:03Z");
        check(
            "%d/%b/%Y:%H:%M:%S %z",
            Some("Asia/Tokyo"),
            "17/May/2015:10:05:03 +0000",
            "2015-05-17T10:05:03Z",
        );
        check("%s", None, "1446249499", "2015-10-30T23:58:19Z");
    }

    #[test]
    fn skipped_readings_move_forward_and_repeated_ones_are_the_first() {
        let format = "%Y-%m-%d %H:%M:%S";
        check(format, Some("America/New_York"), "2024-03-10 02:30:00", "2024-03-10T07:30:00Z");
        check(format, Some("America/New_York"), "2024-11-03 01:30:00", "2024-11-03T05:30:00Z");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "2024-02-30 00:00:00", "2024-01-01 00:00:00 and more", "\u{0}"] {
            assert!(read("%Y-%m-%d %H:%M:%S", Some(&TimeZone::UTC), text.as_bytes()).is_err(), "{text}");
        }
    }
}
