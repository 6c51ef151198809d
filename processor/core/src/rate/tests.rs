//! Prices and corrections as other systems compute them, and the law that lines add up.

use super::*;
use crate::identity::Identity;
use proptest::prelude::*;
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::meter::{Aggregation, WindowLength};
use tidemark_schemas::rate_card::{Price, Tier};

fn number(text: &str) -> Decimal {
    text.parse().expect("a number")
}

/// `up_to unit flat` per tier, `-` for no bound.
fn tiers(text: &str) -> Vec<Tier> {
    text.split(';')
        .map(|tier| {
            let mut parts = tier.split_whitespace();
            let mut next = || parts.next().expect("up_to unit flat");
            let up_to = next();
            Tier { up_to: (up_to != "-").then(|| number(up_to)), unit: number(next()), flat: number(next()) }
        })
        .collect()
}

fn charge(price: Price) -> Charge {
    let meter = MeterId::new("m").expect("a name");
    Charge { meter, price, tiers_per: vec![], maximum: None, flat_fee_at_zero: true }
}

fn graduated(text: &str) -> Charge {
    charge(Price::Graduated { tiers: tiers(text) })
}

fn volume(text: &str) -> Charge {
    charge(Price::Volume { tiers: tiers(text) })
}

fn package(size: &str, price: &str, free: &str) -> Charge {
    charge(Price::Package { size: number(size), price: number(price), free: number(free) })
}

fn per_unit(unit: &str) -> Charge {
    charge(Price::PerUnit { unit: number(unit) })
}

#[test]
fn prices_of_other_systems() {
    let table = [
        (
            "OpenMeter graduated",
            graduated("5 0 100; 10 0 50; 15 10 0; - 5 0"),
            &[("0", "100"), ("5", "100"), ("5.001", "150"), ("12", "170")][..],
        ),
        ("Lago graduated", graduated("0.1 10 0; 1 5 0; - 2 0"), &[("0.05", "0.5")]),
        (
            "OpenMeter volume",
            volume("5 0 100; 10 0 150; 15 10 0; - 5 0"),
            &[("0", "100"), ("14", "140"), ("16", "80")],
        ),
        (
            "Lago volume",
            volume("100 2 10; 200 1 0; - 0.5 50"),
            &[("100", "210"), ("100.5", "100.5"), ("300", "200")],
        ),
        (
            "OpenMeter package",
            package("10", "15", "0"),
            &[("1", "15"), ("10", "15"), ("11", "30"), ("0", "0")],
        ),
        ("Lago package", package("10", "100", "0"), &[("121", "1300")]),
        ("Lago package, 10 free", package("10", "100", "10"), &[("121", "1200"), ("10", "0")]),
        ("OpenMeter conversion, ceiling", package("1000", "10", "0"), &[("1400", "20"), ("7400", "80")]),
        ("Flexprice graduated", graduated("1 10 0; 2 20 0; - 30 0"), &[("2.5", "45")]),
        (
            "tier bounds are inclusive",
            graduated("100 1 0; 200 2 0; - 3 0"),
            &[("100", "100"), ("100.5", "101")],
        ),
        ("negative usage has no fees", graduated("5 2 100; - 1 0"), &[("-3", "-6")]),
    ];
    for (name, charge, rows) in table {
        for (quantity, expected) in rows {
            assert_eq!(amount(&charge, number(quantity)), Ok(number(expected)), "{name} of {quantity}");
        }
    }
}

#[test]
fn a_flat_fee_at_zero_is_an_option() {
    let without = Charge { flat_fee_at_zero: false, ..graduated("5 0 100; - 1 0") };
    assert_eq!(amount(&without, Decimal::ZERO), Ok(Decimal::ZERO));
    assert_eq!(amount(&without, number("1")), Ok(number("100")));
}

fn meter(scale: u32) -> Meter {
    Meter {
        id: MeterId::new("m").expect("a name"),
        tenant: None,
        event_type: "t".into(),
        fields: vec![],
        filter: None,
        value: None,
        aggregation: Aggregation::Sum,
        dimensions: vec![],
        groups_max: 1,
        window: WindowLength::Hour,
        unit: "u".into(),
        scale,
    }
}

const PERIOD: Span = Span { start: EventTime::MIN, end: EventTime::MAX };

fn usd() -> Currency {
    "USD".parse().expect("a currency")
}

fn at(micros: i64) -> EventTime {
    EventTime::from_micros(micros)
}

/// The lines that a history of cumulative quantities gives, in currency units.
fn lines(charge: &Charge, history: &[&str]) -> Vec<String> {
    let mut series = Series::new(PERIOD);
    let mut before = Decimal::ZERO;
    let mut lines = Vec::new();
    for total in history {
        let delta = number(total).sub(before).expect("fits");
        before = number(total);
        let usage = Aggregate::Sum(delta.to_scaled(3).expect("fits"));
        let step = series.step(&meter(3), usd(), at(0), Some(&usage), |_| Some(charge)).expect("fits");
        lines.push(step.amount.amount().to_string());
    }
    lines
}

