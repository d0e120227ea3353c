//! Policies and jobs, last of all: each is made and paused in one transaction, so that none runs in between. A retention
//! policy that ran would delete what was just restored.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::decide::spoken;
use crate::base::{TableName, quote_ident};
use crate::catalog::timescale::TimescaleJob;
use crate::ops::OpsError;
use crate::ops::restore::{Restore, RestoreReport};
use crate::pg::{ConnectionSettings, PgError, Target};
use crate::pipeline::schema::Journal as _;
use crate::plan::timescale::calls::Functions;
use crate::plan::timescale::jobs::{JobCalls, Names, job, start};

/// A job that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredJob {
    /// Its number in the source.
    pub source: i32,
    /// Its number here.
    pub id: i32,
    /// What it is.
    pub name: String,
    /// It ran by itself in the source.
    pub scheduled: bool,
}

/// The journal's keys for jobs.
const JOBS: &str = "job:";

impl Restore<'_> {
    /// Makes the jobs. One that cannot be made is a warning: the data are all there.
    pub(in crate::ops::restore) async fn jobs(&self, report: &mut RestoreReport) -> Result<(), OpsError> {
        let replay = &self.scope.replay;
        let (Some(functions), Some(timescale), false) =
            (&replay.functions, self.timescale(), replay.jobs.is_empty())
        else {
            return Ok(());
        };
        self.phase("jobs", report);
        let earlier = self.journal.details(JOBS);
        report.jobs = earlier.filter_map(|(_, detail)| serde_json::from_str(detail).ok()).collect();
        let relation = |name: &TableName| self.scope.relation(name);
        let routine = |name: &TableName| self.scope.routine(name);
        let names = Names { relation: &relation, routine: &routine };
        let client = self.target.lane().await?;
        for wanted in &replay.jobs {
            let key = format!("{JOBS}{}", wanted.id);
            if self.journal.done(&key) {
                continue;
            }
            let Ok(calls) = job(functions, timescale, wanted, &names) else { continue };
            match self.job(&client, functions, wanted, &calls, &key).await {
                Ok(made) => report.jobs.extend(made),
                Err(error) if error.is_connection_lost() => return Err(OpsError::Pg(error)),
                Err(error) => {
                    let doing = |error| PgError::query("going back", error);
                    client.batch_execute("ROLLBACK").await.map_err(doing)?;
                    let why = crate::ops::restore::spoken(&error);
                    report.warnings.push(format!("the job {} could not be made: {why}", spoken(wanted)));
                }
            }
        }
        if !report.jobs.is_empty() {
            report.notes.push(format!(
                "{} policies and jobs are paused; --enable-jobs, or alter_job(…, scheduled => true), starts them",
                report.jobs.len()
            ));
        }
        Ok(())
    }

    async fn job(
        &self,
        client: &Client,
        functions: &Functions,
        wanted: &TimescaleJob,
        calls: &JobCalls,
        key: &str,
    ) -> Result<Option<RestoredJob>, PgError> {
        let doing = |error| PgError::query("making a job", error);
        client.batch_execute("BEGIN").await.map_err(doing)?;
        // The number is not known yet; whoever does the same waits here.
        if client.execute(&self.journal.claim(key, None), &[]).await.map_err(doing)? == 0 {
            client.batch_execute("ROLLBACK").await.map_err(doing)?;
            return Ok(None);
        }
        // Who has the role's rights can make its job; the journal is written as ourselves.
        if let Some(role) = calls.role.as_ref().filter(|_| self.request.owners) {
            let sql = format!("SET LOCAL ROLE {}", quote_ident(role));
            client.batch_execute(&sql).await.map_err(doing)?;
        }
        let id: i32 = client.query_one(&calls.add, &[]).await.map_err(doing)?.get(0);
        client.batch_execute(&calls.pause(functions, id)).await.map_err(doing)?;
        client.batch_execute("RESET ROLE").await.map_err(doing)?;
        let made = RestoredJob { source: wanted.id, id, name: spoken(wanted), scheduled: wanted.scheduled };
        let detail = serde_json::to_string(&made).unwrap_or_default();
        client.batch_execute(&self.journal.note(key, &detail)).await.map_err(doing)?;
        client.batch_execute("COMMIT").await.map_err(doing)?;
        Ok(Some(made))
    }
}

/// Starts the jobs that ran in the source; gives their names.
pub async fn start_jobs(
    settings: &ConnectionSettings,
    jobs: &[RestoredJob],
) -> Result<Vec<String>, OpsError> {
    let wanted: Vec<&RestoredJob> = jobs.iter().filter(|job| job.scheduled).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let target = Target::connect(settings).await?;
    let offer = target.timescale().await?.map_err(|why| OpsError::Restore(why.to_string()))?;
    for job in &wanted {
        let sql = start(&offer.functions, job.id);
        let started = target.client().batch_execute(&sql).await;
        started.map_err(|error| PgError::query(format!("starting the job {}", job.name), error))?;
    }
    Ok(wanted.iter().map(|job| job.name.clone()).collect())
}
