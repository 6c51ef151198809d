//! How far is the run? A progress bar for a person at a terminal, a line every few seconds for a log.
//!
//! Keeps: standard output is left to results; everything here goes to standard error.
//! Deliberately absent: counting. The numbers are given.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// Often enough to see that it lives, rarely enough for a log of an hour to stay readable.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A rate over less than this says more about the clock than about the run.
const RATE_AFTER: Duration = Duration::from_millis(100);

/// Where a run stands: totals since it began, except `units`, which is the position in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// As [`super::Position::units`].
    pub units: u64,
    /// Counted for the first time.
    pub events: u64,
    /// Dropped, since they were received before.
    pub again: u64,
    /// Damaged lines and invalid events.
    pub rejected: u64,
}

/// Shows the tallies of one source.
pub struct Progress {
    name: String,
    total_units: Option<u64>,
    /// Units already covered when the run began, which its speed must not count.
    first_units: u64,
    face: Face,
}

enum Face {
    Bar(ProgressBar),
    Lines { due: Duration, out: Box<dyn Write + Send> },
}

impl Progress {
    /// A bar if standard error is a terminal, lines otherwise. `total_units` as [`super::Source::total_units`].
    #[must_use]
    pub fn new(name: &str, total_units: Option<u64>, first_units: u64) -> Self {
        let stderr = std::io::stderr();
        let face = if stderr.is_terminal() {
            Face::Bar(bar(name, total_units))
        } else {
            Face::Lines { due: LINE_EVERY, out: Box::new(stderr) }
        };
        Self { name: name.to_owned(), total_units, first_units, face }
    }

    /// Shows the tally, `elapsed` after the run began; lines only when one is due.
    pub fn show(&mut self, tally: &Tally, elapsed: Duration) {
        let message = self.message(tally, elapsed);
        match &mut self.face {
            Face::Bar(bar) => {
                bar.set_position(tally.units);
                bar.set_message(message);
            }
            Face::Lines { due, out } if elapsed >= *due => {
                *due = elapsed + LINE_EVERY;
                print_line(out.as_mut(), &self.name, &message);
            }
            Face::Lines { .. } => {}
        }
    }

    /// The last tally: always shown, and left standing.
    pub fn finish(mut self, tally: &Tally, elapsed: Duration) {
        let message = format!("{}, {}", self.message(tally, elapsed), HumanDuration(elapsed));
        match &mut self.face {
            Face::Bar(bar) => {
                bar.set_position(tally.units);
                bar.finish_with_message(message);
            }
            Face::Lines { out, .. } => print_line(out.as_mut(), &self.name, &message),
        }
    }

    fn message(&self, tally: &Tally, elapsed: Duration) -> String {
        let events = tally.events + tally.again + tally.rejected;
        let mut message = format!("{} events", HumanCount(events));
        if let Some(rate) = per_second(events, elapsed) {
            message += &format!(" ({}/s)", HumanCount(rate));
        }
        message += &format!(", {} again, {} rejected", HumanCount(tally.again), HumanCount(tally.rejected));
        if let Some(left) = self.time_left(tally.units, elapsed) {
            message += &format!(", {} left", HumanDuration(left));
        }
        message
    }

    /// At the speed so far; none when the end or the speed is unknown.
    fn time_left(&self, units: u64, elapsed: Duration) -> Option<Duration> {
        let left = self.total_units?.checked_sub(units).filter(|left| *left > 0)?;
        let speed = per_second(units.checked_sub(self.first_units)?, elapsed).filter(|speed| *speed > 0)?;
        Some(Duration::from_secs(left / speed))
    }
}

fn per_second(count: u64, elapsed: Duration) -> Option<u64> {
    let rate = || u64::try_from(u128::from(count) * 1_000 / elapsed.as_millis()).unwrap_or(u64::MAX);
    (elapsed >= RATE_AFTER).then(rate)
}

fn bar(name: &str, total_units: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_units {
        Some(total) => (ProgressBar::new(total), "{prefix} {bar:30} {percent:>3}% {msg}"),
        None => (ProgressBar::new_spinner(), "{prefix} {spinner} {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("both templates are constants that parse");
    bar.with_style(style).with_prefix(name.to_owned())
}

/// Progress that cannot be shown must not stop the run.
fn print_line(out: &mut dyn Write, name: &str, message: &str) {
    let _ = writeln!(out, "{name}: {message}");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_when_due_and_at_the_end() {
        let out = Shared::default();
        let face = Face::Lines { due: LINE_EVERY, out: Box::new(out.clone()) };
        let mut progress =
            Progress { name: "a.ndjson".into(), total_units: Some(11_000), first_units: 1_000, face };
        let tally = |units| Tally { units, events: units / 2, again: 10, rejected: 1 };
        progress.show(&tally(2_000), Duration::from_secs(1));
        progress.show(&tally(6_000), Duration::from_secs(5));
        progress.show(&tally(7_000), Duration::from_secs(6));
        progress.finish(&tally(11_000), Duration::from_secs(10));
        let shown = String::from_utf8(out.0.lock().expect("one thread").clone()).expect("text");
        expect_test::expect![[r#"
            a.ndjson: 3,011 events (602/s), 10 again, 1 rejected, 5 seconds left
            a.ndjson: 5,511 events (551/s), 10 again, 1 rejected, 10 seconds
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn every_template_of_the_bar_parses() {
        for total in [Some(10), None] {
            bar("a", total).abandon();
        }
    }

    #[test]
    fn nothing_divides_by_zero() {
        let progress = Progress {
            name: "a".into(),
            total_units: Some(0),
            first_units: 5,
            face: Face::Lines { due: LINE_EVERY, out: Box::new(std::io::sink()) },
        };
        let text = progress.message(&Tally::default(), Duration::ZERO);
        assert_eq!(text, "0 events, 0 again, 0 rejected");
    }
}
