//! `barkeep demo`.

use std::path::PathBuf;
use std::time::Duration;

use crate::catalog::Pattern;
use crate::cli::CommandResult;
use crate::cli::args::DemoArgs;
use crate::cli::context::{Context, refuse_url};
use crate::cli::output::Outcome;
use crate::cli::output::table::seconds;
use crate::ops::ExitCode;
use crate::ops::demo::{DemoReport, DemoRequest, demo};
use crate::ops::files::{Reader, files};
use crate::store::{BackupChoice, Vault};

pub(super) async fn run(args: &DemoArgs, context: &Context) -> CommandResult {
    // Only a vault that is typed: the demo's backups have no place in the one that cron uses.
    let vault = context.vault_option.clone().unwrap_or_else(|| PathBuf::from("demo-vault"));
    refuse_url(&vault)?;
    let request = DemoRequest {
        vault,
        server: args.server.as_deref().map(|server| context.database(Some(server))).transpose()?,
        tools: context.tools.clone(),
        jobs: context.jobs(None),
    };
    let report = demo(&request, &context.services).await?;
    let code = if report.passed { ExitCode::Ok } else { ExitCode::Integrity };
    let text = text(&report);
    Outcome::new(&report, text, code as u8)
}

fn text(report: &DemoReport) -> String {
    let mut text = String::new();
    for step in &report.steps {
        let mark = if step.ok { "ok  " } else { "FAIL" };
        let time = seconds(Duration::from_secs_f64(step.seconds));
        text.push_str(&format!("{mark}  {:<14}{:>9}  {}\n", step.name, time, step.seen));
    }
    text.push_str(&format!("\nthe vault is {}; look into it:\n", report.vault.display()));
    text.push_str(&format!("  barkeep list --vault {}\n", report.vault.display()));
    if let Some(line) = duckdb(report) {
        text.push_str(&format!("  duckdb -c \"{line}\"\n"));
    }
    let time = seconds(Duration::from_secs_f64(report.seconds));
    let failed = report.steps.iter().filter(|step| !step.ok).count();
    text.push_str(&match failed {
        0 => format!(
            "\ndemo: passed: {} steps in {time}, both planted damages were caught\n",
            report.steps.len()
        ),
        _ => format!("\ndemo: FAILED: {failed} of {} steps\n", report.steps.len()),
    });
    text
}

/// A ready line for the bars; nothing where the backup cannot be read, which the steps have said already.
fn duckdb(report: &DemoReport) -> Option<String> {
    let vault = Vault::open(&report.vault).ok()?;
    let pattern = Pattern::parse("public.market_bars").ok()?;
    let choice = BackupChoice::named(report.backup.as_ref()?.as_str());
    Some(files(&vault, &choice, &pattern).ok()?.line(Reader::DuckDb))
}
