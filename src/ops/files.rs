//! `files`: the Parquet files that hold one table of a backup, for readers that know nothing of vaults.
//!
//! A glob is only offered where it gives exactly the pieces: a reused piece may lie elsewhere, a leaf shares its folder
//! with its siblings, and a reader that is one file short does not notice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::OpsError;
use crate::base::{BackupId, TableName};
use crate::catalog::Pattern;
use crate::manifest::{Manifest, Table};
use crate::store::{BackupChoice, StoreError, Vault};

/// Where the rows of one table lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilesReport {
    /// The backup.
    pub backup: BackupId,
    /// The table (for a partitioned table: the root).
    pub table: TableName,
    /// Every piece, absolute.
    pub paths: Vec<PathBuf>,
    /// A glob that matches exactly these, where there is one.
    pub glob: Option<String>,
    /// Rows in all.
    pub rows: u64,
    /// Values these files show as NULL because Parquet has no room for them; they stand in sidecars.
    pub exceptions: u64,
}

/// For which reader a ready line is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// SQL for DuckDB.
    DuckDb,
    /// Python with Polars.
    Polars,
    /// Python with Spark.
    Spark,
}

/// Finds the files of the one table that `pattern` names.
pub fn files(vault: &Vault, choice: &BackupChoice, pattern: &Pattern) -> Result<FilesReport, OpsError> {
    let sealed = choice.find(vault)?;
    let manifest = &sealed.manifest;
    let (table, parts) = tables_of(manifest, pattern)?;
    let root = std::path::absolute(vault.root()).map_err(|source| {
        OpsError::Store(StoreError::Io { doing: "resolve", path: vault.root().to_owned(), source })
    })?;
    let pieces: Vec<_> = parts.iter().flat_map(|part| manifest.pieces(part)).collect();
    let paths: Vec<PathBuf> = pieces.iter().map(|piece| root.join(&piece.path)).collect();
    Ok(FilesReport {
        backup: manifest.head.id.clone(),
        glob: exact_glob(&paths),
        table,
        paths,
        rows: pieces.iter().map(|piece| piece.rowset.rows).sum(),
        exceptions: pieces.iter().filter_map(|piece| piece.exceptions.as_ref()).map(|s| s.entries).sum(),
    })
}

fn tables_of<'a>(manifest: &'a Manifest, pattern: &Pattern) -> Result<(TableName, Vec<&'a Table>), OpsError> {
    let all = &manifest.body.tables;
    let whole = |table: &Table| table.root.clone().unwrap_or_else(|| table.name.clone());
    let wholes: BTreeSet<TableName> = all.iter().map(whole).filter(|name| pattern.matches(name)).collect();
    let mut names = wholes.iter();
    match (names.next(), names.next()) {
        (Some(one), None) => {
            return Ok((one.clone(), all.iter().filter(|table| whole(table) == *one).collect()));
        }
        (Some(_), Some(_)) => return Err(several(pattern, &wholes)),
        _ => {}
    }
    let leaves: Vec<&Table> = all.iter().filter(|table| pattern.matches(&table.name)).collect();
    match leaves.as_slice() {
        [one] => Ok((one.name.clone(), leaves)),
        [] => Err(OpsError::Usage(format!(
            "no table in {} matches {pattern}; `barkeep show {}` lists them",
            manifest.head.id, manifest.head.id
        ))),
        _ => Err(several(pattern, &leaves.iter().map(|table| table.name.clone()).collect())),
    }
}

fn several(pattern: &Pattern, names: &BTreeSet<TableName>) -> OpsError {
    let names: Vec<String> = names.iter().map(TableName::to_string).collect();
    OpsError::Usage(format!("{pattern} matches several tables: {}; name one", names.join(", ")))
}

/// `<folder>/*.parquet` if what lies there is what is wanted, no more and no less.
fn exact_glob(paths: &[PathBuf]) -> Option<String> {
    let folder = paths.first()?.parent()?;
    // A vault may lie under a folder whose name a glob would read as a pattern.
    if folder.to_str()?.contains(['*', '?', '[', ']', '{', '}']) {
        return None;
    }
    let wanted: BTreeSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let there: BTreeSet<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    let same = there.len() == wanted.len() && there.iter().all(|path| wanted.contains(path.as_path()));
    same.then(|| format!("{}/*.parquet", folder.display()))
}

impl FilesReport {
    /// A line to paste into that reader.
    pub fn line(&self, reader: Reader) -> String {
        let quote = |text: &str| match reader {
            Reader::DuckDb => format!("'{}'", text.replace('\'', "''")),
            _ => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        };
        let list = || {
            let all: Vec<String> = self.paths.iter().map(|path| quote(&path.display().to_string())).collect();
            all.join(", ")
        };
        match (reader, &self.glob) {
            (Reader::DuckDb, Some(glob)) => format!("SELECT * FROM read_parquet({});", quote(glob)),
            (Reader::DuckDb, None) => format!("SELECT * FROM read_parquet([{}]);", list()),
            (Reader::Polars, Some(glob)) => format!("polars.scan_parquet({})", quote(glob)),
            (Reader::Polars, None) => format!("polars.scan_parquet([{}])", list()),
            (Reader::Spark, Some(glob)) => format!("spark.read.parquet({})", quote(glob)),
            (Reader::Spark, None) => format!("spark.read.parquet({})", list()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(paths: Vec<PathBuf>) -> FilesReport {
        FilesReport {
            backup: "20261120T020000Z-abcdefgh".parse().unwrap(),
            table: TableName::new("public", "orders"),
            glob: exact_glob(&paths),
            paths,
            rows: 0,
            exceptions: 0,
        }
    }

    #[test]
    fn a_glob_is_offered_only_if_it_gives_exactly_the_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("1.parquet");
        let two = folder.path().join("2.parquet");
        std::fs::write(&one, b"").unwrap();
        assert!(report(vec![one.clone()]).line(Reader::DuckDb).contains("*.parquet'"));
        // A stranger in the folder, and a piece that lies elsewhere: each makes the glob a lie.
        std::fs::write(&two, b"").unwrap();
        assert!(report(vec![one.clone()]).line(Reader::DuckDb).contains("['"));
        let elsewhere = PathBuf::from("/elsewhere/3.parquet");
        assert_eq!(report(vec![one, two, elsewhere]).glob, None);
    }

    #[test]
    fn a_quote_in_a_path_stays_inside_the_string() {
        let report = report(vec![PathBuf::from("/it's/1.parquet")]);
        assert_eq!(report.line(Reader::DuckDb), "SELECT * FROM read_parquet(['/it''s/1.parquet']);");
        assert_eq!(report.line(Reader::Polars), "polars.scan_parquet(['/it\\'s/1.parquet'])");
        assert_eq!(report.line(Reader::Spark), "spark.read.parquet('/it\\'s/1.parquet')");
    }
}
