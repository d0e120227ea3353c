//! What must hold inside any manifest before it is written and before it is believed.

use std::collections::BTreeSet;

use super::{Manifest, ManifestError};
use crate::base::{RowsetDigest, TableName};

/// Paths are plain, indexes point at something, sums add up, nothing is named twice.
pub(super) fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    paths(manifest)?;
    let mut used = vec![false; manifest.head.pieces.len()];
    let mut names = BTreeSet::new();
    for table in &manifest.body.tables {
        if !names.insert(&table.name) {
            return contradiction(format!("the table {} is listed twice", table.name));
        }
        let mut total = RowsetDigest::default();
        if table.units.iter().any(|unit| unit.chunk.is_some() != table.kind.is_chunked()) {
            return contradiction(format!("{}: its units and its kind do not fit", table.name));
        }
        for unit in &table.units {
            let mut rows = RowsetDigest::default();
            for index in &unit.pieces {
                match used.get_mut(*index) {
                    Some(seen @ false) => *seen = true,
                    _ => {
                        return contradiction(format!(
                            "piece {index} of {} is missing or used twice",
                            table.name
                        ));
                    }
                }
                rows += manifest.head.pieces[*index].rowset;
            }
            same(&table.name, "unit", rows, unit.rowset)?;
            total += rows;
        }
        same(&table.name, "table", total, table.rowset)?;
        if table.counted.is_some_and(|counted| counted != total.rows) {
            return contradiction(format!("{}: count(*) differs from the rows read", table.name));
        }
    }
    if manifest.body.consistent != manifest.late().next().is_none() {
        return contradiction("it says whether it is consistent, and its chunks say otherwise".to_owned());
    }
    if let Some(orphan) = used.iter().position(|used| !used) {
        return contradiction(format!("no table uses the piece {}", manifest.head.pieces[orphan].path));
    }
    if manifest.body.schema.is_some_and(|index| index >= manifest.head.objects.len()) {
        return contradiction("the schema points at no object".to_owned());
    }
    row_groups(manifest)
}

fn contradiction(what: String) -> Result<(), ManifestError> {
    Err(ManifestError::Contradiction(what))
}

fn same(
    table: &TableName,
    what: &str,
    parts: RowsetDigest,
    whole: RowsetDigest,
) -> Result<(), ManifestError> {
    if parts == whole {
        return Ok(());
    }
    contradiction(format!("{table}: the parts give {parts:?}, the {what} says {whole:?}"))
}

fn row_groups(manifest: &Manifest) -> Result<(), ManifestError> {
    for piece in &manifest.head.pieces {
        let rows = piece.row_groups.iter().try_fold(0u64, |sum, group| sum.checked_add(group.rows));
        if rows != Some(piece.rowset.rows) {
            return contradiction(format!("{}: its row groups do not add up to its rows", piece.path));
        }
    }
    Ok(())
}

fn paths(manifest: &Manifest) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    let pieces = manifest.head.pieces.iter().flat_map(|piece| {
        std::iter::once(piece.path.as_str())
            .chain(piece.exceptions.iter().map(|sidecar| sidecar.path.as_str()))
    });
    for path in pieces.chain(manifest.head.objects.iter().map(|object| object.path.as_str())) {
        let plain = path.starts_with("backups/")
            && path.split('/').all(|part| {
                !part.is_empty()
                    && part != "."
                    && part != ".."
                    && part.bytes().all(
                        |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'~' | b'.'),
                    )
            });
        if !plain {
            return Err(ManifestError::Path(path.to_owned()));
        }
        if !seen.insert(path) {
            return contradiction(format!("the path {path} is listed twice"));
        }
    }
    Ok(())
}
