//! [`Mapping`]: which tables and columns of a database play which roles, and why; by configuration first, then by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::columns::ColumnSort;
use super::definition::{Check, Kind, Role};
use crate::base::TableName;
use crate::catalog::Relation;
use crate::manifest::Mapping as CarriedAs;

/// A table that could play a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: TableName,
    columns: Vec<CandidateColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CandidateColumn {
    name: String,
    type_sql: String,
    sort: Option<ColumnSort>,
}

impl Candidate {
    /// What its columns are called.
    pub fn column_names(&self) -> impl Iterator<Item = String> {
        self.columns.iter().map(|column| column.name.clone())
    }

    /// What its times are called, with their types.
    pub fn times(&self) -> impl Iterator<Item = MappedColumn> {
        self.columns.iter().filter(|column| column.sort == Some(ColumnSort::Time)).map(|column| {
            MappedColumn {
                name: column.name.clone(),
                type_sql: column.type_sql.clone(),
                sort: ColumnSort::Time,
                as_text: false,
                why: "by its type",
            }
        })
    }

    /// A table of a server, unless it is a partition or an extension's.
    pub fn of(relation: &Relation) -> Option<Self> {
        let columns = relation.columns.iter().map(|column| CandidateColumn {
            name: column.name.clone(),
            type_sql: column.type_sql.clone(),
            sort: ColumnSort::of(&column.pg_type),
        });
        let own = relation.partition_of.is_none() && relation.extension.is_none();
        own.then(|| Self { name: relation.name.clone(), columns: columns.collect() })
    }

    /// A table of a backup: name, type and mapping of each column.
    pub fn carried<'a>(
        name: TableName,
        columns: impl Iterator<Item = (&'a str, &'a str, &'a CarriedAs)>,
    ) -> Self {
        let columns = columns.map(|(name, type_sql, mapping)| CandidateColumn {
            name: name.to_owned(),
            type_sql: type_sql.to_owned(),
            sort: ColumnSort::of_carried(mapping, type_sql),
        });
        Self { name, columns: columns.collect() }
    }
}

/// `[checks.map.ROLE]`: a table, and columns where their names are not recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RoleSettings {
    /// `schema.table` as barkeep prints it, or a name in any schema; empty: no table plays it.
    pub table: Option<String>,
    /// Only rows for which this holds.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Value groups instead of the known spellings: `filled = ["FILLED"]` under the column's name.
    #[serde(default)]
    pub values: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// How long a bar is: `1 minute`.
    pub interval: Option<String>,
    /// When bars are to be expected: `24x7`, or the name of an exchange's calendar.
    pub calendar: Option<String>,
    /// Columns: the role's name for it → the table's; empty: it has none.
    #[serde(flatten)]
    pub columns: BTreeMap<String, String>,
}

/// A table that plays a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedRole {
    /// Which table.
    pub table: TableName,
    /// How it was found.
    pub why: &'static str,
    /// Only rows for which this holds.
    pub filter: Option<String>,
    /// How long a bar is, as far as configuration or the table's name say so.
    pub interval: Option<String>,
    /// When bars are to be expected.
    pub calendar: Option<String>,
    /// Its columns, by the role's names.
    pub columns: BTreeMap<String, MappedColumn>,
    /// Columns that have the name of one of the role's and cannot be it, with the reason.
    pub unfit: BTreeMap<String, String>,
    /// Value groups, by column and group.
    pub values: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// A column that plays a role's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedColumn {
    /// Its name in the table.
    pub name: String,
    /// Its type as SQL spells it.
    pub type_sql: String,
    /// What that is to a check.
    #[serde(skip)]
    pub sort: ColumnSort,
    /// A key that has another type where it is referred to: compared as text.
    pub as_text: bool,
    /// How it was found.
    pub why: &'static str,
}

/// Why a configuration cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// No such role.
    #[error("[checks.map.{0}]: there is no such role; roles are {1}")]
    Role(String, String),
    /// No such column of a role.
    #[error("[checks.map.{role}] {column}: this role has no such column; it has {known}")]
    RoleColumn {
        /// Which role.
        role: String,
        /// What stands there.
        column: String,
        /// What could.
        known: String,
    },
    /// No such group of values, or nothing in it: a check that looks for none of them would always pass.
    #[error("[checks.map.{role}] values.{column}.{group}: {why}")]
    Values {
        /// Which role.
        role: String,
        /// Which of its columns.
        column: String,
        /// What stands there.
        group: String,
        /// What is wrong.
        why: String,
    },
    /// No such table in the database.
    #[error("[checks.map.{role}] table = {table:?}: the database has no such table")]
    Table {
        /// Which role.
        role: String,
        /// What stands there.
        table: String,
    },
    /// No such column in the table, or one that cannot be that.
    #[error("[checks.map.{role}] {column} = {name:?}: {why}")]
    Column {
        /// Which role.
        role: String,
        /// Which of its columns.
        column: String,
        /// What stands there.
        name: String,
        /// What is wrong.
        why: String,
    },
}

