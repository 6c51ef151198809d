//! Is this record a usage event? CloudEvents 1.0 in structured JSON mode, and what metering asks beyond it.
//!
//! Source: CloudEvents specification 1.0.2 and its JSON event format; `data` counts as JSON unless
//! `datacontenttype` says otherwise. An attribute that is null is absent. Faults of the event come before
//! those that only make it unfit for metering ([`fault::NOT_USAGE`]).
//!
//! Keeps: total on any bytes. The content digest takes `time` as text: another spelling of the same instant is other
//! content, because digits finer than our clock live only there.
//!
//! Deliberately absent: the batch. One record in, one event or fault out.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bumpalo::Bump;
use tidemark_core::identity::{ContentDigest, DeploymentKey};
use tidemark_schemas::limits::{ATTRIBUTE_BYTES_MAX, EVENT_BYTES_MAX};
use tidemark_schemas::time::EventTime;

use super::content::{Content, Place, check_distinct};
use super::fault::{self, Fault};
use super::json::{self, Reader, Value};
use super::media_type::{MediaType, media_type};
use super::names::{Before, NameId, Names};
use super::wanted::{Wanted, WantedType};
use crate::field_value::FieldValue;

/// The checked attributes of one record.
#[derive(Debug)]
pub(super) struct Event<'w, 'r> {
    pub source: &'r str,
    pub id: &'r str,
    pub event_type: &'r str,
    pub subject: &'r str,
    pub time: EventTime,
    pub digest: ContentDigest,
    /// `None`: nobody wants events of this type.
    pub wanted: Option<&'w WantedType>,
}

/// The attributes that say which usage a record is about.
#[derive(Debug)]
pub struct UsageAttributes<'r> {
    pub source: Cow<'r, str>,
    pub id: Cow<'r, str>,
    pub event_type: Cow<'r, str>,
    pub subject: Cow<'r, str>,
    pub time: EventTime,
}

/// The attributes of a record, without a look at its other members. `None` when it is no usage event.
#[must_use]
pub fn attributes(record: &[u8]) -> Option<UsageAttributes<'_>> {
    let (mut source, mut id, mut event_type, mut subject, mut time) = (None, None, None, None, None);
    json::members(text(record).ok()?, |name, value| {
        let text = |value| match value {
            Value::Null => Ok(None),
            Value::Escaped(text) => short_text(Cow::Owned(json::decoded(text)?)).map(Some),
            Value::Text(text) => short_text(Cow::Borrowed(text)).map(Some),
            _ => Err(no_text()),
        };
        match Attribute::named(&name) {
            Attribute::Source => source = text(value)?,
            Attribute::Id => id = text(value)?,
            Attribute::Type => event_type = text(value)?,
            Attribute::Subject => subject = text(value)?,
            Attribute::Time => time = text(value)?.map(|text| event_time(&text)).transpose()?,
            _ => {}
        }
        Ok(())
    })
    .ok()?;
    Some(UsageAttributes {
        source: source?,
        id: id?,
        event_type: event_type?,
        subject: subject?,
        time: time?,
    })
}

/// What a member of the event itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    SpecVersion,
    Source,
    Id,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
    Data,
    DataBase64,
    Extension,
    /// An extension whose name breaks the rules.
    Misnamed,
}

impl Attribute {
    pub fn named(name: &str) -> Self {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match name {
            "specversion" => Self::SpecVersion,
            "source" => Self::Source,
            "id" => Self::Id,
            "type" => Self::Type,
            "subject" => Self::Subject,
            "time" => Self::Time,
            "datacontenttype" => Self::DataContentType,
            "dataschema" => Self::DataSchema,
            "data" => Self::Data,
            "data_base64" => Self::DataBase64,
            _ if !name.is_empty() && name.bytes().all(allowed) => Self::Extension,
            _ => Self::Misnamed,
        }
    }
}

