//! Blocks for tests, decoded as they would be.

use tidemark_core::batch::EventBlock;
use tidemark_core::identity::DeploymentKey;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::time::ReceiveTime;

use crate::decode::{Provenance, Wanted, decode, joined};

/// An event of the source `/s` with this id, as it stands in JSON.
pub fn event(id: &str) -> String {
    event_of("/s", id, "t", "s")
}

/// Everything as it stands in JSON, escapes included.
pub fn event_of(source: &str, id: &str, event_type: &str, subject: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{event_type}","subject":"{subject}","time":"2026-01-15T10:00:00Z"}}"#
    )
}

/// A block of the tenant `t`, with its text.
pub fn block(records: &[String]) -> EventBlock {
    let (text, placed) = joined((1..).zip(records.iter().map(|record| record.as_bytes())));
    let provenance = Provenance {
        key: &DeploymentKey([9; 16]),
        tenant: &TenantId::new("t").expect("a name"),
        origin: "file",
        received_at: ReceiveTime::from_micros(77),
    };
    let mut block = decode(&Wanted::default(), provenance, &text, &placed, |_| {});
    assert_eq!((block.len(), block.rejections.len()), (records.len(), 0), "all records are events");
    block.text = text;
    block
}
