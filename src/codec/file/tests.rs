//! Pieces: what goes in comes out, and a damaged file is an error.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::base::{Digest, RowsetDigest};
use crate::codec::CodecError;
use crate::codec::column::samples::all;
use crate::codec::column::{STRIP, arrow_type, canonicalise};
use crate::codec::rowset::RowHasher;
use crate::codec::shape::{ColumnShape, PieceShape};
use crate::manifest::Mapping;

/// The fields of one row.
type Row = Vec<Option<Vec<u8>>>;

fn hasher() -> RowHasher {
    RowHasher::new(&[3; 32])
}

fn shape(mappings: &[Mapping], derived: usize) -> PieceShape {
    let kept = mappings.len() - derived;
    let column = |(at, mapping): (usize, &Mapping)| ColumnShape {
        name: format!("c {at}"),
        mapping: mapping.clone(),
        derived: at >= kept,
    };
    let columns = mappings.iter().enumerate().map(column).collect();
    PieceShape { columns, metadata: "{\"v\":1}".into(), clustered_by: Vec::new() }
}

fn tuple(fields: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut tuple = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        let length = field.as_ref().map_or(-1, |bytes| bytes.len() as i32);
        tuple.extend_from_slice(&length.to_be_bytes());
        tuple.extend_from_slice(field.as_deref().unwrap_or_default());
    }
    tuple
}

struct Written {
    finished: FinishedPiece,
    piece: Bytes,
    sidecar: Option<Bytes>,
    opened: usize,
    /// What the file was said to have after each row: where a piece ends depends on it.
    sizes: Vec<u64>,
}

impl Written {
    fn bounds(&self) -> PieceBounds {
        PieceBounds { rows: self.finished.rows, copy_bytes: self.finished.copy_bytes }
    }
}

fn limits() -> PieceLimits {
    PieceLimits { group_rows: 7, batch_rows: 3, ..PieceLimits::default() }
}

/// Written again and again: with threads comes out what comes out without, and from blocks of many rows what comes from one a row.
fn write(shape: &PieceShape, rows: &[Row], limits: PieceLimits) -> Written {
    let alone = write_by(shape, rows, limits, None, 1);
    let beside: Beside = Arc::new(|job| drop(std::thread::spawn(job)));
    let threads = write_by(shape, rows, limits, Some(Crew { beside, encoders: 3 }), 1);
    assert!(alone.piece == threads.piece && alone.sidecar == threads.sidecar);
    assert_eq!((&alone.finished, &alone.sizes), (&threads.finished, &threads.sizes));
    for block_rows in [10, usize::MAX] {
        let blocks = write_by(shape, rows, limits, None, block_rows);
        assert!(alone.piece == blocks.piece && alone.sidecar == blocks.sidecar);
        assert_eq!(alone.finished, blocks.finished);
    }
    alone
}

/// With so many rows in a block.
fn write_by(
    shape: &PieceShape,
    rows: &[Row],
    limits: PieceLimits,
    crew: Option<Crew>,
    block_rows: usize,
) -> Written {
    let opened = Arc::new(Mutex::new(0));
    let count = opened.clone();
    let open = Box::new(move || {
        *count.lock().unwrap() += 1;
        Ok(Vec::new())
    });
    let mut writer = PieceWriter::new(Vec::new(), shape, hasher(), limits, open).unwrap();
    writer = match crew {
        Some(crew) => writer.with_crew(crew),
        None => writer,
    };
    let push = |rows: &[Row]| {
        let (mut block, mut tuples) = (b"before".to_vec(), Vec::new());
        for row in rows {
            let begin = block.len();
            block.extend_from_slice(&tuple(row));
            tuples.push(begin..block.len());
            block.extend_from_slice(b"between");
        }
        let mut left = &tuples[..];
        while !left.is_empty() {
            let before = writer.rows() / STRIP as u64;
            left = &left[writer.push(&mut block, left).unwrap()..];
            // Whoever looks at the size every so many rows must not be carried past them.
            assert!(writer.rows() / STRIP as u64 == before || writer.rows() % STRIP as u64 == 0);
        }
        writer.bytes_written()
    };
    let sizes = rows.chunks(block_rows.min(rows.len()).max(1)).map(push).collect();
    let (finished, sinks) = writer.finish().unwrap();
    let opened = *opened.lock().unwrap();
    Written { finished, piece: sinks.piece.into(), sidecar: sinks.sidecar.map(Bytes::from), opened, sizes }
}

