//! Is the generator's truth the truth? A trace is read back line by line with a JSON library, and everything the
//! generator claims is worked out again from nothing but those lines and the price list.

use std::collections::{BTreeMap, HashMap};

use expect_test::expect;
use serde_json::Value;
use tidemark_schemas::time::{MICROS_PER_MINUTE, MICROS_PER_SECOND, ReceiveTime};
use tidemark_schemas::{Decimal, EventTime};

use super::call::EVENT_TYPE;
use super::catalog::{CUSTOMERS, LegalEntity};
use super::trace::{CALLS_DEFAULT, Fate, SEED_DEFAULT, Trace};
use super::truth::Truth;

fn played(calls: u64, seed: u64) -> (Vec<u8>, Vec<Fate>, Truth) {
    let (mut trace, mut lines) = (Trace::new(calls, seed), Vec::new());
    let fates = std::iter::from_fn(|| trace.append_line(&mut lines)).collect();
    (lines, fates, trace.truth().clone())
}

fn fingerprint(calls: u64, seed: u64) -> String {
    blake3::hash(&played(calls, seed).0).to_hex()[..32].to_owned()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    expect!["b9678f4a6bc31661324e22c05d1ed504"].assert_eq(&fingerprint(10_000, SEED_DEFAULT));
    assert_eq!(fingerprint(2_000, 5), fingerprint(2_000, 5));
    assert_ne!(fingerprint(2_000, 5), fingerprint(2_000, 6));
}

/// An event's attributes, when the line is an event.
struct Read {
    identity: (String, String),
    event_type: String,
    subject: String,
    time: EventTime,
    content: Value,
}

fn read(line: &[u8]) -> Option<Read> {
    let content: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| content.get(name)?.as_str().map(str::to_owned);
    Some(Read {
        identity: (text("source")?, text("id")?),
        event_type: text("type")?,
        subject: text("subject")?,
        time: EventTime::parse(text("time")?.as_bytes()).ok()?,
        content,
    })
}

/// Everything a reader can work out from lines that arrive one after the other.
struct Reader {
    seen: HashMap<(String, String), Value>,
    newest: EventTime,
    tokens: BTreeMap<String, [i128; 2]>,
}

impl Reader {
    fn fate(&mut self, line: &[u8]) -> Fate {
        let Some(event) = read(line) else { return Fate::Rejected };
        if event.event_type != EVENT_TYPE {
            return Fate::UnknownMeter;
        }
        if event.time >= EventTime::parse(b"2027-01-01T00:00:00Z").expect("a time") {
            return Fate::BadClock;
        }
        let number = event.subject.strip_prefix("user-").and_then(|digits| digits.parse::<u32>().ok());
        if !number.is_some_and(|number| (1..=CUSTOMERS).contains(&number)) {
            return Fate::UnmappedSubject;
        }
        if let Some(before) = self.seen.get(&event.identity) {
            return if *before == event.content { Fate::Again } else { Fate::Conflict };
        }
        let late = self.is_late(event.time);
        self.newest = self.newest.max(event.time);
        let tokens = self.tokens.entry(event.subject).or_default();
        for (sum, name) in tokens.iter_mut().zip(["prompt_tokens", "completion_tokens"]) {
            *sum += i128::from(event.content["data"][name].as_u64().expect("a count of tokens"));
        }
        self.seen.insert(event.identity, event.content);
        if late { Fate::CountedLate } else { Fate::Counted }
    }

    /// Five-minute windows, two minutes of disorder, three of grace. Nothing is nearly late: an event is inside the
    /// allowed disorder, or its window is closed by two minutes more.
    fn is_late(&self, time: EventTime) -> bool {
        let window_end = (time.micros() / (5 * MICROS_PER_MINUTE) + 1) * 5 * MICROS_PER_MINUTE;
        let late = self.newest.micros() - 2 * MICROS_PER_MINUTE >= window_end + 3 * MICROS_PER_MINUTE;
        assert!(
            late || self.newest.micros() - time.micros() <= 2 * MICROS_PER_MINUTE,
            "{time} is in between"
        );
        late
    }
}

