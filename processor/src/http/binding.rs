//! Which events are in a request? The CloudEvents HTTP protocol binding 1.0.2 and its JSON format 1.0.2.
//!
//! Three content modes and, for streaming producers, one event per line:
//!
//! | Content-Type | events |
//! |---|---|
//! | `application/cloudevents+json` | one (structured, section 3.2) |
//! | `application/cloudevents-batch+json` | an array, possibly empty (batched, section 3.3) |
//! | anything else, with `ce-specversion` | one (binary, section 3.1), rewritten as structured JSON |
//! | `application/x-ndjson` | one a line |
//!
//! Keeps: a body that is no JSON is refused whole, before anything changes; an element that is JSON but no valid
//! event is that element's affair. Elements are slices of the body, not copies, and no digit of a number is lost.
//! Deliberately absent: whether an event is valid. The decoder says that, event by event.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidemark_schemas::limits::REQUEST_EVENTS_MAX;

use super::problem::{Kind, Problem};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";

/// How events are laid out in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Structured,
    Batched,
    Lines,
    Binary(Envelope),
}

/// A binary-mode event without its data: attributes from the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// By name, `datacontenttype` included; ordered, so that equal requests make equal bytes.
    attributes: BTreeMap<String, String>,
}

impl Mode {
    /// Decided from the headers alone, so that an unwanted body need not be read.
    ///
    /// # Errors
    /// 415 for a type that carries no events, 400 for headers that break the binding.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let declared = match headers.get(header::CONTENT_TYPE) {
            None => "",
            Some(value) => value.to_str().map_err(|_| unsupported("Content-Type is not readable text"))?,
        };
        let media = media_type(declared);
        let mode = match media.as_str() {
            STRUCTURED => Self::Structured,
            BATCHED => Self::Batched,
            LINES => Self::Lines,
            // Section 3: the prefix alone says that it is no binary-mode data.
            other if other.starts_with("application/cloudevents") => {
                return Err(unsupported(&format!("the event format `{other}` is not spoken here")));
            }
            _ if headers.contains_key("ce-specversion") => {
                return envelope(headers, declared).map(Self::Binary);
            }
            _ => {
                return Err(unsupported(&format!(
                    "`{media}` without a ce-specversion header carries no events"
                )));
            }
        };
        match charset(declared) {
            Some(name) if !name.eq_ignore_ascii_case("utf-8") => {
                Err(unsupported(&format!("the charset `{name}` is not spoken here; JSON is UTF-8")))
            }
            _ => Ok(mode),
        }
    }

    /// Whether the answer is about one event rather than a list.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Structured | Self::Binary(_))
    }

    /// The raw events of a decompressed body, in order.
    ///
    /// # Errors
    /// 400 when the body as a whole is not what the mode says, 413 for more than [`REQUEST_EVENTS_MAX`] events.
    pub fn events(&self, body: &Bytes) -> Result<Vec<Bytes>, Problem> {
        match self {
            Self::Structured => {
                json(body)?;
                Ok(vec![body.clone()])
            }
            Self::Batched => elements(body),
            Self::Lines => lines(body),
            Self::Binary(envelope) => Ok(vec![envelope.with_data(body)?]),
        }
    }
}

fn media_type(declared: &str) -> String {
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn charset(declared: &str) -> Option<&str> {
    let parameters = declared.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = { parameters }.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches('"'))
}

fn json(body: &[u8]) -> Result<&RawValue, Problem> {
    serde_json::from_slice(body).map_err(|error| not_json(&error))
}

/// Place and kind of the fault; the text itself is not repeated.
fn not_json(error: &serde_json::Error) -> Problem {
    let detail = format!("the body is not valid JSON: {error}; nothing of it was counted");
    Problem::new(Kind::InvalidRequest, detail)
}

fn elements(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let split = parser.deserialize_seq(Elements).and_then(|split| parser.end().map(|()| split));
    match split {
        Ok(Split::All(events)) => {
            Ok(events.iter().map(|event| body.slice_ref(event.get().as_bytes())).collect())
        }
        Ok(Split::TooMany) => Err(too_many()),
        Err(error) if error.is_data() => Err(Problem::new(
            Kind::InvalidRequest,
            "a batch is a JSON array of events; for a single event use application/cloudevents+json",
        )),
        Err(error) => Err(not_json(&error)),
    }
}

