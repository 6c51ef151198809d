//! Which catalog must the product have, so that every event of a scenario has a meter, a customer and a price?
//!
//! Two files: `catalog.toml` with everything shared, `customers.toml` with one customer and one subscription each.
//! Subjects and customers have the same names, so totals can be compared without a look-up.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::event::{EventType, subject};

/// One meter: the sum of `data.tokens` of one event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumMeter {
    pub id: &'static str,
    pub event_type: EventType,
}

/// The meter of the scenarios `http` and `crash`.
pub const LOAD_METERS: [SumMeter; 1] = [SumMeter { id: "tokens", event_type: EventType::ApiRequest }];

/// The meters of generated files, one per event type.
pub const FILE_METERS: [SumMeter; 3] = [
    SumMeter { id: "api_tokens", event_type: EventType::ApiRequest },
    SumMeter { id: "llm_tokens", event_type: EventType::LlmTokens },
    SumMeter { id: "storage_tokens", event_type: EventType::StorageWrite },
];

/// Writes the catalog into `folder`, which is made when it is missing.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, meters: &[SumMeter], customers: u32) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("catalog.toml"), shared(meters))?;
    std::fs::write(folder.join("customers.toml"), customer_entries(customers))
}

fn shared(meters: &[SumMeter]) -> String {
    let mut text = String::from("[timing]\ndisorder = \"5m\"\ngrace = \"10m\"\n\n");
    for SumMeter { id, event_type } in meters {
        let event_type = event_type.name();
        add(
            &mut text,
            format_args!(
                "[[meter]]\nid = \"{id}\"\nevent_type = \"{event_type}\"\nfields = {{ tokens = \"decimal(0)\" }}\n\
                 value = \"tokens\"\naggregation = \"sum\"\nwindow = \"hour\"\nunit = \"token\"\n\n"
            ),
        );
    }
    text.push_str("[[rate_card]]\nid = \"std\"\ncurrency = \"USD\"\n\n");
    text.push_str("[[rate_card.version]]\nversion = \"1\"\neffective_from = \"2026-01-01\"\n\n");
    for SumMeter { id, .. } in meters {
        add(
            &mut text,
            format_args!(
                "[[rate_card.version.charge]]\nmeter = \"{id}\"\nprice = {{ per_unit = \"0.000001\" }}\n\n"
            ),
        );
    }
    text.push_str("[[legal_entity]]\nid = \"main\"\n\n");
    text.push_str("[[posting_rule]]\nid = \"usage\"\ndebit = \"1150\"\ncredit = \"4000\"\n");
    text
}

fn customer_entries(customers: u32) -> String {
    let mut text = String::new();
    for number in 0..customers {
        let name = subject(number);
        add(
            &mut text,
            format_args!(
                "[[customer]]\nid = \"{name}\"\ntenant = \"default\"\nsubjects = [\"{name}\"]\n\n\
                 [[subscription]]\nid = \"sub-{name}\"\ntenant = \"default\"\ncustomer = \"{name}\"\n\
                 rate_card = \"std\"\nstart = \"2026-01-01\"\n\n"
            ),
        );
    }
    text
}

fn add(text: &mut String, entry: std::fmt::Arguments<'_>) {
    text.write_fmt(entry).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_has_a_price_and_every_customer_a_subscription() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder.path().join("new"), &FILE_METERS, 250).expect("written");
        let read = |name: &str| -> toml::Table {
            let text = std::fs::read_to_string(folder.path().join("new").join(name)).expect("read");
            toml::from_str(&text).expect("TOML")
        };
        let texts = |entries: &toml::Value, key: &str| -> Vec<String> {
            let entries = entries.as_array().expect("a list of tables");
            entries.iter().map(|entry| entry[key].as_str().expect("text").into()).collect()
        };
        let shared = read("catalog.toml");
        let charges = &shared["rate_card"][0]["version"][0]["charge"];
        assert_eq!(texts(&shared["meter"], "id"), texts(charges, "meter"));
        assert_eq!(texts(&shared["meter"], "event_type"), EventType::ALL.map(EventType::name));
        assert_eq!(charges[0]["price"]["per_unit"].as_str(), Some("0.000001"));
        let people = read("customers.toml");
        let customers = texts(&people["customer"], "id");
        assert_eq!(customers.len(), 250);
        assert_eq!(customers[249], "cust-00249");
        assert_eq!(customers, texts(&people["subscription"], "customer"));
    }
}
