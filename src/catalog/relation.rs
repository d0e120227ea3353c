//! Relations, their columns, sequences, large objects, and the facts about the server they were found on.

use serde::{Deserialize, Serialize};

use super::PgType;
use crate::base::TableName;

/// What kind of relation it is; only kinds that can hold rows of their own, or stand for rows, are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// An ordinary table (also a leaf partition).
    Table,
    /// A partitioned table: no rows of its own.
    Partitioned,
    /// A materialised view: defined, refreshed on restore, not dumped.
    MaterializedView,
    /// A foreign table: its rows live elsewhere.
    Foreign,
}

/// A table or table-like relation as the survey found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// OID on the source.
    pub oid: u32,
    /// Name.
    pub name: TableName,
    /// Kind.
    pub kind: RelationKind,
    /// Owner's role name.
    pub owner: String,
    /// `UNLOGGED`.
    pub unlogged: bool,
    /// The partitioned table of which this is a partition.
    pub partition_of: Option<TableName>,
    /// `partstrat` of a partitioned table: `r`, `l` or `h`.
    pub partition_strategy: Option<char>,
    /// Table access method; only `heap` tables can be split by page ranges.
    pub access_method: Option<String>,
    /// Size of the main fork in pages, now.
    pub pages: u64,
    /// Size of the TOAST table in bytes, now.
    pub toast_bytes: u64,
    /// The planner's row estimate, -1 where unknown.
    pub estimated_rows: i64,
    /// `pg_relation_filenode`, which a TRUNCATE or rewrite changes.
    pub filenode: Option<u32>,
    /// MVCC's catalog and the server's current one disagree about the file: it was rewritten after the snapshot.
    pub rewritten: bool,
    /// The current role may use the schema and SELECT from the table.
    pub readable: bool,
    /// Row security applies to the current role.
    pub row_security: bool,
    /// Member of this extension.
    pub extension: Option<String>,
    /// For an extension's configuration table: the condition under which rows belong to the user (empty: all rows).
    pub extension_condition: Option<String>,
    /// Columns in attribute order, dropped ones left out.
    pub columns: Vec<Column>,
    /// Primary key columns in key order.
    pub primary_key: Vec<String>,
    /// A materialised view that has been populated.
    pub populated: bool,
    /// Its number, where it is a hypertable: its rows lie in chunks.
    pub hypertable: Option<i32>,
    /// The table that holds the rows, where the relation goes by another name: a continuous aggregate goes by its view's.
    pub stored_in: Option<TableName>,
}

impl Relation {
    /// Whether rows are read from it: ordinary tables and leaf partitions.
    pub fn holds_rows(&self) -> bool {
        self.kind == RelationKind::Table
    }

    /// The table to lock and to read from.
    pub fn storage(&self) -> &TableName {
        self.stored_in.as_ref().unwrap_or(&self.name)
    }
}

/// How a column is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generated {
    /// `GENERATED ALWAYS AS (…) STORED`.
    Stored,
    /// `GENERATED ALWAYS AS (…) VIRTUAL` (PostgreSQL 18).
    Virtual,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// `attnum`.
    pub attnum: i16,
    /// Name.
    pub name: String,
    /// The type as SQL would spell it under an empty search path, typmod included.
    pub type_sql: String,
    /// The type resolved.
    pub pg_type: PgType,
    /// `atttypmod`.
    pub typmod: i32,
    /// `attndims`: declared, not enforced.
    pub dimensions: i32,
    /// NOT NULL.
    pub not_null: bool,
    /// Generated columns are derived: written for analysts, outside digest and restore.
    pub generated: Option<Generated>,
    /// Identity: `a`lways or by `d`efault.
    pub identity: Option<char>,
    /// Collation by name where it is not the type's default.
    pub collation: Option<String>,
    /// How the server's own text of this column is had.
    pub text: TextColumn,
}

/// How to make the server print a column through its type's output function.
///
/// A cast to text is not always that: `inet::text` adds the mask, `bool::text` spells it out, `char(n)::text` trims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextColumn {
    /// No cast function to text exists, so `col::text` is the output function.
    Cast,
    /// `textin(outfunc(col))`, the function schema-qualified and quoted.
    Function(String),
}

/// A sequence and where it stood, read after the snapshot so that it is never behind the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Name.
    pub name: TableName,
    /// `last_value`, as text.
    pub last_value: String,
    /// `is_called`.
    pub is_called: bool,
    /// The table it is owned by, if any.
    pub owned_by: Option<TableName>,
    /// 1 or -1: which way it moves.
    pub ascending: bool,
}

/// Large objects as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many.
    pub count: u64,
    /// Statements that give them owner, grants and comment again.
    pub statements: Vec<String>,
}

/// What is worth knowing about the server and database a backup came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// `pg_control_system().system_identifier` as text; clones share it.
    pub system_identifier: Option<String>,
    /// `server_version_num`.
    pub server_version_num: u32,
    /// `server_version`.
    pub server_version: String,
    /// Database name.
    pub database: String,
    /// Database OID.
    pub database_oid: u32,
    /// `server_encoding`.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// `datlocprovider`: `c`, `i` or `b`.
    pub locale_provider: char,
    /// ICU or builtin locale.
    pub locale: Option<String>,
    /// Owner of the database.
    pub owner: String,
    /// A standby.
    pub in_recovery: bool,
    /// The role that read it.
    pub role: String,
    /// That role is a superuser.
    pub superuser: bool,
    /// Extensions as (name, version, schema).
    pub extensions: Vec<(String, String, String)>,
    /// `lc_monetary`, which says what `money` means.
    pub lc_monetary: String,
    /// Digits after the point of `money` under `lc_monetary`.
    pub money_fraction: u8,
    /// Statements that repeat the database's grants, comment and settings; `{database}` stands for its quoted name.
    pub database_statements: Vec<String>,
}
