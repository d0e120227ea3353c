//! `barkeep verify`.

use std::time::Duration;

use crate::cli::CommandResult;
use crate::cli::args::{VerifyArgs, VerifyLevel};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{bytes, plural, seconds};
use crate::ops::ExitCode;
use crate::ops::verify::{Level, VerifyReport, VerifyRequest, verify};

pub(super) async fn run(args: &VerifyArgs, context: &Context) -> CommandResult {
    let level = match args.level {
        VerifyLevel::Exist => Level::Exist,
        VerifyLevel::Hash => Level::Hash,
        VerifyLevel::Decode => Level::Decode,
    };
    let request = VerifyRequest { choice: args.backup.choice(), level };
    let report = verify(&context.vault()?, &request, &context.services).await?;
    let code = match (report.findings.is_empty(), report.extra.is_empty()) {
        (false, _) => ExitCode::Integrity,
        (true, false) => ExitCode::Warnings,
        (true, true) => ExitCode::Ok,
    };
    Outcome::new(&report, text(&report), code as u8)
}

fn text(report: &VerifyReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let table = finding.table.as_ref().map_or(String::new(), |table| format!(" ({table})"));
        text.push_str(&format!("DAMAGED {}{table}: {}\n", finding.path, finding.problem));
    }
    for extra in &report.extra {
        text.push_str(&format!("warning: {extra} is in the backup's folder and not in its manifest\n"));
    }
    let what = match report.level {
        Level::Exist => format!("{} there with the right length", plural(report.files as u64, "file")),
        Level::Hash => format!("{} read, {}", plural(report.files as u64, "file"), bytes(report.bytes)),
        Level::Decode => format!(
            "{} read, {}, {} decoded",
            plural(report.files as u64, "file"),
            bytes(report.bytes),
            plural(report.rows, "row")
        ),
    };
    let verdict = match report.findings.len() as u64 {
        0 => "sound".to_owned(),
        damaged => format!("NOT SOUND, {}", plural(damaged, "finding")),
    };
    let time = seconds(Duration::from_secs_f64(report.seconds));
    text.push_str(&format!("backup {}: {verdict} ({what} in {time})\n", report.backup));
    text
}
