//! Constraints that the restored rows violate. That is damage in the source, found: it is reported, and the restore
//! goes on.
//!
//! A foreign key or a check is added `NOT VALID` and the rows that break it are counted; a key that has duplicates
//! cannot exist and is left out.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::SimpleQueryMessage::Row;

use super::{Run, SchemaError, begin, commit};
use crate::base::{TableName, quote_ident, quote_literal};
use crate::catalog::ddl::SchemaEntry;
use crate::plan::ddl::{ast, statements, subject};

/// What kind of rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationKind {
    /// Rows refer to rows that do not exist.
    ForeignKey,
    /// Rows do not satisfy a check.
    Check,
    /// Rows have the same key.
    Unique,
    /// Rows exclude each other.
    Exclusion,
    /// Rows have no value in a column of a primary key.
    NotNull,
}

impl ViolationKind {
    /// What an error in making this entry says about the rows; `None` if it says nothing about them.
    pub(super) fn of(entry: &SchemaEntry, sqlstate: Option<&str>) -> Option<Self> {
        if !matches!(&*entry.kind, "FK CONSTRAINT" | "CHECK CONSTRAINT" | "CONSTRAINT" | "INDEX") {
            return None;
        }
        match sqlstate? {
            "23503" => Some(Self::ForeignKey),
            "23514" => Some(Self::Check),
            "23505" => Some(Self::Unique),
            "23P01" => Some(Self::Exclusion),
            "23502" => Some(Self::NotNull),
            _ => None,
        }
    }
}

/// What became of the constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is there, `NOT VALID`: new rows must satisfy it.
    NotValid,
    /// It is not there.
    LeftOut,
}

/// One constraint that the rows violate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The constraint, as in [`SchemaEntry::label`].
    pub constraint: String,
    /// The table whose rows break it.
    pub table: Option<TableName>,
    /// The kind of rule.
    pub kind: ViolationKind,
    /// What became of the constraint.
    pub fate: Fate,
    /// Rows that break it (for a key: key values that occur more than once), where they could be counted.
    pub rows: Option<u64>,
    /// The columns of up to 20 such rows, as JSON objects; or the server's own example.
    pub sample: Vec<String>,
    /// Other objects that could not be made without it.
    #[serde(default)]
    pub lost: Vec<String>,
}

/// Rows shown of one violation.
const SAMPLE: usize = 20;

/// Adds the constraint `NOT VALID` if that is possible, and says which rows break it.
pub(super) async fn settle(
    run: &Run<'_>,
    client: &Client,
    entry: &SchemaEntry,
    kind: ViolationKind,
    key: &str,
    error: &SchemaError,
) -> Result<Violation, SchemaError> {
    let mut violation = Violation {
        constraint: entry.label(),
        table: subject(entry),
        kind,
        fate: Fate::LeftOut,
        rows: None,
        sample: Vec::new(),
        lost: Vec::new(),
    };
    begin(client).await?;
    if matches!(kind, ViolationKind::ForeignKey | ViolationKind::Check)
        && let Some(table) = violation.table.clone()
        && client.batch_execute(&not_valid(run, entry)).await.is_ok()
    {
        violation.fate = Fate::NotValid;
        let name = entry.name.strip_prefix(&format!("{} ", table.name)).unwrap_or(&entry.name);
        if let Some(query) = offenders(client, &table, name).await {
            measure(client, &query, &mut violation).await;
        }
        let record = run.journal.record(key, Some(&violation)).unwrap_or_default();
        client.batch_execute(&record).await.map_err(|error| SchemaError::new(&entry.label(), error))?;
        commit(client).await?;
        return Ok(violation);
    }
    super::rollback(client, entry).await?;
    if let (ViolationKind::Unique, Some(query)) = (kind, duplicates(entry)) {
        begin(client).await?;
        measure(client, &query, &mut violation).await;
        super::rollback(client, entry).await?;
    }
    if let (true, SchemaError::Statement { detail: Some(detail), .. }) = (violation.sample.is_empty(), error)
    {
        violation.sample.push(detail.clone());
    }
    if let Some(record) = run.journal.record(key, Some(&violation)) {
        client.batch_execute(&record).await.map_err(|error| SchemaError::new(&entry.label(), error))?;
    }
    Ok(violation)
}

/// The entry's statements, the one that adds the constraint with `NOT VALID` behind it.
fn not_valid(run: &Run<'_>, entry: &SchemaEntry) -> String {
    let statements = statements(entry, run.options).statements;
    let marked = statements.iter().enumerate().map(|(i, statement)| match i {
        0 => format!("{} NOT VALID;\n", statement.sql),
        _ => format!("{};\n", statement.sql),
    });
    marked.collect()
}

/// Counts the rows of a query and takes a sample. Within a savepoint: a query that fails costs the numbers, no more.
async fn measure(client: &Client, query: &str, violation: &mut Violation) {
    if client.batch_execute("SAVEPOINT measure").await.is_err() {
        return;
    }
    violation.rows = first_column(client, &format!("SELECT count(*) FROM ({query}) v"))
        .await
        .first()
        .and_then(|n| n.parse().ok());
    let sample = format!("SELECT row_to_json(v)::text FROM ({query}) v LIMIT {SAMPLE}");
    violation.sample = first_column(client, &sample).await;
    let _ = client.batch_execute("ROLLBACK TO SAVEPOINT measure").await;
}

async fn first_column(client: &Client, query: &str) -> Vec<String> {
    let answer = client.simple_query(query).await.unwrap_or_default();
    let rows = answer.iter().filter_map(|message| match message {
        Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    rows.collect()
}

/// The query for the rows that break a foreign key or a check that is in the catalog now.
async fn offenders(client: &Client, table: &TableName, constraint: &str) -> Option<String> {
    let query = include_str!("offenders.sql")
        .replace("{table}", &quote_literal(&table.sql()))
        .replace("{constraint}", &quote_literal(constraint));
    first_column(client, &query).await.into_iter().next()
}

/// The query for key values that occur more than once, for a key over plain columns.
fn duplicates(entry: &SchemaEntry) -> Option<String> {
    let table = subject(entry)?;
    let tree = ast::trees(&entry.definition)?;
    let mut columns: Vec<String> = Vec::new();
    ast::walk(&tree, &mut |kind, fields| {
        if kind == "Constraint" && columns.is_empty() {
            let keys = fields.get("keys").and_then(serde_json::Value::as_array);
            columns.extend(keys.into_iter().flatten().filter_map(ast::string).map(quote_ident));
        }
    });
    if columns.is_empty() {
        return None;
    }
    let (list, present) = (columns.join(", "), columns.join(" IS NOT NULL AND "));
    Some(format!(
        "SELECT {list}, count(*) AS rows FROM {} WHERE {present} IS NOT NULL GROUP BY {list} HAVING count(*) > 1",
        table.sql()
    ))
}
