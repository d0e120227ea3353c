//! Tables that are a list of columns: each says its type, how often it is null, and what its values are like. Every row has
//! chance of its own, so any row can be made without the rows before it.

use super::random::Random;
use super::{SYMBOLS, symbol_name, time_of, tuple, words};

/// What the values of a column are like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values {
    /// The number of the row, from 1 on.
    Serial,
    /// smallint from .0 to .1.
    Small(i16, i16),
    /// int from .0 to .1.
    Int(i32, i32),
    /// bigint below two to the power of .0, small ones as often as large ones.
    Big(u32),
    /// numeric of at most .0 digits, .1 of them after the point; short ones as often as long ones, most of them round.
    Decimal(u32, u16),
    /// numeric of any scale and sign.
    Free,
    /// double precision around zero, as a model computes it.
    Float(f64),
    /// real, likewise.
    Real(f32),
    /// A symbol; few have most of the rows.
    Symbol,
    /// One of these texts, or values of an enum, the first ones more often.
    Choice(&'static [&'static str]),
    /// .0, and that many letters and digits.
    Code(&'static str, usize),
    /// .0, and a number of six digits below .1.
    Numbered(&'static str, u64),
    /// Free text of .0 to .1 words.
    Words(u64, u64),
    /// timestamp(tz) that grows with the row, up to .0 seconds late.
    Time(u64),
    /// date that grows with the row.
    Day,
    /// True in .0 of 1000 rows.
    Flag(u64),
    /// A random uuid.
    Uuid,
    /// jsonb: an object of up to .0 keys.
    Json(u64),
    /// text[] of up to .0 elements.
    Texts(u64),
    /// bigint[] of up to .0 elements.
    Bigs(u64),
    /// float8[] of up to .0 elements, some of them null.
    Floats(u64),
}

/// A column: its name, its type, in how many of 1000 rows it is null, and its values.
pub(crate) type Column = (&'static str, &'static str, u64, Values);

/// The columns as CREATE TABLE lists them.
pub(crate) fn definition(columns: &[Column]) -> String {
    let of = |(name, kind, nulls, _): &Column| {
        format!("{name} {kind}{}", if *nulls == 0 { " NOT NULL" } else { "" })
    };
    columns.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// Appends row `at` of the table `name` as a tuple of COPY BINARY.
pub(crate) fn put(name: &str, columns: &[Column], at: u64, out: &mut Vec<u8>) {
    let mut random = Random::of(name, at);
    tuple::begin(out, columns.len() as u16);
    for (_, _, nulls, values) in columns {
        if *nulls > 0 && random.permille(*nulls) {
            tuple::null(out);
        } else {
            values.put(&mut random, at, out);
        }
    }
}

/// A number below `bound`, small ones more often.
fn low(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64).min(random.below(bound as u64)) as usize
}

/// A number with 1 to `bits` bits, each length as often.
fn any_length(random: &mut Random, bits: u32) -> u64 {
    let length = 1 + random.below(bits.into());
    random.below(1 << length)
}

/// Two of three have three significant digits, as what people type has.
fn decimal(random: &mut Random, digits: u32) -> i128 {
    let places = 1 + random.below(digits.into()) as u32;
    let value = (u128::from(random.bits()) << 64 | u128::from(random.bits())) % 10u128.pow(places);
    let round = if random.below(3) > 0 { 10u128.pow(places.saturating_sub(3)) } else { 1 };
    (value / round * round) as i128
}

fn fraction(random: &mut Random) -> f64 {
    random.below(1 << 53) as f64 / (1u64 << 53) as f64
}

/// Around zero, exactly the same on every machine: two divisions by powers of two, a subtraction, a multiplication.
fn bell(random: &mut Random) -> f64 {
    fraction(random) + fraction(random) - fraction(random) - fraction(random)
}

impl Values {
    fn put(self, random: &mut Random, at: u64, out: &mut Vec<u8>) {
        match self {
            Self::Serial => tuple::int8(out, at as i64 + 1),
            Self::Small(low, high) => tuple::int2(out, random.between(low.into(), high.into()) as i16),
            Self::Int(low, high) => tuple::int4(out, random.between(low.into(), high.into()) as i32),
            Self::Big(bits) => tuple::int8(out, any_length(random, bits) as i64),
            Self::Decimal(digits, scale) => tuple::numeric(out, decimal(random, digits), scale),
            Self::Free => {
                let value = i128::from(random.bits() as i64 >> random.below(56));
                tuple::numeric(out, value, random.below(13) as u16);
            }
            Self::Float(scale) => tuple::float8(out, bell(random) * scale),
            Self::Real(scale) => tuple::float4(out, bell(random) as f32 * scale),
            Self::Symbol => tuple::text(out, symbol_name((low(random, SYMBOLS) * 37 % SYMBOLS) as u16)),
            Self::Choice(all) => tuple::text(out, all[low(random, all.len())]),
            Self::Code(prefix, letters) => tuple::text(out, &code(random, prefix, letters)),
            Self::Numbered(prefix, bound) => {
                tuple::text(out, &format!("{prefix}{:06}", any_length(random, 20) % bound));
            }
            Self::Words(fewest, most) => {
                let count = random.between(fewest as i64, most as i64) as u64;
                tuple::text(out, &words::sentence(random, count));
            }
            Self::Time(late) => {
                // Four rows a second, on average; late by anything up to the bound.
                let start = time_of(0) + at as i64 * 250_000;
                tuple::int8(out, start + random.below(1_000_000 * late.max(1)) as i64);
            }
            Self::Day => tuple::int4(out, 8767 + (at / 50_000) as i32 + random.below(3) as i32),
            Self::Flag(parts) => tuple::boolean(out, random.permille(parts)),
            Self::Uuid => tuple::bytes(out, &uuid(random)),
            Self::Json(keys) => tuple::jsonb(out, &words::object(random, keys)),
            Self::Texts(most) => {
                let items: Vec<&str> = (0..random.below(most + 1)).map(|_| words::word(random)).collect();
                tuple::array(out, 25, &items, |out, item| tuple::text(out, item));
            }
            Self::Bigs(most) => {
                let items: Vec<i64> =
                    (0..random.below(most + 1)).map(|_| any_length(random, 40) as i64).collect();
                tuple::array(out, 20, &items, |out, item| tuple::int8(out, *item));
            }
            Self::Floats(most) => {
                let one = |random: &mut Random| (!random.permille(50)).then(|| bell(random));
                let items: Vec<Option<f64>> = (0..random.below(most + 1)).map(|_| one(random)).collect();
                tuple::array(out, 701, &items, |out, item| match item {
                    Some(value) => tuple::float8(out, *value),
                    None => tuple::null(out),
                });
            }
        }
    }
}

fn code(random: &mut Random, prefix: &str, letters: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut text = prefix.to_owned();
    text.extend((0..letters).map(|_| char::from(LETTERS[random.below(32) as usize])));
    text
}

/// Version 4.
fn uuid(random: &mut Random) -> [u8; 16] {
    let bits = u128::from(random.bits()) << 64 | u128::from(random.bits());
    let mut bytes = bits.to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
