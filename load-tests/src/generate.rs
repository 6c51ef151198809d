//! What does a day of usage look like, as a file? NDJSON, with the sums that it must lead to.
//!
//! Event number i arrives at i / n of the day and happened a little earlier: the delay halves every 15 seconds
//! and ends below five minutes, so no event is later than that behind the newest. Two in a hundred events are
//! sent again within ten minutes, byte for byte.
//! Invariant: every line is a function of (seed, number), so the expected sums are those of the events `0..n`
//! and re-sends cannot disturb them.
//!
//! Deliberately absent: randomness, clocks and floats. Equal arguments give equal files on every machine.

use std::io::{self, Write};

use crate::event::{Event, EventType, subject, time};
use crate::rng::{Draws, Zipf};
use crate::units::Share;

/// 2026-01-01T00:00:00Z in milliseconds since 1970.
pub const DAY_START_MS: i64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;
const HOURS: usize = 24;

/// The allowed disorder of the catalog, exclusive.
pub const DELAY_MAX_MS: u64 = 300_000;

/// Twenty halvings reach the longest delay: a few in five million events do.
const DELAY_HALF_LIFE_MS: u64 = 15_000;

/// 20 TB of lines; below it a day's milliseconds times the events fit 64 bits.
pub const EVENTS_MAX: u64 = 100_000_000_000;

/// How long after its first line an event may be sent again.
const RESEND_MS: u64 = 600_000;

/// Lines are handed on in pieces that amortize the write and still fit the processor's cache.
const PIECE_BYTES: usize = 1 << 18;

#[derive(Clone, Debug)]
pub struct Day {
    seed: u64,
    events: u64,
    customers: Zipf,
    customer_count: u32,
    resends: Share,
    /// How many events back a re-send may reach.
    resend_events: u64,
}

/// Sums over different events, by hour of event time, customer and type.
#[derive(Clone, Debug)]
pub struct Expected {
    cells: Vec<Cell>,
    customers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub sum: u64,
    pub count: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub events: u64,
    pub resends: u64,
    pub bytes: u64,
}

impl Day {
    /// A day of `events` different events; re-sends come on top. Panics above [`EVENTS_MAX`], which the command
    /// line refuses.
    #[must_use]
    pub fn new(seed: u64, events: u64, customers: u32, resends: Share) -> Self {
        assert!(events <= EVENTS_MAX, "a day has at most {EVENTS_MAX} events");
        Self {
            seed,
            events,
            customers: Zipf::new(customers),
            customer_count: customers,
            resends,
            resend_events: events * RESEND_MS / DAY_MS,
        }
    }

    /// Event number `number` of `0..events`.
    #[must_use]
    pub fn event(&self, number: u64) -> Event {
        let mut draws = Draws::at(self.seed, number);
        let arrival_ms = self.arrival_ms(number);
        // Never before the day begins.
        let delay_ms = draws.exponential(DELAY_HALF_LIFE_MS).min(DELAY_MAX_MS - 1) % (arrival_ms + 1);
        let event_type = EventType::draw(&mut draws);
        let time_ms = DAY_START_MS + (arrival_ms - delay_ms).cast_signed();
        Event::draw(&mut draws, &self.customers, event_type, time_ms)
    }

    /// The event that is sent again right after event `number`, if any.
    #[must_use]
    pub fn resend_after(&self, number: u64) -> Option<u64> {
        let mut draws = Draws::at(!self.seed, number);
        let repeats = draws.below(1_000_000) < u64::from(self.resends.millionths);
        repeats.then(|| number - draws.below(self.resend_events.min(number) + 1))
    }

    /// Writes every line, and counts what it should lead to.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, mut out: impl Write) -> io::Result<(Written, Expected)> {
        let mut expected = Expected::new(self.customer_count);
        let mut written = Written::default();
        let mut piece = Vec::with_capacity(PIECE_BYTES + 1_024);
        for number in 0..self.events {
            let event = self.event(number);
            expected.add(&event);
            written.events += 1;
            render_line(&event, &mut piece);
            if let Some(earlier) = self.resend_after(number) {
                written.resends += 1;
                render_line(&self.event(earlier), &mut piece);
            }
            if piece.len() >= PIECE_BYTES {
                out.write_all(&piece)?;
                written.bytes += piece.len() as u64;
                piece.clear();
            }
        }
        out.write_all(&piece)?;
        written.bytes += piece.len() as u64;
        out.flush()?;
        Ok((written, expected))
    }

    fn arrival_ms(&self, number: u64) -> u64 {
        number * DAY_MS / self.events
    }
}

fn render_line(event: &Event, out: &mut Vec<u8>) {
    event.render(out);
    out.push(b'\n');
}

impl Expected {
    fn new(customers: u32) -> Self {
        let customers = customers as usize;
        Self { cells: vec![Cell::default(); HOURS * customers * EventType::ALL.len()], customers }
    }

