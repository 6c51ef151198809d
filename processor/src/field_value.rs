//! What did an event hold where a meter looks? One JSON value as found, before any meter judges it.
//!
//! Decoding produces it and metering reads it; neither room knows the other. Number text is kept as it was
//! written, so that no digit passes through a binary float on the way.
//!
//! Deliberately absent: conversion. Which kinds a field accepts is the meter's decision.

use std::borrow::Cow;

/// The value at one path of one event. `'r` is the life of the records' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldValue<'r> {
    /// The path leads nowhere.
    #[default]
    Missing,
    Null,
    Boolean(bool),
    /// The number's text, in JSON's grammar.
    Number(Cow<'r, str>),
    /// The string's content, escapes decoded.
    Text(Cow<'r, str>),
    /// An object or an array.
    Structure,
}

impl FieldValue<'_> {
    /// The same value, no longer tied to the record it was read from.
    #[must_use]
    pub fn into_owned(self) -> FieldValue<'static> {
        match self {
            Self::Missing => FieldValue::Missing,
            Self::Null => FieldValue::Null,
            Self::Boolean(value) => FieldValue::Boolean(value),
            Self::Number(text) => FieldValue::Number(Cow::Owned(text.into_owned())),
            Self::Text(text) => FieldValue::Text(Cow::Owned(text.into_owned())),
            Self::Structure => FieldValue::Structure,
        }
    }
}
