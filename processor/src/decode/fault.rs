//! Why is a record no usage event? A stable code for programs, a path and a sentence for people.
//!
//! Keeps: a fault costs nothing until it happens; the path is put together while the walk unwinds.

/// Codes of records that are valid CloudEvents but cannot be metered. Every other code means: not a valid event here.
pub const NOT_USAGE: [&str; 3] = [MISSING_TIME, MISSING_SUBJECT, UNSUPPORTED_CONTENT_TYPE];

pub const TOO_LARGE: &str = "too_large";
pub const INVALID_JSON: &str = "invalid_json";
pub const NOT_AN_OBJECT: &str = "not_an_object";
pub const DUPLICATE_KEY: &str = "duplicate_key";
pub const TOO_DEEP: &str = "too_deep";
/// One of `specversion`, `id`, `source`, `type` is absent.
pub const MISSING_ATTRIBUTE: &str = "missing_attribute";
/// An attribute is empty, too long or of the wrong type.
pub const INVALID_ATTRIBUTE: &str = "invalid_attribute";
pub const INVALID_ATTRIBUTE_NAME: &str = "invalid_attribute_name";
pub const UNSUPPORTED_SPECVERSION: &str = "unsupported_specversion";
pub const INVALID_TIME: &str = "invalid_time";
/// Both `data` and `data_base64`, or `data_base64` that is not Base64.
pub const INVALID_DATA: &str = "invalid_data";
pub const MISSING_TIME: &str = "missing_time";
pub const MISSING_SUBJECT: &str = "missing_subject";
pub const UNSUPPORTED_CONTENT_TYPE: &str = "unsupported_content_type";

/// Characters of a sender's text that a reason or a path repeats: enough to recognise it, too few to flood a log.
const QUOTED_CHARS_MAX: usize = 64;

/// What is wrong with a record, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: &'static str,
    pub reason: String,
    /// Innermost first: the walk adds its steps on the way out.
    steps: Vec<String>,
}

impl Fault {
    /// Boxed, because a fault is rare and a result should stay small.
    pub fn new(code: &'static str, reason: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, reason: reason.into(), steps: Vec::new() })
    }

    pub fn in_member(mut self: Box<Self>, key: &str) -> Box<Self> {
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let step = if plain { format!(".{}", quoted(key)) } else { format!("['{}']", quoted(key)) };
        self.steps.push(step);
        self
    }

    pub fn in_element(mut self: Box<Self>, index: u64) -> Box<Self> {
        self.steps.push(format!("[{index}]"));
        self
    }

    /// JSONPath of the fault, `$` for the whole.
    pub fn path(&self) -> String {
        std::iter::once("$").chain(self.steps.iter().rev().map(String::as_str)).collect()
    }
}

/// A sender's text, short and printable.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}
