//! Schema entries and rows on their way into a target that may have less of TimescaleDB than the source.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::Question;
use crate::base::TableName;
use crate::catalog::ddl::{SchemaDump, SchemaEntry};
use crate::catalog::timescale::EXTENSION;
use crate::manifest::{Manifest, TableKind};
use crate::ops::restore::RestoreRequest;
use crate::ops::restore::preflight::Ground;
use crate::ops::restore::scope::Scope;
use crate::plan::timescale::entries::{self, Lacks};
use crate::plan::timescale::partitions;

/// Decides what is replayed, and fits the entries (still under the backup's names) to it.
pub(in crate::ops::restore) fn fit(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    ground: &Ground,
    all: &SchemaDump,
    chosen: &mut SchemaDump,
    scope: &mut Scope,
) {
    let Some(timescale) = &manifest.body.timescale else { return };
    let question =
        Question { request, manifest, ground, renames: &scope.renames, dump: chosen, whole: scope.whole };
    let mut replay = question.decide(timescale);
    let columns = |view: &TableName| {
        let table = manifest.table(view).filter(|table| !table.columns.is_empty());
        Some((view.clone(), &table?.columns[..]))
    };
    let tables: BTreeMap<TableName, _> = replay.tables.iter().filter_map(columns).collect();
    let views: BTreeSet<TableName> =
        replay.tables.iter().filter(|view| !tables.contains_key(*view)).cloned().collect();
    let extension = replay.functions.is_none();
    if replay.functions.is_some() && !(replay.hypertables.is_empty() && replay.aggregates.is_empty()) {
        with_extension(all, chosen);
    }
    let fitted = entries::fit(chosen, &Lacks { tables, views, extension });
    if !fitted.left_out.is_empty() {
        replay.losses.push(format!("left out, since they need TimescaleDB: {}", fitted.left_out.join(", ")));
    }
    replay.problems.extend(fitted.impossible.iter().map(|label| {
        format!(
            "{label} cannot be made without TimescaleDB, which its definition calls; leave it out with -T"
        )
    }));
    *chosen = fitted.dump;
    if let Some(parts) = entries::parts(chosen) {
        replay.problems.extend(parts.stuck.iter().map(|label| {
            format!("{label} is made of a continuous aggregate, which has to be made after the rows; leave it out with -T")
        }));
    }
    scope.replay = replay;
}

/// A table does not need the extension to be made, so that choosing it does not choose that.
fn with_extension(all: &SchemaDump, chosen: &mut SchemaDump) {
    let is_extension = |entry: &&SchemaEntry| entry.kind == "EXTENSION" && entry.name == EXTENSION;
    let Some(extension) = all.entries.iter().find(is_extension) else { return };
    let needs = |entry: &&SchemaEntry| {
        entry.dump_id == extension.dump_id
            || (entry.kind == "SCHEMA" && extension.depends_on.contains(&entry.dump_id))
    };
    let there: BTreeSet<i32> = chosen.entries.iter().map(|entry| entry.dump_id).collect();
    let missing = all.entries.iter().filter(needs).filter(|entry| !there.contains(&entry.dump_id));
    // In front: nothing that they need was left out.
    let front: Vec<SchemaEntry> = missing.cloned().collect();
    chosen.entries.splice(0..0, front);
}

/// On plain PostgreSQL: hypertables of many chunks as partitioned tables. The entries have their new names already.
pub(in crate::ops::restore) fn parted(
    manifest: &Manifest,
    all: &SchemaDump,
    dump: &mut SchemaDump,
    scope: &mut Scope,
) {
    if manifest.body.timescale.is_none() || scope.replay.functions.is_some() {
        return;
    }
    let mut next = partitions::free_id(all);
    let mut taken: BTreeSet<TableName> = dump.entries.iter().filter_map(SchemaEntry::relation).collect();
    let mut made = BTreeSet::new();
    for hypertable in scope.replay.hypertables.clone() {
        let Some((table, time)) = manifest.table(&hypertable.name).zip(hypertable.time()) else { continue };
        let slices = partitions::slices(table, time);
        if slices.len() <= partitions::FEWEST || !partitions::is_possible(table, time) {
            continue;
        }
        let name = scope.relation(&hypertable.name);
        let is_it = |entry: &SchemaEntry| entry.kind == "TABLE" && entry.relation().as_ref() == Some(&name);
        let Some(at) = dump.entries.iter().position(is_it) else { continue };
        let excludes = dump.entries.iter().any(|entry| {
            entry.definition.contains(" EXCLUDE ") && entry.depends_on.contains(&dump.entries[at].dump_id)
        });
        let Some(parted) = partitions::parted(&dump.entries[at].definition, &time.column) else { continue };
        // Only PostgreSQL 17 lets a partitioned table exclude rows, and only by its partitions' own column.
        if excludes {
            continue;
        }
        let entry = &mut dump.entries[at];
        entry.definition = parted.definition;
        (entry.relkind, entry.access_method) = (Some('p'), None);
        let parts = partitions::partitions(entry, time, &slices, next, &taken);
        next = next.saturating_add(i32::try_from(parts.len()).unwrap_or(i32::MAX));
        taken.extend(parts.iter().filter_map(SchemaEntry::relation));
        scope.replay.notes.push(format!("{name} is partitioned: {} ranges of {}", slices.len(), time.column));
        if let Some(lost) = parted.lost {
            scope.replay.losses.push(format!("{name}: a partitioned table has no {lost}"));
        }
        dump.entries.splice(at + 1..at + 1, parts);
        made.insert(name);
    }
    for entry in &mut dump.entries {
        if partitions::unclustered(entry, &made) {
            scope
                .replay
                .losses
                .push(format!("{}: a partitioned table is not clustered on an index", entry.label()));
        }
    }
}

/// Takes out rows that have nowhere to go, and says what of a slice does not fit.
pub(in crate::ops::restore) fn rows(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    ground: &Ground,
    scope: &mut Scope,
) {
    let Some(timescale) = &manifest.body.timescale else { return };
    let mut warnings = Vec::new();
    let made: BTreeSet<TableName> =
        scope.schema.iter().flat_map(|dump| &dump.entries).filter_map(SchemaEntry::relation).collect();
    let tables = std::mem::take(&mut scope.tables);
    for index in tables {
        let Some(table) = manifest.body.tables.get(index) else { continue };
        let name = scope.relation(&table.name);
        let is_view = ground.relations.contains(&name) && !ground.tables.contains_key(&name);
        if table.kind == TableKind::ContinuousAggregate && !made.contains(&name) && is_view {
            warnings.push(format!(
                "the rows of {name} are left out: it is an aggregate of the target's own rows; refresh it"
            ));
            continue;
        }
        let time = timescale.rows_of(&table.name).and_then(|rows| rows.time());
        if let Some(time) = time.filter(|_| !request.slice.is_everything() && table.kind.is_chunked())
            && request.slice.on(time).is_none()
        {
            warnings.push(format!(
                "{} is taken whole: its time is {}, which --since and --until as given are not",
                table.name, time.column_type
            ));
        }
        scope.tables.push(index);
    }
    scope.warnings.extend(warnings);
}
