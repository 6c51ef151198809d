//! What does one call of the metered API look like? A CloudEvents 1.0 line, in the spelling of its first sending or
//! of a retry by another client library.
//!
//! Keeps: a call's bytes are a function of the call, so a retry needs no copy of what was sent.
//! Source of the form: CloudEvents 1.0.2, JSON Event Format, structured mode.
//! Deliberately absent: faults. Lines that no meter can count are in `stray`.

use tidemark_schemas::time::{MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};

use super::catalog::SUBJECT_PREFIX;

/// Length of the trace in event time.
pub const TRACE_MICROS: i64 = MICROS_PER_HOUR;

/// 2026-10-01T12:00:00Z, the trace's first instant, in microseconds since 1970.
pub const STARTS_AT_MICROS: i64 = 1_790_856_000 * MICROS_PER_SECOND;

/// The CloudEvents `type` that the demo's meters read.
pub const EVENT_TYPE: &str = "llm.request";

pub(super) const MODELS: [&str; 4] = ["tide-large", "tide-medium", "tide-small", "tide-code"];
pub(super) const REGIONS: [&str; 3] = ["eu-central", "us-east", "ap-south"];

/// One call by one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// From 1, in the order of sending; its `id` is made of it.
    pub number: u64,
    /// From 1, as in [`super::catalog`].
    pub customer: u32,
    /// The gateway that reports it: its `source`.
    pub gateway: u8,
    /// Event time, in microseconds after [`STARTS_AT_MICROS`]; less than [`TRACE_MICROS`].
    pub offset_micros: i64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub(super) model: u8,
    pub(super) region: u8,
    pub(super) cached: bool,
}

/// How a client library writes the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    Compact,
    /// Other member order and white space: other bytes, the same event.
    Reordered,
}

impl Call {
    /// Appends the event as one line, its newline included.
    pub fn write_line(&self, spelling: Spelling, line: &mut Vec<u8>) {
        match spelling {
            Spelling::Compact => self.write_compact(line),
            Spelling::Reordered => self.write_reordered(line),
        }
    }

    fn write_compact(&self, line: &mut Vec<u8>) {
        push(line, r#"{"specversion":"1.0","id":"call-"#);
        push_padded(line, self.number, 10);
        push(line, r#"","source":"/llm-gateway/"#);
        push_number(line, u64::from(self.gateway));
        push(line, r#"","type":""#);
        push(line, EVENT_TYPE);
        push(line, r#"","subject":""#);
        push(line, SUBJECT_PREFIX);
        push_padded(line, u64::from(self.customer), 5);
        push(line, r#"","time":""#);
        push_time(line, self.offset_micros);
        push(line, r#"","datacontenttype":"application/json","data":{"model":""#);
        push(line, MODELS[usize::from(self.model)]);
        push(line, r#"","prompt_tokens":"#);
        push_number(line, self.prompt_tokens);
        push(line, r#","completion_tokens":"#);
        push_number(line, self.completion_tokens);
        push(line, r#","region":""#);
        push(line, REGIONS[usize::from(self.region)]);
        push(line, r#"","cached":"#);
        push(line, if self.cached { "true}}\n" } else { "false}}\n" });
    }

    fn write_reordered(&self, line: &mut Vec<u8>) {
        push(line, r#"{ "data": { "cached": "#);
        push(line, if self.cached { "true" } else { "false" });
        push(line, r#", "completion_tokens": "#);
        push_number(line, self.completion_tokens);
        push(line, r#", "prompt_tokens": "#);
        push_number(line, self.prompt_tokens);
        push(line, r#", "region": ""#);
        push(line, REGIONS[usize::from(self.region)]);
        push(line, r#"", "model": ""#);
        push(line, MODELS[usize::from(self.model)]);
        push(line, r#"" }, "datacontenttype": "application/json", "time": ""#);
        push_time(line, self.offset_micros);
        push(line, r#"", "subject": ""#);
        push(line, SUBJECT_PREFIX);
        push_padded(line, u64::from(self.customer), 5);
        push(line, r#"", "type": ""#);
        push(line, EVENT_TYPE);
        push(line, r#"", "source": "/llm-gateway/"#);
        push_number(line, u64::from(self.gateway));
        push(line, r#"", "id": "call-"#);
        push_padded(line, self.number, 10);
        push(line, "\", \"specversion\": \"1.0\" }\n");
    }
}

fn push(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

/// Digits of the u64 with the most of them.
const DIGITS_MAX: usize = 20;

// By hand instead of `write!`: seven numbers a line, and the generator must not be what a demo of speed measures.
fn push_padded(line: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; DIGITS_MAX];
    let (mut rest, mut at) = (number, DIGITS_MAX);
    while rest > 0 {
        at -= 1;
        digits[at] += (rest % 10) as u8;
        rest /= 10;
    }
    line.extend_from_slice(&digits[at.min(DIGITS_MAX - width)..]);
}

fn push_number(line: &mut Vec<u8>, number: u64) {
    push_padded(line, number, 1);
}

/// `2026-10-01T12:34:56.789012Z`. The trace is one hour of one day, so only minutes and less vary.
fn push_time(line: &mut Vec<u8>, offset_micros: i64) {
    let part = |micros: i64| u64::try_from(micros).expect("offsets are inside the trace's hour");
    push(line, "2026-10-01T12:");
    push_padded(line, part(offset_micros / MICROS_PER_MINUTE), 2);
    push(line, ":");
    push_padded(line, part(offset_micros / MICROS_PER_SECOND % 60), 2);
    push(line, ".");
    push_padded(line, part(offset_micros % MICROS_PER_SECOND), 6);
    push(line, "Z");
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use tidemark_schemas::EventTime;

    const CALL: Call = Call {
        number: 42,
        customer: 17,
        gateway: 3,
        offset_micros: 59 * MICROS_PER_MINUTE + 7 * MICROS_PER_SECOND + 80,
        prompt_tokens: 1_200,
        completion_tokens: 0,
        model: 1,
        region: 2,
        cached: true,
    };

    fn line(spelling: Spelling) -> String {
        let mut line = Vec::new();
        CALL.write_line(spelling, &mut line);
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn a_call_is_a_cloud_event_on_one_line() {
        expect![[r#"
            {"specversion":"1.0","id":"call-0000000042","source":"/llm-gateway/3","type":"llm.request","subject":"user-00017","time":"2026-10-01T12:59:07.000080Z","datacontenttype":"application/json","data":{"model":"tide-medium","prompt_tokens":1200,"completion_tokens":0,"region":"ap-south","cached":true}}
        "#]]
        .assert_eq(&line(Spelling::Compact));
    }

    #[test]
    fn spellings_differ_in_bytes_and_not_in_content() {
        let (compact, reordered) = (line(Spelling::Compact), line(Spelling::Reordered));
        assert_ne!(compact, reordered);
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(parsed(&compact), parsed(&reordered));
        assert_eq!(reordered.matches('\n').count(), 1);
    }

    #[test]
    fn the_written_hour_is_the_declared_one() {
        let start = EventTime::parse(b"2026-10-01T12:00:00Z").expect("a time");
        assert_eq!(start, EventTime::from_micros(STARTS_AT_MICROS));
    }
}
