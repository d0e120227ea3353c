//! What one row costs: its hash by several constructions, its decoding, its encoding, and a whole lane into a null sink.
//!
//! Each benchmark isolates one cost. The rows are the bars of `benches/market`, nine columns with five prices of
//! numeric(18,6), about 126 bytes of COPY data each. Nanoseconds a row are a thousand
//! divided by the millions of elements a second.

#![expect(clippy::expect_used, reason = "a benchmark that fails has nothing to report to")]

#[path = "market/mod.rs"]
mod market;

use std::hint::black_box;
use std::io;

use barkeep::base::RowsetDigest;
use barkeep::codec::column::{ColumnBuilder, ColumnEncoder};
use barkeep::codec::copy::{DATA, HEADER, TRAILER, TupleStream};
use barkeep::codec::file::{PieceLimits, PieceWriter};
use barkeep::codec::rowset::{RowHasher, RowSummer};
use barkeep::codec::shape::{ColumnShape, PieceShape};
use barkeep::manifest::Mapping;
use barkeep::pg::blocks::BLOCK;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hmac::Mac as _;
use market::Order;

/// Enough for the auction of encodings to be settled, and for batches to be full.
const ROWS: usize = 200_000;
/// About what a block from a connection has: in a lane, too, every stage finds the rows in the processor's cache.
const BLOCK_ROWS: usize = 2_000;
const COLUMNS: u16 = 9;
const KEY: [u8; 32] = [5; 32];

/// The first bars of the benchmarks' table, in the order in which they come in, as tuples of COPY BINARY.
fn tuples(rows: usize) -> Vec<Vec<u8>> {
    let tuple = |bar| {
        let mut tuple = Vec::new();
        market::put_numeric(&bar, &mut tuple);
        tuple
    };
    market::bars(Order::TimeThenSymbol, rows as u64).map(tuple).collect()
}

fn for_each<T>(rows: &[Vec<u8>], hash: impl Fn(&[u8]) -> T) {
    for row in rows {
        black_box(hash(row));
    }
}

/// The digest as it is done, and what was weighed against it. Rows of equal padded length are hashed side by side, so it is
/// rows of lengths as they come that count.
fn digests(criterion: &mut Criterion) {
    let rows = tuples(BLOCK_ROWS);
    let hasher = RowHasher::new(&KEY);
    let side_by_side = || {
        let mut summer = RowSummer::new(&KEY);
        rows.iter().for_each(|row| summer.add_tuple(row));
        summer.digest()
    };
    let mut one_by_one = RowsetDigest::default();
    rows.iter().for_each(|row| one_by_one.add_row(&hasher.hash(row)));
    assert_eq!(side_by_side(), one_by_one, "both are the same digest");
    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("rs1, sixteen rows side by side", |bencher| {
        bencher.iter(|| black_box(side_by_side()));
    });
    group.bench_function("rs1, one row at a time", |bencher| {
        bencher.iter(|| for_each(&rows, |row| hasher.hash(row)));
    });
    group.bench_function("blake3 keyed, unpadded", |bencher| {
        bencher.iter(|| for_each(&rows, |row| *blake3::keyed_hash(&KEY, row).as_bytes()));
    });
    group.bench_function("HMAC-SHA256", |bencher| {
        let keyed = hmac::Hmac::<sha2::Sha256>::new_from_slice(&KEY).expect("any key length is fine");
        bencher.iter(|| {
            for row in &rows {
                let mut mac = keyed.clone();
                mac.update(row);
                black_box(mac.finalize().into_bytes());
            }
        });
    });
    group.bench_function("HighwayHash-256", |bencher| {
        use highway::HighwayHash as _;
        let keyed = highway::HighwayHasher::new(highway::Key([1, 2, 3, 4]));
        bencher.iter(|| for_each(&rows, |row| keyed.clone().hash256(row)));
    });
    group.finish();
}

fn decimal() -> Mapping {
    Mapping::Decimal { precision: 18, scale: 6, display_scale: 6 }
}

fn bar_columns() -> Vec<(&'static str, Mapping)> {
    vec![
        ("symbol", Mapping::Utf8),
        ("ts", Mapping::TimestampTz),
        ("open", decimal()),
        ("high", decimal()),
        ("low", decimal()),
        ("close", decimal()),
        ("vwap", decimal()),
        ("volume", Mapping::Int64),
        ("trade_count", Mapping::Int32),
    ]
}

