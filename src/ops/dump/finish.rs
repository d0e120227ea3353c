//! The end of a dump: schema files, manifest, report.

use std::collections::BTreeSet;
use std::time::Instant;

use super::data::{Data, SLICE};
use super::{DumpReport, DumpRequest, Run, TableReport, selection_record};
use crate::base::{Digest, TableName};
use crate::catalog::ddl::{SchemaDump, SchemaEntry, Section};
use crate::catalog::timescale::EXTENSION;
use crate::catalog::{LargeObjects, Relation, RelationKind, Sequence};
use crate::codec::rowset::ROWSET_ALG;
use crate::manifest::{
    Body, FORMAT, Head, Manifest, Omission, RowsetAlgorithm, SealedManifest, StoredObject, TIMESCALE, Table,
    Tool, Warning,
};
use crate::ops::{ExitCode, OpsError};
use crate::pg::Locked;
use crate::pg::client_tools::PgDump;
use crate::pg::timescale::Surveyed;
use crate::plan::ddl::timescale::cleaned;
use crate::plan::ddl::{RestoreOptions, Selection, script};
use crate::plan::dump::Chosen;
use crate::store::Staging;

/// What is read last under the snapshot: never behind the rows.
pub(super) struct Tail {
    pub(super) sequences: Vec<Sequence>,
    large_objects: Option<LargeObjects>,
}

