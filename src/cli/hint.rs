//! The one hint after an error: the next thing to do. Advice lives here and nowhere below, because only the command line
//! knows what its user can type.

use crate::base::{BackupId, TableName};
use crate::codec::CodecError;
use crate::codec::copy::MAX_TUPLE;
use crate::manifest::ManifestError;
use crate::ops::OpsError;
use crate::pg::PgError;
use crate::pg::client_tools::ClientToolError;
use crate::pipeline::dump::RowPlace;
use crate::store::StoreError;

/// Building one index over thousands of chunks or partitions locks them all, and their indexes.
const LOCK_TABLE_FULL: &str = "the server's lock table is full: raise max_locks_per_transaction (thousands of chunks or \
     partitions want 256 and more), restart the server, and say the same again (a restore goes on where it stopped)";

/// The hint for an error, where there is a good one.
pub(super) fn hint(error: &OpsError) -> Option<String> {
    let text = match error {
        OpsError::Usage(text) => return usage(text),
        OpsError::Pg(error) => return pg(error),
        OpsError::Store(error) => return store(error),
        OpsError::ClientTool(error) => return tool(error),
        OpsError::Rows { source: CodecError::Io(_), .. } => "check free space and the disk, then run again",
        OpsError::Rows { source: CodecError::File { .. }, .. } => {
            "delete nothing; take the other copy of this vault, or an older backup that verifies with --level decode"
        }
        OpsError::Rows { .. } => {
            "please report this with `barkeep show --columns` of the table; nothing was committed"
        }
        OpsError::RowTooLarge { table, place, bytes, .. } => return Some(too_large(table, place, *bytes)),
        OpsError::SourceChanged(_) => {
            "run again; if it happens every time, move the job that changes the table to another hour"
        }
        OpsError::SnapshotLost(_) => {
            "look into the server's log for why it closed the connection (a restart, pg_terminate_backend, a standby's \
             recovery conflict), then run again"
        }
        OpsError::Strict { .. } => "nothing was committed; without --strict this is a backup with warnings",
        OpsError::Locked(_) => {
            "wait until it has ended; if nothing runs any more, pg_terminate_backend ends what is left of it"
        }
        OpsError::NoSpace(_) => "make room, restore to another server, or restore a part with -t or --where",
        // What hides rows of hypertables is said together with what to do about it.
        OpsError::Privileges(text) if text.contains("timescaledb.") || text.contains("tiered") => {
            return None;
        }
        OpsError::Privileges(_) => {
            "grant what is listed (or pg_read_all_data), use a role that has it, or leave the tables out with -T"
        }
        OpsError::Mismatch(_) => {
            "delete nothing; `barkeep verify --level hash` says whether the files changed, and `barkeep list` shows \
             older verified backups"
        }
        OpsError::Schema(error) if error.sqlstate() == Some("53200") => LOCK_TABLE_FULL,
        OpsError::Restore(text) if text.contains("(53200)") => LOCK_TABLE_FULL,
        OpsError::Restore(_) => "`barkeep restore … --dry-run` prints the plan without touching the target",
        OpsError::Schema(_) => {
            "the statement is named above; --create with an empty database avoids objects that are there already"
        }
        OpsError::Manifest(_) | OpsError::Internal(_) => {
            "run again with -v and report it with the output; nothing was committed"
        }
        OpsError::Unavailable(_) => {
            "nothing is wrong with the backup by this; give another place with --target container, --target embedded or --to, \
             and run again"
        }
        OpsError::Output(_) => {
            "check free space and who reads it; nothing in the vault is touched by a question"
        }
        OpsError::Interrupted(_) => "nothing was committed; run again",
    };
    Some(text.to_owned())
}

fn too_large(table: &TableName, place: &RowPlace, bytes: u64) -> String {
    let look = match place {
        RowPlace::Ctid { relation, ctid } => {
            format!("look at it: SELECT * FROM {} WHERE ctid = '{ctid}'; ", relation.sql())
        }
        RowPlace::Number { .. } => String::new(),
    };
    let take = match bytes > MAX_TUPLE as u64 {
        true => "no program can read a row of more than 1 GiB by COPY",
        false => "give a higher --max-row (memory is for four of the largest row)",
    };
    format!(
        "{look}then {take}, make the row smaller, or leave it out: \
         --where '{table}=…', -T '{table}'; nothing was committed"
    )
}

