//! How does a record become what the rules take? Decoding and metering, planned for one catalog.
//!
//! Wiring only: decoding extracts the values that some meter wants, metering turns them into measurements.
//! A plan is shared by all threads; a block depends on nothing but the plan and its records.

use tidemark_core::batch::EventBlock;
use tidemark_core::identity::DeploymentKey;
use tidemark_schemas::catalog::Catalog;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::time::ReceiveTime;

use crate::decode::{PlacedRecord, Provenance, Wanted, decode};
use crate::meter::{Measured, MeterMistake, MeterPlans, RowBatch, plan_meters};

/// The meters of one catalog, ready to read records.
#[derive(Debug)]
pub struct IngestPlan {
    key: DeploymentKey,
    wanted: Wanted,
    meters: MeterPlans,
}

impl IngestPlan {
    /// # Errors
    /// Every mistake of every meter.
    pub fn new(catalog: &Catalog, key: DeploymentKey) -> Result<Self, Vec<MeterMistake>> {
        let meters = plan_meters(&catalog.meters)?;
        let mut wanted = Wanted::default();
        for (index, plan) in meters.types.iter().enumerate() {
            assert_eq!(wanted.add_type(&plan.event_type), index, "types are numbered alike on both sides");
            for (slot, path) in plan.paths.iter().enumerate() {
                assert_eq!(
                    wanted.slot(&plan.event_type, path),
                    slot,
                    "slots are numbered alike on both sides"
                );
            }
        }
        Ok(Self { key, wanted, meters })
    }

    /// Decodes and measures records of a text, which becomes the block's.
    ///
    /// # Panics
    /// When a range is not in the text.
    #[must_use]
    pub fn decode(
        &self,
        tenant: &TenantId,
        origin: &str,
        received_at: ReceiveTime,
        text: Vec<u8>,
        records: &[PlacedRecord],
    ) -> EventBlock {
        let provenance = Provenance { key: &self.key, tenant, origin, received_at };
        let mut measured = Measured::with_capacity(records.len());
        let mut block = decode(&self.wanted, provenance, &text, records, |rows| {
            for (plan, rows) in self.meters.types.iter().zip(rows) {
                let rows = RowBatch { events: &rows.events, values: &rows.values, slots: plan.paths.len() };
                plan.measure(rows, tenant, &self.key, &mut measured);
            }
            measured.put_in_order();
        });
        block.text = text;
        block.measurements = measured.measurements;
        block.refusals = measured.refusals;
        block.dimension_values = measured.dimension_values;
        block
    }
}

#[cfg(test)]
mod tests;
