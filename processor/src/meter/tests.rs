//! Which meters can be planned, and what each mistake says.

use expect_test::{Expect, expect};
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::meter::{Aggregation, Field, FieldKind, Meter, WindowLength};

use super::*;

fn field(name: &str, kind: FieldKind) -> Field {
    Field { name: name.into(), path: vec!["data".into(), name.into()], kind }
}

/// Fields `a` and `b` with 2 and 10 fractional digits, `wide` with 30, `Name`, `paid`.
fn meter(aggregation: Aggregation, value: Option<&str>, filter: Option<&str>) -> Meter {
    Meter {
        id: MeterId::new("m").expect("a name"),
        tenant: None,
        event_type: "t".into(),
        fields: vec![
            field("a", FieldKind::Decimal { scale: 2 }),
            field("b", FieldKind::Decimal { scale: 10 }),
            field("wide", FieldKind::Decimal { scale: 30 }),
            field("Name", FieldKind::Text),
            field("paid", FieldKind::Boolean),
        ],
        filter: filter.map(str::to_owned),
        value: value.map(str::to_owned),
        aggregation,
        dimensions: Vec::new(),
        groups_max: 10,
        window: WindowLength::Hour,
        unit: "call".into(),
        scale: 2,
    }
}

fn check(meter: Meter, expected: Expect) {
    let said = match plan_meters(&[meter]) {
        Ok(plans) => format!("planned: {:?}", plans.types[0].paths),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    expected.assert_eq(&said);
}

fn check_value(value: &str, expected: Expect) {
    check(meter(Aggregation::Sum, Some(value), None), expected);
}

fn check_filter(filter: &str, expected: Expect) {
    check(meter(Aggregation::Count, None, Some(filter)), expected);
}

#[test]
fn exact_expressions_are_planned() {
    for value in [
        "a",
        "a * 2",
        "a * b",
        "round(a * b, 2)",
        "-a + 0.5",
        "a % 3",
        "abs(a)",
        "coalesce(a, 0)",
        "CASE WHEN paid THEN a ELSE 0 END",
        "CASE WHEN \"Name\" LIKE 'x%' THEN 1 ELSE 2 END",
        "greatest(a, b)",
        "a * 1e-3",
        "CAST(a AS DECIMAL(38, 4))",
        "1",
        "a * CAST(character_length(Name) AS DECIMAL(20, 0))",
    ] {
        let planned = plan_meters(&[meter(Aggregation::Sum, Some(value), None)]);
        assert!(planned.is_ok(), "{value}: {planned:?}");
    }
    for filter in
        ["paid", "a > 1 AND Name IN ('x', 'y')", "lower(Name) = 'x'", "a IS NULL", "b BETWEEN 1 AND 2.5"]
    {
        let planned = plan_meters(&[meter(Aggregation::Count, None, Some(filter))]);
        assert!(planned.is_ok(), "{filter}: {planned:?}");
    }
}

#[test]
fn only_named_fields_are_wanted() {
    check_value("a * b", expect![]);
    let mut both = meter(Aggregation::Sum, Some("a"), Some("paid"));
    both.dimensions = vec!["Name".into()];
    check(both, expect![]);
}

#[test]
fn inexact_values_are_refused() {
    check_value("sqrt(a)", expect![]);
    check_value("CAST(a AS DOUBLE)", expect![]);
    check_value("CAST(CAST(a AS DOUBLE) AS DECIMAL(10, 2))", expect![]);
    check_value("a / 3", expect![]);
    check_value("CAST(b AS DECIMAL(38, 2))", expect![]);
    check_value("CAST(b AS BIGINT)", expect![]);
    check_value("CAST(\"Name\" AS DECIMAL(38, 2))", expect![]);
    check_value("b * wide", expect![]);
    check_value("power(a, 2)", expect![]);
    check_value("character_length(Name) + character_length(Name)", expect![]);
}

#[test]
fn what_is_no_value_is_refused() {
    check_value("a +", expect![]);
    check_value("c", expect![]);
    check_value("name", expect![]);
    check_value("Name", expect![]);
    check_value("paid", expect![]);
    check_value("NULL", expect![]);
    check_value("a * random()", expect![]);
    check_value("sum(a)", expect![]);
    check_value("(SELECT 1)", expect![]);
    check_value("a; DROP TABLE b", expect![]);
    check(meter(Aggregation::Sum, None, None), expect![]);
    check(meter(Aggregation::Count, Some("a"), None), expect![]);
}

#[test]
fn what_is_no_filter_is_refused() {
    check_filter("a", expect![]);
    check_filter("a > sqrt(b)", expect![]);
    check_filter("random() > 0.5", expect![]);
}

#[test]
fn other_parts_are_checked() {
    let valid = || meter(Aggregation::Sum, Some("a"), None);
    check(Meter { scale: 19, ..valid() }, expect![]);
    check(Meter { dimensions: vec!["region".into()], ..valid() }, expect![]);
    check(
        Meter { fields: vec![field("a", FieldKind::Text), field("a", FieldKind::Text)], ..valid() },
        expect![],
    );
    check(Meter { fields: vec![field("a", FieldKind::Decimal { scale: 39 })], ..valid() }, expect![]);
    check(
        Meter { fields: vec![Field { path: Vec::new(), ..field("a", FieldKind::Text) }], ..valid() },
        expect![],
    );
}

#[test]
fn a_unique_count_takes_any_type() {
    for value in ["Name", "a", "paid", "lower(Name)"] {
        let planned = plan_meters(&[meter(Aggregation::UniqueCount, Some(value), None)]);
        assert!(planned.is_ok(), "{value}: {planned:?}");
    }
}

#[test]
fn every_mistake_is_reported() {
    let wrong = [meter(Aggregation::Sum, Some("c"), None), meter(Aggregation::Count, None, Some("a"))];
    assert_eq!(plan_meters(&wrong).expect_err("two mistakes").len(), 2);
}
