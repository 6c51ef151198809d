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
use tidemark_core::identity::{ContentDigest, DeploymentKey};
use tidemark_schemas::limits::{ATTRIBUTE_BYTES_MAX, EVENT_BYTES_MAX};
use tidemark_schemas::time::EventTime;

use super::content::{Content, check_distinct};
use super::fault::{self, Fault};
use super::json::{self, Value};
use super::media_type::{MediaType, media_type};
use super::wanted::{Wanted, WantedType};
use crate::field_value::FieldValue;

/// The checked attributes of one record.
#[derive(Debug)]
pub(super) struct Event<'w, 'r> {
    pub source: Cow<'r, str>,
    pub id: Cow<'r, str>,
    pub event_type: Cow<'r, str>,
    pub subject: Cow<'r, str>,
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
    let mut found = Attributes::default();
    json::members(text(record).ok()?, |name, value| match &*name {
        "source" | "id" | "type" | "subject" | "time" if !matches!(value, Value::Null) => {
            found.take(&name, &value)
        }
        _ => Ok(()),
    })
    .ok()?;
    Some(UsageAttributes {
        source: found.source?,
        id: found.id?,
        event_type: found.event_type?,
        subject: found.subject?,
        time: found.time?,
    })
}

/// Reads records; its buffers are used again for each.
pub(super) struct EventReader<'w, 'r> {
    key: &'w DeploymentKey,
    wanted: &'w Wanted,
    top: Vec<(Cow<'r, str>, Value<'r>)>,
    names: Vec<Cow<'r, str>>,
    /// Values at the wanted paths of the record read last, by slot.
    pub found: Vec<FieldValue<'r>>,
}

/// Attributes gathered so far. `None`: absent or null.
#[derive(Default)]
struct Attributes<'r> {
    specversion: bool,
    source: Option<Cow<'r, str>>,
    id: Option<Cow<'r, str>>,
    event_type: Option<Cow<'r, str>>,
    subject: Option<Cow<'r, str>>,
    time: Option<EventTime>,
    /// `None`: JSON, the default.
    content_type: Option<Cow<'r, str>>,
    has_data: bool,
    data_base64: Option<Vec<u8>>,
}

impl<'w, 'r> EventReader<'w, 'r> {
    pub fn new(key: &'w DeploymentKey, wanted: &'w Wanted) -> Self {
        Self { key, wanted, top: Vec::new(), names: Vec::new(), found: Vec::new() }
    }

    pub fn read(&mut self, record: &'r [u8]) -> Result<Event<'w, 'r>, Box<Fault>> {
        let text = text(record)?;
        self.read_text(text).map_err(|fault| match fault.code {
            fault::INVALID_JSON => json::explain(text, fault),
            _ => fault,
        })
    }

    fn read_text(&mut self, text: &'r str) -> Result<Event<'w, 'r>, Box<Fault>> {
        self.open(text)?;
        let wanted = self.event_type().and_then(|event_type| self.wanted.get(event_type));
        self.found.clear();
        self.found.resize(wanted.map_or(0, |wanted| wanted.slots), FieldValue::Missing);
        let mut attributes = Attributes::default();
        let mut digest = 0_u64;
        let mut content = Content { key: self.key, names: &mut self.names, found: &mut self.found };
        for (name, value) in self.top.drain(..) {
            let null = matches!(value, Value::Null);
            attributes.take(&name, &value).map_err(|fault| fault.in_member(&name))?;
            let node = wanted.and_then(|wanted| wanted.root.child(&name));
            let hash = content.member(&name, value, node)?;
            if !null || name == "data" {
                digest = digest.wrapping_add(hash);
            }
        }
        attributes.check()?;
        if let (Some(bytes), Some(wanted)) = (&attributes.data_base64, wanted) {
            self.read_binary_data(bytes, attributes.media_type(), wanted)?;
        }
        attributes.into_event(ContentDigest(digest), wanted)
    }

    /// Splits the record into its members.
    fn open(&mut self, text: &'r str) -> Result<(), Box<Fault>> {
        self.top.clear();
        self.names.clear();
        json::members(text, |name, value| {
            self.top.push((name.clone(), value));
            self.names.push(name);
            Ok(())
        })?;
        check_distinct(&mut self.names)?;
        self.names.clear();
        Ok(())
    }

    /// Read ahead of the other members: it decides which of their values are wanted.
    fn event_type(&self) -> Option<&str> {
        let (_, value) = self.top.iter().find(|(name, _)| name == "type")?;
        if let Value::Text(text) = value { Some(text) } else { None }
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
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Ok(());
        };
        let Some(value) = json::whole(text) else {
            return Ok(());
        };
        let mut found = vec![FieldValue::Missing; wanted.slots];
        let mut content = Content { key: self.key, names: &mut Vec::new(), found: &mut found };
        content.member("data_base64", value, Some(node))?;
        for (slot, value) in found.into_iter().enumerate() {
            if value != FieldValue::Missing {
                self.found[slot] = value.into_owned();
            }
        }
        Ok(())
    }
}

