//! Whether the rows have room where the target's server keeps its files, as far as that can be known from here: on the
//! server's own machine, with the right to read its folder. Elsewhere nothing is said.

use std::io::Read;
use std::path::Path;

use super::scope::Scope;
use crate::codec::file::PieceBounds;
use crate::manifest::Manifest;
use crate::ops::OpsError;
use crate::pg::TargetFacts;
use crate::store::free_space;

/// What the free space means for so many bytes of COPY data.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Enough,
    /// Rows have headers and tables have indexes: twice the data is common.
    Tight,
    /// Not even compressed values would make it fit: four to one is rare for whole tables.
    TooLittle,
}

fn judge(free: u64, wanted: u64) -> Room {
    if free.saturating_mul(4) < wanted {
        Room::TooLittle
    } else if free < wanted.saturating_mul(2) {
        Room::Tight
    } else {
        Room::Enough
    }
}

/// A warning where the space is tight; an error where it cannot do.
pub(super) fn check(
    facts: &TargetFacts,
    manifest: &Manifest,
    scope: &Scope,
) -> Result<Option<String>, OpsError> {
    let Some(free) = free_at(facts) else { return Ok(None) };
    let tables = scope.tables.iter().filter_map(|index| manifest.body.tables.get(*index));
    let mut wanted = 0_u64;
    for piece in tables.flat_map(|table| manifest.pieces(table)) {
        let bounds = PieceBounds { rows: piece.rowset.rows, copy_bytes: piece.copy_bytes };
        bounds.check().map_err(|error| OpsError::Mismatch(format!("{}: {error}", piece.path)))?;
        wanted = wanted.saturating_add(piece.copy_bytes);
    }
    let text = || {
        format!(
            "the target's server has {} MiB free where it keeps its files, and the rows are {} MiB before headers, \
             indexes and log",
            free >> 20,
            wanted >> 20
        )
    };
    match judge(free, wanted) {
        Room::Enough => Ok(None),
        Room::Tight => Ok(Some(text())),
        Room::TooLittle => Err(OpsError::NoSpace(text())),
    }
}

fn free_at(facts: &TargetFacts) -> Option<u64> {
    let directory = Path::new(facts.data_directory.as_deref()?);
    let identifier: u64 = facts.system_identifier.as_deref()?.parse().ok()?;
    // A folder of the same name may be another server's: the control file begins with the cluster's identifier.
    (control_identifier(directory)? == identifier).then(|| free_space(directory)).flatten()
}

fn control_identifier(directory: &Path) -> Option<u64> {
    let mut identifier = [0; 8];
    std::fs::File::open(directory.join("global/pg_control")).ok()?.read_exact(&mut identifier).ok()?;
    Some(u64::from_ne_bytes(identifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_data_is_enough_and_a_quarter_is_not() {
        assert_eq!(judge(200, 100), Room::Enough);
        assert_eq!(judge(199, 100), Room::Tight);
        assert_eq!(judge(25, 100), Room::Tight);
        assert_eq!(judge(24, 100), Room::TooLittle);
        assert_eq!(judge(0, 0), Room::Enough);
    }
}
