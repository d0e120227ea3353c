//! Dates and times: wire value ⇄ stored value, with the sentinels for infinity.
//!
//! PostgreSQL counts from 2000, Parquet from 1970. The smallest integer is never stored: it crashes readers.

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// 24:00:00, which PostgreSQL has and Parquet has not: some readers take it for NULL.
const DAY_MICROS: i64 = 86_400_000_000;

/// Stored days of a wire date, if it fits.
#[inline]
pub(crate) fn store_date(wire: i32) -> Option<i32> {
    match wire {
        i32::MAX => Some(i32::MAX),
        i32::MIN => Some(-i32::MAX),
        // The lower sentinel can't be met: adding only moves away from it... but for the two values beside it.
        days => days.checked_add(EPOCH_DAYS).filter(|days| days.abs() != i32::MAX),
    }
}

/// The wire date of stored days.
#[inline]
pub(crate) fn wire_date(stored: i32) -> Option<i32> {
    match stored {
        i32::MAX => Some(i32::MAX),
        stored if stored == -i32::MAX => Some(i32::MIN),
        days => days.checked_sub(EPOCH_DAYS),
    }
}

/// Stored microseconds of a wire timestamp, if it fits.
#[inline]
pub(crate) fn store_timestamp(wire: i64) -> Option<i64> {
    match wire {
        i64::MAX => Some(i64::MAX),
        i64::MIN => Some(-i64::MAX),
        micros => micros.checked_add(EPOCH_MICROS).filter(|micros| micros.abs() != i64::MAX),
    }
}

/// The wire timestamp of stored microseconds.
#[inline]
pub(crate) fn wire_timestamp(stored: i64) -> Option<i64> {
    match stored {
        i64::MAX => Some(i64::MAX),
        stored if stored == -i64::MAX => Some(i64::MIN),
        micros => micros.checked_sub(EPOCH_MICROS),
    }
}

/// A time of day that every reader sees: from 00:00:00 to before 24:00:00.
#[inline]
pub(crate) fn store_time(wire: i64) -> Option<i64> {
    (0..DAY_MICROS).contains(&wire).then_some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_are_sentinels_and_no_finite_value_is_one() {
        assert_eq!(store_date(i32::MAX), Some(i32::MAX));
        assert_eq!(store_date(i32::MIN), Some(-i32::MAX));
        assert_eq!(store_date(i32::MAX - EPOCH_DAYS), None);
        assert_eq!(store_timestamp(i64::MAX - 1), None);
        assert_eq!(store_timestamp(i64::MAX - EPOCH_MICROS), None);
        for wire in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - EPOCH_MICROS - 1, i64::MAX] {
            assert_eq!(store_timestamp(wire).and_then(wire_timestamp), Some(wire));
        }
    }
}
