//! How is JSON read? One level at a time, borrowing from the record, with every number's text intact.
//!
//! This is the only file that names the parser: a faster one replaces [`value`], [`members`] and [`elements`].
//! A container comes back as its text and is opened by the caller, who therefore bounds the depth; each level is
//! scanned once more than the one above it, which the depth limit bounds too.
//! `RawValue` rather than serde's own numbers: those would pass through a binary float.
//!
//! Deliberately absent: rules. Duplicate members, depth and what an event is are the callers' business.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::fault::{self, Fault};

/// One JSON value that has been checked for syntax, except for the escapes of its strings.
pub(super) type Raw<'a> = &'a RawValue;

/// A value, opened one level.
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    /// The number as written.
    Number(&'a str),
    /// The string's content, escapes decoded.
    Text(Cow<'a, str>),
    /// To be opened with [`elements`].
    Array(&'a str),
    /// To be opened with [`members`].
    Object(&'a str),
}

pub(super) fn value(raw: Raw<'_>) -> Result<Value<'_>, Box<Fault>> {
    let text = raw.get();
    Ok(match text.as_bytes()[0] {
        b'n' => Value::Null,
        b't' => Value::Boolean(true),
        b'f' => Value::Boolean(false),
        b'"' => Value::Text(string(text)?),
        b'[' => Value::Array(text),
        b'{' => Value::Object(text),
        _ => Value::Number(text),
    })
}

/// Calls `visit` for each member of the object that is the whole of `text`.
pub(super) fn members<'a>(
    text: &'a str,
    visit: impl FnMut(Cow<'a, str>, Raw<'a>) -> Result<(), Box<Fault>>,
) -> Result<(), Box<Fault>> {
    let mut reader = Deserializer::from_str(text);
    let mut fault = None;
    let read = reader.deserialize_map(Members { visit, fault: &mut fault, text: PhantomData });
    outcome(read.and_then(|()| reader.end()), fault)
}

/// Calls `visit` for each element of the array that is the whole of `text`.
pub(super) fn elements<'a>(
    text: &'a str,
    visit: impl FnMut(Raw<'a>) -> Result<(), Box<Fault>>,
) -> Result<(), Box<Fault>> {
    let mut reader = Deserializer::from_str(text);
    let mut fault = None;
    let read = reader.deserialize_seq(Elements { visit, fault: &mut fault, text: PhantomData });
    outcome(read.and_then(|()| reader.end()), fault)
}

/// One value that is the whole of `text`.
pub(super) fn whole(text: &str) -> Result<Raw<'_>, Box<Fault>> {
    outcome(serde_json::from_str(text), None)
}

fn string(text: &str) -> Result<Cow<'_, str>, Box<Fault>> {
    // The scan has checked everything but the escapes, so without any the content can be borrowed.
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(&text[1..text.len() - 1]));
    }
    outcome(serde_json::from_str(text).map(Cow::Owned), None)
}

fn outcome<T>(read: serde_json::Result<T>, fault: Option<Box<Fault>>) -> Result<T, Box<Fault>> {
    match (read, fault) {
        (_, Some(fault)) => Err(fault),
        (Ok(value), None) => Ok(value),
        (Err(error), None) if error.is_data() => {
            Err(Fault::new(fault::NOT_AN_OBJECT, "an event is one JSON object; this is another JSON value"))
        }
        (Err(error), None) => Err(Fault::new(
            fault::INVALID_JSON,
            format!("not JSON as RFC 8259 defines it: {error}; send exactly one JSON object per event"),
        )),
    }
}

struct Members<'f, 'a, F> {
    visit: F,
    fault: &'f mut Option<Box<Fault>>,
    text: PhantomData<&'a str>,
}

impl<'a, F> Visitor<'a> for Members<'_, 'a, F>
where
    F: FnMut(Cow<'a, str>, Raw<'a>) -> Result<(), Box<Fault>>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let raw = map.next_value()?;
            if let Err(fault) = (self.visit)(key, raw) {
                *self.fault = Some(fault);
                return Err(A::Error::custom("stopped at a fault"));
            }
        }
        Ok(())
    }
}

struct Elements<'f, 'a, F> {
    visit: F,
    fault: &'f mut Option<Box<Fault>>,
    text: PhantomData<&'a str>,
}

impl<'a, F> Visitor<'a> for Elements<'_, 'a, F>
where
    F: FnMut(Raw<'a>) -> Result<(), Box<Fault>>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element()? {
            if let Err(fault) = (self.visit)(raw) {
                *self.fault = Some(fault);
                return Err(A::Error::custom("stopped at a fault"));
            }
        }
        Ok(())
    }
}

/// A member's name, borrowed unless it has escapes.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: serde::Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
