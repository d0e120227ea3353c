//! The auction against the whole: what it chooses by a few rows must be near the best there is for all of them.

use arrow_array::types::Decimal64Type;
use arrow_array::{
    Decimal128Array, Float64Array, PrimitiveArray, StringArray, TimestampMicrosecondArray, new_null_array,
};

use std::sync::Arc;

use super::*;

const ROWS: usize = 1 << 18;

const TERMS: Terms = Terms { group_rows: ROWS, level: 3, dictionaries: true };

/// A reproducible sequence.
fn noise(at: usize) -> u64 {
    let mut x = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 31)
}

fn decimals(value: impl Fn(usize) -> i64) -> ArrayRef {
    let values = PrimitiveArray::<Decimal64Type>::from_iter_values((0..ROWS).map(value));
    Arc::new(values.with_precision_and_scale(18, 6).unwrap())
}

/// Columns that want different things.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let symbol = |at: usize| format!("SYM{:03}", at % 200);
    vec![
        ("symbols in turn", Arc::new(StringArray::from_iter_values((0..ROWS).map(symbol))) as ArrayRef),
        (
            "all symbols of an exchange in turn",
            Arc::new(StringArray::from_iter_values(
                (0..ROWS).map(|at| format!("SYMBOL-{:x}", noise(at % 6000))),
            )),
        ),
        (
            "long decimals",
            Arc::new(
                Decimal128Array::from_iter_values((0..ROWS).map(|at| i128::from(noise(at) >> 30) << 20))
                    .with_precision_and_scale(38, 9)
                    .unwrap(),
            ),
        ),
        ("nothing but NULL", new_null_array(&DataType::Utf8, ROWS)),
        ("notes", Arc::new(StringArray::from_iter_values((0..ROWS).map(|at| format!("{:x}", noise(at)))))),
        (
            "sorted names",
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|at| format!("order-{at:09}")))),
        ),
        (
            "ascending times",
            Arc::new(TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|at| at as i64 * 1_000_003))),
        ),
        (
            "a walk",
            decimals(|at| {
                100_000_000 + (0..8).map(|bit| (noise(at >> bit) % 7) as i64 * 10_000).sum::<i64>()
            }),
        ),
        ("few prices", decimals(|at| (noise(at) % 50) as i64 * 1_234_567)),
        ("random numbers", decimals(|at| (noise(at) >> 20) as i64)),
        (
            "ticks as floats",
            Arc::new(Float64Array::from_iter_values((0..ROWS).map(|at| (noise(at) % 3000) as f64 / 100.0))),
        ),
        ("random floats", Arc::new(Float64Array::from_iter_values((0..ROWS).map(|at| noise(at) as f64)))),
    ]
}

fn won(array: &ArrayRef, before: Option<&Won>) -> Won {
    choose(array, TERMS, before).unwrap().unwrap()
}

fn size(array: &ArrayRef, choice: Choice) -> f64 {
    let written = written(array, choice.encoding, choice.compression).unwrap();
    written.dictionary + written.data
}

#[test]
fn what_wins_on_a_few_rows_is_near_the_best_of_all_rows() {
    let mut winners = Vec::new();
    for (name, array) in columns() {
        let choice = won(&array, None).choice;
        let of = |encoding: &Option<Encoding>| {
            size(&array, Choice { encoding: *encoding, compression: zstd(3).unwrap() })
        };
        let all: Vec<f64> = candidates(array.data_type()).unwrap().iter().map(of).collect();
        let best = all.iter().copied().fold(f64::INFINITY, f64::min);
        let worst = all.iter().copied().fold(0.0, f64::max);
        let won = size(&array, choice);
        // A byte is worth fifty nanoseconds: a fraction of one may be given for speed.
        assert!(won <= best * 1.1 + 0.3 * ROWS as f64, "{name}: {choice:?} {won}, best {best} of {all:?}");
        if worst > 1.5 * best {
            assert!(won < worst, "{name}: {choice:?} is the worst of {all:?}");
        }
        winners.push(choice.encoding);
    }
    winners.sort_by_key(|encoding| format!("{encoding:?}"));
    winners.dedup();
    assert!(winners.len() >= 3, "columns that differ get different encodings: {winners:?}");
}

#[test]
fn the_same_rows_get_the_same_choice_and_few_rows_none() {
    for (_, array) in columns() {
        assert_eq!(won(&array, None), won(&array, None));
        assert_eq!(choose(&array.slice(0, FEWEST - 1), TERMS, None).unwrap(), None);
        let low = choose(&array, Terms { level: 1, ..TERMS }, None).unwrap().unwrap().choice;
        assert!([zstd(1).unwrap(), Compression::UNCOMPRESSED].contains(&low.compression), "{low:?}");
        let without = choose(&array, Terms { dictionaries: false, ..TERMS }, None).unwrap().unwrap().choice;
        assert!(without.encoding.is_some(), "no dictionary where there is no room for one: {without:?}");
    }
}

#[test]
fn rows_like_earlier_ones_are_encoded_as_they_were() {
    let (mut followed, all) = (0, columns());
    for (name, array) in &all {
        let first = won(&array.slice(0, ROWS / 2), None);
        let next = won(&array.slice(ROWS / 2, ROWS / 2), Some(&first));
        assert_eq!(next.choice, first.choice, "{name}");
        // With the earlier one's bytes: another auction comes to its own.
        followed += usize::from(next == first);
    }
    assert_eq!(followed, all.len() - 1, "all but times, which are not as small, if plain, as earlier ones");
}

#[test]
fn rows_unlike_earlier_ones_are_not_made_larger_by_them() {
    let columns = columns();
    let mut misled = 0;
    for (before, earlier) in &columns {
        let first = won(earlier, None);
        for (name, array) in columns.iter().filter(|(_, array)| array.data_type() == earlier.data_type()) {
            let bound = size(array, won(array, None).choice) * 1.1 + 0.1 * ROWS as f64;
            let found = size(array, won(array, Some(&first)).choice);
            assert!(found <= bound, "{name} after {before}: {found}, {bound} at most");
            misled += usize::from(size(array, first.choice) > bound);
        }
    }
    assert!(misled > 5, "columns that differ so much that the other's choice would be wrong: {misled}");
}

#[test]
fn rows_that_are_as_small_only_when_plain_are_no_like_ones() {
    let rising = decimals(|at| at as i64 * 10_000);
    let own = won(&rising, None);
    let mut by_chance = 0;
    for distinct in std::iter::successors(Some(2_u64), |most| Some(most + most / 10 + 1)).take(60) {
        let few = won(&decimals(|at| (noise(at) % distinct) as i64 * 1_234_567), None);
        by_chance += usize::from(few.is_like(own.plain, || Ok(few.chosen)).unwrap());
        assert_eq!(won(&rising, Some(&few)).choice, own.choice, "after {distinct} values in any order");
    }
    assert!(by_chance > 0, "some are as small as {own:?}");
}