fn read(written: &Written, shape: &PieceShape) -> Result<Vec<Vec<u8>>, CodecError> {
    read_as(written.piece.clone(), written.sidecar.clone(), shape, written.bounds())
}

fn read_as(
    piece: Bytes,
    sidecar: Option<Bytes>,
    shape: &PieceShape,
    bounds: PieceBounds,
) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut reader = PieceReader::open(piece, sidecar, shape, bounds)?;
    let (mut tuples, mut ends) = (Vec::new(), Vec::new());
    while reader.next_batch(&mut tuples, &mut ends)? {}
    let mut start = 0;
    Ok(ends.into_iter().map(|end| tuples[std::mem::replace(&mut start, end)..end].to_vec()).collect())
}

/// What a reader must give: canonical, without derived columns.
fn canonical(shape: &PieceShape, rows: &[Row]) -> Vec<Vec<u8>> {
    let kept = shape.kept();
    let field = |(column, value): (&ColumnShape, &Option<Vec<u8>>)| {
        let mut value = value.clone();
        if let Some(value) = &mut value {
            canonicalise(&column.mapping, value).unwrap();
        }
        value
    };
    rows.iter()
        .map(|row| tuple(&shape.columns.iter().zip(row).take(kept).map(field).collect::<Vec<_>>()))
        .collect()
}

fn digest(tuples: &[Vec<u8>]) -> RowsetDigest {
    let mut digest = RowsetDigest::default();
    tuples.iter().for_each(|tuple| digest.add_row(&hasher().hash(tuple)));
    digest
}

fn sorted(mut tuples: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    tuples.sort();
    tuples
}

fn check(shape: &PieceShape, rows: &[Row], limits: PieceLimits) -> Written {
    let written = write(shape, rows, limits);
    let finished = &written.finished;
    let expected = canonical(shape, rows);
    assert_eq!(finished.digest, digest(&expected));
    match shape.clustered_by.is_empty() {
        true => assert_eq!(read(&written, shape).unwrap(), expected),
        false => assert_eq!(sorted(read(&written, shape).unwrap()), sorted(expected)),
    }
    assert_eq!(finished.rows, rows.len() as u64);
    assert_eq!(finished.bytes, written.piece.len() as u64);
    assert_eq!(finished.blake3, Digest::of(&written.piece));
    assert_eq!(finished.row_groups.iter().map(|group| group.rows).sum::<u64>(), finished.rows);
    for group in &finished.row_groups {
        let bytes = &written.piece[group.offset as usize..(group.offset + group.length) as usize];
        assert_eq!(group.blake3, Digest::of(bytes));
    }
    assert_eq!(finished.exceptions.is_some(), written.sidecar.is_some());
    assert_eq!(written.opened, usize::from(written.sidecar.is_some()));
    if let (Some(exceptions), Some(sidecar)) = (&finished.exceptions, &written.sidecar) {
        assert_eq!(exceptions.bytes, sidecar.len() as u64);
        assert_eq!(exceptions.blake3, Digest::of(sidecar));
    }
    written
}

/// All samples that are values, exceptions included, one column a mapping.
fn table() -> (Vec<Mapping>, Vec<Row>) {
    let columns: Vec<(Mapping, Vec<Vec<u8>>)> = all()
        .into_iter()
        .map(|(mapping, values)| {
            let valid = |wire: &Vec<u8>| {
                let mut wire = wire.clone();
                canonicalise(&mapping, &mut wire).is_ok()
                    && crate::codec::column::fits(&mapping, &wire).is_ok()
            };
            (mapping.clone(), values.iter().filter(|wire| valid(wire)).cloned().collect())
        })
        .collect();
    let rows = (0..40usize)
        .map(|row| {
            let value = |values: &Vec<Vec<u8>>| (row % 5 != 3).then(|| values[row % values.len()].clone());
            columns.iter().map(|(_, values)| value(values)).collect()
        })
        .collect();
    (columns.into_iter().map(|(mapping, _)| mapping).collect(), rows)
}

