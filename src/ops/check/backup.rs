//! [`Backup`]: the files of a backup answer checks, through DataFusion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::engine::{EARLIER, Earlier, Ground, Refusal};
use super::history::history;
use crate::base::{TableName, Timestamp};
use crate::catalog::structure::Structure;
use crate::checks::drift::REMEMBERED;
use crate::checks::structure::Files;
use crate::checks::{
    Candidate, ColumnSort, DataFusion, Dialect, Kind, Mapping as RoleMapping, Session as TradingSession,
    SessionDay, SessionSql, session_days,
};
use crate::manifest::{Link, Mapping, StoredObject};
use crate::ops::OpsError;
use crate::pg::workbench::TextTable;
use crate::plan::ddl::structure::structure_of;
use crate::query::{Carried, QueryError, Session};
use crate::store::{BackupChoice, Vault};

/// A backup that is asked.
pub(super) struct Backup {
    session: Session,
    dialect: DataFusion,
    timeout: Option<Duration>,
    vault: Vault,
    /// Where its schema lies, unless it was dumped without.
    schema: Option<StoredObject>,
    hypertables: BTreeSet<TableName>,
    files: Files,
}

impl Backup {
    pub(super) fn open(vault: &Vault, choice: &BackupChoice) -> Result<(Self, Ground), OpsError> {
        let sealed = choice.find(vault)?;
        let root = sealed.root;
        let (database, id) = (sealed.manifest.body.source.database.clone(), sealed.manifest.head.id.clone());
        let snapshot_time = sealed.manifest.head.snapshot_time;
        let history = history(vault, sealed.manifest, REMEMBERED)?;
        let manifest = history.now.clone();
        let body = &manifest.body;
        let schema = body.schema.and_then(|index| manifest.head.objects.get(index)).cloned();
        let chunked = body.timescale.iter().flat_map(|known| &known.hypertables);
        let hypertables = chunked.map(|hypertable| hypertable.name.clone()).collect();
        let sequences = body.sequences.clone();
        let mut session = Session::open(vault, manifest)?;
        let files = Files { sequences, comparable: comparable(session.tables_under("")) };
        let mut dialect = DataFusion::default();
        let tables = candidates(session.tables_under(""));
        let before = match history.earlier.first().cloned() {
            Some(earlier) => {
                let snapshot_time = earlier.head.snapshot_time;
                session.add(EARLIER, vault, earlier)?;
                Some(Earlier { snapshot_time, tables: candidates(session.tables_under(EARLIER)) })
            }
            None => None,
        };
        for (name, column) in session.columns().filter(|(_, column)| column.is_text()) {
            dialect.as_text.insert((name.clone(), column.name.clone()));
        }
        let ground = Ground {
            database,
            backup: Some(Link { id, root }),
            engine: format!("DataFusion {}", Session::VERSION),
            snapshot_time,
            tables,
            relations: Vec::new(),
            earlier: before,
            history: Some(history),
        };
        let vault = vault.clone();
        Ok((Self { session, dialect, timeout: None, vault, schema, hypertables, files }, ground))
    }

    /// Learns how many digits the amounts have, and which of the values that checks know are there.
    pub(super) async fn prepare(
        &mut self,
        mapping: &RoleMapping,
        timeout: Option<&str>,
    ) -> Result<(), OpsError> {
        self.timeout = timeout.map(span).transpose()?;
        for role in mapping.roles.values() {
            for column in role.columns.values() {
                if matches!(column.sort, ColumnSort::Decimal | ColumnSort::Money | ColumnSort::Float) {
                    let scale = self.session.scale(&role.table, &column.name).await?;
                    self.dialect.scales.insert((role.table.clone(), column.name.clone()), scale);
                }
            }
            for column in role.values.keys().filter_map(|name| role.columns.get(name)) {
                let text = self.dialect.column(&role.table, column, Kind::Text);
                let values = self.session.few_values(&role.table, &text).await?;
                let place = (role.table.clone(), column.name.clone());
                self.dialect.values.extend(values.map(|values| (place, values)));
            }
        }
        Ok(())
    }

    pub(super) fn dialect(&self) -> &dyn Dialect {
        &self.dialect
    }

