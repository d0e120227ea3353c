//! [`question()`]: a check and a mapping → SQL that an engine answers with bad rows.
//!
//! Each role becomes a sub-select with the role's own column names and kinds, so that the check's text is the same for every
//! database. What is missing is NULL, and a role that nobody plays has no rows.

use std::collections::BTreeMap;

use super::calendar::SessionSql;
use super::columns::ColumnSort;
use super::definition::{Check, Kind, Only, Role};
use super::dialect::Dialect;
use super::mapping::{MappedRole, Mapping};
use crate::base::{Timestamp, quote_ident, quote_literal};

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Bad rows.
    pub sql: String,
    /// How many rows were looked at.
    pub scanned: String,
}

/// Why a check cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Something it needs is not mapped.
    #[error("{0} is not mapped")]
    NotMapped(String),
    /// There is a column of that name, and it cannot be that.
    #[error("{0} is not mapped: {1}")]
    Unfit(String, String),
    /// It is for other bars.
    #[error("it is for bars that are {0}; [checks.map.bars] calendar and interval say what they are")]
    OtherBars(&'static str),
    /// It compares with an earlier backup.
    #[error("it compares with an earlier backup, and there is none here")]
    NoEarlierBackup,
    /// A word in braces that means nothing.
    #[error("{{{0}}} in its SQL is neither a role, nor a group of values, nor a parameter")]
    Word(String),
}

/// What all questions of a run have in common.
pub struct Interview<'a> {
    /// What roles there are.
    pub roles: &'a BTreeMap<String, Role>,
    /// Who plays them.
    pub mapping: &'a Mapping,
    /// Who is asked.
    pub dialect: &'a dyn Dialect,
    /// The time of the snapshot.
    pub now: Timestamp,
    /// The sessions of the bars' market; none where nobody says which market that is.
    pub sessions: Option<SessionSql>,
    /// The time of the earlier backup's snapshot, where there is one.
    pub previous: Option<Timestamp>,
}

/// Puts a check to a database. `params` take the place of the check's defaults.
pub fn question(
    check: &Check,
    interview: &Interview<'_>,
    params: &BTreeMap<String, String>,
) -> Result<Question, QuestionError> {
    let Interview { roles, mapping, .. } = *interview;
    if let Some(lacking) = mapping.lacks(&check.needs) {
        return Err(match mapping.unfit(lacking) {
            Some((what, why)) => QuestionError::Unfit(what.to_owned(), why.to_owned()),
            None => QuestionError::NotMapped(lacking.to_owned()),
        });
    }
    other_bars(check, mapping)?;
    let asking = Asking { check, roles, mapping, params, interview };
    let scanned = match check.scans.as_str() {
        // A check of somebody's own that speaks of no role.
        "" => "SELECT 1 AS scanned".to_owned(),
        role => format!("SELECT count(*) FROM {} AS scanned", asking.role(role)?),
    };
    Ok(Question { sql: asking.fill(&check.sql)?, scanned })
}

/// Asks when the bars begin, in seconds since 1970.
pub fn first_bar(mapping: &Mapping, dialect: &dyn Dialect) -> Option<String> {
    let bars = mapping.roles.get("bars")?;
    let ts = bars.columns.get("ts")?;
    let ts = dialect.column(&bars.table, ts, Kind::Time);
    Some(format!("SELECT CAST(extract(epoch FROM min({ts})) AS bigint) AS first_bar{}", from(Some(bars))))
}

/// Whether the bars are such that the check can be asked of them.
fn other_bars(check: &Check, mapping: &Mapping) -> Result<(), QuestionError> {
    let bars = mapping.roles.get("bars");
    let calendar = bars.and_then(|bars| bars.calendar.as_deref());
    let interval = bars.and_then(|bars| bars.interval.as_deref());
    let days = |interval: &str| ["day", "week", "month", "year"].iter().any(|unit| interval.contains(unit));
    for only in &check.only {
        let (holds, what) = match only {
            Only::Always => (calendar == Some("24x7"), "traded day and night"),
            Only::Sessions => (calendar.is_some_and(|calendar| calendar != "24x7"), "traded in sessions"),
            Only::Intraday => (interval.is_some_and(|interval| !days(interval)), "shorter than a day"),
            Only::Daily => (interval.is_some_and(days), "a day or longer"),
        };
        if !holds {
            return Err(QuestionError::OtherBars(what));
        }
    }
    Ok(())
}

struct Asking<'a> {
    check: &'a Check,
    roles: &'a BTreeMap<String, Role>,
    mapping: &'a Mapping,
    params: &'a BTreeMap<String, String>,
    interview: &'a Interview<'a>,
}

