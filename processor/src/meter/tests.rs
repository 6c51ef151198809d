//! Which meters can be planned and evaluated, and what each mistake says.

use tidemark_core::identity::DeploymentKey;
use tidemark_schemas::ids::{MeterId, TenantId};
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

/// The one mistake of a meter, or the paths that its plan wants.
fn said(meter: Meter) -> String {
    match plan_meters(&[meter]) {
        Ok(plans) => format!("wants {:?}", plans.types[0].paths),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

fn check_values(cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        let said = said(meter(Aggregation::Sum, Some(value), None));
        assert_eq!(said, format!("meter m, value: {expected}"), "{value}");
    }
}

fn check_filters(cases: &[(&str, &str)]) {
    for (filter, expected) in cases {
        let said = said(meter(Aggregation::Count, None, Some(filter)));
        assert_eq!(said, format!("meter m, filter: {expected}"), "{filter}");
    }
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

/// What the first meter makes of three events: all fields set, all missing, and all fields set otherwise.
fn measured(meter: Meter) -> Vec<String> {
    use crate::field_value::FieldValue::{Boolean, Missing, Number, Text};
    let plans = plan_meters(&[meter]).expect("a meter without mistakes");
    let plan = &plans.types[0];
    let value = |name: &str, row: u32| match (name, row) {
        (_, 1) => Missing,
        ("a", 0) => Number("2.25"),
        ("b", 0) => Number("2.5"),
        ("Name", 0) => Text("dé"),
        ("paid", row) => Boolean(row == 0),
        ("a" | "b", _) => Number("-1.5"),
        _ => Text(""),
    };
    let values: Vec<_> = (0..3)
        .flat_map(|row| plan.paths.iter().map(move |path| value(&path[1], row)).collect::<Vec<_>>())
        .collect();
    let rows = RowBatch { events: &[0, 1, 2], values: &values, slots: plan.paths.len() };
    let tenant = TenantId::new("t").expect("a name");
    let mut into = Measured::default();
    plan.measure(rows, &tenant, &DeploymentKey([7; 16]), &mut into);
    into.put_in_order();
    let found = into.measurements.iter().map(|found| (found.event, found.value.to_string()));
    let refused = into.refusals.iter().map(|refusal| (refusal.event, refusal.reason.clone()));
    let mut all: Vec<_> = found.chain(refused).collect();
    all.sort();
    all.into_iter().map(|(event, said)| format!("{event}: {said}")).collect()
}

#[test]
fn every_allowed_function_is_evaluated() {
    let absent = "1: the field ";
    // Hundredths of events 0 and 2; what is said of event 1, which has none of the fields.
    let cases = [
        ("round", "round(b, 0)", ["300", absent, "-200"]),
        ("abs", "abs(a)", ["225", absent, "150"]),
        ("ceil", "ceil(a)", ["300", absent, "-100"]),
        ("floor", "floor(a)", ["200", absent, "-200"]),
        ("coalesce", "coalesce(a, b, 0)", ["225", "1: 0", "-150"]),
        ("nullif", "coalesce(nullif(a, -1.5), 7)", ["225", "1: 700", "700"]),
        ("greatest", "greatest(a, b, 0)", ["250", "1: 0", "0"]),
        ("least", "least(a, b, 0)", ["0", "1: 0", "-150"]),
        ("character_length", "character_length(Name)", ["200", absent, "0"]),
        ("octet_length", "octet_length(Name)", ["300", absent, "0"]),
    ];
    assert_eq!(cases.map(|(name, ..)| name), rules::EXACT_FUNCTIONS);
    for (name, value, [first, without, last]) in cases {
        let said = measured(meter(Aggregation::Sum, Some(value), None));
        assert_eq!(
            (said[0].as_str(), said[2].as_str()),
            (&*format!("0: {first}"), &*format!("2: {last}")),
            "{value}"
        );
        assert!(said[1].starts_with(without), "{value}: {}", said[1]);
        assert!(value.contains(name), "{value}");
        let filter = format!("{value} < 4");
        let said = measured(meter(Aggregation::Count, None, Some(&filter)));
        assert_eq!(said.first().map(String::as_str), Some("0: 1"), "{filter}");
    }
}

#[test]
fn functions_of_texts_in_filters_are_evaluated() {
    for filter in [
        "coalesce(Name, 'x') <> 'x'",
        "nvl(Name, 'x') = 'dé'",
        "nvl2(Name, Name, 'x') = 'dé'",
        "lower(upper(trim(Name))) = 'dé'",
        "concat(Name, 'x') = 'déx'",
        "split_part(Name, 'é', 1) = 'd'",
        "starts_with(Name, 'd') AND contains(Name, 'é')",
        "regexp_like(Name, '^d')",
    ] {
        let said = measured(meter(Aggregation::Count, None, Some(filter)));
        assert_eq!(said.first().map(String::as_str), Some("0: 1"), "{filter}");
    }
}

#[test]
fn only_named_fields_are_wanted() {
    assert_eq!(said(meter(Aggregation::Sum, Some("a * b"), None)), r#"wants [["data", "a"], ["data", "b"]]"#);
    let mut both = meter(Aggregation::Sum, Some("a"), Some("paid"));
    both.dimensions = vec!["Name".into()];
    assert_eq!(said(both), r#"wants [["data", "paid"], ["data", "a"], ["data", "Name"]]"#);
}

#[test]
fn inexact_values_are_refused() {
    check_values(&[
        (
            "sqrt(a)",
            "`sqrt(CAST(a AS Float64))` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
        (
            "CAST(a AS DOUBLE)",
            "`CAST(a AS Float64)` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
        (
            "CAST(CAST(a AS DOUBLE) AS DECIMAL(10, 2))",
            "`CAST(a AS Float64)` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
        (
            "a / 3",
            "`a / 3` divides, and a quotient is cut to a fixed number of digits; multiply by the reciprocal (`* 0.001` for `/ 1000`), or let the rate card price a larger unit",
        ),
        (
            "CAST(b AS DECIMAL(38, 2))",
            "`CAST(b AS Decimal128(38, 2))` turns Decimal128(38, 10) into Decimal128(38, 2) and can lose digits in silence; declare the field as a decimal, or use round(x, n)",
        ),
        (
            "CAST(b AS BIGINT)",
            "`CAST(b AS Int64)` turns Decimal128(38, 10) into Int64 and can lose digits in silence; declare the field as a decimal, or use round(x, n)",
        ),
        (
            "CAST(Name AS DECIMAL(38, 2))",
            "`CAST(Name AS Decimal128(38, 2))` turns Utf8 into Decimal128(38, 2) and can lose digits in silence; declare the field as a decimal, or use round(x, n)",
        ),
        (
            "b * wide",
            "Error during planning: Cannot get result type for decimal operation Decimal128(38, 10) * Decimal128(38, 30): Invalid argument error: Output scale of Decimal128(38, 10) * Decimal128(38, 30) would exceed max scale of 38; the scales of factors add up, so declare smaller ones or round a factor first",
        ),
        (
            "power(a, 2)",
            "`power(CAST(a AS Float64), CAST(Int64(2) AS Float64))` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
        (
            "character_length(Name) + character_length(Name)",
            "`character_length(Name) + character_length(Name)` is not decimal arithmetic; declare its fields as decimals",
        ),
    ]);
}

#[test]
fn what_is_no_value_is_refused() {
    check_values(&[
        ("a +", r#"SQL error: ParserError("Expected: an expression, found: EOF")"#),
        ("c", r#"Schema error: No field named c. Valid fields are a, b, wide, "Name", paid."#),
        (
            "name",
            r#"Schema error: No field named name. Did you mean '"Name"'? Valid fields are a, b, wide, "Name", paid."#,
        ),
        ("Name", "it gives Utf8; a quantity is a decimal"),
        ("paid", "it gives Boolean; a quantity is a decimal"),
        ("NULL", "it gives Null; a quantity is a decimal"),
        (
            "a * random()",
            "`CAST(a AS Float64) * random()` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
        ("sum(a)", "`sum(a)` looks beyond the one event; a meter's expression sees only its fields"),
        (
            "(SELECT 1)",
            "`(<subquery>)` looks beyond the one event; a meter's expression sees only its fields",
        ),
        (
            "a; DROP TABLE b",
            r#"SQL error: ParserError("Expected: end of expression, found: ; at Line: 1, Column: 2")"#,
        ),
    ]);
    let without = said(meter(Aggregation::Sum, None, None));
    assert_eq!(without, "meter m, value: a meter with aggregation sum needs a value");
    let counted = said(meter(Aggregation::Count, Some("a"), None));
    assert!(counted.starts_with("meter m, value: a count takes no value"), "{counted}");
}

#[test]
fn what_is_no_filter_is_refused() {
    check_filters(&[
        ("a", "it gives Decimal128(38, 2); a filter is true or false"),
        (
            "a > '5'",
            r#"`CAST(Utf8("5") AS Decimal128(38, 2))` turns Utf8 into Decimal128(38, 2) and can lose digits in silence; declare the field as a decimal, or use round(x, n)"#,
        ),
        (
            "Name > 5",
            "`CAST(Name AS Int64)` turns Utf8 into Int64 and can lose digits in silence; declare the field as a decimal, or use round(x, n)",
        ),
        (
            "paid = 'true'",
            "Error during planning: Cannot infer common argument type for comparison operation Boolean = Utf8",
        ),
        (
            "a > sqrt(b)",
            "`sqrt(CAST(b AS Float64))` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
        (
            "random() > 0.5",
            "`random()` is a binary floating-point number, which cannot hold most decimal fractions exactly; use decimal fields, literals and functions",
        ),
    ]);
}

#[test]
fn other_parts_are_checked() {
    let valid = || meter(Aggregation::Sum, Some("a"), None);
    let with_fields = |fields| Meter { fields, ..valid() };
    for (meter, expected) in [
        (Meter { scale: 19, ..valid() }, "scale: 19 fractional digits; at most 18 are kept"),
        (
            Meter { dimensions: vec!["region".into()], ..valid() },
            "dimensions: `region` is not among the meter's fields",
        ),
        (
            with_fields(vec![field("a", FieldKind::Text), field("a", FieldKind::Text)]),
            "fields: the field `a` is declared twice",
        ),
        (
            with_fields(vec![field("a", FieldKind::Decimal { scale: 39 })]),
            "fields: the field `a` has 39 fractional digits; at most 38 can be kept",
        ),
        (
            with_fields(vec![Field { path: Vec::new(), ..field("a", FieldKind::Text) }]),
            "fields: the field `a` has no path",
        ),
    ] {
        assert_eq!(said(meter), format!("meter m, {expected}"));
    }
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
