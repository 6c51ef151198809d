//! What reaches a meter in production that no meter can count? One line of each kind, as producers really send them.
//!
//! Keeps: every stray has an id of its own, so its fate does not depend on what came before it.
//! Deliberately absent: retries and conflicts. They are calls sent again, and `trace` makes them.

use std::io::Write;

/// A line with a fault, or one that nobody's contract covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// The connection broke inside the line.
    Truncated,
    WithoutId,
    /// CloudEvents ids are text; this one is a number.
    IdNotText,
    /// `NaN`, which JavaScript can hold and JSON cannot.
    NotANumber,
    /// An hour that no clock shows.
    TimeOffTheClock,
    /// A user whom no customer has.
    UnmappedSubject,
    /// An event type that no meter reads.
    UnknownType,
    /// A device whose clock says 2099.
    BadClock,
}

impl Stray {
    pub const ALL: [Self; 8] = [
        Self::Truncated,
        Self::WithoutId,
        Self::IdNotText,
        Self::NotANumber,
        Self::TimeOffTheClock,
        Self::UnmappedSubject,
        Self::UnknownType,
        Self::BadClock,
    ];

    /// How many of this kind a trace of `calls` calls has: a handful, and at least one.
    pub(super) fn count(self, calls: u64) -> u64 {
        match self {
            Self::Truncated
            | Self::WithoutId
            | Self::IdNotText
            | Self::NotANumber
            | Self::TimeOffTheClock => (calls / 100_000).max(1),
            Self::UnmappedSubject => (calls / 50_000).max(2),
            Self::UnknownType => (calls / 100_000).max(1),
            Self::BadClock => 1,
        }
    }

    /// Appends the line, its newline included. `serial` tells strays apart; `minute` is when it is sent.
    pub(super) fn write_line(self, serial: u64, minute: u64, line: &mut Vec<u8>) {
        let minute = minute.min(59);
        let id = format_args!("stray-{serial:06}");
        let time = format_args!("2026-10-01T12:{minute:02}:00Z");
        let usage = r#"{"model":"tide-small","prompt_tokens":640,"completion_tokens":80}"#;
        let head = r#"{"specversion":"1.0","source":"/llm-gateway/1""#;
        let written = match self {
            Self::Truncated => writeln!(
                line,
                r#"{head},"id":"{id}","type":"llm.request","subject":"user-00001","time":"{time}","data":{{"mod"#
            ),
            Self::WithoutId => writeln!(
                line,
                r#"{head},"type":"llm.request","subject":"user-00002","time":"{time}","data":{usage}}}"#
            ),
            Self::IdNotText => writeln!(
                line,
                r#"{head},"id":{serial},"type":"llm.request","subject":"user-00003","time":"{time}","data":{usage}}}"#
            ),
            Self::NotANumber => writeln!(
                line,
                r#"{head},"id":"{id}","type":"llm.request","subject":"user-00004","time":"{time}","data":{{"model":"tide-small","prompt_tokens":NaN,"completion_tokens":80}}}}"#
            ),
            Self::TimeOffTheClock => writeln!(
                line,
                r#"{head},"id":"{id}","type":"llm.request","subject":"user-00005","time":"2026-10-01T25:{minute:02}:00Z","data":{usage}}}"#
            ),
            Self::UnmappedSubject => writeln!(
                line,
                r#"{head},"id":"{id}","type":"llm.request","subject":"visitor-{serial:05}","time":"{time}","data":{usage}}}"#
            ),
            Self::UnknownType => writeln!(
                line,
                r#"{head},"id":"{id}","type":"llm.feedback","subject":"user-00006","time":"{time}","data":{{"stars":5}}}}"#
            ),
            Self::BadClock => writeln!(
                line,
                r#"{head},"id":"{id}","type":"llm.request","subject":"user-00007","time":"2099-01-01T00:{minute:02}:00Z","data":{usage}}}"#
            ),
        };
        written.expect("writing to memory does not fail");
    }
}
