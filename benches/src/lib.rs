//! What do the benches measure on? Usage in the shape of `tidemark-load generate`: 240 bytes an event, 10,000 customers of
//! whom a few are busy, three event types, time moving on.

use std::fmt::Write;
use std::sync::Arc;

use tidemark::ingest_plan::IngestPlan;
use tidemark::partition::{Preparer, RawBlock};
use tidemark_core::identity::DeploymentKey;
use tidemark_core::terms::Terms;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::time::{EventTime, MICROS_PER_DAY, ReceiveTime};

/// Customers of the catalog.
pub const CUSTOMERS: usize = 10_000;

/// 1 February 2026, after every event.
const RECEIVED_AT_MICROS: i64 = 1_769_904_000_000_000;

const TYPES: [&str; 3] = ["api.request", "llm.tokens", "storage.write"];

/// The text of the catalog: an hourly sum for each type, one price for all.
#[must_use]
pub fn catalog() -> Vec<(String, String)> {
    let mut text = String::from(
        "[[rate_card]]\nid = \"std\"\ncurrency = \"USD\"\n[[rate_card.version]]\nversion = \"1\"\n\
         effective_from = \"2026-01-01\"\n",
    );
    for at in 0..TYPES.len() {
        let _ = write!(
            text,
            "[[rate_card.version.charge]]\nmeter = \"m{at}\"\nprice = {{ per_unit = \"0.000001\" }}\n"
        );
    }
    for (at, event_type) in TYPES.iter().enumerate() {
        let _ = write!(
            text,
            "[[meter]]\nid = \"m{at}\"\nevent_type = \"{event_type}\"\nfields = {{ tokens = \"decimal(0)\" }}\n\
             value = \"tokens\"\naggregation = \"sum\"\nwindow = \"hour\"\nunit = \"token\"\n"
        );
    }
    text.push_str("[[legal_entity]]\nid = \"main\"\n[[posting_rule]]\nid = \"usage\"\ndebit = \"1150\"\ncredit = \"4000\"\n");
    for customer in 0..CUSTOMERS {
        let _ = write!(
            text,
            "[[customer]]\nid = \"c{customer}\"\nsubjects = [\"c{customer}\"]\n[[subscription]]\nid = \"s{customer}\"\n\
             customer = \"c{customer}\"\nrate_card = \"std\"\nstart = \"2026-01-01\"\n"
        );
    }
    vec![("catalog.toml".to_owned(), text)]
}

/// What prepares blocks under that catalog.
///
/// # Panics
/// When the catalog above is not a good one.
#[must_use]
pub fn preparer(key: DeploymentKey) -> Preparer {
    let terms = tidemark::catalog::parse(&catalog()).expect("a good catalog");
    let terms = Arc::new(Terms::new(Arc::new(terms)).expect("terms"));
    let plan = IngestPlan::new(&terms.catalog, key).expect("meters");
    Preparer::new(terms, plan, key, true)
}

/// A block of events whose numbers begin at `first`; other numbers are other events.
///
/// # Panics
/// When it would have more than 4 GiB.
#[must_use]
pub fn block(first: u64, events: u64) -> RawBlock {
    let (mut text, mut records) = (String::new(), Vec::new());
    for number in first..first + events {
        let start = u32::try_from(text.len()).expect("a small block");
        // SplitMix64: the same numbers on every machine.
        let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The square makes low numbers busy.
        let part = (bits & 0xffff) as usize;
        let customer = (part * part * CUSTOMERS) >> 32;
        let at = 1_767_225_600_000_000 + (number as i64 * 17_280) % (25 * MICROS_PER_DAY);
        let _ = write!(
            text,
            "{{\"specversion\":\"1.0\",\"id\":\"{number:08x}-{:04x}-{:04x}-{bits:020x}\",\"source\":\"api-gw-{}\",\
             \"type\":\"{}\",\"subject\":\"c{customer}\",\"time\":\"{}\",\
             \"data\":{{\"tokens\":{},\"model\":\"claude-sonnet\",\"region\":\"eu-central-1\"}}}}",
            bits >> 16 & 0xffff,
            bits >> 32 & 0xffff,
            bits % 4,
            TYPES[(bits >> 40) as usize % TYPES.len()],
            EventTime::from_micros(at),
            bits >> 20 & 0xfff,
        );
        records.push((number - first + 1, start..u32::try_from(text.len()).expect("a small block")));
        text.push('\n');
    }
    RawBlock {
        tenant: TenantId::new("default").expect("a name"),
        origin: "bench".to_owned(),
        received_at: ReceiveTime::from_micros(RECEIVED_AT_MICROS),
        text: text.into_bytes(),
        records,
        damaged: Vec::new(),
        position: None,
    }
}
