//! The locks by which restores into one database keep out of each other's way: the leader's, held by one session to its
//! end, and the lanes', shared by all sessions that write.
//!
//! A process that was killed leaves sessions that do not know it yet: a server notices a lost client when it next reads
//! from it, which may be after a COMMIT that was under way. Whoever takes the leader's lock therefore also waits until
//! no lane is left; what it then sees in the database stays as it is. Advisory locks go with their session, so that
//! nothing has to be cleaned up.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::PgError;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

const LEADER: &str = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('barkeep_restore'), 1)";

/// Asked and given back at once: it is free when no lane lives.
const NO_LANE: &str = "SELECT CASE WHEN pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('barkeep_restore'), 2) \
     THEN pg_catalog.pg_advisory_unlock(pg_catalog.hashtext('barkeep_restore'), 2) ELSE false END";

const LANE: &str = "SELECT pg_catalog.pg_advisory_lock_shared(pg_catalog.hashtext('barkeep_restore'), 2)";

/// Sessions that hold either, but for our own. An advisory lock of two numbers has them in `classid` and `objid`.
const HOLDERS: &str = "SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l \
     WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.objid IN (1, 2) AND l.granted \
       AND l.classid::pg_catalog.int8 = (pg_catalog.hashtext('barkeep_restore')::pg_catalog.int8 & 4294967295) \
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
       AND l.pid <> pg_catalog.pg_backend_pid() ORDER BY 1";

fn failed(error: tokio_postgres::Error) -> PgError {
    PgError::query("taking the restore's lock", error)
}

/// Makes this session the only one that restores into its database, until it ends. After `patience`, the sessions that
/// stand in the way, as process ids; `None` when the lock is held. A session may ask again for what it holds.
pub async fn lead(client: &Client, patience: Duration) -> Result<Option<Vec<i32>>, PgError> {
    let began = Instant::now();
    for sql in [LEADER, NO_LANE] {
        while !client.query_one(sql, &[]).await.map_err(failed)?.get::<_, bool>(0) {
            if began.elapsed() >= patience {
                let holders = client.query(HOLDERS, &[]).await.map_err(failed)?;
                return Ok(Some(holders.iter().map(|row| row.get(0)).collect()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(None)
}

/// Marks a session that writes for the leader.
pub(super) async fn follow(client: &Client) -> Result<(), PgError> {
    client.batch_execute(LANE).await.map_err(failed)
}
