//! Hypertables in the data phase: a unit a chunk, in the order its rows lie in, cut by `--since` and `--until`; and what
//! changed meanwhile, read again once the locks are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::data::{Planned, condition_of};
use super::earlier::Carried;
use super::{DumpRequest, OpsError, Run};
use crate::base::{Event, TableName, quote_ident};
use crate::catalog::Relation;
use crate::catalog::timescale::{Compression, Hypertable, OrderColumn, Range};
use crate::manifest::Table;
use crate::ops::ExitCode;
use crate::pg::Locked;
use crate::pg::timescale::{ChunkRead, LateRange, SurveyedChunk};
use crate::pipeline::dump::{ChangedUnit, EarlierUnit, LateJob, Reading};
use crate::plan::chunks::{conditions, file_name};
use crate::plan::copy::copy_out_in_order;
use crate::plan::mapping::NumericProfile;
use crate::plan::units::UnitPlan;
use crate::store::Staging;

/// A hypertable's part of the plan.
#[derive(Debug, Clone)]
pub(super) struct Chunked {
    pub(super) hypertable: Hypertable,
    /// The table to read through where a chunk itself cannot be.
    pub(super) root: TableName,
    /// One for each unit.
    pub(super) chunks: Vec<PlannedChunk>,
    /// `--where`, which holds for every chunk.
    pub(super) condition: Option<String>,
    /// `--since` and `--until`, as conditions on a row.
    pub(super) slice: Vec<String>,
}

/// A chunk to read.
#[derive(Debug, Clone)]
pub(super) struct PlannedChunk {
    pub(super) surveyed: SurveyedChunk,
    /// It reaches out of the slice that was asked for.
    edge: bool,
}

impl Run<'_> {
    /// The chunks of a relation, if it is a hypertable: those that reach into the slice.
    pub(super) fn chunked(&self, relation: &Relation, condition: Option<String>) -> Option<Chunked> {
        let surveyed = self.timescale.as_ref()?;
        let id = relation.hypertable?;
        let hypertable = surveyed.timescale.rows_of(&relation.name)?.clone();
        let time = hypertable.time()?;
        let everything = Range { from: Range::MIN, to: Range::MAX };
        let slice = self.request.slice.on(time).unwrap_or(everything);
        let of_chunk =
            |chunk: &SurveyedChunk| chunk.chunk.ranges.get(&time.column).copied().unwrap_or(everything);
        let mut chunks: Vec<PlannedChunk> = surveyed
            .chunks
            .get(&id)
            .into_iter()
            .flatten()
            .filter(|chunk| of_chunk(chunk).overlaps(slice))
            .map(|chunk| PlannedChunk { edge: !slice.contains(of_chunk(chunk)), surveyed: chunk.clone() })
            .collect();
        chunks.sort_by_key(|chunk| (of_chunk(&chunk.surveyed), chunk.surveyed.chunk.id));
        let slice = conditions(time, slice);
        Some(Chunked { root: relation.storage().clone(), hypertable, chunks, condition, slice })
    }

    /// What unconstrained numerics hold, chunk by chunk: through the root, all chunks would stay locked until the end. One
    /// that changes meanwhile is left out; what does not fit its columns then goes into the sidecar.
    pub(super) async fn profile_chunks(
        &self,
        locked: &Locked,
        relation: &Relation,
        columns: &[String],
    ) -> Result<Vec<NumericProfile>, OpsError> {
        let mut merged: Vec<NumericProfile> = Vec::new();
        let Some(chunked) = self.chunked(relation, None) else { return Ok(merged) };
        let lane = locked.chunk_lane().await?;
        let patience = self.lanes(locked).patience;
        for unit in 0..chunked.chunks.len() {
            lane.begin(Some(&locked.snapshot.name), patience).await?;
            let found = lane.profile(&chunked.read(unit), columns).await;
            let found = match found {
                Err(error) if error.is_connection_lost() => return Err(error.into()),
                found => found,
            };
            lane.end().await?;
            let Ok(found) = found else { continue };
            merged = match merged.is_empty() {
                true => found,
                false => merged.iter().zip(found).map(|(a, b)| a.merged(b)).collect(),
            };
        }
        Ok(merged)
    }

    /// Changed chunks are an error under `--strict`; else their ranges are read again when the locks are gone. False where
    /// there are none, and the locks still stand.
    pub(super) async fn read_late(
        &self,
        locked: &Locked,
        planned: &mut [Planned],
        changed: Vec<ChangedUnit>,
        staging: &Arc<Staging>,
    ) -> Result<bool, OpsError> {
        if changed.is_empty() {
            return Ok(false);
        }
        if self.request.strict {
            let warnings = changed.iter().map(|unit| planned[unit.table].changed(unit));
            let warnings = warnings.collect::<Vec<_>>().join("; ");
            return Err(OpsError::Strict { code: ExitCode::SourceChanged, warnings });
        }
        locked.release().await?;
        let mut jobs = Vec::with_capacity(changed.len());
        for unit in changed {
            let plan = planned[unit.table].units[unit.unit].clone();
            let carried = Carried::of(&planned[unit.table].table, None);
            let job = self.job(planned, &plan, staging, &carried)?;
            let Planned { table, chunked: Some(chunked), .. } = &planned[unit.table] else { continue };
            let Reading::Chunk(chunk) = &job.reading else { continue };
            let edge = chunked.chunks[unit.unit].edge;
            jobs.push(LateJob {
                range: chunked.range(unit.unit, chunk.id),
                root: chunked.root.clone(),
                columns: table.columns.clone(),
                conditions: chunked.conditions(edge),
                why: format!("{} {}", chunk.name, unit.why),
                job,
            });
        }
        let done = self.lanes(locked).run_late(jobs).await.map_err(super::data::dump_error)?;
        let mut tables = BTreeSet::new();
        for ((table, unit, stored), late) in done {
            planned[table].stored[unit] = Some(stored);
            planned[table].late.insert(unit, late);
            tables.insert(table);
        }
        for Planned { table, stored, .. } in tables.into_iter().map(|table| &planned[table]) {
            let rows = stored.iter().flatten().map(|unit| unit.rowset.rows).sum();
            self.services.events.emit(Event::TableDone { table: table.name.clone(), rows });
        }
        Ok(true)
    }
}