impl Run<'_> {
    /// What is read last under the snapshot.
    pub(super) async fn tail(&self, locked: &Locked) -> Result<Tail, OpsError> {
        let everything = self.request.selection.is_everything() && !self.request.schema_only;
        Ok(Tail {
            sequences: self.sequences(locked).await?,
            large_objects: if everything { Some(locked.large_objects().await?) } else { None },
        })
    }

    /// Writes the schema and puts the manifest together.
    pub(super) fn manifest(
        &mut self,
        locked: &Locked,
        staging: &Staging,
        data: Data,
        tail: Tail,
        schema: Option<SchemaDump>,
        tool: Option<&PgDump>,
    ) -> Result<SealedManifest, OpsError> {
        let mut objects = Vec::new();
        let schema_index = match schema {
            Some(schema) => Some(self.store_schema(staging, schema, &mut objects)?),
            None => None,
        };
        let timescale = self.kept_timescale();
        if let (Some(surveyed), Some(_)) = (&self.timescale, &timescale) {
            store(staging, "schema/timescale.json", surveyed.raw.to_string().as_bytes(), &mut objects)?;
        }
        let consistent = self.note_late(&data.tables);
        let required = timescale
            .as_ref()
            .is_some_and(|found| !found.hypertables.is_empty() || !found.aggregates.is_empty());
        let previous = self.previous()?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            required: if required { vec![TIMESCALE.to_owned()] } else { Vec::new() },
            head: Head {
                id: staging.id().clone(),
                vault: self.vault.id().clone(),
                snapshot_time: locked.time,
                finished: self.services.clock.now(),
                previous,
                rowset: RowsetAlgorithm {
                    alg: ROWSET_ALG.to_owned(),
                    key_id: self.vault.key_id().to_owned(),
                },
                seal: None,
                pieces: data.pieces,
                objects,
            },
            body: Body {
                tool: this_tool(tool),
                tag: self.request.tag.clone(),
                keep_forever: self.request.keep_forever,
                source: self.facts.clone(),
                snapshot: locked.snapshot.clone(),
                selection: selection_record(self.request),
                tables: data.tables,
                sequences: tail.sequences,
                large_objects: tail.large_objects,
                populated_views: self.populated_views(),
                schema: schema_index,
                omitted: self.omissions(),
                warnings: std::mem::take(&mut self.warnings),
                timescale,
                consistent,
            },
        };
        Ok(SealedManifest::seal(manifest)?)
    }

    fn populated_views(&self) -> Vec<TableName> {
        let populated = |relation: &&Relation| {
            relation.kind == RelationKind::MaterializedView
                && relation.populated
                && relation.extension.is_none()
        };
        self.relations.iter().filter(populated).map(|view| view.name.clone()).collect()
    }

    /// `schema/catalog.json` is what a restore reads; the two .sql files are for people and psql.
    fn store_schema(
        &self,
        staging: &Staging,
        schema: SchemaDump,
        objects: &mut Vec<StoredObject>,
    ) -> Result<usize, OpsError> {
        let schema = self.selected_schema(schema);
        let json = serde_json::to_vec(&schema).map_err(|error| OpsError::Internal(error.to_string()))?;
        let options = RestoreOptions::default();
        let part = |section: Section| {
            let entries: Vec<_> = schema.entries.iter().filter(|entry| entry.section == section).collect();
            script(&schema, entries, &options).into_bytes()
        };
        let files = [
            ("schema/catalog.json", json),
            ("schema/pre-data.sql", part(Section::PreData)),
            ("schema/post-data.sql", part(Section::PostData)),
        ];
        let index = objects.len();
        for (path, bytes) in files {
            store(staging, path, &bytes, objects)?;
        }
        Ok(index)
    }

    fn selected_schema(&self, schema: SchemaDump) -> SchemaDump {
        let schema = match &self.timescale {
            Some(surveyed) => cleaned(schema, &surveyed.timescale),
            None => schema,
        };
        let selection = &self.request.selection;
        if selection.is_everything() {
            return schema;
        }
        // Leaves come with their root.
        let chosen: BTreeSet<_> = self.chosen.tables.iter().map(|relation| relation.name.clone()).collect();
        let table = |name: &TableName| selection.takes(name) || chosen.contains(name);
        let by_schema = selection.tables.is_empty();
        let takes_schema = |name: &str| by_schema && selection.takes_schema(name);
        let mut selected = Selection { table: &table, schema: &takes_schema }.apply(&schema).dump;
        if self.chosen.tables.iter().any(|relation| relation.hypertable.is_some()) {
            // No hypertable without the extension; its entry belongs to no schema that could be chosen.
            let extension = |entry: &&SchemaEntry| entry.kind == "EXTENSION" && entry.name == EXTENSION;
            let missing =
                schema.entries.iter().find(extension).filter(|entry| !selected.entries.contains(entry));
            selected.entries.splice(0..0, missing.cloned());
        }
        selected
    }

    pub(super) async fn sequences(&self, locked: &Locked) -> Result<Vec<Sequence>, OpsError> {
        let selection = &self.request.selection;
        let tables: BTreeSet<&TableName> = self.chosen.tables.iter().map(|relation| &relation.name).collect();
        let mut kept = Vec::new();
        let mut unreadable = Vec::new();
        for (sequence, readable) in locked.sequences().await? {
            let owned = || sequence.owned_by.as_ref().is_some_and(|owner| tables.contains(owner));
            let chosen = selection.takes(&sequence.name) || owned();
            match (chosen, readable) {
                (true, true) => kept.push(sequence),
                (true, false) => unreadable.push(format!("{}: no SELECT privilege", sequence.name)),
                (false, _) => {}
            }
        }
        if unreadable.is_empty() {
            return Ok(kept);
        }
        let list = unreadable.join("\n  ");
        Err(OpsError::Privileges(format!("{} sequences cannot be read:\n  {list}", unreadable.len())))
    }

    fn omissions(&self) -> Vec<Omission> {
        let mut omitted = self.chosen.omitted.clone();
        let mut add =
            |what: &str, why: &str| omitted.push(Omission { what: what.to_owned(), why: why.to_owned() });
        add("roles and tablespaces", "they belong to the cluster; restore checks that the roles are there");
        if !self.request.selection.is_everything() {
            add("large objects", "only a dump of everything has them");
        }
        if self.request.schema_only {
            add("all rows", "--schema-only");
        }
        if self.request.data_only {
            add("the schema", "--data-only");
        }
        omitted
    }
}

/// Writes a file that is no piece.
fn store(
    staging: &Staging,
    path: &str,
    bytes: &[u8],
    objects: &mut Vec<StoredObject>,
) -> Result<(), OpsError> {
    staging.write(path, bytes)?;
    let path = staging.final_path(path);
    objects.push(StoredObject { path, bytes: bytes.len() as u64, blake3: Digest::of(bytes) });
    Ok(())
}

