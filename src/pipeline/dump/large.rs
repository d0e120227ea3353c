//! Which row it was that is too large to be taken: COPY does not say, so the unit is read again with each row's place in front
//! of it, under the same snapshot, as far as the first row that is too large. That row is not received this time either: its
//! place is in its first bytes. A row that the server itself cannot send, because it does not fit into a message, is looked for by
//! the lengths of its values.

use std::fmt;

use super::{DumpError, Lanes, Reading, Received, UnitJob, cancel};
use crate::base::{Event, TableName};
use crate::codec::copy::MAX_TUPLE;
use crate::pg::blocks::{self, Refused};
use crate::pg::{PgError, Session, copy_out};
use crate::plan::copy::{unsendable_row, with_places};

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
        let Some(which) = Which::of(&error).filter(|_| job.reading == Reading::Table) else { return error };
        self.placed(error, job, which, async {
            let lane = self.locked.lane(self.version).await?;
            // Behind a queued ALTER there is nothing to be had but its number.
            match lane.try_lock(&job.name).await? {
                true => self.find(lane.client(), job, which).await,
                false => Ok(None),
            }
        })
        .await
    }

    /// The same for a chunk.
    pub(super) async fn placed_in_a_chunk(&self, error: DumpError, job: &UnitJob) -> DumpError {
        let Some(which) = Which::of(&error) else { return error };
        self.placed(error, job, which, async {
            let lane = self.locked.chunk_lane().await?;
            lane.begin(Some(&self.locked.snapshot.name), self.patience).await?;
            self.find(lane.session(), job, which).await
        })
        .await
    }

    /// Reads a unit by the connection that holds the locks. A failure must not end its transaction, or locks and snapshot
    /// were gone before the row is found.
    pub(super) async fn receive_as_leader(&self, job: &UnitJob) -> Result<Received, DumpError> {
        self.locked.run("SAVEPOINT reading").await?;
        match self.receive(self.locked.own_lane(), job).await {
            Err(error) => match Which::of(&error) {
                Some(which) => Err(self.placed(error, job, which, self.find_as_leader(job, which)).await),
                None => Err(error),
            },
            Ok(received) => {
                self.locked.run("RELEASE SAVEPOINT reading").await?;
                Ok(received)
            }
        }
    }

    async fn find_as_leader(&self, job: &UnitJob, which: Which) -> Result<Option<Found>, PgError> {
        let mut last = Ok(None);
        for _ in 0..LATE_CANCELS {
            last = match self.locked.run("ROLLBACK TO SAVEPOINT reading").await {
                Ok(()) => self.find(self.locked.own_lane(), job, which).await,
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
        which: Which,
        finding: impl Future<Output = Result<Option<Found>, PgError>>,
    ) -> DumpError {
        let what = match which {
            Which::Refused => "a row is too large",
            // Which of its limits, the server says in words only.
            Which::Unsendable => "a row is beyond what the server can send, it seems",
        };
        self.events.emit(Event::Warning(format!("{}: {what}; looking for it", job.name)));
        let found = finding.await.unwrap_or_else(|error| {
            // Compressed rows have none. What went wrong is the row's size, not this.
            tracing::debug!(%error, table = %job.name, "the row's place cannot be found");
            None
        });
        let Some(Found { ctid, bytes }) = found else { return error };
        DumpError::TooLarge {
            table: job.name.clone(),
            place: RowPlace::Ctid { relation: relation(job), ctid },
            bytes,
            bound: self.max_row as u64,
        }
    }

    /// A row of a unit that is too large.
    async fn find(&self, session: &Session, job: &UnitJob, which: Which) -> Result<Option<Found>, PgError> {
        match which {
            Which::Refused => self.find_refused(session, job).await,
            Which::Unsendable => find_unsendable(session, job).await,
        }
    }

    /// The first that is larger than was asked for.
    async fn find_refused(&self, session: &Session, job: &UnitJob) -> Result<Option<Found>, PgError> {
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
        let refused = reader.await.ok().flatten();
        Ok(refused.and_then(|refused| {
            Some(Found { ctid: place(&refused)?, bytes: refused.bytes.saturating_sub(PLACE as u64) })
        }))
    }
}

/// The largest, where the server could not send it.
async fn find_unsendable(session: &Session, job: &UnitJob) -> Result<Option<Found>, PgError> {
    let Some(sql) = unsendable_row(&job.sql, &job.target.shape) else { return Ok(None) };
    let row = session.query_opt(&sql, &[]).await;
    let row = row.map_err(|error| PgError::query(format!("looking for a row of {}", job.name), error))?;
    // Without its other values it may seem to fit.
    let bytes = |found: i64| found.unsigned_abs().max(MAX_TUPLE as u64 + 1);
    Ok(row.map(|row| Found { ctid: row.get(0), bytes: bytes(row.get(1)) }))
}

/// What is known of a row that was too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// It was refused here, by its length.
    Refused,
    /// The server could not send it.
    Unsendable,
}

impl Which {
    fn of(error: &DumpError) -> Option<Self> {
        match error {
            DumpError::TooLarge { .. } => Some(Self::Refused),
            DumpError::Pg(error) if error.is_beyond_limits() => Some(Self::Unsendable),
            _ => None,
        }
    }
}

/// A row that was found.
struct Found {
    ctid: String,
    bytes: u64,
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
