//! What does the person who ran the demo see? One page: what went in, what came out, and whether the two agree.
//!
//! Keeps: the verdict is made of the marks on the page, so no ✗ can hide behind "everything ties out".
//! Columns are counted in characters; colour is put around padded text, so it never shifts a column.
//! Deliberately absent: measuring and adding up. The page is given plain numbers and only compares them.

use std::io::IsTerminal;

use super::truth::Truth;

/// Room for the page: fits a terminal of 100 columns with a margin.
const WIDTH: usize = 93;
const LABEL: usize = 50;
const NUMBER: usize = 18;

/// Everything that the page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub seed: u64,
    pub speed: Speed,
    pub lag: Lag,
    /// What became of the records.
    pub fates: Compared<Fates>,
    pub prompt_tokens: Compared<u64>,
    pub completion_tokens: Compared<u64>,
    pub money: Books,
    /// The largest first.
    pub top: Vec<TopCustomer>,
    pub folders: Vec<Named>,
    /// What to try next: what it does, and the command.
    pub next: [Named; 2],
}

/// The product's number next to the generator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared<T> {
    pub product: T,
    pub truth: T,
}

/// How fast it went, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    pub took_millis: u64,
    /// Event time that was replayed.
    pub replayed_millis: u64,
    /// Of the input.
    pub bytes: u64,
}

/// How far behind the product was when the last record was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Watermark behind the newest event.
    pub watermark_millis: u64,
    /// From a record's arrival to its commit, 99th percentile.
    pub commit_p99_micros: u64,
    /// Rows that billing or the ERP has not answered yet.
    pub outbox_waiting: u64,
}

/// Every record has exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub received: u64,
    pub counted: u64,
    /// Of the counted: those that became adjustments.
    pub late: u64,
    pub again: u64,
    pub rejected: u64,
    pub conflict: u64,
    pub unmapped_subject: u64,
    pub unknown_meter: u64,
    pub bad_clock: u64,
    /// Exceptions of kinds that the trace does not inject.
    pub other_exceptions: u64,
}

/// Amounts in USD 0.01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    pub rated: Compared<i128>,
    /// What billing has acknowledged.
    pub billed: i128,
    /// What the ERP has booked.
    pub debits: i128,
    /// As a positive amount.
    pub credits: i128,
    pub rated_lines: u64,
    pub journal_entries: u64,
}

/// One line of the customers that owe most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopCustomer {
    pub id: String,
    pub name: String,
    pub calls: u64,
    /// USD 0.01.
    pub cents: Compared<i128>,
}

/// A label and a path or command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub label: String,
    pub text: String,
}

/// Whether marks and headings are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Ansi,
}

/// The page, and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// No ✗ is on the page.
    pub ties_out: bool,
}

impl Colour {
    /// Colour when standard output is a terminal that has not asked for none (<https://no-color.org>).
    #[must_use]
    pub fn of_standard_output() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        if wanted && able && std::io::stdout().is_terminal() { Self::Ansi } else { Self::Plain }
    }
}

impl Fates {
    #[must_use]
    pub fn exceptions(&self) -> u64 {
        self.conflict + self.unmapped_subject + self.unknown_meter + self.bad_clock + self.other_exceptions
    }

    /// I-8: received = counted + again + rejected + exceptions.
    #[must_use]
    pub fn reconcile(&self) -> bool {
        self.received == self.counted + self.again + self.rejected + self.exceptions()
    }
}

impl From<&Truth> for Fates {
    fn from(truth: &Truth) -> Self {
        Self {
            received: truth.received,
            counted: truth.counted,
            late: truth.late,
            again: truth.again,
            rejected: truth.rejected,
            conflict: truth.conflict,
            unmapped_subject: truth.unmapped_subject,
            unknown_meter: truth.unknown_meter,
            bad_clock: truth.bad_clock,
            other_exceptions: 0,
        }
    }
}

impl Page {
    #[must_use]
    pub fn render(&self, colour: Colour) -> Rendered {
        let mut sheet = Sheet { text: String::new(), colour, off: 0 };
        self.write_speed(&mut sheet);
        self.write_fates(&mut sheet);
        self.write_usage_and_money(&mut sheet);
        self.write_top(&mut sheet);
        self.write_verdict(&mut sheet);
        self.write_where(&mut sheet);
        Rendered { ties_out: sheet.off == 0, text: sheet.text }
    }

    fn write_speed(&self, sheet: &mut Sheet) {
        let records = self.fates.product.received;
        let Speed { took_millis, replayed_millis, bytes } = self.speed;
        let per_second = |count: u64| grouped(u128::from(count) * 1_000 / u128::from(took_millis.max(1)));
        sheet.title("Tidemark demo: one hour of a metered LLM API", &format!("seed {}", self.seed));
        sheet.fact("records", &format!("{} in {} s", grouped(records), thousandths(took_millis)));
        sheet.fact(
            "throughput",
            &format!(
                "{} records/s, {} MB/s, {} times as fast as it happened",
                per_second(records),
                per_second(bytes / 1_000_000),
                grouped(replayed_millis / took_millis.max(1)),
            ),
        );
        let Lag { watermark_millis, commit_p99_micros, outbox_waiting } = self.lag;
        sheet.fact(
            "lag",
            &format!(
                "watermark {} s behind the newest event, arrival to commit {} ms (p99)",
                thousandths(watermark_millis),
                thousandths(commit_p99_micros),
            ),
        );
        sheet.fact("outbox", &format!("{} rows wait for an answer", grouped(outbox_waiting)));
    }

