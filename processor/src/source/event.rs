//! How does a row become an event? Writes one structured-mode CloudEvents 1.0 JSON object from a row's cells.
//!
//! Keeps: digits are never recomputed. An untyped cell (CSV, plain lines) that matches the JSON number grammar is
//! written as that number, digit by digit; any other text is a JSON string. A typed cell keeps its type.
//! Absent cells leave their member out; an attribute that needs an absent cell makes the row damaged.

use std::path::Path;

use jiff::tz::TimeZone;

use super::mapping::{Mapping, Template, TemplatePart, TimeMapping};
use super::{Chunk, Damaged, Limits, Record, SourceError, bytes, range_of, times};

/// The text of one column in one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub text: &'a [u8],
    /// The file says that it is a text, so digits in it are no number.
    pub is_text: bool,
    /// The file says that it is a boolean.
    pub is_boolean: bool,
}

impl<'a> Cell<'a> {
    /// A cell of a format without types; none when the text means absent.
    pub fn untyped(text: &'a [u8], null: &[String]) -> Option<Self> {
        let absent = null.iter().any(|null| null.as_bytes() == text);
        (!absent).then_some(Self { text, is_text: false, is_boolean: false })
    }
}

/// A mapping whose columns have been found in one file.
pub(super) struct EventShape {
    id: Vec<Part>,
    source: Vec<Part>,
    event_type: Vec<Part>,
    subject: Option<Vec<Part>>,
    time: Option<TimeShape>,
    members: Vec<Member>,
    /// A row counts only if each of these columns has one of the texts.
    filters: Vec<(usize, Vec<String>)>,
}

enum Part {
    Text(String),
    RecordNumber,
    Column(ColumnRef),
}

#[derive(Clone)]
struct ColumnRef {
    index: usize,
    name: String,
}

enum TimeShape {
    Text(Vec<Part>),
    Column { column: ColumnRef, format: Option<String>, zone: Option<TimeZone> },
}

struct Member {
    /// The member's name as JSON, with its colon.
    key: Vec<u8>,
    column: ColumnRef,
    default: Option<String>,
}

/// What a row has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Event,
    /// `[where]` does not ask for it.
    LeftOut,
}

/// Why a row is no event.
pub(super) struct Fault {
    pub code: &'static str,
    pub reason: String,
}

impl EventShape {
    /// Finds the mapping's columns among those of the file at `path`.
    pub fn bind(mapping: &Mapping, columns: &[String], path: &Path) -> Result<Self, SourceError> {
        let binder = Binder { columns, name: bytes::display_name(path), stem: bytes::stem(path) };
        let event = &mapping.event;
        let time = event.time.as_ref();
        let time = time.map(|time| binder.time(time.get_ref(), mapping.zone.as_ref())).transpose()?;
        let members = mapping.data.iter().map(|(name, member)| {
            let mut key = Vec::new();
            write_text(&mut key, name);
            key.push(b':');
            Ok(Member { key, column: binder.column(&member.column)?, default: member.default.clone() })
        });
        let filters = mapping.filters.iter();
        Ok(Self {
            id: binder.template(&event.id)?,
            source: binder.template(&event.source)?,
            event_type: binder.template(&event.event_type)?,
            subject: event.subject.as_ref().map(|template| binder.template(template)).transpose()?,
            time,
            members: members.collect::<Result<_, _>>()?,
            filters: filters
                .map(|(name, texts)| Ok((binder.column(name)?.index, texts.clone())))
                .collect::<Result<_, SourceError>>()?,
        })
    }

