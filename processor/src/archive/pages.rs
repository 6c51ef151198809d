//! How does one column of a row group become Parquet? As a chunk of pages, compressed, with the metadata that a file needs
//! to take it over as it is.
//!
//! Source: the Parquet format, `Encodings.md` (plain; dictionary with the RLE and bit-packing hybrid). Page headers,
//! numbers and footers are the library's. Texts are encoded here: the library hashes every value of a dictionary column
//! that we know by number already, and copies a plain one four times (ADR 6 has the costs).
//!
//! Deliberately absent: nulls and nesting; no column of the archive has them.

use bytes::Bytes;
use hashbrown::HashTable;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::hash::BuildHasher;

/// The fastest level of the format. LZ4 takes a fifth less time, and nearly twice the bytes.
const ZSTD_LEVEL: i32 = 1;

/// Compressed at once. What it holds stays in a core's cache.
const PAGE_BYTES: usize = 1024 * 1024;

/// One id in twenty that is not in a row group is looked for in vain.
const BLOOM_FALSE_POSITIVES: f64 = 0.05;

/// A column chunk, encoded: it can be appended to any row group with the same number of rows.
#[derive(Debug)]
pub struct Chunk {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
}

/// Texts of which many are the same: each of them once, and which one each row has.
#[derive(Clone, Debug, Default)]
pub struct Repeated<'r> {
    texts: Vec<&'r str>,
    rows: Vec<u32>,
    numbers: HashTable<u32>,
    hashing: foldhash::fast::RandomState,
}

impl<'r> Repeated<'r> {
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), ..Self::default() }
    }

    /// The same text in all rows.
    #[must_use]
    pub fn same(text: &'r str, rows: usize) -> Self {
        Self::by_index(std::iter::once(text), &vec![0; rows])
    }

    /// A row that has this text.
    pub fn push(&mut self, text: &'r str) {
        let number = self.number(text);
        self.rows.push(number);
    }

    /// Rows that have one of these texts, by its index.
    #[must_use]
    pub fn by_index(texts: impl Iterator<Item = &'r str>, rows: &[u32]) -> Self {
        let mut repeated = Self::default();
        let numbers: Vec<u32> = texts.map(|text| repeated.number(text)).collect();
        repeated.rows = rows.iter().map(|index| numbers[*index as usize]).collect();
        repeated
    }

    fn number(&mut self, text: &'r str) -> u32 {
        let Self { texts, numbers, hashing, .. } = self;
        let hash = hashing.hash_one(text);
        if let Some(number) = numbers.find(hash, |number| texts[*number as usize] == text) {
            return *number;
        }
        let number = u32::try_from(texts.len()).expect("a row group has fewer rows than that");
        texts.push(text);
        numbers.insert_unique(hash, number, |number| hashing.hash_one(texts[*number as usize]));
        number
    }
}

impl<'r> FromIterator<&'r str> for Repeated<'r> {
    fn from_iter<T: IntoIterator<Item = &'r str>>(texts: T) -> Self {
        let texts = texts.into_iter();
        let mut repeated = Self::with_capacity(texts.size_hint().0);
        texts.for_each(|text| repeated.push(text));
        repeated
    }
}

/// How numbers are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Mostly the same.
    Repeated,
    /// Mostly a little more than the one before.
    Ascending,
}

/// Encodes columns; its buffers are used again for each.
pub struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    plain: Vec<u8>,
    compressed: Vec<u8>,
}

impl Encoder {
    #[must_use]
    pub fn new() -> Self {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("the level exists");
        Self { zstd, plain: Vec::new(), compressed: Vec::new() }
    }

    /// Texts that are hardly ever the same twice.
    ///
    /// # Errors
    /// [`ParquetError`], as the library says; writing to memory does not fail. Here and below.
    pub fn plain<'r>(
        &mut self,
        column: &ColumnDescPtr,
        texts: impl Iterator<Item = &'r [u8]>,
    ) -> Result<Chunk, ParquetError> {
        let mut pages = Pages::default();
        let (mut rows, mut all) = (0, 0);
        self.plain.clear();
        for text in texts {
            put_plain(&mut self.plain, text);
            rows += 1;
            if self.plain.len() >= PAGE_BYTES {
                self.page(&mut pages, Kind::Data(Encoding::PLAIN), rows)?;
                (all, rows) = (all + rows, 0);
            }
        }
        if rows > 0 {
            self.page(&mut pages, Kind::Data(Encoding::PLAIN), rows)?;
        }
        pages.finish(column, all + rows, None)
    }

    /// Texts of which each is stored once.
    ///
    /// # Errors
    /// See [`Encoder::plain`].
    pub fn repeated(
        &mut self,
        column: &ColumnDescPtr,
        repeated: &Repeated<'_>,
    ) -> Result<Chunk, ParquetError> {
        let Repeated { texts, rows, .. } = repeated;
        let count = |of: usize| u32::try_from(of).expect("a row group has fewer rows than that");
        let mut pages = Pages::default();
        self.plain.clear();
        for text in texts {
            put_plain(&mut self.plain, text.as_bytes());
        }
        self.page(&mut pages, Kind::Dictionary, count(texts.len()))?;
        put_numbers(&mut self.plain, rows, texts.len());
        self.page(&mut pages, Kind::Data(Encoding::RLE_DICTIONARY), count(rows.len()))?;
        let bytes = |text: &&str| ByteArray::from(text.as_bytes().to_vec());
        let (least, greatest) = (texts.iter().min().map(bytes), texts.iter().max().map(bytes));
        let statistics = Statistics::byte_array(least, greatest, None, Some(0), false);
        pages.finish(column, count(rows.len()), Some(statistics))
    }

    /// # Errors
    /// See [`Encoder::plain`].
    pub fn numbers(
        &mut self,
        column: &ColumnDescPtr,
        numbers: &[i64],
        kind: Numbers,
    ) -> Result<Chunk, ParquetError> {
        let properties = WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_dictionary_enabled(kind == Numbers::Repeated)
            // Of steps that are packed into bits, zstd saves nothing.
            .set_compression(Compression::UNCOMPRESSED)
            .set_encoding(Encoding::DELTA_BINARY_PACKED);
        let mut sink = TrackedWrite::new(Vec::new());
        let pages = Box::new(SerializedPageWriter::new(&mut sink));
        let mut writer = get_column_writer(column.clone(), properties.build().into(), pages);
        let ColumnWriter::Int64ColumnWriter(typed) = &mut writer else {
            return Err(ParquetError::General(format!("`{}` is no column of numbers", column.name())));
        };
        typed.write_batch(numbers, None, None)?;
        let mut close = writer.close()?;
        close.offset_index = None;
        Ok(Chunk { bytes: sink.into_inner()?.into(), close })
    }

    /// Compresses what is in `plain`, and empties it.
    fn page(&mut self, pages: &mut Pages, kind: Kind, values: u32) -> Result<(), ParquetError> {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.plain.len()));
        self.zstd.compress_to_buffer(&self.plain, &mut self.compressed)?;
        let buf = Bytes::copy_from_slice(&self.compressed);
        let page = match kind {
            Kind::Dictionary => {
                Page::DictionaryPage { buf, num_values: values, encoding: Encoding::PLAIN, is_sorted: false }
            }
            Kind::Data(encoding) => Page::DataPage {
                buf,
                num_values: values,
                encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            },
        };
        pages.push(kind, CompressedPage::new(page, self.plain.len()))?;
        self.plain.clear();
        Ok(())
    }
}

