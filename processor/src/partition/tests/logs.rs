//! What arrives? Logs of usage events with everything that can be wrong with them, in the order of arrival.

use proptest::prelude::*;
use tidemark_schemas::time::EventTime;

/// One event as a product meant it.
#[derive(Clone, Debug)]
pub struct Usage {
    /// After 30 January 2026, so that most logs see a month end.
    seconds: i64,
    subject: &'static str,
    event_type: &'static str,
    model: u8,
    /// In hundredths.
    value: i32,
    oddity: Oddity,
    /// How much later than it happened it arrives.
    lag_seconds: i64,
    copy: Option<Copy>,
}

/// What can be wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    Unmapped,
    UnknownType,
    BadClock,
    /// One field cannot be taken; meters that do not read it still count.
    Refused(&'static str),
    /// No event at all.
    Malformed,
}

/// It is sent once more.
#[derive(Clone, Debug)]
struct Copy {
    lag_seconds: i64,
    twist: Twist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twist {
    SameBytes,
    OtherSpelling,
    OtherContent,
}

/// Records arrive less than this later than they happened where nothing may be late: disorder and grace together.
const IN_TIME_SECONDS: i64 = 600;
const DAY_SECONDS: i64 = 86_400;

/// Some records come hours, days or months late.
pub fn usages() -> impl Strategy<Value = Vec<Usage>> {
    let lag = prop_oneof![
        6 => 0..IN_TIME_SECONDS,
        2 => 0..3 * DAY_SECONDS,
        1 => 30 * DAY_SECONDS..90 * DAY_SECONDS,
    ];
    proptest::collection::vec(usage(lag), 1..50)
}

/// No record is late, and no identity has two contents: which of them came first is what the order says.
pub fn usages_in_time() -> impl Strategy<Value = Vec<Usage>> {
    let in_time = |mut usage: Usage| {
        usage.copy = usage
            .copy
            .filter(|copy| copy.twist != Twist::OtherContent)
            .map(|copy| Copy { lag_seconds: copy.lag_seconds.min(IN_TIME_SECONDS - 1), ..copy });
        usage
    };
    proptest::collection::vec(usage(0..IN_TIME_SECONDS).prop_map(in_time), 1..50)
}

fn usage(lag: impl Strategy<Value = i64> + Clone) -> impl Strategy<Value = Usage> {
    let seconds = prop_oneof![
        8 => 0..3 * DAY_SECONDS,
        1 => 40 * DAY_SECONDS..100 * DAY_SECONDS,
    ];
    let oddity = prop_oneof![
        12 => Just(Oddity::None),
        1 => Just(Oddity::Unmapped),
        1 => Just(Oddity::UnknownType),
        1 => Just(Oddity::BadClock),
        1 => proptest::sample::select(vec!["null", "\"NaN\"", "0.005", "true", "1e40"]).prop_map(Oddity::Refused),
        1 => Just(Oddity::Malformed),
    ];
    let twists = vec![Twist::SameBytes, Twist::OtherSpelling, Twist::OtherContent];
    let copy = (lag.clone(), proptest::sample::select(twists))
        .prop_map(|(lag_seconds, twist)| Copy { lag_seconds, twist });
    (
        seconds,
        proptest::sample::select(vec!["acme", "bolt", "cargo"]),
        proptest::sample::select(vec!["llm.request", "llm.request", "disk.level"]),
        0..4_u8,
        -5_000..50_000,
        oddity,
        lag,
        proptest::option::weighted(0.4, copy),
    )
        .prop_map(|(seconds, subject, event_type, model, value, oddity, lag_seconds, copy)| Usage {
            seconds,
            subject,
            event_type,
            model,
            value,
            oddity,
            lag_seconds,
            copy,
        })
}

/// The records in the order of their arrival.
pub fn log(usages: &[Usage]) -> Vec<String> {
    arrival(usages, |_, lag_seconds| lag_seconds)
}

/// The same records in another order: each is late by `lags` (used in turn) instead, and still in time.
pub fn reordered(usages: &[Usage], lags: &[i64]) -> Vec<String> {
    arrival(usages, |record, _| lags[record % lags.len()] % IN_TIME_SECONDS)
}

fn arrival(usages: &[Usage], lag: impl Fn(usize, i64) -> i64) -> Vec<String> {
    let mut arriving = Vec::new();
    for (n, usage) in usages.iter().enumerate() {
        let sent = [(usage.lag_seconds, None)];
        let copied = usage.copy.iter().map(|copy| (copy.lag_seconds, Some(copy.twist)));
        for (lag_seconds, twist) in sent.into_iter().chain(copied) {
            let arrives = usage.seconds + lag(arriving.len(), lag_seconds);
            arriving.push((arrives, arriving.len(), usage.record(n, twist)));
        }
    }
    arriving.sort();
    arriving.into_iter().map(|(_, _, record)| record).collect()
}

/// Tokens in hundredths, and the number of events that are counted, whatever their order.
pub fn truth(usages: &[Usage]) -> (i128, u64) {
    let counted = || usages.iter().filter(|usage| usage.is_counted());
    let tokens = counted().filter(|usage| usage.event_type == "llm.request" && usage.oddity == Oddity::None);
    (tokens.map(|usage| i128::from(usage.value)).sum(), counted().count() as u64)
}

impl Usage {
    /// A refused field leaves the meters that do not need it: calls and models of a request, none of a level.
    fn is_counted(&self) -> bool {
        match self.oddity {
            Oddity::None => true,
            Oddity::Refused(_) => self.event_type == "llm.request",
            _ => false,
        }
    }

    fn record(&self, n: usize, twist: Option<Twist>) -> String {
        let mut value = match self.oddity {
            Oddity::Refused(text) => text.to_owned(),
            _ => tidemark_schemas::Decimal::new(self.value.into(), 2).to_string(),
        };
        if twist == Some(Twist::OtherContent) {
            value = "7.77".into();
        }
        let subject = if self.oddity == Oddity::Unmapped { "nobody" } else { self.subject };
        let event_type = if self.oddity == Oddity::UnknownType { "other" } else { self.event_type };
        let time = match self.oddity {
            Oddity::BadClock => "2099-01-01T00:00:00Z".into(),
            _ => at_seconds(self.seconds).to_string(),
        };
        let space = if twist == Some(Twist::OtherSpelling) { " " } else { "" };
        let data = format!(r#"{{"model":{space}"m{}","tokens":{space}{value}}}"#, self.model);
        let mut record = format!(
            r#"{{"specversion":"1.0","id":"e{n}","source":"/s","type":"{event_type}","subject":"{subject}","time":"{time}","data":{data}}}"#
        );
        if self.oddity == Oddity::Malformed {
            record.truncate(record.len() - 1);
        }
        record
    }
}

fn at_seconds(seconds: i64) -> EventTime {
    EventTime::parse(b"2026-01-30T00:00:00Z").expect("a time").plus_micros(seconds * 1_000_000)
}
