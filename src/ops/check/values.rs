//! D7 and D8 of the pack `drift`: how old the newest row is, and how many values are NULL, here and in the backup before.

use std::collections::{BTreeMap, BTreeSet};

use super::Run;
use super::engine::{EARLIER, Earlier, Ground, Refusal};
use super::history::History;
use crate::base::{RowsetDigest, TableName, Timestamp, quote_ident};
use crate::checks::drift::{DriftSettings, ENOUGH_ROWS, Found};
use crate::checks::{Candidate, Kind};
use crate::manifest::Manifest;

/// A table of both backups.
struct Both<'a> {
    now: &'a Candidate,
    before: &'a Candidate,
    /// No row of it differs.
    same: bool,
}

impl Both<'_> {
    /// The earlier one's name, where it can be asked.
    fn earlier_name(&self) -> TableName {
        let name = &self.before.name;
        TableName::new(format!("{EARLIER}{}", name.schema), name.name.clone())
    }
}

/// The two backups.
pub(super) struct Pair<'a> {
    run: &'a Run<'a>,
    settings: &'a DriftSettings,
    earlier: &'a Earlier,
    tables: Vec<Both<'a>>,
}

impl<'a> Pair<'a> {
    /// None where there is no earlier backup.
    pub(super) fn of(run: &'a Run<'a>, ground: &'a Ground) -> Option<Self> {
        let (history, earlier) = (ground.history.as_ref()?, ground.earlier.as_ref()?);
        let before: BTreeMap<&TableName, &Candidate> =
            earlier.tables.iter().map(|table| (&table.name, table)).collect();
        let same = unchanged(history);
        let both = |now: &'a Candidate| {
            let before = before.get(&now.name)?;
            Some(Both { now, before, same: *same.get(&now.name)? })
        };
        let tables = ground.tables.iter().filter_map(both).collect();
        Some(Self { run, settings: &run.request.settings.drift, earlier, tables })
    }

    /// D7: tables that were fresh and are not, or whose newest rows are gone.
    pub(super) async fn stale(&self) -> Result<Vec<Found>, Refusal> {
        let mut found = Vec::new();
        for table in &self.tables {
            let name = if table.same { table.now.name.clone() } else { table.earlier_name() };
            let then = self.earlier.snapshot_time;
            let Some(was) = self.newest("D7", &name, table.before, then).await? else { continue };
            let now = self.run.interview.now;
            let Some(is) = self.newest("D7", &table.now.name, table.now, now).await? else { continue };
            let limit = self.settings.stale_hours * 3600.0;
            let age = |at: Timestamp, newest: Timestamp| {
                (at.unix_micros() - newest.unix_micros()) as f64 / 1_000_000.0
            };
            if is < was || (age(then, was) <= limit && age(now, is) > limit) {
                found.push((table.now.name.to_string(), was.readable(), is.readable()));
            }
        }
        Ok(found)
    }

    /// The newest time of any row, but for those that are yet to come: an order's expiry says nothing of its age.
    async fn newest(
        &self,
        check: &str,
        name: &TableName,
        table: &Candidate,
        at: Timestamp,
    ) -> Result<Option<Timestamp>, Refusal> {
        let dialect = self.run.interview.dialect;
        let times = table.times().map(|column| dialect.column(name, &column, Kind::Time));
        let newest: Vec<String> = times
            .map(|time| {
                let past = format!("{time} <= {}", dialect.instant(at));
                format!("arrow_cast(max({time}) FILTER (WHERE {past}), 'Int64')")
            })
            .collect();
        if newest.is_empty() {
            return Ok(None);
        }
        let sql = format!("SELECT {} FROM {}", newest.join(", "), name.sql());
        let answer = self.run.engine.ask(&format!("asking check {check}"), &sql).await?;
        let micros = answer.rows.iter().flatten().flatten().filter_map(|text| text.parse().ok()).max();
        Ok(micros.and_then(Timestamp::from_unix_micros))
    }

    /// D8: columns with another share of NULLs, and those whose values a query cannot be given.
    pub(super) async fn nulls(&self) -> Result<(Vec<Found>, Vec<String>), Refusal> {
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        for table in self.tables.iter().filter(|table| !table.same) {
            let before: BTreeSet<String> = table.before.column_names().collect();
            let columns: Vec<String> =
                table.now.column_names().filter(|name| before.contains(name)).collect();
            let was = self.shares(&table.earlier_name(), &columns).await?;
            let is = self.shares(&table.now.name, &columns).await?;
            let (Some(was), Some(is)) = (was, is) else { continue };
            for (column, shares) in columns.iter().zip(was.iter().zip(&is)) {
                let name = format!("{}.{column}", table.now.name);
                match shares {
                    (Some(was), Some(is)) if self.is_unusual(*was, *is) => {
                        let share = |percent: &f64| format!("{percent:.1} % NULL");
                        found.push((name, share(was), share(is)));
                    }
                    (Some(_), Some(_)) => {}
                    _ => unread.push(name),
                }
            }
        }
        Ok((found, unread))
    }

    fn is_unusual(&self, was: f64, is: f64) -> bool {
        let emptied = is == 100.0 && was < 100.0;
        emptied || (is - was).abs() > self.settings.null_points
    }

    /// For each column how many per cent of its values are NULL, where they can be read; none of a table with few rows.
    async fn shares(
        &self,
        name: &TableName,
        columns: &[String],
    ) -> Result<Option<Vec<Option<f64>>>, Refusal> {
        let rows = self.counts(name, "*").await?.first().copied().unwrap_or(0);
        if rows < ENOUGH_ROWS {
            return Ok(None);
        }
        let share = |count: u64| 100.0 * rows.saturating_sub(count) as f64 / rows as f64;
        let quoted: Vec<String> = columns.iter().map(|column| quote_ident(column)).collect();
        match self.counts(name, &quoted.join("), count(")).await {
            Ok(counts) => return Ok(Some(counts.into_iter().map(|count| Some(share(count))).collect())),
            Err(Refusal::Run(error)) => return Err(Refusal::Run(error)),
            // One of them cannot be given to a query; the others can.
            Err(Refusal::Check(_)) => {}
        }
        let mut shares = Vec::new();
        for column in &quoted {
            shares.push(match self.counts(name, column).await {
                Ok(counts) => counts.first().map(|count| share(*count)),
                Err(Refusal::Run(error)) => return Err(Refusal::Run(error)),
                Err(Refusal::Check(_)) => None,
            });
        }
        Ok(Some(shares))
    }

    async fn counts(&self, name: &TableName, what: &str) -> Result<Vec<u64>, Refusal> {
        let sql = format!("SELECT count({what}) FROM {}", name.sql());
        let answer = self.run.engine.ask("asking check D8", &sql).await?;
        Ok(answer.rows.iter().flatten().flatten().filter_map(|text| text.parse().ok()).collect())
    }
}

/// Which tables have the same rows in both, partitions taken together.
fn unchanged(history: &History) -> BTreeMap<TableName, bool> {
    let Some(before) = history.earlier.first() else { return BTreeMap::new() };
    let old = contents(before);
    let same = |(name, rows): (TableName, Vec<_>)| {
        let same = old.get(&name) == Some(&rows);
        (name, same)
    };
    contents(&history.now).into_iter().map(same).collect()
}

fn contents(manifest: &Manifest) -> BTreeMap<TableName, Vec<(&TableName, RowsetDigest)>> {
    let mut contents: BTreeMap<TableName, Vec<_>> = BTreeMap::new();
    for table in &manifest.body.tables {
        let root = table.root.clone().unwrap_or_else(|| table.name.clone());
        contents.entry(root).or_default().push((&table.name, table.rowset));
    }
    contents
}