/// A filter that says of most ids that they are not among these.
///
/// # Errors
/// See [`Encoder::plain`].
pub fn bloom_filter<'r>(texts: impl ExactSizeIterator<Item = &'r [u8]>) -> Result<Sbbf, ParquetError> {
    let mut filter = Sbbf::new_with_ndv_fpp(texts.len() as u64, BLOOM_FALSE_POSITIVES)?;
    texts.for_each(|text| filter.insert(text));
    Ok(filter)
}

#[derive(Clone, Copy)]
enum Kind {
    Dictionary,
    Data(Encoding),
}

/// The pages of one chunk, written one after another.
struct Pages {
    sink: TrackedWrite<Vec<u8>>,
    dictionary: Option<i64>,
    first_data: Option<i64>,
    encodings: Vec<Encoding>,
    uncompressed: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            sink: TrackedWrite::new(Vec::new()),
            dictionary: None,
            first_data: None,
            encodings: Vec::new(),
            uncompressed: 0,
        }
    }
}

impl Pages {
    fn push(&mut self, kind: Kind, page: CompressedPage) -> Result<(), ParquetError> {
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        let at = written.offset.cast_signed();
        self.uncompressed += written.uncompressed_size;
        match kind {
            Kind::Dictionary => {
                self.dictionary = Some(at);
                self.encodings.push(Encoding::PLAIN);
            }
            Kind::Data(encoding) if self.first_data.is_none() => {
                self.first_data = Some(at);
                self.encodings.push(encoding);
            }
            Kind::Data(_) => {}
        }
        Ok(())
    }

    fn finish(
        self,
        column: &ColumnDescPtr,
        rows: u32,
        statistics: Option<Statistics>,
    ) -> Result<Chunk, ParquetError> {
        let bytes = self.sink.into_inner()?;
        let signed = |length: usize| i64::try_from(length).expect("a chunk is in memory");
        let mut metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(compression())
            .set_encodings(self.encodings)
            .set_num_values(i64::from(rows))
            .set_total_compressed_size(signed(bytes.len()))
            .set_total_uncompressed_size(signed(self.uncompressed))
            .set_dictionary_page_offset(self.dictionary)
            .set_data_page_offset(self.first_data.unwrap_or_default());
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: u64::from(rows),
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Chunk { bytes: bytes.into(), close })
    }
}

fn compression() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).expect("the level exists"))
}

/// Length and bytes.
fn put_plain(page: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("a text of an event is far below 4 GiB");
    page.extend_from_slice(&length.to_le_bytes());
    page.extend_from_slice(text);
}

/// Numbers below `bound`: their width in bits, and one run.
fn put_numbers(page: &mut Vec<u8>, numbers: &[u32], bound: usize) {
    if bound <= 1 {
        // Width 1 and not 0: not every reader expects a dictionary without bits.
        page.push(1);
        put_varint(page, numbers.len() << 1);
        page.push(0);
        return;
    }
    let width = usize::BITS - (bound - 1).leading_zeros();
    page.push(u8::try_from(width).expect("numbers have 32 bits at most"));
    let groups = numbers.len().div_ceil(8);
    put_varint(page, groups << 1 | 1);
    page.reserve(groups * width as usize);
    let padding = std::iter::repeat_n(0, groups * 8 - numbers.len());
    let (mut bits, mut held) = (0_u64, 0);
    for number in numbers.iter().copied().chain(padding) {
        bits |= u64::from(number) << held;
        held += width;
        while held >= 8 {
            page.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
}

fn put_varint(page: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        page.push(number as u8 | 0x80);
        number >>= 7;
    }
    page.push(number as u8);
}
