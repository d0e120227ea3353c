//! [`FlatColumn`]: a column chunk of values without nested ones, in every encoding that the auction knows.
//!
//! The Parquet crate's writer gathers values by an index for each, compares them one after the other for the statistics, and copies
//! them three times on their way into a page; here a page is its levels and one copy of the values, and a text is compared where
//! the dictionary has not seen it on this page. It is the same page, to the byte: where it ends, its statistics and its place in
//! the indexes follow that writer's rules, and a test holds the two equal.

use std::ops::Range;

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, EncodingMask, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use arrays::Flat;
use bounds::{Boundaries, Bounds};
use dictionary::Dictionary;
use levels::Levels;
use values::Values;

use super::segments::{Complete, Segments};
use crate::codec::CodecError;

/// Bytes that a column keeps for its next page. Those of long texts, of which a table has many, are taken anew.
const KEPT: usize = 256 << 10;

/// The values that come next, and what is known of them.
struct OpenPage {
    levels: Levels,
    values: Values,
    rows: usize,
    nulls: usize,
    bounds: Bounds,
    /// Bytes of texts.
    text_bytes: i64,
}

/// What is known of all pages so far.
#[derive(Default)]
struct Written {
    rows: u64,
    nulls: u64,
    bounds: Bounds,
    text_bytes: i64,
    uncompressed: i64,
    compressed: i64,
    /// Kinds of pages in the order in which they stand.
    kinds: Vec<PageEncodingStats>,
    /// Where the dictionary stands, and the first page of values.
    dictionary: Option<i64>,
    data: Option<i64>,
}

/// What the properties say of a column.
struct Rules {
    /// Of values that are not in a dictionary.
    encoding: Encoding,
    compression: Compression,
    statistics: bool,
    /// Rows after which it is seen whether a page is full.
    step: usize,
    page_rows: usize,
    page_bytes: usize,
    /// Bytes from which on a dictionary takes no values any more.
    dictionary_bytes: usize,
    /// Bytes of a text in the index, and in the statistics.
    index_text: Option<usize>,
    statistics_text: Option<usize>,
}

/// A column chunk in the making.
pub(super) struct FlatColumn {
    description: ColumnDescPtr,
    data_type: DataType,
    rules: Rules,
    compressor: Option<Compressor<'static>>,
    page: OpenPage,
    written: Written,
    boundaries: Boundaries,
    column_index: ColumnIndexBuilder,
    offset_index: Option<OffsetIndexBuilder>,
    /// Pages that stand behind a dictionary, which is not complete.
    waiting: Vec<CompressedPage>,
    chunk: TrackedWrite<Segments>,
    /// A page before it is compressed.
    scratch: Vec<u8>,
}

impl Rules {
    /// `None`: some of it is not known here.
    fn of(description: &ColumnDescPtr, properties: &WriterProperties) -> Option<Self> {
        let path = description.path();
        let statistics = match properties.statistics_enabled(path) {
            EnabledStatistics::Page => true,
            EnabledStatistics::None => false,
            EnabledStatistics::Chunk => return None,
        };
        let of_floats = statistics && matches!(description.physical_type(), Type::FLOAT | Type::DOUBLE);
        let in_headers = statistics && properties.write_page_header_statistics(path);
        if of_floats || in_headers || properties.bloom_filter_properties(path).is_some() {
            return None;
        }
        let compression = properties.compression(path);
        if !matches!(compression, Compression::UNCOMPRESSED | Compression::ZSTD(_)) {
            return None;
        }
        Some(Self {
            encoding: properties.encoding(path).unwrap_or(Encoding::PLAIN),
            compression,
            statistics,
            step: properties.write_batch_size(),
            page_rows: properties.data_page_row_count_limit(),
            page_bytes: properties.column_data_page_size_limit(path),
            dictionary_bytes: properties.column_dictionary_page_size_limit(path),
            index_text: properties.column_index_truncate_length(),
            statistics_text: properties.statistics_truncate_length(),
        })
    }
}

impl FlatColumn {
    /// A chunk of this column, if it is one that is written here.
    pub(super) fn begin(
        description: ColumnDescPtr,
        data_type: &DataType,
        properties: &WriterProperties,
    ) -> Result<Option<Self>, CodecError> {
        let flat = description.max_def_level() <= 1 && description.max_rep_level() == 0;
        if !flat || !Flat::is_stored(data_type, &description) {
            return Ok(None);
        }
        let Some(rules) = Rules::of(&description, properties) else { return Ok(None) };
        let physical = description.physical_type();
        let Some(plain) = Values::encoded(rules.encoding, physical) else { return Ok(None) };
        let in_dictionary = properties.dictionary_enabled(description.path());
        let values = if in_dictionary { Values::in_dictionary(physical).unwrap_or(plain) } else { plain };
        let compressor = match rules.compression {
            Compression::ZSTD(level) => Some(Compressor::new(level.compression_level())?),
            _ => None,
        };
        let mut column_index = ColumnIndexBuilder::new(physical);
        if !rules.statistics {
            column_index.to_invalid();
        }
        let levels = Levels::default();
        let page = OpenPage { levels, values, rows: 0, nulls: 0, bounds: Bounds::None, text_bytes: 0 };
        Ok(Some(Self {
            data_type: data_type.clone(),
            rules,
            compressor,
            page,
            written: Written::default(),
            boundaries: Boundaries::default(),
            column_index,
            offset_index: (!properties.offset_index_disabled()).then(OffsetIndexBuilder::new),
            waiting: Vec::new(),
            chunk: TrackedWrite::new(Segments::default()),
            scratch: Vec::new(),
            description,
        }))
    }

