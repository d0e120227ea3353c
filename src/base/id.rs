//! Identifiers of vaults and backups.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A text is not an identifier of the expected form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not {1}")]
pub struct IdError(String, &'static str);

/// The name of one backup: `20261120T020000Z-k3v9q2mp`, the time it began and eight random base32 letters.
///
/// The time is for people. Order is always taken from the manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

const FORM: &str = "a backup id (20261120T020000Z-k3v9q2mp)";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

impl BackupId {
    /// A new id from the time a dump begins and 40 random bits.
    pub fn new(began: Timestamp, random: u64) -> Self {
        let suffix: String = (0..8).map(|i| char::from(LETTERS[(random >> (5 * i)) as usize & 31])).collect();
        Self(format!("{}-{suffix}", began.compact()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError(text.to_owned(), FORM);
        let (time, suffix) = text.split_once('-').ok_or_else(bad)?;
        let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        let time_ok = time.is_ascii()
            && time.len() == 16
            && digits(&time[..8], 8)
            && &time[8..9] == "T"
            && digits(&time[9..15], 6)
            && time.ends_with('Z');
        let suffix_ok = suffix.len() == 8 && suffix.bytes().all(|b| LETTERS.contains(&b));
        if time_ok && suffix_ok { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }
}

/// The name of one vault: 26 random base32 letters, given when the vault is made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultId(String);

impl VaultId {
    /// A new id from 128 random bits.
    pub fn new(random: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(random);
        Self((0..26).map(|i| char::from(LETTERS[(bits >> (5 * i)) as usize & 31])).collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VaultId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() == 26 && text.bytes().all(|b| LETTERS.contains(&b)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError(text.to_owned(), "a vault id (26 base32 letters)"))
        }
    }
}

macro_rules! text_form {
    ($id:ty) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $id {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.0
            }
        }
    };
}

text_form!(BackupId);
text_form!(VaultId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_a_valid_id() {
        let time = Timestamp::from_unix_micros(1_763_604_000_000_000).unwrap();
        let id = BackupId::new(time, 0x1234_5678_9abc);
        assert_eq!(id.as_str().parse::<BackupId>(), Ok(id.clone()));
        assert!(id.as_str().starts_with("20251120T020000Z-"));
    }

    #[test]
    fn a_path_is_no_id() {
        for text in [
            "../../etc/passwd",
            "20251120T020000Z-",
            "20251120T020000Z-ABCDEFGH",
            "",
            "é0251120T02000Z-abcdefgh",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }
}
