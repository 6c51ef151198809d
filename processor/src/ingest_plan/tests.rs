//! From a record's bytes to measurements, told event by event.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidemark_core::batch::Measurement;
use tidemark_schemas::Decimal;
use tidemark_schemas::catalog::{CatalogVersion, Timing};
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::limits::DIMENSION_BYTES_MAX;
use tidemark_schemas::meter::{Aggregation, Field, FieldKind, Meter, WindowLength};

use super::*;
use crate::decode::joined;

const DECIMAL: FieldKind = FieldKind::Decimal { scale: 4 };

fn meter(aggregation: Aggregation, value: Option<&str>) -> Meter {
    Meter {
        id: MeterId::new("m").expect("a name"),
        tenant: None,
        event_type: "api.request".into(),
        fields: vec![
            field("n", DECIMAL),
            field("m", DECIMAL),
            field("name", FieldKind::Text),
            field("region", FieldKind::Text),
            field("paid", FieldKind::Boolean),
        ],
        filter: None,
        value: value.map(str::to_owned),
        aggregation,
        dimensions: Vec::new(),
        groups_max: 10,
        window: WindowLength::Hour,
        unit: "call".into(),
        scale: 2,
    }
}

fn sum(value: &str) -> Meter {
    meter(Aggregation::Sum, Some(value))
}

fn filtered(filter: &str, meter: Meter) -> Meter {
    Meter { filter: Some(filter.into()), ..meter }
}

fn by(dimensions: &[&str], meter: Meter) -> Meter {
    Meter { dimensions: dimensions.iter().map(|&name| name.to_owned()).collect(), ..meter }
}

fn field(name: &str, kind: FieldKind) -> Field {
    Field { name: name.into(), path: vec!["data".into(), name.into()], kind }
}

fn plan(meters: Vec<Meter>) -> IngestPlan {
    let catalog = Catalog {
        version: CatalogVersion("test".into()),
        timing: Timing::default(),
        meters,
        customers: Vec::new(),
        subscriptions: Vec::new(),
        rate_cards: Vec::new(),
        legal_entities: Vec::new(),
        posting_rules: Vec::new(),
    };
    IngestPlan::new(&catalog, DeploymentKey([7; 16])).expect("meters without mistakes")
}

fn event(data: &str) -> String {
    event_of("api.request", data)
}

fn event_of(event_type: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"e","source":"/api","type":"{event_type}","subject":"acme","time":"2026-01-31T13:45:00Z","data":{data}}}"#
    )
}

fn decoded(plan: &IngestPlan, records: &[String]) -> EventBlock {
    let tenant = TenantId::new("acme").expect("a name");
    let records = (1..).zip(records.iter().map(String::as_bytes));
    let (text, records) = joined(records);
    plan.decode(&tenant, "test", ReceiveTime::from_micros(0), text, &records)
}

/// One line per measurement (`event meter [dimensions] value`) and per refusal, in order.
fn shown(block: &EventBlock) -> String {
    let measured = block.measurements.iter().map(|found| {
        let Measurement { event, meter, dimensions, value } = *found;
        (event, meter, format!("{event} m{meter} {:?} {value}", block.dimension_values[dimensions as usize]))
    });
    let refused = block.refusals.iter().map(|refusal| {
        (
            refusal.event,
            refusal.meter,
            format!("{} m{} refused: {}", refusal.event, refusal.meter, refusal.reason),
        )
    });
    let mut lines: Vec<_> = measured.chain(refused).collect();
    lines.sort();
    lines.into_iter().map(|(_, _, line)| line + "\n").collect()
}

fn check(meters: Vec<Meter>, data: &[&str], expected: Expect) {
    let records: Vec<String> = data.iter().map(|data| event(data)).collect();
    let block = decoded(&plan(meters), &records);
    assert_eq!(block.rejections, []);
    expected.assert_eq(&shown(&block));
}

