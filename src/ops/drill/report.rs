//! [`DrillReport`]: what a drill showed, in the form that `report` renders.

use serde::Serialize;
use serde_json::Value;

use crate::base::{BackupId, Digest, Timestamp};
use crate::checks::Verdict;

/// What a drill showed.
#[derive(Debug, Clone, Serialize)]
pub struct DrillReport {
    /// Version of the program.
    pub barkeep: &'static str,
    /// The worst of the proofs.
    pub verdict: Verdict,
    /// What the program ends with.
    pub exit_code: u8,
    /// In a sentence.
    pub verdict_text: String,
    /// How to say it again.
    pub command: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Where it ran.
    pub host: Host,
    /// What was restored.
    pub backup: DrilledBackup,
    /// Where to.
    pub target: DrilledTarget,
    /// What was shown, and what not, in order.
    pub proofs: Vec<Proof>,
    /// What this drill says nothing about.
    pub not_proven: Vec<String>,
    /// How much would be lost.
    pub rpo: Rpo,
    /// How long one would wait.
    pub rto: Rto,
    /// Table by table.
    pub compare: Compared,
    /// The checks of the restored data, as a report of their own.
    pub checks: Option<Value>,
    /// The operator's own questions.
    pub smoke: Vec<SmokeOutcome>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What the backup does not have.
    pub omitted: Vec<String>,
}

/// Where a drill ran.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its system.
    pub os: String,
}

/// The backup of a drill.
#[derive(Debug, Clone, Serialize)]
pub struct DrilledBackup {
    /// Its id.
    pub id: BackupId,
    /// Its root.
    pub root: Digest,
    /// The time of its snapshot.
    pub taken: Timestamp,
    /// How it was picked.
    pub policy: &'static str,
    /// Of which database.
    pub database: String,
    /// On which server.
    pub server_version: String,
    /// And with which TimescaleDB.
    pub timescaledb: Option<String>,
    /// Tables.
    pub tables: usize,
    /// Rows.
    pub rows: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Its age when the drill began.
    pub age_seconds: f64,
    /// `--tag`.
    pub tags: Vec<String>,
}

/// The place of a drill.
#[derive(Debug, Clone, Serialize)]
pub struct DrilledTarget {
    /// `embedded`, `container`, `scratch`.
    pub kind: &'static str,
    /// Its server.
    pub server_version: String,
    /// And its TimescaleDB.
    pub timescaledb: Option<String>,
    /// What a reader of the times should know.
    pub note: String,
    /// The database.
    pub database: String,
    /// It is still there.
    pub kept: bool,
}

/// One thing that was to be shown.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// A stable word.
    pub id: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// Whether it was shown.
    pub verdict: Verdict,
    /// What was done and what came out.
    pub text: String,
    /// What that shows.
    pub proves: &'static str,
}

/// How much would be lost.
#[derive(Debug, Clone, Serialize)]
pub struct Rpo {
    /// From the snapshot to the drill.
    pub measured_seconds: Option<f64>,
    /// What is allowed.
    pub limit_seconds: Option<u64>,
    /// The newest row of each table that says when its rows are of.
    pub newest: Vec<Newest>,
    /// Whether that is within the limit.
    pub verdict: Verdict,
}

/// The newest row of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Newest {
    /// The table.
    pub table: String,
    /// The column that says when.
    pub column: String,
    /// When.
    pub time: Timestamp,
    /// How long before the snapshot.
    pub before_snapshot_seconds: f64,
}

/// How long one would wait.
#[derive(Debug, Clone, Serialize)]
pub struct Rto {
    /// Until applications could use the database.
    pub service_seconds: Option<f64>,
    /// Until everything was shown.
    pub total_seconds: f64,
    /// What is allowed until applications could use it.
    pub limit_seconds: Option<u64>,
    /// Whether it was kept.
    pub verdict: Verdict,
    /// One after the other.
    pub phases: Vec<DrillPhase>,
}

/// A stretch of a drill.
#[derive(Debug, Clone, Serialize)]
pub struct DrillPhase {
    /// What was done.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Rows, where it moved any.
    pub rows: Option<u64>,
    /// Bytes of COPY data, where it moved any.
    pub bytes: Option<u64>,
    /// Applications would have waited for it.
    pub service: bool,
}

/// Tables compared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Compared {
    /// Each.
    pub tables: Vec<ComparedTable>,
    /// How many are equal.
    pub equal: usize,
    /// How many are not.
    pub different: usize,
    /// How many could not be compared.
    pub not_compared: usize,
    /// Columns that mean something else on every server.
    pub columns_not_compared: Vec<String>,
}

/// One table compared.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedTable {
    /// Its name.
    pub table: String,
    /// Rows in the backup.
    pub rows: u64,
    /// Bytes of its pieces.
    pub bytes: u64,
    /// `equal`, `different`, `not compared`.
    pub verdict: &'static str,
    /// Rows in the restored database.
    pub restored_rows: Option<u64>,
    /// How long restoring took, all lanes together.
    pub seconds: f64,
    /// What the server said.
    pub note: Option<String>,
}

/// A question of the operator's own.
#[derive(Debug, Clone, Serialize)]
pub struct SmokeOutcome {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub sql: String,
    /// What should come out.
    pub expected: String,
    /// What came out.
    pub got: Option<String>,
    /// Whether that is the same.
    pub verdict: Verdict,
}
