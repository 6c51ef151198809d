//! How is JSON read? One level at a time, borrowing from the record, with every number's text intact.
//!
//! A container comes back as its text, unchecked but for its end, and is checked when the caller opens it: the caller
//! opens every container, because all content is digested, and bounds the depth. So each level is passed over once more
//! than the one above it, which the depth limit bounds too. Escapes in strings, and the words for what is wrong with a
//! text, are left to `serde_json`, which also is the oracle in the tests: both accept the same texts.
//!
//! Why not a parser from a library: see `docs/adr/0005`.
//!
//! Deliberately absent: rules. Duplicate members, depth and what an event is are the callers' business.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::fault::{self, Fault};

/// A value, opened one level.
#[derive(Clone, Debug)]
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

/// Not JSON. What exactly is wrong is worked out by [`explain`], once, for the whole record.
enum Invalid {
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

/// Calls `visit` for each member of the object that is the whole of `text`.
///
/// # Errors
/// What `visit` answers; [`fault::INVALID_JSON`] without words when `text` is no object.
pub(super) fn members<'a>(
    text: &'a str,
    mut visit: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), Box<Fault>>,
) -> Result<(), Box<Fault>> {
    let mut reader = Reader { text, at: 0 };
    reader.expect(b'{')?;
    if !reader.take(b'}') {
        loop {
            reader.skip_space();
            let name = reader.string()?;
            reader.expect(b':')?;
            let value = reader.value().map_err(|invalid| Box::<Fault>::from(invalid).in_member(&name))?;
            visit(name, value)?;
            if !reader.take(b',') {
                reader.expect(b'}')?;
                break;
            }
        }
    }
    Ok(reader.end()?)
}

/// Calls `visit` for each element of the array that is the whole of `text`.
///
/// # Errors
/// As [`members`].
pub(super) fn elements<'a>(
    text: &'a str,
    mut visit: impl FnMut(Value<'a>) -> Result<(), Box<Fault>>,
) -> Result<(), Box<Fault>> {
    let mut reader = Reader { text, at: 0 };
    reader.expect(b'[')?;
    if !reader.take(b']') {
        for at in 0.. {
            let value = reader.value().map_err(|invalid| Box::<Fault>::from(invalid).in_element(at))?;
            visit(value)?;
            if !reader.take(b',') {
                reader.expect(b']')?;
                break;
            }
        }
    }
    Ok(reader.end()?)
}

/// One value that is the whole of `text`, checked to its depths.
pub(super) fn whole(text: &str) -> Option<Value<'_>> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Reader { text, at: 0 }.value().ok()
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

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
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
    fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.take(byte) { Ok(()) } else { Err(Invalid::Syntax) }
    }

    fn end(&mut self) -> Result<(), Invalid> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Invalid::Syntax) }
    }

    fn value(&mut self) -> Result<Value<'a>, Invalid> {
        self.skip_space();
        match self.peek().ok_or(Invalid::Syntax)? {
            b'"' => self.string().map(Value::Text),
            b'{' => self.container().map(Value::Object),
            b'[' => self.container().map(Value::Array),
            b't' => self.word("true", Value::Boolean(true)),
            b'f' => self.word("false", Value::Boolean(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number().map(Value::Number),
        }
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

    fn string(&mut self) -> Result<Cow<'a, str>, Invalid> {
        let start = self.at;
        if !self.pass(b'"') {
            return Err(Invalid::Syntax);
        }
        self.at = special(self.text.as_bytes(), self.at);
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start + 1..self.at - 1]));
        }
        self.skip_string_rest()?;
        serde_json::from_str(&self.text[start..self.at]).map(Cow::Owned).map_err(Invalid::Escape)
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

    /// From the bracket that opens a container to behind the one that closes it.
    fn container(&mut self) -> Result<&'a str, Invalid> {
        let (start, mut depth) = (self.at, 0_usize);
        loop {
            let byte = self.peek().ok_or(Invalid::Syntax)?;
            self.at += 1;
            match byte {
                b'"' => self.skip_string_rest()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        // An escape may have skipped half a character of several bytes.
        self.text.get(start..self.at).ok_or(Invalid::Syntax)
    }
}

/// Where the next byte of a string is that is not just content: a quote, a backslash or a control character. The end of
/// `bytes` when there is none. Eight bytes at a time: a borrow runs upwards only, so the lowest mark is right.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let is_zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let quote = is_zero(word ^ (LOW * b'"' as u64));
        let backslash = is_zero(word ^ (LOW * b'\\' as u64));
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let marks = quote | backslash | control;
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
    fn is_valid(value: &Value<'_>) -> bool {
        match value {
            Value::Array(text) => {
                let mut all = true;
                elements(text, |value| {
                    all &= is_valid(&value);
                    Ok(())
                })
                .is_ok()
                    && all
            }
            Value::Object(text) => {
                let mut all = true;
                members(text, |_, value| {
                    all &= is_valid(&value);
                    Ok(())
                })
                .is_ok()
                    && all
            }
            _ => true,
        }
    }

    fn accepts(text: &str) -> bool {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value();
        value.is_ok_and(|value| reader.end().is_ok() && is_valid(&value))
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
        assert_eq!(seen, [r#""a" Number("1.50")"#, r#""b\n" Text("xA")"#, r#""c" Array("[ 1 , {} ]")"#]);
    }
}
