//! Which column goes where? The mapping file that turns rows of someone else's file into events.
//!
//! Keeps: what is not understood is refused, with file and line, before the first row is read; a misspelt key never
//! silently changes what is counted.
//!
//! ```toml
//! format = "csv"                 # csv, parquet or lines; ndjson needs no mapping
//! delimiter = ","                # csv: one ASCII character
//! null = ["NULL", ""]            # csv, lines: texts that mean absent; none unless given
//! zone = "Europe/Berlin"         # of wall-clock times that have none
//! pattern = '^(?P<client>\S+) '  # lines: named groups are the columns
//!
//! [event]                        # templates: {Column}, {#} record number from 1, {file} the file's stem, {{ }} braces
//! id = "{file}-{#}"
//! source = "/azure-llm/{file}"
//! type = "llm.request"
//! subject = "{file}"             # may be left out, as may time
//! time = { column = "TIMESTAMP", format = "%Y-%m-%d %H:%M:%S%.f", zone = "UTC" }  # or a template, when it is RFC 3339
//!
//! [data]                         # member = "Column", or with what an absent cell means
//! context_tokens = "ContextTokens"
//! bytes = { column = "bytes", default = "0" }
//!
//! [where]                        # only rows whose column has this text, or one of these
//! ProviderName = ["AWS", "Microsoft"]
//! ```
//!
//! Deliberately absent: expressions. What a meter computes from members is the meter's own, reviewed with its price.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use thiserror::Error;
use toml::Spanned;

use super::{Format, times};

/// A checked mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub format: Format,
    /// BLAKE3 of the file's text: another mapping makes other events of the same rows.
    pub digest: [u8; 32],
    pub(super) delimiter: u8,
    pub(super) null: Vec<String>,
    pub(super) pattern: Option<regex::bytes::Regex>,
    pub(super) zone: Option<TimeZone>,
    pub(super) event: EventMapping,
    pub(super) data: BTreeMap<String, MemberMapping>,
    pub(super) filters: BTreeMap<String, Vec<String>>,
}

/// What is wrong with a mapping file.
#[derive(Debug, Error)]
pub enum MappingError {
    #[error("cannot read the mapping {path}: {cause}")]
    Unreadable { path: String, cause: std::io::Error },
    #[error("{path}, line {line}: {reason}")]
    Invalid { path: String, line: usize, reason: String },
}

impl Mapping {
    /// # Errors
    /// [`MappingError`], with file and line.
    pub fn read(path: &Path) -> Result<Self, MappingError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&name, &text),
            Err(cause) => Err(MappingError::Unreadable { path: name, cause }),
        }
    }

    /// Reads the text of a mapping; `path` is for messages.
    ///
    /// # Errors
    /// [`MappingError::Invalid`]
    pub fn parse(path: &str, text: &str) -> Result<Self, MappingError> {
        let invalid = |(at, reason): (usize, String)| {
            let line = text[..at.min(text.len())].matches('\n').count() + 1;
            MappingError::Invalid { path: path.to_owned(), line, reason }
        };
        let file: MappingFile = toml::from_str(text).map_err(|error| {
            invalid((error.span().map_or(0, |span| span.start), error.message().trim().to_owned()))
        })?;
        file.checked(*blake3::hash(text.as_bytes()).as_bytes()).map_err(invalid)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingFile {
    format: Spanned<Format>,
    delimiter: Option<Spanned<Delimiter>>,
    null: Option<Spanned<Vec<String>>>,
    zone: Option<Zone>,
    pattern: Option<Spanned<Pattern>>,
    event: EventMapping,
    #[serde(default)]
    data: BTreeMap<String, MemberMapping>,
    #[serde(default, rename = "where")]
    filters: BTreeMap<String, OneOrMore>,
}

impl MappingFile {
    /// What one key alone does not show: keys that do nothing in this format, and keys that it needs.
    fn checked(self, digest: [u8; 32]) -> Result<Mapping, (usize, String)> {
        let format = *self.format.get_ref();
        let misplaced = |at: usize, key: &str, formats: &str| {
            Err((at, format!("`{key}` is only for {formats}; this mapping is for {}", format.name())))
        };
        if format == Format::Ndjson {
            let reason = "ndjson needs no mapping: its lines are CloudEvents already".to_owned();
            return Err((self.format.span().start, reason));
        }
        match &self.delimiter {
            Some(delimiter) if format != Format::Csv => {
                return misplaced(delimiter.span().start, "delimiter", "csv");
            }
            _ => {}
        }
        match &self.pattern {
            Some(pattern) if format != Format::Lines => {
                return misplaced(pattern.span().start, "pattern", "lines");
            }
            None if format == Format::Lines => {
                return Err((self.format.span().start, "lines need a `pattern` with named groups".into()));
            }
            _ => {}
        }
        match &self.null {
            Some(null) if format == Format::Parquet => {
                return misplaced(null.span().start, "null", "csv and lines");
            }
            _ => {}
        }
        if let Some(time) = &self.event.time
            && let Some(reason) = time.get_ref().fault(format, self.zone.is_some())
        {
            return Err((time.span().start, reason));
        }
        Ok(Mapping {
            format,
            digest,
            delimiter: self.delimiter.map_or(b',', |delimiter| delimiter.into_inner().0),
            null: self.null.map(Spanned::into_inner).unwrap_or_default(),
            pattern: self.pattern.map(|pattern| pattern.into_inner().0),
            zone: self.zone.map(|zone| zone.0),
            event: self.event,
            data: self.data,
            filters: self.filters.into_iter().map(|(column, texts)| (column, texts.into())).collect(),
        })
    }
}

/// The attributes of CloudEvents 1.0 that a row fills.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventMapping {
    pub id: Template,
    pub source: Template,
    #[serde(rename = "type")]
    pub event_type: Template,
    pub subject: Option<Template>,
    pub time: Option<Spanned<TimeMapping>>,
}

