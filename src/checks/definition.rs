//! [`Check`] and [`Role`]: what the packs are made of, as they are written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// `T1`.
    pub id: String,
    /// `filled-without-trade`.
    pub name: String,
    /// What is asked, for people.
    pub question: String,
    /// What a finding means, and what to do first.
    pub why: String,
    /// How bad a finding is.
    pub severity: Severity,
    /// The role whose rows are counted: where there are none, nothing was checked.
    pub scans: String,
    /// `role.column`: without one of these the check cannot be asked.
    pub needs: Vec<String>,
    /// `role.column`: NULL where it is not mapped; a role of which nothing is mapped has no rows.
    #[serde(default)]
    pub uses: Vec<String>,
    /// What must hold of the bars: `24x7`, `sessions` (their calendar), `intraday`, `daily` (their interval).
    #[serde(default)]
    pub only: Vec<Only>,
    /// The first columns of a finding, which say where it is.
    pub key: Vec<String>,
    /// Numbers and stretches of time that can be set, with their defaults.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// A query for bad rows, with `{role}`, `{role.column.value}`, `{param}` and `{now}` in it.
    pub sql: String,
}

impl Check {
    /// Whether its SQL has that word in braces.
    pub fn asks_for(&self, word: &str) -> bool {
        self.sql.contains(&format!("{{{word}}}"))
    }
}

/// Bars of which a check can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// Traded day and night.
    #[serde(rename = "24x7")]
    Always,
    /// Traded in sessions.
    Sessions,
    /// Shorter than a day.
    Intraday,
    /// A day or longer.
    Daily,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The data is wrong.
    Error,
    /// Somebody should look.
    Warn,
}

/// Checks that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// `trading`.
    pub name: &'static str,
    /// Its checks, in order.
    pub checks: Vec<Check>,
}

/// A part that a table plays: `orders`, `trades`, `bars`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// What its rows are.
    pub meaning: String,
    /// Names of tables that are taken for it, the best first.
    pub tables: Vec<String>,
    /// Its columns.
    pub columns: BTreeMap<String, RoleColumn>,
}

/// A column of a role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleColumn {
    /// What it reaches a check as.
    pub kind: Kind,
    /// What it says.
    pub meaning: String,
    /// Names of columns that are taken for it, the best first.
    pub names: Vec<String>,
    /// Groups of values that mean the same: `filled` of a status.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<String>>,
}

/// What a column reaches a check as, alike on every engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its own type.
    Key,
    /// Text.
    Text,
    /// An exact decimal; NaN and the infinities are NULL.
    Amount,
    /// An instant; the infinities are NULL.
    Time,
    /// A whole number.
    Count,
    /// True or false.
    Flag,
    /// Bytes.
    Bytes,
    /// Bytes as lower-case hexadecimal text.
    Digest,
}

impl Kind {
    /// As it is written in the packs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Text => "text",
            Self::Amount => "amount",
            Self::Time => "time",
            Self::Count => "count",
            Self::Flag => "flag",
            Self::Bytes => "bytes",
            Self::Digest => "digest",
        }
    }
}

/// Why the packs cannot be read: a fault of barkeep's own.
#[derive(Debug, thiserror::Error)]
#[error("the checks of {pack}: {text}")]
pub struct DefinitionError {
    /// Which file.
    pub pack: &'static str,
    /// Why.
    pub text: String,
}

const PACKS: [(&str, &str); 4] = [
    ("trading", include_str!("packs/trading.toml")),
    ("balance", include_str!("packs/balance.toml")),
    ("market", include_str!("packs/market.toml")),
    ("audit", include_str!("packs/audit.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackFile {
    check: Vec<Check>,
}

/// All packs.
pub fn packs() -> Result<Vec<Pack>, DefinitionError> {
    let read = |(name, text): (&'static str, &str)| {
        let file: PackFile =
            toml::from_str(text).map_err(|error| DefinitionError { pack: name, text: error.to_string() })?;
        Ok(Pack { name, checks: file.check })
    };
    PACKS.into_iter().map(read).collect()
}

/// All roles.
pub fn roles() -> Result<BTreeMap<String, Role>, DefinitionError> {
    toml::from_str(include_str!("packs/roles.toml"))
        .map_err(|error| DefinitionError { pack: "roles", text: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `role.column` of a template or a list.
    fn known(roles: &BTreeMap<String, Role>, name: &str) -> bool {
        name.split_once('.').is_some_and(|(role, column)| {
            roles.get(role).is_some_and(|role| role.columns.contains_key(column))
        })
    }

    #[test]
    fn every_check_speaks_of_roles_and_columns_that_exist() {
        let (packs, roles) = (packs().unwrap(), roles().unwrap());
        let mut ids = BTreeSet::new();
        for check in packs.iter().flat_map(|pack| &pack.checks) {
            assert!(ids.insert(&check.id), "{} is there twice", check.id);
            for name in check.needs.iter().chain(&check.uses) {
                assert!(known(&roles, name), "{}: {name}", check.id);
            }
            let scans = format!("{}.", check.scans);
            assert!(
                check.needs.iter().any(|name| name.starts_with(&scans)),
                "{} scans what it needs",
                check.id
            );
            assert!(!check.key.is_empty() && check.question.ends_with('?'), "{}", check.id);
        }
        assert!(ids.len() > 40, "{ids:?}");
    }
}