/// Reads records; its buffers are used again for each.
pub(super) struct EventReader<'w, 'r> {
    key: &'w DeploymentKey,
    wanted: &'w Wanted,
    names: Names,
    open: Vec<NameId>,
    /// Members that came before the event's type, and where their values are.
    early: Vec<(NameId, usize)>,
    decoded: &'r Bump,
    /// Values at the wanted paths of the record read last, by slot.
    pub found: Vec<FieldValue<'r>>,
}

/// Attributes gathered so far. `None`: absent or null.
#[derive(Default)]
struct Attributes<'r> {
    specversion: bool,
    source: Option<&'r str>,
    id: Option<&'r str>,
    event_type: Option<&'r str>,
    subject: Option<&'r str>,
    time: Option<EventTime>,
    /// `None`: JSON, the default.
    content_type: Option<&'r str>,
    has_data: bool,
    data_base64: Option<Vec<u8>>,
}

impl<'w, 'r> EventReader<'w, 'r> {
    /// Strings with escapes are decoded to `decoded`.
    pub fn new(key: &'w DeploymentKey, wanted: &'w Wanted, decoded: &'r Bump) -> Self {
        Self {
            key,
            wanted,
            names: Names::new(key),
            open: Vec::new(),
            early: Vec::new(),
            decoded,
            found: Vec::new(),
        }
    }

    pub fn read(&mut self, text: &'r str) -> Result<Event<'w, 'r>, Box<Fault>> {
        self.read_text(text).map_err(|fault| first_fault(text, fault))
    }

    fn read_text(&mut self, text: &'r str) -> Result<Event<'w, 'r>, Box<Fault>> {
        let Self { key, wanted: all_wanted, names, open, early, decoded, found } = self;
        names.bound();
        open.clear();
        early.clear();
        found.clear();
        let mut attributes = Attributes::default();
        let (mut digest, mut wanted) = (0_u64, None);
        let mut content = Content { key, reader: Reader::new(text), decoded, names, open, found };
        content.reader.expect(b'{')?;
        let mut before = Before::FirstIn(NameId::EVENT);
        let mut more = content.reader.has_first(b'}');
        while more {
            let name = content.name(before)?;
            let place = content.reader.place();
            let value = content.begin_value()?;
            let null = matches!(value, Value::Null);
            let attribute = content.names.attribute(name);
            attributes.take(attribute, value).map_err(|fault| fault.in_member(content.names.text(name)))?;
            if attribute == Attribute::Type {
                wanted = attributes.event_type.and_then(|event_type| all_wanted.get(event_type));
                content.found.resize(wanted.map_or(0, |wanted| wanted.slots), FieldValue::Missing);
            }
            let node = wanted.and_then(|wanted| wanted.root.child(content.names.text(name)));
            if attributes.event_type.is_none() {
                early.push((name, place));
            }
            let hash = content
                .rest(Place::Member(name), value, node, 0)
                .map_err(|fault| fault.in_member(content.names.text(name)))?;
            if !null || attribute == Attribute::Data {
                digest = digest.wrapping_add(hash);
            }
            before = Before::After(name);
            more = content.reader.has_next(b'}')?;
        }
        content.reader.end()?;
        content.close(0)?;
        attributes.check()?;
        if let Some(wanted) = wanted {
            for (name, place) in early.drain(..) {
                if let Some(node) = wanted.root.child(content.names.text(name)) {
                    content.reader.go_back(place);
                    content.value(Place::Member(name), Some(node), 0)?;
                }
            }
            if let Some(bytes) = &attributes.data_base64 {
                self.read_binary_data(bytes, attributes.media_type(), wanted)?;
            }
        }
        attributes.into_event(ContentDigest(digest), wanted)
    }

