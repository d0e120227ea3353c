//! The pack `structure`: whether the constraints of a database hold of its rows; asked for every one that is found.
//!
//! A server holds its constraints as rows are written. Rows get past it all the same: by disabled triggers and a session that
//! plays replica, NOT VALID, a broken index, damaged pages, a restore. So nothing here may trust an index or what the server
//! concludes from its own constraints; whoever asks a server switches both off.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::Severity;
use crate::base::{TableName, quote_ident, quote_literal};
use crate::catalog::Sequence;
use crate::catalog::structure::{Constraint, ForeignKey, Rule, Standing, Structure};

/// The name of the pack.
pub const STRUCTURE: &str = "structure";

/// A check of this pack: one question for each constraint of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructureCheck {
    /// `S1`.
    pub id: &'static str,
    /// `orphan`.
    pub name: &'static str,
    /// What is asked, for people.
    pub question: &'static str,
    /// What a finding means, and what to do first.
    pub why: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
}

const ORPHAN: StructureCheck = StructureCheck {
    id: "S1",
    name: "orphan",
    question: "Which rows refer to a row that does not exist?",
    why: "A join loses these rows without a word, and sums over it are too small. Find out which of the two is wrong: the row was \
          deleted with triggers off, or written by a session that played replica.",
    severity: Severity::Error,
};
const DISABLED: StructureCheck = StructureCheck {
    id: "S1b",
    name: "disabled-trigger",
    question: "Which constraints are not held, because their triggers are disabled?",
    why: "Whatever is written from now on may break them. Usually left behind by a bulk load; enable the triggers, then look \
          for rows that came in meanwhile (S1, S3).",
    severity: Severity::Warn,
};
const MISSING: StructureCheck = StructureCheck {
    id: "S2",
    name: "missing-value",
    question: "Which rows have no value in a column that must have one?",
    why: "Programs that read the column trust it, and so does the planner. In a column that the server knows as NOT NULL this \
          is damage: look at the disk, and at backups from before.",
    severity: Severity::Error,
};
const DUPLICATE: StructureCheck = StructureCheck {
    id: "S3",
    name: "duplicate-key",
    question: "Which keys do several rows have?",
    why: "An index that should have refused the second row is broken, often since the collation of the system changed: answers \
          depend on whether it is used. Remove the copies, then REINDEX.",
    severity: Severity::Error,
};
const UNACCEPTED: StructureCheck = StructureCheck {
    id: "S4",
    name: "unaccepted-value",
    question: "Which values of a column are not among those that are accepted?",
    why: "A program writes a value that no other knows. Add it to the list if it is right, or correct the rows.",
    severity: Severity::Error,
};
const CONDITION: StructureCheck = StructureCheck {
    id: "S5",
    name: "broken-condition",
    question: "Which rows break a CHECK constraint of their table?",
    why: "Rows that are older than a NOT VALID constraint, or a function in it that changed. Correct them, then VALIDATE \
          CONSTRAINT.",
    severity: Severity::Error,
};
const BEHIND: StructureCheck = StructureCheck {
    id: "S6",
    name: "sequence-behind",
    question: "Which sequences will give out numbers that their column already has?",
    why: "The next inserts fail, or make duplicates where no key refuses them. Rows were loaded with their numbers; set the \
          sequence beyond the largest.",
    severity: Severity::Error,
};
const INVALID: StructureCheck = StructureCheck {
    id: "S7",
    name: "invalid-index",
    question: "Which indexes are invalid?",
    why: "CREATE INDEX CONCURRENTLY failed half-way: the index costs every write and answers nothing, and if it is unique it \
          keeps no promise. Drop it and make it again.",
    severity: Severity::Warn,
};

/// The checks of the pack, in order.
pub const STRUCTURE_CHECKS: [StructureCheck; 8] =
    [ORPHAN, DISABLED, MISSING, DUPLICATE, UNACCEPTED, CONDITION, BEHIND, INVALID];

/// The check that a constraint is a case of.
pub fn check_of(constraint: &Constraint) -> StructureCheck {
    match constraint.rule {
        Rule::ForeignKey(_) => ORPHAN,
        Rule::NotNull(_) => MISSING,
        Rule::Unique { .. } => DUPLICATE,
        Rule::Accepted { .. } => UNACCEPTED,
        Rule::Check { .. } => CONDITION,
        Rule::Sequence { .. } => BEHIND,
    }
}

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructureQuestion {
    /// Bad rows.
    pub sql: String,
    /// By how many of its first columns a finding is known.
    pub key: usize,
    /// How many rows, or objects, were looked at.
    pub scanned: String,
}

