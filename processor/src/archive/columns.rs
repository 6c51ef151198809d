//! What are the columns of the archive, and how do events get into them and out again? The one place that encodes
//! archived events, for a block that becomes a row group by itself and for many small ones that share one.
//!
//! What became of an event is known last, so `fate` is not encoded with the other columns: a block waits in the store as a
//! Parquet file without it, and the file that the block ends in gets it then.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType, UInt64Type};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;
use tidemark_core::batch::EventBlock;
use tidemark_schemas::time::ReceiveTime;

use super::block::ArchivedEvent;
use super::pages::{Chunk, Encoder, Numbers, Repeated, bloom_filter};
use crate::decode::{UsageAttributes, attributes};

/// What became of a row, in the order of the numbers that a mask has.
pub const FATES: [&str; 3] = [IGNORED, COUNTED, "waiting"];

/// No event of the archive: a block had it that holds others, and it was known already or a conflict.
pub const IGNORED: &str = "ignored";

const COUNTED: &str = "counted";

const FATE: &str = "fate";

/// The columns of an archive file. `event` is the CloudEvent as received.
static WHOLE: LazyLock<Arc<SchemaDescriptor>> = LazyLock::new(|| schema(|_| true));

/// The same columns before the fates are known.
static WITHOUT_FATE: LazyLock<Arc<SchemaDescriptor>> = LazyLock::new(|| schema(|name| name != FATE));

fn schema(has: fn(&str) -> bool) -> Arc<SchemaDescriptor> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let time =
        |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
    let all = [
        text("tenant"),
        text("source"),
        text("id"),
        text("type"),
        text("subject"),
        time("time"),
        time("received_at"),
        text(FATE),
        text("origin"),
        Field::new("place", DataType::UInt64, false),
        text("event"),
    ];
    let fields: Vec<Field> = all.into_iter().filter(|field| has(field.name())).collect();
    let converted = ArrowSchemaConverter::new().convert(&Schema::new(fields));
    Arc::new(converted.expect("the columns are ours"))
}

/// Events that become one row group: each column has an entry for each of them.
struct Rows<'r> {
    tenant: Repeated<'r>,
    source: Repeated<'r>,
    id: Vec<&'r str>,
    event_type: Repeated<'r>,
    subject: Repeated<'r>,
    time: Vec<i64>,
    received_at: Vec<i64>,
    origin: Repeated<'r>,
    place: Vec<i64>,
    event: Vec<&'r [u8]>,
}

/// All columns but the fates of a row group to be, in order.
#[derive(Debug)]
pub struct Columns {
    chunks: Vec<Chunk>,
    pub rows: usize,
}

