//! Every mistake that a catalog can have: where it is, what is wrong, what is allowed.

use expect_test::expect;

use super::super::{MISTAKES_MAX, Mistake};
use super::{BASE, check, errors};

#[test]
fn unknown_keys_and_tables() {
    check("[[meters]]\nid = \"x\"\n", expect![[""]]);
    check("[[customer]]\nid = \"x\"\nsubjects = [\"x\"]\ncolour = 1\n", expect![[""]]);
    check("[timing]\n\"a\\nb\" = 1\n", expect![[""]]);
}

#[test]
fn wrong_types() {
    check("meter = 1\n[timing]\ngrace = 5\npost_lines_max = \"9\"\n", expect![[""]]);
    check("[meter]\nid = \"x\"\n", expect![[""]]);
    check("customer = [1]\n[[timing]]\n", expect![[""]]);
    check("[[customer]]\nid = 1\nsubjects = \"x\"\nname = true\n", expect![[""]]);
}

#[test]
fn missing_keys() {
    check("[[meter]]\n", expect![[""]]);
    check("[[customer]]\n[[subscription]]\n[[legal_entity]]\n[[posting_rule]]\n", expect![[""]]);
    check("[[rate_card]]\n", expect![[""]]);
    check("[[rate_card]]\nid = \"r\"\ncurrency = \"EUR\"\n[[rate_card.version]]\n", expect![[""]]);
}

#[test]
fn names_and_texts() {
    check(
        "[[legal_entity]]\nid = \"a b\"\nname = \" \"\n[[legal_entity]]\nid = \"\"\n[[legal_entity]]\nid = \"x\"\ntime_zone = \"Europe/Buda\"\nclosed_through = \"2026-13\"\n",
        expect![[""]],
    );
    let long = "x".repeat(1025);
    check(&format!("[[customer]]\nid = \"c\"\nname = \"{long}\"\nsubjects = [\"{long}\"]\n"), expect![[""]]);
}

#[test]
fn durations_and_limits_of_timing() {
    check(
        "[timing]\ndisorder = \"5 minutes\"\ngrace = \"32d\"\nhorizon = \"0s\"\nclock_ahead = \"\"\nadjust_every = \"99999999999999999999d\"\npost_every = \"5\"\npost_lines_max = 901\n",
        expect![[""]],
    );
    check("[timing]\ngrace = \"2d\"\nhorizon = \"1d\"\n", expect![[""]]);
    let twice = errors(&[("a.toml", "[timing]\n"), ("b.toml", "\n[timing]\n")]);
    expect![[""]].assert_eq(&twice.to_string());
}

#[test]
fn meters() {
    let meter = |lines: &str| {
        format!("[[meter]]\nid = \"m\"\nevent_type = \"t\"\nunit = \"u\"\nwindow = \"hour\"\n{lines}\n")
    };
    for (lines, expected) in [
        ("aggregation = \"median\"", expect![[""]]),
        ("aggregation = \"sum\"", expect![[""]]),
        ("aggregation = \"count\"\nvalue = \"1\"", expect![[""]]),
        ("aggregation = \"count\"\nfilter = \"\"", expect![[""]]),
        ("aggregation = \"count\"\nscale = 19\ngroups_max = 0", expect![[""]]),
        (
            "aggregation = \"count\"\ndimensions = [\"a\", \"b\", \"a\"]\nfields = { a = \"text\", c = \"text\" }",
            expect![[""]],
        ),
        ("aggregation = \"count\"\ndimensions = [\"a\"]", expect![[""]]),
        (
            "aggregation = \"count\"\nfields = { a = \"float\", b = \"decimal(19)\", c = 1, \"d-e\" = \"text\" }",
            expect![[""]],
        ),
        ("aggregation = \"count\"\nfields.a = { path = \"usage.tokens\", type = \"text\" }", expect![[""]]),
        (
            "aggregation = \"count\"\nfields.a = { path = \"data..x\", type = \"text\" }\nfields.b = { path = [], kind = \"text\" }",
            expect![[""]],
        ),
        ("aggregation = \"count\"\nfields.a = { path = \"subject\", type = \"decimal\" }", expect![[""]]),
    ] {
        check(&meter(lines), expected);
    }
    check(
        "[[meter]]\nid = \"m\"\nevent_type = \"t\"\nunit = \"u\"\nwindow = \"week\"\naggregation = \"count\"",
        expect![[""]],
    );
}

