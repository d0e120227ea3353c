//! `barkeep diff`.

use std::time::Duration;

use super::selection::selection;
use crate::cli::CommandResult;
use crate::cli::args::DiffArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::row::{field, shortened};
use crate::cli::output::table::{count, plural, seconds};
use crate::ops::ExitCode;
use crate::ops::diff::{
    ColumnChange, Counts, DiffReport, DiffRequest, DiffSide, DiffVerdict, DiffWith, RowDiff, RowText,
    TableDiff, UnitDiff, diff,
};
use crate::store::BackupChoice;

pub(super) async fn run(args: &DiffArgs, context: &Context) -> CommandResult {
    let b = match &args.database {
        Some(database) => DiffWith::Database(Box::new(context.database(Some(database))?)),
        None => DiffWith::Backup(args.b.as_ref().map_or_else(BackupChoice::latest, BackupChoice::named)),
    };
    let request = DiffRequest {
        selection: selection(&args.chosen)?,
        sample: args.sample,
        summary: args.summary,
        ..DiffRequest::new(BackupChoice::named(&args.a), b)
    };
    let report = diff(&context.vault()?, &request, &context.services).await?;
    // Nothing is wrong with either side: that they differ is the answer.
    let code = if report.is_equal() { ExitCode::Ok } else { ExitCode::Warnings };
    Outcome::new(&report, text(&report), code as u8)
}

/// The sides, the tables that differ, and one line for all.
fn text(report: &DiffReport) -> String {
    let mut text = format!("A  {}\nB  {}\n\n", side(&report.a), side(&report.b));
    let differing: Vec<&TableDiff> =
        report.tables.iter().filter(|table| table.verdict != DiffVerdict::Equal).collect();
    for table in &differing {
        text.push_str(&difference(table));
    }
    let all = plural(report.tables.len() as u64, "table");
    let verdict = match differing.len() {
        0 => format!("the same ({all}"),
        some => format!("DIFFERENT ({some} of {all}"),
    };
    let time = seconds(Duration::from_secs_f64(report.seconds));
    let pieces = format!("{} of {}", count(report.pieces_read as u64), plural(report.pieces as u64, "piece"));
    text.push_str(&format!("A and B: {verdict}, {pieces} read in {time})\n"));
    text
}

fn side(side: &DiffSide) -> String {
    let what = match &side.backup {
        Some(id) => format!("backup {id} of {}", side.database),
        None => format!("database {}", side.database),
    };
    let only = side.selection.as_ref().map_or(String::new(), |options| format!(", only {options}"));
    format!("{what}, {}{only}", side.snapshot_time.readable())
}

fn difference(table: &TableDiff) -> String {
    let mut text = heading(table);
    for change in &table.columns {
        text.push_str(&format!("  {}\n", column(change)));
    }
    for note in &table.notes {
        text.push_str(&format!("  {note}\n"));
    }
    for change in &table.units {
        text.push_str(&format!("  {}\n", unit(change)));
    }
    for row in &table.rows {
        text.push_str(&rows(row, &table.key));
    }
    if let Some(counts) = &table.counts {
        let shown: u64 = table.rows.iter().map(|row| row.times).sum();
        let rest = (counts.added + counts.removed + counts.changed).saturating_sub(shown);
        if rest > 0 && shown > 0 {
            text.push_str(&format!("  … and {} more; --sample N shows them\n", count(rest)));
        }
    }
    text
}

fn heading(table: &TableDiff) -> String {
    let twin = table.same_rows.as_ref().map(|twin| format!("; {twin} has the same rows: renamed?"));
    let twin = twin.unwrap_or_default();
    let rows = |rows: Option<u64>| rows.map_or(String::new(), |rows| format!(": {}", plural(rows, "row")));
    match table.verdict {
        DiffVerdict::OnlyInA => format!("ONLY IN A {}{}{twin}\n", table.table, rows(table.a)),
        DiffVerdict::OnlyInB => format!("ONLY IN B {}{}{twin}\n", table.table, rows(table.b)),
        DiffVerdict::Equal | DiffVerdict::Different => {
            let (a, b) = (table.a.unwrap_or_default(), table.b.unwrap_or_default());
            let b = if a == b { String::new() } else { format!(" in A, {} in B", count(b)) };
            let counts = table.counts.as_ref().map(|counts| format!("; {}", numbers(counts)));
            format!("DIFFERENT {}: {}{b}{}\n", table.table, plural(a, "row"), counts.unwrap_or_default())
        }
    }
}

/// `2 added, 1 removed, 3 changed`.
fn numbers(counts: &Counts) -> String {
    let all = [(counts.added, "added"), (counts.removed, "removed"), (counts.changed, "changed")];
    let words: Vec<String> = all
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", count(*number)))
        .collect();
    match (words.is_empty(), counts.exact) {
        (true, _) => "the same by the columns of both".to_owned(),
        (false, true) => words.join(", "),
        (false, false) => format!("at least {}", words.join(", ")),
    }
}

fn column(change: &ColumnChange) -> String {
    let name = &change.column;
    match (&change.a, &change.b) {
        (Some(a), Some(b)) => {
            let compared = if change.compared { "" } else { "; not compared" };
            format!("column {name}: {a} in A, {b} in B{compared}")
        }
        (Some(a), None) => format!("column {name}: {a}, only in A"),
        (None, b) => format!("column {name}: {}, only in B", b.as_deref().unwrap_or_default()),
    }
}

fn unit(change: &UnitDiff) -> String {
    match (change.a, change.b) {
        (Some(a), Some(b)) => format!("{}: {} in A, {} in B", change.unit, plural(a, "row"), count(b)),
        (Some(a), None) => format!("{}: {}, only in A", change.unit, plural(a, "row")),
        (None, b) => format!("{}: {}, only in B", change.unit, plural(b.unwrap_or_default(), "row")),
    }
}

/// A row that was removed or added on one line, one that was changed on two.
fn rows(row: &RowDiff, key: &[String]) -> String {
    let times = if row.times > 1 { format!(" ({} times)", count(row.times)) } else { String::new() };
    let one = |sign: char, own: &Option<RowText>, other: &Option<RowText>| {
        let own = own.as_ref()?;
        Some(format!("  {sign} {}{times}\n", line(own, other.as_ref(), &row.differ, key)))
    };
    let lines = [one('-', &row.a, &row.b), one('+', &row.b, &row.a)];
    lines.into_iter().flatten().collect()
}

/// `id=7 *price=1.50`: the key first.
fn line(own: &RowText, other: Option<&RowText>, differ: &[String], key: &[String]) -> String {
    let place = |name: &String| key.iter().position(|column| column == name).unwrap_or(key.len());
    let mut columns: Vec<(usize, String)> = own
        .iter()
        .enumerate()
        .map(|(at, (name, value))| {
            let theirs = other.and_then(|row| row.get(at)).and_then(|(_, value)| value.as_deref());
            let mark = if differ.contains(name) { "*" } else { "" };
            let text = value.as_deref().map(|value| shortened(value, theirs));
            (place(name), format!("{mark}{}", field(name, text.as_deref())))
        })
        .collect();
    columns.sort_by_key(|(place, _)| *place);
    columns.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
}
