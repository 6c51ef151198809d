//! Which events does a Parquet file hold? Each row is one, made by the mapping.
//!
//! Keeps: types. Integers and decimals are JSON numbers digit by digit, texts stay texts, timestamps are RFC 3339 in
//! UTC, dates and times of day are ISO 8601 texts. A binary float comes from outside, so it is written as the shortest
//! text that reads back as the same float (Ryu), and exact from there on; NaN and infinities become texts, which a
//! meter refuses with a reason.
//!
//! Positions count rows. The digest is of the whole file, since a Parquet file is written once and its index is at the
//! end: a file that has changed anywhere is another file.
//!
//! Deliberately absent: nested and binary columns (refused by name), and gzip, LZ4 and Brotli pages.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::event::{Cell, EventShape};
use super::mapping::TimeMapping;
use super::{Chunk, Limits, Mapping, Opened, Position, Source, SourceError, bytes, times};

struct ParquetSource {
    name: String,
    rows: ParquetRecordBatchReader,
    rows_total: u64,
    digest: [u8; 32],
    /// Rows handed over.
    place: u64,
    shape: EventShape,
    /// The columns that the shape reads, in the order of the batches.
    columns: Vec<Column>,
    /// The batch that is being handed over, as text, and the next row in it.
    batch: Vec<TextColumn>,
    next_row: usize,
    batch_rows: usize,
    limits: Limits,
    done: bool,
}

struct Column {
    name: String,
    /// Index in the file's schema.
    index: usize,
    /// Of wall-clock times.
    zone: Option<TimeZone>,
}

pub(super) fn open(
    path: &Path,
    mapping: &Mapping,
    resume: Option<&Position>,
    limits: Limits,
) -> Result<(Box<dyn Source>, Opened), SourceError> {
    let name = bytes::display_name(path);
    if bytes::is_standard_input(path) {
        return Err(SourceError::NotSeekable { name });
    }
    let cannot_open = |cause| SourceError::Open { name: name.clone(), cause };
    let not_parquet = |cause| SourceError::Parquet { name: name.clone(), cause: Box::new(cause) };
    let mut file = File::open(path).map_err(cannot_open)?;
    let digest = bytes::digest_of(&mut file).map_err(cannot_open)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(not_parquet)?;
    let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);

    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let shape = EventShape::bind(mapping, &names, path)?;
    let columns = readable_columns(&name, mapping, builder.schema(), &shape)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().map(|column| column.index));

    let opened = compare(resume, &digest);
    let place = match &opened {
        Opened::Resumed { from } | Opened::Unchanged { at: from } => from.units,
        Opened::Fresh | Opened::Replaced { .. } => 0,
    };
    let rows = builder
        .with_projection(mask)
        .with_batch_size(limits.chunk_records_max)
        .with_offset(usize::try_from(place).unwrap_or(usize::MAX))
        .build()
        .map_err(not_parquet)?;
    let done = matches!(opened, Opened::Unchanged { .. });
    let source = ParquetSource {
        name,
        rows,
        rows_total,
        digest,
        place,
        shape,
        columns,
        batch: Vec::new(),
        next_row: 0,
        batch_rows: 0,
        limits,
        done,
    };
    Ok((Box::new(source), opened))
}

fn compare(resume: Option<&Position>, digest: &[u8; 32]) -> Opened {
    match resume {
        None => Opened::Fresh,
        Some(before) if before.prefix_digest != *digest => Opened::Replaced { before: before.clone() },
        Some(at) if at.complete => Opened::Unchanged { at: at.clone() },
        Some(from) => Opened::Resumed { from: from.clone() },
    }
}

/// The columns that the mapping reads, each of which must have a plain text.
fn readable_columns(
    name: &str,
    mapping: &Mapping,
    schema: &Schema,
    shape: &EventShape,
) -> Result<Vec<Column>, SourceError> {
    shape
        .columns()
        .into_iter()
        .map(|index| {
            let field = schema.field(index);
            let column = field.name().clone();
            let zone = match mapping.event.time.as_ref().map(toml::Spanned::get_ref) {
                Some(TimeMapping::Column { column: time, zone: Some(zone), .. }) if *time == column => {
                    Some(zone)
                }
                _ => mapping.zone.as_ref(),
            };
            match readable(field.data_type()) {
                Readable::No(kind) => {
                    Err(SourceError::UnreadableColumn { name: name.to_owned(), column, kind: kind.into() })
                }
                Readable::WithZone if zone.is_none() => {
                    Err(SourceError::ZoneNeeded { name: name.to_owned(), column })
                }
                Readable::WithZone | Readable::Yes => Ok(Column { name: column, index, zone: zone.cloned() }),
            }
        })
        .collect()
}

