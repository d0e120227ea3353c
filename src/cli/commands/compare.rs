//! `barkeep compare`.

use std::time::Duration;

use crate::cli::CommandResult;
use crate::cli::args::CompareArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::row::field;
use crate::cli::output::table::{count, plural, seconds};
use crate::ops::ExitCode;
use crate::ops::compare::{
    CompareReport, CompareRequest, RowDifference, Side, TableComparison, TableVerdict, compare,
};

pub(super) async fn run(args: &CompareArgs, context: &Context) -> CommandResult {
    let request = CompareRequest {
        choice: args.backup.choice(),
        rows: args.rows,
        limit: args.limit,
        ..CompareRequest::new(context.database(args.database.as_deref())?)
    };
    let report = compare(&context.vault()?, &request, &context.services).await?;
    Outcome::new(&report, verdict(&report), exit_code(&report))
}

/// A live source that differs has changed since, which is nobody's fault.
pub(super) fn exit_code(report: &CompareReport) -> u8 {
    let code = match (report.is_equal(), report.source_itself) {
        (true, _) => ExitCode::Ok,
        (false, true) => ExitCode::Warnings,
        (false, false) => ExitCode::Integrity,
    };
    code as u8
}

/// The tables that differ, and one line for all.
pub(super) fn verdict(report: &CompareReport) -> String {
    let mut text = String::new();
    let different: Vec<&TableComparison> =
        report.tables.iter().filter(|table| table.verdict != TableVerdict::Equal).collect();
    for table in &different {
        text.push_str(&difference(table));
    }
    for sequence in &report.sequences {
        text.push_str(&format!("DIFFERENT sequence {sequence}\n"));
    }
    let time = seconds(Duration::from_secs_f64(report.seconds));
    let all = plural(report.tables.len() as u64, "table");
    let rows = plural(report.rows, "row");
    text.push_str(&match (report.is_equal(), report.source_itself) {
        (true, _) => format!("backup {}: equal ({all}, {rows} compared in {time})\n", report.backup),
        (false, true) => format!(
            "backup {}: the source has changed since ({} of {all}, {rows} compared in {time})\n",
            report.backup,
            different.len()
        ),
        (false, false) => format!(
            "backup {}: NOT EQUAL ({} of {all} differ, {rows} compared in {time})\n",
            report.backup,
            different.len()
        ),
    });
    text
}

fn difference(table: &TableComparison) -> String {
    let mut text = match (&table.verdict, &table.found) {
        (TableVerdict::Missing(why), _) => format!("MISSING {}: {why}\n", table.table),
        (_, Some(found)) => format!(
            "DIFFERENT {}: {} in the backup, {} in the database\n",
            table.table,
            plural(table.expected.rows, "row"),
            count(found.rows)
        ),
        (_, None) => format!("DIFFERENT {}\n", table.table),
    };
    for range in &table.ranges {
        text.push_str(&format!("  from {range}\n"));
    }
    for row in &table.differences {
        text.push_str(&format!("  {}\n", line(row)));
    }
    if table.truncated {
        text.push_str("  … and more; --limit N shows them\n");
    }
    text
}

/// `- id=7 price=1.50 note=NULL`: a row as one line, whatever its texts contain.
fn line(row: &RowDifference) -> String {
    let sign = match row.side {
        Side::OnlyInBackup => '-',
        Side::OnlyInDatabase => '+',
    };
    let columns: Vec<String> =
        row.columns.iter().map(|(name, value)| field(name, value.as_deref())).collect();
    format!("{sign} {}", columns.join(" "))
}
