//! Files with chunks that are written here are, byte for byte, those that the Parquet crate writes.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowWriterOptions, compute_leaves};
use parquet::basic::ZstdLevel;
use parquet::file::properties::WriterPropertiesBuilder;
use proptest::prelude::*;

use super::*;
use crate::codec::file::auction;

/// How validity and values go on: so many rows each.
#[derive(Debug, Clone)]
enum Stretch {
    Nulls(usize),
    Equal(usize, i64),
    Growing(usize, i64),
    Falling(usize, i64),
    /// Any values, each of them NULL or not.
    Any(Vec<Option<i64>>),
}

fn rows(stretches: &[Stretch]) -> Vec<Option<i64>> {
    let of = |stretch: &Stretch| -> Vec<Option<i64>> {
        match stretch {
            Stretch::Nulls(rows) => vec![None; *rows],
            Stretch::Equal(rows, value) => vec![Some(*value); *rows],
            Stretch::Growing(rows, from) => {
                (0..*rows as i64).map(|at| Some(from.saturating_add(at))).collect()
            }
            Stretch::Falling(rows, from) => {
                (0..*rows as i64).map(|at| Some(from.saturating_sub(at))).collect()
            }
            Stretch::Any(values) => values.clone(),
        }
    };
    stretches.iter().flat_map(of).collect()
}

/// Types of arrays that are written here.
const KINDS: usize = 12;

/// An array of one of these types; values that are not valid stand in it all the same.
fn array(kind: usize, nullable: bool, rows: &[Option<i64>]) -> ArrayRef {
    let nulls = nullable.then(|| NullBuffer::from_iter(rows.iter().map(Option::is_some)));
    let wide: ScalarBuffer<i64> = rows.iter().map(|value| value.unwrap_or(77)).collect();
    let narrow: ScalarBuffer<i32> = wide.iter().map(|value| *value as i32).collect();
    // Most are short, some longer than what statistics show of them, and of these some end in what cannot be counted up.
    let texts = || wide.iter().map(|value| text(*value));
    match kind {
        0 => Arc::new(Int32Array::new(narrow, nulls)),
        1 => Arc::new(Date32Array::new(narrow, nulls)),
        2 => Arc::new(Int64Array::new(wide, nulls)),
        3 => Arc::new(Time64MicrosecondArray::new(wide, nulls)),
        4 => Arc::new(TimestampMicrosecondArray::new(wide, nulls).with_timezone("UTC")),
        5 => Arc::new(Float64Array::new(wide.iter().map(|value| *value as f64 / 4.0).collect(), nulls)),
        6 => Arc::new(Float32Array::new(narrow.iter().map(|value| *value as f32 / 8.0).collect(), nulls)),
        7 => {
            let squares = wide.iter().map(|value| i128::from(*value) * i128::from(*value % 1000)).collect();
            Arc::new(Decimal128Array::new(squares, nulls).with_precision_and_scale(38, 9).unwrap())
        }
        8 => {
            let bytes: Vec<u8> =
                wide.iter().flat_map(|value| [value.to_be_bytes(), value.to_le_bytes()]).flatten().collect();
            Arc::new(FixedSizeBinaryArray::new(16, bytes.into(), nulls))
        }
        9 => {
            let made = StringArray::from_iter_values(texts());
            Arc::new(StringArray::new(made.offsets().clone(), made.values().clone(), nulls))
        }
        10 => {
            let some: Vec<Option<String>> =
                rows.iter().map(|value| value.map(|value| text(value % 17))).collect();
            let made = StringArray::from(some);
            Arc::new(StringArray::new(made.offsets().clone(), made.values().clone(), nulls))
        }
        _ => {
            let bytes = texts().map(|text| match text.len() {
                65.. => [&[0xff; 70], text.as_bytes()].concat(),
                // Equal but for their lengths, on both sides of where a dictionary calls them long.
                length if length % 3 == 0 => vec![0; length % 20],
                _ => [&[0xff, 0], text.as_bytes()].concat(),
            });
            let made = BinaryArray::from_iter_values(bytes);
            Arc::new(BinaryArray::new(made.offsets().clone(), made.values().clone(), nulls))
        }
    }
}

fn text(value: i64) -> String {
    match value.rem_euclid(23) {
        0 => String::new(),
        1 => format!("{}{value}", "é".repeat(31 + (value % 7) as usize % 3)),
        2 => format!("{}{value}", "\u{10ffff}".repeat(15 + (value % 5) as usize % 3)),
        3 => format!("{value}{}", "x".repeat(80)),
        4 => format!("{}\u{d7ff}{value}", "y".repeat(60 + (value % 9) as usize % 5)),
        _ => format!("S{value}"),
    }
}

