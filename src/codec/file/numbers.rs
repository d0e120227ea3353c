//! [`NumberColumn`]: a column chunk of numbers, plain or by differences.
//!
//! Prices are most of a bar, and their best encoding is none. The Parquet crate's writer gathers such values by an index for each,
//! and copies them three times on their way into a page; here a page is its levels and a copy of the values. It is the same page,
//! to the byte: where it ends, its statistics and its place in the indexes follow that writer's rules, and a test holds the
//! two equal.

use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{Array, new_empty_array};
use arrow_buffer::{NullBuffer, ToByteSlice};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, EncodingMask, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use zstd::bulk::Compressor;

use differences::Differences;

use super::levels::Levels;
use crate::codec::CodecError;

/// Values that are compared side by side.
const LANES: usize = 4;

/// The smallest and the largest of some values.
type Bounds = Option<(i64, i64)>;

/// An array's memory, as Parquet stores it.
#[derive(Clone, Copy)]
enum Numbers<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
}

impl<'a> Numbers<'a> {
    fn of(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Self::Int32(array.as_primitive::<Date32Type>().values()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Int64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Int64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            _ => return None,
        })
    }
}

/// Values that are not NULL, encoded.
enum Values {
    Plain(Vec<u8>),
    Differences(Differences),
}

impl Values {
    /// For values of a column with such an encoding, if it is one of ours.
    fn of(encoding: Encoding, physical: Type) -> Option<Self> {
        match encoding {
            Encoding::PLAIN => Some(Self::Plain(Vec::new())),
            Encoding::DELTA_BINARY_PACKED => {
                Some(Self::Differences(Differences::new(physical == Type::INT32)))
            }
            _ => None,
        }
    }

    /// Adds values. In memory they are little-endian, as Parquet has them, on every processor that barkeep is built for.
    fn put<T: Copy + Into<i64>>(&mut self, values: &[T])
    where
        [T]: ToByteSlice,
    {
        match self {
            Self::Plain(bytes) => bytes.extend_from_slice(values.to_byte_slice()),
            Self::Differences(differences) => differences.put(values),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Differences(differences) => differences.bytes(),
        }
    }

    /// Appends all of them to `page`; there are none afterwards.
    fn end(&mut self, page: &mut Vec<u8>) {
        match self {
            Self::Plain(bytes) => {
                page.extend_from_slice(bytes);
                bytes.clear();
            }
            Self::Differences(differences) => differences.end(page),
        }
    }
}

/// The values that come next, and what is known of them.
struct OpenPage {
    levels: Levels,
    values: Values,
    rows: usize,
    nulls: usize,
    bounds: Bounds,
}

impl OpenPage {
    fn take(&mut self, numbers: Numbers<'_>, rows: Range<usize>) {
        let bounds = match numbers {
            Numbers::Int32(values) => {
                self.values.put(&values[rows.clone()]);
                bounds(&values[rows])
            }
            Numbers::Int64(values) => {
                self.values.put(&values[rows.clone()]);
                bounds(&values[rows])
            }
        };
        self.bounds = wider(self.bounds, bounds);
    }
}

/// What is known of the pages that are written.
#[derive(Default)]
struct Written {
    pages: i32,
    rows: u64,
    nulls: u64,
    bounds: Bounds,
    uncompressed: i64,
    compressed: i64,
}

/// Whether the bounds of pages only grow, or only fall.
struct Boundaries {
    ascending: bool,
    descending: bool,
    last: Bounds,
}

/// A column chunk in the making.
pub(super) struct NumberColumn {
    description: ColumnDescPtr,
    encoding: Encoding,
    compression: Compression,
    compressor: Option<Compressor<'static>>,
    statistics: bool,
    /// Rows after which it is seen whether a page is full.
    step: usize,
    page_rows: usize,
    page_bytes: usize,
    page: OpenPage,
    written: Written,
    boundaries: Boundaries,
    column_index: ColumnIndexBuilder,
    offset_index: Option<OffsetIndexBuilder>,
    chunk: TrackedWrite<Vec<u8>>,
    /// A page before it is compressed, and after.
    scratch: Vec<u8>,
    packed: Vec<u8>,
}

/// Whether a column is flat, and of numbers whose memory is what Parquet stores. Unsigned ones have another order.
fn is_of_numbers(column: &ColumnDescriptor, data_type: &DataType) -> bool {
    let flat = column.max_def_level() <= 1 && column.max_rep_level() == 0;
    flat && match Numbers::of(&new_empty_array(data_type)) {
        Some(Numbers::Int32(_)) => column.physical_type() == Type::INT32,
        Some(Numbers::Int64(_)) => column.physical_type() == Type::INT64,
        None => false,
    }
}

