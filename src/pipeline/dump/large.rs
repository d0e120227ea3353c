//! Which row it was that is too large to be taken: COPY does not say, so the unit is read again with each row's place in front
//! of it, under the same snapshot, as far as the first row that is too large. That row is not received this time either: its
//! place is in its first bytes.

use std::fmt;

use super::{DumpError, Lanes, Reading, Received, UnitJob, cancel};
use crate::base::{Event, TableName};
use crate::pg::blocks::{self, Refused};
use crate::pg::{PgError, Session, copy_out};
use crate::plan::copy::with_places;

/// What a place adds to a tuple: its length, and a block's number with a line in it.
const PLACE: usize = 4 + 6;

/// Statements that a late cancellation may meet.
const LATE_CANCELS: u32 = 3;

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowPlace {
    /// By its `ctid`.
    Ctid {
        /// The table that has it: where rows lie in chunks, the chunk.
        relation: TableName,
        /// Block and line, as PostgreSQL writes them.
        ctid: String,
    },
    /// By its number among the rows of a unit, from 1 on: of compressed rows and large objects there is no other.
    Number {
        /// The table that has it.
        relation: TableName,
        /// The unit's number where the table is read in several.
        unit: usize,
        /// Which row.
        row: u64,
    },
}

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ctid { relation, ctid } => write!(f, "the row of {relation} with ctid {ctid}"),
            Self::Number { relation, unit, row } => {
                write!(f, "row {row} of unit {unit} of {relation} (it has no ctid that can be asked for)")
            }
        }
    }
}

impl RowPlace {
    /// All that is known at first.
    pub(super) fn numbered(job: &UnitJob, before: u64) -> Self {
        Self::Number { relation: relation(job), unit: job.unit, row: before + 1 }
    }
}

/// The table that has a unit's rows.
fn relation(job: &UnitJob) -> TableName {
    match &job.reading {
        Reading::Chunk(chunk) => chunk.name.clone(),
        Reading::Table | Reading::Functions => job.name.clone(),
    }
}

impl Lanes<'_> {
    /// Puts the place of a row that was too large into the error, by a new connection: the old one's transaction has failed.
    pub(super) async fn placed_by_a_new_lane(&self, error: DumpError, job: &UnitJob) -> DumpError {
        if !matches!(error, DumpError::TooLarge { .. }) || job.reading != Reading::Table {
            return error;
        }
        self.placed(error, job, async {
            let lane = self.locked.lane(self.version).await?;
            // Behind a queued ALTER there is nothing to be had but its number.
            match lane.try_lock(&job.name).await? {
                true => self.find(lane.client(), job).await,
                false => Ok(None),
            }
        })
        .await
    }

    /// The same for a chunk.
    pub(super) async fn placed_in_a_chunk(&self, error: DumpError, job: &UnitJob) -> DumpError {
        if !matches!(error, DumpError::TooLarge { .. }) {
            return error;
        }
        self.placed(error, job, async {
            let lane = self.locked.chunk_lane().await?;
            lane.begin(Some(&self.locked.snapshot.name), self.patience).await?;
            self.find(lane.session(), job).await
        })
        .await
    }

    /// Reads a unit by the connection that holds the locks. A failure must not end its transaction, or locks and snapshot
    /// were gone before the row is found.
    pub(super) async fn receive_as_leader(&self, job: &UnitJob) -> Result<Received, DumpError> {
        self.locked.run("SAVEPOINT reading").await?;
        match self.receive(self.locked.own_lane(), job).await {
            Err(error @ DumpError::TooLarge { .. }) => {
                Err(self.placed(error, job, self.find_as_leader(job)).await)
            }
            Err(error) => Err(error),
            Ok(received) => {
                self.locked.run("RELEASE SAVEPOINT reading").await?;
                Ok(received)
            }
        }
    }

    async fn find_as_leader(&self, job: &UnitJob) -> Result<Option<String>, PgError> {
        let mut last = Ok(None);
        for _ in 0..LATE_CANCELS {
            last = match self.locked.run("ROLLBACK TO SAVEPOINT reading").await {
                Ok(()) => self.find(self.locked.own_lane(), job).await,
                Err(error) => Err(error),
            };
            // The COPY that was given up may have ended by itself: its cancellation then meets what comes next.
            if !last.as_ref().is_err_and(PgError::is_cancelled) {
                break;
            }
        }
        last
    }

    async fn placed(
        &self,
        error: DumpError,
        job: &UnitJob,
        finding: impl Future<Output = Result<Option<String>, PgError>>,
    ) -> DumpError {
        let text = format!("{}: a row is too large; looking for it", job.name);
        self.events.emit(Event::Warning(text));
        let found = finding.await.unwrap_or_else(|error| {
            // Compressed rows have none. What went wrong is the row's size, not this.
            tracing::debug!(%error, table = %job.name, "the row's place cannot be found");
            None
        });
        match (error, found) {
            (DumpError::TooLarge { table, bytes, bound, .. }, Some(ctid)) => DumpError::TooLarge {
                table,
                place: RowPlace::Ctid { relation: relation(job), ctid },
                bytes,
                bound,
            },
            (error, _) => error,
        }
    }

    /// The place of the first row of a unit that is too large.
    async fn find(&self, session: &Session, job: &UnitJob) -> Result<Option<String>, PgError> {
        let Some(sql) = with_places(&job.sql) else { return Ok(None) };
        let (sender, mut received) = blocks::bounded_channel(self.pace.clone(), self.max_row + PLACE);
        let reader = tokio::task::spawn_blocking(move || {
            while received.blocking_recv().is_some() {}
            received.refused().cloned()
        });
        let sent = copy_out(session, &sql, &format!("looking for a row of {}", job.name), sender).await;
        if let Ok(None) = sent {
            cancel(session).await;
        }
        sent?;
        Ok(reader.await.ok().flatten().as_ref().and_then(place))
    }
}

/// The first field of a row, if it is one that a ctid has: its length, a block in four bytes, a line in two.
fn place(refused: &Refused) -> Option<String> {
    let (length, rest) = refused.head.get(2..)?.split_first_chunk::<4>()?;
    let (block, rest) = rest.split_first_chunk::<4>()?;
    let (line, _) = rest.split_first_chunk::<2>()?;
    (i32::from_be_bytes(*length) == 6)
        .then(|| format!("({},{})", u32::from_be_bytes(*block), u16::from_be_bytes(*line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_the_head_of_a_row_and_nothing_else_is_one() {
        let head = b"\0\x03\0\0\0\x06\0\x01\0\x02\0\x09\0\0\x10\0".to_vec();
        assert_eq!(place(&Refused { bytes: 4096, head: head.clone() }).as_deref(), Some("(65538,9)"));
        for length in 0..12 {
            assert_eq!(place(&Refused { bytes: 4096, head: head[..length].to_vec() }), None);
        }
        let null = [&head[..2], &[0xff; 4], &head[6..]].concat();
        assert_eq!(place(&Refused { bytes: 4096, head: null }), None);
    }
}
