//! Continuous aggregates: made without data, then filled with the rows they had. Those rows can be the only copy, where
//! the rows they were computed from are gone; so they are never refreshed here.

use std::collections::BTreeSet;

use super::compression::settings_step;
use super::steps::Step;
use crate::base::{TableName, quote_ident, quote_literal};
use crate::catalog::ddl::SchemaEntry;
use crate::catalog::timescale::{Aggregate, Range};
use crate::ops::OpsError;
use crate::ops::restore::{Mode, Restore, RestoreReport};
use crate::pg::PgError;
use crate::pipeline::schema::{Run, prepare};
use crate::plan::chunks::{axis, conditions};
use crate::plan::load::{TableWay, jobs};
use crate::plan::timescale::calls::{self, Functions, Index};

impl Restore<'_> {
    /// Makes the aggregates, those that others are built on first.
    pub(in crate::ops::restore) async fn aggregates(
        &self,
        run: Run<'_>,
        entries: &[SchemaEntry],
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        let replay = &self.scope.replay;
        let (Some(functions), false) = (&replay.functions, replay.aggregates.is_empty()) else {
            return Ok(());
        };
        self.phase("aggregates", report);
        let client = self.target.lane().await?;
        prepare(&client, run.dump).await?;
        for aggregate in &replay.aggregates {
            let view = self.scope.relation(&aggregate.view);
            let Some(entry) = entries.iter().find(|entry| entry.relation().as_ref() == Some(&view)) else {
                continue;
            };
            run.pre_data(&client, &[entry]).await?;
            let there = self.target.materialisations().await?;
            let rows = there.get(&view).ok_or_else(|| {
                OpsError::Restore(format!("{view} was made, and is no continuous aggregate"))
            })?;
            self.aggregate(functions, aggregate, &view, rows, report).await?;
        }
        Ok(())
    }

    async fn aggregate(
        &self,
        functions: &Functions,
        aggregate: &Aggregate,
        view: &TableName,
        rows: &TableName,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        let hypertable = &aggregate.hypertable;
        let step = |what: &str, sql: Vec<String>| Step {
            key: format!("aggregate:{what}:{}", aggregate.view.sql()),
            label: format!("{what} of {view}"),
            sql,
            otherwise: Vec::new(),
        };
        let interval = calls::chunk_interval(functions, rows, hypertable);
        self.steps(vec![step("interval", interval.into_iter().collect())], 1).await?;
        self.steps(self.chunk_steps(hypertable, &aggregate.view, rows), 1).await?;
        self.aggregate_rows(aggregate, rows, report).await?;
        let lowest = self.lowest(aggregate);
        let time = hypertable.time();
        let exact = aggregate.watermark.zip(lowest).zip(time);
        if let Some(((_, lowest), time)) = exact {
            let sql = calls::watermark(functions, rows, view, time, lowest).unwrap_or_default();
            self.steps(vec![step("watermark", sql)], 1).await?;
        }
        let indexes = self.index_statements(aggregate, view, rows).await?;
        self.steps(vec![step("indexes", indexes)], 1).await?;
        if hypertable.compression.is_some() {
            let settings = settings_step(functions, hypertable, "MATERIALIZED VIEW", view);
            self.steps(vec![settings], 1).await?;
            let chunks = self.compress_steps(functions, hypertable, &aggregate.view, rows);
            self.steps(chunks, self.request.jobs).await?;
        }
        if !aggregate.materialized_only {
            let sql =
                format!("ALTER MATERIALIZED VIEW {} SET (timescaledb.materialized_only = false)", view.sql());
            self.steps(vec![step("options", vec![sql])], 1).await?;
        }
        if lowest.is_some() {
            if self.request.slice.is_everything() {
                report.warnings.extend(self.watermark_differs(aggregate, view).await?);
            }
            report.warnings.extend(self.history(aggregate, view, rows).await?);
        }
        Ok(())
    }

    /// Where the first of its chunks begins; none where no rows of it are restored.
    fn lowest(&self, aggregate: &Aggregate) -> Option<i64> {
        let time = aggregate.hypertable.time()?;
        let chunks = match self.request.schema_only {
            true => Vec::new(),
            false => self.wanted_chunks(&aggregate.hypertable, &aggregate.view),
        };
        chunks.iter().filter_map(|chunk| chunk.ranges.get(&time.column)).map(|range| range.from).min()
    }

    async fn aggregate_rows(
        &self,
        aggregate: &Aggregate,
        rows: &TableName,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        let tables = &self.sealed.manifest.body.tables;
        let named = |index: &&usize| tables.get(**index).is_some_and(|table| table.name == aggregate.view);
        let Some((index, table)) =
            self.scope.tables.iter().find(named).and_then(|index| Some((*index, tables.get(*index)?)))
        else {
            return Ok(());
        };
        let pattern = |(pattern, _): &&(crate::catalog::Pattern, String)| pattern.matches(&table.name);
        let way = TableWay {
            into: rows.clone(),
            types: std::collections::BTreeMap::new(),
            condition: self.request.where_.iter().find(pattern).map(|(_, sql)| sql.clone()),
            slice: self.slice_of(table),
            mode: Mode::Fail,
            key: Vec::new(),
            looks: false,
            time: self.time_of(table),
            at_once: false,
            fresh: false,
        };
        let loads = jobs(&self.sealed.manifest, index, &way);
        let done = self.loading(false).run(loads, self.request.jobs).await?;
        self.tell(done, &mut Vec::new(), report);
        Ok(())
    }

    /// The source's indexes that the target has not made by itself.
    async fn index_statements(
        &self,
        aggregate: &Aggregate,
        view: &TableName,
        rows: &TableName,
    ) -> Result<Vec<String>, OpsError> {
        let sql = format!(
            "SELECT pg_catalog.pg_get_indexdef(i.indexrelid), pg_catalog.quote_ident(c.relname), i.indrelid = {0} \
             FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             WHERE c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = {0})",
            calls::regclass(rows)
        );
        let there = self.target.client().query(&sql, &[]).await;
        let there = there.map_err(|error| PgError::query("listing an aggregate's indexes", error))?;
        let names: BTreeSet<String> = there.iter().map(|row| row.get(1)).collect();
        let own = there.iter().filter(|row| row.get(2));
        let tails: BTreeSet<String> =
            own.filter_map(|row| Index::of(row.get(0))).map(|index| index.tail).collect();
        let wanted = aggregate.indexes.iter().filter_map(|definition| Index::of(definition));
        let missing = wanted.filter(|index| !tails.contains(&index.tail));
        // All aggregates' indexes share one schema, where another database object may have the name.
        let is_free = |index: &Index| index.name.as_ref().is_some_and(|name| !names.contains(name));
        Ok(missing.map(|index| index.statement(view, is_free(&index))).collect())
    }

    /// Says so where a refresh would delete rows: it computes buckets anew from what the source still has, and some are
    /// older than that. All buckets up to the first row of the source are, but for the last of them.
    async fn history(
        &self,
        aggregate: &Aggregate,
        view: &TableName,
        rows: &TableName,
    ) -> Result<Option<String>, OpsError> {
        let ranges = |name: &TableName, column: &str| {
            let chunks = self.sealed.manifest.table(name).into_iter().flat_map(|table| &table.units);
            let chunks = chunks.filter_map(|unit| unit.chunk.as_ref());
            chunks.filter_map(|chunk| chunk.chunk.ranges.get(column).copied()).min()
        };
        let source = self.timescale().and_then(|timescale| timescale.rows_of(&aggregate.over)?.time());
        let (Some(source), Some(time)) = (source, aggregate.hypertable.time()) else { return Ok(None) };
        let first = ranges(&aggregate.over, &source.column);
        let own = ranges(&aggregate.view, &time.column);
        if first.zip(own).is_some_and(|(first, own)| own.from >= first.from) {
            return Ok(None);
        }
        let over = self.scope.relation(&aggregate.over);
        let there = self.target.materialisations().await?;
        // Only the first chunk is read, where that is known.
        let bound = first.map(|first| Range { from: Range::MIN, to: first.to });
        let bounds = bound.map(|bound| conditions(source, bound)).unwrap_or_default();
        let filter = bounds.first().map(|bound| format!(" WHERE {bound}")).unwrap_or_default();
        let bucket = quote_ident(&time.column);
        let sql = format!(
            "WITH first AS (SELECT min({}) AS at FROM {}{filter}) SELECT count(*) > 1 OR bool_or(first.at IS NULL) \
             FROM first, LATERAL (SELECT DISTINCT r.{bucket} FROM {} r \
             WHERE first.at IS NULL OR r.{bucket} <= first.at ORDER BY 1 LIMIT 2) buckets",
            axis(source),
            there.get(&over).unwrap_or(&over).sql(),
            rows.sql()
        );
        let found = self.target.client().query_one(&sql, &[]).await;
        let found = found.map_err(|error| PgError::query("looking for an aggregate's history", error))?;
        Ok((found.get::<_, Option<bool>>(0) == Some(true)).then(|| {
            format!(
                "{view} has rows from before the first of {over}: a refresh of that time, or one without a start, would \
                 delete them"
            )
        }))
    }

    /// Says so where rows behind the source's watermark would not be shown, or others be.
    async fn watermark_differs(
        &self,
        aggregate: &Aggregate,
        view: &TableName,
    ) -> Result<Option<String>, OpsError> {
        let sql = format!(
            "SELECT w.watermark FROM _timescaledb_catalog.continuous_aggs_watermark w \
             JOIN _timescaledb_catalog.continuous_agg a ON a.mat_hypertable_id = w.mat_hypertable_id \
             WHERE a.user_view_schema = {} AND a.user_view_name = {}",
            quote_literal(&view.schema),
            quote_literal(&view.name)
        );
        let found = self.target.client().query_opt(&sql, &[]).await;
        let found = found.map_err(|error| PgError::query("reading an aggregate's watermark", error))?;
        let found: Option<i64> = found.map(|row| row.get(0));
        Ok((found != aggregate.watermark).then(|| {
            format!(
                "{view}: it is materialised up to {found:?}, in the source it was {:?}; a refresh makes it so",
                aggregate.watermark
            )
        }))
    }
}
