//! Does the page line up, and does one wrong number turn the verdict?

use expect_test::expect;

use super::page::{Books, Colour, Compared, Fates, Lag, Named, Page, Speed, TopCustomer};

fn alike<T: Copy>(number: T) -> Compared<T> {
    Compared { product: number, truth: number }
}

fn named(label: &str, text: &str) -> Named {
    Named { label: label.into(), text: text.into() }
}

fn page() -> Page {
    let fates = Fates {
        received: 1_023_342,
        counted: 1_000_000,
        late: 512,
        again: 22_942,
        rejected: 50,
        conflict: 319,
        unmapped_subject: 20,
        unknown_meter: 10,
        bad_clock: 1,
        other_exceptions: 0,
    };
    let customer = |id: &str, name: &str, calls, cents| TopCustomer {
        id: id.into(),
        name: name.into(),
        calls,
        cents: alike(cents),
    };
    Page {
        seed: 7,
        speed: Speed { took_millis: 4_210, replayed_millis: 3_600_000, bytes: 312_000_000 },
        lag: Lag { watermark_millis: 120_000, commit_p99_micros: 18_250, outbox_waiting: 0 },
        fates: alike(fates),
        prompt_tokens: alike(1_361_950_017),
        completion_tokens: alike(339_870_114),
        money: Books {
            rated: alike(642_331),
            billed: 642_331,
            debits: 642_331,
            credits: 642_331,
            rated_lines: 88_120,
            journal_entries: 24,
        },
        top: vec![
            customer("cust-00001", "Amber Anchor Inc", 88_012, 56_007),
            customer("cust-00002", "Amber Anchor GmbH", 44_110, 28_115),
        ],
        folders: vec![named("state", "demo/state"), named("archive", "demo/archive")],
        next: [named("look", "tidemark query --state demo/state"), named("verify", "tidemark audit verify")],
    }
}

#[test]
fn a_page_that_ties_out() {
    let rendered = page().render(Colour::Plain);
    expect![[r#"
        Tidemark demo: one hour of a metered LLM API                                           seed 7
        ─────────────────────────────────────────────────────────────────────────────────────────────
          records      1,023,342 in 4.210 s
          throughput   243,074 records/s, 74 MB/s, 855 times as fast as it happened
          lag          watermark 120.000 s behind the newest event, arrival to commit 18.250 ms (p99)
          outbox       0 rows wait for an answer

        Every record has one fate                            counted by Tidemark          injected
          counted                                                      1,000,000         1,000,000  ✓
            of these late, as adjustments                                    512               512  ✓
          again (client retries)                                          22,942            22,942  ✓
          rejected (no valid event)                                           50                50  ✓
          exceptions                                                         350               350  ✓
            same identity, other content                                     319               319  ✓
            no customer has the subject                                       20                20  ✓
            no meter reads the event type                                     10                10  ✓
            clock ahead of ours                                                1                 1  ✓
          received                                                     1,023,342         1,023,342  ✓
          received = counted + again + rejected + exceptions                                        ✓

        Usage                                                         aggregated          injected
          prompt tokens                                            1,361,950,017     1,361,950,017  ✓
          completion tokens                                          339,870,114       339,870,114  ✓

        Money, in USD                                                   Tidemark           must be
          rated, 88,120 lines                                           6,423.31          6,423.31  ✓
          acknowledged by billing                                       6,423.31          6,423.31  ✓
          booked in 24 journal entries, debits                          6,423.31          6,423.31  ✓
          credits                                                       6,423.31          6,423.31  ✓

        Largest customers, in USD                                          rated   independent sum
          cust-00001  Amber Anchor Inc, 88,012 calls                      560.07            560.07  ✓
          cust-00002  Amber Anchor GmbH, 44,110 calls                     281.15            281.15  ✓

        ✓ everything ties out

        Where it is
          state        demo/state
          archive      demo/archive

        Next
          look         tidemark query --state demo/state
          verify       tidemark audit verify
    "#]]
    .assert_eq(&rendered.text);
    assert!(rendered.ties_out);
}

#[test]
fn every_line_fits_and_plain_means_plain() {
    let rendered = page().render(Colour::Plain);
    assert!(rendered.text.lines().all(|line| line.chars().count() <= 100));
    assert!(!rendered.text.contains('\u{1b}'));
}

#[test]
fn colour_changes_no_character_of_the_text() {
    let (plain, mut coloured) = (page().render(Colour::Plain).text, page().render(Colour::Ansi).text);
    for code in ["\u{1b}[1;31m", "\u{1b}[32m", "\u{1b}[1m", "\u{1b}[0m"] {
        coloured = coloured.replace(code, "");
    }
    let trimmed: Vec<&str> = coloured.lines().map(str::trim_end).collect();
    assert_eq!(plain.lines().collect::<Vec<_>>(), trimmed);
    assert!(page().render(Colour::Ansi).text.contains("\u{1b}[32m✓\u{1b}[0m"));
}

/// One number off: which rows must show it.
fn check_off(change: fn(&mut Page), rows: &[&str]) {
    let mut page = page();
    change(&mut page);
    let rendered = page.render(Colour::Plain);
    let off: Vec<&str> = rendered.text.lines().filter(|line| line.ends_with('✗')).collect();
    assert_eq!(off.len(), rows.len(), "{}", rendered.text);
    for (line, row) in off.iter().zip(rows) {
        assert!(line.trim_start().starts_with(row), "{line} is not about {row}");
    }
    assert!(!rendered.ties_out);
    assert!(rendered.text.contains("off;"), "the verdict says so");
    assert!(!rendered.text.contains("everything ties out"));
}

#[test]
fn one_wrong_number_is_marked_and_turns_the_verdict() {
    check_off(|page| page.prompt_tokens.product += 1, &["prompt tokens"]);
    check_off(|page| page.fates.product.late -= 1, &["of these late"]);
    check_off(|page| page.fates.product.counted -= 1, &["counted", "received ="]);
    check_off(|page| page.fates.product.other_exceptions = 1, &["exceptions", "other", "received ="]);
    check_off(|page| page.money.rated.truth -= 1, &["rated"]);
    check_off(|page| page.money.billed -= 1, &["acknowledged"]);
    check_off(|page| page.money.credits += 1, &["credits"]);
    check_off(|page| page.money.debits = 0, &["booked", "credits"]);
    check_off(|page| page.top[1].cents.product = -5, &["cust-00002"]);
}

#[test]
fn a_run_of_no_time_divides_by_nothing() {
    let mut page = page();
    page.speed.took_millis = 0;
    assert!(page.render(Colour::Plain).ties_out);
}