    fn write_fates(&self, sheet: &mut Sheet) {
        let Compared { product, truth } = &self.fates;
        sheet.heading("Every record has one fate", ["counted by Tidemark", "injected"]);
        let mut row = |label, of: fn(&Fates) -> u64| sheet.compared(label, of(product), of(truth));
        row("counted", |fates| fates.counted);
        row("  of these late, as adjustments", |fates| fates.late);
        row("again (client retries)", |fates| fates.again);
        row("rejected (no valid event)", |fates| fates.rejected);
        row("exceptions", Fates::exceptions);
        row("  same identity, other content", |fates| fates.conflict);
        row("  no customer has the subject", |fates| fates.unmapped_subject);
        row("  no meter reads the event type", |fates| fates.unknown_meter);
        row("  clock ahead of ours", |fates| fates.bad_clock);
        if product.other_exceptions > 0 {
            row("  other", |fates| fates.other_exceptions);
        }
        row("received", |fates| fates.received);
        sheet.checked("received = counted + again + rejected + exceptions", product.reconcile());
    }

    fn write_usage_and_money(&self, sheet: &mut Sheet) {
        let usage = |sheet: &mut Sheet, label, Compared { product, truth }: Compared<u64>| {
            sheet.compared(label, product, truth);
        };
        sheet.heading("Usage", ["aggregated", "injected"]);
        usage(sheet, "prompt tokens", self.prompt_tokens);
        usage(sheet, "completion tokens", self.completion_tokens);

        let Books { rated, billed, debits, credits, rated_lines, journal_entries } = self.money;
        sheet.heading("Money, in USD", ["Tidemark", "must be"]);
        sheet.amounts(&format!("rated, {} lines", grouped(rated_lines)), rated.product, rated.truth);
        sheet.amounts("acknowledged by billing", billed, rated.product);
        sheet.amounts(
            &format!("booked in {} journal entries, debits", grouped(journal_entries)),
            debits,
            rated.product,
        );
        sheet.amounts("credits", credits, debits);
    }

    fn write_top(&self, sheet: &mut Sheet) {
        sheet.heading("Largest customers, in USD", ["rated", "independent sum"]);
        for TopCustomer { id, name, calls, cents } in &self.top {
            let label = format!("{id}  {name}, {} calls", grouped(*calls));
            sheet.amounts(&label, cents.product, cents.truth);
        }
    }

    fn write_verdict(&self, sheet: &mut Sheet) {
        let verdict = match sheet.off {
            0 => "everything ties out".to_owned(),
            1 => "1 number is off; the ✗ above says which".to_owned(),
            off => format!("{off} numbers are off; each ✗ above says which"),
        };
        let (mark, ok) = (sheet.mark(sheet.off == 0), sheet.bold(&verdict));
        sheet.line(&format!("\n{mark} {ok}"));
    }

    fn write_where(&self, sheet: &mut Sheet) {
        for (heading, list) in [("Where it is", self.folders.as_slice()), ("Next", &self.next)] {
            sheet.heading(heading, ["", ""]);
            for Named { label, text } in list {
                sheet.fact(label, text);
            }
        }
    }
}

/// The page as it is being written.
struct Sheet {
    text: String,
    colour: Colour,
    /// How many ✗ are on it.
    off: u64,
}

impl Sheet {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn title(&mut self, left: &str, right: &str) {
        let room = WIDTH - left.chars().count();
        let left = self.bold(left);
        self.line(&format!("{left}{right:>room$}"));
        self.line(&"─".repeat(WIDTH));
    }

    fn heading(&mut self, label: &str, columns: [&str; 2]) {
        let label = self.bold(&format!("{label:<LABEL$}"));
        let [first, second] = columns.map(|column| format!("{column:>NUMBER$}"));
        self.line(&format!("\n{label}{first:>width$}{second}", width = NUMBER + 4));
    }

    fn fact(&mut self, label: &str, text: &str) {
        self.line(&format!("  {label:<12} {text}"));
    }

    fn compared(&mut self, label: &str, product: u64, truth: u64) {
        self.row(label, &grouped(product), &grouped(truth), product == truth);
    }

    fn amounts(&mut self, label: &str, product: i128, truth: i128) {
        self.row(label, &dollars(product), &dollars(truth), product == truth);
    }

    fn row(&mut self, label: &str, product: &str, truth: &str, ok: bool) {
        let mark = self.judged(ok);
        let label: String = label.chars().take(LABEL).collect();
        self.line(&format!("  {label:<LABEL$}{product:>width$}{truth:>NUMBER$}  {mark}", width = NUMBER + 2));
    }

    fn checked(&mut self, label: &str, ok: bool) {
        let mark = self.judged(ok);
        let width = LABEL + 2 * NUMBER + 2;
        self.line(&format!("  {label:<width$}  {mark}"));
    }

    fn judged(&mut self, ok: bool) -> String {
        self.off += u64::from(!ok);
        self.mark(ok)
    }

    fn mark(&self, ok: bool) -> String {
        let (mark, code) = if ok { ("✓", "32") } else { ("✗", "1;31") };
        self.painted(mark, code)
    }

    fn bold(&self, text: &str) -> String {
        self.painted(text, "1")
    }

    /// `code`: an SGR parameter of ECMA-48.
    fn painted(&self, text: &str, code: &str) -> String {
        match self.colour {
            Colour::Plain => text.to_owned(),
            Colour::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// `1,234,567`
fn grouped(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Cents as `-1,234.50`.
fn dollars(cents: i128) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let magnitude = cents.unsigned_abs();
    format!("{sign}{}.{:02}", grouped(magnitude / 100), magnitude % 100)
}

/// Thousandths of a unit as the unit: 4210 is `4.210`.
fn thousandths(count: u64) -> String {
    format!("{}.{:03}", grouped(count / 1_000), count % 1_000)
}
