//! Chunks that changed under the dump, read again when its locks are gone: as a range of their hypertable, each under a
//! snapshot of its own.
//!
//! Not the chunk but its range, because it can have been dropped and made again, merged or split meanwhile. What is read
//! so is one committed state of the range, later than the rest of the backup; the manifest says so.

use std::time::Duration;

use super::chunk::{was_in_the_way, was_refused};
use super::{Done, DumpError, Lanes, UnitJob};
use crate::base::{Event, TableName};
use crate::manifest::{LateRead, TableColumn};
use crate::pg::timescale::{ChunkLane, LateRange, changed_while_read};
use crate::plan::copy::copy_out;

/// Rounds before a range that never holds still ends the dump.
const ROUNDS: u32 = 20;
/// The pause after the first; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A range to read again.
#[derive(Clone)]
pub struct LateJob {
    /// The unit; its COPY is made anew.
    pub job: UnitJob,
    /// Where to look.
    pub range: LateRange,
    /// The table to read from.
    pub root: TableName,
    /// What of it.
    pub columns: Vec<TableColumn>,
    /// Conditions besides the range.
    pub conditions: Vec<String>,
    /// Why it is read again.
    pub why: String,
}

impl Lanes<'_> {
    /// Reads every range, one after the other; the locks must have been released.
    pub async fn run_late(&self, jobs: Vec<LateJob>) -> Result<Vec<(Done, LateRead)>, DumpError> {
        let mut done = Vec::with_capacity(jobs.len());
        if jobs.is_empty() {
            return Ok(done);
        }
        let mut lane = self.locked.chunk_lane().await?;
        for late in jobs {
            let text = format!("{}: {}; its range is read again", late.job.name, late.why);
            self.events.emit(Event::Warning(text));
            done.push(self.settle(&mut lane, &late).await?);
        }
        Ok(done)
    }

    async fn settle(&self, lane: &mut ChunkLane, late: &LateJob) -> Result<(Done, LateRead), DumpError> {
        let mut pause = PAUSE;
        let mut last = late.why.clone();
        for _ in 0..ROUNDS {
            match self.read_range(lane, late).await {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(why)) => last = why,
                Err(DumpError::Pg(error)) if error.is_connection_lost() => {
                    last = error.to_string();
                    *lane = self.locked.chunk_lane().await?;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let chunk = match &late.job.reading {
            super::Reading::Chunk(chunk) => chunk.name.to_string(),
            _ => "a range".to_owned(),
        };
        Err(DumpError::Unsettled { table: late.job.name.clone(), chunk, why: last })
    }

    /// One round; the inner error says what happened in between.
    async fn read_range(
        &self,
        lane: &ChunkLane,
        late: &LateJob,
    ) -> Result<Result<(Done, LateRead), String>, DumpError> {
        lane.begin(None, self.patience).await?;
        let (snapshot, time) = lane.snapshot().await?;
        let (before, _) = lane.mark_range(&late.range).await?;
        let mut conditions = lane.conditions(&late.range);
        conditions.extend(late.conditions.iter().cloned());
        let sql = copy_out(&late.columns, &late.root.sql(), &conditions);
        let read = self.receive(lane.session(), &UnitJob { sql, ..late.job.clone() }).await;
        if let Err(error) = &read
            && !was_refused(error)
        {
            return read.map(|_| Err(String::new()));
        }
        lane.end().await?;
        let (after, there) = lane.mark_range(&late.range).await?;
        let why = changed_while_read(&before, &after).map(|_| "its chunks changed again".to_owned());
        match (read, why) {
            (Ok(received), None) => {
                let (_, done) = self.write(received).await.map_err(|_| DumpError::Writer)??;
                Ok(Ok((done, LateRead { snapshot, time, gone: !there, why: late.why.clone() })))
            }
            (Ok(received), Some(why)) => {
                received.sink.discard()?;
                Ok(Err(why))
            }
            (Err(error), None) if !was_in_the_way(&error) => Err(error),
            (Err(error), why) => Ok(Err(why.unwrap_or_else(|| error.to_string()))),
        }
    }
}
