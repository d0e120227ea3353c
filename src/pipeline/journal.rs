//! [`RestoreJournal`]: what a restore has done, kept in the target itself and written in the transactions that do it.
//!
//! A step and its row are committed together or not at all, so a killed restore goes on exactly where it stopped. The
//! journal belongs to one backup and one set of options; it does not know what its keys mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_postgres::Client;

use super::schema::{Fate, Journal, Violation};
use crate::base::{BackupId, quote_literal};
use crate::pg::{PgError, restore_lock};

/// The key of the row that holds the options' fingerprint.
const OPTIONS: &str = "options";

/// The key of the row that holds which schema entries were chosen when there was still the target to choose by.
const CHOSEN: &str = "chosen";

/// How long sessions of a restore that was killed may take to notice.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the journal of an earlier restore cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The server.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// Somebody restores into this database right now.
    #[error("another restore is running in this database (server processes {0:?})")]
    Busy(Vec<i32>),
    /// It was another backup.
    #[error(
        "a restore of backup {0} was interrupted in this database; finish that one, or drop the schema \
         barkeep_restore (and what it restored) to begin anew"
    )]
    OtherBackup(String),
    /// It was another request.
    #[error(
        "a restore of this backup with other options was interrupted in this database; repeat those options, or \
         drop the schema barkeep_restore (and what it restored) to begin anew"
    )]
    OtherOptions,
}

/// The steps that are done.
#[derive(Debug, Clone)]
pub struct RestoreJournal {
    backup: String,
    rows: BTreeMap<String, Option<String>>,
    resumed: bool,
}

impl RestoreJournal {
    /// What an earlier run left, or `None` where there is no journal. Changes nothing.
    pub async fn find(
        client: &Client,
        backup: &BackupId,
        options: &str,
    ) -> Result<Option<Self>, JournalError> {
        let doing = |error| PgError::query("reading the restore journal", error);
        let there = "SELECT pg_catalog.to_regclass('barkeep_restore.journal') IS NOT NULL";
        if !client.query_one(there, &[]).await.map_err(doing)?.get::<_, bool>(0) {
            return Ok(None);
        }
        let sql = "SELECT backup_id, key, detail FROM barkeep_restore.journal";
        let mut rows = BTreeMap::new();
        for row in client.query(sql, &[]).await.map_err(doing)? {
            let of: String = row.get(0);
            if of != backup.as_str() {
                return Err(JournalError::OtherBackup(of));
            }
            rows.insert(row.get::<_, String>(1), row.get::<_, Option<String>>(2));
        }
        match rows.get(OPTIONS) {
            // Made, and killed before its first row.
            None if rows.is_empty() => Ok(None),
            Some(Some(found)) if found == options => {
                Ok(Some(Self { backup: backup.to_string(), rows, resumed: true }))
            }
            _ => Err(JournalError::OtherOptions),
        }
    }

    /// Keeps every other restore out of the database for as long as the session lives: two at the same time would both
    /// be right, and wrong together. What a look at the database shows afterwards stays so.
    pub async fn lock(client: &Client) -> Result<(), JournalError> {
        match restore_lock::lead(client, PATIENCE).await? {
            None => Ok(()),
            Some(holders) => Err(JournalError::Busy(holders)),
        }
    }

    /// Goes on with the journal that is there, or begins one. The session of `client` holds the database's restore lock
    /// from now on.
    pub async fn open(client: &Client, backup: &BackupId, options: &str) -> Result<Self, JournalError> {
        let doing = |error| PgError::query("making the restore journal", error);
        Self::lock(client).await?;
        if let Some(found) = Self::find(client, backup, options).await? {
            return Ok(found);
        }
        let mut journal = Self { backup: backup.to_string(), rows: BTreeMap::new(), resumed: false };
        let sql = format!(
            "BEGIN; CREATE SCHEMA IF NOT EXISTS barkeep_restore; \
             CREATE TABLE IF NOT EXISTS barkeep_restore.journal (backup_id text NOT NULL, key text NOT NULL, \
             detail text, done_at timestamptz NOT NULL DEFAULT pg_catalog.now(), PRIMARY KEY (backup_id, key)); \
             {}; COMMIT",
            journal.insert(OPTIONS, Some(options))
        );
        client.batch_execute(&sql).await.map_err(doing)?;
        journal.rows.insert(OPTIONS.to_owned(), Some(options.to_owned()));
        Ok(journal)
    }

