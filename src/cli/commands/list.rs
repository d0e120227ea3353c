//! `barkeep list`.

use crate::cli::CommandResult;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{bytes, count, plural, table};
use crate::ops::ExitCode;
use crate::ops::list::{BackupLine, list};

pub(super) fn run(context: &Context) -> CommandResult {
    let report = list(&context.vault()?)?;
    let mut text = if report.backups.is_empty() {
        format!("no backups in {}\n", report.vault)
    } else {
        let header = [
            "backup",
            "snapshot (UTC)",
            "database",
            ">tables",
            ">rows",
            ">stored",
            ">new",
            "proven",
            "notes",
        ];
        table(&header, report.backups.iter().map(row))
    };
    for unsound in &report.unsound {
        text.push_str(&format!("UNSOUND {}: {}\n", unsound.id, unsound.problem));
    }
    let code = if report.unsound.is_empty() { ExitCode::Ok } else { ExitCode::Integrity };
    Outcome::new(&report, text, code as u8)
}

fn row(backup: &BackupLine) -> Vec<String> {
    let proven = match &backup.attested {
        Some(last) if last.ok == Some(false) => format!("{} FAILED", last.what),
        Some(last) => last.what.clone(),
        None => "never".to_owned(),
    };
    let notes = [
        backup.tag.clone(),
        backup.keep_forever.then(|| "kept forever".to_owned()),
        (backup.warnings > 0).then(|| plural(backup.warnings as u64, "warning")),
        (backup.omitted > 0).then(|| format!("{} omitted", backup.omitted)),
        (!backup.consistent).then(|| "not one snapshot".to_owned()),
    ];
    vec![
        backup.id.to_string(),
        backup.snapshot_time.readable(),
        backup.database.clone(),
        count(backup.tables as u64),
        count(backup.rows),
        bytes(backup.stored_bytes),
        bytes(backup.stored_bytes.saturating_sub(backup.reused_bytes)),
        proven,
        notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
    ]
}