    /// Wanted values below `data` when it came as Base64 of JSON; the digest has taken its text already.
    fn read_binary_data(
        &mut self,
        bytes: &[u8],
        media_type: MediaType,
        wanted: &WantedType,
    ) -> Result<(), Box<Fault>> {
        let (Some(node), MediaType::Json) = (wanted.root.child("data"), media_type) else {
            return Ok(());
        };
        let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| json::is_json(text)) else {
            return Ok(());
        };
        let mut content = Content {
            key: self.key,
            reader: Reader::new(self.decoded.alloc_str(text)),
            decoded: self.decoded,
            names: &mut self.names,
            open: &mut self.open,
            found: &mut self.found,
        };
        let place = Place::Member(NameId::EVENT);
        content.value(place, Some(node), 0).map_err(|fault| fault.in_member("data_base64"))?;
        Ok(())
    }
}

/// Which of several faults is told: the walk meets them in the order of the text, but what is no JSON, or names a member
/// of the event twice, is no event to find fault with.
#[cold]
fn first_fault(text: &str, met: Box<Fault>) -> Box<Fault> {
    let mut names = Vec::new();
    let opened = json::members(text, |name, _| {
        names.push(name);
        Ok(())
    });
    let fault = opened.and_then(|()| check_distinct(&mut names)).err().unwrap_or(met);
    match fault.code {
        fault::INVALID_JSON => json::explain(text, fault),
        _ => fault,
    }
}

/// The record, when it may be read at all.
pub(super) fn text(record: &[u8]) -> Result<&str, Box<Fault>> {
    if record.len() > EVENT_BYTES_MAX {
        let reason = format!(
            "the event has {} bytes, more than the {EVENT_BYTES_MAX} allowed; send a reference instead of the payload",
            record.len()
        );
        return Err(Fault::new(fault::TOO_LARGE, reason));
    }
    std::str::from_utf8(record).map_err(|error| {
        let reason = format!("the bytes are not UTF-8 from byte {} on; JSON is UTF-8", error.valid_up_to());
        Fault::new(fault::INVALID_JSON, reason)
    })
}

impl<'r> Attributes<'r> {
    fn take(&mut self, attribute: Attribute, value: Value<'r>) -> Result<(), Box<Fault>> {
        match attribute {
            Attribute::Misnamed => return Err(misnamed()),
            Attribute::Data => self.has_data = true,
            _ if matches!(value, Value::Null) => {}
            Attribute::SpecVersion => self.specversion = is_supported(value)?,
            Attribute::Source => self.source = Some(short_text(full_text(value)?)?),
            Attribute::Id => self.id = Some(short_text(full_text(value)?)?),
            Attribute::Type => self.event_type = Some(short_text(full_text(value)?)?),
            Attribute::Subject => self.subject = Some(short_text(full_text(value)?)?),
            Attribute::Time => self.time = Some(event_time(full_text(value)?)?),
            Attribute::DataContentType => self.content_type = Some(content_type(value)?),
            Attribute::DataSchema => drop(full_text(value)?),
            Attribute::DataBase64 => self.data_base64 = Some(base64(value)?),
            Attribute::Extension => check_extension(value)?,
        }
        Ok(())
    }

    fn media_type(&self) -> MediaType {
        self.content_type.map_or(MediaType::Json, media_type)
    }

    /// What can only be judged when all members are known.
    fn check(&self) -> Result<(), Box<Fault>> {
        if self.has_data && self.data_base64.is_some() {
            return Err(Fault::new(
                fault::INVALID_DATA,
                "both `data` and `data_base64` are given; send one of them",
            ));
        }
        let given = [
            ("specversion", self.specversion),
            ("id", self.id.is_some()),
            ("source", self.source.is_some()),
            ("type", self.event_type.is_some()),
        ];
        match given.iter().find(|(_, given)| !given) {
            Some((name, _)) => Err(missing(fault::MISSING_ATTRIBUTE, name, "every event needs it")),
            None => Ok(()),
        }
    }

