//! Wire values for tests: every mapping with typical and nasty values, and some bytes that are no values.

use crate::manifest::{Mapping, StructField};

/// A field: length and bytes.
fn field(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => vec![0xff; 4],
        Some(bytes) => [&(bytes.len() as u32).to_be_bytes(), bytes].concat(),
    }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn doubles(count: usize) -> Vec<u8> {
    (0..count).flat_map(|at| [1.5, -0.0, f64::NAN, f64::INFINITY][at % 4].to_be_bytes()).collect()
}

pub(crate) fn array(oid: u32, dimensions: &[(i32, i32)], elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut wire = (dimensions.len() as i32).to_be_bytes().to_vec();
    let nulls = elements.iter().any(Option::is_none);
    wire.extend_from_slice(&i32::from(nulls).to_be_bytes());
    wire.extend_from_slice(&oid.to_be_bytes());
    for (extent, lower) in dimensions {
        wire.extend_from_slice(&extent.to_be_bytes());
        wire.extend_from_slice(&lower.to_be_bytes());
    }
    elements.iter().for_each(|element| wire.extend(field(*element)));
    wire
}

fn composite(fields: &[(u32, Option<&[u8]>)]) -> Vec<u8> {
    let mut wire = (fields.len() as i32).to_be_bytes().to_vec();
    for (oid, value) in fields {
        wire.extend_from_slice(&oid.to_be_bytes());
        wire.extend(field(*value));
    }
    wire
}

fn range(flags: u8, bounds: &[&[u8]]) -> Vec<u8> {
    let mut wire = vec![flags];
    bounds.iter().for_each(|bound| wire.extend(field(Some(bound))));
    wire
}

fn counted(items: &[Vec<u8>]) -> Vec<u8> {
    [(items.len() as i32).to_be_bytes().to_vec(), items.concat()].concat()
}

fn integers(values: &[i64], bytes: usize) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.to_be_bytes()[8 - bytes..].to_vec()).collect()
}

