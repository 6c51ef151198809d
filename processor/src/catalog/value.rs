//! How is one TOML value read? As text, a name, an exact number, a duration, a day or an instant, or not at all.
//!
//! Keeps: money and quantities never pass through a binary float. A TOML float is refused even where its digits look
//! exact, because other tools that read the same file would round it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use tidemark_schemas::limits::ATTRIBUTE_BYTES_MAX;
use tidemark_schemas::subscription::CivilDate;
use tidemark_schemas::time::{
    EventTime, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, TimeError,
};
use tidemark_schemas::{Currency, Decimal};
use toml::Spanned;
use toml::de::DeValue;

use super::mistake::{Mistakes, Place};
use super::table::Table;

#[derive(Clone)]
pub(super) struct Value<'a> {
    pub raw: &'a DeValue<'a>,
    pub place: Place,
    pub mistakes: &'a Mistakes<'a>,
}

/// A day or an instant: which instant a day begins at depends on a time zone.
#[derive(Clone, Copy)]
pub(super) enum Moment {
    Instant(EventTime),
    Day(CivilDate),
}

impl<'a> Value<'a> {
    pub fn mistake(&self, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.add(&self.place, message, help);
    }

    /// What it is, for a message: `a float`.
    pub fn found(&self) -> &'static str {
        match self.raw {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    pub fn expected<T>(&self, what: &str, help: &str) -> Option<T> {
        self.mistake(format!("expected {what}, found {}", self.found()), help);
        None
    }

    /// Text that is not blank and no longer than an attribute of an event.
    pub fn text(&self) -> Option<&'a str> {
        self.text_within(ATTRIBUTE_BYTES_MAX)
    }