fn usage(text: &str) -> Option<String> {
    if text == "no vault is named" {
        return Some("give --vault DIR, set BARKEEP_VAULT, or run `barkeep init`".to_owned());
    }
    // Most usage errors say themselves what to do.
    (!text.contains(';') && !text.contains('`'))
        .then(|| "`barkeep <command> --help` has examples of every option".to_owned())
}

fn pg(error: &PgError) -> Option<String> {
    let state = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    let text = match (error, state.as_str()) {
        (PgError::Settings(_), _) => {
            "a database is a URI (postgres://user@host/db), 'host=… dbname=…', 'service=…', or a name"
        }
        (_, "28P01" | "28000") => {
            "put the password into ~/.pgpass or PGPASSWORD, and check pg_hba.conf on the server"
        }
        (PgError::Connect { .. }, "3D000") => {
            "`psql -l` lists the databases; restore makes one with --create"
        }
        (PgError::Connect { .. }, "53300" | "57P03") => {
            "the server has no room or is starting; try again later"
        }
        (PgError::Connect { .. }, _) => {
            "check host and port, try the same address with psql, and run `barkeep doctor`"
        }
        (PgError::Unreachable { .. }, _) => {
            "is the server running, and does it listen there? try the same address with psql"
        }
        (PgError::Names { .. }, _) => {
            "rename what is listed (ALTER … RENAME), or move to a database with an encoding; values may stay as they are"
        }
        (PgError::Pooler { .. }, _) => {
            "the server itself mostly listens on port 5432; PgBouncer's own is 6432"
        }
        (PgError::Tls { .. }, _) => "check sslmode and sslrootcert; `barkeep doctor` says what is asked for",
        (_, "42501") => "`barkeep doctor` lists every table this role may not read",
        (_, "55P03") => {
            "somebody holds the lock, or waits for it in front: named above, or in pg_locks; run again later"
        }
        (_, "22023" | "40001" | "42P01") => "the source changed while it was read; run again",
        (_, "53200") => LOCK_TABLE_FULL,
        (_, "53100") => "the server's disk is full",
        _ if error.is_connection_lost() => "the server went away; its log says why",
        _ => return None,
    };
    Some(text.to_owned())
}

fn store(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "a vault belongs to the user who made it (mode 0700); run as that user".to_owned()
        }
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "make room, then run again; nothing was committed".to_owned()
        }
        StoreError::Io { .. } => "check the path, the mount and the free space".to_owned(),
        StoreError::NoVault(path) if path.exists() => format!(
            "is something not mounted? `barkeep init --vault {}` makes a vault in an empty folder",
            path.display()
        ),
        StoreError::NoVault(path) => {
            format!("check --vault, or make one: barkeep init --vault {}", path.display())
        }
        StoreError::VaultFormat { .. } => "a newer barkeep wrote this vault: update this one".to_owned(),
        StoreError::NoBackup { vault, .. } => {
            format!("`barkeep list --vault {}` shows what there is", vault.display())
        }
        StoreError::Ambiguous { candidates, .. } => format!(
            "give more letters: {}",
            candidates.first().map(BackupId::as_str).unwrap_or("the whole id")
        ),
        StoreError::Manifest { source: ManifestError::Feature(_) | ManifestError::Format(_), .. } => {
            "a newer barkeep wrote this backup: update this one".to_owned()
        }
        StoreError::Manifest { .. } | StoreError::Misplaced { .. } | StoreError::Damaged { .. } => {
            "delete nothing; take the other copy of this vault, or an older backup that verifies".to_owned()
        }
    })
}

fn tool(error: &ClientToolError) -> Option<String> {
    if error.lock_not_available() {
        let text = "somebody waits for a lock in front of pg_dump (pg_locks says who); run again later";
        return Some(text.to_owned());
    }
    Some(match error {
        ClientToolError::NotFound { server } => format!(
            "install postgresql-client-{server}, set tools.pg_dump in barkeep.toml, or dump with --data-only"
        ),
        ClientToolError::TooOld { server, .. } => format!(
            "install postgresql-client-{server}, or set tools.pg_dump = \"docker run --rm --network host \
             postgres:{server} pg_dump\""
        ),
        ClientToolError::Setting(_) | ClientToolError::Run { .. } | ClientToolError::Version { .. } => {
            "check tools.pg_dump in the configuration; `barkeep doctor` tries it".to_owned()
        }
        _ => return None,
    })
}