impl Columns {
    /// A block as it was decoded.
    #[must_use]
    pub fn of_block(block: &EventBlock) -> Self {
        let escaped: Vec<(usize, UsageAttributes<'_>)> = (0..block.len())
            .filter(|event| block.ids[*event].is_empty() || block.sources[*event].is_empty())
            .map(|event| (event, known(block.event_text(event))))
            .collect();
        let mut rows = Rows {
            tenant: Repeated::same(block.tenant.as_str(), block.len()),
            source: Repeated::with_capacity(block.len()),
            id: Vec::with_capacity(block.len()),
            event_type: Repeated::by_index(
                block.routes.iter().map(|route| route.event_type.as_str()),
                &block.event_routes,
            ),
            subject: Repeated::by_index(
                block.routes.iter().map(|route| route.subject.as_str()),
                &block.event_routes,
            ),
            time: block.times.iter().map(|time| time.micros()).collect(),
            received_at: vec![block.received_at.micros(); block.len()],
            origin: Repeated::same(&block.origin, block.len()),
            place: block.places.iter().map(|place| place.cast_signed()).collect(),
            event: block.ranges.iter().map(|range| block.slice(range)).collect(),
        };
        let text = |range: &Range<u32>| {
            std::str::from_utf8(block.slice(range)).expect("an attribute that was decoded is UTF-8")
        };
        let mut escaped = escaped.iter().peekable();
        for (event, (source, id)) in block.sources.iter().zip(&block.ids).enumerate() {
            let parsed = escaped.next_if(|(at, _)| *at == event).map(|(_, known)| known);
            rows.source.push(parsed.map_or_else(|| text(source), |known| &known.source));
            rows.id.push(parsed.map_or_else(|| text(id), |known| &known.id));
        }
        Self::encode(&rows)
    }

    /// Events of several blocks.
    #[must_use]
    pub fn of_events(events: &[ArchivedEvent<'_>]) -> Self {
        let known: Vec<_> = events.iter().map(|event| known(&event.raw)).collect();
        Self::encode(&Rows {
            tenant: events.iter().map(|event| &*event.tenant).collect(),
            source: known.iter().map(|known| &*known.source).collect(),
            id: known.iter().map(|known| &*known.id).collect(),
            event_type: known.iter().map(|known| &*known.event_type).collect(),
            subject: known.iter().map(|known| &*known.subject).collect(),
            time: known.iter().map(|known| known.time.micros()).collect(),
            received_at: events.iter().map(|event| event.received_at.micros()).collect(),
            origin: events.iter().map(|event| &*event.origin).collect(),
            place: events.iter().map(|event| event.place.cast_signed()).collect(),
            event: events.iter().map(|event| &*event.raw).collect(),
        })
    }

    fn encode(rows: &Rows<'_>) -> Self {
        let chunks = Self::chunks(rows).expect("columns of our own schema are encoded in memory");
        Self { chunks, rows: rows.event.len() }
    }

    fn chunks(rows: &Rows<'_>) -> Result<Vec<Chunk>, ParquetError> {
        let mut encoder = Encoder::new();
        let column = |index: usize| WITHOUT_FATE.column(index);
        let mut id = encoder.plain(&column(2), rows.id.iter().map(|id| id.as_bytes()))?;
        // An event is looked for by its id.
        id.close.bloom_filter = Some(bloom_filter(rows.id.iter().map(|id| id.as_bytes()))?);
        Ok(vec![
            encoder.repeated(&column(0), &rows.tenant)?,
            encoder.repeated(&column(1), &rows.source)?,
            id,
            encoder.repeated(&column(3), &rows.event_type)?,
            encoder.repeated(&column(4), &rows.subject)?,
            encoder.numbers(&column(5), &rows.time, Numbers::Ascending)?,
            encoder.numbers(&column(6), &rows.received_at, Numbers::Repeated)?,
            encoder.repeated(&column(7), &rows.origin)?,
            encoder.numbers(&column(8), &rows.place, Numbers::Ascending)?,
            encoder.plain(&column(9), rows.event.iter().copied())?,
        ])
    }

    /// A Parquet file with these columns only.
    #[must_use]
    pub fn into_file(self) -> Vec<u8> {
        let write = || -> Result<Vec<u8>, ParquetError> {
            let root = WITHOUT_FATE.root_schema_ptr();
            let mut writer = SerializedFileWriter::new(Vec::new(), root, properties())?;
            let mut group = writer.next_row_group()?;
            for chunk in self.chunks {
                group.append_column(&chunk.bytes, chunk.close)?;
            }
            group.close()?;
            writer.into_inner()
        };
        write().expect("a file of our own schema is written to memory")
    }

    /// The columns of a file that [`Columns::into_file`] wrote, without a look into their pages.
    ///
    /// # Errors
    /// [`ParquetError`] when it is none.
    pub fn of_file(file: &Bytes) -> Result<Self, ParquetError> {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
        let rows = rows_of(&metadata)?;
        let mut chunks = Vec::new();
        for column in metadata.row_group(0).columns() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size().cast_unsigned(),
                rows_written: rows as u64,
                metadata: column.clone(),
                bloom_filter: Sbbf::read_from_column_chunk(column, file)?,
                column_index: None,
                offset_index: None,
            };
            chunks.push(Chunk { bytes: file.clone(), close });
        }
        Ok(Self { chunks, rows })
    }

    /// Oldest and newest event time of its rows, microseconds since 1970.
    #[must_use]
    pub fn times(&self) -> Option<(i64, i64)> {
        let chunk = self.chunks.iter().find(|chunk| chunk.close.metadata.column_descr().name() == "time")?;
        match chunk.close.metadata.statistics()? {
            Statistics::Int64(times) => Some((*times.min_opt()?, *times.max_opt()?)),
            _ => None,
        }
    }
}

/// How many rows a file has that [`Columns::into_file`] wrote.
///
/// # Errors
/// [`ParquetError`] when it is none.
pub fn rows_of(metadata: &ParquetMetaData) -> Result<usize, ParquetError> {
    let columns = WITHOUT_FATE.num_columns();
    match metadata.row_groups() {
        [group] if group.num_columns() == columns => usize::try_from(group.num_rows())
            .map_err(|_| ParquetError::General("it has a negative number of rows".into())),
        _ => Err(ParquetError::General("it is not one row group of the archive's columns".into())),
    }
}