#[test]
fn an_id_is_defined_once() {
    check(
        "[[meter]]\nid = \"calls\"\nevent_type = \"t\"\nunit = \"u\"\nwindow = \"hour\"\naggregation = \"count\"\n[[legal_entity]]\nid = \"de\"\n[[customer]]\nid = \"acme\"\nsubjects = [\"other\"]\n[[posting_rule]]\nid = \"all\"\nmeter = \"calls\"\ndebit = \"1\"\ncredit = \"2\"\n",
        expect![[""]],
    );
}

#[test]
fn references_resolve() {
    check(
        "[[subscription]]\nid = \"s\"\ncustomer = \"acmee\"\nrate_card = \"standard\"\nstart = 2026-05-01\nlegal_entity = \"at\"\n[[posting_rule]]\nid = \"p\"\nmeter = \"tokenz\"\nlegal_entity = \"at\"\ndebit = \"1\"\ncredit = \"2\"\n",
        expect![[""]],
    );
    let many: String =
        (10..60).map(|n| format!("[[customer]]\nid = \"customer-{n}\"\nsubjects = [\"{n}\"]\n")).collect();
    let case = |name: &str| {
        format!(
            "{many}[[subscription]]\nid = \"s\"\ncustomer = \"{name}\"\nrate_card = \"std\"\nstart = 2026-05-01\n"
        )
    };
    check(&case("custmer-23"), expect![[""]]);
    check(&case("globex"), expect![[""]]);
}