fn text(record: &[u8]) -> Result<&str, Box<Fault>> {
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
    fn take(&mut self, name: &str, value: &Value<'r>) -> Result<(), Box<Fault>> {
        if matches!(value, Value::Null) && name != "data" {
            return check_name(name);
        }
        match name {
            "specversion" => self.specversion = is_supported(value)?,
            "source" => self.source = Some(short_text(value)?),
            "id" => self.id = Some(short_text(value)?),
            "type" => self.event_type = Some(short_text(value)?),
            "subject" => self.subject = Some(short_text(value)?),
            "time" => self.time = Some(event_time(value)?),
            "datacontenttype" => self.content_type = Some(content_type(value)?),
            "dataschema" => drop(full_text(value)?),
            "data" => self.has_data = true,
            "data_base64" => self.data_base64 = Some(base64(value)?),
            _ => check_extension(name, value)?,
        }
        Ok(())
    }

    fn media_type(&self) -> MediaType {
        self.content_type.as_deref().map_or(MediaType::Json, media_type)
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
                fault::quoted(self.content_type.as_deref().unwrap_or_default())
            );
            return Err(Fault::new(fault::UNSUPPORTED_CONTENT_TYPE, reason).in_member("datacontenttype"));
        }
        Ok(event)
    }
}

fn missing(code: &'static str, name: &str, why: &str) -> Box<Fault> {
    Fault::new(code, format!("the attribute `{name}` is missing; {why}")).in_member(name)
}

fn is_supported(value: &Value<'_>) -> Result<bool, Box<Fault>> {
    match full_text(value)? {
        "1.0" => Ok(true),
        other => Err(Fault::new(
            fault::UNSUPPORTED_SPECVERSION,
            format!("the specversion is `{}`; only `1.0` is understood", fault::quoted(other)),
        )),
    }
}

/// An attribute that becomes part of a key.
fn short_text<'r>(value: &Value<'r>) -> Result<Cow<'r, str>, Box<Fault>> {
    match value {
        Value::Text(text) if text.len() > ATTRIBUTE_BYTES_MAX => Err(Fault::new(
            fault::INVALID_ATTRIBUTE,
            format!("the attribute has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are allowed", text.len()),
        )),
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(no_text()),
    }
}

fn full_text<'v>(value: &'v Value<'_>) -> Result<&'v str, Box<Fault>> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text),
        _ => Err(no_text()),
    }
}

fn no_text() -> Box<Fault> {
    Fault::new(fault::INVALID_ATTRIBUTE, "the attribute is not a string with at least one character")
}

fn event_time(value: &Value<'_>) -> Result<EventTime, Box<Fault>> {
    let text = full_text(value)?;
    EventTime::parse(text.as_bytes()).map_err(|error| {
        Fault::new(fault::INVALID_TIME, format!("the time `{}` is refused: {error}", fault::quoted(text)))
    })
}

fn content_type<'r>(value: &Value<'r>) -> Result<Cow<'r, str>, Box<Fault>> {
    match (full_text(value)?, value) {
        (text, Value::Text(owned)) if media_type(text) != MediaType::Malformed => Ok(owned.clone()),
        (text, _) => Err(Fault::new(
            fault::INVALID_ATTRIBUTE,
            format!("`{}` is not a media type such as application/json", fault::quoted(text)),
        )),
    }
}

fn base64(value: &Value<'_>) -> Result<Vec<u8>, Box<Fault>> {
    let Value::Text(text) = value else {
        return Err(Fault::new(fault::INVALID_DATA, "data_base64 is not a string"));
    };
    BASE64.decode(text.as_bytes()).map_err(|error| {
        Fault::new(fault::INVALID_DATA, format!("data_base64 is not Base64 (RFC 4648): {error}"))
    })
}

fn check_extension(name: &str, value: &Value<'_>) -> Result<(), Box<Fault>> {
    check_name(name)?;
    let allowed = match value {
        Value::Text(_) | Value::Boolean(_) | Value::Null => true,
        Value::Number(text) => text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'),
        Value::Array(_) | Value::Object(_) => false,
    };
    if !allowed {
        let reason =
            "an extension attribute is a string, a boolean or an integer; put anything else into `data`";
        return Err(Fault::new(fault::INVALID_ATTRIBUTE, reason));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Box<Fault>> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name == "data_base64" || (!name.is_empty() && name.bytes().all(allowed)) {
        return Ok(());
    }
    let reason = "an attribute's name has characters other than a-z and 0-9; put product fields into `data`";
    Err(Fault::new(fault::INVALID_ATTRIBUTE_NAME, reason))
}