#[test]
fn a_table_of_all_types_comes_back() {
    let (mappings, rows) = table();
    let written = check(&shape(&mappings, 0), &rows, limits());
    assert!(written.finished.row_groups.len() > 4);
    assert!(written.sidecar.is_some());
    check(&shape(&mappings, 0), &rows, PieceLimits::default());
}

#[test]
fn derived_columns_are_outside_digest_and_reader() {
    let (mappings, rows) = table();
    check(&shape(&mappings, 20), &rows, limits());
    check(&shape(&mappings, mappings.len()), &rows, limits());
}

#[test]
fn an_empty_table_is_a_file_with_a_schema() {
    let (mappings, _) = table();
    let written = check(&shape(&mappings, 0), &[], limits());
    assert!(written.finished.row_groups.is_empty());
}

#[test]
fn a_table_without_columns_keeps_its_rows() {
    let written = check(&shape(&[], 0), &vec![vec![]; 10], limits());
    assert_eq!(written.finished.rows, 10);
}

#[test]
fn rows_of_nulls_come_back() {
    let (mappings, _) = table();
    check(&shape(&mappings, 0), &vec![vec![None; mappings.len()]; 9], limits());
}

#[test]
fn large_values_come_back() {
    let rows: Vec<_> =
        (0..6).map(|at| vec![Some(vec![b'a' + at; 1 << 20]), Some(vec![0xff; 1 << 20])]).collect();
    let written = check(&shape(&[Mapping::Utf8, Mapping::Utf8], 0), &rows, PieceLimits::default());
    assert_eq!(written.finished.exception_counts, [0, 6]);
}

#[test]
fn sixteen_hundred_columns_come_back() {
    let mappings = vec![Mapping::Int32; 1600];
    let row = |at: i32| (0..1600).map(|column| Some((at * column).to_be_bytes().to_vec())).collect();
    check(&shape(&mappings, 0), &(0..20).map(row).collect::<Vec<_>>(), limits());
}

#[test]
fn constant_display_scales_make_one_entry_a_batch() {
    let mapping = Mapping::Decimal { precision: 18, scale: 6, display_scale: 6 };
    let rows = vec![vec![Some(vec![0, 1, 0, 0, 0, 0, 0, 2, 0, 5])]; 100];
    let written = check(&shape(&[mapping], 0), &rows, PieceLimits::default());
    assert_eq!(written.finished.exceptions.as_ref().map(|exceptions| exceptions.entries), Some(1));
    assert_eq!(written.finished.exception_counts, [0]);
}

#[test]
fn the_rows_that_a_sidecar_names_are_written_by_their_differences() {
    let mapping = Mapping::Decimal { precision: 18, scale: 6, display_scale: 6 };
    let rows: Vec<Row> = (0..4096).map(|at| vec![Some(numeric(&[5], 0, at % 2))]).collect();
    let written = check(&shape(&[mapping], 0), &rows, PieceLimits::default());
    assert_eq!(written.finished.exceptions.as_ref().map(|exceptions| exceptions.entries), Some(4096));
    let bytes = written.sidecar.unwrap().len();
    assert!(bytes < 4096, "{bytes} bytes for 4,096 entries");
}

#[test]
fn a_piece_without_its_sidecar_or_with_another_is_refused() {
    let shape = shape(&[Mapping::Utf8], 0);
    let bad = |count: usize| vec![vec![Some(vec![0xff])]; count];
    let (two, three) = (write(&shape, &bad(2), limits()), write(&shape, &bad(3), limits()));
    assert!(read_as(two.piece.clone(), None, &shape, two.bounds()).is_err());
    assert!(read_as(two.piece.clone(), three.sidecar.clone(), &shape, two.bounds()).is_err());
    let good = write(&shape, &[vec![Some(vec![b'x'])], vec![Some(vec![b'x'])]], limits());
    assert!(good.sidecar.is_none());
    assert!(read_as(good.piece.clone(), two.sidecar.clone(), &shape, good.bounds()).is_err());
    assert!(read(&good, &shape).is_ok());
}

