//! `barkeep restore`: restores, then compares what came back with the manifest, unless only a part was asked for.

use std::time::Duration;

use serde::Serialize;

use super::selection::{conditions, patterns, renames, schema_map, selection};
use crate::cli::CommandResult;
use crate::cli::args::{RestoreArgs, RestoreMode, RolesChoice, TimescaleChoice};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{bytes, count, ratio, seconds, table};
use crate::ops::compare::{CompareReport, CompareRequest, compare};
use crate::ops::restore::{
    Mode, RestoreReport, RestoreRequest, RolesMode, TimescaleMode, restore, start_jobs,
};
use crate::ops::{ExitCode, OpsError};
use crate::plan::chunks::TimeSlice;
use crate::plan::selection::TableSelection;
use crate::store::Vault;

/// Both reports.
#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    restore: RestoreReport,
    compare: Option<CompareReport>,
    not_compared: Option<&'static str>,
    /// Policies and jobs that run now.
    started: Vec<String>,
}

pub(super) async fn run(args: &RestoreArgs, context: &Context) -> CommandResult {
    let vault = context.vault()?;
    let request = request(args, context, &vault)?;
    let report = restore(&request, &context.services).await?;
    let mut restored =
        Restored { restore: report, compare: None, not_compared: reason(args), started: Vec::new() };
    if restored.not_compared.is_none() {
        let question = CompareRequest {
            choice: request.choice.clone(),
            selection: TableSelection {
                tables: request.tables.clone(),
                exclude_tables: request.exclude_tables.clone(),
                schemas: request.schemas.clone(),
                exclude_schemas: request.exclude_schemas.clone(),
            },
            schemas: request.map_schema.iter().cloned().collect(),
            tables: request.rename.iter().cloned().collect(),
            ..CompareRequest::new(request.target.clone())
        };
        restored.compare = Some(compare(&vault, &question, &context.services).await?);
    }
    // Only now: a policy may delete what is still to be compared.
    if args.enable_jobs && restored.compare.as_ref().is_none_or(CompareReport::is_equal) {
        restored.started = start_jobs(&request.target, &restored.restore.jobs).await?;
    }
    let code = code(&restored);
    let text = if context.quiet { String::new() } else { text(&restored, args.to.as_str()) };
    Outcome::new(&restored, text, code)
}

fn request<'a>(
    args: &RestoreArgs,
    context: &Context,
    vault: &'a Vault,
) -> Result<RestoreRequest<'a>, OpsError> {
    let target = context.database(Some(&args.to))?;
    let TableSelection { tables, exclude_tables, schemas, exclude_schemas } =
        selection(&args.selection.chosen)?;
    Ok(RestoreRequest {
        create: args.create,
        tables,
        exclude_tables,
        schemas,
        exclude_schemas,
        where_: conditions(&args.selection.conditions)?,
        slice: TimeSlice { since: args.selection.since, until: args.selection.until },
        timescale: match args.timescale {
            TimescaleChoice::Auto => TimescaleMode::Auto,
            TimescaleChoice::Require => TimescaleMode::Require,
            TimescaleChoice::Plain => TimescaleMode::Plain,
        },
        map_schema: schema_map(&args.map_schema)?,
        rename: renames(&args.rename)?,
        mode: match args.mode {
            RestoreMode::Fail => Mode::Fail,
            RestoreMode::Append => Mode::Append,
            RestoreMode::OnlyMissing => Mode::OnlyMissing,
            RestoreMode::Replace => Mode::Replace,
        },
        data_only: args.selection.data_only,
        schema_only: args.selection.schema_only,
        owners: !args.no_owner,
        privileges: !args.no_privileges,
        tablespaces: !args.no_tablespaces,
        roles: match args.roles {
            RolesChoice::Require => RolesMode::Require,
            RolesChoice::Create => RolesMode::Create,
            RolesChoice::Skip => RolesMode::Skip,
        },
        triggers: args.triggers,
        jobs: context.jobs(args.jobs),
        maintenance_work_mem: args.maintenance_work_mem,
        dry_run: args.dry_run,
        first: patterns(&args.first)?,
        yes_overwrite_source: args.yes_overwrite_source,
        compare: !args.no_compare,
        ..RestoreRequest::new(vault, args.backup.choice(), target)
    })
}

