//! How is JSON read? Once, from front to end, borrowing from the record, with every number's text intact.
//!
//! A container comes back as its opening bracket, and the caller asks for its entries one by one; the caller bounds the
//! depth. Escapes in strings, and the words for what is wrong with a text, are left to `serde_json`, which also is the
//! oracle in the tests: both accept the same texts.
//!
//! Why not a parser from a library: see `docs/adr/0005`.
//!
//! Deliberately absent: rules. Duplicate members, depth and what an event is are the callers' business.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::fault::{self, Fault};

/// A value, or the opening bracket of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    /// The number as written.
    Number(&'a str),
    /// A string's content.
    Text(&'a str),
    /// A string as written, quotes included, for [`decoded`].
    Escaped(&'a str),
    Array,
    Object,
}

/// Not JSON. What exactly is wrong is worked out by [`explain`], once, for the whole record.
#[derive(Debug)]
pub(super) enum Invalid {
    Syntax,
    /// An escape that stands for no character: it shows only when the string is read.
    Escape(serde_json::Error),
}

impl From<Invalid> for Box<Fault> {
    fn from(invalid: Invalid) -> Self {
        let reason = match invalid {
            Invalid::Syntax => String::new(),
            Invalid::Escape(error) => not_json(&error),
        };
        Fault::new(fault::INVALID_JSON, reason)
    }
}

fn not_json(error: &serde_json::Error) -> String {
    format!("not JSON as RFC 8259 defines it: {error}; send exactly one JSON object per event")
}

/// Calls `visit` for each member of the object that is the whole of `text`. Containers among the values are passed over by
/// their brackets only.
///
/// # Errors
/// What `visit` answers; [`fault::INVALID_JSON`] without words when `text` is no object.
pub(super) fn members<'a>(
    text: &'a str,
    mut visit: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), Box<Fault>>,
) -> Result<(), Box<Fault>> {
    let mut reader = Reader::new(text);
    reader.expect(b'{')?;
    let mut more = reader.has_first(b'}');
    while more {
        let name = reader.name()?;
        let in_member = |invalid| Box::<Fault>::from(invalid).in_member(&name);
        let value = reader.value().map_err(in_member)?;
        match value {
            Value::Array | Value::Object => reader.skip_container()?,
            Value::Escaped(text) => drop(decoded(text).map_err(in_member)?),
            _ => {}
        }
        visit(name, value)?;
        more = reader.has_next(b'}')?;
    }
    Ok(reader.end()?)
}

/// What an [`Value::Escaped`] stands for.
///
/// # Errors
/// [`Invalid::Escape`]
#[cold]
pub(super) fn decoded(text: &str) -> Result<String, Invalid> {
    serde_json::from_str(text).map_err(Invalid::Escape)
}

/// Whether the text is one JSON value, checked to its depths.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// What is wrong with a record in which reading met `fault`: no JSON at all, no object, or just that.
pub(super) fn explain(text: &str, fault: Box<Fault>) -> Box<Fault> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => Fault::new(fault::INVALID_JSON, not_json(&error)),
        Ok(_) if !text.trim_start().starts_with('{') => {
            Fault::new(fault::NOT_AN_OBJECT, "an event is one JSON object; this is another JSON value")
        }
        Ok(_) => fault,
    }
}

