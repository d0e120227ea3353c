//! `barkeep dump`.

use std::time::Duration;

use super::selection::{columns, conditions, patterns, selection};
use crate::cli::CommandResult;
use crate::cli::args::DumpArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{bytes, count, plural, ratio, seconds, table};
use crate::ops::dump::{DumpReport, DumpRequest, TableReport, dump};
use crate::ops::{ExitCode, OpsError};
use crate::plan::chunks::TimeSlice;
use crate::plan::selection::TableSelection;

pub(super) async fn run(args: &DumpArgs, context: &Context) -> CommandResult {
    let request = request(args, context)?;
    let report = dump(&context.vault()?, &request, &context.services).await?;
    let noteworthy = !report.warnings.is_empty() && !report.dry_run;
    let code = if noteworthy { ExitCode::Warnings } else { ExitCode::Ok };
    let text = if context.quiet { short(&report) } else { text(&report, context) };
    Outcome::new(&report, text, code as u8)
}

/// Options beat the configuration: a `-t` or `-n` on the command line replaces all that the file selects.
fn request(args: &DumpArgs, context: &Context) -> Result<DumpRequest, OpsError> {
    let typed = &args.selection;
    let file = &context.config.dump;
    let mut selection = selection(&typed.chosen)?;
    if selection.is_everything() {
        selection = TableSelection {
            tables: patterns(&file.tables)?,
            exclude_tables: patterns(&file.exclude_tables)?,
            schemas: patterns(&file.schemas)?,
            exclude_schemas: patterns(&file.exclude_schemas)?,
        };
    }
    let mut wanted = conditions(&typed.conditions)?;
    if wanted.is_empty() {
        wanted = conditions(
            file.conditions
                .iter()
                .map(|(table, sql)| format!("{table}={sql}"))
                .collect::<Vec<_>>()
                .as_slice(),
        )?;
    }
    let mut cluster_by = columns(&args.cluster_by)?;
    if cluster_by.is_empty() {
        let listed = file.cluster_by.iter().map(|(table, columns)| format!("{table}={columns}"));
        cluster_by = columns(&listed.collect::<Vec<_>>())?;
    }
    Ok(DumpRequest {
        selection,
        conditions: wanted,
        cluster_by,
        slice: TimeSlice { since: typed.since, until: typed.until },
        skip_tiered: args.skip_tiered,
        pause_jobs: !args.no_pause_jobs,
        schema_only: typed.schema_only,
        data_only: typed.data_only,
        tag: args.tag.clone(),
        keep_forever: args.keep.is_some(),
        lock_timeout: Duration::from_secs(args.lock_timeout),
        strict: args.strict || file.strict,
        jobs: context.jobs(args.jobs),
        rate: args.rate,
        max_row: args.max_row,
        pg_dump: context.tools.setting.clone(),
        path: context.tools.path.clone(),
        dry_run: args.dry_run,
        ..DumpRequest::new(context.database(args.database.as_deref())?)
    })
}

fn short(report: &DumpReport) -> String {
    report.backup.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn text(report: &DumpReport, context: &Context) -> String {
    let times = context.progress.tables();
    let header = ["table", ">rows", ">bytes in", ">stored", ">ratio", ">time", "notes"];
    let mut rows: Vec<Vec<String>> = report
        .tables
        .iter()
        .map(|line| {
            let time = times.get(&line.table).map(|progress| seconds(progress.time()));
            row(line, time.unwrap_or_default())
        })
        .collect();
    rows.push(vec![
        "total".to_owned(),
        count(report.rows),
        bytes(report.bytes),
        bytes(report.stored),
        ratio(report.bytes, report.stored),
        seconds(Duration::from_secs_f64(report.seconds)),
        if report.reused > 0 { format!("{} reused", bytes(report.reused)) } else { String::new() },
    ]);
    let mut text = table(&header, rows);
    for omitted in &report.omitted {
        text.push_str(&format!("omitted: {omitted}\n"));
    }
    for warning in &report.warnings {
        text.push_str(&format!("warning: {} ({})\n", warning.message, warning.code));
    }
    match (&report.backup, &report.root) {
        (Some(id), Some(root)) => text.push_str(&format!("\nbackup {id} committed, root {root}\n")),
        _ => text.push_str(
            "\ndry run: rows are the planner's estimates, bytes are heap and TOAST; nothing was written\n",
        ),
    }
    text
}

fn row(line: &TableReport, time: String) -> Vec<String> {
    let notes = [
        (line.units > 1).then(|| plural(line.units as u64, "unit")),
        (line.reused > 0)
            .then(|| format!("{} of {} reused", line.reused, plural(line.pieces as u64, "piece"))),
        (line.exceptions > 0).then(|| plural(line.exceptions, "exception")),
        line.clustered.map(|rows| match rows == line.rows {
            true => "clustered".to_owned(),
            false => format!("{} of {} clustered", count(rows), plural(line.rows, "row")),
        }),
    ];
    vec![
        line.table.to_string(),
        count(line.rows),
        bytes(line.bytes),
        bytes(line.stored),
        ratio(line.bytes, line.stored),
        time,
        notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
    ]
}