impl Asking<'_> {
    fn fill(&self, template: &str) -> Result<String, QuestionError> {
        let mut sql = String::with_capacity(template.len() * 4);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((word, after)) = after.split_once('}') else {
                return Err(QuestionError::Word(after.chars().take(20).collect()));
            };
            sql.push_str(before);
            sql.push_str(&self.word(word)?);
            rest = after;
        }
        sql.push_str(rest);
        Ok(sql)
    }

    fn word(&self, word: &str) -> Result<String, QuestionError> {
        match word {
            "now" => return Ok(self.interview.dialect.instant(self.interview.now)),
            "cal" | "cal_days" => {
                let sessions = self.interview.sessions.as_ref();
                let known = sessions.ok_or_else(|| QuestionError::NotMapped("bars.calendar".to_owned()))?;
                return Ok(if word == "cal" { known.sessions.clone() } else { known.days.clone() });
            }
            "previous_now" => {
                let previous = self.interview.previous.ok_or(QuestionError::NoEarlierBackup)?;
                return Ok(self.interview.dialect.instant(previous));
            }
            _ => {}
        }
        if self.check.params.contains_key(word) {
            // It stands between quotes.
            return Ok(self.param(word)?.replace('\'', "''"));
        }
        if self.roles.contains_key(word) {
            return self.role(word);
        }
        self.group(word).ok_or_else(|| QuestionError::Word(word.to_owned()))
    }

    /// What is set, else what is known of the bars, else the check's own; but nobody guesses how long a bar is.
    fn param(&self, name: &str) -> Result<&str, QuestionError> {
        let role = match name {
            "interval" => Some("bars"),
            "coarse_interval" => Some("coarse"),
            _ => None,
        };
        let known = role.and_then(|role| self.mapping.roles.get(role)?.interval.as_ref());
        match (self.params.get(name).or(known), role) {
            (Some(value), _) => Ok(value),
            (None, Some(role)) => Err(QuestionError::NotMapped(format!("{role}.interval"))),
            (None, None) => Ok(self.check.params.get(name).map_or("", String::as_str)),
        }
    }

    /// `role.column.value`: the spellings of a value.
    fn group(&self, word: &str) -> Option<String> {
        let mut parts = word.split('.');
        let (role, column, group) = (parts.next()?, parts.next()?, parts.next()?);
        let known = self.roles.get(role)?.columns.get(column)?.values.get(group)?;
        let role = self.mapping.roles.get(role);
        let values = role.and_then(|role| role.values.get(column)?.get(group)).unwrap_or(known);
        let place = role.and_then(|role| Some((&role.table, &role.columns.get(column)?.name)));
        let may_be = |value: &&String| {
            place.is_none_or(|(table, column)| self.interview.dialect.may_be(table, column, value))
        };
        let values: Vec<String> = values.iter().filter(may_be).map(|value| quote_literal(value)).collect();
        Some(if values.is_empty() { "NULL".to_owned() } else { values.join(", ") })
    }

    fn role(&self, name: &str) -> Result<String, QuestionError> {
        let role = self.roles.get(name).ok_or_else(|| QuestionError::Word(name.to_owned()))?;
        let mapped = self.mapping.roles.get(name);
        let columns: Vec<String> = role
            .columns
            .iter()
            .map(|(column, wanted)| {
                let found = mapped.and_then(|mapped| Some((&mapped.table, mapped.columns.get(column)?)));
                let expression = match found {
                    Some((table, found)) => self.interview.dialect.column(table, found, wanted.kind),
                    None => self.null(column, wanted.kind).to_owned(),
                };
                format!("{expression} AS {}", quote_ident(column))
            })
            .collect();
        Ok(format!("(SELECT {}{})", columns.join(", "), from(mapped)))
    }

    /// A NULL in the place of a column that is not mapped. A key has the type of the key that it is compared with: the same
    /// column of another role in this check.
    fn null(&self, column: &str, kind: Kind) -> &'static str {
        let sort = match kind {
            Kind::Key => {
                let others = self.check.needs.iter().chain(&self.check.uses);
                let same =
                    others.filter(|name| name.split_once('.').is_some_and(|(_, other)| other == column));
                let mut keys = same.filter_map(|name| self.mapping.column(name));
                keys.next().filter(|key| !key.as_text).map_or(ColumnSort::Text, |key| key.sort)
            }
            Kind::Text | Kind::Digest => ColumnSort::Text,
            Kind::Amount | Kind::Count => ColumnSort::Decimal,
            Kind::Time => ColumnSort::Time,
            Kind::Flag => ColumnSort::Flag,
            Kind::Bytes => ColumnSort::Bytes,
        };
        self.interview.dialect.null(sort)
    }
}

fn from(mapped: Option<&MappedRole>) -> String {
    match mapped {
        None => " WHERE false".to_owned(),
        Some(MappedRole { table, filter: Some(filter), .. }) => {
            format!(" FROM {} WHERE ({filter})", table.sql())
        }
        Some(MappedRole { table, .. }) => format!(" FROM {}", table.sql()),
    }
}
