//! How do bytes become events? Records of JSON CloudEvents in, one block of columns and the wanted values out.
//!
//! Reading order: `event` (what a usage event is), `content` (digest and extraction), `json` (the parser's seam),
//! `number` (when two numbers are the same), `media_type`, `wanted` (which values), `fault` (why not).
//!
//! Keeps: decoding is total; every record becomes exactly one event or one rejection, in the order of the source.
//! Common records cost no heap allocation of their own: names and strings are borrowed, buffers are used again.
//!
//! Deliberately absent: what the values mean. The block comes back without measurements.

mod content;
mod event;
pub mod fault;
mod json;
mod media_type;
mod number;
mod wanted;

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::HashTable;
use tidemark_core::batch::{EventBlock, Rejection, Route};
use tidemark_core::identity::DeploymentKey;
use tidemark_schemas::exception::EventRef;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::limits::EXCEPTION_PAYLOAD_BYTES_MAX;
use tidemark_schemas::time::ReceiveTime;

use crate::field_value::FieldValue;
use event::{Event, EventReader};
pub use event::{UsageAttributes, attributes};
use fault::Fault;
pub use wanted::{Wanted, WantedType};

/// What a list of records says.
#[derive(Debug)]
pub struct Decoded<'r> {
    /// Without measurements and refusals.
    pub block: EventBlock,
    /// `[WantedType::index]`
    pub rows: Vec<Rows<'r>>,
}

/// The wanted values of the events of one type.
#[derive(Clone, Debug, Default)]
pub struct Rows<'r> {
    /// Index of each row's event in the block, ascending.
    pub events: Vec<u32>,
    /// Row after row, each with one value per slot of the type.
    pub values: Vec<FieldValue<'r>>,
}

/// Where a block came from, and under which key its identities are hashed.
#[derive(Clone, Copy, Debug)]
pub struct Provenance<'p> {
    pub key: &'p DeploymentKey,
    pub tenant: &'p TenantId,
    pub origin: &'p str,
    pub received_at: ReceiveTime,
}

/// A record: its place in the source, from 1, and where it is in a text.
pub type PlacedRecord = (u64, Range<u32>);

/// Decodes records of a text. The block comes back without the text, which the values borrow.
///
/// # Panics
/// When a range is not in the text.
#[must_use]
pub fn decode<'r>(
    wanted: &Wanted,
    provenance: Provenance<'_>,
    text: &'r [u8],
    records: &[PlacedRecord],
) -> Decoded<'r> {
    let Provenance { key, tenant, origin, received_at } = provenance;
    let mut reader = EventReader::new(key, wanted);
    let mut blocks = BlockBuilder {
        block: EventBlock::with_capacity(tenant.clone(), origin.to_owned(), received_at, records.len()),
        text,
        rows: vec![Rows::default(); wanted.types()],
        routes: HashTable::new(),
        hashing: foldhash::fast::RandomState::default(),
    };
    for (place, range) in records {
        match reader.read(&text[range.start as usize..range.end as usize]) {
            Ok(event) => blocks.event(key, *place, range, &event, &mut reader.found),
            Err(fault) => blocks.rejection(*place, range, &fault),
        }
    }
    Decoded { block: blocks.block, rows: blocks.rows }
}

/// Records one after another in one text.
///
/// # Panics
/// When they have more than 4 GiB together; whoever joins records bounds them far below.
#[must_use]
pub fn joined<'r>(records: impl IntoIterator<Item = (u64, &'r [u8])>) -> (Vec<u8>, Vec<PlacedRecord>) {
    let offset = |bytes: usize| u32::try_from(bytes).expect("joined records are bounded far below 4 GiB");
    let (mut text, mut placed) = (Vec::new(), Vec::new());
    for (place, record) in records {
        let start = offset(text.len());
        text.extend_from_slice(record);
        placed.push((place, start..offset(text.len())));
    }
    (text, placed)
}

/// What is known of one event, for exceptions and answers. `None` when the record is no usage event.
#[must_use]
pub fn envelope(record: &[u8]) -> Option<EventRef> {
    attributes(record).map(|event| EventRef {
        source: event.source.into_owned(),
        id: event.id.into_owned(),
        event_type: event.event_type.into_owned(),
        subject: event.subject.into_owned(),
        time: event.time,
    })
}

struct BlockBuilder<'r> {
    block: EventBlock,
    text: &'r [u8],
    rows: Vec<Rows<'r>>,
    /// Indices into the block's routes.
    routes: HashTable<u32>,
    hashing: foldhash::fast::RandomState,
}

impl<'r> BlockBuilder<'r> {
    fn event(
        &mut self,
        key: &DeploymentKey,
        place: u64,
        range: &Range<u32>,
        event: &Event<'_, 'r>,
        found: &mut Vec<FieldValue<'r>>,
    ) {
        let index = u32::try_from(self.block.len()).expect("a block has fewer events than bytes");
        if let Some(wanted) = event.wanted {
            let rows = &mut self.rows[wanted.index];
            rows.events.push(index);
            rows.values.append(found);
        }
        let route = self.route(&event.event_type, &event.subject);
        let block = &mut self.block;
        block.identities.push(key.identity(block.tenant.as_str(), &event.source, &event.id));
        block.digests.push(event.digest);
        block.times.push(event.time);
        block.event_routes.push(route);
        block.ranges.push(range.clone());
        block.sources.push(place_in(self.text, &event.source));
        block.ids.push(place_in(self.text, &event.id));
        block.places.push(place);
    }

    fn rejection(&mut self, place: u64, range: &Range<u32>, fault: &Fault) {
        let kept = range.start..range.end.min(range.start.saturating_add(EXCEPTION_PAYLOAD_BYTES_MAX as u32));
        let (code, path, reason) = (fault.code, fault.path(), fault.reason.clone());
        self.block.rejections.push(Rejection { place, range: kept, code, path, reason });
    }

    fn route(&mut self, event_type: &str, subject: &str) -> u32 {
        let Self { block, routes, hashing, .. } = self;
        let hash = hashing.hash_one((event_type, subject));
        let same = |&index: &u32| {
            let route = &block.routes[index as usize];
            route.event_type == event_type && route.subject == subject
        };
        if let Some(&index) = routes.find(hash, same) {
            return index;
        }
        let index = u32::try_from(block.routes.len()).expect("a block has fewer routes than bytes");
        block.routes.push(Route { event_type: event_type.to_owned(), subject: subject.to_owned() });
        let rehash = |&index: &u32| {
            let route = &block.routes[index as usize];
            hashing.hash_one((route.event_type.as_str(), route.subject.as_str()))
        };
        routes.insert_unique(hash, index, rehash);
        index
    }
}

/// Where an attribute lies in the text; empty when it has escapes, because it was decoded to another place then.
fn place_in(text: &[u8], attribute: &str) -> Range<u32> {
    let start = attribute.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    if start >= text.len() {
        return 0..0;
    }
    start as u32..(start + attribute.len()) as u32
}
