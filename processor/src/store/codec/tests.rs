//! Round trips, order of keys, golden rows, and that damaged bytes are an error and never a panic.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidemark_core::aggregate::Aggregate;
use tidemark_core::identity::Identity;
use tidemark_core::rate::Series;
use tidemark_core::state::{
    Counts, Group, GroupId, OpenPosting, PostingId, Progress, SeriesId, Task, Timer, Window, WindowKey,
};
use tidemark_schemas::Decimal;
use tidemark_schemas::ids::{
    AccountCode, CustomerId, LegalEntityId, MeterId, PostingRuleId, SubscriptionId, TenantId,
};
use tidemark_schemas::legal_entity::AccountingPeriod;
use tidemark_schemas::posting::{Balanced, LineKey, PostingGroup};
use tidemark_schemas::summary::{Evidence, Span};
use tidemark_schemas::time::EventTime;

fn time() -> impl Strategy<Value = EventTime> {
    any::<i64>().prop_map(EventTime::from_micros)
}

fn span() -> impl Strategy<Value = Span> {
    (time(), time()).prop_map(|(start, end)| Span { start, end })
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (any::<i128>(), 0..=36_u32).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale))
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    prop_oneof![
        any::<u64>().prop_map(Aggregate::Count),
        any::<i128>().prop_map(Aggregate::Sum),
        any::<i128>().prop_map(Aggregate::Min),
        any::<i128>().prop_map(Aggregate::Max),
        (any::<i128>(), any::<u64>()).prop_map(|(sum, count)| Aggregate::Average { sum, count }),
        (time(), any::<u128>(), any::<i128>()).prop_map(|(time, id, value)| Aggregate::Latest {
            time,
            identity: Identity(id),
            value
        }),
        proptest::collection::btree_set(any::<u128>(), 0..5).prop_map(Aggregate::Unique),
    ]
}

prop_compose! {
    fn window()(
        end in time(), period in span(), series in any::<u128>(), effective_from in time(),
        settled in proptest::option::of(aggregate()), pending in proptest::option::of(aggregate()),
        events in any::<u64>(), digest in any::<u128>(), revision in any::<u32>(), reported in decimal(),
    ) -> Window {
        let evidence = Evidence { events, digest };
        Window { end, period, series: SeriesId(series), effective_from, settled, pending, evidence, revision, reported }
    }
}

prop_compose! {
    fn series()(
        period in span(), amount in decimal(), amount_minor in any::<i128>(),
        parts in proptest::collection::btree_map(time(), proptest::option::of(aggregate()), 0..4),
    ) -> Series {
        Series { period, parts, amount, amount_minor }
    }
}

fn timer() -> impl Strategy<Value = Timer> {
    let task = prop_oneof![
        (time(), any::<u128>())
            .prop_map(|(start, group)| Task::Settle(WindowKey { start, group: GroupId(group) })),
        (any::<u128>(), time()).prop_map(|(subscription, start)| Task::EndPeriod(subscription, start)),
        any::<u128>().prop_map(|posting| Task::Cut(PostingId(posting))),
    ];
    (time(), task).prop_map(|(due, task)| Timer { due, task })
}

fn group() -> Group {
    Group {
        tenant: TenantId::new("t").expect("a name"),
        customer: CustomerId::new("acme").expect("a name"),
        subscription: SubscriptionId::new("acme-1").expect("a name"),
        meter: MeterId::new("tokens").expect("a name"),
        dimension_values: vec!["gpt".into(), String::new()],
    }
}

fn open_posting() -> OpenPosting {
    let key = |account: &str, debtor: Option<&str>| LineKey {
        account: AccountCode::new(account).expect("a name"),
        debtor: debtor.map(str::to_owned),
        service_period: AccountingPeriod { year: 2026, month: 1 },
    };
    let mut amounts = Balanced::default();
    amounts.add(key("1150", Some("D-1")), key("4000", None), 470).expect("fits");
    OpenPosting {
        group: PostingGroup {
            legal_entity: LegalEntityId::new("main").expect("a name"),
            currency: "USD".parse().expect("a currency"),
            accounting_period: AccountingPeriod { year: 2026, month: 2 },
            rule: PostingRuleId::new("usage").expect("a name"),
        },
        number: 7,
        amounts,
        rated_lines: 3,
        due: Some(EventTime::from_micros(1_000_000)),
    }
}

