//! Files with chunks that are written here are, byte for byte, those that the Parquet crate writes.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowWriterOptions, compute_leaves};
use parquet::basic::ZstdLevel;
use parquet::file::properties::WriterPropertiesBuilder;
use proptest::prelude::*;

use super::*;

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

/// An array of one of five types; values that are not valid stand in it all the same.
fn array(kind: usize, nullable: bool, rows: &[Option<i64>]) -> ArrayRef {
    let nulls = nullable.then(|| NullBuffer::from_iter(rows.iter().map(Option::is_some)));
    let wide: ScalarBuffer<i64> = rows.iter().map(|value| value.unwrap_or(77)).collect();
    let narrow: ScalarBuffer<i32> = wide.iter().map(|value| *value as i32).collect();
    match kind {
        0 => Arc::new(Int32Array::new(narrow, nulls)),
        1 => Arc::new(Date32Array::new(narrow, nulls)),
        2 => Arc::new(Int64Array::new(wide, nulls)),
        3 => Arc::new(Time64MicrosecondArray::new(wide, nulls)),
        _ => Arc::new(TimestampMicrosecondArray::new(wide, nulls).with_timezone("UTC")),
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
            NumberColumn::begin(description, field.data_type(), properties).unwrap().expect("one of ours");
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
    fn a_column_of_numbers_is_what_the_parquet_crate_writes(
        batches in prop::collection::vec(prop::collection::vec(any_stretch(), 0..6), 1..5),
        kind in 0..5usize,
        nullable in any::<bool>(),
        level in 0..4i32,
        encoding in prop_oneof![Just(Encoding::PLAIN), Just(Encoding::DELTA_BINARY_PACKED)],
        statistics in any::<bool>(),
        offset_index in any::<bool>(),
        (page_rows, page_bytes, step) in (100..4000usize, 500..20_000usize, 1..1500usize),
    ) {
        let compression = match level {
            0 => Compression::UNCOMPRESSED,
            level => Compression::ZSTD(ZstdLevel::try_new(level).unwrap()),
        };
        let properties = plain()
            .set_encoding(encoding)
            .set_compression(compression)
            .set_statistics_enabled(if statistics { EnabledStatistics::Page } else { EnabledStatistics::None })
            .set_offset_index_disabled(!offset_index)
            .set_data_page_row_count_limit(page_rows)
            .set_data_page_size_limit(page_bytes)
            .set_write_batch_size(step)
            .build();
        let batches: Vec<ArrayRef> = batches.iter().map(|batch| array(kind, nullable, &rows(batch))).collect();
        prop_assert!(file(&batches, nullable, &properties, true) == file(&batches, nullable, &properties, false));
    }
}

/// Batches and pages of the size that they have in a dump, also as a slice of a larger array.
#[test]
fn pages_of_a_dump_are_what_the_parquet_crate_writes() {
    let value = |row: i64| (row % 1000 != 7).then(|| row * 7919 % 100_003);
    let all = array(2, true, &(0..70_000).map(value).collect::<Vec<_>>());
    let batches: Vec<ArrayRef> = [(0, 16_384), (16_384, 16_384), (32_768, 30_000), (62_768, 7_232)]
        .map(|(from, rows)| all.slice(from, rows))
        .to_vec();
    for encoding in [Encoding::PLAIN, Encoding::DELTA_BINARY_PACKED] {
        let compression = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
        let properties = plain().set_encoding(encoding).set_compression(compression).build();
        assert!(file(&batches, true, &properties, true) == file(&batches, true, &properties, false));
    }
}

#[test]
fn an_array_that_the_column_cannot_hold_is_an_error() {
    let schema = Schema::new(vec![Field::new("c", DataType::Int64, false)]);
    let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&schema).unwrap();
    let begin =
        || NumberColumn::begin(parquet.column(0), &DataType::Int64, &plain().build()).unwrap().unwrap();
    begin().write(&array(2, true, &[Some(1), Some(2)])).unwrap();
    assert!(
        begin().write(&array(2, true, &[Some(1), None])).is_err(),
        "no level says that a value is missing"
    );
    assert!(begin().write(&StringArray::from(vec!["1"])).is_err());
}

#[test]
fn what_is_no_number_or_otherwise_encoded_is_left_to_the_parquet_crate() {
    let of = |data_type: DataType, properties: WriterProperties| {
        let schema = Schema::new(vec![Field::new("c", data_type.clone(), true)]);
        let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&schema).unwrap();
        NumberColumn::begin(parquet.column(0), &data_type, &properties).unwrap().is_some()
    };
    assert!(of(DataType::Int64, plain().build()), "the control");
    assert!(of(DataType::Int64, plain().set_encoding(Encoding::PLAIN).build()));
    assert!(of(DataType::Int32, plain().set_encoding(Encoding::DELTA_BINARY_PACKED).build()));
    assert!(!of(DataType::Int64, plain().set_encoding(Encoding::BYTE_STREAM_SPLIT).build()));
    assert!(!of(DataType::Int64, WriterProperties::builder().build()), "dictionaries");
    assert!(!of(DataType::Int64, plain().set_compression(Compression::SNAPPY).build()));
    assert!(!of(DataType::Int64, plain().set_statistics_enabled(EnabledStatistics::Chunk).build()));
    let others = [
        DataType::Int16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Boolean,
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::new_list(DataType::Int64, true),
    ];
    for other in others {
        assert!(!of(other.clone(), plain().build()), "{other}");
    }
}
