//! [`Target`]: a database that rows go into: what it is, what is in it already, and what its server could offer.
//!
//! It only reads. What to make of the answers (refuse, resume, append) is decided in `ops`.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use super::connect::{Session, open_pinned, server_version};
use super::{ConnectionSettings, PgError, restore_lock};
use crate::base::{TableName, quote_ident};

/// The schema of a restore's own records; never counted as the user's.
pub const OWN_SCHEMA: &str = "barkeep_restore";

/// The name sessions show in `pg_stat_activity`.
const APPLICATION: &str = "barkeep";

/// What the target says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// `pg_control_system().system_identifier`, where the role may know it; clones share it.
    pub system_identifier: Option<String>,
    /// Database name.
    pub database: String,
    /// Database OID.
    pub database_oid: u32,
    /// `server_version_num`.
    pub server_version_num: u32,
    /// `server_encoding`.
    pub encoding: String,
    /// The role that is connected.
    pub role: String,
    /// That role is a superuser.
    pub superuser: bool,
    /// Where the server keeps its files, if the role may know it.
    pub data_directory: Option<String>,
}

/// One column of a table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetColumn {
    /// Name.
    pub name: String,
    /// Type as SQL spells it, under an empty search path.
    pub type_sql: String,
    /// Generated: it takes no value.
    pub generated: bool,
}

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTable {
    /// `relkind`: `r`, `p` or `f`.
    pub kind: char,
    /// Columns in attribute order.
    pub columns: Vec<TargetColumn>,
    /// Columns of the primary key, in key order.
    pub primary_key: Vec<String>,
}

/// A foreign key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The table that refers.
    pub table: TableName,
    /// The table referred to.
    pub references: TableName,
    /// Deleting a row referred to changes or deletes rows of `table`.
    pub cascades: bool,
}

/// A user's trigger that is not disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnabledTrigger {
    /// Its table.
    pub table: TableName,
    /// The statement that disables it.
    pub disable: String,
    /// The statement that puts it back into the mode it was in.
    pub enable: String,
}

/// A database that rows go into.
pub struct Target {
    client: Session,
    settings: ConnectionSettings,
    facts: TargetFacts,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("facts", &self.facts).finish_non_exhaustive()
    }
}

const FACTS: &str = "SELECT current_database()::text, \
     (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()), \
     pg_catalog.current_setting('server_encoding'), current_user::text, \
     (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";

/// What users made: no system schemas, no members of extensions, none of a restore's own records, none of the chunks
/// that TimescaleDB keeps in schemas of its own.
const RELATIONS: &str = "SELECT n.nspname::text, c.relname::text \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^(pg|_timescaledb)_' \
       AND n.nspname NOT IN ('information_schema', 'barkeep_restore') \
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
                       AND d.objid = c.oid AND d.deptype = 'e') \
     ORDER BY 1, 2";

const COLUMNS: &str = "SELECT n.nspname::text, c.relname::text, c.relkind::text, a.attname::text, \
       pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated::text <> '', \
       COALESCE((SELECT array_position(i.indkey::int2[], a.attnum) FROM pg_catalog.pg_index i \
                 WHERE i.indrelid = c.oid AND i.indisprimary), -1) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_(toast|temp)' \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'barkeep_restore') \
       AND (n.nspname !~ '^_timescaledb_' OR c.relname ~ '^_materialized_hypertable_[0-9]+$') \
     ORDER BY 1, 2, a.attnum";

const FOREIGN_KEYS: &str = "SELECT k.conname::text, n.nspname::text, c.relname::text, rn.nspname::text, \
       r.relname::text, k.confdeltype::text IN ('c', 'n', 'd') \
     FROM pg_catalog.pg_constraint k \
     JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
     WHERE k.contype = 'f' ORDER BY 2, 3, 1";

const TRIGGERS: &str = "SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text \
     FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT t.tgisinternal AND t.tgenabled::text <> 'D' AND n.nspname !~ '^_timescaledb_' \
       AND t.tgname NOT IN ('ts_insert_blocker', 'ts_cagg_invalidation_trigger') ORDER BY 1, 2, 3";

impl Target {
    /// Connects, pins the session and asks what this is.
    pub async fn connect(settings: &ConnectionSettings) -> Result<Self, PgError> {
        let client = open_pinned(settings, APPLICATION).await?;
        let server_version_num = server_version(&client).await?;
        let row =
            client.query_one(FACTS, &[]).await.map_err(|e| PgError::query("looking at the target", e))?;
        // Some services do not let anyone see this; then the database's name and OID are all there is.
        let identifier =
            client.query_opt("SELECT system_identifier::text FROM pg_catalog.pg_control_system()", &[]).await;
        // Only rows of settings that the role may see are there.
        let directory = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'";
        let directory = client.query_opt(directory, &[]).await;
        let directory = directory.map_err(|e| PgError::query("looking for the target's folder", e))?;
        let facts = TargetFacts {
            system_identifier: identifier.ok().flatten().map(|row| row.get(0)),
            database: row.get(0),
            database_oid: row.get(1),
            server_version_num,
            encoding: row.get(2),
            role: row.get(3),
            superuser: row.get(4),
            data_directory: directory.map(|row| row.get(0)),
        };
        Ok(Self { client, settings: settings.clone(), facts })
    }

    /// What it said about itself.
    pub fn facts(&self) -> &TargetFacts {
        &self.facts
    }

    /// The first connection, for what is done one at a time.
    pub fn client(&self) -> &Session {
        &self.client
    }

