//! Lines, entries and accounting periods.

use std::sync::Arc;

use crate::lab::*;
use expect_test::expect;
use tidemark_core::terms::Terms;
use tidemark_schemas::decimal::Decimal;
use tidemark_schemas::legal_entity::AccountingPeriod;
use tidemark_schemas::meter::{Aggregation, Meter, WindowLength};
use tidemark_schemas::rate_card::{Price, RateCardVersion, Tier};

#[test]
fn lines_gather_in_one_entry_for_fifteen_minutes() {
    check(
        catalog(),
        "10:00 acme e1 5
         10:00 bolt e2 7
         11:00 acme e3 1
         complete",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            bolt tokens 01-15T10:00 rev 1 = 7 (1 events) 0.07 USD
            acme tokens 01-15T11:00 rev 1 = 1 (1 events) 0.01 USD
            entry 2026-01 1; 1150 D-acme 5; 1150 D-bolt 7; 4000 - -12
            entry 2026-01 2; 1150 D-acme 1; 4000 - -1
            counts 3 = 3 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn an_entry_is_cut_when_it_is_full() {
    let mut catalog = catalog();
    catalog.timing.post_lines_max = 2;
    check(
        catalog,
        "10:00 acme e1 5
         10:00 bolt e2 7
         complete",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            bolt tokens 01-15T10:00 rev 1 = 7 (1 events) 0.07 USD
            entry 2026-01 1; 1150 D-acme 5; 4000 - -5
            entry 2026-01 2; 1150 D-bolt 7; 4000 - -7
            counts 2 = 2 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn lines_that_cancel_out_make_no_entry() {
    check(
        catalog(),
        "10:00 acme e1 5
         10:00 bolt e2 -5
         10:01 bolt e3 5
         complete",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            bolt tokens 01-15T10:00 rev 1 = 0 (2 events) 0.00 USD
            entry 2026-01 1; 1150 D-acme 5; 4000 - -5
            counts 3 = 3 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn usage_of_a_closed_accounting_period_is_booked_in_the_open_one() {
    let mut catalog = catalog();
    catalog.legal_entities[0].closed_through = Some(AccountingPeriod { year: 2026, month: 2 });
    check(
        catalog,
        "10:00 acme e1 5
         2026-03-01T10:00 acme e2 5
         complete",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 0.05 USD
            acme tokens 03-01T10:00 rev 1 = 5 (1 events) 0.05 USD
            entry 2026-03 1; 1150 D-acme for 2026-01 5; 4000 - for 2026-01 -5
            entry 2026-03 2; 1150 D-acme 5; 4000 - -5
            counts 2 = 2 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn a_price_that_changes_inside_a_period_prices_what_comes_after() {
    let mut catalog = catalog();
    let mut versions = catalog.rate_cards[0].versions.clone();
    versions.push(RateCardVersion {
        version: "2".into(),
        effective_from: at("12:00"),
        charges: vec![charge("tokens", Price::PerUnit { unit: number("0.02") })],
    });
    catalog.rate_cards[0].versions = versions;
    check(
        catalog,
        "11:00 acme e1 100
         12:00 acme e2 100
         13:30 acme e3 0
         11:30 acme e4 10
         complete",
        expect![[r#"
            acme tokens 01-15T11:00 rev 1 = 100 (1 events) 1.00 USD
            acme tokens 01-15T12:00 rev 1 = 100 (1 events) 2.00 USD
            acme tokens 01-15T11:00 rev 2 = 110 (2 events) 0.10 USD
            acme tokens 01-15T13:00 rev 1 = 0 (1 events) 0.00 USD
            entry 2026-01 1; 1150 D-acme 100; 4000 - -100
            entry 2026-01 2; 1150 D-acme 200; 4000 - -200
            entry 2026-01 3; 1150 D-acme 10; 4000 - -10
            counts 4 = 4 + 0 + 0 + 0
        "#]],
    );
}

/// Version 2 of the rate card with this charge, from `effective_from` on, after usage until 12:00: what is said of it.
fn followed(effective_from: &str, charges: Vec<tidemark_schemas::rate_card::Charge>) -> String {
    let mut lab = Lab::new(catalog());
    lab.tell("11:00 acme e1 100", 1);
    let mut next = catalog();
    let from = at(effective_from);
    let version = RateCardVersion { version: "2".into(), effective_from: from, charges };
    next.rate_cards[0].versions.push(version);
    next.rate_cards[0].versions.sort_by_key(|version| version.effective_from);
    let next = Terms::new(Arc::new(next)).expect("a good catalog");
    next.follows(&lab.terms, Some(at("12:00"))).join("\n")
}

#[test]
fn a_version_may_not_change_the_price_of_usage_that_is_counted() {
    let per_unit = |unit: &str| charge("tokens", Price::PerUnit { unit: number(unit) });
    for from in ["12:00", "11:00", "2026-01-02T00:00"] {
        let said = followed(from, vec![per_unit("0.02")]);
        let expected = format!(
            "rate card `std` version `2` changes the price of meter `tokens` from {} on, but usage up to \
             2026-01-15T12:00:00Z is priced already; let it begin after 2026-01-15T12:00:00Z",
            at(from)
        );
        assert_eq!(said, expected);
    }
    assert_eq!(followed("12:01", vec![per_unit("0.02")]), "");
    assert_eq!(followed("11:00", vec![per_unit("0.01")]), "", "as before, perhaps with a meter more");
    assert_eq!(followed("2025-12-01T00:00", vec![per_unit("0.02")]), "", "nothing had a price then");
}

#[test]
fn a_flat_fee_is_charged_for_a_period_without_usage() {
    let mut catalog = catalog();
    let tiers = vec![Tier { up_to: None, unit: Decimal::ONE, flat: number("100") }];
    catalog.rate_cards[0].versions[0].charges[0].price = Price::Graduated { tiers };
    catalog.subscriptions[1].end = Some(at("2026-02-15T00:00"));
    check(
        catalog,
        "10:00 acme e1 5
         2026-02-01T00:20 acme e2 1
         2026-03-01T00:20 acme e3 1
         2026-04-01T00:20 acme e4 1",
        expect![[r#"
            acme tokens 01-15T10:00 rev 1 = 5 (1 events) 105.00 USD
            bolt tokens 01-01T00:00 rev 0 = 0 (0 events) 100.00 USD
            acme tokens 02-01T00:00 rev 1 = 1 (1 events) 101.00 USD
            bolt tokens 02-01T00:00 rev 0 = 0 (0 events) 100.00 USD
            acme tokens 03-01T00:00 rev 1 = 1 (1 events) 101.00 USD
            entry 2026-01 1; 1150 D-acme 10500; 4000 - -10500
            entry 2026-01 2; 1150 D-bolt 10000; 4000 - -10000
            entry 2026-02 1; 1150 D-acme 10100; 4000 - -10100
            entry 2026-02 2; 1150 D-bolt 10000; 4000 - -10000
            entry 2026-03 1; 1150 D-acme 10100; 4000 - -10100
            counts 4 = 4 + 0 + 0 + 0
        "#]],
    );
}

#[test]
fn usage_whose_price_is_beyond_any_number_waits_and_hurts_nobody() {
    let mut catalog = catalog();
    catalog.rate_cards[0].versions[0].charges[0].price =
        Price::PerUnit { unit: number("12345678901234.5678901") };
    check(
        catalog,
        "10:00 acme e1 999999999999999999999999999
         10:00 bolt e2 1
         advance 11:05",
        expect![[r#"
            bolt tokens 01-15T10:00 rev 1 = 1 (1 events) 12345678901234.57 USD
            unratable: the window's usage cannot be priced: the number is too large to be kept exactly in 128 bits
            counts 2 = 2 + 0 + 0 + 0
        "#]],
    );
}

/// Flexprice: to 10 at 1, the rest at 2, applied to each group; groups of 3 and 12 cost 17.
#[test]
fn values_of_a_dimension_can_have_tiers_of_their_own() {
    let mut catalog = catalog();
    let tier = |up_to: Option<&str>, unit| Tier {
        up_to: up_to.map(number),
        unit: number(unit),
        flat: Decimal::ZERO,
    };
    let charge = &mut catalog.rate_cards[0].versions[0].charges[0];
    charge.price = Price::Graduated { tiers: vec![tier(Some("10"), "1"), tier(None, "2")] };
    charge.tiers_per = vec!["model".into()];
    check(
        catalog,
        "10:00 acme e1 3 model=a
         10:00 acme e2 12 model=b
         advance 11:05",
        expect![[r#"
            acme tokens model=b 01-15T10:00 rev 1 = 12 (1 events) 14.00 USD
            acme tokens model=a 01-15T10:00 rev 1 = 3 (1 events) 3.00 USD
            counts 2 = 2 + 0 + 0 + 0
        "#]],
    );
}

/// Kill Bill, blocks of 100 at 2.95: what is dated in May and comes in July is May's, booked in the open month.
#[test]
fn late_usage_keeps_its_period_and_is_booked_in_the_open_one() {
    let mut catalog = catalog();
    catalog.timing.horizon_micros = 62 * tidemark_schemas::time::MICROS_PER_DAY;
    catalog.legal_entities[0].closed_through = Some(AccountingPeriod { year: 2026, month: 6 });
    catalog.rate_cards[0].versions[0].charges[0].price =
        Price::Package { size: number("100"), price: number("2.95"), free: Decimal::ZERO };
    check(
        catalog,
        "2026-07-01T10:00 acme e1 50
         2026-05-01T10:00 acme e2 199
         2026-07-02T10:00 acme e3 300
         complete",
        expect![[r#"
            acme tokens 05-01T10:00 rev 1 = 199 (1 events) 5.90 USD
            acme tokens 07-01T10:00 rev 1 = 50 (1 events) 2.95 USD
            acme tokens 07-02T10:00 rev 1 = 300 (1 events) 8.85 USD
            entry 2026-07 1; 1150 D-acme for 2026-05 590; 4000 - for 2026-05 -590
            entry 2026-07 2; 1150 D-acme 295; 4000 - -295
            entry 2026-07 3; 1150 D-acme 885; 4000 - -885
            counts 3 = 3 + 0 + 0 + 0
        "#]],
    );
}

/// Polar: the average of 10, 10, 10 on day 1 and 50 on day 3 is 20; a, b, c and then b, c, d are four.
#[test]
fn what_does_not_add_up_is_priced_over_the_whole_period() {
    let mut catalog = catalog();
    let daily = |aggregation: Aggregation| Meter {
        window: WindowLength::Day,
        ..meter(aggregation.name(), aggregation)
    };
    catalog.meters = vec![daily(Aggregation::Average), daily(Aggregation::UniqueCount)];
    let one = Price::PerUnit { unit: Decimal::ONE };
    catalog.rate_cards[0].versions[0].charges =
        catalog.meters.iter().map(|meter| charge(meter.id.as_str(), one.clone())).collect();
    check(
        catalog,
        "2026-01-01T10:00 acme e1 10
         2026-01-01T11:00 acme e2 10
         2026-01-01T12:00 acme e3 10
         2026-01-01T10:00 bolt e4 1
         2026-01-01T10:00 bolt e5 2
         2026-01-01T10:00 bolt e6 3
         2026-01-03T10:00 acme e7 50
         2026-01-03T10:00 bolt e8 2
         2026-01-03T10:00 bolt e9 3
         2026-01-03T10:00 bolt e10 4
         advance 2026-01-05T00:00",
        expect![[r#"
            bolt avg 01-01T00:00 rev 1 = 2 (3 events) 2.00 USD
            acme unique_count 01-01T00:00 rev 1 = 1 (3 events) 1.00 USD
            bolt unique_count 01-01T00:00 rev 1 = 3 (3 events) 3.00 USD
            acme avg 01-01T00:00 rev 1 = 10 (3 events) 10.00 USD
            bolt avg 01-03T00:00 rev 1 = 3 (3 events) 0.50 USD
            acme unique_count 01-03T00:00 rev 1 = 1 (1 events) 1.00 USD
            bolt unique_count 01-03T00:00 rev 1 = 3 (3 events) 1.00 USD
            acme avg 01-03T00:00 rev 1 = 50 (1 events) 10.00 USD
            entry 2026-01 1; 1150 D-acme 1100; 1150 D-bolt 500; 4000 - -1600
            entry 2026-01 2; 1150 D-acme 1100; 1150 D-bolt 150; 4000 - -1250
            counts 10 = 10 + 0 + 0 + 0
        "#]],
    );
}
