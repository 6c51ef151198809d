//! Which window and which billing period does an instant belong to, in a subscription's own time zone?
//!
//! Keeps: every instant has exactly one window and one period; windows never cross a period's boundary, so nothing is
//! lost or doubled on days of 23 or 25 hours. Zones come from the tz database compiled into the binary, never from the
//! machine's files, so that every machine answers alike (I-10).

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use tidemark_schemas::legal_entity::AccountingPeriod;
use tidemark_schemas::meter::WindowLength;
use tidemark_schemas::subscription::{CivilDate, PeriodLength};
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::{EventTime, MICROS_PER_HOUR, MICROS_PER_MINUTE};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    #[error("`{name}` is not a time zone of the IANA database; write a name such as UTC or Europe/Budapest")]
    UnknownZone { name: String },
    #[error("{date} is not a day of the calendar")]
    NoSuchDay { date: CivilDate },
}

/// The calendar of one subscription: where its days, hours and billing periods begin.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    anchor: Date,
    months: i32,
}

/// A zone of the bundled tz database.
///
/// # Errors
/// [`CalendarError::UnknownZone`]
pub fn zone(name: &str) -> Result<TimeZone, CalendarError> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| CalendarError::UnknownZone { name: name.into() })
}

impl Calendar {
    /// Periods of `period` length, one of which starts on the local day `anchor`.
    ///
    /// # Errors
    /// [`CalendarError`] for an unknown zone or a day that does not exist.
    pub fn new(zone_name: &str, anchor: CivilDate, period: PeriodLength) -> Result<Self, CalendarError> {
        let date = Date::new(anchor.year, anchor.month, anchor.day)
            .map_err(|_| CalendarError::NoSuchDay { date: anchor })?;
        Ok(Self { zone: zone(zone_name)?, anchor: date, months: period.months() })
    }

    /// The billing period that `time` is in.
    #[must_use]
    pub fn period(&self, time: EventTime) -> Span {
        let day = self.local_day(time);
        let months = (i32::from(day.year()) - i32::from(self.anchor.year())) * 12 + i32::from(day.month())
            - i32::from(self.anchor.month());
        // The anchor's day may fall after `day` in this month, so the period may be the one before.
        let guess = months.div_euclid(self.months);
        let index = if self.boundary(guess) > time { guess - 1 } else { guess };
        Span { start: self.boundary(index), end: self.boundary(index + 1) }
    }

    /// The window of `length` that `time` is in. Never longer than the billing period around it.
    #[must_use]
    pub fn window(&self, length: WindowLength, time: EventTime, period: Span) -> Span {
        let window = match length {
            WindowLength::Minute => self.aligned(time, MICROS_PER_MINUTE),
            WindowLength::FiveMinutes => self.aligned(time, 5 * MICROS_PER_MINUTE),
            WindowLength::Hour => self.aligned(time, MICROS_PER_HOUR),
            WindowLength::Day => self.day(time),
            WindowLength::Period => period,
        };
        Span { start: window.start.max(period.start), end: window.end.min(period.end) }
    }

    /// Counted from the anchor each time: a 31st stays the last day of the month, it does not drift to the 28th.
    fn boundary(&self, index: i32) -> EventTime {
        let day = self.anchor.checked_add((index * self.months).months()).unwrap_or(if index < 0 {
            Date::MIN
        } else {
            Date::MAX
        });
        self.start_of(day)
    }

    fn day(&self, time: EventTime) -> Span {
        let day = self.local_day(time);
        let next = day.checked_add(1.day()).unwrap_or(Date::MAX);
        Span { start: self.start_of(day), end: self.start_of(next) }
    }

    /// A stretch of `micros` aligned to the local clock. Where the clocks change it ends, and a new one begins: no
    /// instant is in two windows even where they change by half an hour (Lord Howe).
    fn aligned(&self, time: EventTime, micros: i64) -> Span {
        let at = timestamp(time);
        let offset = i64::from(self.zone.to_offset(at).seconds()) * 1_000_000;
        let start = time.plus_micros(-(time.micros() + offset).rem_euclid(micros));
        let end = start.plus_micros(micros);
        // `preceding` is exclusive, so ask from just after `time` to see a change at `time` itself.
        let just_after = timestamp(time.plus_micros(1));
        let changed = self.zone.preceding(just_after).next().map(|change| event_time(change.timestamp()));
        let changes = self.zone.following(at).next().map(|change| event_time(change.timestamp()));
        Span { start: changed.map_or(start, |at| start.max(at)), end: changes.map_or(end, |at| end.min(at)) }
    }

    fn local_day(&self, time: EventTime) -> Date {
        self.zone.to_datetime(timestamp(time)).date()
    }

    fn start_of(&self, day: Date) -> EventTime {
        start_of_day(&self.zone, day)
    }
}

/// The calendar month of a legal entity's books that `time` is in.
#[must_use]
pub fn accounting_period(zone: &TimeZone, time: EventTime) -> AccountingPeriod {
    let day = zone.to_datetime(timestamp(time)).date();
    AccountingPeriod { year: day.year(), month: day.month() }
}

/// The first instant of a local day: 00:00, or 01:00 where the clocks skip midnight.
#[must_use]
pub fn start_of_day(zone: &TimeZone, day: Date) -> EventTime {
    let start = zone.to_zoned(day.at(0, 0, 0, 0));
    start.map_or(if day.year() < 0 { EventTime::MIN } else { EventTime::MAX }, |zoned| {
        event_time(zoned.timestamp())
    })
}

fn timestamp(time: EventTime) -> Timestamp {
    Timestamp::from_microsecond(time.micros()).expect("event times are within the years 1 to 9999")
}

fn event_time(timestamp: Timestamp) -> EventTime {
    EventTime::from_micros(timestamp.as_microsecond())
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
