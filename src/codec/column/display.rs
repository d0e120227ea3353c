//! One value as text, from its wire bytes: exact ([`text_of`]), or in any case something ([`display`]).

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};

use super::{ColumnBuilder, Pushed};
use crate::codec::CodecError;
use crate::codec::wire::Wire;
use crate::manifest::Mapping;

/// Text of a value, for difference lists and samples; what is rare is shown as hex.
pub fn display(mapping: &Mapping, wire: &[u8]) -> Result<String, CodecError> {
    Ok(text_of(mapping, wire)?.unwrap_or_else(|| format!("\\x{}", data_encoding::HEXLOWER.encode(wire))))
}

/// A text that PostgreSQL would read as this value, infinities and arrays of any shape among them; `None` where none is
/// known here.
pub fn text_of(mapping: &Mapping, wire: &[u8]) -> Result<Option<String>, CodecError> {
    if let Mapping::List { element, .. } = mapping {
        return array_literal(element, wire);
    }
    let readable = match mapping {
        Mapping::Decimal { .. } => &Mapping::NumericText,
        other => other,
    };
    let mut builder = ColumnBuilder::new(readable);
    if builder.push(Some(wire))? == Pushed::Exception {
        return Ok(None);
    }
    let array = builder.finish()?;
    Ok(cell_text(&array, 0))
}

/// `{{1,2},{3,NULL}}`, with `[0:1]=` before it where it does not begin at 1.
fn array_literal(element: &Mapping, bytes: &[u8]) -> Result<Option<String>, CodecError> {
    let mut wire = Wire::new(bytes);
    let (dimensions, _, _) = (wire.u32()? as usize, wire.u32()?, wire.u32()?);
    if dimensions == 0 {
        return Ok(Some("{}".to_owned()));
    }
    let mut sizes = Vec::new();
    let mut bounds = String::new();
    for _ in 0..dimensions {
        let (size, first) = (wire.u32()?, wire.i32()?);
        if size == 0 || dimensions > MOST_DIMENSIONS {
            return Err(CodecError::malformed("the shape of an array", wire.at()));
        }
        bounds.push_str(&format!("[{first}:{}]", i64::from(first) + i64::from(size) - 1));
        sizes.push((size as usize, first));
    }
    let mut text = if sizes.iter().all(|(_, first)| *first == 1) { String::new() } else { bounds + "=" };
    // After an element without a text the rest is not looked at, and no end is where it should be.
    if !put_elements(element, &mut wire, &sizes, &mut text)? {
        return Ok(None);
    }
    wire.end()?;
    Ok(Some(text))
}

/// What PostgreSQL allows.
const MOST_DIMENSIONS: usize = 6;

/// One level of braces; false where an element has no text.
fn put_elements(
    element: &Mapping,
    wire: &mut Wire<'_>,
    sizes: &[(usize, i32)],
    text: &mut String,
) -> Result<bool, CodecError> {
    let Some(((size, _), inner)) = sizes.split_first() else {
        match wire.field()? {
            None => text.push_str("NULL"),
            Some(value) => match text_of(element, value)? {
                Some(value) => text.push_str(&quoted(&value)),
                None => return Ok(false),
            },
        }
        return Ok(true);
    };
    text.push('{');
    for at in 0..*size {
        if at > 0 {
            text.push(',');
        }
        if !put_elements(element, wire, inner, text)? {
            return Ok(false);
        }
    }
    text.push('}');
    Ok(true)
}

/// In quotes where `array_out` puts them.
fn quoted(value: &str) -> String {
    let special =
        |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !value.is_empty() && !value.eq_ignore_ascii_case("null") && !value.contains(special) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Text of one value of an array. `None`: NULL, or no simple text (nested types).
pub fn cell_text(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Decimal128(_, scale) => {
            decimal(array.as_primitive::<Decimal128Type>().value(row), usize::try_from(*scale).ok()?)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if micros.abs() == i64::MAX {
                return Some(infinity(micros > 0));
            }
            let time = jiff::Timestamp::from_microsecond(micros).ok().filter(|time| *time >= YEAR_ONE)?;
            let text = time.strftime("%Y-%m-%d %H:%M:%S%.f").to_string();
            if zone.is_some() { format!("{text}+00") } else { text }
        }
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            if days.abs() == i64::from(i32::MAX) {
                return Some(infinity(days > 0));
            }
            let time = jiff::Timestamp::from_second(days * 86_400).ok().filter(|time| *time >= YEAR_ONE)?;
            time.strftime("%Y-%m-%d").to_string()
        }
        DataType::FixedSizeBinary(16) => uuid(array.as_fixed_size_binary().value(row)),
        _ => return None,
    })
}