/// The price list again, this time in the product's decimals.
fn owed_cents([prompt, completion]: [i128; 2]) -> i128 {
    let times = |tokens: i128, price: &str| {
        Decimal::from_int(tokens).mul(price.parse().expect("a price")).expect("fits")
    };
    let first = completion.min(100_000);
    let completion = times(first, "0.00001").add(times(completion - first, "0.000008")).expect("fits");
    times(prompt, "0.0000025").rounded(2).expect("fits") + completion.rounded(2).expect("fits")
}

fn check_against_lines(calls: u64, seed: u64) {
    let (lines, claimed, truth) = played(calls, seed);
    let mut reader = Reader { seen: HashMap::new(), newest: EventTime::MIN, tokens: BTreeMap::new() };
    let found: Vec<Fate> = lines
        .strip_suffix(b"\n")
        .expect("ends its last line")
        .split(|byte| *byte == b'\n')
        .map(|line| reader.fate(line))
        .collect();
    assert_eq!(found, claimed, "line by line");

    let count = |fates: &[Fate]| found.iter().filter(|fate| fates.contains(fate)).count() as u64;
    assert_eq!(truth.received, found.len() as u64);
    assert_eq!(truth.counted, count(&[Fate::Counted, Fate::CountedLate]));
    assert_eq!(truth.counted, calls);
    assert_eq!(truth.late, count(&[Fate::CountedLate]));
    assert_eq!(truth.again, count(&[Fate::Again]));
    assert_eq!(truth.rejected, count(&[Fate::Rejected]));
    assert_eq!(truth.conflict, count(&[Fate::Conflict]));
    assert_eq!(truth.unmapped_subject, count(&[Fate::UnmappedSubject]));
    assert_eq!(truth.unknown_meter, count(&[Fate::UnknownMeter]));
    assert_eq!(truth.bad_clock, count(&[Fate::BadClock]));
    assert_eq!(truth.received, truth.counted + truth.again + truth.rejected + truth.exceptions(), "I-8");

    let sum = |at: usize| reader.tokens.values().map(|tokens| tokens[at]).sum::<i128>();
    assert_eq!(i128::from(truth.prompt_tokens()), sum(0));
    assert_eq!(i128::from(truth.completion_tokens()), sum(1));
    for customer in truth.customers() {
        let subject = format!("user-{:05}", customer.number);
        let tokens = reader.tokens.get(&subject).copied().unwrap_or_default();
        assert_eq!([customer.prompt_tokens, customer.completion_tokens].map(i128::from), tokens, "{subject}");
        assert_eq!(customer.rated_cents(), owed_cents(tokens), "{subject}");
    }
    assert_eq!(truth.rated_cents(), reader.tokens.values().map(|tokens| owed_cents(*tokens)).sum::<i128>());
    let by_entity = LegalEntity::ALL.map(|entity| truth.rated_cents_of(entity));
    assert_eq!(by_entity.iter().sum::<i128>(), truth.rated_cents());
    assert!(by_entity.iter().all(|cents| *cents > 0), "both companies sell");
}

#[test]
fn the_truth_is_what_the_lines_say() {
    check_against_lines(10_000, SEED_DEFAULT);
    check_against_lines(10_000, 1);
    check_against_lines(30_000, 2);
}

#[test]
fn everything_that_can_go_wrong_goes_wrong() {
    let (_, _, truth) = played(10_000, SEED_DEFAULT);
    let Truth { late, again, rejected, conflict, unmapped_subject, unknown_meter, bad_clock, .. } = truth;
    expect!["late 8, again 200, rejected 5, conflict 2, unmapped 2, unknown meter 1, bad clock 1"].assert_eq(
        &format!(
            "late {late}, again {again}, rejected {rejected}, conflict {conflict}, \
         unmapped {unmapped_subject}, unknown meter {unknown_meter}, bad clock {bad_clock}"
        ),
    );
}

