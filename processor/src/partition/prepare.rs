//! What can be done with a block before it is its turn? Everything that needs no state: decode, meter, resolve, compress.

use std::sync::Arc;

use tidemark_core::batch::{EventBlock, ReplayOf};
use tidemark_core::identity::DeploymentKey;
use tidemark_core::resolve::{Resolved, resolve};
use tidemark_core::terms::Terms;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::time::ReceiveTime;

use super::commit::Position;
use crate::archive::{ArchivedEvent, PackedBlock};
use crate::decode::{PlacedRecord, joined};
use crate::ingest_plan::IngestPlan;

/// Records as they came, one JSON CloudEvent each.
#[derive(Debug)]
pub struct RawBlock {
    pub tenant: TenantId,
    /// For people: a file name, an API key's id.
    pub origin: String,
    pub received_at: ReceiveTime,
    pub text: Vec<u8>,
    pub records: Vec<PlacedRecord>,
    /// Inputs that the source already found to be no record.
    pub damaged: Vec<Damaged>,
    /// Where the source stands after this block, for sources that can be read again.
    pub position: Option<Position>,
}

/// An input that a source could not make a record of.
#[derive(Clone, Debug)]
pub struct Damaged {
    pub place: u64,
    pub kept: Vec<u8>,
    pub code: &'static str,
    pub reason: String,
}

/// An exception whose event is to be booked.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub of: ReplayOf,
    pub payload: Vec<u8>,
}

/// A block that only waits for its turn.
pub struct PreparedBlock {
    pub block: EventBlock,
    pub resolved: Resolved,
    /// The terms it was resolved under. Under other terms it must be resolved again.
    pub terms: Arc<Terms>,
    /// The compressed events, when there is an archive.
    pub archive: Option<PackedBlock>,
    pub position: Option<Position>,
}

/// Turns raw blocks into prepared ones under one catalog. Shared by all threads that prepare.
pub struct Preparer {
    pub terms: Arc<Terms>,
    plan: IngestPlan,
    key: DeploymentKey,
    archives: bool,
}

impl Preparer {
    #[must_use]
    pub fn new(terms: Arc<Terms>, plan: IngestPlan, key: DeploymentKey, archives: bool) -> Self {
        Self { terms, plan, key, archives }
    }

    #[must_use]
    pub fn prepare(&self, raw: RawBlock) -> PreparedBlock {
        let mut block = self.plan.decode(&raw.tenant, &raw.origin, raw.received_at, raw.text, &raw.records);
        for damaged in raw.damaged {
            let start = u32::try_from(block.text.len()).expect("blocks are bounded far below 4 GiB");
            block.text.extend_from_slice(&damaged.kept);
            let range = start..start + damaged.kept.len() as u32;
            let (place, code, reason) = (damaged.place, damaged.code, damaged.reason);
            block.rejections.push(tidemark_core::batch::Rejection {
                place,
                range,
                code,
                path: "$".into(),
                reason,
            });
        }
        self.prepare_decoded(block, raw.position)
    }

    /// Events of one tenant that wait, to be booked under these terms. Payloads that are no event any more are left out.
    #[must_use]
    pub fn prepare_replay(
        &self,
        tenant: &TenantId,
        received_at: ReceiveTime,
        waiting: &[Waiting],
    ) -> PreparedBlock {
        let records = waiting.iter().zip(1..).map(|(waiting, place)| (place, waiting.payload.as_slice()));
        let (text, records) = joined(records);
        let mut block = self.plan.decode(tenant, "replay", received_at, text, &records);
        block.rejections.clear();
        block.replays = block.places.iter().map(|place| waiting[*place as usize - 1].of.clone()).collect();
        self.prepare_decoded(block, None)
    }

    /// A block that was prepared under another catalog, prepared again from its events' bytes: meters are known by their
    /// place in the catalog, and another catalog has other places.
    #[must_use]
    pub fn prepare_again(&self, prepared: PreparedBlock) -> PreparedBlock {
        let before = prepared.block;
        let records: Vec<_> = before.places.iter().copied().zip(before.ranges).collect();
        let mut block =
            self.plan.decode(&before.tenant, &before.origin, before.received_at, before.text, &records);
        block.rejections = before.rejections;
        block.replays = before.replays;
        let resolved = resolve(&self.terms, &self.key, &block);
        // The archived bytes do not depend on the catalog.
        let PreparedBlock { archive, position, .. } = prepared;
        PreparedBlock { block, resolved, terms: Arc::clone(&self.terms), archive, position }
    }

    /// The replayed events that `keep` says.
    #[must_use]
    pub fn prepare_part(&self, prepared: &PreparedBlock, keep: &[bool]) -> PreparedBlock {
        let before = &prepared.block;
        let kept: Vec<usize> = (0..before.len()).filter(|event| keep[*event]).collect();
        let (text, records) =
            joined(kept.iter().map(|event| (before.places[*event], before.event_text(*event))));
        let mut block = self.plan.decode(&before.tenant, &before.origin, before.received_at, text, &records);
        block.replays = kept.iter().map(|event| before.replays[*event].clone()).collect();
        self.prepare_decoded(block, None)
    }

    #[must_use]
    pub fn plan(&self) -> &IngestPlan {
        &self.plan
    }

    #[must_use]
    pub fn key(&self) -> DeploymentKey {
        self.key
    }

    /// Archived events of one tenant as they were taken: a pure function of their bytes and the catalog.
    #[must_use]
    pub fn resolve_again(&self, tenant: &TenantId, events: &[ArchivedEvent<'_>]) -> (EventBlock, Resolved) {
        let records = events.iter().zip(1..).map(|(event, place)| (place, &*event.raw));
        // None of them had a bad clock when it came, so the newest receive time serves all.
        let newest =
            events.iter().map(|event| event.received_at).max().unwrap_or(ReceiveTime::from_micros(0));
        let (text, records) = joined(records);
        let block = self.plan.decode(tenant, "archive", newest, text, &records);
        let resolved = resolve(&self.terms, &self.key, &block);
        (block, resolved)
    }

    #[must_use]
    pub fn prepare_decoded(&self, block: EventBlock, position: Option<Position>) -> PreparedBlock {
        let resolved = resolve(&self.terms, &self.key, &block);
        let archive =
            (self.archives && block.replays.is_empty() && !block.is_empty()).then(|| PackedBlock::of(&block));
        PreparedBlock { block, resolved, terms: Arc::clone(&self.terms), archive, position }
    }
}
