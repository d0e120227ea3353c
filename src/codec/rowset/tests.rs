//! The laws of the rowset digest, and the vectors that freeze "rs1".

use proptest::prelude::*;

use super::*;
use crate::base::RowsetDigest;

const SECRET: [u8; 32] = [7; 32];
const VECTORS: &str = include_str!("../../../fixtures/rowset-vectors.json");

fn tuple(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut tuple = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        let length = field.map_or(-1, |bytes| bytes.len() as i32);
        tuple.extend_from_slice(&length.to_be_bytes());
        tuple.extend_from_slice(field.unwrap_or_default());
    }
    tuple
}

fn digest<'a>(rows: impl IntoIterator<Item = &'a Vec<u8>>) -> RowsetDigest {
    let hasher = RowHasher::new(&SECRET);
    let mut digest = RowsetDigest::default();
    rows.into_iter().for_each(|row| digest.add_row(&hasher.hash(row)));
    digest
}

/// The definition, written down once more and in no clever way.
fn by_definition(secret: &[u8; 32], tuple: &[u8]) -> [u8; 32] {
    let key = blake3::derive_key("barkeep rowset v1", secret);
    let mut padded = tuple.to_vec();
    padded.push(0x80);
    while !padded.len().is_multiple_of(64) {
        padded.push(0);
    }
    *blake3::keyed_hash(&key, &padded).as_bytes()
}

#[test]
fn the_hash_is_its_definition_at_every_length() {
    let bytes: Vec<u8> = (0..3000u32).map(|at| (at % 251) as u8).collect();
    let hasher = RowHasher::new(&SECRET);
    for length in (0..1200).chain([2047, 2048, 3000]) {
        let row = &bytes[..length];
        assert_eq!(hasher.hash(row), by_definition(&SECRET, row), "{length}");
    }
}

#[test]
fn side_by_side_is_one_by_one_at_every_length_and_number() {
    let hasher = RowHasher::new(&SECRET);
    let mut all = RowSummer::new(&SECRET);
    let mut expected = RowsetDigest::default();
    for length in 2..2200usize {
        let mut alone = RowSummer::new(&SECRET);
        let mut of_length = RowsetDigest::default();
        for number in 0..=(length % 35) {
            let row: Vec<u8> = (0..length).map(|at| (at * 31 + number * 7 + length) as u8).collect();
            of_length.add_row(&by_definition(&SECRET, &row));
            alone.add_tuple(&row);
            all.add_tuple(&row);
        }
        assert_eq!(alone.digest(), of_length, "rows of {length} bytes");
        assert_eq!(alone.digest(), of_length, "asking does not change it");
        expected += of_length;
    }
    assert_eq!(all.digest(), expected);
    let long = vec![9; 5000];
    all.add_tuple(&long);
    expected.add_row(&hasher.hash(&long));
    assert_eq!(all.digest(), expected);
}

#[test]
fn the_golden_vectors_hold() {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let hex = |value: &serde_json::Value| {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    };
    let mut checked = 0;
    for set in vectors["sets"].as_array().unwrap() {
        let secret: [u8; 32] = hex(&set["secret"]).try_into().unwrap();
        let hasher = RowHasher::new(&secret);
        let mut summer = RowSummer::new(&secret);
        let mut digest = RowsetDigest::default();
        for row in set["rows"].as_array().unwrap() {
            let hash = hasher.hash(&hex(&row["tuple"]));
            assert_eq!(hash.to_vec(), hex(&row["d"]), "{}", row["note"]);
            digest.add_row(&hash);
            summer.add_tuple(&hex(&row["tuple"]));
            checked += 1;
        }
        assert_eq!(summer.digest(), digest);
        assert_eq!(serde_json::to_value(digest).unwrap(), set["sum"]);
    }
    assert!(checked >= 8, "the file has vectors");
}

#[test]
fn null_empty_and_the_text_null_are_three_rows() {
    let rows = [tuple(&[None]), tuple(&[Some(b"")]), tuple(&[Some(b"NULL")])];
    let digests = rows.each_ref().map(|row| digest([row]));
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
}

#[test]
fn field_boundaries_count() {
    let (one, other) = (tuple(&[Some(b"a|b"), Some(b"c")]), tuple(&[Some(b"a"), Some(b"b|c")]));
    assert_ne!(digest([&one]), digest([&other]));
}

#[test]
fn padding_is_no_part_of_the_row() {
    let row = tuple(&[Some(b"x")]);
    let hasher = RowHasher::new(&SECRET);
    let padded = [&row[..], &[0x80]].concat();
    let zeros = [&row[..], &[0]].concat();
    assert!(hasher.hash(&row) != hasher.hash(&padded) && hasher.hash(&row) != hasher.hash(&zeros));
}

#[test]
fn another_secret_gives_other_hashes() {
    let row = tuple(&[Some(b"x")]);
    assert_ne!(RowHasher::new(&SECRET).hash(&row), RowHasher::new(&[8; 32]).hash(&row));
}

#[test]
fn a_hasher_does_not_print_its_key() {
    assert_eq!(format!("{:?}", RowHasher::new(&SECRET)), "RowHasher(***)");
}

fn any_rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let field = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let row = proptest::collection::vec(field, 1..5)
        .prop_map(|fields| tuple(&fields.iter().map(Option::as_deref).collect::<Vec<_>>()));
    proptest::collection::vec(row, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_does_not_matter(rows in any_rows(), seed in any::<u64>()) {
        let mut shuffled = rows.clone();
        shuffled.sort_by_key(|row| (blake3::hash(row).as_bytes()[0] as u64).wrapping_mul(seed | 1));
        prop_assert_eq!(digest(&shuffled), digest(&rows));
    }

    #[test]
    fn parts_add_up(rows in any_rows(), at in any::<proptest::sample::Index>()) {
        let (left, right) = rows.split_at(at.index(rows.len()));
        let mut sum = digest(left);
        sum += digest(right);
        prop_assert_eq!(sum, digest(&rows));
    }

    #[test]
    fn many_at_once_are_the_sum_of_each(rows in any_rows()) {
        let mut summer = RowSummer::new(&SECRET);
        rows.iter().for_each(|row| summer.add_tuple(row));
        prop_assert_eq!(summer.digest(), digest(&rows));
    }

    #[test]
    fn one_flipped_bit_changes_the_sum(
        rows in any_rows(),
        row in any::<proptest::sample::Index>(),
        bit in any::<proptest::sample::Index>(),
    ) {
        let mut changed = rows.clone();
        let row = &mut changed[row.index(rows.len())];
        let bit = bit.index(row.len() * 8);
        row[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(digest(&changed), digest(&rows));
    }

    #[test]
    fn a_duplicate_changes_count_and_sum(rows in any_rows(), row in any::<proptest::sample::Index>()) {
        let mut more = rows.clone();
        more.push(rows[row.index(rows.len())].clone());
        prop_assert_ne!(digest(&more).sum, digest(&rows).sum);
        prop_assert_eq!(digest(&more).rows, digest(&rows).rows + 1);
    }
}