fn shape() -> PieceShape {
    let column =
        |(name, mapping): (&str, Mapping)| ColumnShape { name: name.to_owned(), mapping, derived: false };
    let columns = bar_columns().into_iter().map(column).collect();
    PieceShape { columns, metadata: "{}".to_owned(), clustered_by: Vec::new() }
}

/// The fields of a tuple without a NULL.
fn fields(tuple: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut rest = &tuple[2..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let (field, behind) = after.split_at(u32::from_be_bytes(*length) as usize);
        fields.push(field);
        rest = behind;
    }
    fields
}

/// A COPY as a server sends it, in blocks of messages.
fn copy_stream() -> Vec<Vec<u8>> {
    let mut blocks = vec![Vec::new()];
    let tuples = tuples(ROWS);
    let first = [&HEADER[..], &tuples[0]].concat();
    let bodies =
        std::iter::once(&first[..]).chain(tuples[1..].iter().map(Vec::as_slice)).chain([&TRAILER[..]]);
    for body in bodies {
        if blocks.last().is_some_and(|block| block.len() >= BLOCK) {
            blocks.push(Vec::new());
        }
        let block = blocks.last_mut().expect("there is one");
        block.push(DATA);
        block.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        block.extend_from_slice(body);
    }
    blocks
}

fn columns(criterion: &mut Criterion) {
    let tuples = tuples(BLOCK_ROWS);
    let rows: Vec<Vec<&[u8]>> = tuples.iter().map(|tuple| fields(tuple)).collect();
    let mappings: Vec<Mapping> = bar_columns().into_iter().map(|(_, mapping)| mapping).collect();
    let mut builders: Vec<ColumnBuilder> = mappings.iter().map(ColumnBuilder::new).collect();
    let mut decode = || {
        for row in &rows {
            for (builder, wire) in builders.iter_mut().zip(row) {
                builder.push(Some(wire)).expect("a bar");
            }
        }
        builders.iter_mut().map(|builder| builder.finish().expect("arrays")).collect::<Vec<_>>()
    };
    let arrays = decode();
    let mut group = criterion.benchmark_group("nine columns");
    group.throughput(Throughput::Elements(BLOCK_ROWS as u64));
    group.bench_function("decode", |bencher| bencher.iter(|| black_box(decode())));
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            let encoders: Vec<ColumnEncoder<'_>> = mappings
                .iter()
                .zip(&arrays)
                .map(|(mapping, array)| ColumnEncoder::bind(mapping, &**array).expect("bound"))
                .collect();
            for row in 0..BLOCK_ROWS {
                out.extend_from_slice(&COLUMNS.to_be_bytes());
                encoders.iter().for_each(|encoder| encoder.put(row, None, &mut out).expect("a bar"));
            }
            black_box(&out);
        });
    });
    group.finish();
}

fn lane(criterion: &mut Criterion) {
    let mut stream = copy_stream();
    let shape = shape();
    let hasher = RowHasher::new(&KEY);
    let mut group = criterion.benchmark_group("lane");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("COPY frames alone", |bencher| {
        bencher.iter(|| {
            let mut tuples = TupleStream::new(COLUMNS.into());
            for block in &stream {
                let mut places = Vec::new();
                tuples.frame(block, &mut places).expect("a stream");
                black_box(places);
            }
            tuples.finish().expect("a trailer")
        });
    });
    group.bench_function("COPY to Parquet, null sink", |bencher| {
        bencher.iter(|| {
            let open = Box::new(|| Ok(io::sink()));
            let mut piece =
                PieceWriter::new(io::sink(), &shape, hasher.clone(), PieceLimits::default(), open)
                    .expect("a piece");
            let mut tuples = TupleStream::new(COLUMNS.into());
            for block in &mut stream {
                let mut places = Vec::new();
                tuples.frame(block, &mut places).expect("a stream");
                let mut left = &places[..];
                while !left.is_empty() {
                    left = &left[piece.push(block, left).expect("rows")..];
                }
            }
            piece.finish().expect("finished").0.bytes
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = digests, columns, lane
}
criterion_main!(benches);
