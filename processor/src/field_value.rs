//! What did an event hold where a meter looks? One JSON value as found, before any meter judges it.
//!
//! Decoding produces it and metering reads it; neither room knows the other. Number text is kept as it was
//! written, so that no digit passes through a binary float on the way. Texts are borrowed: from the event's bytes, or from
//! where its escapes were decoded to.
//!
//! Deliberately absent: conversion. Which kinds a field accepts is the meter's decision.

/// The value at one path of one event. `'r` is the life of the records' bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValue<'r> {
    /// The path leads nowhere.
    #[default]
    Missing,
    Null,
    Boolean(bool),
    /// The number's text, in JSON's grammar.
    Number(&'r str),
    /// The string's content, escapes decoded.
    Text(&'r str),
    /// An object or an array.
    Structure,
}