    /// Adds an array's values.
    pub(super) fn write(&mut self, array: &dyn Array) -> Result<(), CodecError> {
        let flat = Flat::of(array, &self.description).filter(|_| *array.data_type() == self.data_type);
        let Some(flat) = flat else {
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
            let rows = self.rules.step.min(array.len() - at);
            self.take(flat, array.nulls(), at..at + rows);
            at += rows;
            if self.page.rows >= self.rules.page_rows || self.page.values.bytes() >= self.rules.page_bytes {
                self.end_page()?;
            }
            if self.dictionary().is_some_and(|all| all.bytes() >= self.rules.dictionary_bytes) {
                self.end_dictionary()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, flat: Flat<'_>, nulls: Option<&NullBuffer>, rows: Range<usize>) {
        let page = &mut self.page;
        page.rows += rows.len();
        let Some(nulls) = nulls else {
            page.levels.put(true, rows.len());
            return page.take(flat, rows, self.rules.statistics);
        };
        let mut before = 0;
        for (start, end) in nulls.slice(rows.start, rows.len()).valid_slices() {
            page.levels.put(false, start - before);
            page.levels.put(true, end - start);
            page.nulls += start - before;
            page.take(flat, rows.start + start..rows.start + end, self.rules.statistics);
            before = end;
        }
        page.levels.put(false, rows.len() - before);
        page.nulls += rows.len() - before;
    }

    /// About how many bytes the chunk would take if it ended here.
    pub(super) fn bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|page| page.data().len()).sum();
        let dictionary = self.dictionary().map_or(0, Dictionary::bytes);
        self.chunk.bytes_written() + waiting + dictionary + self.page.values.bytes()
    }

