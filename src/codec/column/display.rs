//! One value as text for a person, from its wire bytes. Not a format: what is rare is shown as hex.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::ColumnBuilder;
use crate::codec::CodecError;
use crate::manifest::Mapping;

/// Text of a value, for difference lists and samples.
pub fn display(mapping: &Mapping, wire: &[u8]) -> Result<String, CodecError> {
    let readable = match mapping {
        Mapping::Decimal { .. } => &Mapping::NumericText,
        other => other,
    };
    let mut builder = ColumnBuilder::new(readable);
    builder.push(Some(wire))?;
    let array = builder.finish()?;
    Ok(text(&array).unwrap_or_else(|| format!("\\x{}", data_encoding::HEXLOWER.encode(wire))))
}

/// `None`: no simple text (nested types, values outside the natural type's range).
fn text(array: &ArrayRef) -> Option<String> {
    if array.is_null(0) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(0).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(0).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(0).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(0).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(0).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(0).to_string(),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(0)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(0)),
        DataType::Utf8 => array.as_string::<i32>().value(0).to_owned(),
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(0);
            if let Some(word) = infinity(micros, i64::MAX) {
                return Some(word);
            }
            let time = jiff::Timestamp::from_microsecond(micros).ok()?;
            let text = time.strftime("%Y-%m-%d %H:%M:%S%.f").to_string();
            if zone.is_some() { format!("{text}+00") } else { text }
        }
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(0));
            if let Some(word) = infinity(days, i64::from(i32::MAX)) {
                return Some(word);
            }
            jiff::Timestamp::from_second(days * 86_400).ok()?.strftime("%Y-%m-%d").to_string()
        }
        DataType::FixedSizeBinary(16) => {
            let hex = data_encoding::HEXLOWER.encode(array.as_fixed_size_binary().value(0));
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        }
        _ => return None,
    })
}

fn float(number: impl ToString) -> String {
    let text = number.to_string();
    if text.ends_with("inf") { text.replace("inf", "Infinity") } else { text }
}

fn infinity(position: i64, largest: i64) -> Option<String> {
    match position {
        at if at == largest => Some("infinity".to_owned()),
        at if at == -largest => Some("-infinity".to_owned()),
        _ => None,
    }
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
}
