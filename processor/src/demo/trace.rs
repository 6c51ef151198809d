//! What arrives during the demo's hour? Calls by 5,000 customers as JSON lines, with everything that goes wrong on the
//! way: retries, disorder, lateness, conflicting repeats, faulty lines.
//!
//! Keeps: a line's fate is decided when the line is made and entered in the [`Truth`] in the same step; every call is
//! counted exactly once, so that the truth of a trace of n calls starts with "counted n".
//! Nothing is allocated per line beyond the caller's buffer and the queue of repeats, which stays below 5 % of the calls.
//! Deliberately absent: where lines go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidemark_schemas::time::{MICROS_PER_MINUTE, MICROS_PER_SECOND, ReceiveTime};

use super::call::{Call, MODELS, REGIONS, STARTS_AT_MICROS, Spelling, TRACE_MICROS};
use super::dice::Dice;
use super::schedule::{Schedule, Sizes, Slot};
use super::stray::Stray;
use super::truth::Truth;

/// A trace as `tidemark demo` plays it.
pub const CALLS_DEFAULT: u64 = 1_000_000;

/// Any number would do; this one is fixed so that everybody sees the same demo.
pub const SEED_DEFAULT: u64 = 20_261_001;

/// Shares of the calls, in 10,000ths.
const RESENT_ALIKE: u64 = 150;
const RESENT_REORDERED: u64 = 50;
const CONFLICTING: u64 = 3;
const LATE: u64 = 10;
const SHARES: u64 = 10_000;

/// Out of order by less than this, unless late: the catalog's `disorder`.
const DISORDER_MICROS: i64 = 2 * MICROS_PER_MINUTE;

/// Late events are older than this. A five-minute window is closed once the newest event is its end plus disorder and
/// grace (2 + 3 minutes) away, so at most 10 minutes after any event in it; the rest is distance from the edge, so that
/// a partition whose own newest event is up to two minutes old agrees.
const LATE_MICROS_MIN: i64 = 12 * MICROS_PER_MINUTE;
const LATE_MICROS_MAX: i64 = 28 * MICROS_PER_MINUTE;

/// What a correct product does with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    Counted,
    /// Counted, as an adjustment: its window has closed.
    CountedLate,
    Again,
    Conflict,
    Rejected,
    UnmappedSubject,
    UnknownMeter,
    BadClock,
}

/// A call that is sent once more, with the content of `call`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Repeat {
    /// How many calls are sent before it.
    due: u64,
    call: Call,
    spelling: Spelling,
    conflicting: bool,
}

/// A stray's place in the trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    /// How many calls are sent before it.
    due: u64,
    serial: u64,
    stray: Stray,
}

/// The trace, line by line.
pub struct Trace {
    calls: u64,
    sent: u64,
    /// When the last call was sent, in microseconds after the start.
    now_micros: i64,
    dice: Dice,
    schedule: Schedule,
    sizes: Sizes,
    /// The next one last.
    strays: Vec<Planned>,
    repeats: BinaryHeap<Reverse<Repeat>>,
    truth: Truth,
}

impl Trace {
    /// A trace in which `calls` calls are counted; what goes wrong comes on top.
    #[must_use]
    pub fn new(calls: u64, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let schedule = Schedule::new(calls, &mut dice);
        let strays = plan_strays(calls, &mut dice);
        Self {
            calls,
            sent: 0,
            now_micros: 0,
            dice,
            schedule,
            sizes: Sizes::new(),
            strays,
            repeats: BinaryHeap::new(),
            truth: Truth::new(),
        }
    }

    /// Appends the next line, its newline included, and says what must become of it. `None`: the hour is over.
    pub fn append_line(&mut self, lines: &mut Vec<u8>) -> Option<Fate> {
        if let Some(planned) = self.strays.pop_if(|planned| planned.due <= self.sent) {
            return Some(self.append_stray(planned, lines));
        }
        if let Some(repeat) = self.take_due_repeat() {
            return Some(self.append_repeat(repeat, lines));
        }
        let slot = self.schedule.next_slot(&mut self.dice)?;
        Some(self.append_call(&slot, lines))
    }

    /// Everything injected so far; after the last line, the whole truth.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The receiver's clock at the last line. A replay that takes this instead of the wall clock judges bad clocks
    /// alike on every day.
    #[must_use]
    pub fn received_at(&self) -> ReceiveTime {
        ReceiveTime::from_micros(STARTS_AT_MICROS + self.now_micros)
    }

    fn append_stray(&mut self, planned: Planned, lines: &mut Vec<u8>) -> Fate {
        let minute = u64::try_from(self.now_micros / MICROS_PER_MINUTE).expect("inside the hour");
        planned.stray.write_line(planned.serial, minute, lines);
        let fate = match planned.stray {
            Stray::Truncated
            | Stray::WithoutId
            | Stray::IdNotText
            | Stray::NotANumber
            | Stray::TimeOffTheClock => Fate::Rejected,
            Stray::UnmappedSubject => Fate::UnmappedSubject,
            Stray::UnknownType => Fate::UnknownMeter,
            Stray::BadClock => Fate::BadClock,
        };
        self.truth.enter(fate);
        fate
    }

