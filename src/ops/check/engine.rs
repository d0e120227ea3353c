//! [`Engine`]: who answers checks: PostgreSQL inside one snapshot, or DataFusion on the files of a backup.

use super::history::History;
use super::{CheckTarget, EngineKind};
use crate::base::{Timestamp, chain, quote_literal};
use crate::catalog::Relation;
use crate::catalog::structure::Structure;
use crate::checks::structure::Witness;
use crate::checks::{Candidate, Dialect, MappedRole, Mapping, Postgres, Session, SessionSql};
use crate::manifest::Link;
use crate::ops::OpsError;
use crate::pg::Probe;
use crate::pg::workbench::TextTable;

/// What is known before the first question.
pub(super) struct Ground {
    pub(super) database: String,
    pub(super) backup: Option<Link>,
    /// Name and version of the engine.
    pub(super) engine: String,
    pub(super) snapshot_time: Timestamp,
    /// What could play a role.
    pub(super) tables: Vec<Candidate>,
    /// What a server has; nothing where there is none.
    pub(super) relations: Vec<Relation>,
    /// The backup before this one.
    pub(super) earlier: Option<Earlier>,
    /// Its manifest and those before it; a database has none.
    pub(super) history: Option<History>,
}

/// The backup before the one that is checked.
pub(super) struct Earlier {
    pub(super) snapshot_time: Timestamp,
    pub(super) tables: Vec<Candidate>,
}

impl Earlier {
    /// A role of the earlier backup, its table under the name that it has beside the later one's.
    pub(super) fn renamed(&self, mut role: MappedRole) -> MappedRole {
        role.table.schema = format!("{EARLIER}{}", role.table.schema);
        role
    }
}

/// What the names of the earlier backup's schemas begin with.
pub(super) const EARLIER: &str = "previous:";

/// Why a question has no answer.
pub(super) enum Refusal {
    /// The question was wrong for this database; others may be right.
    Check(String),
    /// Nobody is there to answer any more.
    Run(OpsError),
}

impl From<OpsError> for Refusal {
    fn from(error: OpsError) -> Self {
        Self::Run(error)
    }
}

/// Who answers.
pub(super) enum Engine {
    Postgres(Box<Probe>),
    #[cfg(feature = "query")]
    Backup(Box<super::backup::Backup>),
}

impl Engine {
    pub(super) async fn open(target: &CheckTarget) -> Result<(Self, Ground), OpsError> {
        match target {
            CheckTarget::Database(settings) => {
                let probe = Probe::connect(settings).await?;
                let (facts, snapshot_time) = (probe.facts().await?, probe.time().await?);
                let survey = probe.survey().await?;
                let ground = Ground {
                    database: facts.database,
                    backup: None,
                    engine: format!("PostgreSQL {}", facts.server_version),
                    snapshot_time,
                    tables: survey.relations.iter().filter_map(Candidate::of).collect(),
                    relations: survey.relations,
                    earlier: None,
                    history: None,
                };
                Ok((Self::Postgres(Box::new(probe)), ground))
            }
            #[cfg(feature = "query")]
            CheckTarget::Backup(vault, choice) => {
                let (backup, ground) = super::backup::Backup::open(vault, choice)?;
                Ok((Self::Backup(Box::new(backup)), ground))
            }
            #[cfg(not(feature = "query"))]
            CheckTarget::Backup(..) => Err(OpsError::Usage(
                "this barkeep was built without the feature `query`, which reads backups; restore it and use --db"
                    .to_owned(),
            )),
        }
    }

    /// Learns what it has to know about the columns in use, and how long one question may take, as PostgreSQL spells it.
    pub(super) async fn prepare(&mut self, mapping: &Mapping, timeout: Option<&str>) -> Result<(), OpsError> {
        match self {
            Self::Postgres(probe) => {
                if let Some(timeout) = timeout {
                    let sql = format!("SET LOCAL statement_timeout = {}", quote_literal(timeout));
                    probe.ask("setting the timeout of checks", &sql).await?;
                }
            }
            #[cfg(feature = "query")]
            Self::Backup(backup) => backup.prepare(mapping, timeout).await?,
        }
        #[cfg(not(feature = "query"))]
        let _ = mapping;
        Ok(())
    }

    pub(super) fn kind(&self) -> EngineKind {
        match self {
            Self::Postgres(_) => EngineKind::Database,
            #[cfg(feature = "query")]
            Self::Backup(_) => EngineKind::Backup,
        }
    }

    pub(super) fn dialect(&self) -> &dyn Dialect {
        match self {
            Self::Postgres(_) => &Postgres,
            #[cfg(feature = "query")]
            Self::Backup(backup) => backup.dialect(),
        }
    }

    /// Sessions, as it can be asked to join with them.
    pub(super) fn sessions(&self, sessions: &[Session]) -> Result<SessionSql, OpsError> {
        match self {
            Self::Postgres(_) => Ok(SessionSql::of(sessions)),
            #[cfg(feature = "query")]
            Self::Backup(backup) => Ok(backup.sessions(sessions)?),
        }
    }

    /// The constraints that it knows of.
    pub(super) async fn structure(&self, relations: &[Relation]) -> Result<Structure, OpsError> {
        match self {
            Self::Postgres(probe) => Ok(probe.structure(relations).await?),
            #[cfg(feature = "query")]
            Self::Backup(backup) => backup.structure(),
        }
    }

    /// Who is asked about constraints.
    pub(super) fn witness(&self) -> Witness<'_> {
        match self {
            Self::Postgres(_) => Witness::Postgres,
            #[cfg(feature = "query")]
            Self::Backup(backup) => Witness::Files(backup.files()),
        }
    }

    /// Changes settings of a server's transaction; files have none.
    pub(super) async fn set(&self, doing: &str, sql: &str) -> Result<(), OpsError> {
        if let Self::Postgres(probe) = self {
            probe.ask(doing, sql).await?;
        }
        Ok(())
    }

    pub(super) async fn ask(&self, doing: &str, sql: &str) -> Result<TextTable, Refusal> {
        match self {
            Self::Postgres(probe) => ask_server(probe, doing, sql).await,
            #[cfg(feature = "query")]
            Self::Backup(backup) => backup.ask(sql).await,
        }
    }
}

/// Asks under a savepoint: what the server refuses must not end the snapshot.
async fn ask_server(probe: &Probe, doing: &str, sql: &str) -> Result<TextTable, Refusal> {
    let lost = |error| Refusal::Run(OpsError::Pg(error));
    probe.mark().await.map_err(lost)?;
    match probe.ask(doing, sql).await {
        Ok(table) => Ok(table),
        Err(error) if error.is_connection_lost() => Err(lost(error)),
        Err(error) => {
            probe.back().await.map_err(lost)?;
            Err(Refusal::Check(chain(&error)))
        }
    }
}