#[test]
fn a_piece_of_another_table_or_with_other_counts_is_refused() {
    let (ours, theirs) = (shape(&[Mapping::Int32], 0), shape(&[Mapping::Int64], 0));
    let written = write(&ours, &vec![vec![Some(vec![0; 4])]; 5], limits());
    assert!(matches!(read(&written, &theirs), Err(CodecError::Piece(_))));
    let other = PieceShape { metadata: "{}".into(), ..ours.clone() };
    assert!(matches!(read(&written, &other), Err(CodecError::Piece(_))));
    for bounds in
        [PieceBounds { rows: 4, ..written.bounds() }, PieceBounds { copy_bytes: 9, ..written.bounds() }]
    {
        assert!(read_as(written.piece.clone(), None, &ours, bounds).is_err(), "{bounds:?}");
    }
}

#[test]
fn a_file_larger_than_its_manifest_allows_is_refused_unread() {
    let shape = shape(&[Mapping::Binary], 0);
    let written = write(&shape, &vec![vec![Some(vec![0; 1 << 20])]; 40], PieceLimits::default());
    let bounds = PieceBounds { copy_bytes: 1 << 10, ..written.bounds() };
    let error = read_as(written.piece, None, &shape, bounds).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. } | CodecError::Piece(_)), "{error:?}");
}

#[test]
fn texts_far_longer_than_their_wire_form_do_not_fill_memory() {
    let huge =
        [0u16, 1, 0x7fff, 0, 0, 5].iter().skip(1).flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let written =
        check(&shape(&[Mapping::NumericText], 0), &vec![vec![Some(huge)]; 300], PieceLimits::default());
    assert!(written.sidecar.is_none());
}

#[test]
fn a_million_elements_that_are_null_come_back() {
    let element = Box::new(Mapping::Int32);
    let mapping = Mapping::List { dimensions: 1, lower_bound: 1, element_oid: 23, element };
    let head = [1i32, 1, 23, 1 << 20, 1].iter().flat_map(|word| word.to_be_bytes());
    let array: Vec<u8> = head.chain(std::iter::repeat_n(0xff, 4 << 20)).collect();
    let written = check(&shape(&[mapping], 0), &vec![vec![Some(array)]; 3], PieceLimits::default());
    assert!(written.sidecar.is_none() && written.piece.len() < 1 << 16, "levels that repeat are a few bytes");
}

#[test]
fn a_large_dictionary_makes_small_batches() {
    use super::reader::batch_rows;
    use parquet::file::metadata::ParquetMetaDataReader;
    let written = write(&shape(&[Mapping::Int32], 0), &vec![vec![Some(vec![0; 4])]; 5], limits());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&written.piece).unwrap();
    let rows =
        [0u64, 1 << 20, 512 << 20, 2 << 30].map(|dictionary| batch_rows(&metadata, 1, dictionary, 1024));
    assert_eq!(rows, [1024, 1024, 2, 1]);
}

/// Where batches end, by rows, bytes or what values have grown to, does not depend on how rows come: `write` holds them equal.
#[test]
fn a_piece_is_the_same_in_whatever_blocks_its_rows_come() {
    let price = Mapping::Decimal { precision: 10, scale: 2, display_scale: 2 };
    let shape = shape(&[Mapping::NumericText, Mapping::Utf8, price], 0);
    let numeric = |words: [u16; 5]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let row = |at: usize| {
        let text = vec![b'x'; if at.is_multiple_of(150) { 30_000 } else { at % 7 }];
        // 804 characters; and a display scale of its own, of which the sidecar has an entry for each batch.
        vec![Some(numeric([1, 200, 0, 0, 7])), Some(text), Some(numeric([1, 0, 0, 3, 5]))]
    };
    let rows: Vec<Row> = (0..1000).map(row).collect();
    let batches = |batch_rows, batch_bytes| {
        let limits = PieceLimits { batch_rows, batch_bytes, group_rows: 150, ..PieceLimits::default() };
        write(&shape, &rows, limits).finished.exceptions.unwrap().entries
    };
    let (all, by_rows, by_bytes) = (batches(1000, 1 << 22), batches(70, 1 << 22), batches(1000, 64_000));
    assert_eq!((all, by_rows, by_bytes), (1, 15, 4));
    assert_eq!(batches(1000, 20_000), 14, "texts of 80,000 bytes end one after 128 rows, a long one each");
}