#[test]
fn a_broken_entry_or_file_does_not_echo_as_a_missing_reference() {
    check(
        "[[rate_card]]\nid = \"new\"\ncurrency = \"DOGE\"\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\ncharge = [{ meter = \"tokens\", price = { per_unit = \"1\" } }]\n[[subscription]]\nid = \"s\"\ncustomer = \"acme\"\nrate_card = \"new\"\nstart = 2026-05-01\n",
        expect![[""]],
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
    expect![[""]].assert_eq(&broken.to_string());
}

#[test]
fn a_subject_has_one_customer() {
    check(
        "[[customer]]\nid = \"b\"\nsubjects = [\"b\", \"acme-2\", \"b\"]\n[[customer]]\nid = \"elsewhere\"\ntenant = \"eu\"\nsubjects = [\"acme-2\"]\n",
        expect![[""]],
    );
    check(
        "[[customer]]\nid = \"rest\"\nsubjects = [\"*\"]\n[[customer]]\nid = \"more\"\nsubjects = [\"*\"]\n[[customer]]\nid = \"eu\"\ntenant = \"eu\"\nsubjects = [\"*\"]\n",
        expect![[""]],
    );
    check(
        "[[customer]]\nid = \"x\"\nsubjects = [\"x\", \"*\"]\n[[customer]]\nid = \"y\"\nsubjects = []\n",
        expect![[""]],
    );
}

#[test]
fn subscriptions_agree_with_customer_and_rate_card() {
    check(
        "[[subscription]]\nid = \"s\"\ntenant = \"eu\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-05-01\ncurrency = \"USD\"\n",
        expect![[""]],
    );
}

#[test]
fn times_of_a_subscription() {
    let subscription = |lines: &str| {
        format!("[[subscription]]\nid = \"s\"\ncustomer = \"acme\"\nrate_card = \"std\"\n{lines}\n")
    };
    for (lines, expected) in [
        ("start = 2026-05-01T00:00:00", expect![[""]]),
        ("start = \"May 1\"", expect![[""]]),
        ("start = \"2026-02-30T00:00:00Z\"", expect![[""]]),
        ("start = 20260501\nperiod = \"week\"", expect![[""]]),
        ("start = 2026-05-01\nend = 2026-05-01", expect![[""]]),
        ("start = 2026-05-01\nperiod_anchor = 2026-05-01T00:00:00Z", expect![[""]]),
        ("start = 0001-01-01", expect![[""]]),
    ] {
        check(&subscription(lines), expected);
    }
}

#[test]
fn a_legal_entity_is_named_when_there_are_several_or_none() {
    let second = "[[legal_entity]]\nid = \"us\"\n";
    check(second, expect![[""]]);
    let none = errors(&[(
        "base.toml",
        &BASE.replace("[[legal_entity]]\nid = \"de\"\ntime_zone = \"Europe/Berlin\"\n", ""),
    )]);
    expect![[""]].assert_eq(&none.to_string());
}

fn charge_case(charge: &str) -> String {
    format!(
        "[[rate_card]]\nid = \"r\"\ncurrency = \"EUR\"\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\n[[rate_card.version.charge]]\nmeter = \"tokens\"\n{charge}\n"
    )
}

#[test]
fn a_float_price_is_refused() {
    for (charge, expected) in [
        ("price = { per_unit = 0.1 }", expect![[""]]),
        ("price = { per_unit = 1e-6 }\nmaximum = 10.0", expect![[""]]),
        ("price = { graduated = [{ up_to = 1.5, unit = 1.0, flat = nan }, { unit = inf }] }", expect![[""]]),
        ("price = { package = { size = 1.0, price = 2.0, free = 3.0 } }", expect![[""]]),
    ] {
        check(&charge_case(charge), expected);
    }
}

#[test]
fn prices() {
    for (charge, expected) in [
        ("price = \"0.1\"", expect![[""]]),
        ("price = {}", expect![[""]]),
        ("price = { per_unit = \"1\", volume = [{ unit = \"1\" }] }", expect![[""]]),
        ("price = { per_unit = \"-1\" }\nmaximum = -5", expect![[""]]),
        ("price = { per_unit = \"0,1\" }", expect![[""]]),
        ("price = { per_unit = \"1e-40\" }", expect![[""]]),
        ("price = { per_unit = true }", expect![[""]]),
        ("price = { stairstep = [] }", expect![[""]]),
        ("price = { graduated = [] }", expect![[""]]),
        ("price = { graduated = [{ up_to = \"5\", unit = \"1\" }] }", expect![[""]]),
        ("price = { volume = [{ unit = \"1\" }, { unit = \"1\" }] }", expect![[""]]),
        (
            "price = { volume = [{ up_to = 5, unit = 1 }, { up_to = 5, unit = 1 }, { up_to = \"4.9\", flat = 1 }, { unit = 1 }] }",
            expect![[""]],
        ),
        ("price = { volume = [{ up_to = 0, unit = 1 }, { flat = -1 }, {}] }", expect![[""]]),
        ("price = { package = { size = 0, price = 1, colour = 1 } }", expect![[""]]),
        (
            "price = { per_unit = \"1\" }\ntiers_per = [\"model\", \"region\", \"model\"]\nflat_fee_at_zero = \"yes\"",
            expect![[""]],
        ),
    ] {
        check(&charge_case(charge), expected);
    }
}

#[test]
fn price_times_quantity_is_exact() {
    let fine = "[[meter]]\nid = \"fine\"\nevent_type = \"t\"\nfields = { a = \"decimal\" }\nvalue = \"a\"\naggregation = \"avg\"\nscale = 18\nwindow = \"hour\"\nunit = \"u\"\n";
    let charge = charge_case("price = { per_unit = \"0.0000000000001\" }").replace("tokens", "fine");
    check(&format!("{fine}{charge}"), expect![[""]]);
}

#[test]
fn versions_of_a_rate_card() {
    let charge = "charge = [{ meter = \"tokens\", price = { per_unit = 1 } }]";
    check(
        &format!(
            "[[rate_card]]\nid = \"r\"\ncurrency = \"XAU\"\n[[rate_card.version]]\nversion = 1\neffective_from = 2026-01-01\n{charge}\n[[rate_card.version]]\nversion = \"1\"\neffective_from = \"2026-01-01T01:00:00+01:00\"\n{charge}\n"
        ),
        expect![[""]],
    );
    check(
        "[[rate_card]]\nid = \"r\"\ncurrency = \"EUR\"\n[[rate_card.version]]\nversion = true\neffective_from = 2026-01-01\ncharge = [{ meter = \"tokens\", price = { per_unit = 1 } }, { meter = \"calls\", price = { per_unit = 1 } }, { meter = \"tokens\", price = { per_unit = 2 } }]\n",
        expect![[""]],
    );
}

#[test]
fn two_subscriptions_of_a_customer_do_not_price_the_same_meter_at_once() {
    check(
        "[[subscription]]\nid = \"more\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-03-31\n[[subscription]]\nid = \"most\"\ncustomer = \"acme\"\nrate_card = \"std\"\nstart = 2026-12-01\nend = 2027-01-01\n",
        expect![[""]],
    );
}

#[test]
fn every_charge_can_be_posted() {
    let specific = BASE.replace("id = \"all\"\n", "id = \"all\"\nmeter = \"calls\"\n");
    expect![[""]].assert_eq(&errors(&[("base.toml", &specific)]).to_string());
    check("[[posting_rule]]\nid = \"too\"\ndebit = \"1400\"\ncredit = \"1400\"\n", expect![[""]]);
}

#[test]
fn syntax_errors_have_their_line_and_hide_no_other_file() {
    let all = errors(&[
        ("a.toml", "[[meter]]\nid = \"x\"\nid = \"y\"\n\n[timing\n"),
        ("b.toml", "[timing]\ngrace = 5m\n"),
        ("c.toml", "[timing]\ngrace = \"5w\"\n"),
    ]);
    expect![[""]].assert_eq(&all.to_string());
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
    expect![[""]].assert_eq(&all.to_string());
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