/// Questions to a server about itself, which no backup can answer: disabled triggers and invalid indexes.
pub fn about_the_server() -> [(StructureCheck, StructureQuestion); 2] {
    const OWN: &str = "n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')";
    let triggers = format!(
        "FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE t.tgisinternal AND {OWN}"
    );
    let indexes = format!(
        "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE {OWN}"
    );
    let table = "n.nspname || '.' || c.relname AS \"table\"";
    let disabled = StructureQuestion {
        sql: format!(
            "SELECT DISTINCT {table}, k.conname AS constraint {triggers} AND t.tgenabled IN ('D', 'R')"
        ),
        key: 2,
        scanned: format!("SELECT count(DISTINCT k.oid) {triggers}"),
    };
    let invalid = StructureQuestion {
        sql: format!(
            "SELECT {table}, x.relname AS index, i.indisunique AS \"unique\" {indexes} AND NOT i.indisvalid"
        ),
        key: 2,
        scanned: format!("SELECT count(*) {indexes}"),
    };
    [(DISABLED, disabled), (INVALID, invalid)]
}

/// Who is asked about constraints.
#[derive(Debug, Clone, Copy)]
pub enum Witness<'a> {
    /// A server.
    Postgres,
    /// The files of a backup.
    Files(&'a Files),
}

/// What is known of the files of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Where sequences stood.
    pub sequences: Vec<Sequence>,
    /// Tables that are in the backup, with those of their columns whose values are equal where PostgreSQL's are.
    pub comparable: BTreeMap<TableName, BTreeSet<String>>,
}

/// Why a constraint cannot be asked about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// Ranges that are covered together.
    #[error("it is a foreign key with PERIOD, whose ranges only a server can put together")]
    Period,
    /// An expression.
    #[error("its condition is PostgreSQL's own and can be asked of a server only")]
    Expression,
    /// The manifest does not have the sequence.
    #[error("its sequence is not in the backup")]
    NoSequence,
    /// The backup does not have the table.
    #[error("{0} is not in the backup")]
    NoTable(TableName),
    /// Files have another equality than the server.
    #[error("only a server can compare values of {0}")]
    OwnEquality(String),
}

/// Puts a constraint as a question.
pub fn structure_question(
    constraint: &Constraint,
    structure: &Structure,
    witness: Witness<'_>,
) -> Result<StructureQuestion, Unasked> {
    let on_server = matches!(witness, Witness::Postgres);
    if let Witness::Files(files) = witness {
        in_files(constraint, files)?;
    }
    if !on_server && constraint.condition.is_some() && constraint.standing != Standing::Declared {
        return Err(Unasked::Expression);
    }
    Asking { constraint, structure, witness, on_server }.question()
}

/// Whether files can answer as the server would.
fn in_files(constraint: &Constraint, files: &Files) -> Result<(), Unasked> {
    let compares = |table: &TableName, columns: &[String]| {
        let known = files.comparable.get(table).ok_or_else(|| Unasked::NoTable(table.clone()))?;
        match columns.iter().find(|column| !known.contains(*column)) {
            Some(column) => Err(Unasked::OwnEquality(format!("{table} {column}"))),
            None => Ok(()),
        }
    };
    match &constraint.rule {
        Rule::ForeignKey(key) => {
            compares(&constraint.table, &key.columns)?;
            compares(&key.parent, &key.parent_columns)
        }
        Rule::Unique { columns, .. } => compares(&constraint.table, columns),
        Rule::Sequence { column, .. } => compares(&constraint.table, std::slice::from_ref(column)),
        Rule::NotNull(_) | Rule::Accepted { .. } | Rule::Check { .. } => compares(&constraint.table, &[]),
    }
}

struct Asking<'a> {
    constraint: &'a Constraint,
    structure: &'a Structure,
    witness: Witness<'a>,
    on_server: bool,
}