    pub fn text_within(&self, bytes_max: usize) -> Option<&'a str> {
        let DeValue::String(text) = self.raw else {
            return self.expected("text", "write it in quotes");
        };
        if text.trim().is_empty() {
            self.mistake("the text is empty", "write something or remove the key");
            return None;
        }
        if text.len() > bytes_max {
            let message = format!("the text has {} bytes", text.len());
            self.mistake(message, format!("at most {bytes_max} are allowed"));
            return None;
        }
        Some(text)
    }

    pub fn owned_text(self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// Our errors read "what is wrong; what is allowed": the two halves of a mistake.
    pub fn parsed<T, E: Display>(&self, text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let error = error.to_string();
                let (message, help) = error.split_once("; ").unwrap_or((&error, "correct it"));
                self.mistake(message, help);
                None
            }
        }
    }

    pub fn name<T, E: Display>(&self, new: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.parsed(self.text()?, new)
    }

    pub fn currency(self) -> Option<Currency> {
        self.name(str::parse)
    }

    /// One of a closed set, by its name.
    pub fn choice<T: Copy>(&self, all: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
        let text = self.text()?;
        let chosen = all.iter().copied().find(|one| name(*one) == text);
        if chosen.is_none() {
            let allowed: Vec<_> = all.iter().map(|one| name(*one)).collect();
            self.mistake(format!("`{}` is unknown", shown(text)), format!("allowed: {}", allowed.join(", ")));
        }
        chosen
    }

    pub fn boolean(self) -> Option<bool> {
        match self.raw {
            DeValue::Boolean(value) => Some(*value),
            _ => self.expected("a boolean", "write true or false, without quotes"),
        }
    }

    pub fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let (from, to) = (range.start(), range.end());
        let allowed = format!("allowed: {from} to {to}");
        let DeValue::Integer(integer) = self.raw else {
            return self.expected("a whole number", &allowed);
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.mistake(format!("{integer} is out of range"), allowed);
                None
            }
        }
    }

    /// An exact decimal that is not negative: no price, bound or size of ours is.
    pub fn amount(self) -> Option<Decimal> {
        let number = self.decimal()?;
        if number.is_negative() {
            self.mistake(format!("{number} is negative"), "allowed: 0 or more");
            return None;
        }
        Some(number)
    }

    fn decimal(&self) -> Option<Decimal> {
        match self.raw {
            DeValue::String(text) => self.parsed(text, str::parse),
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => Some(Decimal::from_int(number)),
                Err(_) => {
                    self.mistake(format!("{integer} does not fit 128 bits"), "write a smaller number");
                    None
                }
            },
            DeValue::Float(float) => {
                let quoted = format!("put it in quotes: \"{}\"", float.as_str());
                self.mistake("a float is not exact, so money cannot depend on it", quoted);
                None
            }
            _ => self.expected("a number", "write an integer, or a decimal in quotes such as \"0.0001\""),
        }
    }

    /// Microseconds of `90s`, `5m`, `1h30m`, `35d`.
    pub fn duration(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let text = self.text()?;
        let Some(micros) = micros_of(text) else {
            let message = format!("`{}` is not a duration", shown(text));
            self.mistake(message, "write whole numbers with s, m, h or d, such as 90s, 5m, 1h30m, 35d");
            return None;
        };
        if !range.contains(&micros) {
            let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
            self.mistake(format!("`{text}` is out of range"), format!("allowed: {from} to {to}"));
            return None;
        }
        Some(micros)
    }

    /// A day like 2026-01-31, or RFC 3339 with an offset. Both may be quoted or not.
    pub fn moment(self) -> Option<Moment> {
        let text = self.time_text()?;
        if let Some(day) = day_of(&text) {
            return self.existing_day(day).map(Moment::Day);
        }
        match EventTime::parse(text.as_bytes()) {
            Ok(time) => Some(Moment::Instant(time)),
            Err(error) => {
                let help =
                    "write a day like 2026-01-31, or a time with its offset like 2026-01-31T13:45:00+02:00";
                let what = match error {
                    TimeError::Syntax => "not a day or an RFC 3339 time".to_owned(),
                    other => other.to_string(),
                };
                self.mistake(format!("`{}`: {what}", shown(&text)), help);
                None
            }
        }
    }

    pub fn day(self) -> Option<CivilDate> {
        let text = self.time_text()?;
        match day_of(&text) {
            Some(day) => self.existing_day(day),
            None => {
                self.mistake(format!("`{}` is not a day", shown(&text)), "write it like 2026-01-31");
                None
            }
        }
    }

    fn time_text(&self) -> Option<String> {
        match self.raw {
            DeValue::Datetime(time) => Some(time.to_string()),
            DeValue::String(_) => self.text().map(str::to_owned),
            _ => self.expected("a day or a time", "write it like 2026-01-31 or 2026-01-31T13:45:00Z"),
        }
    }

    fn existing_day(&self, day: CivilDate) -> Option<CivilDate> {
        // The first and the last year stay out, so that every time zone's midnight is a time we can hold.
        if (2..=9998).contains(&day.year) && Date::new(day.year, day.month, day.day).is_ok() {
            return Some(day);
        }
        self.mistake(
            format!("the day {day} is not on our calendar"),
            "allowed: existing days of the years 2 to 9998",
        );
        None
    }

    pub fn zone(&self, zones: &Zones) -> Option<TimeZone> {
        let text = self.text()?;
        let zone = zones.find(text);
        if zone.is_none() {
            let message = format!("`{}` is not a time zone", shown(text));
            self.mistake(message, "write an IANA name such as UTC, Europe/Budapest or America/New_York");
        }
        zone
    }

    pub fn table(self) -> Option<Table<'a>> {
        match self.raw {
            DeValue::Table(rows) => Some(Table::new(rows, self.place, self.mistakes)),
            _ => self.expected("a table", "write { key = value, … } or a [header]"),
        }
    }

    /// A list, each element read by `read`. `None` when any element is wrong; all are read.
    pub fn list<T>(self, read: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        let DeValue::Array(elements) = self.raw else {
            return self.expected("a list", "write it in square brackets");
        };
        let read: Vec<Option<T>> = self.elements(elements).map(read).collect();
        read.into_iter().collect()
    }

    pub fn elements(&self, elements: &'a [Spanned<DeValue<'a>>]) -> impl Iterator<Item = Value<'a>> {
        let (place, mistakes) = (self.place.clone(), self.mistakes);
        elements.iter().enumerate().map(move |(index, element)| Value {
            raw: element.get_ref(),
            place: place.element(index, element.span().start),
            mistakes,
        })
    }
}

