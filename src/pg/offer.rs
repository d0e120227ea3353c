//! What a target offers of TimescaleDB: whether it is there or could be, which edition, and what its functions take.
//!
//! Where the extension is available but not installed, nothing but an attempt says which edition it is: it is created in
//! a transaction that is rolled back. It only looks; what to make of the answer is decided in `ops`.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::connect::{Session, open_pinned};
use super::target::Target;
use super::workbench::Workbench;
use super::{ConnectionSettings, PgError};
use crate::base::{TableName, quote_literal};
use crate::plan::timescale::calls::Functions;

/// The name of the probe's schema, and the beginning of the probe's database; neither outlives it.
const PROBE: &str = "barkeep_probe";

/// What the server can do with hypertables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// `extversion`.
    pub version: String,
    /// The schema that it is installed in; `None` where it still has to be.
    pub installed: Option<String>,
    /// Everything, not only what stands under the Apache licence.
    pub full: bool,
    /// `timescaledb.restoring` is on: writes would go where nobody reads them.
    pub restoring: bool,
    /// Its functions.
    pub functions: Functions,
    /// Hypertables that are there.
    pub hypertables: BTreeSet<TableName>,
    /// Views of aggregates that are there.
    pub aggregates: BTreeSet<TableName>,
}

/// Why a server offers nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoOffer {
    /// The extension's files are not there.
    NotAvailable,
    /// It is available, and would not run: the library has to be loaded when the server starts.
    NotPreloaded,
    /// The role may not create it.
    NotPermitted(String),
}

impl std::fmt::Display for NoOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAvailable => f.write_str("the server has no TimescaleDB"),
            Self::NotPreloaded => {
                f.write_str("the server has TimescaleDB, but not in shared_preload_libraries")
            }
            Self::NotPermitted(role) => write!(f, "the role {role} may not create the extension timescaledb"),
        }
    }
}

const AVAILABLE: &str = "SELECT pg_catalog.current_setting('timescaledb.max_background_workers', true) IS NOT NULL, \
     current_user::text FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb'";

const INSTALLED: &str = "SELECT e.extversion::text, n.nspname::text FROM pg_catalog.pg_extension e \
     JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'";

const SETTINGS: &str = "SELECT pg_catalog.current_setting('timescaledb.license', true), \
     pg_catalog.current_setting('timescaledb.restoring', true), \
     CASE WHEN pg_catalog.to_regproc('_timescaledb_functions.create_chunk') IS NULL \
          THEN '_timescaledb_internal' ELSE '_timescaledb_functions' END";

const HYPERTABLES: &str = "SELECT hypertable_schema::text, hypertable_name::text, false \
     FROM timescaledb_information.hypertables \
     UNION ALL SELECT view_schema::text, view_name::text, true FROM timescaledb_information.continuous_aggregates";

impl Target {
    /// What this database offers. Where the extension would have to be created, on a connection of its own: a session
    /// that has loaded its library cannot create it any more.
    pub async fn timescale(&self) -> Result<Result<Offer, NoOffer>, PgError> {
        let probe = open_pinned(self.settings(), "barkeep").await?;
        of(&probe).await
    }

    /// Hypertables that are there; none without TimescaleDB.
    pub async fn hypertables(&self) -> Result<BTreeSet<TableName>, PgError> {
        let there = "SELECT pg_catalog.to_regclass('timescaledb_information.hypertables') IS NOT NULL";
        if !self.client().query_one(there, &[]).await.map_err(doing)?.get::<_, bool>(0) {
            return Ok(BTreeSet::new());
        }
        let sql =
            "SELECT hypertable_schema::text, hypertable_name::text FROM timescaledb_information.hypertables";
        let rows = self.client().query(sql, &[]).await.map_err(doing)?;
        Ok(rows.iter().map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect())
    }

    /// Views of aggregates that are there, with the hypertables that hold their rows.
    pub async fn materialisations(&self) -> Result<BTreeMap<TableName, TableName>, PgError> {
        materialisations(self.client()).await
    }

    /// The same of a database that is still to be made on this server. Where the role may not even try in the database
    /// it is connected to, and `may_create`, in one that exists for a moment.
    pub async fn timescale_of_new(&self, may_create: bool) -> Result<Result<Offer, NoOffer>, PgError> {
        let here = self.timescale().await?;
        if !matches!(here, Err(NoOffer::NotPermitted(_))) || !may_create {
            return Ok(here.map(Offer::elsewhere));
        }
        let name = format!("{PROBE}_{}", std::process::id());
        let bench = Workbench::connect(self.settings()).await?;
        bench.create_database(&name).await?;
        let found = in_database(&self.settings().with_database(&name)).await;
        bench.drop_database(&name).await?;
        Ok(found?.map(Offer::elsewhere))
    }
}

