//! The partition's one row: commits, counts, clock, sequences.

use tidemark_core::state::{Counts, Progress};

use super::{Codec, Damaged, Reader, Writer};

impl Codec for Progress {
    const VERSION: u8 = 2;

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.commits);
        let Counts { received, counted, again, rejected, exceptions, late, conflicts, unarchived } =
            self.counts;
        [received, counted, again, rejected, exceptions, late, conflicts]
            .into_iter()
            .for_each(|count| writer.u64(count));
        writer.option(self.newest, Writer::time);
        writer.option(self.declared, Writer::time);
        writer.u64(self.rated);
        writer.u64(self.journal);
        writer.u64(self.billed);
        writer.u64(self.booked);
        writer.option(self.latest_period_end, Writer::time);
        writer.u64(unarchived);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut progress = version_1(reader)?;
        progress.counts.unarchived = reader.u64()?;
        Ok(progress)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let progress = match reader.u8()? {
            1 => version_1(&mut reader)?,
            Self::VERSION => Self::decode(&mut reader)?,
            _ => return Err(Damaged("the layout version is not one this release reads")),
        };
        reader.finish()?;
        Ok(progress)
    }
}

/// Without `unarchived`, which nobody counted then.
fn version_1(reader: &mut Reader<'_>) -> Result<Progress, Damaged> {
    let commits = reader.u64()?;
    let counts = Counts {
        received: reader.u64()?,
        counted: reader.u64()?,
        again: reader.u64()?,
        rejected: reader.u64()?,
        exceptions: reader.u64()?,
        late: reader.u64()?,
        conflicts: reader.u64()?,
        unarchived: 0,
    };
    if !counts.is_conserved() {
        return Err(Damaged("received is not counted + again + rejected + exceptions (I-8)"));
    }
    Ok(Progress {
        commits,
        counts,
        newest: reader.option(Reader::time)?,
        declared: reader.option(Reader::time)?,
        rated: reader.u64()?,
        journal: reader.u64()?,
        billed: reader.u64()?,
        booked: reader.u64()?,
        latest_period_end: reader.option(Reader::time)?,
    })
}