#[test]
fn malformed_tuples_are_refused() {
    let shape = shape(&[Mapping::Int32], 0);
    for bytes in
        [&b""[..], b"\0\x02", b"\0\x01\0\0\0\x04\0", b"\0\x01\0\0\0\x04\0\0\0\0\0", b"\0\x01\0\0\0\x02\0\0"]
    {
        let mut writer =
            PieceWriter::new(Vec::new(), &shape, hasher(), limits(), Box::new(|| Ok(Vec::new()))).unwrap();
        let behind = b"\0\x01\0\0\0\x04\0\0\0\0";
        let mut block = [bytes, &behind[..]].concat();
        let tuples = [0..bytes.len(), bytes.len()..block.len()];
        assert!(writer.push(&mut block, &tuples).is_err(), "{bytes:?}");
    }
}

#[test]
fn uuids_are_annotated_and_floats_have_no_statistics() {
    use parquet::basic::LogicalType;
    use parquet::file::metadata::ParquetMetaDataReader;
    let (mappings, rows) = table();
    let written = write(&shape(&mappings, 0), &rows, limits());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&written.piece).unwrap();
    let schema = metadata.file_metadata().schema_descr();
    let uuids = schema.columns().iter().filter(|c| c.logical_type_ref() == Some(&LogicalType::Uuid)).count();
    assert_eq!(uuids, 2, "a uuid and the elements of a uuid[]");
    let mut floats = 0;
    for column in metadata.row_groups()[0].columns() {
        use parquet::basic::Type;
        if matches!(column.column_type(), Type::FLOAT | Type::DOUBLE) {
            floats += 1;
            let none = column
                .statistics()
                .is_none_or(|s| s.min_bytes_opt().is_none() && s.max_bytes_opt().is_none());
            assert!(none, "{}", column.column_path());
        }
    }
    assert!(floats > 10);
    let keys = metadata.file_metadata().key_value_metadata().unwrap();
    assert!(keys.iter().all(|entry| entry.key != "ARROW:schema"));
}

#[test]
fn flipped_bits_and_cuts_never_panic_past_the_reader() {
    let (mappings, rows) = table();
    let shape = shape(&mappings, 0);
    let written = write(&shape, &rows, PieceLimits::default());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let length = written.piece.len();
    let (mut errors, mut state) = (0, 1u64);
    for round in 0..300 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let at = (state >> 16) as usize % length;
        // Half of the damage goes into the footer, where the lies are.
        let at = if round % 2 == 0 { at } else { length - 1 - at % (length / 3) };
        let mut bytes = written.piece.to_vec();
        if round % 7 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << (state & 7);
        }
        let result = read_as(bytes.into(), written.sidecar.clone(), &shape, written.bounds());
        // What is no error must at least differ in the digest or be harmless metadata.
        errors += usize::from(result.is_err());
    }
    std::panic::set_hook(hook);
    assert!(errors > 100, "{errors}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_tables_come_back(
        columns in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        cells in proptest::collection::vec(
            proptest::collection::vec(proptest::option::weighted(0.8, any::<proptest::sample::Index>()), 6),
            0..30,
        ),
        derived in 0..3usize,
        group_rows in 1..20usize,
        batch_rows in 1..20usize,
        by in proptest::collection::vec(any::<proptest::sample::Index>(), 0..3),
    ) {
        let samples: Vec<_> = all();
        let chosen: Vec<_> = columns.iter().map(|at| &samples[at.index(samples.len())]).collect();
        let mappings: Vec<Mapping> = chosen.iter().map(|(mapping, _)| mapping.clone()).collect();
        let valid = |mapping: &Mapping, wire: &Vec<u8>| {
            let mut wire = wire.clone();
            canonicalise(mapping, &mut wire).is_ok() && crate::codec::column::fits(mapping, &wire).is_ok()
        };
        let rows: Vec<Row> = cells
            .iter()
            .map(|row| {
                chosen.iter().zip(row).map(|((mapping, values), at)| {
                    at.map(|at| values[at.index(values.len())].clone()).filter(|wire| valid(mapping, wire))
                }).collect()
            })
            .collect();
        let mut shape = shape(&mappings, derived.min(mappings.len()));
        let ordered: Vec<usize> =
            (0..mappings.len()).filter(|column| has_order(&arrow_type(&mappings[*column]))).collect();
        if !ordered.is_empty() {
            shape.clustered_by = by.iter().map(|at| ordered[at.index(ordered.len())]).collect();
        }
        check(&shape, &rows, PieceLimits { group_rows, batch_rows, ..PieceLimits::default() });
    }
}

