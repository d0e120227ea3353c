//! The other side is a database, read under one snapshot.

use std::collections::BTreeMap;

use super::layout::Layout;
use super::units::UnitDiff;
use super::{Compared, DiffSide, DiffVerdict, Run, TableDiff, by_columns, table_diff};
use crate::base::{RowsetDigest, TableName};
use crate::catalog::{Relation, SourceFacts};
use crate::manifest::{Table, TableKind};
use crate::ops::OpsError;
use crate::ops::compare::{Group, Reading, digest_error, mappings, pieces_of, readings};
use crate::ops::rows::{Rows, Search, Source, differences};
use crate::pg::{ConnectionSettings, Probe};
use crate::pipeline::digest::of_query;
use crate::plan::dump::{choose_relations, mappings as chosen_mappings};
use crate::plan::units::{table_of, tree_of};

/// The database.
struct Live {
    probe: Probe,
    facts: SourceFacts,
    relations: BTreeMap<TableName, Relation>,
    /// Its continuous aggregates, with what holds their rows.
    materialised: BTreeMap<TableName, TableName>,
}

impl Live {
    async fn connect(settings: &ConnectionSettings, aggregates: bool) -> Result<Self, OpsError> {
        let probe = Probe::connect(settings).await?;
        let facts = probe.facts().await?;
        let survey = probe.survey().await?;
        let materialised = if aggregates { probe.materialisations().await? } else { BTreeMap::new() };
        let relations = survey.relations.into_iter().map(|relation| (relation.name.clone(), relation));
        Ok(Self { facts, relations: relations.collect(), materialised, probe })
    }

    /// A table as a dump would plan it.
    fn table(&self, name: &TableName) -> Option<Table> {
        let relation = self.relations.get(name)?;
        let mappings = chosen_mappings(relation, &self.facts, &BTreeMap::new(), None);
        Some(table_of(relation, &tree_of(relation, &self.relations), &mappings))
    }
}

impl Run<'_> {
    pub(super) async fn with_database(&self, settings: &ConnectionSettings) -> Result<Compared, OpsError> {
        let manifest = &self.a.manifest;
        let live = Live::connect(settings, manifest.body.timescale.is_some()).await?;
        self.strictly_matched(live.relations.keys())?;
        let ours = self.groups();
        let b = DiffSide {
            backup: None,
            root: None,
            database: live.facts.database.clone(),
            snapshot_time: live.probe.time().await?,
            selection: None,
        };
        let leaves = ours.values().flat_map(|group| &group.leaves);
        let pieces = leaves.map(|table| manifest.pieces(table).count()).sum();
        let mut compared =
            Compared { b, tables: Vec::new(), digests: BTreeMap::new(), pieces_read: 0, pieces };
        for (name, group) in &ours {
            let Some(first) = group.leaves.first() else { continue };
            // Large objects are no relation of the user's, and the same everywhere.
            let there = match first.kind {
                TableKind::LargeObjects => Some((*first).clone()),
                _ => live.table(name),
            };
            let table = match there {
                Some(other) => {
                    self.held_against(&live, group, first, &other, &mut compared.pieces_read).await?
                }
                None => table_diff(name, Some(group.expected.rows), None, DiffVerdict::OnlyInA),
            };
            self.done(&table);
            compared.tables.push(table);
        }
        compared.tables.extend(self.only_there(&live));
        compared.tables.sort_by(|one, other| one.table.cmp(&other.table));
        Ok(compared)
    }

    /// Tables of the database that a dump would take, and that the backup does not have.
    fn only_there(&self, live: &Live) -> Vec<TableDiff> {
        let all: Vec<Relation> = live.relations.values().cloned().collect();
        let chosen = choose_relations(&all, &self.request.selection, live.facts.in_recovery);
        let ours = self.groups();
        let mut names: Vec<TableName> = chosen
            .tables
            .iter()
            .map(|relation| {
                tree_of(relation, &live.relations).hashed.unwrap_or_else(|| relation.name.clone())
            })
            .filter(|name| !ours.contains_key(name))
            .collect();
        names.sort();
        names.dedup();
        names.iter().map(|name| table_diff(name, None, None, DiffVerdict::OnlyInB)).collect()
    }

    async fn held_against(
        &self,
        live: &Live,
        group: &Group<'_>,
        first: &Table,
        other: &Table,
        pieces_read: &mut usize,
    ) -> Result<TableDiff, OpsError> {
        let layout = Layout::of(first, other);
        // The database is asked for the common columns, in the order of the backup.
        let asked = Table { columns: layout.asked(), ..first.clone() };
        let asked = Group { name: group.name.clone(), leaves: vec![&asked], expected: group.expected };
        let all = readings(&group.name, &self.a.manifest, &asked, &live.materialised);
        live.probe.mark().await?;
        let mut found = RowsetDigest::default();
        let (mut differing, mut units) = (Vec::new(), Vec::new());
        for reading in all {
            let digest = self.digest(live, &asked, &reading).await?;
            found += digest;
            if layout.covers_a() && digest == reading.expected {
                continue;
            }
            if let Some(label) = reading.label.as_ref().filter(|_| layout.covers_a()) {
                let (a, b) = (Some(reading.expected.rows), Some(digest.rows));
                units.push(UnitDiff { unit: format!("from {label}"), a, b });
            }
            differing.push(reading);
        }
        let mut table = by_columns(&group.name, &layout, group.expected.rows, found.rows);
        table.units = units;
        if differing.is_empty() {
            return Ok(table);
        }
        if layout.covers_a() && self.request.summary {
            table.verdict = DiffVerdict::Different;
            return Ok(table);
        }
        *pieces_read += self.rows(live, group, &layout, &differing, &mut table).await?;
        Ok(table)
    }

    async fn digest(
        &self,
        live: &Live,
        asked: &Group<'_>,
        reading: &Reading,
    ) -> Result<RowsetDigest, OpsError> {
        let columns = asked.leaves.first().map(|table| mappings(table)).unwrap_or_default();
        let on_row = Box::new(|_: &_, _: &_| Ok(()));
        let digest = of_query(live.probe.client(), &reading.sql, columns, self.key, on_row).await;
        let digest = digest.map_err(|error| digest_error(&asked.name, error))?;
        if reading.units.is_some() {
            // The locks of many chunks go with it.
            live.probe.back().await?;
        }
        Ok(digest)
    }

    /// Looks for the rows that differ among `readings`; gives the pieces that were read.
    async fn rows(
        &self,
        live: &Live,
        group: &Group<'_>,
        layout: &Layout<'_>,
        readings: &[Reading],
        table: &mut TableDiff,
    ) -> Result<usize, OpsError> {
        let pieces = pieces_of(&self.a.manifest, group, readings);
        let read = pieces.len();
        let [ours, _] = layout.mappings();
        let search = Search {
            key: self.key,
            rows: table.a.unwrap_or_default() + table.b.unwrap_or_default(),
            mappings: &ours,
            keyed_by: &layout.keyed_by(),
            sample: if self.request.summary { 0 } else { self.request.sample },
        };
        let rows = Rows::Stored { vault: self.vault, pieces };
        let a = Source { table: &group.name, rows, projection: layout.of_a() };
        let mappings = layout.asked().into_iter().map(|column| column.mapping).collect();
        let rows = Rows::Live { probe: &live.probe, readings, mappings, key: self.key };
        let b = Source { table: &group.name, rows, projection: layout.of_asked() };
        let found = differences(&search, &a, &b).await?;
        self.describe(layout, found, table)?;
        Ok(read)
    }
}
