//! Which rows of a table differ between backup and database, as text.

use serde::Serialize;

use super::readings::{Reading, pieces_of};
use super::{Group, Sides, kept, mappings};
use crate::ops::OpsError;
use crate::ops::rows::{Projection, Rows, Search, Source, differences as between, texts};

/// On which side a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// In the backup, not in the database: `-`.
    OnlyInBackup,
    /// In the database, not in the backup: `+`.
    OnlyInDatabase,
}

/// A row that is on one side only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDifference {
    /// Where it is.
    pub side: Side,
    /// Its columns with values as text; NULL is absent.
    pub columns: Vec<(String, Option<String>)>,
}

/// The rows of `readings` that are on one side only, at most `request.limit` of each, and whether there are more.
pub(super) async fn differences(
    sides: &Sides<'_>,
    group: &Group<'_>,
    readings: &[Reading],
) -> Result<(Vec<RowDifference>, bool), OpsError> {
    let Some(first) = group.leaves.first() else { return Ok((Vec::new(), false)) };
    let (columns, mappings) = (kept(first), mappings(first));
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let keyed_by: Option<Vec<usize>> = first.primary_key.iter().map(place).collect();
    let search = Search {
        key: sides.key,
        rows: 2 * readings.iter().map(|reading| reading.expected.rows).sum::<u64>(),
        mappings: &mappings,
        keyed_by: &keyed_by.unwrap_or_default(),
        sample: sides.request.limit,
    };
    let source = |rows| Source { table: &group.name, rows, projection: Projection::Whole };
    let pieces = pieces_of(sides.manifest, group, readings);
    let stored = source(Rows::Stored { vault: sides.vault, pieces });
    let (probe, key) = (sides.probe, sides.key);
    let live = source(Rows::Live { probe, readings, mappings: mappings.clone(), key });
    let found = between(&search, &stored, &live).await?;
    let mut shown = Vec::new();
    let mut of_side = [0; 2];
    for difference in &found.differences {
        let both = [(&difference.a, Side::OnlyInBackup), (&difference.b, Side::OnlyInDatabase)];
        for (count, (tuple, side)) in of_side.iter_mut().zip(both) {
            let Some(tuple) = tuple else { continue };
            let columns = texts(columns.iter().map(|column| &column.name), &mappings, tuple)
                .map_err(|source| OpsError::Rows { table: group.name.clone(), source })?;
            let row = RowDifference { side, columns };
            *count += difference.times;
            shown.extend((0..difference.times).map(|_| row.clone()));
        }
    }
    let all = [found.removed + found.changed, found.added + found.changed];
    Ok((shown, !found.complete || of_side != all))
}
