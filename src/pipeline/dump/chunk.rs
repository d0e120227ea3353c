//! One chunk under the dump's snapshot: look, read, look again. What was not what the snapshot shows is thrown away.

use super::{Attempt, DumpError, Lanes, Received, UnitJob};
use crate::pg::PgError;
use crate::pg::timescale::{ChunkLane, ChunkRead, changed_while_read};

impl Lanes<'_> {
    /// Reads a chunk; its files are kept only if nothing happened to it.
    pub(super) async fn attempt_chunk(
        &self,
        lane: &ChunkLane,
        job: &UnitJob,
        chunk: &ChunkRead,
    ) -> Result<Attempt, DumpError> {
        let before = lane.begin_marked(&self.locked.snapshot.name, self.patience, chunk).await?;
        let read = match self.read_counted(lane, job, chunk).await {
            Err(error) => Err(self.placed_in_a_chunk(error, job).await),
            read => read,
        };
        if let Err(error) = &read
            && !was_refused(error)
        {
            return read.map(|(received, _)| Attempt::Received(Box::new(received)));
        }
        let why = changed_while_read(&before, &lane.end_marked(chunk).await?);
        match read {
            Ok((received, counted)) => {
                let rows = received.rows;
                let differs = counted.filter(|counted| *counted != rows);
                let counts =
                    |counted| format!("has {counted} compressed rows by its own count, {rows} were read");
                let why = why.map(str::to_owned).or(differs.map(counts));
                let Some(why) = why else { return Ok(Attempt::Received(Box::new(received))) };
                received.sink.discard()?;
                Ok(Attempt::Changed(why))
            }
            // A relation that is gone is not found by its name any more, whatever the snapshot.
            Err(error) => match (why, was_in_the_way(&error)) {
                (Some(why), _) => Ok(Attempt::Changed(why.to_owned())),
                (None, true) => Ok(Attempt::Changed("was being worked on by somebody else".to_owned())),
                (None, false) => Err(error),
            },
        }
    }

    async fn read_counted(
        &self,
        lane: &ChunkLane,
        job: &UnitJob,
        chunk: &ChunkRead,
    ) -> Result<(Received, Option<u64>), DumpError> {
        let counted = lane.counted(chunk).await?;
        Ok((self.receive(lane.session(), job).await?, counted))
    }
}

/// The server said no, and the connection still stands.
pub(super) fn was_refused(error: &DumpError) -> bool {
    matches!(error, DumpError::Pg(PgError::Query { .. }))
        && matches!(error, DumpError::Pg(error) if !error.is_connection_lost())
}

/// Somebody who works on the chunk held a lock for too long, or would have waited for ours for ever (a deadlock).
pub(super) fn was_in_the_way(error: &DumpError) -> bool {
    let code = match error {
        DumpError::Pg(error) => error.code(),
        _ => None,
    };
    code.is_some_and(|code| matches!(code.code(), "55P03" | "40P01"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::timescale::Marked;

    #[test]
    fn a_mark_that_moved_or_went_is_a_change() {
        let mark = |text: &str| -> Marked { Some(text.to_owned()) };
        assert_eq!(changed_while_read(&mark("(1,9)"), &mark("(1,9)")), None);
        assert!(
            changed_while_read(&mark("(1,9)"), &mark("(1,10)")).is_some_and(|why| why.contains("compressed"))
        );
        assert_eq!(changed_while_read(&mark("(1,9)"), &None), Some("was dropped"));
    }
}