impl NumberColumn {
    /// A chunk of this column, if it is one that is written here.
    pub(super) fn begin(
        description: ColumnDescPtr,
        data_type: &DataType,
        properties: &WriterProperties,
    ) -> Result<Option<Self>, CodecError> {
        let path = description.path();
        if !is_of_numbers(&description, data_type) || properties.dictionary_enabled(path) {
            return Ok(None);
        }
        let encoding = properties.encoding(path).unwrap_or(Encoding::PLAIN);
        let Some(values) = Values::of(encoding, description.physical_type()) else { return Ok(None) };
        let compression = properties.compression(path);
        let compressor = match compression {
            Compression::UNCOMPRESSED => None,
            Compression::ZSTD(level) => Some(Compressor::new(level.compression_level())?),
            _ => return Ok(None),
        };
        let statistics = match properties.statistics_enabled(path) {
            EnabledStatistics::Page => true,
            EnabledStatistics::None => false,
            EnabledStatistics::Chunk => return Ok(None),
        };
        let mut column_index = ColumnIndexBuilder::new(description.physical_type());
        if !statistics {
            column_index.to_invalid();
        }
        Ok(Some(Self {
            encoding,
            compression,
            compressor,
            statistics,
            step: properties.write_batch_size(),
            page_rows: properties.data_page_row_count_limit(),
            page_bytes: properties.column_data_page_size_limit(path),
            page: OpenPage { levels: Levels::default(), values, rows: 0, nulls: 0, bounds: None },
            written: Written::default(),
            boundaries: Boundaries { ascending: true, descending: true, last: None },
            column_index,
            offset_index: (!properties.offset_index_disabled()).then(OffsetIndexBuilder::new),
            chunk: TrackedWrite::new(Vec::new()),
            scratch: Vec::new(),
            packed: Vec::new(),
            description,
        }))
    }

