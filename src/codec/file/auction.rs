//! Which encoding a column gets: those that every reader knows, tried on the piece's first rows; the cheapest wins.
//!
//! The choice beats any compression level, at less work, and it depends on the data: prices that repeat want a
//! dictionary, prices of many symbols in turn want none, times want differences. The first rows stand for all, but for
//! dictionaries, whose weight falls with every row that finds its value in them: theirs is reckoned for a whole row group.
//! It does not read a clock, so that the same rows get the same choice.

use std::cell::OnceCell;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, EnabledStatistics, WriterProperties};

use super::columns::alone;
use crate::codec::CodecError;

/// Rows that are tried: enough to tell encodings apart, and a few milliseconds of work.
const SAMPLE: usize = 8192;

/// Fewer rows are not worth the trouble.
const FEWEST: usize = 1024;

/// In a file of more columns than this none gets a dictionary: each takes 73 KiB before its first value comes.
pub(super) const MOST_DICTIONARIES: usize = 256;

/// Bytes of a column that are tried: of long texts fewer rows show as much, and [`SAMPLE`] of them took longer to try than a batch
/// takes to be encoded.
const ENOUGH_BYTES: usize = 256 << 10;

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

/// What is hardly smaller under the lower level is taken for random.
const INCOMPRESSIBLE: f64 = 0.97;

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
pub(super) fn candidates(data_type: &DataType) -> Option<&'static [Option<Encoding>]> {
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

/// What an auction came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Won {
    pub(super) choice: Choice,
    /// Bytes a value of the sample: plain under the lower level, and as was chosen.
    plain: f64,
    chosen: f64,
}

/// Samples of one kind of rows differ by less: a part of their bytes, and bytes a value.
const ALIKE: (f64, f64) = (0.1, 0.05);

impl Won {
    /// Whether the auction for a column with these bytes a value in its sample would come to the same.
    fn is_like(
        &self,
        plain: f64,
        chosen: impl FnOnce() -> Result<f64, CodecError>,
    ) -> Result<bool, CodecError> {
        let alike = |one: f64, other: f64| (one - other).abs() <= ALIKE.0 * other + ALIKE.1;
        Ok(alike(plain, self.plain) && alike(chosen()?, self.chosen))
    }
}

/// The best choice for a column that begins with `array`. `None`: the default will do. Where the column is like one whose auction
/// was held `before`, its choice holds.
pub(super) fn choose(
    array: &ArrayRef,
    terms: Terms,
    before: Option<&Won>,
) -> Result<Option<Won>, CodecError> {
    let Terms { group_rows, level, dictionaries } = terms;
    let Some(candidates) = candidates(array.data_type()) else { return Ok(None) };
    let sample = array.slice(0, array.len().min(SAMPLE));
    let bytes = sample.to_data().get_slice_memory_size()?.max(1);
    if sample.len() < FEWEST || bytes > SAMPLE_BYTES {
        return Ok(None);
    }
    let rows = (sample.len() * ENOUGH_BYTES / bytes).max(FEWEST).min(sample.len());
    let (low, high) = (zstd(LOW.min(level))?, zstd(level)?);
    let column = Column::new(array, rows, group_rows, low)?;
    let plain = column.a_value(column.plain);
    if let Some(before) = before
        && before.is_like(plain, || column.sampled(before.choice))?
    {
        return Ok(Some(*before));
    }
    let mut best = None;
    for encoding in candidates.iter().filter(|encoding| dictionaries || encoding.is_some()) {
        column.bid(Choice { encoding: *encoding, compression: low }, &mut best)?;
    }
    let Some(Bid { choice: Choice { encoding, .. }, compressed, bare, .. }) = best else { return Ok(None) };
    for compression in [Compression::UNCOMPRESSED, high] {
        if compression != high || is_worth_more(compressed, bare) {
            column.bid(Choice { encoding, compression }, &mut best)?;
        }
    }
    Ok(best.map(|Bid { choice, sampled, .. }| Won { choice, plain, chosen: sampled }))
}

/// A choice and what it costs.
#[derive(Clone, Copy)]
struct Bid {
    choice: Choice,
    price: f64,
    /// Bytes a value: in a row group, there before it was compressed, and in the sample.
    compressed: f64,
    bare: f64,
    sampled: f64,
}

/// Where the lower level finds nothing, the higher one does not either, and what it would gain must pay for its work.
fn is_worth_more(compressed: f64, bare: f64) -> bool {
    compressed < INCOMPRESSIBLE * bare && compressed > bare * COMPRESSING_MORE / NANOSECONDS_A_BYTE
}

fn zstd(level: i32) -> Result<Compression, CodecError> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(level)?))
}

/// A column's sample, and what is known of it already.
struct Column {
    sample: ArrayRef,
    /// The sample and as many rows behind it, where there are.
    grown: ArrayRef,
    /// Rows of a row group.
    group_rows: usize,
    /// The lower zstd level.
    low: Compression,
    /// Plain values under it.
    plain: Written,
    dictionary: OnceCell<Dictionary>,
}

/// What a dictionary makes of the sample.
#[derive(Clone, Copy)]
struct Dictionary {
    /// Without compression.
    written: Written,
    /// Distinct values grow as a power of the rows (Heaps' law).
    exponent: f64,
}

