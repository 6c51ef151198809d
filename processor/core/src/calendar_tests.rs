//! Months, anniversaries and days when the clocks change.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> EventTime {
    EventTime::parse(text.as_bytes()).expect("a time")
}

fn calendar(zone: &str, anchor: (i16, i8, i8)) -> Calendar {
    let anchor = CivilDate { year: anchor.0, month: anchor.1, day: anchor.2 };
    Calendar::new(zone, anchor, PeriodLength::Month).expect("a calendar")
}

/// Successive period starts from `from` on.
fn starts(calendar: &Calendar, from: &str, count: usize) -> Vec<String> {
    let mut time = at(from);
    let mut found = Vec::new();
    for _ in 0..count {
        let period = calendar.period(time);
        assert!(period.contains(time));
        found.push(period.start.to_string());
        time = period.end;
    }
    found
}

#[test]
fn a_month_starts_at_local_midnight() {
    // OpenMeter: January 2025 in Budapest starts 2024-12-31T23:00Z.
    let budapest = calendar("Europe/Budapest", (2020, 1, 1));
    assert_eq!(budapest.period(at("2025-01-15T00:00:00Z")).start, at("2024-12-31T23:00:00Z"));
}

#[test]
fn an_anchor_on_the_31st_is_the_last_day_of_shorter_months() {
    // Flexprice: Jan 31, Feb 28 (29 in 2028), Mar 31, Apr 30.
    let monthly = calendar("UTC", (2026, 1, 31));
    assert_eq!(
        starts(&monthly, "2026-01-31T00:00:00Z", 4),
        ["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"]
    );
    assert_eq!(monthly.period(at("2028-02-29T12:00:00Z")).start, at("2028-02-29T00:00:00Z"));
    // Lago: an anniversary of 31 January 2024.
    let anniversary = calendar("UTC", (2024, 1, 31));
    assert_eq!(
        starts(&anniversary, "2024-02-28T23:59:59Z", 4),
        ["2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z", "2024-04-30T00:00:00Z"]
    );
}

#[test]
fn months_across_daylight_saving_keep_local_bounds() {
    // Kill Bill: America/New_York 2023, events per month 3 / 4 / 2.
    let monthly = calendar("America/New_York", (2023, 1, 1));
    let zone = zone("America/New_York").expect("a zone");
    let local = |month, day, hour, minute| {
        let zoned =
            zone.to_zoned(jiff::civil::date(2023, month, day).at(hour, minute, 0, 0)).expect("exists");
        event_time(zoned.timestamp())
    };
    let times = [
        local(3, 1, 4, 0),
        local(3, 15, 0, 0),
        local(3, 31, 23, 59),
        local(4, 1, 0, 0),
        local(4, 1, 0, 1),
        local(4, 15, 0, 0),
        local(4, 30, 23, 59),
        local(5, 1, 0, 0),
        local(5, 1, 0, 1),
    ];
    let mut counts = std::collections::BTreeMap::new();
    for time in times {
        *counts.entry(monthly.period(time).start).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 4, 2]);
}

#[test]
fn days_have_23_or_25_hours_when_the_clocks_change() {
    let berlin = calendar("Europe/Berlin", (2026, 1, 1));
    for (noon, hours) in
        [("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25), ("2026-07-01T12:00:00Z", 24)]
    {
        let time = at(noon);
        let day = berlin.window(WindowLength::Day, time, berlin.period(time));
        assert_eq!(day.end.micros() - day.start.micros(), hours * MICROS_PER_HOUR, "{noon}");
    }
}

#[test]
fn a_repeated_local_hour_is_two_windows() {
    let berlin = calendar("Europe/Berlin", (2026, 1, 1));
    let hour = |text| {
        let time = at(text);
        berlin.window(WindowLength::Hour, time, berlin.period(time))
    };
    assert_eq!(hour("2026-10-25T00:30:00Z").end, hour("2026-10-25T01:30:00Z").start);
}

#[test]
fn a_window_ends_with_its_billing_period() {
    // A period that starts at local midnight in Kathmandu (+05:45) cuts no window, because windows are local too.
    let kathmandu = calendar("Asia/Kathmandu", (2026, 1, 1));
    let time = at("2026-01-31T18:20:00Z");
    let hour = kathmandu.window(WindowLength::Hour, time, kathmandu.period(time));
    assert_eq!((hour.start, hour.end), (at("2026-01-31T18:15:00Z"), at("2026-01-31T19:15:00Z")));
}

#[test]
fn quarters_and_years_count_from_the_anchor() {
    let anchor = CivilDate { year: 2026, month: 2, day: 1 };
    let quarterly = Calendar::new("UTC", anchor, PeriodLength::Quarter).expect("a calendar");
    assert_eq!(quarterly.period(at("2026-01-15T00:00:00Z")).start, at("2025-11-01T00:00:00Z"));
    let yearly = Calendar::new("UTC", anchor, PeriodLength::Year).expect("a calendar");
    assert_eq!(yearly.period(at("2027-01-31T23:59:59Z")).start, at("2026-02-01T00:00:00Z"));
}

#[test]
fn unknown_zones_and_days_are_refused_by_name() {
    let day = CivilDate { year: 2026, month: 2, day: 30 };
    assert!(matches!(
        Calendar::new("Mars/Base", day, PeriodLength::Month),
        Err(CalendarError::NoSuchDay { .. })
    ));
    let day = CivilDate { year: 2026, month: 2, day: 1 };
    assert!(matches!(
        Calendar::new("Mars/Base", day, PeriodLength::Month),
        Err(CalendarError::UnknownZone { .. })
    ));
}

const ZONES: [&str; 8] = [
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "Europe/Dublin",
];

proptest! {
    /// Every instant of a window names that same window, and windows and periods touch without gaps.
    #[test]
    fn windows_partition_time(
        zone in proptest::sample::select(&ZONES[..]),
        length in proptest::sample::select(&WindowLength::ALL[..]),
        day in 1_i8..=31,
        micros in 1_600_000_000_000_000_i64..1_900_000_000_000_000,
        share in 0_i64..1_000,
    ) {
        let calendar = calendar(zone, (2020, 1, day));
        let time = EventTime::from_micros(micros);
        let period = calendar.period(time);
        let window = calendar.window(length, time, period);
        prop_assert!(period.contains(time) && window.contains(time));
        prop_assert!(period.start <= window.start && window.end <= period.end);
        let inside = window.start.plus_micros((window.end.micros() - window.start.micros() - 1) / 999 * share.min(999));
        prop_assert_eq!(calendar.window(length, inside, calendar.period(inside)), window);
        let next = calendar.window(length, window.end, calendar.period(window.end));
        prop_assert_eq!(next.start, window.end);
    }
}
