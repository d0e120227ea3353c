//! Steps that call TimescaleDB's functions: each in a transaction of its own, with its row of the journal, on several
//! lanes where they do not get in each other's way.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio_postgres::Client;

use crate::base::Event;
use crate::ops::OpsError;
use crate::ops::restore::{Restore, refused};
use crate::pg::PgError;
use crate::pipeline::schema::Journal as _;

/// Statements that happen together, and once.
pub(super) struct Step {
    /// In the journal.
    pub(super) key: String,
    /// For people.
    pub(super) label: String,
    pub(super) sql: Vec<String>,
    /// What to do instead where the server takes the statements for contradictory.
    pub(super) otherwise: Vec<String>,
}

/// "syntax_error", by which TimescaleDB refuses options that contradict each other.
const CONTRADICTORY: &str = "42601";

async fn run(client: &Client, sql: &[String]) -> Result<(), tokio_postgres::Error> {
    for sql in sql {
        client.batch_execute(sql).await?;
    }
    Ok(())
}

impl Restore<'_> {
    /// Runs steps on at most `lanes` connections, in their order.
    pub(super) async fn steps(&self, steps: Vec<Step>, lanes: usize) -> Result<(), OpsError> {
        let open: VecDeque<Step> = steps.into_iter().filter(|step| !self.journal.done(&step.key)).collect();
        let count = lanes.max(1).min(open.len());
        let queue = Mutex::new(open);
        try_join_all((0..count).map(|_| self.lane_of_steps(&queue))).await?;
        Ok(())
    }

    async fn lane_of_steps(&self, queue: &Mutex<VecDeque<Step>>) -> Result<(), OpsError> {
        let client = self.target.lane().await?;
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(step) = next else { return Ok(()) };
            self.step(&client, &step).await?;
            self.services.events.emit(Event::Step { what: step.label });
        }
    }

    async fn step(&self, client: &Client, step: &Step) -> Result<(), OpsError> {
        let doing = |error| refused(&step.label, PgError::query("a step of TimescaleDB", error));
        client.batch_execute("BEGIN").await.map_err(doing)?;
        let claim = self.journal.claim(&step.key, None);
        let claimed = client.execute(&claim, &[]).await.map_err(doing)?;
        if claimed == 0 {
            return client.batch_execute("ROLLBACK").await.map_err(doing);
        }
        if step.otherwise.is_empty() {
            run(client, &step.sql).await.map_err(doing)?;
        } else {
            client.batch_execute("SAVEPOINT attempt").await.map_err(doing)?;
            match run(client, &step.sql).await {
                Ok(()) => {}
                Err(error) if error.code().is_some_and(|code| code.code() == CONTRADICTORY) => {
                    client.batch_execute("ROLLBACK TO SAVEPOINT attempt").await.map_err(doing)?;
                    run(client, &step.otherwise).await.map_err(doing)?;
                }
                Err(error) => return Err(doing(error)),
            }
        }
        client.batch_execute("COMMIT").await.map_err(doing)
    }
}
