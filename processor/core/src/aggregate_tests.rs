//! Each aggregation on the figures of other systems, and order independence.

use super::*;
use proptest::prelude::*;
use tidemark_schemas::ids::MeterId;
use tidemark_schemas::meter::WindowLength;

fn meter(aggregation: Aggregation, scale: u32) -> Meter {
    Meter {
        id: MeterId::new("m").expect("a name"),
        tenant: None,
        event_type: "t".into(),
        fields: vec![],
        filter: None,
        value: None,
        aggregation,
        dimensions: vec![],
        groups_max: 1,
        window: WindowLength::Hour,
        unit: "u".into(),
        scale,
    }
}

/// Values in order of event time.
fn aggregate(aggregation: Aggregation, scale: u32, values: &[&str]) -> String {
    let mut state = None;
    for (at, value) in values.iter().enumerate() {
        let units = value.parse::<Decimal>().expect("a number").to_scaled(scale).expect("fits");
        let time = EventTime::from_micros(at as i64);
        let one = Aggregate::of(aggregation, units, time, Identity(at as u128)).expect("in bounds");
        merge_into(&mut state, &one).expect("fits");
    }
    state.expect("values").quantity(&meter(aggregation, scale)).expect("fits").to_string()
}

#[test]
fn figures_of_other_systems() {
    // OpenMeter: values 123 and "0.4567890123456789".
    let values = ["123", "0.4567890123456789"];
    for (aggregation, expected) in [
        (Aggregation::Sum, "123.4567890123456789"),
        (Aggregation::Min, "0.4567890123456789"),
        (Aggregation::Max, "123"),
        (Aggregation::Latest, "0.4567890123456789"),
        (Aggregation::Count, "2"),
        (Aggregation::UniqueCount, "2"),
    ] {
        assert_eq!(aggregate(aggregation, 16, &values), expected, "{aggregation}");
    }
    // Polar: an average of 10, 10, 10 and 50 is 20.
    assert_eq!(aggregate(Aggregation::Average, 0, &["10", "10", "10", "50"]), "20");
    assert_eq!(aggregate(Aggregation::Average, 0, &["1", "1", "0"]), "0.666667");
    // Polar: a, b, c then b, c, d are four.
    assert_eq!(aggregate(Aggregation::UniqueCount, 0, &["1", "2", "3", "2", "3", "4"]), "4");
}

#[test]
fn bounds_are_refused_by_name() {
    let zero = EventTime::from_micros(0);
    let of = |value| Aggregate::of(Aggregation::Sum, value, zero, Identity(0));
    assert_eq!(of(VALUE_UNITS_MAX + 1), Err(AggregateError::ValueTooLarge));
    assert_eq!(of(i128::MIN), Err(AggregateError::ValueTooLarge));
    let full = Aggregate::Sum(WINDOW_UNITS_MAX);
    let half = Aggregate::Sum(WINDOW_UNITS_MAX / 2);
    for (parts, value, expected) in [
        ([Some(&full), None], 1, Err(AggregateError::SumTooLarge)),
        ([Some(&full), None], -1, Ok(())),
        ([None, None], 1, Ok(())),
        ([Some(&half), Some(&half)], 0, Ok(())),
        ([Some(&half), Some(&half)], 1, Err(AggregateError::SumTooLarge)),
    ] {
        assert_eq!(Aggregate::check_room(parts, &Aggregate::Sum(value)), expected, "{parts:?} and {value}");
    }
    let members = |from: usize, to: usize| Aggregate::Unique((from as u128..to as u128).collect());
    let (full, half) = (members(0, UNIQUE_VALUES_MAX), members(0, UNIQUE_VALUES_MAX / 2));
    let other_half = members(UNIQUE_VALUES_MAX / 2, UNIQUE_VALUES_MAX);
    let room = |parts, member| Aggregate::check_room(parts, &members(member, member + 1));
    assert_eq!(room([Some(&full), None], 5), Ok(()));
    assert_eq!(room([Some(&half), None], UNIQUE_VALUES_MAX), Ok(()));
    for parts in [[Some(&full), None], [Some(&half), Some(&other_half)]] {
        assert_eq!(room(parts, UNIQUE_VALUES_MAX), Err(AggregateError::TooManyMembers));
        assert_eq!(room(parts, UNIQUE_VALUES_MAX - 1), Ok(()));
    }
}

#[test]
fn a_member_is_in_one_part_of_a_window() {
    let unique = |members: &[u128]| Aggregate::Unique(members.iter().copied().collect());
    assert_eq!(unique(&[7]).beyond(&unique(&[7, 8])), unique(&[]));
    assert_eq!(unique(&[9]).beyond(&unique(&[7, 8])), unique(&[9]));
    assert_eq!(Aggregate::Sum(7).beyond(&Aggregate::Sum(7)), Aggregate::Sum(7));
}

proptest! {
    #[test]
    fn order_and_grouping_do_not_show(
        aggregation in proptest::sample::select(&Aggregation::ALL[..]),
        values in proptest::collection::vec((-1_000_i128..1_000, 0_i64..5, any::<u128>()), 1..20),
        split in 0_usize..20,
    ) {
        let one = |(value, time, identity): &(i128, i64, u128)| {
            Aggregate::of(aggregation, *value, EventTime::from_micros(*time), Identity(*identity)).expect("in bounds")
        };
        let mut forward = None;
        for value in &values {
            merge_into(&mut forward, &one(value)).expect("fits");
        }
        let split = split.min(values.len());
        let (mut left, mut right) = (None, None);
        for value in values[split..].iter().rev() {
            merge_into(&mut left, &one(value)).expect("fits");
        }
        for value in values[..split].iter().rev() {
            merge_into(&mut right, &one(value)).expect("fits");
        }
        if let Some(right) = &right {
            merge_into(&mut left, right).expect("fits");
        }
        prop_assert_eq!(forward, left);
    }
}
