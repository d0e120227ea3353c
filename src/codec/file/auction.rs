//! Which encoding a column gets: those that every reader knows, tried on the piece's first rows; the cheapest wins.
//!
//! The choice beats any compression level, at less work, and it depends on the data: prices that repeat want a
//! dictionary, prices of many symbols in turn want none, times want differences. The first rows stand for all, but for
//! dictionaries, whose weight falls with every row that finds its value in them: theirs is reckoned for a whole row group.
//! It does not read a clock, so that the same rows give the same file.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, EnabledStatistics, WriterProperties};

use crate::codec::CodecError;

/// Fewer rows are not worth the trouble: they get a dictionary.
const FEWEST: usize = 8192;

/// Rows that are tried.
const SAMPLE: usize = 16_384;

/// Values beyond this are too large to be tried again and again: a dictionary or plain pages do as well for them.
const SAMPLE_BYTES: usize = 4 << 20;

/// How one column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// `None`: a dictionary.
    pub(super) encoding: Option<Encoding>,
    /// The zstd level.
    pub(super) level: i32,
}

/// The level that is tried first: for columns of numbers higher ones cost more and gain little.
const LOW: i32 = 1;

/// Nanoseconds of work that a byte in the file is worth, each a value: size decides, and work where sizes are close.
const NANOSECONDS_A_BYTE: f64 = 100.0;

/// What a value costs to encode and compress, in nanoseconds, measured on bars (docs/performance.md). Constants, because
/// a clock would make the choice a matter of chance.
fn work(encoding: Option<Encoding>, data_type: &DataType) -> f64 {
    let text = matches!(data_type, DataType::Utf8 | DataType::Binary);
    match encoding {
        None => {
            if text {
                20.0
            } else {
                30.0
            }
        }
        Some(Encoding::PLAIN) => {
            if text {
                18.0
            } else {
                28.0
            }
        }
        Some(Encoding::DELTA_BYTE_ARRAY) => 27.0,
        Some(Encoding::DELTA_LENGTH_BYTE_ARRAY) => 18.0,
        _ => 15.0,
    }
}

/// The work of the higher level, beyond the low one's.
const MORE_WORK: f64 = 8.0;

/// Encodings that DuckDB, Polars, pyarrow and Spark of the last two years read, for values of this type. `None` where there
/// is nothing to choose.
fn candidates(data_type: &DataType) -> Option<&'static [Option<Encoding>]> {
    use Encoding::{
        BYTE_STREAM_SPLIT, DELTA_BINARY_PACKED, DELTA_BYTE_ARRAY, DELTA_LENGTH_BYTE_ARRAY, PLAIN,
    };
    match data_type {
        DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Decimal64(..)
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Time64(_) => Some(&[None, Some(PLAIN), Some(DELTA_BINARY_PACKED)]),
        DataType::Float32 | DataType::Float64 => Some(&[None, Some(PLAIN), Some(BYTE_STREAM_SPLIT)]),
        DataType::Utf8 | DataType::Binary => {
            Some(&[None, Some(PLAIN), Some(DELTA_LENGTH_BYTE_ARRAY), Some(DELTA_BYTE_ARRAY)])
        }
        DataType::Decimal128(..) | DataType::FixedSizeBinary(_) => Some(&[None, Some(PLAIN)]),
        _ => None,
    }
}

/// The best choice for a column that begins with `array` and is written in row groups of `group_rows`, with the level
/// that is asked for as the highest. `None`: the default will do.
pub(super) fn choose(array: &ArrayRef, group_rows: usize, level: i32) -> Result<Option<Choice>, CodecError> {
    let Some(candidates) = candidates(array.data_type()) else { return Ok(None) };
    let array = array.slice(0, array.len().min(SAMPLE));
    if array.len() < FEWEST || array.to_data().get_slice_memory_size()? > SAMPLE_BYTES {
        return Ok(None);
    }
    let price = |encoding: Option<Encoding>, level: i32, more: f64| {
        let bytes = bytes_a_value(&array, Choice { encoding, level }, group_rows)?;
        Ok::<_, CodecError>(bytes + (work(encoding, array.data_type()) + more) / NANOSECONDS_A_BYTE)
    };
    let low = LOW.min(level);
    let mut best = Choice { encoding: None, level: low };
    let mut lowest = f64::INFINITY;
    for encoding in candidates {
        let offer = price(*encoding, low, 0.0)?;
        if offer < lowest {
            (best, lowest) = (Choice { encoding: *encoding, level: low }, offer);
        }
    }
    if level > low && price(best.encoding, level, MORE_WORK)? < lowest {
        best.level = level;
    }
    Ok(Some(best))
}

/// What one value takes in a row group of `group_rows`, by the sample. Infinite where the dictionary would overflow.
fn bytes_a_value(array: &ArrayRef, choice: Choice, group_rows: usize) -> Result<f64, CodecError> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(choice.level)?);
    let (dictionary, data) = written(array, choice.encoding, zstd)?;
    let rows = array.len() as f64;
    if choice.encoding.is_some() {
        return Ok(data / rows);
    }
    let size = |array: &ArrayRef| Ok::<_, CodecError>(written(array, None, Compression::UNCOMPRESSED)?.0);
    let (half, all) = (size(&array.slice(0, array.len() / 2))?, size(array)?);
    // Distinct values grow as a power of the rows (Heaps' law); its exponent shows between half the sample and all of it.
    let exponent = (all / half.max(1.0)).log2().clamp(0.0, 1.0);
    let group = (group_rows as f64).max(rows);
    let growth = (group / rows).powf(exponent);
    if all * growth > DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT as f64 {
        return Ok(f64::INFINITY);
    }
    // Numbers of a dictionary that grows get longer by a bit each time that it doubles.
    Ok(data / rows + growth.log2() / 8.0 + dictionary * growth / group)
}

/// Bytes of the dictionary and of all else when the sample is written like this.
fn written(
    array: &ArrayRef,
    encoding: Option<Encoding>,
    codec: Compression,
) -> Result<(f64, f64), CodecError> {
    let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(encoding.is_none());
    let properties = match encoding {
        Some(encoding) => properties.set_encoding(encoding),
        None => properties,
    };
    let options =
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
    writer.write(&RecordBatch::try_new(schema, vec![array.clone()])?)?;
    let metadata = writer.close()?;
    let column = metadata.row_groups().iter().flat_map(|group| group.columns()).next();
    let Some(column) = column else { return Ok((0.0, 0.0)) };
    let dictionary = column.dictionary_page_offset().map_or(0, |at| column.data_page_offset() - at);
    Ok((dictionary as f64, (column.compressed_size() - dictionary) as f64))
}

#[cfg(test)]
mod tests;
