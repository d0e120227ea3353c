//! [`history`]: the backups before one that can be compared with it.

use std::collections::BTreeMap;

use crate::base::{TableName, chain};
use crate::manifest::Manifest;
use crate::ops::OpsError;
use crate::store::{StoreError, Vault};

/// What came before a backup.
pub(super) struct History {
    pub(super) now: Manifest,
    /// Of the same database and the same selection, newest first.
    pub(super) earlier: Vec<Manifest>,
    /// Manifests that are damaged. Whether they belong here nobody knows.
    pub(super) warnings: Vec<String>,
}

/// At most so many backups before `now`.
pub(super) fn history(vault: &Vault, now: Manifest, most: usize) -> Result<History, OpsError> {
    let (mut earlier, mut warnings) = (Vec::new(), Vec::new());
    for id in vault.backups()? {
        let other = match vault.manifest(&id) {
            Ok(sealed) => sealed.manifest,
            Err(error @ (StoreError::Manifest { .. } | StoreError::Misplaced { .. })) => {
                warnings.push(format!("{}; nothing was compared with that backup", chain(&error)));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if taken(&other) < taken(&now) && alike(&other, &now) {
            earlier.push(other);
            // Manifests of ten thousand tables are large.
            earlier.sort_by(|a, b| taken(b).cmp(&taken(a)));
            earlier.truncate(most);
        }
    }
    Ok(History { now, earlier, warnings })
}

fn taken(manifest: &Manifest) -> impl Ord {
    (manifest.head.snapshot_time, manifest.head.id.clone())
}

/// Whether the same was asked for: with less of a table, the rest would look lost.
fn alike(one: &Manifest, two: &Manifest) -> bool {
    let source = |manifest: &Manifest| {
        (manifest.body.source.system_identifier.clone(), manifest.body.source.database.clone())
    };
    source(one) == source(two)
        && one.body.selection == two.body.selection
        && conditions(one) == conditions(two)
}

fn conditions(manifest: &Manifest) -> BTreeMap<&TableName, &str> {
    manifest.body.tables.iter().filter_map(|table| Some((&table.name, table.condition.as_deref()?))).collect()
}
