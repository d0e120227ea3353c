//! What follows the rows and is no schema: sequences, owners of large objects, statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;

use super::{Mode, Restore, RestoreReport};
use crate::base::{Event, TableName, quote_literal};
use crate::catalog::Sequence;
use crate::manifest::{Table, TableKind};
use crate::ops::OpsError;
use crate::pg::PgError;

/// Rows of a table that ANALYZE looks at, where nobody has asked for more.
const SAMPLE: u64 = 30_000;

impl Restore<'_> {
    /// Puts sequences where they stood; where the database was in use already, only forward.
    pub(super) async fn sequences(&self, report: &mut RestoreReport) -> Result<(), OpsError> {
        let there = self.target.relations().await?;
        let forward_only = self.request.data_only || self.request.mode != Mode::Fail;
        for sequence in &self.sealed.manifest.body.sequences {
            if !self.scope.sequences.contains(&sequence.name) {
                continue;
            }
            let name = self.scope.relation(&sequence.name);
            if !there.contains(&name) {
                report.warnings.push(format!("the target has no sequence {name}"));
                continue;
            }
            let sql = setval(sequence, &name, forward_only);
            let doing = || format!("setting the sequence {name}");
            self.target.client().batch_execute(&sql).await.map_err(|error| PgError::query(doing(), error))?;
        }
        Ok(())
    }

    /// Owners, grants and comments of large objects.
    pub(super) async fn large_objects(&self, report: &mut RestoreReport) -> Result<(), OpsError> {
        let Some(objects) = &self.sealed.manifest.body.large_objects else { return Ok(()) };
        if !self.scope.large_objects(&self.sealed.manifest) {
            return Ok(());
        }
        for sql in &objects.statements {
            let grants = sql.starts_with("GRANT") || sql.starts_with("REVOKE");
            let owns = sql.contains(" OWNER TO ");
            if (grants && !self.request.privileges) || (owns && !self.request.owners) {
                continue;
            }
            if let Err(error) = self.target.client().batch_execute(sql).await {
                let message =
                    error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
                report.warnings.push(format!("{sql}: {message}"));
            }
        }
        Ok(())
    }

    /// Tables that are worth analyzing where a lane would wait, who takes longest last. Not those that others are a part of,
    /// or whose rows go elsewhere.
    pub(super) fn early_statistics(&self) -> Vec<TableName> {
        let body = &self.sealed.manifest.body;
        let tables = self.scope.tables.iter().filter_map(|index| body.tables.get(*index));
        let mut tables: Vec<(u64, TableName)> = tables
            .filter(|table| has_statistics(table) && !table.kind.is_chunked() && table.rowset.rows >= SAMPLE)
            .map(|table| (values(table), self.scope.relation(&table.name)))
            .collect();
        tables.sort();
        tables.into_iter().map(|(_, name)| name).collect()
    }

    /// Statistics of what was loaded, but for tables that have them: without them the first queries are planned as if everything
    /// were empty.
    pub(super) async fn analyze(&self, done: &BTreeSet<TableName>) -> Result<(), OpsError> {
        let body = &self.sealed.manifest.body;
        let parents = self.parents().await?;
        // Values that are looked at, at most: who takes longest begins first.
        let mut tables: BTreeMap<TableName, u64> = BTreeMap::new();
        let materialised = match self.scope.replay.aggregates.is_empty() {
            true => BTreeMap::new(),
            false => self.target.materialisations().await?,
        };
        for table in self.scope.tables.iter().filter_map(|index| body.tables.get(*index)) {
            if !has_statistics(table) {
                continue;
            }
            let own = self.scope.relation(&table.name);
            let root = table.root.as_ref().map(|root| self.scope.relation(root));
            let analyzed = match self.scope.replay.loads_later(table) {
                true => vec![materialised.get(&own).cloned()],
                false => vec![Some(own), root],
            };
            let analyzed =
                analyzed.into_iter().flatten().filter(|name| !done.contains(name) || parents.contains(name));
            analyzed.for_each(|name| *tables.entry(name).or_default() += values(table));
        }
        let lanes = self.request.jobs.max(1).min(tables.len());
        let mut queue: Vec<TableName> = tables.keys().cloned().collect();
        queue.sort_by_key(|name| tables.get(name));
        let queue = Mutex::new(queue);
        try_join_all((0..lanes).map(|_| self.analyze_lane(&queue))).await.map(|_| ())
    }

    /// Tables with heirs: their statistics are about the rows of those, too, which may have come after they were made.
    async fn parents(&self) -> Result<BTreeSet<TableName>, OpsError> {
        let sql = "SELECT DISTINCT n.nspname::text, c.relname::text FROM pg_catalog.pg_inherits i
                   JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
        let found = self.target.client().query(sql, &[]).await;
        let found = found.map_err(|error| PgError::query("looking for tables with heirs", error))?;
        Ok(found.iter().map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect())
    }

    async fn analyze_lane(&self, queue: &Mutex<Vec<TableName>>) -> Result<(), OpsError> {
        let client = self.target.lane().await?;
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(table) = next else { return Ok(()) };
            if let Err(warning) = client.analyze(&table).await {
                self.services.events.emit(Event::Warning(warning));
            }
        }
    }
}

fn has_statistics(table: &Table) -> bool {
    !matches!(table.kind, TableKind::ExtensionConfiguration | TableKind::LargeObjects)
}

/// Values that ANALYZE looks at, at most.
fn values(table: &Table) -> u64 {
    table.columns.len() as u64 * table.rowset.rows.min(SAMPLE)
}

fn setval(sequence: &Sequence, name: &TableName, forward_only: bool) -> String {
    let value = quote_literal(&sequence.last_value);
    let called = sequence.is_called;
    let set = format!(
        "SELECT pg_catalog.setval({}::pg_catalog.regclass, {value}::pg_catalog.int8, {called})",
        quote_literal(&name.sql())
    );
    if !forward_only {
        return set;
    }
    let further = if sequence.ascending { ">" } else { "<" };
    format!(
        "{set} FROM {} s WHERE {value}::pg_catalog.int8 {further} s.last_value \
         OR ({value}::pg_catalog.int8 = s.last_value AND {called} AND NOT s.is_called)",
        name.sql()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_in_use_moves_only_in_its_own_direction() {
        let mut sequence = Sequence {
            name: TableName::new("a", "s"),
            last_value: "7".into(),
            is_called: true,
            owned_by: None,
            ascending: true,
        };
        let name = sequence.name.clone();
        assert!(!setval(&sequence, &name, false).contains("WHERE"));
        assert!(setval(&sequence, &name, true).contains("'7'::pg_catalog.int8 > s.last_value"));
        sequence.ascending = false;
        assert!(setval(&sequence, &name, true).contains("'7'::pg_catalog.int8 < s.last_value"));
    }
}