    /// Sessions as tables: thousands of literals would be planned anew for each check.
    pub(super) fn sessions(&self, sessions: &[TradingSession]) -> Result<SessionSql, QueryError> {
        let session = |session: &TradingSession| {
            vec![Timestamp::midnight(session.day), Some(session.open), Some(session.close)]
        };
        let day = |SessionDay { utc, session, next_open }: SessionDay<'_>| {
            vec![Timestamp::midnight(utc), Some(session.open), Some(session.close), next_open]
        };
        let columns = ["day", "o", "c"];
        self.session.add_times(CALENDAR, "sessions", &columns, sessions.iter().map(session))?;
        let columns = ["utc", "o", "c", "next_o"];
        self.session.add_times(CALENDAR, "days", &columns, session_days(sessions).map(day))?;
        Ok(SessionSql {
            sessions: format!("(SELECT CAST(day AS date) AS day, o, c FROM \"{CALENDAR}\".sessions)"),
            days: format!("(SELECT utc, o, c, next_o FROM \"{CALENDAR}\".days)"),
        })
    }

    /// The constraints that its schema has.
    pub(super) fn structure(&self) -> Result<Structure, OpsError> {
        let Some(object) = &self.schema else { return Ok(Structure::default()) };
        let bytes = self.vault.read_checked(&object.path, object.bytes, object.blake3)?;
        let dump = serde_json::from_slice(&bytes)
            .map_err(|error| OpsError::Restore(format!("{} cannot be read: {error}", object.path)))?;
        Ok(structure_of(&dump, self.hypertables.clone()))
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) async fn ask(&self, sql: &str) -> Result<TextTable, Refusal> {
        let answer = match self.timeout {
            None => self.session.ask(sql).await,
            Some(limit) => match tokio::time::timeout(limit, self.session.ask(sql)).await {
                Ok(answer) => answer,
                Err(_) => return Err(Refusal::Check(format!("no answer within {} s", limit.as_secs()))),
            },
        };
        match answer {
            Ok(answer) => Ok(TextTable { columns: answer.columns, rows: answer.rows }),
            Err(QueryError::Refused(why)) => Err(Refusal::Check(why)),
            Err(other) => Err(Refusal::Run(other.into())),
        }
    }
}

/// The schema in which sessions lie: a name that nobody gives one.
const CALENDAR: &str = "calendar:";

/// A stretch of time as PostgreSQL spells it.
fn span(text: &str) -> Result<Duration, OpsError> {
    let refused =
        || OpsError::Usage(format!("[checks] timeout = {text:?} is no stretch of time; write \"5min\""));
    let span: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    span.try_into().map_err(|_| refused())
}

/// Columns of which two values are equal in the files if they are to PostgreSQL: not those that are stored as a text that could
/// be another for the same value, and none with an equality of its own.
fn comparable<'a>(
    tables: impl Iterator<Item = (TableName, &'a [Carried])>,
) -> BTreeMap<TableName, BTreeSet<String>> {
    let is_plain = |column: &&Carried| {
        let sort = ColumnSort::of_carried(&column.mapping, &column.type_sql);
        let text = matches!(column.mapping, Mapping::Utf8) && !column.type_sql.contains("citext");
        let plain = matches!(
            sort,
            Some(
                ColumnSort::Integer
                    | ColumnSort::Uuid
                    | ColumnSort::Time
                    | ColumnSort::Flag
                    | ColumnSort::Bytes
            )
        );
        let decimal = matches!(column.mapping, Mapping::Decimal { .. } | Mapping::Money { .. });
        !column.as_text && (plain || text || decimal)
    };
    let of =
        |columns: &'a [Carried]| columns.iter().filter(is_plain).map(|column| column.name.clone()).collect();
    tables.map(|(name, columns)| (name, of(columns))).collect()
}

fn candidates<'a>(tables: impl Iterator<Item = (TableName, &'a [Carried])>) -> Vec<Candidate> {
    let candidate = |(name, columns): (TableName, &'a [Carried])| {
        let columns =
            columns.iter().map(|column| (column.name.as_str(), column.type_sql.as_str(), &column.mapping));
        Candidate::carried(name, columns)
    };
    tables.map(candidate).collect()
}