/// A stranger's text in our message: bounded and on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).collect::<String>().escape_debug().to_string()
}

/// `None` unless the text has the form 2026-01-31; whether the day exists is another question.
fn day_of(text: &str) -> Option<CivilDate> {
    let bytes = text.as_bytes();
    let is_form = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_form {
        return None;
    }
    let part = |range| text.get(range);
    Some(CivilDate {
        year: part(0..4)?.parse().ok()?,
        month: part(5..7)?.parse().ok()?,
        day: part(8..10)?.parse().ok()?,
    })
}

const UNITS: [(&str, i64); 4] =
    [("d", MICROS_PER_DAY), ("h", MICROS_PER_HOUR), ("m", MICROS_PER_MINUTE), ("s", MICROS_PER_SECOND)];

fn micros_of(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let (unit, micros) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        sum = sum.checked_add(number.parse::<i64>().ok()?.checked_mul(*micros)?)?;
        rest = &after[unit.len()..];
    }
    Some(sum)
}

/// In the largest unit that divides it: `35d`, `90s`.
pub(super) fn show_duration(micros: i64) -> String {
    let unit = UNITS.iter().find(|(_, size)| micros != 0 && micros % size == 0);
    match unit {
        Some((unit, size)) => format!("{}{unit}", micros / size),
        None => format!("{}s", micros / MICROS_PER_SECOND),
    }
}

/// Time zones from the database built into the product: the same on every machine, whatever is installed there (I-10).
pub(super) struct Zones {
    database: TimeZoneDatabase,
    found: RefCell<HashMap<String, Option<TimeZone>>>,
}

impl Default for Zones {
    fn default() -> Self {
        Self { database: TimeZoneDatabase::bundled(), found: RefCell::default() }
    }
}

impl Zones {
    fn find(&self, name: &str) -> Option<TimeZone> {
        if let Some(known) = self.found.borrow().get(name) {
            return known.clone();
        }
        let zone = self.database.get(name).ok();
        self.found.borrow_mut().insert(name.to_owned(), zone.clone());
        zone
    }
}

/// The IANA name in its usual case: `europe/budapest` and `Europe/Budapest` are one zone.
pub(super) fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

impl Moment {
    /// A day starts at its first instant in the zone, which is not midnight where clocks skip midnight.
    pub fn start_in(self, zone: &TimeZone) -> EventTime {
        match self {
            Self::Instant(time) => time,
            Self::Day(day) => {
                let date = Date::new(day.year, day.month, day.day).expect("checked when it was read");
                let start = zone
                    .to_zoned(date.at(12, 0, 0, 0))
                    .and_then(|noon| noon.start_of_day())
                    .expect("days of the years 2 to 9998 are inside every zone's range");
                EventTime::from_micros(start.timestamp().as_microsecond())
            }
        }
    }

    /// The local day that it falls on.
    pub fn day_in(self, zone: &TimeZone) -> CivilDate {
        match self {
            Self::Day(day) => day,
            Self::Instant(time) => {
                let timestamp = jiff::Timestamp::from_microsecond(time.micros())
                    .expect("event times are inside the years 1 to 9999");
                let date = zone.to_datetime(timestamp).date();
                CivilDate { year: date.year(), month: date.month(), day: date.day() }
            }
        }
    }
}