#[test]
fn a_field_is_counted_in_the_meters_scale() {
    check(
        vec![sum("n")],
        &[r#"{"n":5}"#, r#"{"n":-0.25}"#, r#"{"n":"12.50"}"#, r#"{"n":1.2e1}"#, r#"{"n":0.2500}"#],
        expect![[r#"
            0 m0 [] 500
            1 m0 [] -25
            2 m0 [] 1250
            3 m0 [] 1200
            4 m0 [] 25
        "#]],
    );
}

#[test]
fn what_a_field_cannot_take_is_refused_by_name() {
    check(
        vec![sum("n")],
        &[
            "{}",
            "null",
            "7",
            r#"{"n":null}"#,
            r#"{"n":"NaN"}"#,
            r#"{"n":true}"#,
            r#"{"n":[1]}"#,
            r#"{"n":0.005}"#,
            r#"{"n":0.00005}"#,
            r#"{"n":1e40}"#,
            r#"{"n":1e33}"#,
        ],
        expect![[r#"
            0 m0 refused: the field `n` at $.data.n cannot be taken: it is missing; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            1 m0 refused: the field `n` at $.data.n cannot be taken: it is missing; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            2 m0 refused: the field `n` at $.data.n cannot be taken: it is missing; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            3 m0 refused: the field `n` at $.data.n cannot be taken: it is null; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            4 m0 refused: the field `n` at $.data.n cannot be taken: `NaN` is not a decimal number; write digits with an optional sign, point and exponent; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            5 m0 refused: the field `n` at $.data.n cannot be taken: it is the boolean true; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            6 m0 refused: the field `n` at $.data.n cannot be taken: it is an object or an array; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            7 m0 refused: the field `n` at $.data.n is 0.005, more than the 2 fractional digits of the meter's scale; use round(x, 2) or widen the scale
            8 m0 refused: the field `n` at $.data.n cannot be taken: 0.00005 has more than 4 fractional digits, the scale declared for it; widen the scale or send fewer digits; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            9 m0 refused: the field `n` at $.data.n cannot be taken: the number is too large to be kept exactly in 128 bits; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            10 m0 [] 100000000000000000000000000000000000
        "#]],
    );
}

#[test]
fn an_expression_refuses_like_a_field() {
    check(
        vec![sum("n + m")],
        &[
            r#"{"n":1,"m":0.5}"#,
            r#"{"n":1}"#,
            r#"{"n":null,"m":1}"#,
            r#"{"n":"x","m":1}"#,
            r#"{"n":{},"m":[]}"#,
            r#"{"n":0.001,"m":0.001}"#,
        ],
        expect![[r#"
            0 m0 [] 150
            1 m0 refused: the field `m` at $.data.m cannot be taken: it is missing; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            2 m0 refused: the field `n` at $.data.n cannot be taken: it is null; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            3 m0 refused: the field `n` at $.data.n cannot be taken: `x` is not a decimal number; write digits with an optional sign, point and exponent; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            4 m0 refused: the field `n` at $.data.n cannot be taken: it is an object or an array; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            5 m0 refused: the value is 0.002, more than the 2 fractional digits of the meter's scale; use round(x, 2) or widen the scale
        "#]],
    );
}

#[test]
fn an_overflow_costs_one_row() {
    check(
        vec![sum("n * m")],
        &[r#"{"n":2,"m":3}"#, r#"{"n":1e30,"m":1e30}"#, r#"{"n":4,"m":0.5}"#],
        expect![[r#"
            0 m0 [] 600
            1 m0 refused: the value cannot be evaluated: Arrow error: Arithmetic overflow: Overflow happened on: 10000000000000000000000000000000000 * 10000000000000000000000000000000000
            2 m0 [] 200
        "#]],
    );
    check(
        vec![sum("n % m")],
        &[r#"{"n":7,"m":0}"#, r#"{"n":7,"m":4}"#],
        expect![[r#"
        0 m0 refused: the value cannot be evaluated: Arrow error: Divide by zero error
        1 m0 [] 300
    "#]],
    );
}

#[test]
fn rounding_is_exact_and_half_away_from_zero() {
    check(
        vec![sum("round(n, 2)"), Meter { scale: 0, ..sum("round(n)") }],
        &[r#"{"n":10.275}"#, r#"{"n":-10.275}"#, r#"{"n":0.0049}"#, r#"{"n":1000.5}"#, r#"{"n":-0.5}"#],
        expect![[r#"
            0 m0 [] 1028
            0 m1 [] 10
            1 m0 [] -1028
            1 m1 [] -10
            2 m0 [] 0
            2 m1 [] 0
            3 m0 [] 100050
            3 m1 [] 1001
            4 m0 [] -50
            4 m1 [] -1
        "#]],
    );
}

/// Quantity times unit price, rounded to ten digits.
fn focus_list_cost() -> IngestPlan {
    let eighteen = FieldKind::Decimal { scale: 18 };
    plan(vec![Meter {
        fields: vec![field("quantity", eighteen), field("price", eighteen)],
        scale: 10,
        ..sum("round(quantity * price, 10)")
    }])
}

fn check_list_costs(rows: &[(String, String, String)]) {
    let records: Vec<String> = rows
        .iter()
        .map(|(quantity, price, _)| event(&format!(r#"{{"quantity":{quantity:?},"price":{price:?}}}"#)))
        .collect();
    let block = decoded(&focus_list_cost(), &records);
    assert_eq!(block.refusals, []);
    for (row, found) in rows.iter().zip(&block.measurements) {
        let cost: Decimal = row.2.parse().expect("the bill's cost is a number");
        assert_eq!(Decimal::new(found.value, 10), cost, "{row:?}");
    }
}

/// Rows of real bills in the FOCUS 1.0 sample (FinOps Foundation, CC BY 4.0): quantity, list unit price, list cost. All but
/// the first two are exact ties, which banker's rounding and binary floats get wrong.
#[test]
fn costs_of_real_bills_are_reproduced() {
    let rows = [
        ("2.00000000000", "0.0000004", "0.00000080000"),
        ("0.00200749000", "0.008", "0.00001605990"),
        ("0.00008874290", "0.5", "0.00004437150"),
        ("9.2010E-7", "0.5", "0.00000046010"),
        ("0.00196940100", "0.05", "0.00009847010"),
        ("0.48632812500", "0.05", "0.02431640630"),
        ("0.00000523500", "0.03", "0.00000015710"),
    ];
    check_list_costs(&rows.map(|(quantity, price, cost)| (quantity.into(), price.into(), cost.into())));
}

#[test]
fn costs_of_the_whole_sample_are_reproduced() {
    let Some(folder) = std::env::var_os("TIDEMARK_DATA").map(std::path::PathBuf::from) else {
        eprintln!(
            "SKIPPED: the FOCUS 1.0 sample needs TIDEMARK_DATA to name the folder with the public data"
        );
        return;
    };
    let mut file =
        csv::Reader::from_path(folder.join("focus-1.0/oracle/rating_rows.csv")).expect("the sample");
    let rows: Vec<_> = file
        .records()
        .map(|row| row.expect("a row"))
        .filter(|row| &row[1] == "AWS" && &row[6] == "round_half_up(q*p,10)")
        .map(|row| (row[2].to_owned(), row[3].to_owned(), row[4].to_owned()))
        .collect();
    assert_eq!(rows.len(), 941, "the priced rows of AWS");
    check_list_costs(&rows);
}

#[test]
fn a_filter_that_is_not_true_feeds_nothing() {
    check(
        vec![filtered("paid AND region = 'eu'", sum("n"))],
        &[
            r#"{"paid":true,"region":"eu","n":1}"#,
            r#"{"paid":false,"region":"eu","n":1}"#,
            r#"{"paid":true,"n":1}"#,
            r#"{"paid":null,"region":"eu","n":1}"#,
            r#"{"paid":false,"n":"not looked at"}"#,
            r#"{"paid":"yes","region":"eu","n":1}"#,
            r#"{"paid":true,"region":{},"n":1}"#,
        ],
        expect![[r#"
            0 m0 [] 100
            5 m0 refused: the field `paid` at $.data.paid cannot be taken: it is `yes`; allowed is true or false
            6 m0 refused: the field `region` at $.data.region cannot be taken: it is an object or an array; allowed is a string, a number or a boolean
        "#]],
    );
    // Null, although the comparison with the absent value's place holder would be true.
    check(
        vec![filtered("region <> 'eu'", meter(Aggregation::Count, None))],
        &["{}", r#"{"region":null}"#, r#"{"region":"us"}"#, r#"{"region":"eu"}"#],
        expect![[r#"
            2 m0 [] 1
        "#]],
    );
    check(
        vec![filtered("7 % n > 0", meter(Aggregation::Count, None))],
        &[r#"{"n":0}"#, r#"{"n":4}"#, r#"{"n":7}"#],
        expect![[r#"
            0 m0 refused: the filter cannot be evaluated: Arrow error: Divide by zero error
            1 m0 [] 1
        "#]],
    );
}

#[test]
fn a_unique_counts_members_are_values_as_declared() {
    let plan =
        plan(vec![meter(Aggregation::UniqueCount, Some("name")), meter(Aggregation::UniqueCount, Some("n"))]);
    let data = [
        r#"{"name":1,"n":1}"#,
        r#"{"name":"a","n":"1.00"}"#,
        r#"{"name":null,"n":10e-1}"#,
        r#"{"name":"1","n":10}"#,
        r#"{"name":1.0,"n":0}"#,
        r#"{"name":true,"n":-0.0}"#,
    ];
    let block = decoded(&plan, &data.map(event));
    let members = |meter: u16| {
        let found = block.measurements.iter().filter(|found| found.meter == meter);
        let mut kinds: Vec<i128> = Vec::new();
        found
            .map(|found| {
                let known = kinds.iter().position(|kind| *kind == found.value);
                known.unwrap_or_else(|| {
                    kinds.push(found.value);
                    kinds.len() - 1
                })
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(members(0), [0, 1, 0, 0, 2], "1, a, 1, 1, true; null is refused");
    assert_eq!(members(1), [0, 0, 0, 1, 2, 2]);
    assert_eq!((block.refusals.len(), block.refusals[0].event), (1, 2));
}

#[test]
fn dimensions_are_text_and_absent_is_empty() {
    let long = format!(r#"{{"n":1,"region":"{}"}}"#, "x".repeat(DIMENSION_BYTES_MAX + 1));
    check(
        vec![by(&["region", "n"], sum("n"))],
        &[
            r#"{"n":1,"region":"eu"}"#,
            r#"{"n":"1.0","region":"eu"}"#,
            r#"{"n":1}"#,
            r#"{"n":1,"region":null}"#,
            r#"{"n":1,"region":7.50}"#,
            r#"{"n":1,"region":true}"#,
            r#"{"n":1,"region":["eu"]}"#,
            &long,
        ],
        expect![[r#"
            0 m0 ["eu", "1"] 100
            1 m0 ["eu", "1"] 100
            2 m0 ["", "1"] 100
            3 m0 ["", "1"] 100
            4 m0 ["7.5", "1"] 100
            5 m0 ["true", "1"] 100
            6 m0 refused: the field `region` at $.data.region cannot be taken: it is an object or an array; allowed is a string, a number or a boolean
            7 m0 refused: the dimension `region` at $.data.region has 257 bytes; at most 256 are allowed
        "#]],
    );
}

#[test]
fn meters_stand_alone_and_keep_their_order() {
    let mut elsewhere = sum("n");
    elsewhere.tenant = Some(TenantId::new("other").expect("a name"));
    let mut here = sum("n");
    here.tenant = Some(TenantId::new("acme").expect("a name"));
    check(
        vec![meter(Aggregation::Count, None), elsewhere, sum("m"), here],
        &[r#"{"n":1,"m":"x"}"#, r#"{"m":2}"#],
        expect![[r#"
            0 m0 [] 1
            0 m2 refused: the field `m` at $.data.m cannot be taken: `x` is not a decimal number; write digits with an optional sign, point and exponent; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
            0 m3 [] 100
            1 m0 [] 1
            1 m2 [] 200
            1 m3 refused: the field `n` at $.data.n cannot be taken: it is missing; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
        "#]],
    );
}

#[test]
fn types_are_kept_apart_and_unknown_ones_feed_nothing() {
    let plan = plan(vec![sum("n"), Meter { event_type: "other".into(), ..sum("m") }]);
    let records = [
        event_of("other", r#"{"m":2}"#),
        event_of("new", r#"{"n":1}"#),
        event(r#"{"n":3}"#),
        event_of("other", "{}"),
    ];
    let block = decoded(&plan, &records);
    assert_eq!(block.len(), 4);
    expect![[r#"
        0 m1 [] 200
        2 m0 [] 300
        3 m1 refused: the field `m` at $.data.m cannot be taken: it is missing; allowed is a number, or a string with one, with at most 4 fractional digits and 38 digits in all
    "#]].assert_eq(&shown(&block));
}

#[test]
fn attributes_can_be_fields() {
    let mut of_attributes = by(&["who", "tier"], sum("n"));
    of_attributes.fields = vec![
        field("n", DECIMAL),
        Field { name: "who".into(), path: vec!["subject".into()], kind: FieldKind::Text },
        Field { name: "tier".into(), path: vec!["tier".into()], kind: FieldKind::Text },
    ];
    let record = event(r#"{"n":1},"tier":"gold""#);
    expect![[r#"
        0 m0 ["acme", "gold"] 100
    "#]]
    .assert_eq(&shown(&decoded(&plan(vec![of_attributes]), &[record])));
}

#[test]
fn a_constant_needs_no_field() {
    check(
        vec![sum("2.5")],
        &["{}", "null"],
        expect![[r#"
        0 m0 [] 250
        1 m0 [] 250
    "#]],
    );
}

#[test]
fn more_rows_than_one_arrow_batch() {
    let plan = plan(vec![by(&["region"], sum("n * m")), meter(Aggregation::Count, None)]);
    let data = |index: u64| match index {
        9_000 => event(r#"{"n":1e30,"m":1e30,"region":"r0"}"#),
        _ => event(&format!(r#"{{"n":{index},"m":2,"region":"r{}"}}"#, index % 3)),
    };
    let records: Vec<String> = (0..20_000).map(data).collect();
    let block = decoded(&plan, &records);
    assert_eq!(block.dimension_values.len(), 4);
    assert_eq!((block.refusals.len(), block.refusals[0].event), (1, 9_000));
    assert_eq!(block.measurements.len(), 39_999);
    assert!(block.measurements.is_sorted_by_key(|found| (found.event, found.meter)));
    let total: i128 =
        block.measurements.iter().filter(|found| found.meter == 0).map(|found| found.value).sum();
    assert_eq!(total, (20_000 * 19_999 / 2 - 9_000) * 200);
}

#[test]
fn a_plan_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&plan(vec![sum("n * m")]));
}

proptest! {
    #[test]
    fn a_block_does_not_depend_on_its_neighbours(values in proptest::collection::vec(-1_000_000_i64..1_000_000, 1..40), cut in any::<prop::sample::Index>()) {
        let plan = plan(vec![filtered("n > 0", by(&["region"], sum("round(n * m, 2)"))), sum("n")]);
        let records: Vec<String> = values
            .iter()
            .map(|n| event(&format!(r#"{{"n":{n}e-4,"m":0.{},"region":"{}"}}"#, n.unsigned_abs() % 10, n % 3)))
            .collect();
        let told = |block: &EventBlock, first: u32| -> Vec<_> {
            let dimensions = |found: &Measurement| block.dimension_values[found.dimensions as usize].clone();
            let measured = block.measurements.iter().map(|found| (found.event + first, found.meter, dimensions(found), found.value));
            measured.collect()
        };
        let cut = cut.index(records.len());
        let (left, right) = (decoded(&plan, &records[..cut]), decoded(&plan, &records[cut..]));
        let mut parts = told(&left, 0);
        parts.extend(told(&right, cut as u32));
        prop_assert_eq!(parts, told(&decoded(&plan, &records), 0));
    }
}