/// One column, two row groups of the same batches.
fn file(batches: &[ArrayRef], nullable: bool, properties: &WriterProperties, ours: bool) -> Vec<u8> {
    let field = Arc::new(Field::new("c", batches[0].data_type().clone(), nullable));
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let options =
        ArrowWriterOptions::new().with_properties(properties.clone()).with_skip_arrow_metadata(true);
    let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    let (mut writer, factory) = writer.into_serialized_writer().unwrap();
    for number in 0..2 {
        let description = writer.schema_descr().column(0);
        let mut arrow = factory.create_column_writers(number).unwrap().pop().unwrap();
        let mut plain =
            FlatColumn::begin(description, field.data_type(), properties).unwrap().expect("one of ours");
        for batch in batches {
            let leaf = compute_leaves(&field, batch).unwrap().pop().unwrap();
            arrow.write(&leaf).unwrap();
            plain.write(batch).unwrap();
            assert_eq!(plain.bytes(), arrow.get_estimated_total_bytes(), "by which pieces are cut");
        }
        let mut group = writer.next_row_group().unwrap();
        if ours {
            let (bytes, close) = plain.close().unwrap();
            group.append_column(&bytes, close).unwrap();
        } else {
            arrow.close().unwrap().append_to_row_group(&mut group).unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_dictionary_enabled(false)
}

fn any_stretch() -> impl Strategy<Value = Stretch> {
    let value =
        prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(i64::from(i32::MIN)), -9..9i64, any::<i64>()];
    let rows = prop_oneof![1..20usize, 450..600usize, 1000..3000usize];
    prop_oneof![
        rows.clone().prop_map(Stretch::Nulls),
        (rows.clone(), value.clone()).prop_map(|(rows, value)| Stretch::Equal(rows, value)),
        (rows.clone(), value.clone()).prop_map(|(rows, value)| Stretch::Growing(rows, value)),
        (rows, value.clone()).prop_map(|(rows, value)| Stretch::Falling(rows, value)),
        prop::collection::vec(prop::option::of(value), 1..700).prop_map(Stretch::Any),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_column_is_what_the_parquet_crate_writes(
        batches in prop::collection::vec(prop::collection::vec(any_stretch(), 0..6), 1..5),
        kind in 0..KINDS,
        nullable in any::<bool>(),
        level in 0..4i32,
        encoding in 0..5usize,
        (statistics, offset_index) in (any::<bool>(), any::<bool>()),
        cut_at in prop::option::of(1..70usize),
        (page_rows, page_bytes, step) in (100..4000usize, 500..20_000usize, 1..1500usize),
        dictionary_bytes in 100..30_000usize,
    ) {
        let compression = match level {
            0 => Compression::UNCOMPRESSED,
            level => Compression::ZSTD(ZstdLevel::try_new(level).unwrap()),
        };
        let batches: Vec<ArrayRef> = batches.iter().map(|batch| array(kind, nullable, &rows(batch))).collect();
        let encodings = encodings(batches[0].data_type());
        let encoding = encodings[encoding % encodings.len()];
        let statistics = statistics && !batches[0].data_type().is_floating();
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(encoding.is_none())
            .set_dictionary_page_size_limit(dictionary_bytes)
            .set_compression(compression)
            .set_statistics_enabled(if statistics { EnabledStatistics::Page } else { EnabledStatistics::None })
            .set_column_index_truncate_length(cut_at)
            .set_statistics_truncate_length(cut_at.map(|bytes| bytes + 3))
            .set_offset_index_disabled(!offset_index)
            .set_data_page_row_count_limit(page_rows)
            .set_data_page_size_limit(page_bytes)
            .set_write_batch_size(step);
        let properties = match encoding {
            Some(encoding) => properties.set_encoding(encoding).build(),
            None => properties.build(),
        };
        prop_assert!(file(&batches, nullable, &properties, true) == file(&batches, nullable, &properties, false));
    }
}

/// What the auction may choose for them; `None` for a dictionary.
fn encodings(data_type: &DataType) -> Vec<Option<Encoding>> {
    let chosen = auction::candidates(data_type).expect("something to choose");
    assert!(chosen.len() > 1, "{data_type}");
    chosen.to_vec()
}

/// Batches and pages of the size that they have in a dump, also as a slice of a larger array.
#[test]
fn pages_of_a_dump_are_what_the_parquet_crate_writes() {
    let value = |row: i64| (row % 1000 != 7).then(|| row * 7919 % 100_003 % (row / 100 + 1));
    for kind in 0..KINDS {
        let all = array(kind, true, &(0..70_000).map(value).collect::<Vec<_>>());
        let batches: Vec<ArrayRef> = [(0, 16_384), (16_384, 16_384), (32_768, 30_000), (62_768, 7_232)]
            .map(|(from, rows)| all.slice(from, rows))
            .to_vec();
        for encoding in encodings(all.data_type()) {
            let compression = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
            let properties = WriterProperties::builder().set_compression(compression);
            let properties = match encoding {
                Some(encoding) => properties.set_dictionary_enabled(false).set_encoding(encoding),
                None => properties,
            };
            let properties = match all.data_type().is_floating() {
                true => properties.set_statistics_enabled(EnabledStatistics::None).build(),
                false => properties.build(),
            };
            let ours = file(&batches, true, &properties, true);
            assert!(ours == file(&batches, true, &properties, false), "{} {encoding:?}", all.data_type());
        }
    }
}

/// At the very value with which it is full, and one before.
#[test]
fn a_dictionary_ends_where_that_of_the_parquet_crate_does() {
    let batch = array(2, false, &(0..700).map(Some).collect::<Vec<_>>());
    for dictionary_bytes in [792, 800, 808] {
        let properties = WriterProperties::builder()
            .set_write_batch_size(100)
            .set_dictionary_page_size_limit(dictionary_bytes)
            .build();
        let batches = [batch.clone(), batch.slice(0, 50)];
        assert!(file(&batches, false, &properties, true) == file(&batches, false, &properties, false));
    }
}

#[test]
fn an_array_that_the_column_cannot_hold_is_an_error() {
    let schema = Schema::new(vec![Field::new("c", DataType::Int64, false)]);
    let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&schema).unwrap();
    let begin = || FlatColumn::begin(parquet.column(0), &DataType::Int64, &plain().build()).unwrap().unwrap();
    begin().write(&array(2, true, &[Some(1), Some(2)])).unwrap();
    assert!(
        begin().write(&array(2, true, &[Some(1), None])).is_err(),
        "no level says that a value is missing"
    );
    assert!(begin().write(&StringArray::from(vec!["1"])).is_err());
}

#[test]
fn values_that_an_encoding_is_not_for_are_an_error_at_the_end_of_their_page() {
    let texts = || Values::encoded(Encoding::DELTA_LENGTH_BYTE_ARRAY, Type::BYTE_ARRAY).unwrap();
    let prefixes = || Values::encoded(Encoding::DELTA_BYTE_ARRAY, Type::BYTE_ARRAY).unwrap();
    let differences = || Values::encoded(Encoding::DELTA_BINARY_PACKED, Type::INT64).unwrap();
    let dictionary = |physical| Values::in_dictionary(physical).unwrap();
    let close = |kind: usize, values: Option<Values>| {
        let array = array(kind, true, &[Some(1), None, Some(1)]);
        let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
        let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&schema).unwrap();
        let properties = plain().set_statistics_enabled(EnabledStatistics::None).build();
        let mut column =
            FlatColumn::begin(parquet.column(0), array.data_type(), &properties).unwrap().unwrap();
        if let Some(values) = values {
            column.page.values = values;
        }
        column.write(&array).unwrap();
        column.close()
    };
    let (numbers, strings, uuids) = (2, 9, 8);
    for kind in [numbers, strings, uuids] {
        close(kind, None).unwrap();
    }
    close(numbers, Some(dictionary(Type::INT64))).unwrap();
    close(strings, Some(dictionary(Type::BYTE_ARRAY))).unwrap();
    let unsuited = [
        (numbers, texts()),
        (numbers, prefixes()),
        (numbers, dictionary(Type::BYTE_ARRAY)),
        (strings, differences()),
        (strings, dictionary(Type::INT64)),
        (uuids, dictionary(Type::INT64)),
    ];
    for (kind, values) in unsuited {
        let error = close(kind, Some(values)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("c has values that PLAIN or its dictionary does not take"), "{error}");
    }
}

