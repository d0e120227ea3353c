//! The survey: what the database consists of, read from pg_catalog into `catalog` types.

use std::collections::HashMap;

use tokio_postgres::{Client, Row};

use super::PgError;
use super::timescale::{self, Surveyed};
use super::types::TypeBook;
use crate::base::TableName;
use crate::catalog::timescale::EXTENSION;
use crate::catalog::{Column, Generated, LargeObjects, Relation, RelationKind, Sequence, SourceFacts};

/// Sequences read in one statement.
const SEQUENCE_BATCH: usize = 200;

/// Runs one of the survey's statements.
pub(super) async fn rows(client: &Client, what: &str, sql: &str) -> Result<Vec<Row>, PgError> {
    client.query(sql, &[]).await.map_err(|error| PgError::query(format!("reading {what}"), error))
}

/// What users have in a database.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Every relation with its columns, ordered by name. Chunks are part of their hypertable, and an aggregate's
    /// materialised rows go by the name of its view.
    pub relations: Vec<Relation>,
    /// TimescaleDB, where it is installed.
    pub timescale: Option<Surveyed>,
}

/// Reads everything; wants a transaction with one snapshot. The sizes of `measured` are exact, those of others estimates.
pub(super) async fn survey(client: &Client, measured: &[u32]) -> Result<Survey, PgError> {
    let timescale = timescale::survey(client).await?;
    let mut relations = relations(client, measured, timescale.as_ref()).await?;
    if let Some(found) = &timescale {
        relations.retain(|relation| relation.extension.as_deref() != Some(EXTENSION));
        for relation in &mut relations {
            relation.hypertable = found.hypertables.get(&relation.oid).copied();
            if let Some(view) = found.views.get(&relation.oid) {
                relation.stored_in = Some(std::mem::replace(&mut relation.name, view.clone()));
            }
        }
        relations.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(Survey { relations, timescale })
}

async fn relations(
    client: &Client,
    measured: &[u32],
    timescale: Option<&Surveyed>,
) -> Result<Vec<Relation>, PgError> {
    let hidden = timescale.map(|found| found.hidden.as_slice()).unwrap_or_default();
    let types = TypeBook::read(client).await?;
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    let failed = |error| PgError::query("reading the columns", error);
    for row in client.query(include_str!("sql/columns.sql"), &[&hidden]).await.map_err(failed)? {
        columns.entry(row.get(0)).or_default().push(column(&row, &types));
    }
    client
        .query(include_str!("sql/relations.sql"), &[&measured, &hidden])
        .await
        .map_err(|error| PgError::query("reading the relations", error))?
        .iter()
        .map(|row| relation(row, columns.remove(&row.get::<_, u32>(0)).unwrap_or_default()))
        .collect()
}

fn column(row: &Row, types: &TypeBook) -> Column {
    let oid: u32 = row.get("atttypid");
    let letter = |name: &str| row.get::<_, String>(name).chars().next();
    Column {
        attnum: row.get("attnum"),
        name: row.get("attname"),
        type_sql: row.get("type_sql"),
        pg_type: types.resolve(oid),
        typmod: row.get("atttypmod"),
        dimensions: row.get("attndims"),
        not_null: row.get("attnotnull"),
        generated: match letter("attgenerated") {
            Some('s') => Some(Generated::Stored),
            Some('v') => Some(Generated::Virtual),
            _ => None,
        },
        identity: letter("attidentity"),
        collation: row.get("collation"),
        text: types.text(oid),
    }
}

fn relation(row: &Row, columns: Vec<Column>) -> Result<Relation, PgError> {
    let kind = match row.get::<_, String>("relkind").as_str() {
        "r" => RelationKind::Table,
        "p" => RelationKind::Partitioned,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => return Err(PgError::Unexpected("a relation of a kind that was not asked for")),
    };
    let parent: Option<String> = row.get("parent_schema");
    let strategy: Option<String> = row.get("partstrat");
    let size = |name: &str| u64::try_from(row.get::<_, i64>(name)).unwrap_or(0);
    Ok(Relation {
        oid: row.get("oid"),
        name: TableName::new(row.get::<_, String>("nspname"), row.get::<_, String>("relname")),
        kind,
        owner: row.get("owner"),
        unlogged: row.get::<_, String>("relpersistence") == "u",
        partition_of: parent.map(|schema| TableName::new(schema, row.get::<_, String>("parent_name"))),
        partition_strategy: strategy.and_then(|text| text.chars().next()),
        access_method: row.get("amname"),
        pages: size("pages"),
        toast_bytes: size("toast"),
        estimated_rows: row.get("tuples"),
        filenode: row.get("filenode"),
        rewritten: row.get("rewritten"),
        readable: row.get("readable"),
        row_security: row.get("secured"),
        extension: row.get("extname"),
        extension_condition: row.get("condition"),
        columns,
        primary_key: row.get("primary_key"),
        populated: row.get("relispopulated"),
        hypertable: None,
        stored_in: None,
    })
}

/// Server and database.
pub(super) async fn source_facts(client: &Client) -> Result<SourceFacts, PgError> {
    let found = rows(client, "the database's properties", include_str!("sql/source.sql")).await?;
    let row = found.first().ok_or(PgError::Unexpected("the current database is not in pg_database"))?;
    let extensions = rows(
        client,
        "the extensions",
        "SELECT e.extname, e.extversion, n.nspname FROM pg_catalog.pg_extension e \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1",
    )
    .await?;
    let statements = rows(client, "the database's settings", include_str!("sql/database.sql")).await?;
    Ok(SourceFacts {
        system_identifier: system_identifier(client).await?,
        server_version_num: u32::try_from(row.get::<_, i32>("version_num")).unwrap_or(0),
        server_version: row.get("version"),
        database: row.get("datname"),
        database_oid: row.get("oid"),
        encoding: row.get("encoding"),
        collate: row.get("collate"),
        ctype: row.get("ctype"),
        locale_provider: row.get::<_, String>("provider").chars().next().unwrap_or('c'),
        locale: row.get("locale"),
        owner: row.get("owner"),
        in_recovery: row.get("in_recovery"),
        role: row.get("role"),
        superuser: row.get("superuser"),
        extensions: extensions.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
        lc_monetary: row.get("lc_monetary"),
        money_fraction: u8::try_from(row.get::<_, i32>("money_fraction")).unwrap_or(2),
        database_statements: statements.iter().map(|row| row.get(0)).collect(),
    })
}

/// The cluster's identity; `None` where the role may not ask.
pub(super) async fn system_identifier(client: &Client) -> Result<Option<String>, PgError> {
    let permitted = rows(
        client,
        "a privilege",
        "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')",
    )
    .await?
    .first()
    .is_some_and(|row| row.get(0));
    if !permitted {
        return Ok(None);
    }
    let sql = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";
    Ok(rows(client, "the system identifier", sql).await?.first().map(|row| row.get(0)))
}

/// Every sequence and where it stands. To be called after the snapshot has been taken: sequences are outside MVCC, and
/// one read earlier could fall behind the rows.
pub(super) async fn sequences(client: &Client) -> Result<Vec<(Sequence, bool)>, PgError> {
    let mut all = Vec::new();
    for row in rows(client, "the sequences", include_str!("sql/sequences.sql")).await? {
        let owner: Option<String> = row.get("owner_schema");
        let sequence = Sequence {
            name: TableName::new(row.get::<_, String>("nspname"), row.get::<_, String>("relname")),
            last_value: String::new(),
            is_called: false,
            owned_by: owner.map(|schema| TableName::new(schema, row.get::<_, String>("owner_name"))),
            ascending: row.get("ascending"),
        };
        all.push((sequence, row.get("readable")));
    }
    let mut readable: Vec<&mut Sequence> =
        all.iter_mut().filter(|(_, readable)| *readable).map(|(sequence, _)| sequence).collect();
    for batch in readable.chunks_mut(SEQUENCE_BATCH) {
        let one = |(number, sequence): (usize, &&mut Sequence)| {
            format!("SELECT {number}::int4, last_value::text, is_called FROM {}", sequence.name.sql())
        };
        let sql: Vec<String> = batch.iter().enumerate().map(one).collect();
        let doing = match &*batch {
            [one] => format!("the sequence {}", one.name),
            several => format!("{} sequences", several.len()),
        };
        for row in rows(client, &doing, &sql.join(" UNION ALL ")).await? {
            let number = usize::try_from(row.get::<_, i32>(0)).ok().and_then(|number| batch.get_mut(number));
            let Some(sequence) = number else {
                return Err(PgError::Unexpected("a sequence nobody asked for"));
            };
            (sequence.last_value, sequence.is_called) = (row.get(1), row.get(2));
        }
        if batch.iter().any(|sequence| sequence.last_value.is_empty()) {
            return Err(PgError::Unexpected("a sequence has no row"));
        }
    }
    Ok(all)
}

/// Large objects, without their bytes.
pub(super) async fn large_objects(client: &Client) -> Result<LargeObjects, PgError> {
    let count =
        rows(client, "the large objects", "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata").await?;
    let statements = rows(client, "the large objects", include_str!("sql/large_objects.sql")).await?;
    Ok(LargeObjects {
        count: count.first().map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)),
        statements: statements.iter().map(|row| row.get(0)).collect(),
    })
}