    /// Indices of the columns that it reads, ascending.
    pub fn columns(&self) -> Vec<usize> {
        let mut parts: Vec<&Part> = Vec::new();
        parts.extend(self.id.iter().chain(&self.source).chain(&self.event_type));
        parts.extend(self.subject.iter().flatten());
        let mut columns: Vec<usize> = self.filters.iter().map(|(index, _)| *index).collect();
        match &self.time {
            Some(TimeShape::Text(template)) => parts.extend(template),
            Some(TimeShape::Column { column, .. }) => columns.push(column.index),
            None => {}
        }
        columns.extend(parts.iter().filter_map(|part| match part {
            Part::Column(column) => Some(column.index),
            Part::Text(_) | Part::RecordNumber => None,
        }));
        columns.extend(self.members.iter().map(|member| member.column.index));
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Appends the event of one row. After a fault, what was appended is of no use.
    pub fn write<'a>(
        &self,
        record: u64,
        cell: impl Fn(usize) -> Option<Cell<'a>>,
        out: &mut Vec<u8>,
    ) -> Result<Written, Fault> {
        let asked_for = |(column, texts): &(usize, Vec<String>)| {
            cell(*column).is_some_and(|cell| texts.iter().any(|text| text.as_bytes() == cell.text))
        };
        if !self.filters.iter().all(asked_for) {
            return Ok(Written::LeftOut);
        }
        let row = Row { record, cell };
        out.extend_from_slice(br#"{"specversion":"1.0""#);
        row.write_attribute(br#","id":"#, &self.id, out)?;
        row.write_attribute(br#","source":"#, &self.source, out)?;
        row.write_attribute(br#","type":"#, &self.event_type, out)?;
        if let Some(subject) = &self.subject {
            row.write_attribute(br#","subject":"#, subject, out)?;
        }
        match &self.time {
            Some(TimeShape::Text(template)) => row.write_attribute(br#","time":"#, template, out)?,
            Some(TimeShape::Column { column, format, zone }) => {
                out.extend_from_slice(br#","time":"#);
                write_text(out, &row.time(column, format.as_deref(), zone.as_ref())?);
            }
            None => {}
        }
        out.extend_from_slice(br#","data":{"#);
        let members_start = out.len();
        for member in &self.members {
            row.write_member(member, members_start, out)?;
        }
        out.extend_from_slice(b"}}");
        Ok(Written::Event)
    }
}

struct Row<F> {
    record: u64,
    cell: F,
}

impl<'a, F: Fn(usize) -> Option<Cell<'a>>> Row<F> {
    fn write_attribute(&self, key: &[u8], template: &[Part], out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(key);
        if let [Part::Text(text)] = template {
            write_text(out, text);
            return Ok(());
        }
        let mut value = String::new();
        for part in template {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::RecordNumber => value.push_str(&self.record.to_string()),
                Part::Column(column) => value.push_str(self.needed(column)?),
            }
        }
        write_text(out, &value);
        Ok(())
    }

    fn needed(&self, column: &ColumnRef) -> Result<&'a str, Fault> {
        let cell = (self.cell)(column.index).ok_or_else(|| Fault {
            code: "missing_value",
            reason: format!(
                "column `{}` is absent, but an attribute of the event is made of it",
                column.name
            ),
        })?;
        text_of(cell, column)
    }

    fn time(
        &self,
        column: &ColumnRef,
        format: Option<&str>,
        zone: Option<&TimeZone>,
    ) -> Result<String, Fault> {
        let text = self.needed(column)?;
        let Some(format) = format else { return Ok(text.to_owned()) };
        times::read(format, zone, text.as_bytes()).map_err(|cause| Fault {
            code: "invalid_time",
            reason: format!(
                "column `{}` holds `{}`, which is no time of the format `{format}`: {cause}",
                column.name,
                text.chars().take(64).collect::<String>()
            ),
        })
    }

    fn write_member(&self, member: &Member, members_start: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let default = || {
            let text = member.default.as_ref()?.as_bytes();
            Some(Cell { text, is_text: false, is_boolean: false })
        };
        // Two calls rather than one chain: the cell borrows from the row, the default from the mapping.
        match (self.cell)(member.column.index) {
            Some(cell) => write_cell(member, cell, members_start, out),
            None => match default() {
                Some(cell) => write_cell(member, cell, members_start, out),
                None => Ok(()),
            },
        }
    }
}

fn write_cell(member: &Member, cell: Cell<'_>, members_start: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    if out.len() > members_start {
        out.push(b',');
    }
    out.extend_from_slice(&member.key);
    if cell.is_boolean || (!cell.is_text && is_json_number(cell.text)) {
        out.extend_from_slice(cell.text);
    } else {
        write_text(out, text_of(cell, &member.column)?);
    }
    Ok(())
}

fn text_of<'a>(cell: Cell<'a>, column: &ColumnRef) -> Result<&'a str, Fault> {
    std::str::from_utf8(cell.text).map_err(|cause| Fault {
        code: "invalid_utf8",
        reason: format!("column `{}` is not UTF-8: {cause}; convert the file to UTF-8", column.name),
    })
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text always serializes, and memory takes every byte");
}

/// The `number` grammar of RFC 8259 section 6.
fn is_json_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &text[count..])
    }
    fn rest_of_number(text: &[u8]) -> Option<&[u8]> {
        let text = text.strip_prefix(b"-").unwrap_or(text);
        let mut rest = match text.strip_prefix(b"0") {
            Some(rest) => rest,
            None => digits(text)?,
        };
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = digits(fraction)?;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            rest = digits(exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent))?;
        }
        Some(rest)
    }
    rest_of_number(text).is_some_and(<[u8]>::is_empty)
}