impl Column {
    fn new(array: &ArrayRef, rows: usize, group_rows: usize, low: Compression) -> Result<Self, CodecError> {
        let (sample, grown) = (array.slice(0, rows), array.slice(0, array.len().min(2 * rows)));
        let plain = written(&sample, Some(Encoding::PLAIN), low)?;
        Ok(Self { sample, grown, group_rows, low, plain, dictionary: OnceCell::new() })
    }

    fn a_value(&self, written: Written) -> f64 {
        (written.data + written.dictionary) / self.sample.len() as f64
    }

    /// Bytes a value of the sample as a choice has it.
    fn sampled(&self, choice: Choice) -> Result<f64, CodecError> {
        let plain = Choice { encoding: Some(Encoding::PLAIN), compression: self.low };
        let found = if choice == plain {
            self.plain
        } else {
            written(&self.sample, choice.encoding, choice.compression)?
        };
        Ok(self.a_value(found))
    }

    /// Makes a choice the best, if its price is below the best one's.
    fn bid(&self, choice: Choice, best: &mut Option<Bid>) -> Result<(), CodecError> {
        let (compressed, bare, sampled) = self.bytes_a_value(choice, *best)?;
        let a_byte = match choice.compression {
            Compression::UNCOMPRESSED => 0.0,
            zstd if zstd == self.low => COMPRESSING,
            _ => COMPRESSING + COMPRESSING_MORE,
        };
        let price = compressed + (encoding_work(choice.encoding) + bare * a_byte) / NANOSECONDS_A_BYTE;
        if best.is_none_or(|best| price < best.price) {
            *best = Some(Bid { choice, price, compressed, bare, sampled });
        }
        Ok(())
    }

    /// What one value takes: in a row group, there before it is compressed, and in the sample.
    fn bytes_a_value(&self, choice: Choice, best: Option<Bid>) -> Result<(f64, f64, f64), CodecError> {
        let rows = self.sample.len() as f64;
        if choice == (Choice { encoding: Some(Encoding::PLAIN), compression: self.low }) {
            let plain = self.plain.data / rows;
            return Ok((plain, self.plain.uncompressed / rows, plain));
        }
        if choice.encoding.is_some() {
            // What it takes without compression was seen when it was compressed.
            let known = best.filter(|best| best.choice.encoding == choice.encoding);
            if let (Compression::UNCOMPRESSED, Some(Bid { bare, .. })) = (choice.compression, known) {
                return Ok((bare, bare, bare));
            }
            let found = written(&self.sample, choice.encoding, choice.compression)?;
            let compressed = found.data / rows;
            return Ok((compressed, found.uncompressed / rows, compressed));
        }
        let Dictionary { written: bare, exponent } = self.dictionary()?;
        let found = match choice.compression {
            Compression::UNCOMPRESSED => bare,
            compression => written(&self.sample, None, compression)?,
        };
        let all = bare.dictionary.max(1.0);
        let group = (self.group_rows as f64).max(rows);
        let full = (DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT as f64 / all).max(1.0);
        let growth = (group / rows).powf(exponent).min(full);
        // From the row on that finds the dictionary full, values are plain.
        let inside = (rows * growth.powf(1.0 / exponent.max(0.01)) / group).min(1.0);
        let inside = if growth < full { 1.0 } else { inside };
        // Numbers of a dictionary that grows get longer by a bit each time that it doubles.
        let longer = growth.log2() / 8.0;
        let bytes = inside * (found.data / rows + longer) + (1.0 - inside) * self.plain.data / rows;
        let uncompressed = (found.uncompressed - all).max(0.0) / rows + longer + all * growth / group;
        Ok((bytes + found.dictionary * growth / group, uncompressed, self.a_value(found)))
    }

    /// Asked for by up to three choices, and made once.
    fn dictionary(&self) -> Result<Dictionary, CodecError> {
        if let Some(known) = self.dictionary.get() {
            return Ok(*known);
        }
        let bare = |array: &ArrayRef| written(array, None, Compression::UNCOMPRESSED);
        let written = bare(&self.sample)?;
        // The exponent shows between half of the rows and all of them.
        let half = self.grown.len() / 2;
        let fewer = match half == self.sample.len() {
            true => written.dictionary,
            false => bare(&self.grown.slice(0, half))?.dictionary,
        };
        let exponent = (bare(&self.grown)?.dictionary / fewer.max(1.0)).log2().clamp(0.0, 1.0);
        Ok(*self.dictionary.get_or_init(|| Dictionary { written, exponent }))
    }
}

/// The bytes of a sample that was written.
#[derive(Clone, Copy)]
struct Written {
    dictionary: f64,
    /// All else.
    data: f64,
    /// Of both, before they were compressed.
    uncompressed: f64,
}

/// Writes the sample.
fn written(array: &ArrayRef, encoding: Option<Encoding>, codec: Compression) -> Result<Written, CodecError> {
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(encoding.is_none());
    let properties = match encoding {
        Some(encoding) => properties.set_encoding(encoding),
        None => properties,
    };
    let chunk = alone(array, properties.build())?;
    let dictionary = chunk.dictionary_page_offset().map_or(0, |at| chunk.data_page_offset() - at);
    Ok(Written {
        dictionary: dictionary as f64,
        data: (chunk.compressed_size() - dictionary) as f64,
        uncompressed: chunk.uncompressed_size() as f64,
    })
}

#[cfg(test)]
mod tests;