impl Asking<'_> {
    fn question(&self) -> Result<StructureQuestion, Unasked> {
        let (sql, key) = match &self.constraint.rule {
            Rule::ForeignKey(key) => self.orphans(key)?,
            Rule::NotNull(columns) => self.missing(columns),
            Rule::Unique { columns, nulls_distinct, .. } => self.duplicates(columns, *nulls_distinct),
            Rule::Accepted { column, values } => self.unaccepted(column, values),
            Rule::Check { expression, columns, .. } => self.broken(expression, columns)?,
            Rule::Sequence { column, sequence, increment } => self.behind(column, sequence, *increment)?,
        };
        let condition = self.condition().map(|condition| format!(" WHERE {condition}"));
        let scanned = format!("SELECT count(*) FROM {} AS c{}", self.from(), condition.unwrap_or_default());
        Ok(StructureQuestion { sql, key, scanned })
    }

    /// The rows that the constraint is about. A key holds of the table alone, unless its rows lie in others; conditions and
    /// columns are inherited; and what a person declares means what it would mean in a query.
    fn from(&self) -> String {
        let alone = match &self.constraint.rule {
            Rule::ForeignKey(_) | Rule::Unique { .. } => true,
            Rule::Check { no_inherit, .. } => *no_inherit,
            Rule::NotNull(_) | Rule::Accepted { .. } | Rule::Sequence { .. } => false,
        };
        self.table(&self.constraint.table, alone)
    }

    fn table(&self, table: &TableName, alone: bool) -> String {
        let declared = self.constraint.standing == Standing::Declared;
        let only = alone && self.on_server && !declared && !self.structure.spread.contains(table);
        format!("{}{}", if only { "ONLY " } else { "" }, table.sql())
    }

    fn condition(&self) -> Option<String> {
        self.constraint.condition.as_ref().map(|condition| format!("({condition})"))
    }

    /// `a AND b AND …`, with the constraint's own condition.
    fn conditions(&self, more: impl IntoIterator<Item = String>) -> String {
        let all: Vec<String> = more.into_iter().chain(self.condition()).collect();
        if all.is_empty() { "true".to_owned() } else { all.join(" AND ") }
    }

    fn orphans(&self, key: &ForeignKey) -> Result<(String, usize), Unasked> {
        if key.period && !self.on_server {
            return Err(Unasked::Period);
        }
        let filled: Vec<String> =
            key.columns.iter().map(|column| format!("c.{} IS NOT NULL", quote_ident(column))).collect();
        let refers = format!("({})", filled.join(if key.full { " OR " } else { " AND " }));
        let pairs = key.columns.iter().zip(&key.parent_columns).enumerate();
        let equal: Vec<String> = pairs
            .map(|(place, (child, parent))| {
                let own = key.comparisons.get(place).filter(|_| self.on_server).cloned().flatten();
                own.unwrap_or_else(|| format!("p.{} = c.{}", quote_ident(parent), quote_ident(child)))
            })
            .collect();
        let parent = self.table(&key.parent, true);
        let nobody = match (key.period, equal.split_last(), key.columns.last().zip(key.parent_columns.last()))
        {
            // The rows of the parent cover the last column together.
            (true, Some((_, equal)), Some((child, covering))) => format!(
                "NOT coalesce(c.{} <@ (SELECT pg_catalog.range_agg(p.{}) FROM {parent} AS p WHERE {}), false)",
                quote_ident(child),
                quote_ident(covering),
                equal.join(" AND ")
            ),
            _ => format!("NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE {})", equal.join(" AND ")),
        };
        let mut shown = key.columns.clone();
        shown.extend(self.primary_key().filter(|column| !key.columns.contains(column)));
        let columns: Vec<String> = shown.iter().map(|column| format!("c.{}", quote_ident(column))).collect();
        let sql = format!(
            "SELECT {} FROM {} AS c WHERE {}",
            columns.join(", "),
            self.from(),
            self.conditions([refers, nobody])
        );
        Ok((sql, columns.len()))
    }

    fn primary_key(&self) -> impl Iterator<Item = String> {
        self.structure.primary_key(&self.constraint.table).to_vec().into_iter()
    }

    /// A server that knows a column as NOT NULL does not look whether it is, unless a function asks.
    fn missing(&self, columns: &[String]) -> (String, usize) {
        // A function takes a hundred arguments at most.
        const ARGUMENTS: usize = 50;
        let mut names = Vec::new();
        let mut any = Vec::new();
        for some in columns.chunks(ARGUMENTS) {
            let of = |column: &String| format!("c.{}", quote_ident(column));
            let absent = |column: &String| match self.on_server {
                true => format!("pg_catalog.num_nulls({}) = 1", of(column)),
                false => format!("{} IS NULL", of(column)),
            };
            let named = some
                .iter()
                .map(|column| format!("CASE WHEN {} THEN {} END", absent(column), quote_literal(column)));
            names.push(format!("nullif(concat_ws(', ', {}), '')", named.collect::<Vec<_>>().join(", ")));
            any.push(match self.on_server {
                true => {
                    let all: Vec<String> = some.iter().map(of).collect();
                    format!("pg_catalog.num_nulls({}) > 0", all.join(", "))
                }
                false => some.iter().map(absent).collect::<Vec<_>>().join(" OR "),
            });
        }
        let mut shown: Vec<String> =
            self.primary_key().map(|column| format!("c.{}", quote_ident(&column))).collect();
        shown.push(format!("concat_ws(', ', {}) AS missing", names.join(", ")));
        let sql = format!(
            "SELECT {} FROM {} AS c WHERE {}",
            shown.join(", "),
            self.from(),
            self.conditions([format!("({})", any.join(" OR "))])
        );
        (sql, shown.len())
    }

    fn duplicates(&self, columns: &[String], nulls_distinct: bool) -> (String, usize) {
        let names: Vec<String> = columns.iter().map(|column| format!("c.{}", quote_ident(column))).collect();
        let filled = names.iter().filter(|_| nulls_distinct).map(|name| format!("{name} IS NOT NULL"));
        let sql = format!(
            "SELECT {names}, count(*) AS \"rows\" FROM {} AS c WHERE {} GROUP BY {names} HAVING count(*) > 1",
            self.from(),
            self.conditions(filled),
            names = names.join(", ")
        );
        (sql, columns.len())
    }

    fn unaccepted(&self, column: &str, values: &[String]) -> (String, usize) {
        let column = format!("c.{}", quote_ident(column));
        let values: Vec<String> = values.iter().map(|value| quote_literal(value)).collect();
        let other = format!("CAST({column} AS text) NOT IN ({})", values.join(", "));
        let sql = format!(
            "SELECT {column}, count(*) AS \"rows\" FROM {} AS c WHERE {} GROUP BY {column}",
            self.from(),
            self.conditions([other])
        );
        (sql, 1)
    }

    /// The expression names columns as they are, so the table has no other name here. As for the server, unknown is no offence.
    fn broken(&self, expression: &str, columns: &[String]) -> Result<(String, usize), Unasked> {
        if !self.on_server {
            return Err(Unasked::Expression);
        }
        let key: Vec<String> = self.primary_key().collect();
        let mut shown: Vec<String> = key.iter().map(|column| quote_ident(column)).collect();
        // Types of all kinds, also those that cannot be sorted.
        let others = columns.iter().filter(|column| !key.contains(column)).map(|column| quote_ident(column));
        shown.extend(others.map(|column| format!("CAST({column} AS text) AS {column}")));
        if shown.is_empty() {
            shown.push("'' AS \"row\"".to_owned());
        }
        let sql = format!(
            "SELECT {} FROM {} WHERE NOT coalesce(({expression}), true)",
            shown.join(", "),
            self.from()
        );
        Ok((sql, shown.len()))
    }

    /// Before its first number a sequence stands one step before where it begins.
    fn behind(&self, column: &str, sequence: &TableName, increment: i64) -> Result<(String, usize), Unasked> {
        let stands = match self.witness {
            Witness::Postgres => format!(
                "(SELECT CASE WHEN s.is_called THEN CAST(s.last_value AS numeric) \
                 ELSE CAST(s.last_value AS numeric) - ({increment}) END AS stands FROM {} AS s)",
                sequence.sql()
            ),
            Witness::Files(files) => {
                let known = files.sequences.iter().find(|known| known.name == *sequence);
                let known = known.ok_or(Unasked::NoSequence)?;
                let last: i64 = known.last_value.parse().map_err(|_| Unasked::NoSequence)?;
                let stands = if known.is_called { last } else { last.saturating_sub(increment) };
                format!("(SELECT CAST('{stands}' AS bigint) AS stands)")
            }
        };
        let (end, beyond) = if increment > 0 { ("max", ">") } else { ("min", "<") };
        let sql = format!(
            "SELECT q.stands AS \"sequence\", e.reached AS \"column\" FROM {stands} AS q \
             CROSS JOIN (SELECT {end}(c.{}) AS reached FROM {} AS c) AS e WHERE e.reached {beyond} q.stands",
            quote_ident(column),
            self.from()
        );
        Ok((sql, 2))
    }
}

#[cfg(test)]
mod tests;
