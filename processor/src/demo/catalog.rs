//! Who buys, at which price, and in whose books? The demo's catalog, as the files that a user would write.
//!
//! Keeps: customer n has subject n, subscription n and debtor n, so that the trace and the catalog agree by number.
//! Odd customers buy from the company in the United States, even ones from the one in the European Union.
//! Deliberately absent: reading catalogs. The product reads these files like anybody's.

use std::fmt::Write;

/// How many customers the demo has.
pub const CUSTOMERS: u32 = 5_000;

/// The tenant that the demo's events are received for.
pub const TENANT: &str = "default";

/// A customer's CloudEvents subject is this and its number in five digits.
pub const SUBJECT_PREFIX: &str = "user-";

/// The two companies that sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegalEntity {
    Us,
    Eu,
}

/// One file of a catalog's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogFile {
    /// Inside the catalog's folder.
    pub name: &'static str,
    /// TOML.
    pub text: String,
}

impl LegalEntity {
    pub const ALL: [Self; 2] = [Self::Us, Self::Eu];

    /// Its id in the catalog.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Us => "tide-us",
            Self::Eu => "tide-eu",
        }
    }
}

/// The demo's catalog: five short files to read, and two that list customers and subscriptions.
#[must_use]
pub fn files() -> Vec<CatalogFile> {
    let file = |name, text: &str| CatalogFile { name, text: text.to_owned() };
    vec![
        file("timing.toml", include_str!("catalog/timing.toml")),
        file("meters.toml", include_str!("catalog/meters.toml")),
        file("rate_card.toml", include_str!("catalog/rate_card.toml")),
        file("legal_entities.toml", include_str!("catalog/legal_entities.toml")),
        file("posting_rules.toml", include_str!("catalog/posting_rules.toml")),
        CatalogFile { name: "customers.toml", text: listed(write_customer) },
        CatalogFile { name: "subscriptions.toml", text: listed(write_subscription) },
    ]
}

/// Customer n's id.
#[must_use]
pub fn customer_id(number: u32) -> String {
    format!("cust-{number:05}")
}

/// Whose books customer n's revenue goes into.
#[must_use]
pub fn legal_entity_of(number: u32) -> LegalEntity {
    if number % 2 == 1 { LegalEntity::Us } else { LegalEntity::Eu }
}

/// Customer n's name; no two are alike.
#[must_use]
pub fn customer_name(number: u32) -> String {
    // The last word alternates with the company, so 50 times 50 pairs name 5,000 customers.
    let pair = (number - 1) / 2;
    let first = FIRST_WORDS[(pair % 50) as usize];
    let second = SECOND_WORDS[((pair / 50 + pair) % 50) as usize];
    let form = match legal_entity_of(number) {
        LegalEntity::Us => "Inc",
        LegalEntity::Eu => "GmbH",
    };
    format!("{first} {second} {form}")
}

fn listed(write: fn(u32, &mut String)) -> String {
    let mut text = String::new();
    for number in 1..=CUSTOMERS {
        write(number, &mut text);
    }
    text
}

fn write_customer(number: u32, text: &mut String) {
    let (id, name) = (customer_id(number), customer_name(number));
    write!(
        text,
        r#"[[customer]]
id = "{id}"
tenant = "{TENANT}"
name = "{name}"
subjects = ["{SUBJECT_PREFIX}{number:05}"]
billing_subscriber = "subscriber-{number:05}"
erp_debtor = "D{number:05}"

"#
    )
    .expect("writing to memory does not fail");
}

fn write_subscription(number: u32, text: &mut String) {
    let (customer, entity) = (customer_id(number), legal_entity_of(number).id());
    write!(
        text,
        r#"[[subscription]]
id = "contract-{number:05}"
tenant = "{TENANT}"
customer = "{customer}"
rate_card = "llm-usd"
start = "2026-01-01"
time_zone = "UTC"
currency = "USD"
legal_entity = "{entity}"

"#
    )
    .expect("writing to memory does not fail");
}

