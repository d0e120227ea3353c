//! What of TimescaleDB would stand in a dump's way: settings that hide rows, what cannot be dumped, jobs that cannot be held.

use super::{DoctorReport, DoctorRequest};
use crate::ops::{ExitCode, OpsError};
use crate::pg::timescale::{Surveyed, unheld_jobs};
use crate::pg::workbench::Workbench;
use crate::pg::{PgError, Source};

/// Says nothing where the extension is not installed.
pub(super) async fn timescale(
    report: &mut DoctorReport,
    bench: &Workbench,
    request: &DoctorRequest,
) -> Result<(), OpsError> {
    let found = match Source::connect(&request.database).await?.survey(&[]).await {
        Ok(survey) => survey.timescale,
        Err(error @ PgError::Restoring) => {
            let advice = "run timescaledb_post_restore(), or ALTER DATABASE … RESET timescaledb.restoring";
            report.fail("timescaledb", ExitCode::Privileges as u8, error.to_string(), advice);
            return Ok(());
        }
        // Whatever it is, the lines about the server have said it, or the dump will.
        Err(error) => return Err(error.into()),
    };
    let Some(found) = found else { return Ok(()) };
    report.ok("timescaledb", summary(&found));
    for refusal in &found.refusals {
        let advice = "do what it says, or leave the table out with -T";
        report.fail("timescaledb", ExitCode::Privileges as u8, refusal.why.clone(), advice);
    }
    let all: Vec<i32> = found.chunks.keys().copied().collect();
    if let Some(chunk) = found.hidden_by_license(&all) {
        let found = format!("the licence in force hides compressed rows ({})", chunk.chunk.name);
        let advice = "set timescaledb.license to timescale and restart the server";
        report.fail("timescaledb", ExitCode::Privileges as u8, found, advice);
    }
    let unheld = if found.timescale.jobs.is_empty() { Vec::new() } else { unheld_jobs(bench).await? };
    match unheld.as_slice() {
        [] => report.ok("jobs", "those that touch chunks can be held while chunks are read"),
        jobs => report.warn(
            "jobs",
            format!("jobs of other roles may change chunks while they are read: {}", jobs.join(", ")),
            "make this role a member of their owners; else chunks that they change are late (exit code 3)",
        ),
    }
    Ok(())
}

fn summary(found: &Surveyed) -> String {
    format!(
        "TimescaleDB {} ({}): {} hypertables, {} continuous aggregates, {} chunks",
        found.timescale.version,
        found.timescale.license.as_deref().unwrap_or("licence unknown"),
        found.timescale.hypertables.len(),
        found.timescale.aggregates.len(),
        found.chunks.values().map(Vec::len).sum::<usize>()
    )
}