    /// Bytes that it takes in memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes() + self.dictionary().map_or(0, Dictionary::memory)
    }

    fn dictionary(&self) -> Option<&Dictionary> {
        if let Values::Dictionary(dictionary) = &self.page.values { Some(dictionary) } else { None }
    }

    fn end_page(&mut self) -> Result<(), CodecError> {
        // Who reads the connection may wait for this processor; soon the socket is full, and then the server waits, too (decision 0015).
        std::thread::yield_now();
        let valid = self.page.rows - self.page.nulls;
        if self.page.values.counted().is_some_and(|counted| counted != valid) {
            return Err(self.unsuited());
        }
        self.scratch.clear();
        if self.description.max_def_level() > 0 {
            self.page.levels.end(&mut self.scratch);
        }
        let (buf, uncompressed) = match self.page.values.behind(&self.scratch) {
            Some(page) => (compressed(&mut self.compressor, page)?, page.len()),
            None => {
                self.page.values.end(&mut self.scratch);
                (compressed(&mut self.compressor, &self.scratch)?, self.scratch.len())
            }
        };
        self.page.values.clear();
        let in_dictionary = self.dictionary().is_some();
        let page = Page::DataPage {
            buf,
            num_values: self.page.rows as u32,
            encoding: if in_dictionary { Encoding::RLE_DICTIONARY } else { self.rules.encoding },
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = CompressedPage::new(page, uncompressed);
        if self.scratch.capacity() > KEPT {
            self.scratch = Vec::new();
        }
        self.index_page();
        if in_dictionary {
            self.waiting.push(page);
            return Ok(());
        }
        self.put_page(page)
    }

    /// Writes the dictionary and all that stands behind it. What comes from here on goes without.
    fn end_dictionary(&mut self) -> Result<(), CodecError> {
        if self.page.rows > 0 {
            self.end_page()?;
        }
        let physical = self.description.physical_type();
        let plain = Values::encoded(self.rules.encoding, physical).ok_or_else(|| self.unsuited())?;
        let Values::Dictionary(dictionary) = std::mem::replace(&mut self.page.values, plain) else {
            return Ok(());
        };
        let (values, num_values) = dictionary.end();
        let buf = compressed(&mut self.compressor, &values)?;
        let page = Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false };
        self.put_page(CompressedPage::new(page, values.len()))?;
        std::mem::take(&mut self.waiting).into_iter().try_for_each(|page| self.put_page(page))
    }

    /// [`Self::begin`] pairs no encoding with values that it is not for; if it did, they would be missing from the page.
    fn unsuited(&self) -> CodecError {
        let (name, encoding) = (self.description.name(), self.rules.encoding);
        CodecError::Piece(format!("{name} has values that {encoding} or its dictionary does not take"))
    }

    fn put_page(&mut self, page: CompressedPage) -> Result<(), CodecError> {
        let (page_type, encoding) = (page.page_type(), page.encoding());
        let place = SerializedPageWriter::new(&mut self.chunk).write_page(page)?;
        let written = &mut self.written;
        match written.kinds.last_mut() {
            Some(last) if (last.page_type, last.encoding) == (page_type, encoding) => last.count += 1,
            _ => written.kinds.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        written.uncompressed += place.uncompressed_size as i64;
        written.compressed += place.compressed_size as i64;
        if page_type == PageType::DICTIONARY_PAGE {
            written.dictionary = Some(place.offset as i64);
            return Ok(());
        }
        written.data.get_or_insert(place.offset as i64);
        if let Some(index) = &mut self.offset_index {
            index.append_offset_and_size(place.offset as i64, place.compressed_size as i32);
        }
        Ok(())
    }

    /// Notes what the open page has in it; the next one begins.
    fn index_page(&mut self) {
        let page = &mut self.page;
        let (rows, nulls) = (std::mem::take(&mut page.rows) as u64, std::mem::take(&mut page.nulls) as u64);
        let (bounds, text_bytes) = (std::mem::take(&mut page.bounds), std::mem::take(&mut page.text_bytes));
        if self.rules.statistics {
            let (least, most) = bounds.indexed(&self.description, self.rules.index_text);
            self.boundaries.add(&bounds);
            self.column_index.append(bounds.is_none(), least, most, nulls as i64);
            self.column_index.append_histograms(&None, &self.histogram(rows, nulls));
        }
        let has_texts = self.description.physical_type() == Type::BYTE_ARRAY;
        if let Some(index) = &mut self.offset_index {
            index.append_row_count(rows as i64);
            index.append_unencoded_byte_array_data_bytes(has_texts.then_some(text_bytes));
        }
        let written = &mut self.written;
        written.rows += rows;
        written.nulls += nulls;
        written.text_bytes += text_bytes;
        written.bounds.take(&bounds);
    }

    /// How often each definition level comes, where there are any.
    fn histogram(&self, rows: u64, nulls: u64) -> Option<LevelHistogram> {
        let mut histogram = LevelHistogram::try_new(self.description.max_def_level())?;
        histogram.increment_by(0, nulls as i64);
        histogram.increment_by(1, (rows - nulls) as i64);
        Some(histogram)
    }

    /// Ends the chunk: its bytes, and what the row group needs to know of them.
    pub(super) fn close(mut self) -> Result<(Complete, ColumnCloseResult), CodecError> {
        if self.page.rows > 0 {
            self.end_page()?;
        }
        if self.dictionary().is_some() {
            self.end_dictionary()?;
        }
        let metadata = self.metadata()?;
        let column_index = match self.rules.statistics {
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
        Ok((self.chunk.into_inner()?.complete(), result))
    }

    fn metadata(&self) -> Result<ColumnChunkMetaData, CodecError> {
        let written = &self.written;
        let encodings = written.kinds.iter().map(|kind| &kind.encoding).chain([&Encoding::RLE]);
        let builder = ColumnChunkMetaData::builder(self.description.clone())
            .set_compression(self.rules.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings))
            .set_page_encoding_stats(written.kinds.clone())
            .set_total_compressed_size(written.compressed)
            .set_total_uncompressed_size(written.uncompressed)
            .set_num_values(written.rows as i64)
            .set_dictionary_page_offset(written.dictionary)
            .set_data_page_offset(written.data.unwrap_or(0));
        if !self.rules.statistics {
            return Ok(builder.build()?);
        }
        let (nulls, texts) = (written.nulls, self.rules.statistics_text);
        // Without a page nothing is known of texts.
        let has_texts = self.description.physical_type() == Type::BYTE_ARRAY && written.rows > 0;
        let builder = builder
            .set_statistics(written.bounds.statistics(&self.description, nulls, texts))
            .set_unencoded_byte_array_data_bytes(has_texts.then_some(written.text_bytes))
            .set_definition_level_histogram(self.histogram(written.rows, nulls));
        Ok(builder.build()?)
    }
}

impl OpenPage {
    fn take(&mut self, flat: Flat<'_>, rows: Range<usize>, statistics: bool) {
        if let Flat::Texts(ends, _) = flat {
            self.text_bytes += i64::from(ends[rows.end] - ends[rows.start]);
        }
        self.values.put(flat, rows, statistics.then_some(&mut self.bounds));
    }
}

/// What a page's bytes become in the file.
fn compressed(compressor: &mut Option<Compressor<'static>>, bytes: &[u8]) -> Result<Bytes, CodecError> {
    let Some(compressor) = compressor else { return Ok(Bytes::copy_from_slice(bytes)) };
    let mut packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()));
    compressor.compress_to_buffer(bytes, &mut packed)?;
    packed.shrink_to_fit();
    Ok(packed.into())
}

mod arrays;
mod bounds;
mod dictionary;
mod differences;
mod levels;
mod runs;
#[cfg(test)]
mod tests;
mod values;