    /// Adds an array's values.
    pub(super) fn write(&mut self, array: &dyn Array) -> Result<(), CodecError> {
        let Some(numbers) = Numbers::of(array) else {
            return Err(CodecError::Piece(format!("{} has values of another type", self.description.name())));
        };
        if self.description.max_def_level() == 0 && array.null_count() > 0 {
            return Err(CodecError::Piece(format!(
                "{} has NULLs where it may have none",
                self.description.name()
            )));
        }
        let mut at = 0;
        while at < array.len() {
            let rows = self.step.min(array.len() - at);
            self.take(numbers, array.nulls(), at..at + rows);
            at += rows;
            if self.page.rows >= self.page_rows || self.page.values.bytes() >= self.page_bytes {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, numbers: Numbers<'_>, nulls: Option<&NullBuffer>, rows: Range<usize>) {
        let page = &mut self.page;
        page.rows += rows.len();
        let Some(nulls) = nulls else {
            page.levels.put(true, rows.len());
            page.take(numbers, rows);
            return;
        };
        let mut before = 0;
        for (start, end) in nulls.slice(rows.start, rows.len()).valid_slices() {
            page.levels.put(false, start - before);
            page.levels.put(true, end - start);
            page.nulls += start - before;
            page.take(numbers, rows.start + start..rows.start + end);
            before = end;
        }
        page.levels.put(false, rows.len() - before);
        page.nulls += rows.len() - before;
    }

    /// About how many bytes the chunk would take if it ended here.
    pub(super) fn bytes(&self) -> usize {
        self.chunk.bytes_written() + self.page.values.bytes()
    }

    fn end_page(&mut self) -> Result<(), CodecError> {
        let page = &mut self.page;
        self.scratch.clear();
        if self.description.max_def_level() > 0 {
            page.levels.end(&mut self.scratch);
        }
        page.values.end(&mut self.scratch);
        let uncompressed = self.scratch.len();
        let bytes = match &mut self.compressor {
            Some(compressor) => {
                self.packed.clear();
                self.packed.reserve(zstd::zstd_safe::compress_bound(uncompressed));
                compressor.compress_to_buffer(&self.scratch, &mut self.packed)?;
                &self.packed
            }
            None => &self.scratch,
        };
        let page = Page::DataPage {
            buf: Bytes::copy_from_slice(bytes),
            num_values: page.rows as u32,
            encoding: self.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.index_page();
        let mut writer = SerializedPageWriter::new(&mut self.chunk);
        let place = writer.write_page(CompressedPage::new(page, uncompressed))?;
        if let Some(index) = &mut self.offset_index {
            index.append_offset_and_size(place.offset as i64, place.compressed_size as i32);
        }
        self.written.pages += 1;
        self.written.uncompressed += place.uncompressed_size as i64;
        self.written.compressed += place.compressed_size as i64;
        Ok(())
    }

    /// Notes what the open page has in it; the next one begins.
    fn index_page(&mut self) {
        let OpenPage { rows, nulls, bounds, .. } = self.page;
        if self.statistics {
            let (least, most) = match bounds {
                Some((least, most)) => (self.value(least), self.value(most)),
                None => (Vec::new(), Vec::new()),
            };
            self.boundaries.add(bounds);
            self.column_index.append(bounds.is_none(), least, most, nulls as i64);
            self.column_index.append_histograms(&None, &self.histogram(rows as u64, nulls as u64));
        }
        if let Some(index) = &mut self.offset_index {
            index.append_row_count(rows as i64);
            index.append_unencoded_byte_array_data_bytes(None);
        }
        let written = &mut self.written;
        written.rows += rows as u64;
        written.nulls += nulls as u64;
        written.bounds = wider(written.bounds, bounds);
        (self.page.rows, self.page.nulls, self.page.bounds) = (0, 0, None);
    }

    /// How often each definition level comes, where there are any.
    fn histogram(&self, rows: u64, nulls: u64) -> Option<LevelHistogram> {
        let mut histogram = LevelHistogram::try_new(self.description.max_def_level())?;
        histogram.increment_by(0, nulls as i64);
        histogram.increment_by(1, (rows - nulls) as i64);
        Some(histogram)
    }

    /// A bound as Parquet stores it.
    fn value(&self, bound: i64) -> Vec<u8> {
        match self.description.physical_type() {
            Type::INT32 => (bound as i32).to_le_bytes().to_vec(),
            _ => bound.to_le_bytes().to_vec(),
        }
    }

    /// Ends the chunk: its bytes, and what the row group needs to know of them.
    pub(super) fn close(mut self) -> Result<(Bytes, ColumnCloseResult), CodecError> {
        if self.page.rows > 0 {
            self.end_page()?;
        }
        let metadata = self.metadata()?;
        let column_index = match self.statistics {
            true => {
                self.column_index.set_boundary_order(self.boundaries.order());
                Some(self.column_index.build()?)
            }
            false => None,
        };
        let result = ColumnCloseResult {
            bytes_written: self.chunk.bytes_written() as u64,
            rows_written: self.written.rows,
            bloom_filter: None,
            metadata,
            column_index,
            offset_index: self.offset_index.map(OffsetIndexBuilder::build),
        };
        Ok((self.chunk.into_inner()?.into(), result))
    }

    fn metadata(&self) -> Result<ColumnChunkMetaData, CodecError> {
        let &Written { pages, rows, nulls, uncompressed, compressed, .. } = &self.written;
        let page_type = PageType::DATA_PAGE;
        let page = PageEncodingStats { page_type, encoding: self.encoding, count: pages };
        let page = (pages > 0).then_some(page);
        let encodings = page.iter().map(|page| &page.encoding).chain([&Encoding::RLE]);
        let builder = ColumnChunkMetaData::builder(self.description.clone())
            .set_compression(self.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings))
            .set_page_encoding_stats(page.clone().into_iter().collect())
            .set_total_compressed_size(compressed)
            .set_total_uncompressed_size(uncompressed)
            .set_num_values(rows as i64)
            .set_data_page_offset(0);
        let builder = match self.statistics {
            true => builder
                .set_statistics(self.chunk_statistics())
                .set_definition_level_histogram(self.histogram(rows, nulls)),
            false => builder,
        };
        Ok(builder.build()?)
    }

    fn chunk_statistics(&self) -> Statistics {
        let Written { bounds, nulls, .. } = self.written;
        let (least, most) = bounds.unzip();
        let signed = self.description.sort_order().is_signed();
        match self.description.physical_type() {
            Type::INT32 => {
                let (least, most) = (least.map(|bound| bound as i32), most.map(|bound| bound as i32));
                let statistics = ValueStatistics::new(least, most, None, Some(nulls), false);
                statistics.with_backwards_compatible_min_max(signed).into()
            }
            _ => {
                let statistics = ValueStatistics::new(least, most, None, Some(nulls), false);
                statistics.with_backwards_compatible_min_max(signed).into()
            }
        }
    }
}

impl Boundaries {
    fn add(&mut self, page: Bounds) {
        let Some((least, most)) = page else { return };
        if let Some((last_least, last_most)) = self.last {
            self.ascending &= last_least <= least && last_most <= most;
            self.descending &= last_least >= least && last_most >= most;
        }
        self.last = page;
    }

    fn order(&self) -> BoundaryOrder {
        match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        }
    }
}

/// The smallest and the largest value, four side by side: one comparison would wait for another.
fn bounds<T: Copy + Ord + Into<i64>>(values: &[T]) -> Bounds {
    let first = *values.first()?;
    let (mut least, mut most) = ([first; LANES], [first; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            least[lane] = least[lane].min(chunk[lane]);
            most[lane] = most[lane].max(chunk[lane]);
        }
    }
    let least = least.iter().chain(rest).min()?;
    let most = most.iter().chain(rest).max()?;
    Some(((*least).into(), (*most).into()))
}

fn wider(one: Bounds, other: Bounds) -> Bounds {
    match (one, other) {
        (Some((least, most)), Some((other_least, other_most))) => {
            Some((least.min(other_least), most.max(other_most)))
        }
        (one, other) => one.or(other),
    }
}

mod differences;
#[cfg(test)]
mod tests;