/// A place in a text. Whoever meets an opening bracket asks [`Self::has_first`], and [`Self::has_next`] after each entry.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where it stands, for [`Self::go_back`].
    pub fn place(&self) -> usize {
        self.at
    }

    /// To a place where it stood.
    pub fn go_back(&mut self, place: usize) {
        self.at = place;
    }

    /// Whether the container that was just opened has an entry; passes `close` when it has none.
    #[inline]
    pub fn has_first(&mut self, close: u8) -> bool {
        !self.take(close)
    }

    /// Whether another entry follows the one just read; passes `close` when there is none.
    #[inline]
    pub fn has_next(&mut self, close: u8) -> Result<bool, Invalid> {
        if self.take(b',') { Ok(true) } else { self.expect(close).map(|()| false) }
    }

    /// A member's name and the colon.
    pub fn name(&mut self) -> Result<Cow<'a, str>, Invalid> {
        self.skip_space();
        let name = match self.string()? {
            Value::Escaped(text) => Cow::Owned(decoded(text)?),
            Value::Text(text) => Cow::Borrowed(text),
            _ => return Err(Invalid::Syntax),
        };
        self.expect(b':')?;
        Ok(name)
    }

    /// Passes a member's name and the colon, when it is this one.
    #[inline]
    pub fn takes_name(&mut self, name: &WrittenName) -> bool {
        self.skip_space();
        let Some(next) = self.text.as_bytes().get(self.at..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        if (u128::from_le_bytes(*next) ^ name.bytes) & name.mask != 0 {
            return false;
        }
        let place = self.at;
        self.at += name.length;
        let found = self.take(b':');
        if !found {
            self.at = place;
        }
        found
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Passes `byte` when it comes next.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.take(byte) { Ok(()) } else { Err(Invalid::Syntax) }
    }

    pub fn end(&mut self) -> Result<(), Invalid> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Invalid::Syntax) }
    }

    #[inline]
    pub fn value(&mut self) -> Result<Value<'a>, Invalid> {
        self.skip_space();
        match self.peek().ok_or(Invalid::Syntax)? {
            b'"' => self.string(),
            b'{' => Ok(self.bracket(Value::Object)),
            b'[' => Ok(self.bracket(Value::Array)),
            b't' => self.word("true", Value::Boolean(true)),
            b'f' => self.word("false", Value::Boolean(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    #[inline]
    fn bracket(&mut self, value: Value<'a>) -> Value<'a> {
        self.at += 1;
        value
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Invalid> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Invalid::Syntax);
        }
        self.at += word.len();
        Ok(value)
    }

    /// `-? (0 | [1-9] [0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<&'a str, Invalid> {
        let start = self.at;
        self.pass(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            return Err(Invalid::Syntax);
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            let _sign = self.pass(b'+') || self.pass(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    #[inline]
    fn pass(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn digits(&mut self) -> Result<usize, Invalid> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Invalid::Syntax) } else { Ok(self.at - start) }
    }

    #[inline]
    fn string(&mut self) -> Result<Value<'a>, Invalid> {
        let start = self.at;
        if !self.pass(b'"') {
            return Err(Invalid::Syntax);
        }
        self.at = special(self.text.as_bytes(), self.at);
        if self.pass(b'"') {
            return Ok(Value::Text(&self.text[start + 1..self.at - 1]));
        }
        self.skip_string_rest()?;
        Ok(Value::Escaped(&self.text[start..self.at]))
    }

    /// From inside a string to behind its end.
    fn skip_string_rest(&mut self) -> Result<(), Invalid> {
        loop {
            self.at = special(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') if self.at + 1 < self.text.len() => self.at += 2,
                _ => return Err(Invalid::Syntax),
            }
        }
    }

    /// From behind the bracket that opens a container to behind the one that closes it.
    fn skip_container(&mut self) -> Result<(), Invalid> {
        let mut depth = 1_usize;
        while depth > 0 {
            let byte = self.peek().ok_or(Invalid::Syntax)?;
            self.at += 1;
            match byte {
                b'"' => self.skip_string_rest()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A member's name as it is written most: with its quotes, short enough to be compared as one word.
pub(super) struct WrittenName {
    bytes: u128,
    mask: u128,
    length: usize,
}

impl WrittenName {
    /// `None` when the name is too long for that, or has characters that are escaped.
    pub fn of(name: &str) -> Option<Self> {
        let length = name.len() + 2;
        if length > size_of::<u128>() || special(name.as_bytes(), 0) < name.len() {
            return None;
        }
        let mut bytes = [0; size_of::<u128>()];
        bytes[0] = b'"';
        bytes[1..=name.len()].copy_from_slice(name.as_bytes());
        bytes[length - 1] = b'"';
        let mask = u128::MAX >> (u128::BITS as usize - 8 * length);
        Some(Self { bytes: u128::from_le_bytes(bytes), mask, length })
    }
}

/// Where the next byte of a string is that is not just content: a quote, a backslash or a control character. The end of
/// `bytes` when there is none. Eight bytes at a time: a borrow runs upwards only, so the lowest mark is right.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        // A byte that goes below zero has its highest bit set; the bytes of characters beyond ASCII had it before.
        let quote = (word ^ (LOW * b'"' as u64)).wrapping_sub(LOW);
        let backslash = (word ^ (LOW * b'\\' as u64)).wrapping_sub(LOW);
        let control = word.wrapping_sub(LOW * 0x20);
        let marks = (quote | backslash | control) & !word & HIGH;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    at + bytes[at..].iter().position(is_special).unwrap_or(bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads to the depths, as the digest does.
    fn read(reader: &mut Reader<'_>) -> Result<(), Invalid> {
        let close = match reader.value()? {
            Value::Array => b']',
            Value::Object => b'}',
            Value::Escaped(text) => return decoded(text).map(drop),
            _ => return Ok(()),
        };
        let mut more = reader.has_first(close);
        while more {
            if close == b'}' {
                reader.name()?;
            }
            read(reader)?;
            more = reader.has_next(close)?;
        }
        Ok(())
    }

    fn accepts(text: &str) -> bool {
        let mut reader = Reader::new(text);
        read(&mut reader).and_then(|()| reader.end()).is_ok()
    }

    /// The oracle, escapes included. A number of any size is fine here.
    fn is_json(text: &str) -> bool {
        let strings_decode = serde_json::from_str::<serde_json::Value>(text);
        serde_json::from_str::<IgnoredAny>(text).is_ok()
            && strings_decode.err().is_none_or(|error| error.to_string().starts_with("number out of range"))
    }

    proptest! {
        #[test]
        fn the_same_texts_are_accepted_as_by_serde_json(
            text in "([\\[\\]{},:\" \\\\]|\"a\"|-?[0-9]|\\.|e|true|null|\\\\u[0-9a-f]{4}|é|\u{1}|[ -~]){0,24}",
        ) {
            prop_assert_eq!(accepts(&text), is_json(&text), "{}", text);
        }

        #[test]
        fn a_valid_text_with_one_byte_changed_is_judged_alike(at in 0..90_usize, byte in 0_u8..128) {
            let mut text = br#"{"a":[1,-2.5e+3,{"b":"c\n\u00e9 and so on"}],"d":{"e":null,"f":true,"g":"0123456789abc"}} "#.to_vec();
            let at = at % text.len();
            text[at] = byte;
            let text = String::from_utf8(text).expect("ASCII");
            prop_assert_eq!(accepts(&text), is_json(&text), "{}", text);
        }

        #[test]
        fn special_bytes_are_found_where_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let expected = bytes.iter().position(is_special).unwrap_or(bytes.len());
            prop_assert_eq!(special(&bytes, 0), expected);
        }
    }

    #[test]
    fn a_value_comes_back_as_written() {
        let mut seen = Vec::new();
        members(r#" { "a" : 1.50 , "b\n" : "x\u0041" , "c" : [ 1 , {} ] } "#, |name, value| {
            seen.push(format!("{name:?} {value:?}"));
            Ok(())
        })
        .expect("valid");
        assert_eq!(seen, [r#""a" Number("1.50")"#, r#""b\n" Escaped("\"x\\u0041\"")"#, r#""c" Array"#]);
    }

    #[test]
    fn an_expected_name_is_passed_with_its_colon_or_not_at_all() {
        let long = "x".repeat(14);
        for (name, text, rest) in [
            ("id", r#" "id" : "some more text""#, Some(r#" "some more text""#)),
            ("id", r#""id","some more text""#, None),
            ("id", r#""idx":"some more text""#, None),
            ("id", r#""i":"some more text""#, None),
            ("id", r#""id":1"#, None),
            ("", r#""":"some more text""#, Some(r#""some more text""#)),
            (&long, &format!(r#""{long}":1"#), Some("1")),
        ] {
            let mut reader = Reader::new(text);
            let written = WrittenName::of(name).expect("a short name");
            let taken = reader.takes_name(&written);
            assert_eq!(taken.then(|| &text[reader.place()..]), rest, "{text}");
            assert!(taken || text[reader.place()..].starts_with('"'), "{text}");
        }
        for never in ["x".repeat(15).as_str(), "a\"b", "a\\b", "a\nb"] {
            assert!(WrittenName::of(never).is_none(), "{never}");
        }
    }
}