    fn into_event<'w>(
        self,
        digest: ContentDigest,
        wanted: Option<&'w WantedType>,
    ) -> Result<Event<'w, 'r>, Box<Fault>> {
        let media_type = self.media_type();
        let required = |name| missing(fault::MISSING_ATTRIBUTE, name, "every event needs it");
        let event = Event {
            source: self.source.ok_or_else(|| required("source"))?,
            id: self.id.ok_or_else(|| required("id"))?,
            event_type: self.event_type.ok_or_else(|| required("type"))?,
            time: self.time.ok_or_else(|| {
                missing(fault::MISSING_TIME, "time", "it chooses the window the usage counts in")
            })?,
            subject: self
                .subject
                .ok_or_else(|| missing(fault::MISSING_SUBJECT, "subject", "it says whose usage this is"))?,
            digest,
            wanted,
        };
        if self.has_data && media_type != MediaType::Json {
            let reason = format!(
                "the data is declared as `{}`; usage is metered from JSON (application/json or any +json type)",
                fault::quoted(self.content_type.unwrap_or_default())
            );
            return Err(Fault::new(fault::UNSUPPORTED_CONTENT_TYPE, reason).in_member("datacontenttype"));
        }
        Ok(event)
    }
}

fn missing(code: &'static str, name: &str, why: &str) -> Box<Fault> {
    Fault::new(code, format!("the attribute `{name}` is missing; {why}")).in_member(name)
}

fn is_supported(value: Value<'_>) -> Result<bool, Box<Fault>> {
    match full_text(value)? {
        "1.0" => Ok(true),
        other => Err(Fault::new(
            fault::UNSUPPORTED_SPECVERSION,
            format!("the specversion is `{}`; only `1.0` is understood", fault::quoted(other)),
        )),
    }
}

/// An attribute that becomes part of a key.
fn short_text<T: AsRef<str>>(text: T) -> Result<T, Box<Fault>> {
    match text.as_ref().len() {
        0 => Err(no_text()),
        1..=ATTRIBUTE_BYTES_MAX => Ok(text),
        bytes => Err(Fault::new(
            fault::INVALID_ATTRIBUTE,
            format!("the attribute has {bytes} bytes; at most {ATTRIBUTE_BYTES_MAX} are allowed"),
        )),
    }
}

fn full_text(value: Value<'_>) -> Result<&str, Box<Fault>> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text),
        _ => Err(no_text()),
    }
}

fn no_text() -> Box<Fault> {
    Fault::new(fault::INVALID_ATTRIBUTE, "the attribute is not a string with at least one character")
}

fn event_time(text: &str) -> Result<EventTime, Box<Fault>> {
    EventTime::parse(text.as_bytes()).map_err(|error| {
        Fault::new(fault::INVALID_TIME, format!("the time `{}` is refused: {error}", fault::quoted(text)))
    })
}

fn content_type(value: Value<'_>) -> Result<&str, Box<Fault>> {
    match full_text(value)? {
        text if media_type(text) != MediaType::Malformed => Ok(text),
        text => Err(Fault::new(
            fault::INVALID_ATTRIBUTE,
            format!("`{}` is not a media type such as application/json", fault::quoted(text)),
        )),
    }
}

fn base64(value: Value<'_>) -> Result<Vec<u8>, Box<Fault>> {
    let Value::Text(text) = value else {
        return Err(Fault::new(fault::INVALID_DATA, "data_base64 is not a string"));
    };
    BASE64.decode(text.as_bytes()).map_err(|error| {
        Fault::new(fault::INVALID_DATA, format!("data_base64 is not Base64 (RFC 4648): {error}"))
    })
}

fn check_extension(value: Value<'_>) -> Result<(), Box<Fault>> {
    let allowed = match value {
        Value::Text(_) | Value::Escaped(_) | Value::Boolean(_) | Value::Null => true,
        Value::Number(text) => text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'),
        Value::Array | Value::Object => false,
    };
    if !allowed {
        let reason =
            "an extension attribute is a string, a boolean or an integer; put anything else into `data`";
        return Err(Fault::new(fault::INVALID_ATTRIBUTE, reason));
    }
    Ok(())
}

fn misnamed() -> Box<Fault> {
    let reason = "an attribute's name has characters other than a-z and 0-9; put product fields into `data`";
    Fault::new(fault::INVALID_ATTRIBUTE_NAME, reason)
}
