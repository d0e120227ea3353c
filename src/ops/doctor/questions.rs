//! What the doctor asks a server, and the answers as plain values. Judgement is the parent's.

use crate::pg::PgError;
use crate::pg::workbench::{TextRow, Workbench};

/// Facts about server and role.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    pub(super) version_num: u32,
    pub(super) version: String,
    pub(super) in_recovery: bool,
    pub(super) role: String,
    pub(super) superuser: bool,
    pub(super) owner: bool,
    pub(super) max_locks: u64,
    pub(super) max_connections: u64,
    pub(super) unix_micros: i64,
}

/// Facts about the tables a dump would read.
#[derive(Debug, Clone, Default)]
pub(super) struct Relations {
    pub(super) count: usize,
    pub(super) unreadable: Vec<String>,
    pub(super) row_security: Vec<String>,
}

/// Whether the startup options of this connection reached the session that answers; a pooler drops them.
pub(super) async fn is_direct(bench: &Workbench) -> Result<bool, PgError> {
    let sql = "SELECT pg_catalog.current_setting('barkeep.direct', true)";
    Ok(bench.value("looking for a pooler", sql).await?.as_deref() == Some("yes"))
}

const SERVER: &str = "SELECT pg_catalog.current_setting('server_version_num'), \
     pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery(), current_user, r.rolsuper, \
     pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.current_setting('max_locks_per_transaction'), \
     pg_catalog.current_setting('max_connections')::int + pg_catalog.current_setting('max_prepared_transactions')::int, \
     (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint \
     FROM pg_catalog.pg_database d, pg_catalog.pg_roles r \
     WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user";

/// The tables that are the user's: not a catalog's, not a session's own.
const RELATIONS: &str = "SELECT n.nspname, c.relname, \
     pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
     c.relrowsecurity AND pg_catalog.row_security_active(c.oid) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' \
     AND n.nspname NOT LIKE 'pg\\_%' \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         AND e.objid = c.oid AND e.deptype = 'e') \
     ORDER BY 1, 2";

pub(super) async fn server(bench: &Workbench) -> Result<Server, PgError> {
    let rows = bench.rows("asking for the server's settings", SERVER).await?;
    let row = rows.first().ok_or(PgError::Unexpected("the role or database is not in the catalog"))?;
    Ok(Server {
        version_num: number(row, 0)?,
        version: text(row, 1).to_owned(),
        in_recovery: text(row, 2) == "t",
        role: text(row, 3).to_owned(),
        superuser: text(row, 4) == "t",
        owner: text(row, 5) == "t",
        max_locks: number(row, 6)?,
        max_connections: number(row, 7)?,
        unix_micros: number(row, 8)?,
    })
}

pub(super) async fn relations(bench: &Workbench) -> Result<Relations, PgError> {
    let mut relations = Relations::default();
    for row in bench.rows("asking for the tables", RELATIONS).await? {
        let name = crate::base::TableName::new(text(&row, 0), text(&row, 1)).to_string();
        // Chunks have to be readable too, but are locked one at a time.
        relations.count += usize::from(text(&row, 0) != "_timescaledb_internal");
        if text(&row, 2) != "t" {
            relations.unreadable.push(name.clone());
        }
        if text(&row, 3) == "t" {
            relations.row_security.push(name);
        }
    }
    Ok(relations)
}

fn text(row: &TextRow, column: usize) -> &str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

fn number<T: std::str::FromStr>(row: &TextRow, column: usize) -> Result<T, PgError> {
    text(row, column)
        .parse()
        .map_err(|_| PgError::Unexpected("a number in the server's settings is not a number"))
}
