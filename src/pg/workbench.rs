//! [`Workbench`]: a plain connection for a caller's own statements: the demo, scratch databases, the doctor's questions.
//!
//! It pins nothing, reads no rows for a backup, and knows nothing about either.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::Session;
use super::{ConnectionSettings, PgError, connect};
use crate::base::quote_ident;

/// One row of text, as the simple protocol gives it.
pub type TextRow = Vec<Option<String>>;

/// What a query answers, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<TextRow>,
}

/// Runs one query.
pub(super) async fn text_table(client: &Client, doing: &str, sql: &str) -> Result<TextTable, PgError> {
    let mut table = TextTable::default();
    for message in client.simple_query(sql).await.map_err(|error| PgError::query(doing, error))? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.columns = columns.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                table.rows.push((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect());
            }
            _ => {}
        }
    }
    Ok(table)
}

/// A connection that runs what it is given.
pub struct Workbench {
    client: Session,
}

impl Workbench {
    /// Connects.
    pub async fn connect(settings: &ConnectionSettings) -> Result<Self, PgError> {
        Ok(Self { client: connect::open(settings, "barkeep").await? })
    }

    /// Runs a script: any number of statements, no results. `doing` names it in errors.
    pub async fn run(&self, doing: &str, script: &str) -> Result<(), PgError> {
        self.client.batch_execute(script).await.map_err(|error| PgError::query(doing, error))
    }

    /// The rows of one query, as text.
    pub async fn rows(&self, doing: &str, sql: &str) -> Result<Vec<TextRow>, PgError> {
        Ok(text_table(&self.client, doing, sql).await?.rows)
    }

    /// The first column of the first row, as text.
    pub async fn value(&self, doing: &str, sql: &str) -> Result<Option<String>, PgError> {
        Ok(self.rows(doing, sql).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// The names of all databases.
    pub async fn databases(&self) -> Result<Vec<String>, PgError> {
        let rows = self.rows("listing the databases", "SELECT datname FROM pg_catalog.pg_database").await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Makes an empty database from template0.
    pub async fn create_database(&self, name: &str) -> Result<(), PgError> {
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", quote_ident(name));
        self.run(&format!("creating the database {name}"), &sql).await
    }

    /// Drops a database, and with it every connection to it.
    pub async fn drop_database(&self, name: &str) -> Result<(), PgError> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_ident(name));
        self.run(&format!("dropping the database {name}"), &sql).await
    }
}
