//! What one row costs: its hash by several constructions, its decoding, its encoding, and a whole lane into a null sink.
//!
//! Each benchmark isolates one cost. The rows are market bars of ten columns, about 110 bytes of COPY data each.

#![expect(clippy::expect_used, reason = "a benchmark that fails has nothing to report to")]

use std::hint::black_box;
use std::io;

use barkeep::codec::column::{ColumnBuilder, ColumnEncoder};
use barkeep::codec::copy::{HEADER, TRAILER, TupleStream};
use barkeep::codec::file::{PieceLimits, PieceWriter};
use barkeep::codec::rowset::RowHasher;
use barkeep::codec::shape::{ColumnShape, PieceShape};
use barkeep::manifest::Mapping;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hmac::Mac as _;

const ROWS: usize = 20_000;
const KEY: [u8; 32] = [5; 32];

/// Rows of `length` bytes, no two alike.
fn flat_rows(length: usize) -> Vec<Vec<u8>> {
    let row = |at: usize| (0..length).map(|byte| (byte * 31 + at * 7 + (at >> 8)) as u8).collect();
    (0..1024).map(row).collect()
}

fn for_each<T>(rows: &[Vec<u8>], hash: impl Fn(&[u8]) -> T) {
    for row in rows {
        black_box(hash(row));
    }
}

fn padded(row: &[u8]) -> [u8; 128] {
    let mut block = [0; 128];
    block[..row.len()].copy_from_slice(row);
    block[row.len()] = 0x80;
    block
}

/// Many padded rows in one call of blake3's internal SIMD interface, and proof that the result is `keyed_hash`.
fn many_at_once(rows: &[[u8; 128]], key: &[u32; 8], out: &mut [u8]) {
    const CHUNK_START: u8 = 1;
    const CHUNK_END: u8 = 2;
    const ROOT: u8 = 8;
    const KEYED_HASH: u8 = 16;
    let platform = blake3::platform::Platform::detect();
    for (rows, out) in rows.chunks(16).zip(out.chunks_mut(16 * 32)) {
        let mut inputs = [&rows[0]; 16];
        inputs.iter_mut().zip(rows).for_each(|(input, row)| *input = row);
        platform.hash_many(
            &inputs[..rows.len()],
            key,
            0,
            blake3::IncrementCounter::No,
            KEYED_HASH,
            CHUNK_START,
            CHUNK_END | ROOT,
            out,
        );
    }
}

fn digests(criterion: &mut Criterion) {
    let rows = flat_rows(100);
    let blocks: Vec<[u8; 128]> = rows.iter().map(|row| padded(row)).collect();
    let mut words = [0u32; 8];
    for (word, bytes) in words.iter_mut().zip(KEY.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let mut out = vec![0; 32 * blocks.len()];
    many_at_once(&blocks, &words, &mut out);
    for (block, hash) in blocks.iter().zip(out.chunks(32)) {
        assert_eq!(
            blake3::keyed_hash(&KEY, block).as_bytes(),
            hash,
            "hash_many is keyed_hash of the padded row"
        );
    }
    let mut group = criterion.benchmark_group("digest of 1024 rows of 100 bytes");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("blake3 keyed, unpadded", |bencher| {
        bencher.iter(|| for_each(&rows, |row| *blake3::keyed_hash(&KEY, row).as_bytes()));
    });
    let hasher = RowHasher::new(&KEY);
    group.bench_function("rs1 (blake3 keyed, padded)", |bencher| {
        bencher.iter(|| for_each(&rows, |row| hasher.hash(row)));
    });
    group.bench_function("blake3 hash_many, padding included", |bencher| {
        bencher.iter(|| {
            for (rows, out) in rows.chunks(16).zip(out.chunks_mut(16 * 32)) {
                let mut blocks = [[0u8; 128]; 16];
                blocks.iter_mut().zip(rows).for_each(|(block, row)| *block = padded(row));
                many_at_once(&blocks[..rows.len()], &words, out);
            }
            black_box(&mut out);
        });
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
        ("volume", Mapping::Int64),
        ("vwap", Mapping::Float64),
        ("trades", Mapping::Int32),
        ("final", Mapping::Boolean),
    ]
}

fn shape() -> PieceShape {
    let column =
        |(name, mapping): (&str, Mapping)| ColumnShape { name: name.to_owned(), mapping, derived: false };
    PieceShape { columns: bar_columns().into_iter().map(column).collect(), metadata: "{}".to_owned() }
}

/// The fields of one bar as wire bytes.
fn bar(at: usize) -> Vec<Vec<u8>> {
    let price = |tick: usize| {
        let words = [3u16, 0, 0, 6, 100 + (at / 1000) as u16 % 900, (at * 37 + tick) as u16 % 9999, 1200];
        words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()
    };
    vec![
        format!("SYM{:03}", at % 100).into_bytes(),
        (800_000_000_000_000 + (at / 100) as i64 * 60_000_000).to_be_bytes().to_vec(),
        price(0),
        price(9),
        price(2),
        price(5),
        ((at * 7919 % 100_000) as i64).to_be_bytes().to_vec(),
        (100.0 + at as f64 / 7.0).to_be_bytes().to_vec(),
        ((at % 500) as i32).to_be_bytes().to_vec(),
        vec![1],
    ]
}

fn copy_stream() -> Vec<u8> {
    let mut stream = HEADER.to_vec();
    for at in 0..ROWS {
        stream.extend_from_slice(&10u16.to_be_bytes());
        for field in bar(at) {
            stream.extend_from_slice(&(field.len() as u32).to_be_bytes());
            stream.extend_from_slice(&field);
        }
    }
    stream.extend_from_slice(&TRAILER);
    stream
}

fn columns(criterion: &mut Criterion) {
    let rows: Vec<Vec<Vec<u8>>> = (0..ROWS).map(bar).collect();
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
    let mut group = criterion.benchmark_group("ten columns");
    group.throughput(Throughput::Elements(ROWS as u64));
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
            for row in 0..ROWS {
                out.extend_from_slice(&10u16.to_be_bytes());
                encoders.iter().for_each(|encoder| encoder.put(row, None, &mut out).expect("a bar"));
            }
            black_box(&out);
        });
    });
    group.finish();
}

fn lane(criterion: &mut Criterion) {
    let stream = copy_stream();
    let shape = shape();
    let hasher = RowHasher::new(&KEY);
    let mut group = criterion.benchmark_group("lane");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("COPY frames alone", |bencher| {
        bencher.iter(|| {
            let mut tuples = TupleStream::new(10);
            for block in stream.chunks(256 * 1024) {
                tuples
                    .feed(block, &mut |tuple| {
                        black_box(tuple);
                        Ok(())
                    })
                    .expect("a stream");
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
            let mut tuples = TupleStream::new(10);
            for block in stream.chunks(256 * 1024) {
                tuples.feed(block, &mut |tuple| piece.push(tuple)).expect("a stream");
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
