//! [`drift`]: what a backup's tables have become since the backups before it, as far as manifests say it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::definition::Severity;
use crate::base::TableName;
use crate::catalog::Sequence;
use crate::manifest::{Manifest, Table};

/// The name of the pack.
pub const DRIFT: &str = "drift";

/// How many earlier backups the usual size of a table is taken from.
pub const REMEMBERED: usize = 7;

/// Fewer rows than this say nothing about the size of one.
pub const ENOUGH_ROWS: u64 = 1000;

/// `[checks.drift]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSettings {
    /// Tables that only ever grow, as `schema.table`: one row less fails.
    pub growth_only: Vec<String>,
    /// By how many per cent rows, and bytes a row, may differ from the median of earlier backups.
    pub percent: f64,
    /// From how many hours on a table without newer rows is stale: more than a weekend with a holiday.
    pub stale_hours: f64,
    /// By how many percentage points the share of NULLs in a column may change.
    pub null_points: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self { growth_only: Vec::new(), percent: 30.0, stale_hours: 96.0, null_points: 10.0 }
    }
}

/// A check of this pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftCheck {
    /// `D1`.
    pub id: &'static str,
    /// `rows`.
    pub name: &'static str,
    /// What is asked.
    pub question: &'static str,
    /// What a finding means.
    pub why: &'static str,
    /// How bad one is.
    pub severity: Severity,
}

/// All of them, in order.
pub const DRIFT_CHECKS: [DriftCheck; 8] = [
    DriftCheck {
        id: "D1",
        name: "rows-lost",
        question: "Which tables have lost all their rows, or any if they only ever grow?",
        why: "A table that was emptied between two backups is a job that ran twice, a wrong WHERE, or a source that was switched off. `barkeep diff` shows which rows are gone.",
        severity: Severity::Error,
    },
    DriftCheck {
        id: "D2",
        name: "rows-unusual",
        question: "Which tables have far more or far fewer rows than they usually have?",
        why: "Compared with the median of earlier backups. A feed that doubled or stopped shows here before anybody misses it.",
        severity: Severity::Warn,
    },
    DriftCheck {
        id: "D3",
        name: "row-size-unusual",
        question: "Which tables have rows of another size than usual?",
        why: "Bytes a row, uncompressed, against the median of earlier backups: columns that became empty, or payloads that grew.",
        severity: Severity::Warn,
    },
    DriftCheck {
        id: "D4",
        name: "table-gone",
        question: "Which tables of the backup before are gone, or new?",
        why: "A dropped table, a rename, or a migration. If it was not planned, the backup before has it.",
        severity: Severity::Warn,
    },
    DriftCheck {
        id: "D5",
        name: "columns-changed",
        question: "Which tables have other columns than in the backup before?",
        why: "A column that was dropped takes its values along; a type that was changed may have rounded them.",
        severity: Severity::Warn,
    },
    DriftCheck {
        id: "D6",
        name: "sequence-went-back",
        question: "Which sequences stand before where they stood in the backup before?",
        why: "Numbers will be given a second time. Usually a table that was restored or truncated with RESTART IDENTITY. One that counts in the other direction now may meet its old numbers, too.",
        severity: Severity::Error,
    },
    DriftCheck {
        id: "D7",
        name: "freshness",
        question: "Which tables had fresh rows in the backup before and have none now, or have lost their newest?",
        why: "The newest time in any of the table's columns that is not in the future. A feed that stopped shows here once; the market pack's stale symbols go on saying it.",
        severity: Severity::Warn,
    },
    DriftCheck {
        id: "D8",
        name: "null-share",
        question: "Which columns have a far larger or smaller share of NULLs than in the backup before?",
        why: "A column that a job no longer fills, or that a migration emptied, while every row is still there.",
        severity: Severity::Warn,
    },
];

/// An object, what it was, and what it is.
pub type Found = (String, String, String);

/// What each check found that manifests answer: D1 to D6.
pub type Findings = BTreeMap<&'static str, Vec<Found>>;