fn this_tool(pg_dump: Option<&PgDump>) -> Tool {
    Tool {
        name: "barkeep".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pg_dump: pg_dump.map(|tool| tool.version().text.clone()),
    }
}

/// `--strict`: all warnings as one error, with the code of the first.
pub(super) fn strict(sealed: &SealedManifest) -> OpsError {
    let warnings = &sealed.manifest.body.warnings;
    let texts: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    let code = match warnings.first().map(|warning| warning.code.as_str()) {
        Some(SLICE) => ExitCode::Warnings,
        _ => ExitCode::SourceChanged,
    };
    OpsError::Strict { code, warnings: texts.join("; ") }
}

/// What was done, from the manifest itself.
pub(super) fn report(sealed: &SealedManifest, began: Instant) -> DumpReport {
    let manifest = &sealed.manifest;
    let tables: Vec<TableReport> =
        manifest.body.tables.iter().map(|table| table_report(manifest, table)).collect();
    let reused = manifest.head.pieces.iter().filter(|piece| piece.reused_from.is_some());
    DumpReport {
        backup: Some(manifest.head.id.clone()),
        root: Some(sealed.root),
        rows: manifest.rows(),
        bytes: manifest.head.pieces.iter().map(|piece| piece.copy_bytes).sum(),
        stored: manifest.stored_bytes(),
        reused: reused.map(|piece| piece.bytes).sum(),
        tables,
        seconds: began.elapsed().as_secs_f64(),
        omitted: manifest
            .body
            .omitted
            .iter()
            .map(|omission| format!("{} ({})", omission.what, omission.why))
            .collect(),
        warnings: manifest.body.warnings.clone(),
        dry_run: false,
    }
}

fn table_report(manifest: &Manifest, table: &Table) -> TableReport {
    let pieces: Vec<_> = manifest.pieces(table).collect();
    TableReport {
        table: table.name.clone(),
        rows: table.rowset.rows,
        bytes: pieces.iter().map(|piece| piece.copy_bytes).sum(),
        stored: pieces.iter().map(|piece| piece.bytes).sum(),
        pieces: pieces.len(),
        reused: pieces.iter().filter(|piece| piece.reused_from.is_some()).count(),
        units: table.units.len(),
        exceptions: table.columns.iter().map(|column| column.exceptions).sum(),
        clustered: table.clustered.as_ref().map(|clustered| clustered.rows),
    }
}

/// What would be done.
pub(super) fn dry_run(
    request: &DumpRequest,
    chosen: &Chosen,
    timescale: Option<&Surveyed>,
    began: Instant,
) -> DumpReport {
    let chunks = |relation: &Relation| timescale?.chunks.get(&relation.hypertable?);
    let tables: Vec<TableReport> = chosen
        .tables
        .iter()
        .map(|relation| {
            let pages = crate::plan::units::pages_per_unit(relation, None);
            let chunks = chunks(relation).map(Vec::as_slice).unwrap_or_default();
            TableReport {
                table: relation.name.clone(),
                rows: u64::try_from(relation.estimated_rows).unwrap_or(0)
                    + chunks.iter().map(|chunk| chunk.rows).sum::<u64>(),
                bytes: relation.pages * 8192
                    + relation.toast_bytes
                    + chunks.iter().map(|chunk| chunk.bytes).sum::<u64>(),
                stored: 0,
                pieces: 0,
                reused: 0,
                units: match relation.hypertable {
                    Some(_) => chunks.len(),
                    None => crate::plan::units::split(0, relation, pages).len(),
                },
                exceptions: 0,
                clustered: None,
            }
        })
        .collect();
    let warnings: Vec<Warning> = Vec::new();
    DumpReport {
        backup: None,
        root: None,
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
        stored: 0,
        reused: 0,
        tables: if request.schema_only { Vec::new() } else { tables },
        seconds: began.elapsed().as_secs_f64(),
        omitted: chosen
            .omitted
            .iter()
            .map(|omission| format!("{} ({})", omission.what, omission.why))
            .collect(),
        warnings,
        dry_run: true,
    }
}
