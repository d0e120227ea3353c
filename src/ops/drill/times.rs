//! How much would be lost, and where the drill ran.

use std::time::Duration;

use super::{Host, Newest, Rpo};
use crate::base::{Timestamp, quote_ident};
use crate::checks::{ColumnSort, Mapping, Verdict};
use crate::ops::OpsError;
use crate::pg::workbench::Workbench;

/// Seconds from one time to another.
pub(super) fn between(from: Timestamp, to: Timestamp) -> f64 {
    (to.unix_micros() - from.unix_micros()) as f64 / 1e6
}

/// What would be lost if the source were gone now: all since the snapshot.
pub(super) fn rpo(taken: Timestamp, now: Timestamp, limit: Option<Duration>) -> Rpo {
    let measured = between(taken, now).max(0.0);
    let verdict = match limit {
        None => Verdict::Skipped,
        Some(limit) if measured <= limit.as_secs_f64() => Verdict::Pass,
        Some(_) => Verdict::Fail,
    };
    let limit_seconds = limit.map(|limit| limit.as_secs());
    Rpo { measured_seconds: Some(measured), limit_seconds, newest: Vec::new(), verdict }
}

/// The newest row of each mapped table that says when its rows are of: a fresh backup of a feed that has stopped is no fresh
/// data.
pub(super) async fn newest(
    bench: &Workbench,
    mapping: &Mapping,
    taken: Timestamp,
) -> Result<Vec<Newest>, OpsError> {
    let mut all: Vec<Newest> = Vec::new();
    for role in mapping.roles.values() {
        let times = ["ts", "executed_at", "updated_at", "created_at"];
        let column = times
            .iter()
            .find_map(|name| role.columns.get(*name).filter(|found| found.sort == ColumnSort::Time));
        let Some(column) = column.filter(|_| all.iter().all(|one| one.table != role.table.to_string()))
        else {
            continue;
        };
        let name = quote_ident(&column.name);
        let sql = format!(
            "SELECT CAST(extract(epoch FROM max({name})) * 1000000 AS bigint) FROM {} \
             WHERE pg_catalog.isfinite({name}) AND {name} <= now() + interval '1 day'",
            role.table.sql()
        );
        let micros = bench.value("asking for the newest row", &sql).await?;
        let time = micros.and_then(|text| Timestamp::from_unix_micros(text.parse().ok()?));
        if let Some(time) = time {
            let (table, column) = (role.table.to_string(), column.name.clone());
            all.push(Newest { table, column, time, before_snapshot_seconds: between(time, taken) });
        }
    }
    all.sort_by_key(|newest| std::cmp::Reverse(newest.time));
    Ok(all)
}

/// This machine, as it calls itself.
pub(super) fn host() -> Host {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let os = pretty.map_or(std::env::consts::OS, |name| name.trim_matches('"')).to_owned();
    let name = read("/proc/sys/kernel/hostname").trim().to_owned();
    Host { name: if name.is_empty() { "unknown".to_owned() } else { name }, os }
}