    /// The oldest repeat, when its time has come or no call is left to wait for.
    fn take_due_repeat(&mut self) -> Option<Repeat> {
        let Reverse(first) = self.repeats.peek()?;
        if first.due > self.sent && self.sent < self.calls {
            return None;
        }
        self.repeats.pop().map(|Reverse(repeat)| repeat)
    }

    fn append_repeat(&mut self, repeat: Repeat, lines: &mut Vec<u8>) -> Fate {
        repeat.call.write_line(repeat.spelling, lines);
        let fate = if repeat.conflicting { Fate::Conflict } else { Fate::Again };
        self.truth.enter(fate);
        fate
    }

    fn append_call(&mut self, slot: &Slot, lines: &mut Vec<u8>) -> Fate {
        self.sent += 1;
        self.now_micros = slot.offset_micros;
        let late = self.now_micros >= TRACE_MICROS / 2 && self.dice.below(SHARES) < LATE;
        let call = self.draw_call(slot, late);
        call.write_line(Spelling::Compact, lines);
        self.plan_repeats(call);
        self.truth.enter_call(&call, late);
        if late { Fate::CountedLate } else { Fate::Counted }
    }

    fn draw_call(&mut self, slot: &Slot, late: bool) -> Call {
        let delay_micros = if late { self.draw_lateness() } else { self.draw_disorder() };
        Call {
            number: self.sent,
            customer: slot.bursting.unwrap_or_else(|| self.sizes.draw(&mut self.dice)),
            gateway: 1 + self.dice.below(8) as u8,
            offset_micros: (slot.offset_micros - delay_micros).max(0),
            prompt_tokens: self.draw_tokens(4, 9),
            completion_tokens: self.draw_tokens(2, 9),
            model: self.dice.below(MODELS.len() as u64) as u8,
            region: self.dice.below(REGIONS.len() as u64) as u8,
            cached: self.dice.below(8) == 0,
        }
    }

    fn draw_lateness(&mut self) -> i64 {
        LATE_MICROS_MIN + self.dice.below((LATE_MICROS_MAX - LATE_MICROS_MIN) as u64) as i64
    }

    /// Most events arrive within the second, one in ten within half a minute, one in a hundred just in time.
    fn draw_disorder(&mut self) -> i64 {
        let below_micros = match self.dice.below(100) {
            0 => DISORDER_MICROS - MICROS_PER_SECOND,
            1..10 => 30 * MICROS_PER_SECOND,
            _ => MICROS_PER_SECOND,
        };
        self.dice.below(below_micros as u64) as i64
    }

    /// Between `2^smallest` and twice `2^(smallest + doublings - 1)`, every doubling as likely: many small, few large.
    fn draw_tokens(&mut self, smallest: u32, doublings: u64) -> u64 {
        let base = 1 << (u64::from(smallest) + self.dice.below(doublings));
        base + self.dice.below(base)
    }

    fn plan_repeats(&mut self, call: Call) {
        let draw = self.dice.below(SHARES);
        if draw < RESENT_ALIKE {
            self.plan_repeat(call, Spelling::Compact, false);
            // A client that gave up once often gives up twice.
            if draw.is_multiple_of(8) {
                self.plan_repeat(call, Spelling::Compact, false);
            }
        } else if draw < RESENT_ALIKE + RESENT_REORDERED {
            self.plan_repeat(call, Spelling::Reordered, false);
        } else if draw < RESENT_ALIKE + RESENT_REORDERED + CONFLICTING {
            let more = Call { prompt_tokens: call.prompt_tokens + 1 + self.dice.below(99), ..call };
            self.plan_repeat(more, Spelling::Compact, true);
        }
    }

    fn plan_repeat(&mut self, call: Call, spelling: Spelling, conflicting: bool) {
        // Within about a minute: the hour has 60 such shares of the calls.
        let due = self.sent + 1 + self.dice.below(self.calls / 60);
        self.repeats.push(Reverse(Repeat { due, call, spelling, conflicting }));
    }
}

fn plan_strays(calls: u64, dice: &mut Dice) -> Vec<Planned> {
    let kinds = Stray::ALL.iter().flat_map(|stray| std::iter::repeat_n(*stray, stray.count(calls) as usize));
    let mut planned: Vec<Planned> =
        (1..).zip(kinds).map(|(serial, stray)| Planned { due: dice.below(calls), serial, stray }).collect();
    planned.sort_unstable_by_key(|planned| Reverse(*planned));
    planned
}