fn progress() -> Progress {
    Progress {
        commits: 3,
        counts: Counts {
            received: 10,
            counted: 5,
            again: 2,
            rejected: 2,
            exceptions: 1,
            late: 1,
            conflicts: 1,
            unarchived: 3,
        },
        newest: Some(EventTime::from_micros(5)),
        declared: None,
        rated: 4,
        journal: 1,
        billed: 3,
        booked: 1,
        latest_period_end: Some(EventTime::from_micros(6)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn windows_round_trip(window in window()) {
        prop_assert_eq!(Window::from_bytes(&window.to_bytes()), Ok(window));
    }

    #[test]
    fn series_round_trip(series in series()) {
        prop_assert_eq!(Series::from_bytes(&series.to_bytes()), Ok(series));
    }

    #[test]
    fn timers_round_trip_and_keep_order(a in timer(), b in timer()) {
        let row = |timer: Timer| match (task_key(timer.due, timer.task), timer.task) {
            (None, Task::Settle(window)) => (settle_key(timer.due, 7).to_vec(), settle_row([window; 2].into_iter())),
            (key, _) => (key.expect("other tasks are all key"), Vec::new()),
        };
        let ((key, value), (other_key, _)) = (row(a), row(b));
        let timers = timers_from(&key, &value).expect("our own row");
        prop_assert!(!timers.is_empty() && timers.iter().all(|timer| *timer == a), "{:?}", timers);
        let both_settle = matches!((a.task, b.task), (Task::Settle(_), Task::Settle(_)));
        if a.due != b.due || !both_settle {
            prop_assert_eq!(key.cmp(&other_key), a.cmp(&b));
        }
    }

    #[test]
    fn window_keys_round_trip_and_keep_order(a in (time(), any::<u128>()), b in (time(), any::<u128>())) {
        let key = |(start, group)| WindowKey { start, group: GroupId(group) };
        let (a, b) = (key(a), key(b));
        prop_assert_eq!(window_key_from(&window_key(a)), Ok(a));
        prop_assert_eq!(window_key(a).cmp(&window_key(b)), a.cmp(&b));
    }

    #[test]
    fn damaged_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..3_u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let _ = Window::from_bytes(&bytes);
        let _ = Series::from_bytes(&bytes);
        let _ = Group::from_bytes(&bytes);
        let _ = OpenPosting::from_bytes(&bytes);
        let _ = Progress::from_bytes(&bytes);
        let _ = timers_from(&bytes, &bytes);
        let _ = timers_from(&settle_key(EventTime::from_micros(1), 2), &bytes);
    }
}

#[test]
fn other_rows_round_trip() {
    assert_eq!(Group::from_bytes(&group().to_bytes()), Ok(group()));
    assert_eq!(OpenPosting::from_bytes(&open_posting().to_bytes()), Ok(open_posting()));
    assert_eq!(Progress::from_bytes(&progress().to_bytes()), Ok(progress()));
    assert_eq!(u32::from_bytes(&9_u32.to_bytes()), Ok(9));
}

#[test]
fn rows_that_break_an_invariant_are_damaged() {
    let mut counts = progress();
    counts.counts.again += 1;
    assert!(Progress::from_bytes(&counts.to_bytes()).is_err(), "I-8");
    let mut bytes = open_posting().to_bytes();
    let last = bytes.len() - 16;
    bytes[last] ^= 1;
    assert!(OpenPosting::from_bytes(&bytes).is_err(), "I-6");
    let mut longer = group().to_bytes();
    longer.push(0);
    assert!(Group::from_bytes(&longer).is_err());
}

/// These bytes are on customers' disks. A change here needs a new version and a decoder for this one.
#[test]
fn golden_rows() {
    let at = EventTime::from_micros;
    let window = Window {
        end: at(2),
        period: Span { start: at(0), end: at(9) },
        series: SeriesId(0xAB),
        effective_from: at(1),
        settled: Some(Aggregate::Sum(5)),
        pending: None,
        evidence: Evidence { events: 1, digest: 0xCD },
        revision: 1,
        reported: Decimal::new(15, 1),
    };
    let series = Series {
        period: Span { start: at(0), end: at(9) },
        parts: BTreeMap::from([(at(1), Some(Aggregate::Count(3)))]),
        amount: Decimal::new(25, 2),
        amount_minor: 25,
    };
    let timer = Timer { due: at(7), task: Task::Cut(PostingId(0xEF)) };
    let rows = format!(
        "group {}\nwindow {}\nseries {}\nposting {}\nprogress {}\ntimer {}\nsettle {} = {}\n",
        hex(&group().to_bytes()),
        hex(&window.to_bytes()),
        hex(&series.to_bytes()),
        hex(&open_posting().to_bytes()),
        hex(&progress().to_bytes()),
        hex(&task_key(timer.due, timer.task).expect("a cut is all key")),
        hex(&settle_key(at(7), 9)),
        hex(&settle_row([WindowKey { start: at(1), group: GroupId(0xAB) }].into_iter())),
    );
    expect_test::expect![[r#"
        group 0101000000740400000061636d650600000061636d652d3106000000746f6b656e73020000000300000067707400000000
        window 01020000000000000000000000000000000900000000000000ab0000000000000000000000000000000100000000000000010205000000000000000000000000000000000100000000000000cd000000000000000000000000000000010000000f00000000000000000000000000000001
        series 010000000000000000090000000000000019000000000000000000000000000000021900000000000000000000000000000001000000010000000000000001010300000000000000
        posting 01040000006d61696e0300000055534407000000323032362d3032050000007573616765070000000000000003000000000000000140420f00000000000200000004000000313135300103000000442d3107000000323032362d3031d601000000000000000000000000000004000000343030300007000000323032362d30312afeffffffffffffffffffffffffffff
        progress 0203000000000000000a000000000000000500000000000000020000000000000002000000000000000100000000000000010000000000000001000000000000000105000000000000000004000000000000000100000000000000030000000000000001000000000000000106000000000000000300000000000000
        timer 800000000000000703000000000000000000000000000000ef
        settle 8000000000000007010000000000000009 = 018000000000000001000000000000000000000000000000ab
    "#]].assert_eq(&rows);
}

#[test]
fn progress_of_the_first_layout_is_read() {
    let mut bytes = progress().to_bytes();
    bytes[0] = 1;
    bytes.truncate(bytes.len() - 8);
    let mut expected = progress();
    expected.counts.unarchived = 0;
    assert_eq!(Progress::from_bytes(&bytes), Ok(expected));
}
