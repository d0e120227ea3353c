//! 64-bit numbers as decimal strings in JSON: a double keeps 53 bits.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes a number as a string.
pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&number.to_string())
}

/// Reads a number from a string.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse(&String::deserialize(deserializer)?)
}

/// Only the one form that `serialize` writes: no sign, no blanks, no leading zero.
fn parse<E: Error>(text: &str) -> Result<u64, E> {
    match text.parse::<u64>() {
        Ok(number) if number.to_string() == text => Ok(number),
        _ => Err(E::custom(format!("{text:?} is not a 64-bit number in decimal"))),
    }
}

/// The same for a number that may be absent.
pub(super) mod option {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a string or null.
    pub(in crate::manifest) fn serialize<S: Serializer>(
        number: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => serializer.serialize_some(&number.to_string()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a string or null.
    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| super::parse(&text)).transpose()
    }
}