#[test]
fn rows_are_clustered_but_for_those_that_the_sidecar_names_by_their_place() {
    let number = Mapping::Decimal { precision: 4, scale: 1, display_scale: 1 };
    let (whole, not_a_number) = (numeric(&[3, 1000], 0, 1), numeric(&[], 0xC000, 0));
    let mut shape = shape(&[Mapping::Int32, number], 0);
    shape.clustered_by = vec![0];
    let row = |(at, key): (usize, &i32)| {
        let value = if at == 4 { &not_a_number } else { &whole };
        vec![Some(key.to_be_bytes().to_vec()), Some(value.clone())]
    };
    // Batches of three, groups of seven; the second batch has the value that is none.
    let rows: Vec<Row> = [9, 5, 7, 6, 4, 2, 8, 3, 3, 1, 2, 1].iter().enumerate().map(row).collect();
    let written = check(&shape, &rows, limits());
    let tuples = read(&written, &shape).unwrap();
    let keys: Vec<u8> = tuples.iter().map(|tuple| tuple[9]).collect();
    assert_eq!(keys, [5, 7, 9, 6, 4, 2, 8, 1, 1, 2, 3, 3]);
    assert_eq!(tuples[4], tuple(&rows[4]), "the row of the sidecar");
    assert_eq!(written.finished.clustered, 9);
}

/// The wire form of a numeric: groups of four digits, the sign, the display scale.
fn numeric(groups: &[u16], sign: u16, dscale: u16) -> Vec<u8> {
    let head = [groups.len() as u16, 0, sign, dscale];
    head.iter().chain(groups).flat_map(|part| part.to_be_bytes()).collect()
}

#[test]
fn a_large_tuple_is_a_row_group_of_its_own_with_or_without_statistics() {
    let shape = shape(&[Mapping::Utf8, Mapping::Binary], 0);
    let rows: Vec<Row> = [3, LARGE_TUPLE, 3, 3, LARGE_TUPLE + 1]
        .iter()
        .map(|size| vec![Some(vec![b'x'; *size]), Some(vec![7; 2])])
        .collect();
    let tuples: Vec<Vec<u8>> = rows.iter().map(|row| tuple(row)).collect();
    for plain in [false, true] {
        let written = write(&shape, &rows, PieceLimits { plain, ..PieceLimits::default() });
        let groups: Vec<u64> = written.finished.row_groups.iter().map(|group| group.rows).collect();
        assert_eq!(groups, [1, 1, 2, 1], "plain: {plain}");
        assert_eq!(read(&written, &shape).unwrap(), tuples, "plain: {plain}");
        let metadata =
            parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&written.piece).unwrap();
        let judged = metadata.row_groups()[0].column(0).statistics().is_some();
        assert_eq!(judged, !plain);
    }
}
