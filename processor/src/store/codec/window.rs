//! A window row: end, period, series, price version, what is settled, what is pending, evidence, revision, reported.
//! Aggregates are a tag and their state; members of a unique count are ascending.

use tidemark_core::aggregate::Aggregate;
use tidemark_core::identity::Identity;
use tidemark_core::state::{SeriesId, Window};
use tidemark_schemas::summary::Evidence;

use super::{Codec, Damaged, Reader, Writer};

impl Codec for Window {
    const VERSION: u8 = 1;

    fn encode(&self, writer: &mut Writer) {
        writer.time(self.end);
        writer.span(self.period);
        writer.u128(self.series.0);
        writer.time(self.effective_from);
        writer.option(self.settled.as_ref(), write_aggregate);
        writer.option(self.pending.as_ref(), write_aggregate);
        writer.u64(self.evidence.events);
        writer.u128(self.evidence.digest);
        writer.u32(self.revision);
        writer.decimal(self.reported);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            end: reader.time()?,
            period: reader.span()?,
            series: SeriesId(reader.u128()?),
            effective_from: reader.time()?,
            settled: reader.option(read_aggregate)?,
            pending: reader.option(read_aggregate)?,
            evidence: Evidence { events: reader.u64()?, digest: reader.u128()? },
            revision: reader.u32()?,
            reported: reader.decimal()?,
        })
    }
}

pub(super) fn write_aggregate(writer: &mut Writer, aggregate: &Aggregate) {
    match aggregate {
        Aggregate::Count(count) => {
            writer.u8(1);
            writer.u64(*count);
        }
        Aggregate::Sum(units) => tagged(writer, 2, *units),
        Aggregate::Min(units) => tagged(writer, 3, *units),
        Aggregate::Max(units) => tagged(writer, 4, *units),
        Aggregate::Average { sum, count } => {
            tagged(writer, 5, *sum);
            writer.u64(*count);
        }
        Aggregate::Latest { time, identity, value } => {
            tagged(writer, 6, *value);
            writer.time(*time);
            writer.u128(identity.0);
        }
        Aggregate::Unique(members) => {
            writer.u8(7);
            writer.u32(u32::try_from(members.len()).expect("members of a window are capped"));
            members.iter().for_each(|member| writer.u128(*member));
        }
    }
}

fn tagged(writer: &mut Writer, tag: u8, units: i128) {
    writer.u8(tag);
    writer.i128(units);
}

pub(super) fn read_aggregate(reader: &mut Reader<'_>) -> Result<Aggregate, Damaged> {
    Ok(match reader.u8()? {
        1 => Aggregate::Count(reader.u64()?),
        2 => Aggregate::Sum(reader.i128()?),
        3 => Aggregate::Min(reader.i128()?),
        4 => Aggregate::Max(reader.i128()?),
        5 => Aggregate::Average { sum: reader.i128()?, count: reader.u64()? },
        6 => {
            let value = reader.i128()?;
            Aggregate::Latest { time: reader.time()?, identity: Identity(reader.u128()?), value }
        }
        7 => {
            let count = reader.count()?;
            Aggregate::Unique((0..count).map(|_| reader.u128()).collect::<Result<_, _>>()?)
        }
        _ => return Err(Damaged("an aggregation that this release does not know")),
    })
}