    /// Whether an earlier run began this restore.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// What stands in the rows whose key begins so: rest of the key, detail.
    pub fn details<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.rows
            .iter()
            .filter_map(move |(key, detail)| Some((key.strip_prefix(prefix)?, detail.as_deref()?)))
    }

    /// The schema entries that the first run chose, by `dump_id`.
    pub fn chosen(&self) -> Option<BTreeSet<i32>> {
        self.rows.get(CHOSEN)?.as_deref().and_then(|detail| serde_json::from_str(detail).ok())
    }

    /// Records them, before anything is made.
    pub async fn choose(&self, client: &Client, entries: &BTreeSet<i32>) -> Result<(), PgError> {
        let detail = serde_json::to_string(entries).unwrap_or_default();
        let sql = self.claim(CHOSEN, Some(&detail));
        client.batch_execute(&sql).await.map_err(|error| PgError::query("writing the restore journal", error))
    }

    /// Violations that an earlier run found and recorded, but for those whose constraint is not there: the schema's run
    /// gives them again, with what is lost by them.
    pub fn violations(&self) -> Vec<Violation> {
        let all =
            self.details("ddl:").filter_map(|(_, detail)| serde_json::from_str::<Violation>(detail).ok());
        all.filter(|violation| violation.fate != Fate::LeftOut).collect()
    }

    /// The statement that records a step. It fails where the step is recorded already.
    pub fn insert(&self, key: &str, detail: Option<&str>) -> String {
        format!(
            "INSERT INTO barkeep_restore.journal (backup_id, key, detail) VALUES ({}, {}, {})",
            quote_literal(&self.backup),
            quote_literal(key),
            detail.map_or_else(|| "NULL".to_owned(), quote_literal)
        )
    }

    /// The statement that records a step and inserts nothing where it is recorded already; it waits for a transaction
    /// that is recording the same step. First in its transaction, it makes the step happen once, whatever became of an
    /// earlier COMMIT whose answer was lost.
    pub fn claim(&self, key: &str, detail: Option<&str>) -> String {
        format!("{} ON CONFLICT DO NOTHING", self.insert(key, detail))
    }

    /// The statement that puts a detail into the row of a step that this transaction has claimed.
    pub fn note(&self, key: &str, detail: &str) -> String {
        format!(
            "UPDATE barkeep_restore.journal SET detail = {} WHERE backup_id = {} AND key = {}",
            quote_literal(detail),
            quote_literal(&self.backup),
            quote_literal(key)
        )
    }

    /// Waits until the disk has all that was committed so far, whoever committed it: what comes next may rely on it, also on
    /// a connection that is made after the server went down and came back.
    pub async fn settle(&self, client: &Client) -> Result<(), PgError> {
        // A commit waits for the log up to its own place in it; one that wrote nothing would not wait.
        let sql = format!(
            "UPDATE barkeep_restore.journal SET done_at = pg_catalog.now() WHERE backup_id = {} AND key = {}",
            quote_literal(&self.backup),
            quote_literal(OPTIONS)
        );
        let settled = client.batch_execute(&sql).await;
        settled.map_err(|error| PgError::query("waiting for the restore journal", error))
    }

    /// The end: nothing of the journal stays.
    pub async fn remove(client: &Client) -> Result<(), PgError> {
        let sql = "DROP SCHEMA IF EXISTS barkeep_restore CASCADE";
        client.batch_execute(sql).await.map_err(|error| PgError::query("dropping the restore journal", error))
    }
}

impl Journal for RestoreJournal {
    fn done(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    fn record(&self, key: &str, violation: Option<&Violation>) -> Option<String> {
        let detail = violation.and_then(|violation| serde_json::to_string(violation).ok());
        Some(format!("{};", self.insert(key, detail.as_deref())))
    }

    fn left_out(&self, key: &str) -> Option<Violation> {
        let detail = self.rows.get(key)?.as_deref()?;
        let violation: Violation = serde_json::from_str(detail).ok()?;
        (violation.fate == Fate::LeftOut).then_some(violation)
    }
}
