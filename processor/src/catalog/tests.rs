//! The catalog as its writers see it: what a good one means, and every mistake with its place.

mod folders;
mod good;
mod mistakes;

use expect_test::Expect;

use super::{CatalogErrors, parse};

/// A small catalog without mistakes. Cases add a file `case.toml` to it.
const BASE: &str = r#"
[[meter]]
id = "tokens"
event_type = "llm.request"
fields = { tokens = "decimal", model = "text", region = "text" }
value = "tokens"
aggregation = "sum"
dimensions = ["model"]
window = "hour"
unit = "token"

[[meter]]
id = "calls"
event_type = "api.call"
aggregation = "count"
window = "day"
unit = "call"

[[legal_entity]]
id = "de"
time_zone = "Europe/Berlin"

[[customer]]
id = "acme"
subjects = ["acme-1", "acme-2"]

[[rate_card]]
id = "std"
currency = "EUR"

[[rate_card.version]]
version = 1
effective_from = 2026-01-01

[[rate_card.version.charge]]
meter = "tokens"
price = { per_unit = "0.0001" }

[[subscription]]
id = "acme-std"
customer = "acme"
rate_card = "std"
start = 2026-01-01
end = 2026-04-01

[[posting_rule]]
id = "all"
debit = "1400"
credit = "4000"
"#;

fn files(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn errors(texts: &[(&str, &str)]) -> CatalogErrors {
    parse(&files(texts)).expect_err("the catalog has a mistake")
}

/// The mistakes that `case.toml` adds to [`BASE`], one a line.
fn check(case: &str, expected: Expect) {
    expected.assert_eq(&errors(&[("base.toml", BASE), ("case.toml", case)]).to_string());
}