/// Why there is nothing to compare with the manifest as it stands.
fn reason(args: &RestoreArgs) -> Option<&'static str> {
    let selection = &args.selection;
    match () {
        () if args.dry_run => Some("nothing was restored"),
        () if args.no_compare => Some("--no-compare"),
        () if selection.schema_only => Some("no rows were restored"),
        () if !selection.conditions.is_empty() => Some("only the rows of --where were restored"),
        () if selection.since.is_some() || selection.until.is_some() => {
            Some("only the rows of --since and --until were restored")
        }
        () if matches!(args.mode, RestoreMode::Append | RestoreMode::OnlyMissing) => {
            Some("the tables had rows before")
        }
        () => None,
    }
}

fn code(restored: &Restored) -> u8 {
    let compared = restored.compare.as_ref().map_or(0, super::compare::exit_code);
    let code = match () {
        () if compared == ExitCode::Integrity as u8 => return compared,
        () if !restored.restore.violations.is_empty() => ExitCode::Checks,
        () if compared != 0 => return compared,
        () if !restored.restore.warnings.is_empty() => ExitCode::Warnings,
        () => ExitCode::Ok,
    };
    code as u8
}

fn text(restored: &Restored, to: &str) -> String {
    let report = &restored.restore;
    if !report.dry_run_plan.is_empty() {
        return format!("{}\n\ndry run: nothing was touched\n", report.dry_run_plan.join("\n"));
    }
    let total =
        |of: fn(&crate::ops::restore::RestoredTable) -> u64| report.tables.iter().map(of).sum::<u64>();
    let mut rows: Vec<Vec<String>> = report
        .tables
        .iter()
        .map(|line| {
            let time = Duration::from_secs_f64(line.seconds);
            vec![
                line.name.to_string(),
                count(line.rows),
                bytes(line.bytes),
                bytes(line.stored),
                ratio(line.bytes, line.stored),
                seconds(time),
            ]
        })
        .collect();
    rows.push(vec![
        "total".to_owned(),
        count(total(|line| line.rows)),
        bytes(total(|line| line.bytes)),
        bytes(total(|line| line.stored)),
        ratio(total(|line| line.bytes), total(|line| line.stored)),
        seconds(Duration::from_secs_f64(report.seconds)),
    ]);
    let mut text = table(&["table", ">rows", ">bytes out", ">stored", ">ratio", ">time"], rows);
    let compared = restored.compare.as_ref().map(|compared| ("compare", compared.seconds));
    let phases = report.phases.iter().map(|phase| (phase.name, phase.seconds)).chain(compared);
    let phases: Vec<String> =
        phases.map(|(name, taken)| format!("{name} {}", seconds(Duration::from_secs_f64(taken)))).collect();
    text.push_str(&format!("phases: {}\n", phases.join(", ")));
    for made in &report.created {
        text.push_str(&format!("made: {made}\n"));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for warning in &report.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    for started in &restored.started {
        text.push_str(&format!("started: {started}\n"));
    }
    text.push_str(&format!("\nbackup {} restored into {}\n", report.backup, safe(to)));
    match (&restored.compare, restored.not_compared) {
        (Some(compared), _) => text.push_str(&super::compare::verdict(compared)),
        (None, Some(why)) => text.push_str(&format!("not compared: {why}\n")),
        (None, None) => {}
    }
    text
}

/// The target as typed may be a URI with a password in it.
fn safe(to: &str) -> String {
    match to.contains("://") || to.contains('=') {
        true => "the target".to_owned(),
        false => to.to_owned(),
    }
}