struct Binder<'a> {
    columns: &'a [String],
    /// For messages.
    name: String,
    /// What `{file}` means.
    stem: String,
}

impl Binder<'_> {
    fn column(&self, name: &str) -> Result<ColumnRef, SourceError> {
        let mut found = self.columns.iter().enumerate().filter(|(_, column)| *column == name);
        let Some((index, _)) = found.next() else {
            let none = || "none, since it has no header row".to_owned();
            let available = if self.columns.is_empty() { none() } else { self.columns.join(", ") };
            return Err(SourceError::MissingColumn {
                name: self.name.clone(),
                column: name.to_owned(),
                available,
            });
        };
        if found.next().is_some() {
            return Err(SourceError::AmbiguousColumn { name: self.name.clone(), column: name.to_owned() });
        }
        Ok(ColumnRef { index, name: name.to_owned() })
    }

    fn template(&self, template: &Template) -> Result<Vec<Part>, SourceError> {
        let mut parts = Vec::new();
        for part in &template.parts {
            match part {
                TemplatePart::Text(text) => push_text(&mut parts, text),
                TemplatePart::FileStem => push_text(&mut parts, &self.stem),
                TemplatePart::RecordNumber => parts.push(Part::RecordNumber),
                TemplatePart::Column(name) => parts.push(Part::Column(self.column(name)?)),
            }
        }
        Ok(parts)
    }

    fn time(&self, time: &TimeMapping, file_zone: Option<&TimeZone>) -> Result<TimeShape, SourceError> {
        Ok(match time {
            TimeMapping::Template(template) => TimeShape::Text(self.template(template)?),
            TimeMapping::Column { column, format, zone } => TimeShape::Column {
                column: self.column(column)?,
                format: format.clone(),
                zone: zone.as_ref().or(file_zone).cloned(),
            },
        })
    }
}

/// Neighbouring texts become one, so that a template without columns is a single text.
fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

impl Chunk {
    /// Takes what [`EventShape::write`] made of the row at `place`, beginning at `start` of the text.
    pub(super) fn settle<'a>(
        &mut self,
        place: u64,
        start: usize,
        written: Result<Written, Fault>,
        raw: impl FnOnce() -> std::borrow::Cow<'a, [u8]>,
        limits: Limits,
    ) {
        match written {
            Ok(Written::LeftOut) => {}
            Ok(Written::Event) => {
                self.records.push(Record { place, range: range_of(start..self.text.len()) });
            }
            Err(Fault { code, reason }) => {
                self.text.truncate(start);
                let range = self.keep(&raw(), limits);
                self.damaged.push(Damaged { place, range, code, reason });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_follow_the_json_grammar() {
        for text in ["0", "-0", "10", "0.10", "-12.50", "1e5", "1E+5", "2.000000000000000", "0.00000080000"] {
            assert!(is_json_number(text.as_bytes()), "{text}");
        }
        for text in
            ["", "-", "+1", "01", ".5", "5.", "1e", "1e+", "0x1", "1 ", " 1", "NaN", "inf", "1,000", "1_0"]
        {
            assert!(!is_json_number(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_grammar_is_the_one_of_serde_json(text in "[-+0-9.eE]{0,8}") {
            let parses = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(is_json_number(text.as_bytes()), parses);
        }
    }
}