impl Chunked {
    fn conditions(&self, edge: bool) -> Vec<String> {
        let slice = self.slice.iter().filter(|_| edge).cloned();
        self.condition.iter().cloned().chain(slice).collect()
    }

    /// All conditions under which rows are in the backup, for the manifest.
    pub(super) fn whole_condition(&self) -> Option<String> {
        condition_of(self.conditions(true))
    }

    /// What is read.
    pub(super) fn surveyed(&self) -> impl Iterator<Item = &SurveyedChunk> {
        self.chunks.iter().map(|chunk| &chunk.surveyed)
    }

    /// A unit for each chunk.
    pub(super) fn units(&self, table: usize) -> Vec<UnitPlan> {
        let chunks = self.chunks.iter().enumerate();
        chunks
            .map(|(unit, chunk)| UnitPlan { table, unit, pages: None, weight: chunk.surveyed.bytes })
            .collect()
    }

    /// How a unit's chunk is read.
    pub(super) fn read(&self, unit: usize) -> ChunkRead {
        let PlannedChunk { surveyed, edge } = &self.chunks[unit];
        // Without unpacking them, all rows can be counted, or none; and other access methods show all of theirs twice.
        let countable = surveyed.chunk.is_compressed() && surveyed.heap && self.conditions(*edge).is_empty();
        ChunkRead {
            id: surveyed.chunk.id,
            oid: surveyed.oid,
            name: surveyed.chunk.name.clone(),
            counted: surveyed.companion.clone().filter(|_| countable),
        }
    }

    /// `SELECT columns FROM chunk`: COPY of the chunk itself, and ONLY, leave out what is compressed.
    pub(super) fn sql(&self, table: &Table, unit: usize) -> String {
        let PlannedChunk { surveyed, edge } = &self.chunks[unit];
        let order = match &surveyed.order {
            Some(order) if surveyed.chunk.is_ordered() => order_by(order),
            _ => Vec::new(),
        };
        copy_out_in_order(&table.columns, &surveyed.chunk.name.sql(), &self.conditions(*edge), &order)
    }

    /// Folder and file name of a unit: its range of time, and the chunk's number, which tells those of one range apart.
    pub(super) fn stem(&self, table: &Table, unit: usize) -> String {
        let chunk = &self.chunks[unit].surveyed.chunk;
        let name =
            self.hypertable.time().and_then(|time| Some(file_name(time, *chunk.ranges.get(&time.column)?)));
        format!("{}/{}.{}", table.folder, name.unwrap_or_default(), chunk.id)
    }

    /// The same chunk of an earlier backup, if it was carried in the same way.
    pub(super) fn earlier(&self, carried: &Carried<'_>, unit: usize) -> Option<EarlierUnit> {
        carried.chunk(&self.chunks[unit].surveyed.chunk)
    }

    fn range(&self, unit: usize, chunk: i32) -> LateRange {
        let ranges = &self.chunks[unit].surveyed.chunk.ranges;
        let dimensions = self.hypertable.dimensions.iter();
        let cube =
            dimensions.filter_map(|dimension| Some((dimension.clone(), *ranges.get(&dimension.column)?)));
        LateRange { hypertable: self.hypertable.id, chunk, cube: cube.collect() }
    }
}

impl Planned {
    fn changed(&self, unit: &ChangedUnit) -> String {
        let chunk = self.chunked.as_ref().map(|chunked| &chunked.chunks[unit.unit].surveyed.chunk.name);
        let chunk = chunk.map(ToString::to_string).unwrap_or_default();
        format!("{}: {chunk} {}", self.table.name, unit.why)
    }
}

/// The order in which compressed rows come out without being sorted.
fn order_by(settings: &Compression) -> Vec<String> {
    let segments = settings.segment_by.iter().flatten().map(|column| quote_ident(column));
    let order = settings.order_by.iter().flatten().map(OrderColumn::sql);
    segments.chain(order).collect()
}

/// `--since` and `--until` mean something only on dimensions of their kind; hypertables of the other kind are taken whole.
pub(super) fn taken_whole(request: &DumpRequest, hypertables: &[&Hypertable]) -> Vec<TableName> {
    let other_kind =
        |hypertable: &&&Hypertable| hypertable.time().is_none_or(|time| request.slice.on(time).is_none());
    hypertables.iter().filter(other_kind).map(|hypertable| hypertable.name.clone()).collect()
}
