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

/// Rows that are tried: enough to tell encodings apart, and a few milliseconds of work.
const SAMPLE: usize = 8192;

/// Fewer rows are not worth the trouble.
const FEWEST: usize = 1024;

/// In a file of more columns than this none gets a dictionary: each takes 73 KiB before its first value comes.
pub(super) const MOST_DICTIONARIES: usize = 256;

/// Values beyond this are too large to be tried again and again: a dictionary or plain pages do as well for them.
const SAMPLE_BYTES: usize = 4 << 20;

/// How one column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// `None`: a dictionary.
    pub(super) encoding: Option<Encoding>,
    pub(super) compression: Compression,
}

/// The level that is tried first: for columns of numbers higher ones cost more and gain little.
const LOW: i32 = 1;

/// Nanoseconds of work that a byte in the file is worth, each a value: size decides, and work where sizes are close.
const NANOSECONDS_A_BYTE: f64 = 50.0;

/// What it costs to compress a byte, and what the higher level costs beyond, in nanoseconds. These and the next are
/// measured on bars (docs/performance.md) and constant, because a clock would make the choice a matter of chance.
const COMPRESSING: f64 = 2.3;
const COMPRESSING_MORE: f64 = 2.0;

/// What it costs to encode a value, in nanoseconds.
fn encoding_work(encoding: Option<Encoding>) -> f64 {
    match encoding {
        None => 22.0,
        Some(Encoding::PLAIN) => 3.0,
        Some(Encoding::DELTA_BYTE_ARRAY) => 15.0,
        _ => 8.0,
    }
}

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

/// What a file asks of its columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Rows that a row group will have, about.
    pub(super) group_rows: usize,
    /// The highest zstd level.
    pub(super) level: i32,
    /// Whether there is memory for dictionaries.
    pub(super) dictionaries: bool,
}

/// The best choice for a column that begins with `array`. `None`: the default will do.
pub(super) fn choose(array: &ArrayRef, terms: Terms) -> Result<Option<Choice>, CodecError> {
    let Terms { group_rows, level, dictionaries } = terms;
    let Some(candidates) = candidates(array.data_type()) else { return Ok(None) };
    let grown = array.slice(0, array.len().min(2 * SAMPLE));
    let array = array.slice(0, array.len().min(SAMPLE));
    if array.len() < FEWEST || array.to_data().get_slice_memory_size()? > SAMPLE_BYTES {
        return Ok(None);
    }
    let (low, high) = (zstd(LOW.min(level))?, zstd(level)?);
    let plain = written(&array, Some(Encoding::PLAIN), low)?;
    let price = |choice: &Choice| {
        let (bytes, compressed) = bytes_a_value((&array, &grown), *choice, (&plain, low), group_rows)?;
        let a_byte = match choice.compression {
            Compression::UNCOMPRESSED => 0.0,
            zstd if zstd == low => COMPRESSING,
            _ => COMPRESSING + COMPRESSING_MORE,
        };
        let work = encoding_work(choice.encoding) + compressed * a_byte;
        Ok(bytes + work / NANOSECONDS_A_BYTE)
    };
    let allowed = candidates.iter().filter(|encoding| dictionaries || encoding.is_some());
    let best = cheapest(allowed.map(|encoding| Choice { encoding: *encoding, compression: low }), price)?;
    let Some(best) = best else { return Ok(None) };
    let compressions = [low, Compression::UNCOMPRESSED, high];
    cheapest(compressions.map(|compression| Choice { compression, ..best }).into_iter(), price)
}

/// The first of those with the lowest price.
fn cheapest(
    choices: impl Iterator<Item = Choice>,
    price: impl Fn(&Choice) -> Result<f64, CodecError>,
) -> Result<Option<Choice>, CodecError> {
    let mut best: Option<(f64, Choice)> = None;
    for choice in choices {
        let price = price(&choice)?;
        if best.is_none_or(|(lowest, _)| price < lowest) {
            best = Some((price, choice));
        }
    }
    Ok(best.map(|(_, choice)| choice))
}

fn zstd(level: i32) -> Result<Compression, CodecError> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(level)?))
}

/// What one value takes in a row group of `group_rows`, by the sample, of which plain values under one compression are
/// known: in the file, and before it is compressed. `grown` is the sample and the rows behind it.
fn bytes_a_value(
    (array, grown): (&ArrayRef, &ArrayRef),
    choice: Choice,
    (plain, under): (&Written, Compression),
    group_rows: usize,
) -> Result<(f64, f64), CodecError> {
    let rows = array.len() as f64;
    if choice == (Choice { encoding: Some(Encoding::PLAIN), compression: under }) {
        return Ok((plain.data / rows, plain.uncompressed / rows));
    }
    let found = written(array, choice.encoding, choice.compression)?;
    if choice.encoding.is_some() {
        return Ok((found.data / rows, found.uncompressed / rows));
    }
    let size =
        |array: &ArrayRef| Ok::<_, CodecError>(written(array, None, Compression::UNCOMPRESSED)?.dictionary);
    let all = size(array)?.max(1.0);
    // Distinct values grow as a power of the rows (Heaps' law); its exponent shows between half of the rows and all of them.
    let half = grown.len() / 2;
    let fewer = if half == array.len() { all } else { size(&grown.slice(0, half))?.max(1.0) };
    let exponent = (size(grown)? / fewer).log2().clamp(0.0, 1.0);
    let group = (group_rows as f64).max(rows);
    let full = (DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT as f64 / all).max(1.0);
    let growth = (group / rows).powf(exponent).min(full);
    // From the row on that finds the dictionary full, values are plain.
    let inside = (rows * growth.powf(1.0 / exponent.max(0.01)) / group).min(1.0);
    let inside = if growth < full { 1.0 } else { inside };
    // Numbers of a dictionary that grows get longer by a bit each time that it doubles.
    let longer = growth.log2() / 8.0;
    let bytes = inside * (found.data / rows + longer) + (1.0 - inside) * plain.data / rows;
    let uncompressed = (found.uncompressed - all).max(0.0) / rows + longer + all * growth / group;
    Ok((bytes + found.dictionary * growth / group, uncompressed))
}

/// The bytes of a sample that was written.
struct Written {
    dictionary: f64,
    /// All else.
    data: f64,
    /// Of both, before they were compressed.
    uncompressed: f64,
}

/// Writes the sample.
fn written(array: &ArrayRef, encoding: Option<Encoding>, codec: Compression) -> Result<Written, CodecError> {
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
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let mut written = Written { dictionary: 0.0, data: 0.0, uncompressed: 0.0 };
    for column in columns {
        let dictionary = column.dictionary_page_offset().map_or(0, |at| column.data_page_offset() - at);
        written.dictionary += dictionary as f64;
        written.data += (column.compressed_size() - dictionary) as f64;
        written.uncompressed += column.uncompressed_size() as f64;
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