impl Offer {
    /// What is installed in one database is not in another.
    fn elsewhere(self) -> Self {
        Self { installed: None, hypertables: BTreeSet::new(), aggregates: BTreeSet::new(), ..self }
    }
}

async fn in_database(settings: &ConnectionSettings) -> Result<Result<Offer, NoOffer>, PgError> {
    let probe = open_pinned(settings, "barkeep").await?;
    of(&probe).await
}

/// Views of aggregates that are there, with the hypertables that hold their rows; none without TimescaleDB.
pub(super) async fn materialisations(client: &Client) -> Result<BTreeMap<TableName, TableName>, PgError> {
    let there = "SELECT pg_catalog.to_regclass('timescaledb_information.continuous_aggregates') IS NOT NULL";
    if !client.query_one(there, &[]).await.map_err(doing)?.get::<_, bool>(0) {
        return Ok(BTreeMap::new());
    }
    let sql = "SELECT view_schema::text, view_name::text, materialization_hypertable_schema::text, \
               materialization_hypertable_name::text FROM timescaledb_information.continuous_aggregates";
    let rows = client.query(sql, &[]).await.map_err(doing)?;
    let name = |row: &tokio_postgres::Row, at: usize| {
        TableName::new(row.get::<_, String>(at), row.get::<_, String>(at + 1))
    };
    Ok(rows.iter().map(|row| (name(row, 0), name(row, 2))).collect())
}

fn doing(error: tokio_postgres::Error) -> PgError {
    PgError::query("looking for TimescaleDB", error)
}

async fn of(probe: &Session) -> Result<Result<Offer, NoOffer>, PgError> {
    if let Some(row) = probe.query_opt(INSTALLED, &[]).await.map_err(doing)? {
        let (version, schema): (String, String) = (row.get(0), row.get(1));
        let mut offer = look(probe, version, &schema).await?;
        offer.installed = Some(schema);
        for row in probe.query(HYPERTABLES, &[]).await.map_err(doing)? {
            let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            let is_aggregate: bool = row.get(2);
            if is_aggregate { &mut offer.aggregates } else { &mut offer.hypertables }.insert(name);
        }
        return Ok(Ok(offer));
    }
    let Some(row) = probe.query_opt(AVAILABLE, &[]).await.map_err(doing)? else {
        return Ok(Err(NoOffer::NotAvailable));
    };
    let (preloaded, role): (bool, String) = (row.get(0), row.get(1));
    if !preloaded {
        return Ok(Err(NoOffer::NotPreloaded));
    }
    let create = format!("BEGIN; CREATE SCHEMA {PROBE}; CREATE EXTENSION timescaledb SCHEMA {PROBE}");
    if let Err(error) = probe.batch_execute(&create).await {
        return match error.code().map(|code| code.code()) {
            Some("42501" | "25006") => Ok(Err(NoOffer::NotPermitted(role))),
            _ => Err(PgError::query("trying to create the extension timescaledb", error)),
        };
    }
    let row = probe.query_one(INSTALLED, &[]).await.map_err(doing)?;
    let offer = look(probe, row.get(0), PROBE).await?;
    probe.batch_execute("ROLLBACK").await.map_err(doing)?;
    Ok(Ok(offer))
}

async fn look(probe: &Client, version: String, schema: &str) -> Result<Offer, PgError> {
    let row = probe.query_one(SETTINGS, &[]).await.map_err(doing)?;
    let setting = |at: usize| row.get::<_, Option<String>>(at);
    let arguments = arguments(probe, schema).await?;
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let numbers = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let functions =
        Functions { schema: schema.to_owned(), internal: row.get(2), arguments, version: numbers };
    Ok(Offer {
        version,
        full: setting(0).as_deref() == Some("timescale"),
        restoring: setting(1).as_deref() == Some("on"),
        functions,
        ..Offer::default()
    })
}

async fn arguments(probe: &Client, schema: &str) -> Result<BTreeMap<String, BTreeSet<String>>, PgError> {
    let sql = format!(
        "SELECT p.proname::text, p.proargnames FROM pg_catalog.pg_proc p \
         WHERE p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {}) \
           AND p.proargnames IS NOT NULL AND (p.proname ~ '^add_.*policy$' OR p.proname IN ('add_job', 'alter_job'))",
        quote_literal(schema)
    );
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in probe.query(&sql, &[]).await.map_err(doing)? {
        all.entry(row.get(0)).or_default().extend(row.get::<_, Vec<String>>(1));
    }
    Ok(all)
}
