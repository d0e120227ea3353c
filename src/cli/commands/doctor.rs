//! `barkeep doctor`.

use std::path::Path;

use crate::cli::CommandResult;
use crate::cli::args::DoctorArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::ops::doctor::{Answer, DoctorRequest, doctor};

pub(super) async fn run(args: &DoctorArgs, context: &Context) -> CommandResult {
    let request = DoctorRequest {
        database: context.database(args.database.as_deref())?,
        vault: context.vault_path().map(Path::to_owned),
        tools: context.tools.clone(),
        for_restore: args.for_restore,
    };
    let report = doctor(&request, &context.services).await?;
    let mut text = String::new();
    for line in &report.lines {
        let answer = match line.answer {
            Answer::Ok => "ok  ",
            Answer::Warn => "warn",
            Answer::Fail => "FAIL",
        };
        text.push_str(&format!("{answer}  {:<13}{}\n", line.what, line.found));
        if let Some(advice) = &line.advice {
            text.push_str(&format!("      {:<13}-> {advice}\n", ""));
        }
    }
    let code = report.exit_code();
    Outcome::new(&report, text, code)
}
