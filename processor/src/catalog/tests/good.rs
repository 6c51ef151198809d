//! What a catalog without mistakes means: every key, every default, every way to write the same.

use expect_test::expect;
use tidemark_schemas::catalog::{Catalog, Timing};
use tidemark_schemas::time::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};

use super::super::parse;
use super::{BASE, files};

fn good(texts: &[(&str, &str)]) -> Catalog {
    match parse(&files(texts)) {
        Ok(catalog) => catalog,
        Err(errors) => panic!("a good catalog was refused:\n{errors}"),
    }
}

fn subscription_of(lines: &str) -> String {
    let text = format!(
        "[[subscription]]\nid = \"s\"\ncustomer = \"acme\"\nrate_card = \"std\"\n{lines}\n{}",
        BASE.replace("[[subscription]]\nid = \"acme-std\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-01-01\nend = 2026-04-01\n", "")
    );
    let catalog = good(&[("a.toml", &text)]);
    let one = &catalog.subscriptions[0];
    let end = one.end.map_or("-".to_owned(), |end| end.to_string());
    format!("{} {end} {} {} {}", one.start, one.period_anchor, one.period.name(), one.time_zone)
}

#[test]
fn defaults_are_filled_in() {
    let catalog = good(&[("base.toml", BASE)]);
    assert_eq!(catalog.timing, Timing::default());
    expect![[r#"
        (
            Meter {
                id: "calls",
                tenant: None,
                event_type: "api.call",
                fields: [],
                filter: None,
                value: None,
                aggregation: Count,
                dimensions: [],
                groups_max: 100000,
                window: Day,
                unit: "call",
                scale: 0,
            },
            [
                Customer {
                    id: "acme",
                    tenant: "default",
                    name: "acme",
                    subjects: [
                        "acme-1",
                        "acme-2",
                    ],
                    billing_subscriber: "acme",
                    erp_debtor: "acme",
                    crm_account: None,
                },
            ],
            [
                Subscription {
                    id: "acme-std",
                    tenant: "default",
                    customer: "acme",
                    rate_card: "std",
                    start: EventTime(
                        1767225600000000,
                    ),
                    end: Some(
                        EventTime(
                            1775001600000000,
                        ),
                    ),
                    period_anchor: CivilDate {
                        year: 2026,
                        month: 1,
                        day: 1,
                    },
                    period: Month,
                    time_zone: "UTC",
                    currency: EUR,
                    legal_entity: "de",
                },
            ],
            [
                RateCard {
                    id: "std",
                    currency: EUR,
                    versions: [
                        RateCardVersion {
                            version: "1",
                            effective_from: EventTime(
                                1767225600000000,
                            ),
                            charges: [
                                Charge {
                                    meter: "tokens",
                                    price: PerUnit {
                                        unit: Decimal {
                                            mantissa: 1,
                                            scale: 4,
                                        },
                                    },
                                    tiers_per: [],
                                    maximum: None,
                                    flat_fee_at_zero: true,
                                },
                            ],
                        },
                    ],
                },
            ],
            [
                LegalEntity {
                    id: "de",
                    name: "de",
                    time_zone: "Europe/Berlin",
                    closed_through: None,
                },
            ],
            [
                PostingRule {
                    id: "all",
                    meter: None,
                    legal_entity: None,
                    debit: "1400",
                    credit: "4000",
                },
            ],
        )
    "#]]
    .assert_debug_eq(&(
        &catalog.meters[1],
        &catalog.customers,
        &catalog.subscriptions,
        &catalog.rate_cards,
        &catalog.legal_entities,
        &catalog.posting_rules,
    ));
}

#[test]
fn every_key_of_a_meter_is_read() {
    let catalog = good(&[(
        "meters.toml",
        r#"
[[meter]]
id = "gb_hours"
tenant = "eu"
event_type = "storage.sample"
filter = "kind = 'ssd' AND NOT test"
value = "bytes / 1000000000"
aggregation = "avg"
dimensions = ["kind", "test", "size"]
groups_max = 12
window = "five_minutes"
unit = "GB"
scale = 9

[meter.fields]
test = "boolean"
kind = { path = ["data", "disk.kind"], type = "text" }
bytes = { path = "data.usage.\"bytes.used\"", type = "decimal(0)" }
size = "decimal"
who = { path = "subject", type = "text" }
"#,
    )]);
    expect![[r#"
        [
            Meter {
                id: "gb_hours",
                tenant: Some(
                    "eu",
                ),
                event_type: "storage.sample",
                fields: [
                    Field {
                        name: "test",
                        path: [
                            "data",
                            "test",
                        ],
                        kind: Boolean,
                    },
                    Field {
                        name: "kind",
                        path: [
                            "data",
                            "disk.kind",
                        ],
                        kind: Text,
                    },
                    Field {
                        name: "bytes",
                        path: [
                            "data",
                            "usage",
                            "bytes.used",
                        ],
                        kind: Decimal {
                            scale: 0,
                        },
                    },
                    Field {
                        name: "size",
                        path: [
                            "data",
                            "size",
                        ],
                        kind: Decimal {
                            scale: 9,
                        },
                    },
                    Field {
                        name: "who",
                        path: [
                            "subject",
                        ],
                        kind: Text,
                    },
                ],
                filter: Some(
                    "kind = 'ssd' AND NOT test",
                ),
                value: Some(
                    "bytes / 1000000000",
                ),
                aggregation: Average,
                dimensions: [
                    "kind",
                    "test",
                    "size",
                ],
                groups_max: 12,
                window: FiveMinutes,
                unit: "GB",
                scale: 9,
            },
        ]
    "#]]
    .assert_debug_eq(&catalog.meters);
}

#[test]
fn every_key_of_the_other_tables_is_read() {
    let catalog = good(&[
        (
            "all.toml",
            r#"
[timing]
disorder = "90s"
grace = "1h30m"
horizon = "40d"
clock_ahead = "0s"
adjust_every = "10m"
post_every = "1d"
post_lines_max = 2

[[legal_entity]]
id = "hu"
name = "Kft."
time_zone = "europe/budapest"
closed_through = "2026-08"

[[legal_entity]]
id = "us"

[[customer]]
id = "c"
tenant = "eu"
name = "Customer Ltd."
subjects = ["*"]
billing_subscriber = "sub 1"
erp_debtor = "D-1"
crm_account = "0015"

[[subscription]]
id = "s"
tenant = "eu"
customer = "c"
rate_card = "r"
start = "2026-03-01T12:00:00+02:00"
end = 2027-01-01T00:00:00Z
period_anchor = "2026-01-31"
period = "quarter"
time_zone = "America/New_York"
currency = "JPY"
legal_entity = "hu"

[[posting_rule]]
id = "p"
meter = "m"
legal_entity = "hu"
debit = "1400"
credit = "revenue:usage"
"#,
        ),
        (
            "meter.toml",
            "[[meter]]\nid = 'm'\nevent_type = 't'\naggregation = 'count'\nwindow = 'period'\nunit = 'call'",
        ),
        (
            "rates.toml",
            r#"
[[rate_card]]
id = "r"
currency = "JPY"

[[rate_card.version]]
version = "later"
effective_from = "2026-06-01T00:00:00+09:00"
[[rate_card.version.charge]]
meter = "m"
maximum = "1000.5"
price = { per_unit = 2 }

[[rate_card.version]]
version = "first"
effective_from = "2026-01-01"
[[rate_card.version.charge]]
meter = "m"
maximum = 1_000
flat_fee_at_zero = false
price.package = { size = 10, price = "15" }
"#,
        ),
    ]);
    assert_eq!(
        catalog.timing,
        Timing {
            disorder_micros: 90 * MICROS_PER_SECOND,
            grace_micros: 90 * MICROS_PER_MINUTE,
            horizon_micros: 40 * MICROS_PER_DAY,
            clock_ahead_micros: 0,
            adjust_every_micros: 10 * MICROS_PER_MINUTE,
            post_every_micros: 24 * MICROS_PER_HOUR,
            post_lines_max: 2,
        }
    );
    expect![[r#"
        (
            [
                Customer {
                    id: "c",
                    tenant: "eu",
                    name: "Customer Ltd.",
                    subjects: [
                        "*",
                    ],
                    billing_subscriber: "sub 1",
                    erp_debtor: "D-1",
                    crm_account: Some(
                        "0015",
                    ),
                },
            ],
            [
                Subscription {
                    id: "s",
                    tenant: "eu",
                    customer: "c",
                    rate_card: "r",
                    start: EventTime(
                        1772359200000000,
                    ),
                    end: Some(
                        EventTime(
                            1798761600000000,
                        ),
                    ),
                    period_anchor: CivilDate {
                        year: 2026,
                        month: 1,
                        day: 31,
                    },
                    period: Quarter,
                    time_zone: "America/New_York",
                    currency: JPY,
                    legal_entity: "hu",
                },
            ],
            [
                RateCard {
                    id: "r",
                    currency: JPY,
                    versions: [
                        RateCardVersion {
                            version: "first",
                            effective_from: EventTime(
                                1767225600000000,
                            ),
                            charges: [
                                Charge {
                                    meter: "m",
                                    price: Package {
                                        size: Decimal {
                                            mantissa: 10,
                                            scale: 0,
                                        },
                                        price: Decimal {
                                            mantissa: 15,
                                            scale: 0,
                                        },
                                        free: Decimal {
                                            mantissa: 0,
                                            scale: 0,
                                        },
                                    },
                                    tiers_per: [],
                                    maximum: Some(
                                        Decimal {
                                            mantissa: 1000,
                                            scale: 0,
                                        },
                                    ),
                                    flat_fee_at_zero: false,
                                },
                            ],
                        },
                        RateCardVersion {
                            version: "later",
                            effective_from: EventTime(
                                1780239600000000,
                            ),
                            charges: [
                                Charge {
                                    meter: "m",
                                    price: PerUnit {
                                        unit: Decimal {
                                            mantissa: 2,
                                            scale: 0,
                                        },
                                    },
                                    tiers_per: [],
                                    maximum: Some(
                                        Decimal {
                                            mantissa: 10005,
                                            scale: 1,
                                        },
                                    ),
                                    flat_fee_at_zero: true,
                                },
                            ],
                        },
                    ],
                },
            ],
            [
                LegalEntity {
                    id: "hu",
                    name: "Kft.",
                    time_zone: "Europe/Budapest",
                    closed_through: Some(
                        AccountingPeriod {
                            year: 2026,
                            month: 8,
                        },
                    ),
                },
                LegalEntity {
                    id: "us",
                    name: "us",
                    time_zone: "UTC",
                    closed_through: None,
                },
            ],
            [
                PostingRule {
                    id: "p",
                    meter: Some(
                        "m",
                    ),
                    legal_entity: Some(
                        "hu",
                    ),
                    debit: "1400",
                    credit: "revenue:usage",
                },
            ],
        )
    "#]]
    .assert_debug_eq(&(
        &catalog.customers,
        &catalog.subscriptions,
        &catalog.rate_cards,
        &catalog.legal_entities,
        &catalog.posting_rules,
    ));
}

#[test]
fn prices_of_every_kind_are_read() {
    let charge = |price: &str| {
        let text = BASE.replace("{ per_unit = \"0.0001\" }", price);
        let catalog = good(&[("base.toml", &text)]);
        format!("{:?}", catalog.rate_cards[0].versions[0].charges[0].price)
    };
    for (price, expected) in [
        ("{ per_unit = 3 }", expect!["PerUnit { unit: Decimal { mantissa: 3, scale: 0 } }"]),
        ("{ per_unit = \"1e-6\" }", expect!["PerUnit { unit: Decimal { mantissa: 1, scale: 6 } }"]),
        (
            "{ graduated = [{ up_to = \"0.1\", unit = 10 }, { unit = \"0.5\", flat = 2 }] }",
            expect![
                "Graduated { tiers: [Tier { up_to: Some(Decimal { mantissa: 1, scale: 1 }), unit: Decimal { mantissa: 10, scale: 0 }, flat: Decimal { mantissa: 0, scale: 0 } }, Tier { up_to: None, unit: Decimal { mantissa: 5, scale: 1 }, flat: Decimal { mantissa: 2, scale: 0 } }] }"
            ],
        ),
        (
            "{ volume = [{ up_to = 5, flat = 100 }, { unit = 5 }] }",
            expect![
                "Volume { tiers: [Tier { up_to: Some(Decimal { mantissa: 5, scale: 0 }), unit: Decimal { mantissa: 0, scale: 0 }, flat: Decimal { mantissa: 100, scale: 0 } }, Tier { up_to: None, unit: Decimal { mantissa: 5, scale: 0 }, flat: Decimal { mantissa: 0, scale: 0 } }] }"
            ],
        ),
        (
            "{ package = { size = \"10\", price = \"15\" } }",
            expect![
                "Package { size: Decimal { mantissa: 10, scale: 0 }, price: Decimal { mantissa: 15, scale: 0 }, free: Decimal { mantissa: 0, scale: 0 } }"
            ],
        ),
        (
            "{ package = { size = 0x10, price = 1_000, free = \"2.50\" } }",
            expect![
                "Package { size: Decimal { mantissa: 16, scale: 0 }, price: Decimal { mantissa: 1000, scale: 0 }, free: Decimal { mantissa: 25, scale: 1 } }"
            ],
        ),
    ] {
        expected.assert_eq(&charge(price));
    }
}

#[test]
fn days_begin_at_local_midnight() {
    for (lines, expected) in [
        ("start = 2026-01-01", "2026-01-01T00:00:00Z - 2026-01-01 month UTC"),
        // IANA: Budapest is UTC+1 in winter; Chatham is UTC+13:45 in summer.
        (
            "start = 2025-01-01\ntime_zone = \"Europe/Budapest\"",
            "2024-12-31T23:00:00Z - 2025-01-01 month Europe/Budapest",
        ),
        (
            "start = \"2026-01-01\"\nend = 2026-07-01\ntime_zone = \"Pacific/Chatham\"",
            "2025-12-31T10:15:00Z 2026-06-30T11:15:00Z 2026-01-01 month Pacific/Chatham",
        ),
        // Clocks in Beirut skip midnight on 2022-03-27: that day begins at 01:00 local time.
        (
            "start = 2022-03-27\ntime_zone = \"Asia/Beirut\"",
            "2022-03-26T22:00:00Z - 2022-03-27 month Asia/Beirut",
        ),
        // An instant: its local day is the anchor.
        (
            "start = 2026-01-31T23:30:00Z\nperiod = \"year\"\ntime_zone = \"Europe/Budapest\"",
            "2026-01-31T23:30:00Z - 2026-02-01 year Europe/Budapest",
        ),
    ] {
        assert_eq!(subscription_of(lines), expected, "{lines}");
    }
}

#[test]
fn entries_follow_file_names_then_lines() {
    let customer = |id: &str| format!("[[customer]]\nid = \"{id}\"\nsubjects = [\"{id}\"]\n");
    let (first, second) = (customer("z") + &customer("a"), customer("m"));
    let catalog = good(&[("b.toml", &second), ("a.toml", &first)]);
    let ids: Vec<&str> = catalog.customers.iter().map(|customer| customer.id.as_str()).collect();
    assert_eq!(ids, ["z", "a", "m"]);
}

#[test]
fn byte_order_mark_and_crlf_are_not_content() {
    let windows = format!("\u{feff}{}", BASE.trim_start().replace('\n', "\r\n"));
    let (unix, windows) = (good(&[("a.toml", BASE)]), good(&[("a.toml", &windows)]));
    assert_eq!(unix.meters, windows.meters);
    assert_eq!(unix.rate_cards, windows.rate_cards);
    assert_eq!(unix.subscriptions, windows.subscriptions);
    let wrong = "\u{feff}\"ä\" = 1\r\ntiming = { \"ö\" = 1, grace = 1 }\r\n";
    let wrong = parse(&files(&[("a.toml", wrong)]));
    expect![[r#"
        a.toml:1:1: "ä": unknown key `ä`; allowed: timing, meter, legal_entity, customer, rate_card, subscription, posting_rule
        a.toml:2:12: timing."ö": unknown key `ö`; allowed: disorder, grace, horizon, clock_ahead, adjust_every, post_every, post_lines_max
        a.toml:2:29: timing.grace: expected text, found an integer; write it in quotes"#]].assert_eq(&wrong.expect_err("three mistakes").to_string());
}

#[test]
fn subscriptions_may_follow_each_other_or_price_different_meters() {
    let next =
        "[[subscription]]\nid = \"next\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-04-01\n";
    let other = r#"
[[rate_card]]
id = "calls"
currency = "EUR"
[[rate_card.version]]
version = 1
effective_from = 2026-01-01
charge = [{ meter = "calls", price = { per_unit = "1" } }]
[[subscription]]
id = "beside"
customer = "acme"
rate_card = "calls"
start = 2026-02-01
"#;
    let catalog = good(&[("base.toml", BASE), ("next.toml", next), ("other.toml", other)]);
    assert_eq!(catalog.subscriptions.len(), 3);
}

#[test]
fn a_rule_for_the_meter_the_entity_both_or_neither_is_enough() {
    for selector in
        ["", "meter = \"tokens\"", "legal_entity = \"de\"", "meter = \"tokens\"\nlegal_entity = \"de\""]
    {
        let text = BASE.replace("id = \"all\"\n", &format!("id = \"all\"\n{selector}\n"));
        assert_eq!(good(&[("base.toml", &text)]).posting_rules.len(), 1, "{selector}");
    }
}

#[test]
fn rules_of_every_precision_stand_beside_each_other() {
    let rules = "[[posting_rule]]\nid = \"m\"\nmeter = \"tokens\"\ndebit = \"1\"\ncredit = \"2\"\n\
                 [[posting_rule]]\nid = \"e\"\nlegal_entity = \"de\"\ndebit = \"1\"\ncredit = \"2\"\n";
    assert_eq!(good(&[("base.toml", BASE), ("rules.toml", rules)]).posting_rules.len(), 3);
}
