//! Under which terms is usage taken? A catalog of every aggregation, with whatever prices and timing a test chooses.

use proptest::prelude::*;

/// What differs between catalogs.
#[derive(Clone, Debug)]
pub struct Terms {
    /// One for each meter, into [`PRICES`]; beyond its end the meter has no price.
    pub prices: [usize; METERS.len()],
    /// From 1 February on.
    pub prices_later: [usize; METERS.len()],
    pub horizon_days: u16,
    pub groups_max: u16,
    pub post_lines_max: u16,
    pub zone: &'static str,
}

/// Name, event type, aggregation, value, window.
const METERS: [(&str, &str, &str, &str, &str); 7] = [
    ("tokens", "llm.request", "sum", "tokens", "hour"),
    ("peak", "llm.request", "max", "tokens", "hour"),
    ("mean", "llm.request", "avg", "tokens", "day"),
    ("calls", "llm.request", "count", "", "day"),
    ("models", "llm.request", "unique_count", "model", "day"),
    ("level", "disk.level", "latest", "tokens", "hour"),
    ("least", "disk.level", "min", "tokens", "period"),
];

const PRICES: [&str; 4] = [
    r#"{ per_unit = "0.0137" }"#,
    r#"{ graduated = [{ up_to = "100", unit = "0.1", flat = "5" }, { unit = "0.033", flat = "1" }] }"#,
    r#"{ volume = [{ up_to = "250.5", unit = "0.1" }, { unit = "0.07", flat = "3" }] }"#,
    r#"{ package = { size = "75", price = "0.35", free = "10" } }"#,
];

/// Any terms; `horizon_days` and `groups_max` decide what waits, so a test may fix them.
pub fn terms() -> impl Strategy<Value = Terms> {
    let price = 0..=PRICES.len();
    (
        proptest::array::uniform7(price.clone()),
        proptest::array::uniform7(price),
        prop_oneof![Just(1_u16), Just(35), Just(400)],
        prop_oneof![Just(2_u16), Just(100)],
        prop_oneof![Just(2_u16), Just(900)],
        proptest::sample::select(vec!["UTC", "America/New_York", "Asia/Kathmandu"]),
    )
        .prop_map(|(prices, prices_later, horizon_days, groups_max, post_lines_max, zone)| Terms {
            prices,
            prices_later,
            horizon_days,
            groups_max,
            post_lines_max,
            zone,
        })
}

/// Per unit everywhere, and nothing waits that need not.
pub fn plain() -> Terms {
    Terms {
        prices: [0; METERS.len()],
        prices_later: [0; METERS.len()],
        horizon_days: 400,
        groups_max: 100,
        post_lines_max: 900,
        zone: "UTC",
    }
}

/// A flat fee for each period, with or without usage.
pub fn with_fees() -> Terms {
    Terms { prices: [1; METERS.len()], prices_later: [1; METERS.len()], ..plain() }
}

impl Terms {
    /// The catalog's file.
    pub fn text(&self) -> String {
        let meters: String = METERS.iter().map(|meter| self.meter(meter)).collect();
        let customers: String = ["acme", "bolt", "cargo"].iter().map(|name| self.customer(name)).collect();
        format!(
            r#"
[timing]
disorder = "5m"
grace = "5m"
adjust_every = "5m"
horizon = "{}d"
post_lines_max = {}

[[rate_card]]
id = "std"
currency = "USD"
[[rate_card.version]]
version = "1"
effective_from = "2026-01-01"
{}
[[rate_card.version]]
version = "2"
effective_from = "2026-02-01"
{}
[[legal_entity]]
id = "main"

[[posting_rule]]
id = "usage"
debit = "1150"
credit = "4000"

[[posting_rule]]
id = "calls"
meter = "calls"
debit = "1150"
credit = "4010"
{meters}{customers}"#,
            self.horizon_days,
            self.post_lines_max,
            charges(&self.prices),
            charges(&self.prices_later),
        )
    }

    fn meter(
        &self,
        (name, event_type, aggregation, value, window): &(&str, &str, &str, &str, &str),
    ) -> String {
        let value = if value.is_empty() { String::new() } else { format!("value = \"{value}\"\n") };
        format!(
            "\n[[meter]]\nid = \"{name}\"\nevent_type = \"{event_type}\"\n\
             fields = {{ tokens = \"decimal(2)\", model = \"text\" }}\n{value}aggregation = \"{aggregation}\"\n\
             dimensions = [\"model\"]\ngroups_max = {}\nwindow = \"{window}\"\nunit = \"unit\"\nscale = 2\n",
            self.groups_max
        )
    }

    fn customer(&self, name: &str) -> String {
        format!(
            "\n[[customer]]\nid = \"{name}\"\nsubjects = [\"{name}\"]\n\n[[subscription]]\nid = \"{name}-1\"\n\
             customer = \"{name}\"\nrate_card = \"std\"\nstart = \"2026-01-01\"\ntime_zone = \"{}\"\n",
            self.zone
        )
    }
}

/// A rate card version has at least one charge, so the first meter always has a price.
fn charges(prices: &[usize; METERS.len()]) -> String {
    let price = |at: usize| PRICES.get(prices[at]).copied().or((at == 0).then_some(PRICES[0]));
    let charge = |(at, meter): (usize, &(&str, &str, &str, &str, &str))| {
        let price = price(at)?;
        Some(format!("[[rate_card.version.charge]]\nmeter = \"{}\"\nprice = {price}\n", meter.0))
    };
    METERS.iter().enumerate().filter_map(charge).collect()
}
