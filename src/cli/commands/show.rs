//! `barkeep show`.

use crate::cli::CommandResult;
use crate::cli::args::ShowArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{bytes, count, plural, ratio, table};
use crate::ops::show::{ChunkCounts, ShowReport, TableLine, show};

pub(super) fn run(args: &ShowArgs, context: &Context) -> CommandResult {
    let report = show(&context.vault()?, &args.backup.choice())?;
    let mut text = head(&report);
    let header = ["table", ">rows", ">bytes in", ">stored", ">ratio", ">pieces", "notes"];
    text.push('\n');
    text.push_str(&table(&header, report.tables.iter().map(row)));
    if args.columns {
        text.push_str(&columns(&report));
    }
    text.push_str(&notes(&report));
    Outcome::new(&report, text, 0)
}

fn head(report: &ShowReport) -> String {
    let mut lines = vec![
        ("backup", report.id.to_string()),
        ("root", report.root.to_string()),
        ("snapshot", report.snapshot_time.readable()),
        ("committed", report.finished.readable()),
        (
            "source",
            format!("{} on PostgreSQL {}, as {}", report.database, report.server_version, report.role),
        ),
        ("written by", report.tool.clone()),
        (
            "holds",
            format!(
                "{}, {} in {}, {}{}",
                plural(report.tables.len() as u64, "table"),
                plural(report.rows, "row"),
                bytes(report.stored_bytes),
                plural(report.sequences as u64, "sequence"),
                if report.schema { "" } else { ", no schema" },
            ),
        ),
    ];
    lines.extend(report.snapshot.lsn.clone().map(|lsn| ("log position", lsn)));
    lines.extend(report.tag.clone().map(|tag| ("tag", tag)));
    if report.keep_forever {
        lines.push(("keep", "forever".to_owned()));
    }
    if let Some(found) = &report.timescale {
        let text = format!(
            "TimescaleDB {} ({}): {}, {}, {}",
            found.version,
            found.license.as_deref().unwrap_or("licence unknown"),
            plural(found.hypertables as u64, "hypertable"),
            plural(found.aggregates as u64, "continuous aggregate"),
            plural(found.jobs as u64, "job"),
        );
        lines.push(("extension", text));
    }
    if !report.consistent {
        lines.push(("consistent", "NO: some rows were read under a later snapshot".to_owned()));
    }
    lines.iter().map(|(name, value)| format!("{name:<13}{value}\n")).collect()
}

fn row(line: &TableLine) -> Vec<String> {
    let notes = [
        line.root.as_ref().map(|root| format!("of {root}")),
        line.chunks.map(chunks),
        (line.reused > 0).then(|| format!("{} reused", line.reused)),
        (line.exceptions > 0).then(|| plural(line.exceptions, "exception")),
        line.condition.as_ref().map(|condition| format!("where {condition}")),
    ];
    vec![
        line.table.to_string(),
        count(line.rows),
        bytes(line.copy_bytes),
        bytes(line.stored_bytes),
        ratio(line.copy_bytes, line.stored_bytes),
        count(line.pieces as u64),
        notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
    ]
}

fn chunks(counts: ChunkCounts) -> String {
    let mut text = plural(counts.chunks as u64, "chunk");
    if counts.compressed > 0 {
        text.push_str(&format!(" ({} compressed)", counts.compressed));
    }
    if counts.late > 0 {
        text.push_str(&format!(", {} LATE", counts.late));
    }
    text
}

fn columns(report: &ShowReport) -> String {
    let rows = report.tables.iter().flat_map(|line| {
        line.columns.iter().map(|column| {
            let notes = [
                column.derived.then(|| "generated, not restored".to_owned()),
                (column.exceptions > 0).then(|| plural(column.exceptions, "exception")),
            ];
            vec![
                line.table.to_string(),
                column.name.clone(),
                column.type_sql.clone(),
                notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
            ]
        })
    });
    format!("\n{}", table(&["table", "column", "type", "notes"], rows))
}

fn notes(report: &ShowReport) -> String {
    let mut text = String::new();
    for omission in &report.omitted {
        text.push_str(&format!("\nomitted: {}: {}", omission.what, omission.why));
    }
    for warning in &report.warnings {
        text.push_str(&format!("\nwarning: {} ({})", warning.message, warning.code));
    }
    for proof in &report.attestations {
        let verdict = match proof.ok {
            Some(true) => "passed",
            Some(false) => "FAILED",
            None => "recorded",
        };
        let time = proof.time.as_deref().unwrap_or_default();
        text.push_str(&format!("\nproof: {} {verdict} {time}", proof.what));
    }
    text
}