#[test]
fn what_is_nested_or_otherwise_encoded_is_left_to_the_parquet_crate() {
    let of = |data_type: DataType, properties: WriterProperties| {
        let schema = Schema::new(vec![Field::new("c", data_type.clone(), true)]);
        let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&schema).unwrap();
        FlatColumn::begin(parquet.column(0), &data_type, &properties).unwrap().is_some()
    };
    assert!(of(DataType::Int64, plain().build()), "the control");
    assert!(of(DataType::Int64, WriterProperties::builder().build()), "dictionaries");
    assert!(of(DataType::Int64, plain().set_encoding(Encoding::PLAIN).build()));
    assert!(of(DataType::Int32, plain().set_encoding(Encoding::DELTA_BINARY_PACKED).build()));
    assert!(of(DataType::Float64, plain().set_statistics_enabled(EnabledStatistics::None).build()));
    assert!(!of(DataType::Float64, plain().build()), "statistics of NaN are not kept here");
    assert!(!of(DataType::Int64, plain().set_encoding(Encoding::BYTE_STREAM_SPLIT).build()));
    assert!(!of(DataType::Utf8, plain().set_encoding(Encoding::DELTA_BINARY_PACKED).build()));
    assert!(!of(DataType::Int64, plain().set_compression(Compression::SNAPPY).build()));
    assert!(!of(DataType::Int64, plain().set_statistics_enabled(EnabledStatistics::Chunk).build()));
    assert!(!of(DataType::Int64, plain().set_bloom_filter_enabled(true).build()));
    assert!(!of(DataType::Int64, plain().set_write_page_header_statistics(true).build()));
    let others = [
        DataType::Int16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Boolean,
        DataType::LargeUtf8,
        DataType::Decimal128(18, 2),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::new_list(DataType::Int64, true),
    ];
    for other in others {
        assert!(!of(other.clone(), plain().build()), "{other}");
    }
}