    fn add(&mut self, event: &Event) {
        let hour = ((event.time_ms - DAY_START_MS) / 3_600_000) as usize;
        let at = self.index(hour, event.customer as usize, event.event_type);
        self.cells[at].sum += u64::from(event.tokens);
        self.cells[at].count += 1;
    }

    fn index(&self, hour: usize, customer: usize, event_type: EventType) -> usize {
        (hour * self.customers + customer) * EventType::ALL.len() + event_type as usize
    }

    /// Cells with events, ordered by hour, subject, type.
    pub fn rows(&self) -> impl Iterator<Item = (usize, u32, EventType, Cell)> {
        let keys = (0..HOURS).flat_map(move |hour| {
            (0..self.customers).flat_map(move |customer| EventType::ALL.map(|kind| (hour, customer, kind)))
        });
        keys.map(|(hour, customer, kind)| {
            (hour, customer as u32, kind, self.cells[self.index(hour, customer, kind)])
        })
        .filter(|(.., cell)| cell.count > 0)
    }

    /// CSV with a header: `hour,subject,type,sum,count`.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_csv(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "hour,subject,type,sum,count")?;
        for (hour, customer, event_type, Cell { sum, count }) in self.rows() {
            let hour = time(DAY_START_MS + hour as i64 * 3_600_000).replace(".000Z", "Z");
            writeln!(out, "{hour},{},{},{sum},{count}", subject(customer), event_type.name())?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    const RESENDS: Share = Share { millionths: 20_000 };

    fn lines(day: &Day) -> (String, Written, String) {
        let (mut text, mut csv) = (Vec::new(), Vec::new());
        let (written, expected) = day.write(&mut text).expect("memory");
        expected.write_csv(&mut csv).expect("memory");
        (String::from_utf8(text).expect("UTF-8"), written, String::from_utf8(csv).expect("UTF-8"))
    }

    #[test]
    fn equal_arguments_give_equal_files() {
        let day = |seed| lines(&Day::new(seed, 20_000, 100, RESENDS));
        assert_eq!(day(42), day(42));
        assert_ne!(day(42).0, day(43).0);
    }

    #[test]
    fn the_expected_sums_are_those_of_reading_the_file_and_dropping_what_was_seen() {
        let (text, written, csv) = lines(&Day::new(42, 50_000, 200, RESENDS));
        let mut seen: HashMap<String, String> = HashMap::new();
        let mut sums: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
        let mut resends = 0;
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let part = |name: &str| event[name].as_str().expect("text").to_string();
            if let Some(before) = seen.get(&part("id")) {
                assert_eq!(before, line, "a re-send has the same bytes");
                resends += 1;
                continue;
            }
            seen.insert(part("id"), line.into());
            let hour = format!("{}:00:00Z", &part("time")[..13]);
            let cell = sums.entry((hour, part("subject"), part("type"))).or_default();
            cell.0 += event["data"]["tokens"].as_u64().expect("an integer");
            cell.1 += 1;
        }
        let mut expected = String::from("hour,subject,type,sum,count\n");
        for ((hour, subject, kind), (sum, count)) in &sums {
            expected.push_str(&format!("{hour},{subject},{kind},{sum},{count}\n"));
        }
        assert_eq!(csv, expected);
        assert_eq!((seen.len() as u64, resends), (written.events, written.resends));
        assert_eq!(written.bytes, text.len() as u64);
        assert!((900..1_100).contains(&resends), "{resends} of 50,000 are sent again");
    }

    #[test]
    fn types_and_times_are_as_promised() {
        let day = Day::new(1, 100_000, 50, RESENDS);
        let events: Vec<Event> = (0..100_000).map(|number| day.event(number)).collect();
        for (event_type, share) in EventType::ALL.into_iter().zip([60_000_usize, 30_000, 10_000]) {
            let count = events.iter().filter(|event| event.event_type == event_type).count();
            assert!(count.abs_diff(share) < 1_000, "{event_type:?}: {count}");
        }
        for event in &events {
            assert!((DAY_START_MS..DAY_START_MS + DAY_MS as i64).contains(&event.time_ms));
        }
    }

    #[test]
    fn disorder_uses_all_that_is_allowed_and_no_more() {
        let day = Day::new(1, 4_000_000, 50, RESENDS);
        let mut newest = 0;
        let mut latest = 0;
        for number in 0..4_000_000 {
            let time_ms = day.event(number).time_ms;
            newest = newest.max(time_ms);
            latest = latest.max(newest - time_ms);
        }
        let allowed = DELAY_MAX_MS as i64;
        assert!((allowed - 5_000..allowed).contains(&latest), "{latest} ms behind the newest");
    }

    #[test]
    fn a_resend_comes_within_ten_minutes() {
        let day = Day::new(3, 100_000, 50, RESENDS);
        let resends = (0..100_000).filter_map(|number| Some((number, day.resend_after(number)?)));
        for (number, earlier) in resends {
            assert!(earlier <= number);
            assert!(day.arrival_ms(number) - day.arrival_ms(earlier) <= RESEND_MS);
        }
    }
}
