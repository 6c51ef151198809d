//! A series row: period, billed amount unrounded and in minor units, usage by rate card version.

use std::collections::BTreeMap;

use tidemark_core::rate::Series;

use super::window::{read_aggregate, write_aggregate};
use super::{Codec, Damaged, Reader, Writer};

impl Codec for Series {
    const VERSION: u8 = 1;

    fn encode(&self, writer: &mut Writer) {
        writer.span(self.period);
        writer.decimal(self.amount);
        writer.i128(self.amount_minor);
        writer.u32(u32::try_from(self.parts.len()).expect("a period has few rate card versions"));
        for (effective_from, usage) in &self.parts {
            writer.time(*effective_from);
            writer.option(usage.as_ref(), write_aggregate);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (period, amount, amount_minor) = (reader.span()?, reader.decimal()?, reader.i128()?);
        let mut parts = BTreeMap::new();
        for _ in 0..reader.count()? {
            parts.insert(reader.time()?, reader.option(read_aggregate)?);
        }
        Ok(Self { period, parts, amount, amount_minor })
    }
}
