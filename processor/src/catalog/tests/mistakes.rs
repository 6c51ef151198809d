//! Every mistake that a catalog can have: where it is, what is wrong, what is allowed.

use expect_test::expect;

use super::super::{MISTAKES_MAX, Mistake};
use super::{BASE, check, errors};

#[test]
fn unknown_keys_and_tables() {
    check(
        "[[meters]]\nid = \"x\"\n",
        expect![
            "case.toml:1:3: meters: unknown key `meters`; allowed: timing, meter, legal_entity, customer, rate_card, subscription, posting_rule"
        ],
    );
    check(
        "[[customer]]\nid = \"x\"\nsubjects = [\"x\"]\ncolour = 1\n",
        expect![[
            r#"case.toml:4:1: customer "x" colour: unknown key `colour`; allowed: id, tenant, name, subjects, billing_subscriber, erp_debtor, crm_account"#
        ]],
    );
    check(
        "[timing]\n\"a\\nb\" = 1\n",
        expect![[
            r#"case.toml:2:1: timing."a\nb": unknown key `a\nb`; allowed: disorder, grace, horizon, clock_ahead, adjust_every, post_every, post_lines_max"#
        ]],
    );
}

#[test]
fn wrong_types() {
    check(
        "meter = 1\n[timing]\ngrace = 5\npost_lines_max = \"9\"\n",
        expect![[r#"
        case.toml:1:9: meter: `meter` is a list of tables, found an integer; write each as [[meter]], with double brackets
        case.toml:3:9: timing.grace: expected text, found an integer; write it in quotes
        case.toml:4:18: timing.post_lines_max: expected a whole number, found text; allowed: 2 to 900"#]],
    );
    check(
        "[meter]\nid = \"x\"\n",
        expect![
            "case.toml:1:1: meter: `meter` is a list of tables, found a table; write each as [[meter]], with double brackets"
        ],
    );
    check(
        "customer = [1]\n[[timing]]\n",
        expect![[r#"
        case.toml:1:13: customer[0]: expected a table, found an integer; write { key = value, … } or a [header]
        case.toml:2:1: timing: expected a table, found a list; write { key = value, … } or a [header]"#]],
    );
    check(
        "[[customer]]\nid = 1\nsubjects = \"x\"\nname = true\n",
        expect![[r#"
        case.toml:2:6: customer[0].id: expected text, found an integer; write it in quotes
        case.toml:3:12: customer[0].subjects: expected a list, found text; write it in square brackets
        case.toml:4:8: customer[0].name: expected text, found a boolean; write it in quotes"#]],
    );
}

#[test]
fn missing_keys() {
    check(
        "[[meter]]\n",
        expect![[r#"
        case.toml:1:1: meter[0]: the key `id` is missing; add `id = …` here
        case.toml:1:1: meter[0]: the key `event_type` is missing; add `event_type = …` here
        case.toml:1:1: meter[0]: the key `aggregation` is missing; add `aggregation = …` here
        case.toml:1:1: meter[0]: the key `window` is missing; add `window = …` here
        case.toml:1:1: meter[0]: the key `unit` is missing; add `unit = …` here"#]],
    );
    check(
        "[[customer]]\n[[subscription]]\n[[legal_entity]]\n[[posting_rule]]\n",
        expect![[r#"
        case.toml:1:1: customer[0]: the key `id` is missing; add `id = …` here
        case.toml:1:1: customer[0]: the key `subjects` is missing; add `subjects = …` here
        case.toml:2:1: subscription[0]: the key `id` is missing; add `id = …` here
        case.toml:2:1: subscription[0]: the key `customer` is missing; add `customer = …` here
        case.toml:2:1: subscription[0]: the key `rate_card` is missing; add `rate_card = …` here
        case.toml:2:1: subscription[0]: the key `start` is missing; add `start = …` here
        case.toml:3:1: legal_entity[0]: the key `id` is missing; add `id = …` here
        case.toml:4:1: posting_rule[0]: the key `id` is missing; add `id = …` here
        case.toml:4:1: posting_rule[0]: the key `debit` is missing; add `debit = …` here
        case.toml:4:1: posting_rule[0]: the key `credit` is missing; add `credit = …` here
        case.toml:4:1: posting_rule[0]: another rule is for the same meter and legal entity, at base.toml:46:1; keep one of them, or make one more specific"#]],
    );
    check(
        "[[rate_card]]\n",
        expect![[r#"
        case.toml:1:1: rate_card[0]: the key `id` is missing; add `id = …` here
        case.toml:1:1: rate_card[0]: the key `currency` is missing; add `currency = …` here
        case.toml:1:1: rate_card[0]: a rate card has no version; add a [[rate_card.version]] with its effective_from"#]],
    );
    check(
        "[[rate_card]]\nid = \"r\"\ncurrency = \"EUR\"\n[[rate_card.version]]\n",
        expect![[r#"
        case.toml:4:1: rate_card "r" version[0]: the key `version` is missing; add `version = …` here
        case.toml:4:1: rate_card "r" version[0]: the key `effective_from` is missing; add `effective_from = …` here
        case.toml:4:1: rate_card "r" version[0]: a version has no charge; add a [[rate_card.version.charge]]; a free meter has per_unit = "0""#]],
    );
}

#[test]
fn names_and_texts() {
    check(
        "[[legal_entity]]\nid = \"a b\"\nname = \" \"\n[[legal_entity]]\nid = \"\"\n[[legal_entity]]\nid = \"x\"\ntime_zone = \"Europe/Buda\"\nclosed_through = \"2026-13\"\n",
        expect![[r#"
            case.toml:2:6: legal_entity "a b" id: the name `a b` has the character ' '; allowed are letters, digits and `-_.:/@`
            case.toml:3:8: legal_entity "a b" name: the text is empty; write something or remove the key
            case.toml:5:6: legal_entity "" id: the text is empty; write something or remove the key
            case.toml:8:13: legal_entity "x" time_zone: `Europe/Buda` is not a time zone; write an IANA name such as UTC, Europe/Budapest or America/New_York
            case.toml:9:18: legal_entity "x" closed_through: `2026-13` is not an accounting period; write year and month like 2026-09"#]],
    );
    let long = "x".repeat(1025);
    check(
        &format!("[[customer]]\nid = \"c\"\nname = \"{long}\"\nsubjects = [\"{long}\"]\n"),
        expect![[r#"
        case.toml:3:8: customer "c" name: the text has 1025 bytes; at most 1024 are allowed
        case.toml:4:13: customer "c" subjects[0]: the text has 1025 bytes; at most 1024 are allowed"#]],
    );
}

#[test]
fn durations_and_limits_of_timing() {
    check(
        "[timing]\ndisorder = \"5 minutes\"\ngrace = \"32d\"\nhorizon = \"0s\"\nclock_ahead = \"\"\nadjust_every = \"99999999999999999999d\"\npost_every = \"5\"\npost_lines_max = 901\n",
        expect![[r#"
            case.toml:2:12: timing.disorder: `5 minutes` is not a duration; write whole numbers with s, m, h or d, such as 90s, 5m, 1h30m, 35d
            case.toml:3:9: timing.grace: `32d` is out of range; allowed: 0s to 31d
            case.toml:4:11: timing.horizon: `0s` is out of range; allowed: 1m to 3653d
            case.toml:5:15: timing.clock_ahead: the text is empty; write something or remove the key
            case.toml:6:16: timing.adjust_every: `99999999999999999999d` is not a duration; write whole numbers with s, m, h or d, such as 90s, 5m, 1h30m, 35d
            case.toml:7:14: timing.post_every: `5` is not a duration; write whole numbers with s, m, h or d, such as 90s, 5m, 1h30m, 35d
            case.toml:8:18: timing.post_lines_max: 901 is out of range; allowed: 2 to 900"#]],
    );
    check(
        "[timing]\ngrace = \"2d\"\nhorizon = \"1d\"\n",
        expect![
            "case.toml:1:1: timing: horizon 1d is shorter than grace 2d; a horizon is at least the grace: a window must close before it is forgotten"
        ],
    );
    let twice = errors(&[("a.toml", "[timing]\n"), ("b.toml", "\n[timing]\n")]);
    expect!["b.toml:2:1: timing: another [timing] is at a.toml:1:1; keep one [timing] in all files"]
        .assert_eq(&twice.to_string());
}

#[test]
fn meters() {
    let meter = |lines: &str| {
        format!("[[meter]]\nid = \"m\"\nevent_type = \"t\"\nunit = \"u\"\nwindow = \"hour\"\n{lines}\n")
    };
    for (lines, expected) in [
        (
            "aggregation = \"median\"",
            expect![[
                r#"case.toml:6:15: meter "m" aggregation: `median` is unknown; allowed: count, sum, min, max, avg, latest, unique_count"#
            ]],
        ),
        (
            "aggregation = \"sum\"",
            expect![[
                r#"case.toml:1:1: meter "m": the aggregation `sum` needs a value; add `value = "a field or SQL"`"#
            ]],
        ),
        (
            "aggregation = \"count\"\nvalue = \"1\"",
            expect![[
                r#"case.toml:1:1: meter "m": a count has no value: every event that passes the filter counts 1; remove `value`, or choose another aggregation"#
            ]],
        ),
        (
            "aggregation = \"count\"\nfilter = \"\"",
            expect![[
                r#"case.toml:7:10: meter "m" filter: the text is empty; write something or remove the key"#
            ]],
        ),
        (
            "aggregation = \"count\"\nscale = 19\ngroups_max = 0",
            expect![[r#"
            case.toml:7:9: meter "m" scale: 19 is out of range; allowed: 0 to 18
            case.toml:8:14: meter "m" groups_max: 0 is out of range; allowed: 1 to 4294967295"#]],
        ),
        (
            "aggregation = \"count\"\ndimensions = [\"a\", \"b\", \"a\"]\nfields = { a = \"text\", c = \"text\" }",
            expect![[r#"
                case.toml:7:20: meter "m" dimensions[1]: the dimension `b` is not a declared field; allowed: a, c
                case.toml:7:25: meter "m" dimensions[2]: the dimension `a` is named twice; name each once"#]],
        ),
        (
            "aggregation = \"count\"\ndimensions = [\"a\"]",
            expect![[
                r#"case.toml:7:15: meter "m" dimensions[0]: the dimension `a` is not a declared field; declare it in `fields`"#
            ]],
        ),
        (
            "aggregation = \"count\"\nfields = { a = \"float\", b = \"decimal(19)\", c = 1, \"d-e\" = \"text\" }",
            expect![[r#"
                case.toml:7:16: meter "m" fields.a: `float` is not a type of a field; allowed: decimal, decimal(0) to decimal(18), text, boolean
                case.toml:7:29: meter "m" fields.b: `decimal(19)` is not a type of a field; allowed: decimal, decimal(0) to decimal(18), text, boolean
                case.toml:7:48: meter "m" fields.c: expected a type, found an integer; allowed: "decimal", "decimal(9)", "text", "boolean"
                case.toml:7:59: meter "m" fields.d-e: `d-e` cannot be a field's name; use ASCII letters, digits and _, not beginning with a digit; the path may be any"#]],
        ),
        (
            "aggregation = \"count\"\nfields.a = { path = \"usage.tokens\", type = \"text\" }",
            expect![[
                r#"case.toml:7:21: meter "m" fields.a.path: an event has no member `usage.tokens`; allowed: data and what is below it, subject, source, id, type, time"#
            ]],
        ),
        (
            "aggregation = \"count\"\nfields.a = { path = \"data..x\", type = \"text\" }\nfields.b = { path = [], kind = \"text\" }",
            expect![[r#"
                case.toml:7:21: meter "m" fields.a.path: `data..x` is not a path; write member names with dots between, quote a name with a dot: data.usage."a.b"
                case.toml:8:12: meter "m" fields.b: the key `type` is missing; add `type = …` here
                case.toml:8:21: meter "m" fields.b.path: an event has no member ``; allowed: data and what is below it, subject, source, id, type, time
                case.toml:8:25: meter "m" fields.b.kind: unknown key `kind`; allowed: path, type"#]],
        ),
        (
            "aggregation = \"count\"\nfields.a = { path = \"subject\", type = \"decimal\" }",
            expect![[r#"case.toml:7:12: meter "m" fields.a: `subject` is text; write type = "text""#]],
        ),
    ] {
        check(&meter(lines), expected);
    }
    check(
        "[[meter]]\nid = \"m\"\nevent_type = \"t\"\nunit = \"u\"\nwindow = \"week\"\naggregation = \"count\"",
        expect![[
            r#"case.toml:5:10: meter "m" window: `week` is unknown; allowed: minute, five_minutes, hour, day, period"#
        ]],
    );
}

#[test]
fn an_id_is_defined_once() {
    check(
        "[[meter]]\nid = \"calls\"\nevent_type = \"t\"\nunit = \"u\"\nwindow = \"hour\"\naggregation = \"count\"\n[[legal_entity]]\nid = \"de\"\n[[customer]]\nid = \"acme\"\nsubjects = [\"other\"]\n[[posting_rule]]\nid = \"all\"\nmeter = \"calls\"\ndebit = \"1\"\ncredit = \"2\"\n",
        expect![[r#"
            case.toml:2:6: meter "calls" id: another meter has the id `calls`, at base.toml:13:6; give each its own id
            case.toml:8:6: legal_entity "de" id: another legal_entity has the id `de`, at base.toml:20:6; give each its own id
            case.toml:10:6: customer "acme" id: another customer has the id `acme`, at base.toml:24:6; give each its own id
            case.toml:13:6: posting_rule "all" id: another posting_rule has the id `all`, at base.toml:47:6; give each its own id"#]],
    );
}

#[test]
fn references_resolve() {
    check(
        "[[subscription]]\nid = \"s\"\ncustomer = \"acmee\"\nrate_card = \"standard\"\nstart = 2026-05-01\nlegal_entity = \"at\"\n[[posting_rule]]\nid = \"p\"\nmeter = \"tokenz\"\nlegal_entity = \"at\"\ndebit = \"1\"\ncredit = \"2\"\n",
        expect![[r#"
            case.toml:3:12: subscription "s" customer: there is no customer `acmee`; allowed: acme
            case.toml:4:13: subscription "s" rate_card: there is no rate_card `standard`; allowed: std
            case.toml:6:16: subscription "s" legal_entity: there is no legal_entity `at`; allowed: de
            case.toml:9:9: posting_rule "p" meter: there is no meter `tokenz`; allowed: calls, tokens
            case.toml:10:16: posting_rule "p" legal_entity: there is no legal_entity `at`; allowed: de"#]],
    );
    let many: String =
        (10..60).map(|n| format!("[[customer]]\nid = \"customer-{n}\"\nsubjects = [\"{n}\"]\n")).collect();
    let case = |name: &str| {
        format!(
            "{many}[[subscription]]\nid = \"s\"\ncustomer = \"{name}\"\nrate_card = \"std\"\nstart = 2026-05-01\n"
        )
    };
    check(
        &case("custmer-23"),
        expect![[
            r#"case.toml:153:12: subscription "s" customer: there is no customer `custmer-23`; did you mean customer-23 or customer-13 or customer-20?"#
        ]],
    );
    check(
        &case("globex"),
        expect![[
            r#"case.toml:153:12: subscription "s" customer: there is no customer `globex`; allowed: one of the 51 of the catalog"#
        ]],
    );
}

#[test]
fn a_broken_entry_or_file_does_not_echo_as_a_missing_reference() {
    check(
        "[[rate_card]]\nid = \"new\"\ncurrency = \"DOGE\"\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\ncharge = [{ meter = \"tokens\", price = { per_unit = \"1\" } }]\n[[subscription]]\nid = \"s\"\ncustomer = \"acme\"\nrate_card = \"new\"\nstart = 2026-05-01\n",
        expect![[
            r#"case.toml:3:12: rate_card "new" currency: `DOGE` is not a current ISO 4217 code; write three capital letters such as USD, EUR or JPY"#
        ]],
    );
    let broken = errors(&[
        ("base.toml", BASE),
        ("customers.toml", "[[customer]]\nid = \"globex\nsubjects = [\"globex\"]\n"),
        (
            "s.toml",
            "[[subscription]]\nid = \"s\"\ncustomer = \"globex\"\nrate_card = \"std\"\nstart = 2026-13-01\n",
        ),
        (
            "t.toml",
            "[[subscription]]\nid = \"t\"\ncustomer = \"globex\"\nrate_card = \"std\"\nstart = \"2026-02-30\"\n",
        ),
    ]);
    expect![[r#"
        customers.toml:2:13: not TOML: invalid basic string, expected `"`; see https://toml.io/en/v1.1.0
        s.toml:5:9: not TOML: invalid date, expected month between 01 and 12; see https://toml.io/en/v1.1.0
        t.toml:5:9: subscription "t" start: the day 2026-02-30 is not on our calendar; allowed: existing days of the years 2 to 9998"#]].assert_eq(&broken.to_string());
}

#[test]
fn a_subject_has_one_customer() {
    check(
        "[[customer]]\nid = \"b\"\nsubjects = [\"b\", \"acme-2\", \"b\"]\n[[customer]]\nid = \"elsewhere\"\ntenant = \"eu\"\nsubjects = [\"acme-2\"]\n",
        expect![[r#"
            case.toml:3:18: customer "b" subjects[1]: the subject `acme-2` of the tenant `default` is already taken, at base.toml:25:23; a subject belongs to one customer
            case.toml:3:28: customer "b" subjects[2]: the subject `b` of the tenant `default` is already taken, at case.toml:3:13; a subject belongs to one customer"#]],
    );
    check(
        "[[customer]]\nid = \"rest\"\nsubjects = [\"*\"]\n[[customer]]\nid = \"more\"\nsubjects = [\"*\"]\n[[customer]]\nid = \"eu\"\ntenant = \"eu\"\nsubjects = [\"*\"]\n",
        expect![[
            r#"case.toml:6:13: customer "more" subjects[0]: the tenant `default` already has a customer for all other subjects, at case.toml:3:13; at most one customer of a tenant has ["*"]"#
        ]],
    );
    check(
        "[[customer]]\nid = \"x\"\nsubjects = [\"x\", \"*\"]\n[[customer]]\nid = \"y\"\nsubjects = []\n",
        expect![[r#"
            case.toml:3:18: customer "x" subjects[1]: `*` stands beside other subjects; write ["*"] alone, or leave it out
            case.toml:6:12: customer "y" subjects: a customer without subjects uses nothing; name its subjects, or ["*"] for all others"#]],
    );
}

#[test]
fn subscriptions_agree_with_customer_and_rate_card() {
    check(
        "[[subscription]]\nid = \"s\"\ntenant = \"eu\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-05-01\ncurrency = \"USD\"\n",
        expect![[r#"
            case.toml:4:12: subscription "s" customer: the customer `acme` is of the tenant `default`, this subscription of `eu`; write tenant = "default" here, or name another customer
            case.toml:7:12: subscription "s" currency: the subscription is in USD, its rate card `std` in EUR; write EUR or leave it out, or name a rate card in USD"#]],
    );
}

#[test]
fn times_of_a_subscription() {
    let subscription = |lines: &str| {
        format!("[[subscription]]\nid = \"s\"\ncustomer = \"acme\"\nrate_card = \"std\"\n{lines}\n")
    };
    for (lines, expected) in [
        (
            "start = 2026-05-01T00:00:00",
            expect![[
                r#"case.toml:5:9: subscription "s" start: `2026-05-01T00:00:00`: not a day or an RFC 3339 time; write a day like 2026-01-31, or a time with its offset like 2026-01-31T13:45:00+02:00"#
            ]],
        ),
        (
            "start = \"May 1\"",
            expect![[
                r#"case.toml:5:9: subscription "s" start: `May 1`: not a day or an RFC 3339 time; write a day like 2026-01-31, or a time with its offset like 2026-01-31T13:45:00+02:00"#
            ]],
        ),
        (
            "start = \"2026-02-30T00:00:00Z\"",
            expect![[
                r#"case.toml:5:9: subscription "s" start: `2026-02-30T00:00:00Z`: a date or time of day that does not exist; write a day like 2026-01-31, or a time with its offset like 2026-01-31T13:45:00+02:00"#
            ]],
        ),
        (
            "start = 20260501\nperiod = \"week\"",
            expect![[r#"
            case.toml:5:9: subscription "s" start: expected a day or a time, found an integer; write it like 2026-01-31 or 2026-01-31T13:45:00Z
            case.toml:6:10: subscription "s" period: `week` is unknown; allowed: month, quarter, year"#]],
        ),
        (
            "start = 2026-05-01\nend = 2026-05-01",
            expect![[
                r#"case.toml:6:7: subscription "s" end: it ends at 2026-05-01T00:00:00Z, which is not after its start at 2026-05-01T00:00:00Z; `end` is the first instant after it"#
            ]],
        ),
        (
            "start = 2026-05-01\nperiod_anchor = 2026-05-01T00:00:00Z",
            expect![[
                r#"case.toml:6:17: subscription "s" period_anchor: `2026-05-01T00:00:00Z` is not a day; write it like 2026-01-31"#
            ]],
        ),
        (
            "start = 0001-01-01",
            expect![[
                r#"case.toml:5:9: subscription "s" start: the day 0001-01-01 is not on our calendar; allowed: existing days of the years 2 to 9998"#
            ]],
        ),
    ] {
        check(&subscription(lines), expected);
    }
}

#[test]
fn a_legal_entity_is_named_when_there_are_several_or_none() {
    let second = "[[legal_entity]]\nid = \"us\"\n";
    check(
        second,
        expect![[
            r#"base.toml:39:1: subscription "acme-std": it names no legal entity, and the catalog has 2; allowed: de, us"#
        ]],
    );
    let none = errors(&[(
        "base.toml",
        &BASE.replace("[[legal_entity]]\nid = \"de\"\ntime_zone = \"Europe/Berlin\"\n", ""),
    )]);
    expect![[r#"base.toml:36:1: subscription "acme-std": it names no legal entity, and the catalog has 0; the catalog has no legal_entity; add a [[legal_entity]]"#]].assert_eq(&none.to_string());
}

fn charge_case(charge: &str) -> String {
    format!(
        "[[rate_card]]\nid = \"r\"\ncurrency = \"EUR\"\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\n[[rate_card.version.charge]]\nmeter = \"tokens\"\n{charge}\n"
    )
}

#[test]
fn a_float_price_is_refused() {
    for (charge, expected) in [
        (
            "price = { per_unit = 0.1 }",
            expect![[
                r#"case.toml:9:22: rate_card "r" version[0].charge[0].price.per_unit: a float is not exact, so money cannot depend on it; put it in quotes: "0.1""#
            ]],
        ),
        (
            "price = { per_unit = 1e-6 }\nmaximum = 10.0",
            expect![[r#"
            case.toml:9:22: rate_card "r" version[0].charge[0].price.per_unit: a float is not exact, so money cannot depend on it; put it in quotes: "1e-6"
            case.toml:10:11: rate_card "r" version[0].charge[0].maximum: a float is not exact, so money cannot depend on it; put it in quotes: "10.0""#]],
        ),
        (
            "price = { graduated = [{ up_to = 1.5, unit = 1.0, flat = nan }, { unit = inf }] }",
            expect![[r#"
            case.toml:9:34: rate_card "r" version[0].charge[0].price.graduated[0].up_to: a float is not exact, so money cannot depend on it; put it in quotes: "1.5"
            case.toml:9:46: rate_card "r" version[0].charge[0].price.graduated[0].unit: a float is not exact, so money cannot depend on it; put it in quotes: "1.0"
            case.toml:9:58: rate_card "r" version[0].charge[0].price.graduated[0].flat: a float is not exact, so money cannot depend on it; put it in quotes: "nan"
            case.toml:9:74: rate_card "r" version[0].charge[0].price.graduated[1].unit: a float is not exact, so money cannot depend on it; put it in quotes: "inf""#]],
        ),
        (
            "price = { package = { size = 1.0, price = 2.0, free = 3.0 } }",
            expect![[r#"
            case.toml:9:30: rate_card "r" version[0].charge[0].price.package.size: a float is not exact, so money cannot depend on it; put it in quotes: "1.0"
            case.toml:9:43: rate_card "r" version[0].charge[0].price.package.price: a float is not exact, so money cannot depend on it; put it in quotes: "2.0"
            case.toml:9:55: rate_card "r" version[0].charge[0].price.package.free: a float is not exact, so money cannot depend on it; put it in quotes: "3.0""#]],
        ),
    ] {
        check(&charge_case(charge), expected);
    }
}

#[test]
fn prices() {
    for (charge, expected) in [
        (
            "price = \"0.1\"",
            expect![[
                r#"case.toml:9:9: rate_card "r" version[0].charge[0].price: expected a price, found text; write it like { per_unit = "0.0001" }"#
            ]],
        ),
        (
            "price = {}",
            expect![[
                r#"case.toml:9:9: rate_card "r" version[0].charge[0].price: the price has no kind; write exactly one of per_unit, graduated, volume, package"#
            ]],
        ),
        (
            "price = { per_unit = \"1\", volume = [{ unit = \"1\" }] }",
            expect![[
                r#"case.toml:9:9: rate_card "r" version[0].charge[0].price: the price has 2 kinds: per_unit, volume; write exactly one of per_unit, graduated, volume, package"#
            ]],
        ),
        (
            "price = { per_unit = \"-1\" }\nmaximum = -5",
            expect![[r#"
            case.toml:9:22: rate_card "r" version[0].charge[0].price.per_unit: -1 is negative; allowed: 0 or more
            case.toml:10:11: rate_card "r" version[0].charge[0].maximum: -5 is negative; allowed: 0 or more"#]],
        ),
        (
            "price = { per_unit = \"0,1\" }",
            expect![[
                r#"case.toml:9:22: rate_card "r" version[0].charge[0].price.per_unit: `0,1` is not a decimal number; write digits with an optional sign, point and exponent"#
            ]],
        ),
        (
            "price = { per_unit = \"1e-40\" }",
            expect![[
                r#"case.toml:9:22: rate_card "r" version[0].charge[0].price.per_unit: the number has more than 36 fractional digits, more than can be kept exactly; correct it"#
            ]],
        ),
        (
            "price = { per_unit = true }",
            expect![[
                r#"case.toml:9:22: rate_card "r" version[0].charge[0].price.per_unit: expected a number, found a boolean; write an integer, or a decimal in quotes such as "0.0001""#
            ]],
        ),
        (
            "price = { stairstep = [] }",
            expect![[r#"
            case.toml:9:9: rate_card "r" version[0].charge[0].price: the price has no kind; write exactly one of per_unit, graduated, volume, package
            case.toml:9:11: rate_card "r" version[0].charge[0].price.stairstep: unknown key `stairstep`; allowed: per_unit, graduated, volume, package"#]],
        ),
        (
            "price = { graduated = [] }",
            expect![[
                r#"case.toml:9:23: rate_card "r" version[0].charge[0].price.graduated: there is no tier; write at least one, such as [{ unit = "0.5" }]"#
            ]],
        ),
        (
            "price = { graduated = [{ up_to = \"5\", unit = \"1\" }] }",
            expect![[
                r#"case.toml:9:24: rate_card "r" version[0].charge[0].price.graduated[0]: the last tier ends at 5, so larger quantities have no price; leave `up_to` out of the last tier"#
            ]],
        ),
        (
            "price = { volume = [{ unit = \"1\" }, { unit = \"1\" }] }",
            expect![[
                r#"case.toml:9:21: rate_card "r" version[0].charge[0].price.volume[0]: a tier without `up_to` ends the list; only the last tier has no `up_to`"#
            ]],
        ),
        (
            "price = { volume = [{ up_to = 5, unit = 1 }, { up_to = 5, unit = 1 }, { up_to = \"4.9\", flat = 1 }, { unit = 1 }] }",
            expect![[r#"
                case.toml:9:46: rate_card "r" version[0].charge[0].price.volume[1]: `up_to` 5 is not above 5; tiers ascend strictly, from above 0
                case.toml:9:71: rate_card "r" version[0].charge[0].price.volume[2]: `up_to` 4.9 is not above 5; tiers ascend strictly, from above 0"#]],
        ),
        (
            "price = { volume = [{ up_to = 0, unit = 1 }, { flat = -1 }, {}] }",
            expect![[r#"
            case.toml:9:55: rate_card "r" version[0].charge[0].price.volume[1].flat: -1 is negative; allowed: 0 or more
            case.toml:9:61: rate_card "r" version[0].charge[0].price.volume[2]: the key `unit` is missing; add `unit = …` here"#]],
        ),
        (
            "price = { package = { size = 0, price = 1, colour = 1 } }",
            expect![[r#"
            case.toml:9:30: rate_card "r" version[0].charge[0].price.package.size: a package of size 0 never fills; allowed: more than 0
            case.toml:9:44: rate_card "r" version[0].charge[0].price.package.colour: unknown key `colour`; allowed: size, price, free"#]],
        ),
        (
            "price = { per_unit = \"1\" }\ntiers_per = [\"model\", \"region\", \"model\"]\nflat_fee_at_zero = \"yes\"",
            expect![[r#"
                case.toml:10:23: rate_card "r" version[0].charge[0].tiers_per[1]: the meter `tokens` has no dimension `region`; allowed: model
                case.toml:10:33: rate_card "r" version[0].charge[0].tiers_per[2]: `model` is named twice; name each once
                case.toml:11:20: rate_card "r" version[0].charge[0].flat_fee_at_zero: expected a boolean, found text; write true or false, without quotes"#]],
        ),
    ] {
        check(&charge_case(charge), expected);
    }
}

#[test]
fn price_times_quantity_is_exact() {
    let fine = "[[meter]]\nid = \"fine\"\nevent_type = \"t\"\nfields = { a = \"decimal\" }\nvalue = \"a\"\naggregation = \"avg\"\nscale = 18\nwindow = \"hour\"\nunit = \"u\"\n";
    let charge = charge_case("price = { per_unit = \"0.0000000000001\" }").replace("tokens", "fine");
    check(
        &format!("{fine}{charge}"),
        expect![[
            r#"case.toml:17:9: rate_card "r" version[0].charge[0].meter: a price with 13 fractional digits times `fine` with 24 is not exact; allowed: 36 digits together; shorten the price or the meter's scale"#
        ]],
    );
}

#[test]
fn versions_of_a_rate_card() {
    let charge = "charge = [{ meter = \"tokens\", price = { per_unit = 1 } }]";
    check(
        &format!(
            "[[rate_card]]\nid = \"r\"\ncurrency = \"XAU\"\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\n{charge}\n[[rate_card.version]]\nversion = \"1\"\neffective_from = \"2026-01-01T01:00:00+01:00\"\n{charge}\n"
        ),
        expect![[r#"
            case.toml:3:12: rate_card "r" currency: `XAU` has no minor unit in ISO 4217, so nothing can be invoiced in it; use the currency of the invoice
            case.toml:9:11: rate_card "r" version[1].version: another version is called `1`, at case.toml:5:11; each version of a rate card has its own name
            case.toml:10:18: rate_card "r" version[1].effective_from: another version is effective from 2026-01-01T00:00:00Z too, at case.toml:6:18; each version of a rate card begins at its own time"#]],
    );
    check(
        "[[rate_card]]\nid = \"r\"\ncurrency = \"EUR\"\n[[rate_card.version]]\nversion = true\neffective_from = 2026-01-01\ncharge = [{ meter = \"tokens\", price = { per_unit = 1 } }, { meter = \"calls\", price = { per_unit = 1 } }, { meter = \"tokens\", price = { per_unit = 2 } }]\n",
        expect![[r#"
            case.toml:5:11: rate_card "r" version[0].version: expected text, found a boolean; write it in quotes
            case.toml:7:116: rate_card "r" version[0].charge[2].meter: this version already charges for `tokens`, at case.toml:7:21; a version prices a meter once"#]],
    );
}

#[test]
fn two_subscriptions_of_a_customer_do_not_price_the_same_meter_at_once() {
    check(
        "[[subscription]]\nid = \"more\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-03-31\n[[subscription]]\nid = \"most\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-12-01\nend = 2027-01-01\n",
        expect![[r#"
            case.toml:1:1: subscription "more": it prices `tokens` at the same time as the subscription `acme-std` at base.toml:39:1, which runs from 2026-01-01T00:00:00Z until 2026-04-01T00:00:00Z; end one before the other starts, or charge for different meters
            case.toml:6:1: subscription "most": it prices `tokens` at the same time as the subscription `more` at case.toml:1:1, which runs from 2026-03-31T00:00:00Z without an end; end one before the other starts, or charge for different meters"#]],
    );
}

#[test]
fn every_charge_can_be_posted() {
    let specific = BASE.replace("id = \"all\"\n", "id = \"all\"\nmeter = \"calls\"\n");
    expect![[r#"base.toml:36:9: rate_card "std" version[0].charge[0].meter: no posting rule applies to `tokens` at the legal entity `de`; add a [[posting_rule]] for it, or one without meter and legal_entity for all"#]].assert_eq(&errors(&[("base.toml", &specific)]).to_string());
    check(
        "[[posting_rule]]\nid = \"too\"\ndebit = \"1400\"\ncredit = \"1400\"\n",
        expect![[r#"
        case.toml:1:1: posting_rule "too": another rule is for the same meter and legal entity, at base.toml:46:1; keep one of them, or make one more specific
        case.toml:4:10: posting_rule "too" credit: debit and credit are the same account `1400`; an entry moves an amount between two accounts"#]],
    );
}

#[test]
fn syntax_errors_have_their_line_and_hide_no_other_file() {
    let all = errors(&[
        ("a.toml", "[[meter]]\nid = \"x\"\nid = \"y\"\n\n[timing\n"),
        ("b.toml", "[timing]\ngrace = 5m\n"),
        ("c.toml", "[timing]\ngrace = \"5w\"\n"),
    ]);
    expect![[r#"
        a.toml:3:1: not TOML: duplicate key; see https://toml.io/en/v1.1.0
        a.toml:5:8: not TOML: unclosed table, expected `]`; see https://toml.io/en/v1.1.0
        b.toml:2:9: not TOML: string values must be quoted, expected literal string; see https://toml.io/en/v1.1.0
        c.toml:2:9: timing.grace: `5w` is not a duration; write whole numbers with s, m, h or d, such as 90s, 5m, 1h30m, 35d"#]].assert_eq(&all.to_string());
}

#[test]
fn all_mistakes_are_told_at_once_with_their_parts() {
    let all = errors(&[
        ("base.toml", BASE),
        (
            "rates.toml",
            "[[rate_card]]\nid = \"pro\"\ncurrency = \"EURO\"\n\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\n\n  [[rate_card.version.charge]]\n  meter = \"token\"\n  price = { per_unit = 0.5 }\n  colour = \"red\"\n",
        ),
        ("customers.toml", "[[customer]]\nid = \"x\"\nsubjects = [\"acme-1\"]\n"),
        ("subscriptions.toml", "[[subscription]]\nid = \"s\"\ncustomer = \"y\"\nrate_card = \"pro\"\n"),
    ]);
    expect![[r#"
        customers.toml:3:13: customer "x" subjects[0]: the subject `acme-1` of the tenant `default` is already taken, at base.toml:25:13; a subject belongs to one customer
        rates.toml:3:12: rate_card "pro" currency: `EURO` is not a current ISO 4217 code; write three capital letters such as USD, EUR or JPY
        rates.toml:10:11: rate_card "pro" version[0].charge[0].meter: there is no meter `token`; allowed: calls, tokens
        rates.toml:11:24: rate_card "pro" version[0].charge[0].price.per_unit: a float is not exact, so money cannot depend on it; put it in quotes: "0.5"
        rates.toml:12:3: rate_card "pro" version[0].charge[0].colour: unknown key `colour`; allowed: meter, price, tiers_per, maximum, flat_fee_at_zero
        subscriptions.toml:1:1: subscription "s": the key `start` is missing; add `start = …` here
        subscriptions.toml:3:12: subscription "s" customer: there is no customer `y`; allowed: acme, x"#]].assert_eq(&all.to_string());
    let float = all.mistakes.iter().find(|mistake| mistake.message.contains("float"));
    assert_eq!(
        float,
        Some(&Mistake {
            file: "rates.toml".to_owned(),
            line: 11,
            column: 24,
            entry: "rate_card \"pro\"".to_owned(),
            path: "rate_card[0].version[0].charge[0].price.per_unit".to_owned(),
            message: "a float is not exact, so money cannot depend on it".to_owned(),
            help: "put it in quotes: \"0.5\"".to_owned(),
        })
    );
}

#[test]
fn mistakes_are_bounded_and_the_rest_is_counted() {
    let many = "[[legal_entity]]\n".repeat(MISTAKES_MAX + 7);
    let errors = errors(&[("many.toml", &many)]);
    assert_eq!((errors.mistakes.len(), errors.omitted), (MISTAKES_MAX, 7));
    assert!(errors.to_string().ends_with("\nand 7 more; correct these first"));
}