enum Readable {
    Yes,
    /// Wall-clock times.
    WithZone,
    /// What it is instead.
    No(&'static str),
}

fn readable(kind: &DataType) -> Readable {
    match kind {
        DataType::Timestamp(_, None) => Readable::WithZone,
        DataType::Dictionary(_, values) => match readable(values) {
            // Not written by any known producer, and the formatter would leave out the zone.
            _ if matches!(**values, DataType::Timestamp(..)) => Readable::No("a dictionary of times"),
            readable => readable,
        },
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => Readable::No("a list"),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => Readable::No("nested"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Readable::No("binary")
        }
        DataType::Interval(_) | DataType::Duration(_) => Readable::No("a duration"),
        DataType::RunEndEncoded(..) => Readable::No("run-end encoded"),
        _ => Readable::Yes,
    }
}

/// One column of a batch as text.
struct TextColumn {
    text: String,
    /// Where each row's text is; none when the cell is null.
    cells: Vec<Option<std::ops::Range<usize>>>,
    is_text: bool,
    is_boolean: bool,
}

impl TextColumn {
    fn of(array: &ArrayRef, zone: Option<&TimeZone>) -> Result<Self, ArrowError> {
        let kind = match array.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            kind => kind,
        };
        let (is_text, is_boolean) = (!kind.is_numeric(), *kind == DataType::Boolean);
        let (mut text, mut cells) = (String::new(), Vec::with_capacity(array.len()));
        let formatter = ArrayFormatter::try_new(array, &FormatOptions::new().with_display_error(false))?;
        // A dictionary's null may be in its values, which only the logical view shows.
        let nulls = array.logical_nulls();
        for row in 0..array.len() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                cells.push(None);
                continue;
            }
            let start = text.len();
            match array.data_type() {
                DataType::Timestamp(unit, with_zone) => {
                    let zone = if with_zone.is_some() { None } else { zone };
                    text.push_str(&timestamp_text(array, *unit, row, zone));
                }
                _ => write!(text, "{}", formatter.value(row))
                    .map_err(|_| ArrowError::ComputeError(format!("row {row} has no text")))?,
            }
            cells.push(Some(start..text.len()));
        }
        Ok(Self { text, cells, is_text, is_boolean })
    }

    fn cell(&self, row: usize) -> Option<Cell<'_>> {
        let range = self.cells[row].clone()?;
        Some(Cell { text: self.text[range].as_bytes(), is_text: self.is_text, is_boolean: self.is_boolean })
    }
}

/// RFC 3339 in UTC; `zone` is that of a wall clock. A count beyond the years that RFC 3339 can write stays a bare number,
/// so that it costs one row, which the decoder refuses by its time, and not the file.
fn timestamp_text(array: &ArrayRef, unit: TimeUnit, row: usize, zone: Option<&TimeZone>) -> String {
    let (count, timestamp) = match unit {
        TimeUnit::Second => {
            let count = array.as_primitive::<TimestampSecondType>().value(row);
            (count, Timestamp::from_second(count))
        }
        TimeUnit::Millisecond => {
            let count = array.as_primitive::<TimestampMillisecondType>().value(row);
            (count, Timestamp::from_millisecond(count))
        }
        TimeUnit::Microsecond => {
            let count = array.as_primitive::<TimestampMicrosecondType>().value(row);
            (count, Timestamp::from_microsecond(count))
        }
        TimeUnit::Nanosecond => {
            let count = array.as_primitive::<TimestampNanosecondType>().value(row);
            (count, Timestamp::from_nanosecond(i128::from(count)))
        }
    };
    let text = timestamp.and_then(|timestamp| match zone {
        Some(zone) => times::in_zone(times::wall_clock(timestamp), zone),
        None => Ok(timestamp.to_string()),
    });
    text.unwrap_or_else(|_| count.to_string())
}

impl ParquetSource {
    fn read_batch(&mut self) -> Result<bool, SourceError> {
        let unreadable =
            |cause: ArrowError| SourceError::Parquet { name: self.name.clone(), cause: Box::new(cause) };
        let Some(batch) = self.rows.next().transpose().map_err(unreadable)? else { return Ok(false) };
        self.batch = self.text_columns(&batch).map_err(unreadable)?;
        (self.batch_rows, self.next_row) = (batch.num_rows(), 0);
        Ok(true)
    }

    fn text_columns(&self, batch: &RecordBatch) -> Result<Vec<TextColumn>, ArrowError> {
        let arrays = batch.columns().iter();
        arrays.zip(&self.columns).map(|(array, column)| TextColumn::of(array, column.zone.as_ref())).collect()
    }

    fn position(&self) -> Position {
        let complete = self.done;
        Position { units: self.place, place: self.place, prefix_digest: self.digest, complete }
    }
}

/// The cells that the mapping reads, for an exception: the file's own bytes of a row are scattered over its pages.
fn shown_row(columns: &[Column], batch: &[TextColumn], row: usize) -> Vec<u8> {
    let cells = columns.iter().zip(batch).map(|(column, texts)| {
        let text = texts.cell(row).map_or("null".into(), |cell| String::from_utf8_lossy(cell.text));
        format!("{}={text}", column.name)
    });
    cells.collect::<Vec<_>>().join("\n").into_bytes()
}

impl Source for ParquetSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        if self.done {
            return Ok(None);
        }
        let mut chunk = Chunk::new(self.position());
        if self.next_row == self.batch_rows && !self.read_batch()? {
            self.done = true;
        }
        while self.next_row < self.batch_rows && chunk.text.len() < self.limits.chunk_bytes {
            let (row, start) = (self.next_row, chunk.text.len());
            self.place += 1;
            self.next_row += 1;
            let cell = |index: usize| {
                let at = self.columns.iter().position(|column| column.index == index)?;
                self.batch[at].cell(row)
            };
            let written = self.shape.write(self.place, cell, &mut chunk.text);
            let shown = || Cow::Owned(shown_row(&self.columns, &self.batch, row));
            chunk.settle(self.place, start, written, shown, self.limits);
        }
        self.done |= self.place >= self.rows_total;
        chunk.position = self.position();
        Ok(Some(chunk))
    }

    fn total_units(&self) -> Option<u64> {
        Some(self.rows_total)
    }
}