const CONFIGURED: &str = "by configuration";
const RECOGNISED: &str = "by its name";

/// Roles by name, as far as tables were found for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// What was found.
    pub roles: BTreeMap<String, MappedRole>,
    /// Roles that nobody plays although a table has the name for it, with the reason.
    #[serde(skip)]
    refused: BTreeMap<String, String>,
}

impl Mapping {
    /// Maps `roles` onto `tables`. A table is recognised for a role only if one of `checks` can be asked of it, so that a web
    /// shop's `events` are not taken for an audit trail.
    pub fn find(
        roles: &BTreeMap<String, Role>,
        checks: &[&Check],
        tables: &[Candidate],
        settings: &BTreeMap<String, RoleSettings>,
    ) -> Result<Self, MappingError> {
        if let Some(unknown) = settings.keys().find(|name| !roles.contains_key(*name)) {
            return Err(MappingError::Role(unknown.clone(), words(roles.keys())));
        }
        let mut found = Self::default();
        let none = RoleSettings::default();
        for (name, role) in roles {
            let part = Part { name, role, settings: settings.get(name).unwrap_or(&none) };
            part.known_settings()?;
            match part.find(tables, checks)? {
                Played::By(mapped) => drop(found.roles.insert(name.clone(), *mapped)),
                Played::Almost(why) => drop(found.refused.insert(name.clone(), why)),
                Played::ByNobody => {}
            }
        }
        keys::fit_ids(&mut found, roles, tables);
        keys::align(&mut found, roles);
        Ok(found)
    }

    /// The first of `names` (`role.column`) that is not mapped.
    pub fn lacks<'a>(&self, names: &'a [String]) -> Option<&'a str> {
        names.iter().map(String::as_str).find(|name| self.column(name).is_none())
    }

    /// Why `role.column` is not mapped although something has its name: what is not mapped, and the reason.
    pub fn unfit<'a>(&'a self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let (role, column) = name.split_once('.')?;
        match self.roles.get(role) {
            Some(mapped) => Some((name, mapped.unfit.get(column)?)),
            None => Some((role, self.refused.get(role)?)),
        }
    }

    /// What `role.column` is mapped to.
    pub fn column(&self, name: &str) -> Option<&MappedColumn> {
        let (role, column) = name.split_once('.')?;
        self.roles.get(role)?.columns.get(column)
    }
}

fn words<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Who plays a role.
enum Played {
    By(Box<MappedRole>),
    /// A table has the name, and a column that cannot be what it is called.
    Almost(String),
    ByNobody,
}

/// One role, while a table is looked for.
struct Part<'a> {
    name: &'a str,
    role: &'a Role,
    settings: &'a RoleSettings,
}