/// Compares `now` with earlier backups of the same database and selection, newest first; `None` if there are none.
pub fn drift(now: &Manifest, earlier: &[Manifest], settings: &DriftSettings) -> Option<Findings> {
    let before = earlier.first()?;
    let mut found = Findings::new();
    let mut say = |id: &'static str, what: String, was: String, is: String| {
        found.entry(id).or_default().push((what, was, is));
    };
    let (old, new) = (tables(before), tables(now));
    for (name, table) in &new {
        let Some(was) = old.get(name) else {
            say("D4", name.to_string(), "not there".to_owned(), format!("{} rows", table.rows));
            continue;
        };
        let grows =
            settings.growth_only.iter().any(|grows| *grows == name.to_string() || *grows == name.name);
        if table.rows < was.rows && (table.rows == 0 || grows) {
            say("D1", name.to_string(), was.rows.to_string(), table.rows.to_string());
        }
        let usual = |value: fn(&Sizes) -> Option<f64>| {
            median(earlier.iter().filter_map(|manifest| value(tables(manifest).get(name)?)).collect())
        };
        let unusual = |value: f64, usual: f64| (value - usual).abs() > usual * settings.percent / 100.0;
        let rows = usual(|sizes| Some(sizes.rows as f64));
        if let Some(rows) = rows.filter(|rows| *rows >= 1.0 && unusual(table.rows as f64, *rows)) {
            say("D2", name.to_string(), format!("{rows:.0}"), table.rows.to_string());
        }
        if let (Some(size), Some(usual)) = (table.bytes_a_row(), usual(Sizes::bytes_a_row))
            && unusual(size, usual)
        {
            say("D3", name.to_string(), format!("{usual:.1}"), format!("{size:.1}"));
        }
        if table.columns != was.columns {
            say("D5", name.to_string(), was.columns.clone(), table.columns.clone());
        }
    }
    for (name, table) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        say("D4", name.to_string(), format!("{} rows", table.rows), "not there".to_owned());
    }
    for sequence in &now.body.sequences {
        let was = before.body.sequences.iter().find(|was| was.name == sequence.name);
        if let Some((was, is)) = was.and_then(|was| went_back(was, sequence)) {
            say("D6", sequence.name.to_string(), was, is);
        }
    }
    Some(found)
}

/// Where a sequence stood and stands, if it will give out numbers again.
fn went_back(was: &Sequence, is: &Sequence) -> Option<(String, String)> {
    if was.ascending != is.ascending {
        let words = |sequence: &Sequence| {
            let direction = if sequence.ascending { "ascending" } else { "descending" };
            format!("{}, {direction}", sequence.last_value)
        };
        return Some((words(was), words(is)));
    }
    let (old, new): (i128, i128) = (was.last_value.parse().ok()?, is.last_value.parse().ok()?);
    let back = if is.ascending { new < old } else { new > old };
    back.then(|| (old.to_string(), new.to_string()))
}

/// A table, or a partitioned table with all its leaves.
#[derive(Default)]
struct Sizes {
    rows: u64,
    bytes: u64,
    columns: String,
}

impl Sizes {
    fn bytes_a_row(&self) -> Option<f64> {
        (self.rows >= ENOUGH_ROWS).then(|| self.bytes as f64 / self.rows as f64)
    }
}

fn tables(manifest: &Manifest) -> BTreeMap<TableName, Sizes> {
    let mut tables: BTreeMap<TableName, Sizes> = BTreeMap::new();
    for table in &manifest.body.tables {
        let sizes = tables.entry(table.root.clone().unwrap_or_else(|| table.name.clone())).or_default();
        sizes.rows += table.rowset.rows;
        sizes.bytes += manifest.pieces(table).map(|piece| piece.copy_bytes).sum::<u64>();
        sizes.columns = columns(table);
    }
    tables
}

fn columns(table: &Table) -> String {
    let mut columns: Vec<String> =
        table.columns.iter().map(|column| format!("{} {}", column.name, column.type_sql)).collect();
    columns.sort();
    columns.join(", ")
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