#[rustfmt::skip]
const FIRST_WORDS: [&str; 50] = [
    "Amber", "Arctic", "Autumn", "Azure", "Bold", "Bright", "Bronze", "Calm", "Cedar", "Clear",
    "Cobalt", "Copper", "Coral", "Crimson", "Crystal", "Dawn", "Deep", "Early", "Eastern", "Emerald",
    "Evening", "First", "Flint", "Forest", "Garnet", "Gentle", "Golden", "Granite", "Harbor", "High",
    "Indigo", "Ivory", "Jade", "Linden", "Lunar", "Maple", "Marble", "Misty", "Morning", "Northern",
    "Olive", "Pearl", "Quiet", "Rapid", "Silver", "Solar", "Southern", "Stone", "Velvet", "Western",
];

#[rustfmt::skip]
const SECOND_WORDS: [&str; 50] = [
    "Anchor", "Archive", "Atlas", "Bakery", "Beacon", "Bridge", "Canvas", "Castle", "Clinic", "Compass",
    "Courier", "Dairy", "Drones", "Energy", "Falcon", "Ferry", "Fields", "Foundry", "Freight", "Gallery",
    "Garden", "Gears", "Health", "Heron", "Hotels", "Island", "Kitchen", "Labs", "Lantern", "Legal",
    "Library", "Logistics", "Marina", "Media", "Mills", "Mobility", "Motors", "Optics", "Orchard", "Outdoor",
    "Papers", "Pharma", "Press", "Radio", "Robotics", "School", "Studio", "Textiles", "Travel", "Works",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parsed(name: &str) -> toml::Table {
        let files = files();
        let file = files.iter().find(|file| file.name == name).expect("a file of the catalog");
        file.text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn entries(name: &str, key: &str) -> Vec<toml::Table> {
        let file = parsed(name);
        let list = file[key].as_array().expect("an array of tables");
        list.iter().map(|entry| entry.as_table().expect("a table").clone()).collect()
    }

    fn values(entries: &[toml::Table], key: &str) -> BTreeSet<String> {
        entries.iter().filter_map(|entry| entry.get(key)?.as_str().map(str::to_owned)).collect()
    }

    #[test]
    fn every_reference_resolves() {
        let customers = entries("customers.toml", "customer");
        let subscriptions = entries("subscriptions.toml", "subscription");
        let entities = values(&entries("legal_entities.toml", "legal_entity"), "id");
        let meters = values(&entries("meters.toml", "meter"), "id");
        let cards = entries("rate_card.toml", "rate_card");
        let rules = entries("posting_rules.toml", "posting_rule");

        assert_eq!(values(&customers, "id").len(), CUSTOMERS as usize);
        assert_eq!(values(&customers, "name").len(), CUSTOMERS as usize, "no two names are alike");
        assert_eq!(values(&subscriptions, "customer"), values(&customers, "id"));
        assert_eq!(values(&subscriptions, "rate_card"), values(&cards, "id"));
        assert_eq!(values(&subscriptions, "legal_entity"), entities);
        assert_eq!(entities, LegalEntity::ALL.map(|entity| entity.id().to_owned()).into());
        assert_eq!(values(&rules, "legal_entity"), entities);
        assert_eq!(values(&rules, "meter"), meters);
        assert_eq!(rules.len(), entities.len() * meters.len(), "one rule for each");
        let charged = cards[0]["version"][0]["charge"].as_array().expect("charges");
        let charged: BTreeSet<_> = charged.iter().filter_map(|charge| charge["meter"].as_str()).collect();
        assert_eq!(charged, meters.iter().map(String::as_str).collect());
    }

    #[test]
    fn the_timing_is_the_one_the_trace_is_made_for() {
        let timing = parsed("timing.toml");
        assert_eq!(timing["timing"]["disorder"].as_str(), Some("2m"));
        assert_eq!(timing["timing"]["grace"].as_str(), Some("3m"));
    }

    #[test]
    fn half_of_the_customers_buy_from_each_company() {
        let of = |entity| (1..=CUSTOMERS).filter(|number| legal_entity_of(*number) == entity).count();
        assert_eq!(LegalEntity::ALL.map(of), [2_500, 2_500]);
    }
}
