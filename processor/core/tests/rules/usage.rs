//! Identity, windows, watermarks, lateness.

use std::fmt::Write;

use crate::lab::*;
use expect_test::expect;
use tidemark_core::settle::complete_at;
use tidemark_schemas::limits::UNIQUE_VALUES_MAX;
use tidemark_schemas::meter::Aggregation;

#[test]
fn a_resent_event_is_counted_once() {
    check(
        catalog(),
        "10:00 acme e1 5
         10:00 acme e1 5
         advance 11:05",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            counts 2 = 1 + 1 + 0 + 0
        "#]],
    );
}

#[test]
fn the_same_identity_with_other_content_is_a_conflict() {
    check(
        catalog(),
        "10:00 acme e1 5
         10:00 acme e1 6
         10:01 acme e1 5
         10:00 bolt e1 5
         advance 11:05",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            waits conflict: event 1
            waits conflict: event 1
            waits conflict: event 1
            counts 4 = 1 + 0 + 0 + 3
        "#]],
    );
}

/// Lago, Flexprice: an event sent again for another region must not count in two groups.
#[test]
fn dedupe_comes_before_grouping() {
    check(
        catalog(),
        "10:00 acme e1 5 model=europe
         10:00 acme e1 5 model=asia
         advance 11:05",
        expect![[r#"
            acme tokens model=europe 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            waits conflict: event 1
            counts 2 = 1 + 0 + 0 + 1
        "#]],
    );
}

#[test]
fn a_window_closes_when_the_watermark_passes_its_end_and_grace() {
    check(
        catalog(),
        "10:00 acme e1 5
         10:59:59 acme e2 5
         11:00 acme e3 5
         11:09:59 acme e4 1
         11:10 acme e5 1",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 10 (2 events) 0.10 USD
            counts 5 = 5 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn late_usage_is_an_adjustment() {
    check(
        catalog(),
        "10:00 acme e1 5
         12:00 acme e2 5
         10:30 acme e3 7
         10:31 acme e4 -1
         09:30 acme e5 2
         12:11 acme e6 5
         complete",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            acme tokens 01-15T09:00 rev 1 = 2 (1 events) 0.02 USD
            acme tokens 01-15T10:00 rev 2 = 11 (3 events) 0.06 USD
            acme tokens 01-15T12:00 rev 1 = 10 (2 events) 0.10 USD
            entry 2026-01 1; 1150 D-acme 5; 4000 - -5
            entry 2026-01 2; 1150 D-acme 8; 4000 - -8
            entry 2026-01 3; 1150 D-acme 10; 4000 - -10
            counts 6 = 6 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn declaring_completeness_twice_is_declaring_it_once() {
    let mut lab = Lab::new(catalog());
    let mut completed = |story: &str| {
        lab.tell(story, 1);
        let until = complete_at(&lab.terms, &lab.working).expect("usage");
        lab.tell("complete", 1);
        until
    };
    let first = completed("10:00 acme e1 5");
    assert_eq!(completed(""), first);
    assert_eq!(completed("10:00 acme e1 5"), first, "the same event again is nothing new");
    let late = completed("10:10 acme e2 5");
    assert!(late > first, "late usage waits for its adjustment");
    assert_eq!(completed(""), late);
}

#[test]
fn usage_beyond_the_horizon_waits() {
    check(
        catalog(),
        "2026-01-15T10:00 acme e1 5
         2026-03-09T00:00 acme e2 5
         2026-01-16T10:00 acme e3 5
         2026-01-16T10:00 acme e3 5",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            waits too_late: event 3
            entry 2026-01 1; 1150 D-acme 5; 4000 - -5
            counts 4 = 2 + 1 + 0 + 1
        "#]],
    );
}

#[test]
fn a_clock_that_runs_ahead_cannot_drag_the_watermark() {
    check(
        catalog(),
        "10:00 acme e1 5
         2099-01-01T00:00 acme e2 5
         10:30 acme e3 5
         advance 11:05",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 10 (2 events) 0.10 USD
            waits bad_clock: event 2
            counts 3 = 2 + 0 + 0 + 1
        "#]],
    );
}

#[test]
fn what_no_contract_explains_waits() {
    let mut catalog = catalog();
    catalog.subscriptions[1].end = Some(at("10:30"));
    check(
        catalog,
        "10:00 nobody e1 5
         10:00 bolt e2 5
         10:30 bolt e3 5
         2025-12-31T23:59 acme e4 5
         advance 11:05",
        expect![[r#"
            bolt tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            waits unmapped_subject: event 1
            waits missing_contract: event 3
            waits missing_contract: event 4
            counts 4 = 1 + 0 + 0 + 3
        "#]],
    );
}

#[test]
fn dimension_values_are_capped_and_the_rest_waits() {
    check(
        catalog(),
        "10:00 acme e1 5 model=a
         10:00 acme e2 5 model=b
         10:00 acme e3 5 model=c
         10:00 acme e4 5 model=d
         10:00 acme e5 5 model=a
         advance 11:05",
        expect![[r#"
            acme tokens model=b 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            acme tokens model=a 01-15T10:00 rev 1 = 10 (2 events) 0.10 USD
            acme tokens model=c 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            waits cardinality_exceeded: event 4
            counts 5 = 4 + 0 + 0 + 1
        "#]],
    );
}

#[test]
fn every_meter_of_a_type_counts_on_its_own() {
    let mut catalog = catalog();
    let price = catalog.rate_cards[0].versions[0].charges[0].price.clone();
    for aggregation in Aggregation::ALL {
        if aggregation != Aggregation::Sum {
            catalog.meters.push(meter(aggregation.name(), aggregation));
            catalog.rate_cards[0].versions[0].charges.push(charge(aggregation.name(), price.clone()));
        }
    }
    check(
        catalog,
        "10:00 acme e1 10
         10:20 acme e2 40
         10:10 acme e3 10
         11:00 acme e4 20
         complete",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 60 (3 events) 0.60 USD
            acme min 01-15T10:00 rev 1 = 10 (3 events) 0.10 USD
            acme latest 01-15T10:00 rev 1 = 40 (3 events) 0.40 USD
            acme unique_count 01-15T10:00 rev 1 = 2 (3 events) 0.02 USD
            acme count 01-15T10:00 rev 1 = 3 (3 events) 0.03 USD
            acme max 01-15T10:00 rev 1 = 40 (3 events) 0.40 USD
            acme avg 01-15T10:00 rev 1 = 20 (3 events) 0.20 USD
            acme tokens 01-15T11:00 rev 1 = 20 (1 events) 0.20 USD
            acme min 01-15T11:00 rev 1 = 20 (1 events) 0.00 USD
            acme latest 01-15T11:00 rev 1 = 20 (1 events) -0.20 USD
            acme unique_count 01-15T11:00 rev 1 = 1 (1 events) 0.01 USD
            acme count 01-15T11:00 rev 1 = 1 (1 events) 0.01 USD
            acme max 01-15T11:00 rev 1 = 20 (1 events) 0.00 USD
            acme avg 01-15T11:00 rev 1 = 20 (1 events) 0.00 USD
            entry 2026-01 1; 1150 D-acme 175; 4000 - -175
            entry 2026-01 2; 1150 D-acme 2; 4000 - -2
            counts 4 = 4 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn a_meter_without_a_price_waits_alone() {
    let mut catalog = catalog();
    catalog.meters.push(meter("free", Aggregation::Count));
    check(
        catalog,
        "10:00 acme e1 5
         advance 11:05",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            waits missing_price free: event 1
            counts 1 = 1 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn unique_members_of_a_window_are_capped_and_the_rest_waits() {
    let mut catalog = catalog();
    catalog.meters[0].aggregation = Aggregation::UniqueCount;
    let mut story = String::new();
    for member in 1..UNIQUE_VALUES_MAX {
        writeln!(story, "10:00 acme e{member} {member}").expect("text");
    }
    // One place is left when the window closes: a late member takes it, the next waits, one that is known counts.
    let (last, known) = (UNIQUE_VALUES_MAX, 7);
    writeln!(story, "advance 11:15").expect("text");
    for (event, member) in [(last, last), (last + 1, last + 1), (last + 2, known), (last + 3, last)] {
        writeln!(story, "10:30 acme e{event} {member}").expect("text");
    }
    writeln!(story, "advance 12:00").expect("text");
    let mut lab = Lab::new(catalog);
    lab.tell(&story, 8_192);
    let lines: String =
        lab.said.lines().filter(|line| line.contains(" rev ")).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        acme tokens 01-15T10:00 rev 1 = 99999 (99999 events) 999.99 USD
        acme tokens 01-15T10:00 rev 2 = 100000 (100002 events) 0.01 USD
    "#]]
    .assert_eq(&lines);
    assert!(lab.said.contains("waits cardinality_exceeded: event 100001\n"), "the member beyond the cap");
    assert_eq!(lab.counts(), "100003 = 100002 + 0 + 0 + 1");
}