#[test]
fn retries_come_in_both_spellings_and_after_the_call() {
    let (lines, fates, _) = played(10_000, SEED_DEFAULT);
    let mut seen = HashMap::new();
    let (mut alike, mut reordered) = (0, 0);
    for (line, fate) in lines.split(|byte| *byte == b'\n').zip(fates) {
        let Some(event) = read(line) else { continue };
        match fate {
            Fate::Counted | Fate::CountedLate => {
                seen.insert(event.identity, line);
            }
            Fate::Again if seen[&event.identity] == line => alike += 1,
            Fate::Again => reordered += 1,
            _ => {}
        }
    }
    assert!(alike > 100 && reordered > 25, "{alike} alike, {reordered} reordered");
}

#[test]
fn the_largest_debts_come_first() {
    let (_, _, truth) = played(10_000, SEED_DEFAULT);
    let top = truth.top(10);
    assert_eq!(top.len(), 10);
    assert!(top.is_sorted_by_key(|customer| std::cmp::Reverse(customer.rated_cents())));
    let all = truth.customers().iter().map(|customer| customer.rated_cents()).max();
    assert_eq!(top.first().map(|customer| customer.rated_cents()), all);
}

#[test]
fn the_receivers_clock_follows_the_trace() {
    let (mut trace, mut lines) = (Trace::new(1_000, 1), Vec::new());
    let start = trace.received_at();
    while trace.append_line(&mut lines).is_some() {}
    assert_eq!(start.to_string(), "2026-10-01T12:00:00Z");
    let played = trace.received_at().micros() - start.micros();
    assert!((59 * MICROS_PER_MINUTE..60 * MICROS_PER_MINUTE).contains(&played), "{played} µs");
    assert!(played > MICROS_PER_SECOND);
}

/// Only the event of 2099 comes from a clock that runs ahead, whatever day the machine that plays the hour believes in.
#[test]
fn the_hour_is_judged_alike_on_every_day() {
    let files: Vec<_> =
        super::catalog::files().into_iter().map(|file| (file.name.to_owned(), file.text)).collect();
    let catalog = crate::catalog::parse(&files).expect("the demo's catalog has no mistakes");
    let time = |text: &str| EventTime::parse(text.as_bytes()).expect("a time");
    for machine in
        ["2017-01-01T00:00:00Z", "2026-08-01T00:00:00Z", "2026-11-21T00:00:00Z", "2080-01-01T00:00:00Z"]
    {
        let received_at = ReceiveTime::from_micros(time(machine).micros());
        let believable = received_at.newest_believable(catalog.timing.clock_ahead_micros);
        assert!(time("2026-10-01T13:00:00Z") <= believable, "{machine}");
        assert!(time("2099-01-01T00:00:00Z") > believable, "{machine}");
    }
}

#[test]
fn the_whole_hour_is_the_known_one() {
    let (mut trace, mut line) = (Trace::new(CALLS_DEFAULT, SEED_DEFAULT), Vec::new());
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    while trace.append_line(&mut line).is_some() {
        hasher.update(&line);
        bytes += line.len();
        line.clear();
    }
    let truth = trace.truth();
    let buyers = truth.customers().iter().filter(|customer| customer.calls > 0).count();
    expect![[r#"
        1022313 lines, 304502357 bytes, 8f6ca422c36aee98cf64aebfe4e81a31
        counted 1000000, late 492, again 21920, rejected 50, exceptions 343
        1359406075 prompt and 339735826 completion tokens of 5000 customers, 636081 cents"#]]
    .assert_eq(&format!(
        "{} lines, {bytes} bytes, {}\ncounted {}, late {}, again {}, rejected {}, exceptions {}\n\
         {} prompt and {} completion tokens of {buyers} customers, {} cents",
        truth.received,
        &hasher.finalize().to_hex()[..32],
        truth.counted,
        truth.late,
        truth.again,
        truth.rejected,
        truth.exceptions(),
        truth.prompt_tokens(),
        truth.completion_tokens(),
        truth.rated_cents(),
    ));
}