#[derive(Clone, Debug)]
pub(super) enum TimeMapping {
    /// RFC 3339 already.
    Template(Template),
    Column {
        column: String,
        /// strptime directives; without it the column is RFC 3339 or a Parquet timestamp.
        format: Option<String>,
        /// Overrides the file's zone.
        zone: Option<TimeZone>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct MemberMapping {
    pub column: String,
    /// Stands for an absent cell; without it the member is left out.
    pub default: Option<String>,
}

impl TimeMapping {
    /// What keeps the column's texts from being instants; none when nothing does.
    fn fault(&self, file_format: Format, file_has_zone: bool) -> Option<String> {
        let Self::Column { column, format, zone } = self else { return None };
        match format {
            Some(format) if zone.is_none() && !file_has_zone && !times::names_its_offset(format) => {
                Some(format!(
                    "the format of time column `{column}` has no offset (%z), so `zone` must name the zone"
                ))
            }
            None if zone.is_some() && file_format != Format::Parquet => {
                Some(format!("time column `{column}` has a `zone` but no `format` to read it by"))
            }
            _ => None,
        }
    }
}

/// Text with places for a row's values.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template {
    pub parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplatePart {
    Text(String),
    Column(String),
    RecordNumber,
    FileStem,
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (mut literal, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                literal.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let inside = brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((name, after)) = inside.filter(|(name, _)| !name.is_empty() && !name.contains('{'))
            else {
                return Err(format!("in `{text}`: a column is written {{Column}}, a brace itself twice"));
            };
            if !literal.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
            }
            parts.push(match name {
                "#" => TemplatePart::RecordNumber,
                "file" => TemplatePart::FileStem,
                column => TemplatePart::Column(column.to_owned()),
            });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(literal));
        }
        if parts.is_empty() {
            return Err("the template is empty; an attribute needs a text".into());
        }
        Ok(Self { parts })
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Delimiter(u8);

impl TryFrom<String> for Delimiter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(Self(*byte)),
            _ => Err(format!(
                "`{}` is no delimiter; give one ASCII character, \"\\t\" for a tab",
                text.escape_debug()
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Pattern(regex::bytes::Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        regex::bytes::Regex::new(&text).map(Self).map_err(|error| error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Zone(TimeZone);

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = |_| format!("`{text}` is no time zone; use an IANA name such as Europe/Berlin or UTC");
        TimeZone::get(&text).map(Self).map_err(unknown)
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(texts: OneOrMore) -> Self {
        match texts {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

/// A short form as a text, a long form as a table. An untagged enum would answer a misspelt key of the table with
/// "did not match any variant" instead of its name.
trait TextOrTable: Sized {
    type Table: for<'de> Deserialize<'de>;
    const EXPECTED: &'static str;
    fn of_text(text: String) -> Result<Self, String>;
    fn of_table(table: Self::Table) -> Self;
}

struct TextOrTableVisitor<T>(PhantomData<T>);

impl<'de, T: TextOrTable> Visitor<'de> for TextOrTableVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::of_text(text.to_owned()).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::Table::deserialize(MapAccessDeserializer::new(map)).map(T::of_table).map_err(A::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeTable {
    column: String,
    format: Option<String>,
    zone: Option<Zone>,
}

impl TextOrTable for TimeMapping {
    type Table = TimeTable;
    const EXPECTED: &'static str = "a template, or a table with column, format and zone";

    fn of_text(text: String) -> Result<Self, String> {
        Template::try_from(text).map(Self::Template)
    }

    fn of_table(table: TimeTable) -> Self {
        Self::Column { column: table.column, format: table.format, zone: table.zone.map(|zone| zone.0) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberTable {
    column: String,
    default: Option<String>,
}

impl TextOrTable for MemberMapping {
    type Table = MemberTable;
    const EXPECTED: &'static str = "a column's name, or a table with column and default";

    fn of_text(column: String) -> Result<Self, String> {
        Ok(Self { column, default: None })
    }

    fn of_table(table: MemberTable) -> Self {
        Self { column: table.column, default: table.default }
    }
}

impl<'de> Deserialize<'de> for TimeMapping {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrTableVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for MemberMapping {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrTableVisitor(PhantomData))
    }
}