/// Sixteen bytes as PostgreSQL prints them.
pub fn uuid(bytes: &[u8]) -> String {
    let hex = data_encoding::HEXLOWER.encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn float(number: impl ToString) -> String {
    let text = number.to_string();
    if text.ends_with("inf") { text.replace("inf", "Infinity") } else { text }
}

/// A scaled number with all its digits after the point.
fn decimal(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Before it PostgreSQL writes BC.
const YEAR_ONE: jiff::Timestamp = jiff::Timestamp::constant(-62_135_596_800, 0);

fn infinity(positive: bool) -> String {
    if positive { "infinity" } else { "-infinity" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_postgresql_prints_them() {
        assert_eq!(display(&Mapping::Int32, &7i32.to_be_bytes()).unwrap(), "7");
        assert_eq!(display(&Mapping::Utf8, b"BTC").unwrap(), "BTC");
        assert_eq!(display(&Mapping::Date, &0i32.to_be_bytes()).unwrap(), "2000-01-01");
        // 1.10: two digits groups, weight 0, scale 2.
        let numeric = [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x03, 0xe8];
        let decimal = Mapping::Decimal { precision: 18, scale: 6, display_scale: 6 };
        assert_eq!(display(&decimal, &numeric).unwrap(), "1.10");
        let uuid = "abababab-abab-abab-abab-abababababab";
        assert_eq!(display(&Mapping::Uuid, &[0xab; 16]).unwrap(), uuid);
        assert_eq!(display(&Mapping::Binary, &[0xab; 16]).unwrap(), format!("\\x{}", "ab".repeat(16)));
        assert_eq!(display(&Mapping::Float64, &f64::NEG_INFINITY.to_be_bytes()).unwrap(), "-Infinity");
        assert_eq!(display(&Mapping::Float32, &f32::NAN.to_be_bytes()).unwrap(), "NaN");
        assert_eq!(display(&Mapping::Date, &i32::MAX.to_be_bytes()).unwrap(), "infinity");
        assert_eq!(display(&Mapping::TimestampTz, &i64::MIN.to_be_bytes()).unwrap(), "-infinity");
    }

    #[test]
    fn arrays_of_any_shape_have_a_text() {
        let numbers = |shape: &[(u32, i32)], values: &[Option<i32>]| {
            let mut wire = [(shape.len() as u32), 0, 23].map(u32::to_be_bytes).concat();
            for (size, first) in shape {
                wire.extend([*size, *first as u32].map(u32::to_be_bytes).concat());
            }
            for value in values {
                match value {
                    Some(value) => wire.extend([4, *value].map(i32::to_be_bytes).concat()),
                    None => wire.extend((-1i32).to_be_bytes()),
                }
            }
            let element = Box::new(Mapping::Int32);
            let list = Mapping::List { dimensions: 1, lower_bound: 1, element_oid: 23, element };
            text_of(&list, &wire)
        };
        assert_eq!(numbers(&[], &[]).unwrap().unwrap(), "{}");
        let two = numbers(&[(2, 1), (2, 1)], &[Some(1), Some(2), None, Some(-4)]).unwrap().unwrap();
        assert_eq!(two, "{{1,2},{NULL,-4}}");
        assert_eq!(numbers(&[(2, 0)], &[Some(1), Some(2)]).unwrap().unwrap(), "[0:1]={1,2}");
        assert!(numbers(&[(3, 1)], &[Some(1)]).is_err() && numbers(&[(0, 1)], &[]).is_err());
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!((quoted("null").as_str(), quoted("x\"y").as_str()), ("\"null\"", "\"x\\\"y\""));
    }
}
