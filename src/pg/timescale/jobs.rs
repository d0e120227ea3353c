//! Keeps TimescaleDB's jobs from compressing and dropping chunks while they are read: their next start is pushed into the
//! future, a little at a time, so that a dump that dies leaves nothing behind but a job that runs some minutes late.
//!
//! It is a courtesy, not a guard: jobs of other roles cannot be held, people can run everything by hand, and the check
//! after each read is what the backup rests on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::PgError;
use crate::base::quote_ident;
use crate::pg::connect::{Session, open_pinned};
use crate::pg::settings::ConnectionSettings;
use crate::pg::survey::rows;
use crate::pg::workbench::Workbench;

/// How far the next start is pushed.
const AHEAD: &str = "'20 minutes'::pg_catalog.interval";
/// How often that is done again.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Between two looks at a job that runs.
const LOOK: Duration = Duration::from_millis(200);

/// Jobs that touch chunks: all but those that refresh aggregates, which only change rows.
const JOBS: &str = "SELECT j.job_id, pg_catalog.format('%s (%s)', j.job_id, j.proc_name), j.next_start::text, \
     pg_catalog.pg_has_role(j.owner, 'MEMBER'), coalesce(s.job_status = 'Running', false) \
     FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id \
     WHERE j.job_id >= 1000 AND j.scheduled AND j.proc_name <> 'policy_refresh_continuous_aggregate' ORDER BY 1";

struct Job {
    id: i32,
    label: String,
    next_start: Option<String>,
    ours: bool,
    running: bool,
}

/// Jobs that are held; [`Self::resume`] lets them go.
pub struct PausedJobs {
    session: Session,
    alter_job: String,
    /// Number and the start that was planned.
    held: Vec<(i32, Option<String>)>,
    /// Those that could not be held, by number.
    given_up: BTreeSet<i32>,
    /// Jobs that could not be held, and why.
    pub unheld: Vec<String>,
}

/// Pushes the jobs that this role may alter, after waiting at most `patience` for those that run.
pub async fn pause(
    settings: &ConnectionSettings,
    extension_schema: &str,
    patience: Duration,
) -> Result<PausedJobs, PgError> {
    let session = open_pinned(settings, "barkeep dump (jobs)").await?;
    let alter_job = format!("{}.alter_job", quote_ident(extension_schema));
    let mut paused =
        PausedJobs { session, alter_job, held: Vec::new(), given_up: BTreeSet::new(), unheld: Vec::new() };
    let began = Instant::now();
    loop {
        let mut running = Vec::new();
        for job in paused.jobs().await? {
            if paused.is_settled(job.id) {
                continue;
            }
            if !job.ours {
                paused.give_up(&job, "another role's");
            } else if job.running && began.elapsed() < patience {
                running.push(job.label);
            } else if job.running {
                paused.give_up(&job, "it runs");
            } else {
                paused.hold(job).await;
            }
        }
        if running.is_empty() {
            return Ok(paused);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Jobs that touch chunks and that this role could not hold.
pub async fn unheld_jobs(bench: &Workbench) -> Result<Vec<String>, PgError> {
    let found = bench.rows("looking at TimescaleDB's jobs", JOBS).await?;
    let others = found.into_iter().filter(|row| row.get(3).and_then(Option::as_deref) == Some("f"));
    Ok(others.filter_map(|row| row.into_iter().nth(1).flatten()).collect())
}

impl PausedJobs {
    async fn jobs(&self) -> Result<Vec<Job>, PgError> {
        let found = rows(&self.session, "TimescaleDB's jobs", JOBS).await?;
        let job = |row: &tokio_postgres::Row| Job {
            id: row.get(0),
            label: row.get(1),
            next_start: row.get(2),
            ours: row.get(3),
            running: row.get(4),
        };
        Ok(found.iter().map(job).collect())
    }

    fn is_settled(&self, id: i32) -> bool {
        self.given_up.contains(&id) || self.held.iter().any(|(held, _)| *held == id)
    }

    fn give_up(&mut self, job: &Job, why: &str) {
        self.given_up.insert(job.id);
        self.unheld.push(format!("{}: {why}", job.label));
    }

    async fn hold(&mut self, job: Job) {
        match self.push(job.id).await {
            Ok(()) => self.held.push((job.id, job.next_start)),
            Err(error) => self.give_up(&job, &error.to_string()),
        }
    }

    /// Only what would start before then: a job that is far off is not to start sooner because a dump died.
    async fn push(&self, id: i32) -> Result<(), PgError> {
        let sql = format!(
            "SELECT {}({id}, next_start => pg_catalog.now() + {AHEAD}) FROM timescaledb_information.jobs j \
             WHERE j.job_id = {id} AND coalesce(j.next_start, '-infinity') < pg_catalog.now() + {AHEAD}",
            self.alter_job
        );
        let pushed = self.session.batch_execute(&sql).await;
        pushed.map_err(|error| PgError::query(format!("pausing the job {id}"), error))
    }

    /// Pushes them again and again, for as long as it is polled. What cannot be pushed any more just runs.
    pub async fn keep(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(AGAIN).await;
            for (id, _) in &self.held {
                if let Err(error) = self.push(*id).await {
                    tracing::debug!(%error, "a job could not be pushed again");
                }
            }
        }
    }

    /// Gives every job its planned start back, or now, if that has passed; one that somebody has rescheduled meanwhile
    /// keeps what it has. Gives back what could not be done.
    pub async fn resume(self) -> Vec<String> {
        let mut failed = Vec::new();
        for (id, planned) in &self.held {
            let planned = planned.as_deref().filter(|start| *start != "-infinity");
            let start = planned.map_or("pg_catalog.now()".to_owned(), |start| {
                format!("greatest('{start}'::pg_catalog.timestamptz, pg_catalog.now())")
            });
            let sql = format!(
                "SELECT {}({id}, next_start => {start}) FROM timescaledb_information.jobs j WHERE j.job_id = {id} \
                 AND j.next_start BETWEEN pg_catalog.now() AND pg_catalog.now() + {AHEAD}",
                self.alter_job
            );
            if let Err(error) = self.session.batch_execute(&sql).await {
                failed.push(PgError::query(format!("letting the job {id} go"), error).to_string());
            }
        }
        failed
    }
}