    /// How it is reached.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Another pinned connection, whose commits do not wait for the disk.
    ///
    /// Nothing is lost by that. A restore's first connection does wait, for all commits before its own too: between the
    /// phases, and with the last commit of all, which drops the journal. If the server goes down before that, the first
    /// connection goes with it, so the restore fails; and what was lost is missing in the journal as well, so the next run
    /// does it again.
    pub async fn lane(&self) -> Result<Session, PgError> {
        let session = open_pinned(&self.settings, APPLICATION).await?;
        restore_lock::follow(&session).await?;
        let sql = "SET synchronous_commit = off";
        session.batch_execute(sql).await.map_err(|error| PgError::query(sql, error))?;
        Ok(session)
    }

    async fn rows(&self, doing: &str, sql: &str) -> Result<Vec<Row>, PgError> {
        self.client.query(sql, &[]).await.map_err(|error| PgError::query(doing, error))
    }

    async fn names(&self, doing: &str, sql: &str) -> Result<BTreeSet<String>, PgError> {
        Ok(self.rows(doing, sql).await?.iter().map(|row| row.get(0)).collect())
    }

    /// Tables, views and sequences that users made.
    pub async fn relations(&self) -> Result<BTreeSet<TableName>, PgError> {
        let rows = self.rows("listing what the target has", RELATIONS).await?;
        Ok(rows.iter().map(|row| table_name(row, 0)).collect())
    }

    /// Whether there are large objects.
    pub async fn has_large_objects(&self) -> Result<bool, PgError> {
        let sql = "SELECT FROM pg_catalog.pg_largeobject_metadata LIMIT 1";
        Ok(!self.rows("looking for large objects", sql).await?.is_empty())
    }

    /// Schemas that are there.
    pub async fn schemas(&self) -> Result<BTreeSet<String>, PgError> {
        self.names("listing schemas", "SELECT nspname::text FROM pg_catalog.pg_namespace").await
    }

    /// Extensions that are installed or could be.
    pub async fn available_extensions(&self) -> Result<BTreeSet<String>, PgError> {
        let sql = "SELECT name::text FROM pg_catalog.pg_available_extensions \
                   UNION SELECT extname::text FROM pg_catalog.pg_extension";
        self.names("listing extensions", sql).await
    }

    /// Roles of the server.
    pub async fn roles(&self) -> Result<BTreeSet<String>, PgError> {
        self.names("listing roles", "SELECT rolname::text FROM pg_catalog.pg_roles").await
    }

    /// Databases of the server.
    pub async fn databases(&self) -> Result<BTreeSet<String>, PgError> {
        self.names("listing databases", "SELECT datname::text FROM pg_catalog.pg_database").await
    }

    /// Tables with their columns, those of extensions included; of TimescaleDB's own, those that hold aggregates.
    pub async fn tables(&self) -> Result<BTreeMap<TableName, TargetTable>, PgError> {
        let mut tables: BTreeMap<TableName, TargetTable> = BTreeMap::new();
        let mut keys: BTreeMap<TableName, Vec<(i32, String)>> = BTreeMap::new();
        for row in self.rows("listing columns", COLUMNS).await? {
            let name = table_name(&row, 0);
            let kind = row.get::<_, String>(2).chars().next().unwrap_or('r');
            let table = tables.entry(name.clone()).or_insert_with(|| TargetTable {
                kind,
                columns: Vec::new(),
                primary_key: Vec::new(),
            });
            let Some(column) = row.get::<_, Option<String>>(3) else { continue };
            let position: i32 = row.get(6);
            if position >= 0 {
                keys.entry(name).or_default().push((position, column.clone()));
            }
            table.columns.push(TargetColumn { name: column, type_sql: row.get(4), generated: row.get(5) });
        }
        for (name, mut key) in keys {
            key.sort();
            if let Some(table) = tables.get_mut(&name) {
                table.primary_key = key.into_iter().map(|(_, column)| column).collect();
            }
        }
        Ok(tables)
    }

    /// Foreign keys that are there.
    pub async fn foreign_keys(&self) -> Result<Vec<ForeignKey>, PgError> {
        let rows = self.rows("listing foreign keys", FOREIGN_KEYS).await?;
        let key = |row: &Row| ForeignKey {
            name: row.get(0),
            table: table_name(row, 1),
            references: table_name(row, 3),
            cascades: row.get(5),
        };
        Ok(rows.iter().map(key).collect())
    }

    /// Users' triggers that would fire, or would under some replication role.
    pub async fn enabled_triggers(&self) -> Result<Vec<EnabledTrigger>, PgError> {
        let rows = self.rows("listing triggers", TRIGGERS).await?;
        Ok(rows.iter().map(enabled_trigger).collect())
    }
}

fn table_name(row: &Row, at: usize) -> TableName {
    TableName::new(row.get::<_, String>(at), row.get::<_, String>(at + 1))
}

fn enabled_trigger(row: &Row) -> EnabledTrigger {
    let table = table_name(row, 0);
    let trigger = quote_ident(row.get(2));
    let mode = match row.get(3) {
        "R" => "REPLICA ",
        "A" => "ALWAYS ",
        _ => "",
    };
    EnabledTrigger {
        disable: format!("ALTER TABLE {} DISABLE TRIGGER {trigger}", table.sql()),
        enable: format!("ALTER TABLE {} ENABLE {mode}TRIGGER {trigger}", table.sql()),
        table,
    }
}