enum Split<'a> {
    All(Vec<&'a RawValue>),
    TooMany,
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Split<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        let mut count = 0;
        // To the end, although the rest is only checked: malformed JSON is 400 wherever the fault is.
        while let Some(event) = array.next_element::<&RawValue>()? {
            count += 1;
            if count <= REQUEST_EVENTS_MAX {
                events.push(event);
            }
        }
        Ok(if count <= REQUEST_EVENTS_MAX { Split::All(events) } else { Split::TooMany })
    }
}

/// A line that is no JSON is that line's rejection: line ends, not JSON, hold this format together.
fn lines(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let mut events = Vec::new();
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if events.len() == REQUEST_EVENTS_MAX {
            return Err(too_many());
        }
        events.push(body.slice_ref(line));
    }
    Ok(events)
}

fn too_many() -> Problem {
    let detail = format!(
        "a request has at most {REQUEST_EVENTS_MAX} events; send them in smaller batches. None was counted"
    );
    Problem::new(Kind::TooLarge, detail)
}

fn unsupported(what: &str) -> Problem {
    let detail = format!(
        "{what}; allowed are {STRUCTURED}, {BATCHED}, {LINES}, and any type with ce-* headers (binary content mode)"
    );
    Problem::new(Kind::UnsupportedMedia, detail).with(
        header::ACCEPT,
        HeaderValue::from_static(
            "application/cloudevents+json, application/cloudevents-batch+json, application/x-ndjson",
        ),
    )
}

fn envelope(headers: &HeaderMap, content_type: &str) -> Result<Envelope, Problem> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let refuse = |reason: &str| {
            Problem::new(Kind::InvalidRequest, format!("the header `ce-{attribute}` {reason}"))
        };
        if attribute.is_empty() || !attribute.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(refuse("names no attribute; attribute names have letters a-z and digits"));
        }
        match attribute {
            // Section 3.1.1.
            "datacontenttype" => return Err(refuse("is not allowed in binary mode; use Content-Type")),
            "data" => return Err(refuse("is not allowed; data is the body")),
            _ => {}
        }
        let text = decoded(value).map_err(refuse)?;
        if attributes.insert(attribute.to_owned(), text).is_some() {
            return Err(refuse("comes twice; send it once"));
        }
    }
    if !content_type.is_empty() {
        attributes.insert("datacontenttype".into(), content_type.trim().to_owned());
    }
    Ok(Envelope { attributes })
}

/// Section 3.1.3.2: unquote, then one round of percent-decoding, which must yield UTF-8.
fn decoded(value: &HeaderValue) -> Result<String, &'static str> {
    let bytes = unquoted(value.as_bytes().trim_ascii())?;
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            plain.push(*byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("has a `%` without two hex digits; write a percent sign as %25");
        };
        plain.push(u8::try_from(high * 16 + low).expect("two hex digits are below 256"));
    }
    String::from_utf8(plain).map_err(|_| "is not UTF-8 after percent-decoding")
}

fn unquoted(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let Some(inner) = bytes.strip_prefix(b"\"") else { return Ok(bytes.to_vec()) };
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    loop {
        match rest.next() {
            Some(b'"') if rest.as_slice().is_empty() => return Ok(plain),
            Some(b'\\') => plain.push(*rest.next().ok_or("ends inside a quoted string")?),
            Some(b'"') => return Err("has text after its quoted string"),
            Some(byte) => plain.push(*byte),
            None => return Err("ends inside a quoted string"),
        }
    }
}

impl Envelope {
    /// JSON data stays as it is, so that no digit changes; other text becomes a string, other bytes base64
    /// (JSON format, section 3.1).
    fn with_data(&self, body: &Bytes) -> Result<Bytes, Problem> {
        let mut event = serde_json::to_vec(&self.attributes).expect("a map of texts always serializes");
        if body.is_empty() {
            return Ok(event.into());
        }
        event.pop();
        event.extend_from_slice(b",");
        let declared = self.attributes.get("datacontenttype").map_or("", String::as_str);
        let media = media_type(declared);
        // Without a type, data is JSON (JSON format, section 3.1.1).
        let is_json = media.is_empty() || media.ends_with("/json") || media.ends_with("+json");
        let (name, text) = if is_json {
            ("data", json(body)?.get().to_owned())
        } else if let (true, Ok(text)) = (media.starts_with("text/"), std::str::from_utf8(body)) {
            ("data", serde_json::Value::from(text).to_string())
        } else {
            ("data_base64", serde_json::Value::from(BASE64_STANDARD.encode(body)).to_string())
        };
        event.extend_from_slice(format!("\"{name}\":{text}}}").as_bytes());
        Ok(event.into())
    }
}
