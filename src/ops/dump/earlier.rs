//! The backup before this one: whose choices of mapping stay, and with whose pieces unchanged units are shared.
//!
//! Everything is looked up by name: a search through all tables, or all chunks, for each of them makes ten thousand tables
//! a hundred million comparisons.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Run;
use crate::base::{BackupId, Digest, TableName, Timestamp};
use crate::catalog::timescale::Chunk;
use crate::codec::shape::PieceShape;
use crate::manifest::{Link, Manifest, Table, Unit};
use crate::ops::OpsError;
use crate::pipeline::dump::EarlierUnit;
use crate::plan::copy::piece_shape;

/// Backups that have been read: when their snapshots were taken, and their roots.
pub(super) type Known = BTreeMap<BackupId, (Timestamp, Digest)>;

/// An earlier backup.
pub(super) struct Earlier {
    manifest: Manifest,
    /// Indexes into its tables.
    tables: HashMap<TableName, usize>,
}

/// What tells the units of one table apart: their first page, or their chunk.
type UnitKey<'a> = (Option<u32>, Option<&'a TableName>);

/// How the units of a table are carried, and those of the earlier backup that were carried in the same way.
pub(super) struct Carried<'a> {
    pub(super) shape: Arc<PieceShape>,
    earlier: Option<&'a Earlier>,
    units: HashMap<UnitKey<'a>, &'a Unit>,
}

impl Earlier {
    fn new(manifest: Manifest) -> Self {
        let tables = manifest.body.tables.iter().enumerate();
        let tables = tables.map(|(index, table)| (table.name.clone(), index)).collect();
        Self { manifest, tables }
    }

    /// A table of it.
    pub(super) fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.get(name).and_then(|index| self.manifest.body.tables.get(*index))
    }
}

impl<'a> Carried<'a> {
    /// For one table of the plan.
    pub(super) fn of(table: &Table, earlier: Option<&'a Earlier>) -> Self {
        let shape = Arc::new(piece_shape(table));
        let before = earlier.and_then(|earlier| earlier.table(&table.name)).filter(|before| {
            before.folder == table.folder
                && before.pages_per_unit == table.pages_per_unit
                && piece_shape(before).metadata == shape.metadata
        });
        let key = |unit: &'a Unit| (unit.from_page, unit.chunk.as_ref().map(|chunk| &chunk.chunk.name));
        let units =
            before.into_iter().flat_map(|before| &before.units).map(|unit| (key(unit), unit)).collect();
        Self { shape, earlier, units }
    }

    /// The unit that begins with this page.
    pub(super) fn pages(&self, from_page: Option<u32>) -> Option<EarlierUnit> {
        self.unit(self.units.get(&(from_page, None))?)
    }

    /// The same chunk.
    pub(super) fn chunk(&self, chunk: &Chunk) -> Option<EarlierUnit> {
        let unit = self.units.get(&(None, Some(&chunk.name)))?;
        let same = unit.chunk.as_ref().is_some_and(|old| old.chunk.ranges == chunk.ranges);
        if same { self.unit(unit) } else { None }
    }

    fn unit(&self, unit: &Unit) -> Option<EarlierUnit> {
        let head = &self.earlier?.manifest.head;
        let pieces = unit.pieces.iter().filter_map(|index| head.pieces.get(*index).cloned()).collect();
        Some(EarlierUnit { id: head.id.clone(), pieces })
    }
}

impl Run<'_> {
    /// The newest backup of this database under the same key, if there is one with rows.
    pub(super) fn earlier(&mut self) -> Result<Option<Earlier>, OpsError> {
        let (facts, key_id) = (&self.facts, self.vault.key_id());
        let known = &mut self.known;
        let found = self.vault.newest(|sealed| {
            let manifest = &sealed.manifest;
            known.insert(manifest.head.id.clone(), (manifest.head.snapshot_time, sealed.root));
            let source = &manifest.body.source;
            source.database == facts.database
                && source.system_identifier == facts.system_identifier
                && manifest.head.rowset.key_id == key_id
                && !manifest.body.tables.is_empty()
        })?;
        Ok(found.map(|sealed| Earlier::new(sealed.manifest)))
    }

    /// The newest backup of the vault as of now. What has been read at the beginning is not read again.
    pub(super) fn previous(&self) -> Result<Option<Link>, OpsError> {
        let mut newest: Option<(Timestamp, BackupId, Digest)> = None;
        for id in self.vault.backups()? {
            let (time, root) = match self.known.get(&id) {
                Some(known) => *known,
                None => {
                    let sealed = self.vault.manifest(&id)?;
                    (sealed.manifest.head.snapshot_time, sealed.root)
                }
            };
            if newest.as_ref().is_none_or(|(than, other, _)| (time, &id) > (*than, other)) {
                newest = Some((time, id, root));
            }
        }
        Ok(newest.map(|(_, id, root)| Link { id, root }))
    }
}