impl Part<'_> {
    /// A word that is not the role's would otherwise do nothing, silently.
    fn known_settings(&self) -> Result<(), MappingError> {
        let mut written = self.settings.columns.keys().chain(self.settings.values.keys());
        if let Some(column) = written.find(|column| !self.role.columns.contains_key(*column)) {
            return Err(MappingError::RoleColumn {
                role: self.name.to_owned(),
                column: column.clone(),
                known: words(self.role.columns.keys()),
            });
        }
        for (column, groups) in &self.settings.values {
            let known = &self.role.columns[column].values;
            for (group, values) in groups {
                let why = match known.contains_key(group) {
                    false => format!("there is no such group; groups are {}", words(known.keys())),
                    true if values.is_empty() => "name at least one value".to_owned(),
                    true => continue,
                };
                let (role, column, group) = (self.name.to_owned(), column.clone(), group.clone());
                return Err(MappingError::Values { role, column, group, why });
            }
        }
        Ok(())
    }

    fn find(&self, tables: &[Candidate], checks: &[&Check]) -> Result<Played, MappingError> {
        if let Some(wanted) = &self.settings.table {
            if wanted.is_empty() {
                return Ok(Played::ByNobody);
            }
            let table =
                tables.iter().find(|table| *wanted == table.name.name || *wanted == table.name.to_string());
            let missing = || MappingError::Table { role: self.name.to_owned(), table: wanted.clone() };
            return Ok(Played::By(Box::new(self.map(table.ok_or_else(missing)?, CONFIGURED)?)));
        }
        let place = |table: &Candidate| {
            self.role.tables.iter().position(|name| *name == table.name.name.to_lowercase())
        };
        let mut candidates: Vec<(usize, bool, &Candidate)> = tables
            .iter()
            .filter_map(|table| Some((place(table)?, table.name.schema != "public", table)))
            .collect();
        candidates.sort_by(|a, b| (a.0, a.1, &a.2.name).cmp(&(b.0, b.1, &b.2.name)));
        let mut almost = None;
        for (_, _, table) in candidates {
            let mapped = self.map(table, RECOGNISED)?;
            if checks.iter().any(|check| self.serves(check, &mapped)) {
                return Ok(Played::By(Box::new(mapped)));
            }
            almost = almost.or(mapped.unfit.into_values().next());
        }
        Ok(almost.map_or(Played::ByNobody, Played::Almost))
    }

    /// Whether the table has what a check wants of this role.
    fn serves(&self, check: &Check, mapped: &MappedRole) -> bool {
        let of_role = |names: &[String]| -> Vec<String> {
            let columns = names.iter().filter_map(|name| name.split_once('.'));
            columns.filter(|(role, _)| *role == self.name).map(|(_, column)| column.to_owned()).collect()
        };
        let needs = of_role(&check.needs);
        let wanted = if needs.is_empty() { of_role(&check.uses) } else { needs };
        !wanted.is_empty() && wanted.iter().all(|column| mapped.columns.contains_key(column))
    }

    fn map(&self, table: &Candidate, why: &'static str) -> Result<MappedRole, MappingError> {
        let (mut columns, mut unfit) = (BTreeMap::new(), BTreeMap::new());
        for name in self.role.columns.keys() {
            let column = match self.settings.columns.get(name) {
                Some(written) if written.is_empty() => None,
                Some(written) => Some(self.written(table, name, written)?),
                None => {
                    let recognised = self.recognised(table, name);
                    if recognised.is_none() {
                        unfit.extend(self.unfit(table, name).map(|why| (name.clone(), why)));
                    }
                    recognised
                }
            };
            columns.extend(column.map(|column| (name.clone(), column)));
        }
        let known = self.role.columns.iter().map(|(name, column)| (name.clone(), column.values.clone()));
        let mut values: BTreeMap<_, _> = known.filter(|(_, groups)| !groups.is_empty()).collect();
        for (column, groups) in &self.settings.values {
            values.entry(column.clone()).or_insert_with(BTreeMap::new).extend(groups.clone());
        }
        let RoleSettings { filter, interval, calendar, .. } = self.settings.clone();
        let interval = interval.or_else(|| interval_of(&table.name.name).map(str::to_owned));
        let table = table.name.clone();
        Ok(MappedRole { table, why, filter, interval, calendar, columns, unfit, values })
    }

    fn written(&self, table: &Candidate, column: &str, name: &str) -> Result<MappedColumn, MappingError> {
        let wrong = |why: String| MappingError::Column {
            role: self.name.to_owned(),
            column: column.to_owned(),
            name: name.to_owned(),
            why,
        };
        let found = table.columns.iter().find(|found| found.name == name);
        let found = found.ok_or_else(|| wrong(format!("{} has no such column", table.name)))?;
        let kind = self.role.columns[column].kind;
        match found.sort.filter(|sort| sort.can_be(kind)) {
            Some(sort) => Ok(MappedColumn {
                name: name.to_owned(),
                type_sql: found.type_sql.clone(),
                sort,
                as_text: false,
                why: CONFIGURED,
            }),
            None => Err(wrong(format!("a {} cannot be {}", found.type_sql, kind.word()))),
        }
    }

    fn recognised(&self, table: &Candidate, column: &str) -> Option<MappedColumn> {
        let wanted = &self.role.columns[column];
        wanted.names.iter().find_map(|name| recognise(table, name, wanted.kind))
    }

    /// Why the column that has the name is not taken. Milliseconds since 1970 are no time to a check.
    fn unfit(&self, table: &Candidate, column: &str) -> Option<String> {
        let wanted = &self.role.columns[column];
        let named = |name: &String| table.columns.iter().find(|found| found.name.to_lowercase() == **name);
        let found = wanted.names.iter().find_map(named)?;
        Some(format!(
            "{}.{} is {}, which cannot be {}",
            table.name,
            found.name,
            found.type_sql,
            wanted.kind.word()
        ))
    }
}

/// The table's column of that name, whatever its case, if it can be of that kind.
fn recognise(table: &Candidate, name: &str, kind: Kind) -> Option<MappedColumn> {
    let found = table.columns.iter().find(|found| found.name.to_lowercase() == name)?;
    let sort = found.sort.filter(|sort| sort.can_be(kind))?;
    let (name, type_sql) = (found.name.clone(), found.type_sql.clone());
    Some(MappedColumn { name, type_sql, sort, as_text: false, why: RECOGNISED })
}

/// `bars_1m`, `candles_5min`, `daily_bars`: how long a bar is by the name of its table.
fn interval_of(table: &str) -> Option<&'static str> {
    table.to_lowercase().split('_').find_map(|word| {
        Some(match word {
            "1s" | "1sec" | "second" => "1 second",
            "1m" | "1min" | "m1" | "minute" => "1 minute",
            "5m" | "5min" | "m5" => "5 minutes",
            "15m" | "15min" | "m15" => "15 minutes",
            "30m" | "30min" | "m30" => "30 minutes",
            "1h" | "h1" | "60m" | "hour" | "hourly" => "1 hour",
            "4h" | "h4" => "4 hours",
            "1d" | "d1" | "day" | "daily" | "eod" => "1 day",
            "1w" | "w1" | "week" | "weekly" => "7 days",
            _ => return None,
        })
    })
}

mod keys;
#[cfg(test)]
mod tests;
