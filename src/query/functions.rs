//! Functions of SQL that DataFusion has not: what a column of a backup is to a check, exactly or not at all.

use std::sync::Arc;

use arrow_array::builder::{Decimal128Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow_schema::{DataType, TimeUnit};
use arrow_schema::{Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::text::text;
use crate::checks::datafusion::{DECIMALS, EXACT, TEXT, TIME};

/// Digits of a decimal.
const PRECISION: u8 = 38;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// `(number or its text, scale)` → an exact decimal; NaN and the infinities are NULL.
    Exact,
    /// A number or its text → how many digits it has after the point.
    Decimals,
    /// A date or a time → an instant; the infinities are NULL.
    Time,
    /// Anything → its text.
    Text,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    what: What,
    signature: Signature,
}

/// All of them.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let function = |name, what, arguments| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        ScalarUDF::from(Function { name, what, signature })
    };
    vec![
        function(EXACT, What::Exact, 2),
        function(DECIMALS, What::Decimals, 1),
        function(TIME, What::Time, 1),
        function(TEXT, What::Text, 1),
    ]
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type depends on the arguments".to_owned()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kind = match self.what {
            What::Exact => {
                DataType::Decimal128(PRECISION, scale(args.scalar_arguments.get(1).copied().flatten())? as i8)
            }
            What::Decimals => DataType::Int64,
            What::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            What::Text => DataType::Utf8,
        };
        Ok(Arc::new(Field::new(self.name, kind, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = args.args[0].to_array(args.number_rows)?;
        let answer: ArrayRef = match self.what {
            What::Exact => match &args.args[1] {
                ColumnarValue::Scalar(digits) => exact(&value, scale(Some(digits))?)?,
                ColumnarValue::Array(_) => return Err(refused("a scale is a number")),
            },
            What::Decimals => decimals(&value)?,
            What::Time => time(&value)?,
            What::Text => {
                let mut texts = StringBuilder::new();
                for row in 0..value.len() {
                    texts.append_option(text(&value, row)?);
                }
                Arc::new(texts.finish())
            }
        };
        Ok(ColumnarValue::Array(answer))
    }
}

fn refused(what: &str) -> DataFusionError {
    DataFusionError::Execution(what.to_owned())
}

fn scale(argument: Option<&ScalarValue>) -> Result<u8> {
    let digits = match argument {
        Some(ScalarValue::Int64(Some(digits))) => u8::try_from(*digits).ok(),
        _ => None,
    };
    digits.filter(|digits| *digits <= PRECISION).ok_or_else(|| refused("a scale is a number from 0 to 38"))
}

/// The texts of numbers that are finite.
fn finite(value: &ArrayRef, row: usize) -> Result<Option<String>> {
    let text = text(value, row)?;
    Ok(text.filter(|text| !["NaN", "Infinity", "-Infinity", "inf", "-inf"].contains(&text.as_str())))
}

fn exact(value: &ArrayRef, scale: u8) -> Result<ArrayRef> {
    let mut numbers =
        Decimal128Builder::with_capacity(value.len()).with_precision_and_scale(PRECISION, scale as i8)?;
    for row in 0..value.len() {
        numbers.append_option(match finite(value, row)? {
            Some(text) => Some(scaled(&text, scale).ok_or_else(|| {
                refused(&format!("{text} has more digits than a decimal of 38 digits, {scale} of them after the point: ask the database itself"))
            })?),
            None => None,
        });
    }
    Ok(Arc::new(numbers.finish()))
}

fn decimals(value: &ArrayRef) -> Result<ArrayRef> {
    let mut digits = Int64Builder::with_capacity(value.len());
    for row in 0..value.len() {
        let number = finite(value, row)?;
        digits.append_option(
            number.map(|text| parts(&text).map_or(i64::from(PRECISION) + 1, |(_, scale)| i64::from(scale))),
        );
    }
    Ok(Arc::new(digits.finish()))
}

/// `-12.50`, `1e-7` → digits without a point, and how many of them stand after it; trailing zeros do not count.
fn parts(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let mut digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut scale = i32::try_from(fraction.len()).ok()? - exponent;
    while scale > 0 && digits % 10 == 0 && digits != 0 {
        (digits, scale) = (digits / 10, scale - 1);
    }
    while scale < 0 {
        (digits, scale) = (digits.checked_mul(10)?, scale + 1);
    }
    Some((digits, if digits == 0 { 0 } else { scale }))
}

/// The number times 10^`scale`, if it has no digit beyond and at most 38 in all.
fn scaled(text: &str, scale: u8) -> Option<i128> {
    let (digits, own) = parts(text)?;
    let more = u32::try_from(i32::from(scale) - own).ok()?;
    let number = digits.checked_mul(10i128.checked_pow(more)?)?;
    (number.unsigned_abs() < 10u128.pow(u32::from(PRECISION))).then_some(number)
}

fn time(value: &ArrayRef) -> Result<ArrayRef> {
    let is_finite = |micros: &i64| *micros != i64::MAX && *micros != -i64::MAX;
    let days = |days: i32| -> Result<Option<i64>> {
        if days.abs() == i32::MAX {
            return Ok(None);
        }
        i64::from(days)
            .checked_mul(DAY)
            .map(Some)
            .ok_or_else(|| refused("a date is beyond what microseconds can count"))
    };
    let micros: Vec<Option<i64>> = match value.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = value.as_primitive::<TimestampMicrosecondType>();
            if times.values().iter().all(is_finite) {
                return Ok(Arc::new(times.clone().with_timezone("UTC")));
            }
            times.iter().map(|value| value.filter(is_finite)).collect()
        }
        DataType::Date32 => value
            .as_primitive::<Date32Type>()
            .iter()
            .map(|value| value.map_or(Ok(None), days))
            .collect::<Result<_>>()?,
        other => return Err(refused(&format!("{other} is no time"))),
    };
    Ok(Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        assert_eq!(scaled("12.50", 2), Some(1250));
        assert_eq!(scaled("12.50", 1), Some(125));
        assert_eq!(scaled("12.50", 0), None);
        assert_eq!(scaled("-0.001", 3), Some(-1));
        assert_eq!(scaled("1e-7", 8), Some(10));
        assert_eq!((scaled("1e20", 17), scaled("1e20", 18)), (Some(10i128.pow(37)), None));
        assert_eq!(scaled("1.5e3", 0), Some(1500));
        assert_eq!(scaled("0.0", 0), Some(0));
        assert_eq!(scaled("-0", 2), Some(0));
        assert_eq!(scaled("abc", 2), None);
        assert_eq!(parts("0.30000000000000004"), Some((30_000_000_000_000_004, 17)));
        assert_eq!(parts("1300"), Some((1300, 0)));
    }
}
