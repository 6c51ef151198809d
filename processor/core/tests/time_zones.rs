//! Do billing months and local days agree with an independent implementation of the tz database? Bounds computed by
//! CPython's zoneinfo (tz 2025b), when `TIDEMARK_DATA` names a folder that holds them.

use tidemark_core::calendar::Calendar;
use tidemark_schemas::meter::WindowLength;
use tidemark_schemas::subscription::{CivilDate, PeriodLength};
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::EventTime;

/// A zone's calendar, UTC bounds, and the line that says them.
type Row = (Calendar, Span, String);

fn rows(file: &str) -> Vec<Row> {
    let Some(folder) = std::env::var_os("TIDEMARK_DATA").map(std::path::PathBuf::from) else {
        println!("SKIPPED {file}: set TIDEMARK_DATA to a folder that has the data set `tz-dst`");
        return Vec::new();
    };
    let text = std::fs::read_to_string(folder.join("tz-dst").join(file)).expect("a data file");
    let row = |line: &str| {
        let [zone, _, start, end] = line.splitn(5, ',').take(4).collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let anchor = CivilDate { year: 2023, month: 1, day: 1 };
        let calendar = Calendar::new(zone, anchor, PeriodLength::Month).expect("a zone");
        let at = |text: &str| EventTime::parse(text.as_bytes()).expect("a time");
        (calendar, Span { start: at(start), end: at(end) }, line.to_owned())
    };
    text.lines().skip(1).map(row).collect()
}

/// Zones whose law has changed since tz 2025b: the bundled database is newer.
const CHANGED_SINCE: [&str; 1] = ["Africa/Casablanca"];

fn is_settled(row: &str) -> bool {
    !CHANGED_SINCE.iter().any(|zone| row.starts_with(zone))
}

/// Rows that `found` does not agree with, in zones whose law has not changed.
fn differing(rows: &[Row], found: impl Fn(&Calendar, EventTime) -> Span) -> Vec<&str> {
    let agrees =
        |(calendar, span, _): &&Row| inside(*span).iter().all(|time| found(calendar, *time) == *span);
    let others = rows.iter().filter(|row| !agrees(row)).map(|(_, _, line)| line.as_str());
    others.filter(|line| is_settled(line)).collect()
}

/// First, middle and last instant.
fn inside(span: Span) -> [EventTime; 3] {
    let length = span.end.micros() - span.start.micros();
    [0, length / 2, length - 1].map(|micros| span.start.plus_micros(micros))
}

#[test]
fn billing_months_are_local_months() {
    let rows = rows("local_months_2025_2027.csv");
    assert!(rows.is_empty() || rows.len() == 792, "22 zones, 36 months");
    let differing = differing(&rows, |calendar, time| calendar.period(time));
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn days_are_local_days_however_long() {
    let rows = rows("odd_days_2023_2028.csv");
    assert!(rows.is_empty() || rows.len() == 171, "days that are not 86,400 s long");
    let day = |calendar: &Calendar, time| calendar.window(WindowLength::Day, time, calendar.period(time));
    let differing = differing(&rows, day);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