#[test]
fn corrections_of_other_systems() {
    let capped = Charge { maximum: Some(number("100")), ..per_unit("10") };
    let table = [
        (
            "OpenMeter late, unit 10",
            per_unit("10"),
            &["5", "8", "5", "0"][..],
            &["50", "30", "-30", "-50"][..],
        ),
        ("OpenMeter rounding drift", per_unit("0.001"), &["333", "666"], &["0.33", "0.34"]),
        (
            "OpenMeter rounding drift, nothing",
            per_unit("0.001"),
            &["1", "2", "6", "0"],
            &["0", "0", "0.01", "-0.01"],
        ),
        ("OpenMeter graduated", graduated("5 1 0; 10 2 0; - 3 0"), &["7", "3"], &["9", "-6"]),
        ("OpenMeter volume repricing", volume("15 10 0; - 5 0"), &["15", "16"], &["150", "-70"]),
        ("OpenMeter maximum spend", capped, &["7", "12"], &["70", "30"]),
        ("OpenMeter package", package("10", "15", "0"), &["17", "22"], &["30", "15"]),
        ("OpenMeter dynamic, the price in the event", per_unit("1.33333"), &["10"], &["13.33"]),
        ("OpenMeter conversion as a package", package("1000", "10", "0"), &["1400", "2700"], &["20", "10"]),
    ];
    for (name, charge, history, expected) in table {
        assert_eq!(lines(&charge, history), expected, "{name}");
    }
}

#[test]
fn periods_are_priced_apart() {
    // OpenMeter: unit 10; period quantities seen as [3], then [3,5], then [4,6,9].
    let charge = per_unit("10");
    assert_eq!(lines(&charge, &["3", "4"]), ["30", "10"]);
    assert_eq!(lines(&charge, &["5", "6"]), ["50", "10"]);
    assert_eq!(lines(&charge, &["9"]), ["90"]);
}

#[test]
fn a_version_prices_what_happened_under_it_and_tiers_go_on() {
    let old = graduated("10 1 0; - 0.5 0");
    let new = graduated("10 2 0; - 1 0");
    let charge_of = |from: EventTime| Some(if from == at(0) { &old } else { &new });
    let mut series = Series::new(PERIOD);
    let mut step = |from, quantity: i128| {
        let usage = Aggregate::Sum(quantity);
        series.step(&meter(0), usd(), at(from), Some(&usage), charge_of).expect("fits").amount.amount()
    };
    assert_eq!(step(0, 8), number("8"));
    // Two more at 2, then two at 1.
    assert_eq!(step(100, 4), number("6"));
    // Late usage under the old version: 8 + 4 + 2, of which the old one prices 10 and the new one 4 above 10.
    assert_eq!(step(0, 2), number("0"));
}

#[test]
fn an_amount_beyond_128_bits_changes_nothing() {
    let mut series = Series::new(PERIOD);
    let charge = per_unit("12345.678901");
    let usage = Aggregate::Sum(10_i128.pow(33) + 1);
    let before = series.clone();
    assert!(series.step(&meter(18), usd(), at(0), Some(&usage), |_| Some(&charge)).is_err());
    assert_eq!(series, before);
}

proptest! {
    /// I-6: whatever the order and size of steps, the lines add up to the rounded price of the total.
    #[test]
    fn lines_add_up(
        kind in 0..4_usize,
        deltas in proptest::collection::vec(-50_000_i128..100_000, 1..30),
    ) {
        let charge = match kind {
            0 => per_unit("0.00123"),
            1 => graduated("10 0.1 5; 100.5 0.07 0; - 0.033 1"),
            2 => volume("10 0.1 5; 100.5 0.07 0; - 0.033 1"),
            _ => package("7.5", "0.333", "2"),
        };
        let mut series = Series::new(PERIOD);
        let (mut sum, mut unrounded, mut total) = (0_i128, Decimal::ZERO, 0_i128);
        for delta in deltas {
            total += delta;
            let usage = Aggregate::Sum(delta);
            let step = series.step(&meter(3), usd(), at(0), Some(&usage), |_| Some(&charge)).expect("fits");
            sum += step.amount.minor;
            unrounded = unrounded.add(step.amount_unrounded).expect("fits");
        }
        let price = amount(&charge, Decimal::new(total, 3)).expect("fits");
        prop_assert_eq!(sum, price.rounded(2).expect("fits"));
        prop_assert_eq!(unrounded, price);
    }

    /// Non-additive meters are priced on the period's own aggregate.
    #[test]
    fn a_maximum_is_the_periods_maximum(values in proptest::collection::vec(0_i128..1_000, 1..20)) {
        let meter = Meter { aggregation: Aggregation::Max, ..meter(0) };
        let charge = per_unit("1");
        let mut series = Series::new(PERIOD);
        let mut sum = 0;
        for value in &values {
            let usage = Aggregate::of(Aggregation::Max, *value, at(0), Identity(0)).expect("in bounds");
            sum += series.step(&meter, usd(), at(0), Some(&usage), |_| Some(&charge)).expect("fits").amount.minor;
        }
        prop_assert_eq!(sum, values.iter().max().expect("not empty") * 100);
    }
}