/// ndigits, weight, sign, dscale, digits.
fn numerics() -> Vec<Vec<u8>> {
    vec![
        words(&[0, 0, 0, 0]),
        words(&[0, 0, 0, 6]),
        words(&[2, 0, 0, 2, 123, 4500]),
        words(&[2, 0, 0x4000, 6, 123, 4500]),
        words(&[1, 0xffff, 0, 4, 1]),
        words(&[1, 2, 0, 0, 7]),
        words(&[5, 2, 0x4000, 6, 99, 9999, 9999, 9999, 9900]),
        words(&[1, 0xffff, 0, 6, 1]),
        words(&[10, 0xffff, 0, 38, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1200]),
        words(&[1, 9, 0, 0, 99]),
        words(&[1, 10, 0, 3, 1]),
        words(&[0, 0, 0xc000, 0]),
        words(&[0, 0, 0xd000, 0x20]),
        words(&[0, 0, 0xf000, 0x20]),
        words(&[0, 0, 0xd000, 0]),
        words(&[1, 0, 0, 0, 10_000]),
        words(&[2, 1, 0, 0, 0, 5]),
        words(&[1, 0x7fff, 0, 3, 5]),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    ["", "NULL", "a", "żółć 日本", "a|b'\"\\", "  x  "]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .chain([vec![0xff, 0xfe], vec![b'x'; 3000]])
        .collect()
}

const USER_OID: u32 = 16_500;

fn pair() -> Mapping {
    let number = StructField { name: "n".into(), oid: 23, mapping: Mapping::Int32 };
    let mood = StructField { name: "mood".into(), oid: 0, mapping: Mapping::Utf8 };
    let prices = StructField { name: "p".into(), oid: 1231, mapping: list(1, 1700, decimal(18, 2)) };
    Mapping::Struct { fields: vec![number, mood, prices] }
}

fn list(dimensions: u8, element_oid: u32, element: Mapping) -> Mapping {
    Mapping::List { dimensions, lower_bound: 1, element_oid, element: Box::new(element) }
}

fn decimal(precision: u8, scale: u8) -> Mapping {
    Mapping::Decimal { precision, scale, display_scale: scale.into() }
}

fn pairs() -> Vec<Vec<u8>> {
    let one = 1i32.to_be_bytes();
    let price = words(&[2, 0, 0, 2, 123, 4500]);
    let odd = words(&[2, 0, 0, 4, 123, 4500]);
    let prices = array(1700, &[(2, 1)], &[Some(&price), None]);
    let odds = array(1700, &[(1, 1)], &[Some(&odd)]);
    vec![
        composite(&[(23, Some(&one)), (USER_OID, Some(b"sad")), (1231, Some(&prices))]),
        composite(&[(23, None), (USER_OID, None), (1231, None)]),
        composite(&[(23, Some(&one)), (USER_OID, Some(b"")), (1231, Some(&odds))]),
        composite(&[(23, Some(&one))]),
        composite(&[(20, Some(&one)), (USER_OID, None), (1231, None)]),
    ]
}

fn scalars() -> Vec<(Mapping, Vec<Vec<u8>>)> {
    let dates = integers(&[0, -1, i32::MAX.into(), i32::MIN.into(), i64::from(i32::MAX) - 10_957, 9000], 4);
    let times = integers(&[0, i64::MAX, i64::MIN, i64::MAX - 946_684_800_000_000, 86_400_000_000, -5], 8);
    let mut negative = dates.clone();
    negative.extend(integers(&[7], 2));
    vec![
        (Mapping::Boolean, vec![vec![0], vec![1], vec![2]]),
        (Mapping::Int16, integers(&[0, -1, 32767], 2)),
        (Mapping::Int32, negative),
        (Mapping::Int64, times.clone()),
        (Mapping::UInt32, integers(&[0, -1], 4)),
        (Mapping::UInt64, integers(&[0, -1, i64::MIN], 8)),
        (Mapping::Float32, integers(&[0, 0x7f80_0001, 0x8000_0000, 0x7fc0_0000], 4)),
        (Mapping::Float64, integers(&[0, 0x7ff0_0000_0000_0001, i64::MIN, 0x7ff8 << 48], 8)),
        (decimal(18, 6), numerics()),
        (decimal(9, 2), numerics()),
        (decimal(38, 38), numerics()),
        (decimal(38, 0), numerics()),
        (Mapping::Decimal { precision: 38, scale: 9, display_scale: 2 }, numerics()),
        (Mapping::NumericText, numerics()),
        (Mapping::Money { fraction: 2 }, integers(&[0, i64::MAX, i64::MIN], 8)),
        (Mapping::Utf8, texts()),
        (Mapping::ServerText, texts()),
        (Mapping::Bpchar { length: None }, texts()),
        (
            Mapping::Bpchar { length: Some(5) },
            vec![b"ab   ".to_vec(), "żó   ".into(), b"     ".to_vec(), vec![]],
        ),
        (Mapping::Char, (0..=255).map(|byte| vec![byte]).collect()),
        (Mapping::Binary, texts()),
        (Mapping::Uuid, vec![vec![7; 16], vec![0; 16], vec![1; 15]]),
        (
            Mapping::VersionedText,
            vec![b"\x01{\"a\": 1.50}".to_vec(), b"\x02x".to_vec(), vec![1], vec![1, 255]],
        ),
        (Mapping::Date, dates),
        (Mapping::Timestamp, times.clone()),
        (Mapping::TimestampTz, times.clone()),
        (Mapping::Time, times),
    ]
}

fn printed() -> Vec<(Mapping, Vec<Vec<u8>>)> {
    let timetz = |micros: i64, west: i32| [&micros.to_be_bytes()[..], &west.to_be_bytes()].concat();
    let v4 = |bits: u8, flag: u8| vec![2, bits, flag, 4, 192, 168, 0, 1];
    let v6 = |bits: u8, tail: [u8; 4]| [&[3, bits, 0, 16][..], &[0; 12], &tail].concat();
    vec![
        (
            Mapping::TimeTz,
            vec![
                timetz(36_000_000_000, -7200),
                timetz(86_400_000_000, 0),
                timetz(1, 12_345),
                timetz(500_000, 1),
            ],
        ),
        (
            Mapping::Inet { cidr: false },
            vec![
                v4(32, 0),
                v4(24, 0),
                v4(33, 0),
                v6(128, [0, 0, 0, 1]),
                v6(64, [1, 2, 3, 4]),
                v6(128, [0; 4]),
            ],
        ),
        (Mapping::Inet { cidr: true }, vec![v4(32, 1), v4(24, 1), v4(24, 0)]),
        (Mapping::MacAddr { bytes: 6 }, vec![vec![8, 0, 0x2b, 1, 2, 3], vec![1]]),
        (Mapping::MacAddr { bytes: 8 }, vec![vec![8, 0, 0x2b, 1, 2, 3, 4, 5]]),
        (
            Mapping::BitString,
            vec![
                vec![0, 0, 0, 0],
                vec![0, 0, 0, 5, 0b1010_1000],
                vec![0, 0, 0, 5, 0xff],
                vec![0, 0, 0, 16, 1, 2],
            ],
        ),
        (Mapping::Tid, vec![vec![0, 0, 0, 9, 0, 3], vec![255; 6]]),
    ]
}

fn geometry() -> Vec<(Mapping, Vec<Vec<u8>>)> {
    let points = |count: usize| [(count as i32).to_be_bytes().to_vec(), doubles(2 * count)].concat();
    vec![
        (Mapping::Interval, vec![vec![7; 16], vec![0x80; 16], vec![0; 15]]),
        (Mapping::Point, vec![doubles(2)]),
        (Mapping::Line, vec![doubles(3)]),
        (Mapping::Lseg, vec![doubles(4)]),
        (Mapping::Box, vec![doubles(4)]),
        (Mapping::Circle, vec![doubles(3)]),
        (
            Mapping::Path,
            vec![[vec![1], points(3)].concat(), [vec![0], points(1)].concat(), [vec![3], points(1)].concat()],
        ),
        (Mapping::Polygon, vec![points(4), points(0)]),
        (Mapping::Vector, vec![[words(&[2, 0]), vec![0x7f; 8]].concat(), words(&[0, 0]), words(&[0, 1])]),
        (Mapping::HalfVector, vec![words(&[3, 0, 0x3c00, 0x7c01, 0x8001]), words(&[1, 1, 0])]),
        (
            Mapping::SparseVector,
            vec![[9i32, 2, 0, 1, 5, 77, 99].iter().flat_map(|n| n.to_be_bytes()).collect(), vec![0; 12]],
        ),
        (
            Mapping::Hstore,
            vec![
                [1i32.to_be_bytes().to_vec(), field(Some(b"k")), field(None)].concat(),
                [
                    2i32.to_be_bytes().to_vec(),
                    field(Some(b"")),
                    field(Some(b"v")),
                    field(Some(b"b")),
                    field(Some(b"")),
                ]
                .concat(),
                vec![0; 4],
            ],
        ),
    ]
}

fn nested() -> Vec<(Mapping, Vec<Vec<u8>>)> {
    let (one, two) = (1i32.to_be_bytes(), 2i32.to_be_bytes());
    let mut stale = array(23, &[(1, 1)], &[Some(&one)]);
    stale[7] = 1;
    let flat = vec![
        array(23, &[(3, 1)], &[Some(&one), None, Some(&two)]),
        array(23, &[], &[]),
        array(23, &[(1, 0)], &[Some(&one)]),
        array(20, &[(1, 1)], &[Some(&one)]),
        array(23, &[(1, 1), (1, 1)], &[Some(&one)]),
        array(23, &[(0, 1)], &[]),
        stale,
    ];
    let square = vec![
        array(
            USER_OID,
            &[(2, 1), (3, 1)],
            &[Some(b"a"), None, Some(b""), Some(b"d"), Some(b"e"), Some(b"f")],
        ),
        array(USER_OID, &[], &[]),
    ];
    let pairs_in_array: Vec<_> =
        pairs().iter().map(|pair| array(USER_OID, &[(2, 1)], &[Some(pair), None])).collect();
    let ranges = || {
        vec![
            range(0x02, &[&one, &two]),
            range(0x01, &[]),
            range(0x18, &[]),
            range(0x0c, &[&two]),
            range(0x12, &[&one]),
        ]
    };
    let mut odd_ranges = ranges();
    odd_ranges.extend([range(0x03, &[]), range(0x0a, &[&one]), range(0x80, &[&one, &two])]);
    let many: Vec<Vec<u8>> = ranges().iter().map(|range| field(Some(range))).collect();
    let of_pairs: Vec<_> = pairs().iter().map(|pair| range(0x06, &[pair, pair])).collect();
    vec![
        (list(1, 23, Mapping::Int32), flat),
        (list(2, 0, Mapping::Utf8), square),
        (list(1, 0, pair()), pairs_in_array),
        (list(1, 2950, Mapping::Uuid), vec![array(2950, &[(1, 1)], &[Some(&[9; 16])])]),
        (pair(), pairs()),
        (Mapping::Struct { fields: vec![] }, vec![vec![0; 4]]),
        (Mapping::Range { bound: Box::new(Mapping::Int32) }, odd_ranges),
        (Mapping::Range { bound: Box::new(pair()) }, of_pairs),
        (Mapping::Multirange { bound: Box::new(Mapping::Int32) }, vec![counted(&many), counted(&[])]),
    ]
}

/// Every mapping with its samples.
pub(crate) fn all() -> Vec<(Mapping, Vec<Vec<u8>>)> {
    [scalars(), printed(), geometry(), nested()].concat()
}