/// Writes an archive file, row group by row group.
pub struct FileWriter<W: std::io::Write + Send> {
    writer: SerializedFileWriter<W>,
}

impl<W: std::io::Write + Send> FileWriter<W> {
    /// # Errors
    /// [`ParquetError`], here and below, when the file cannot be written.
    pub fn new(file: W) -> Result<Self, ParquetError> {
        Ok(Self { writer: SerializedFileWriter::new(file, WHOLE.root_schema_ptr(), properties())? })
    }

    /// Appends columns, with the fate of each of their rows: an index into [`FATES`].
    ///
    /// # Errors
    /// See [`FileWriter::new`].
    pub fn append(
        &mut self,
        columns: Columns,
        fates: impl Iterator<Item = usize>,
    ) -> Result<(), ParquetError> {
        let fates: Repeated<'_> = fates.map(|fate| FATES[fate]).collect();
        let mut group = self.writer.next_row_group()?;
        let mut chunks = columns.chunks.into_iter();
        for column in WHOLE.columns() {
            let chunk = match column.name() {
                FATE => Encoder::new().repeated(column, &fates)?,
                _ => chunks.next().expect("there is a chunk for each column but one"),
            };
            group.append_column(&chunk.bytes, chunk.close)?;
        }
        group.close()?;
        Ok(())
    }

    /// # Errors
    /// See [`FileWriter::new`].
    pub fn finish(mut self) -> Result<(), ParquetError> {
        self.writer.finish().map(drop)
    }
}

/// No indexes of pages: a reader takes a row group as a whole, or leaves it.
fn properties() -> Arc<WriterProperties> {
    Arc::new(WriterProperties::builder().set_offset_index_disabled(true).build())
}

fn known(event: &[u8]) -> UsageAttributes<'_> {
    attributes(event).expect("archived events were decoded when they were taken")
}

/// Whether an event with this id can be in the row group.
///
/// # Errors
/// [`ParquetError`] when the filter cannot be read.
pub fn may_hold_id<R: ChunkReader + 'static>(
    builder: &ParquetRecordBatchReaderBuilder<R>,
    group: usize,
    id: &str,
) -> Result<bool, ParquetError> {
    let column = builder.parquet_schema().columns().iter().position(|column| column.name() == "id");
    let Some(column) = column else { return Ok(true) };
    let filter = builder.get_row_group_column_bloom_filter(group, column)?;
    Ok(filter.is_none_or(|filter| filter.check(id)))
}

/// Calls `take` for each row of the row groups, in order, with its fate when the columns have one.
///
/// # Errors
/// [`ParquetError`] when the columns cannot be read; some events may have been taken before.
pub fn each_row<R: ChunkReader + 'static>(
    builder: ParquetRecordBatchReaderBuilder<R>,
    groups: Vec<usize>,
    take: &mut dyn FnMut(ArchivedEvent<'_>, Option<&str>),
) -> Result<(), ParquetError> {
    for batch in builder.with_row_groups(groups).build()? {
        let batch = batch.map_err(|error| ParquetError::ArrowError(error.to_string()))?;
        each_row_of(&batch, take)?;
    }
    Ok(())
}

fn each_row_of(
    batch: &RecordBatch,
    take: &mut dyn FnMut(ArchivedEvent<'_>, Option<&str>),
) -> Result<(), ParquetError> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| ParquetError::General(format!("the column `{name}` is missing")))
    };
    let text =
        |name: &str| -> Result<StringArray, ParquetError> { Ok(column(name)?.as_string::<i32>().clone()) };
    let (tenant, origin, event) = (text("tenant")?, text("origin")?, text("event")?);
    let received_at = column("received_at")?.as_primitive::<TimestampMicrosecondType>().clone();
    let place = column("place")?.as_primitive::<UInt64Type>().clone();
    let fate = batch.column_by_name(FATE).map(|column| column.as_string::<i32>());
    for row in 0..batch.num_rows() {
        let fate = fate.map(|fate| fate.value(row));
        let event = ArchivedEvent {
            tenant: tenant.value(row).into(),
            origin: origin.value(row).into(),
            received_at: ReceiveTime::from_micros(received_at.value(row)),
            place: place.value(row),
            counted: fate == Some(COUNTED),
            raw: event.value(row).as_bytes().into(),
        };
        take(event, fate);
    }
    Ok(())
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
