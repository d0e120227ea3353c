//! What of a server's settings makes a restore slow, with the values to set. Nothing of it makes one wrong.

use std::collections::BTreeMap;

use super::DoctorReport;
use crate::pg::PgError;
use crate::pg::workbench::Workbench;

/// In less than this inverted indexes are built in too many steps (1.5 million rows of tags: 1.9 s with 64 MB or more, 3.4 with 8),
/// and B-trees of tables beyond 16 GB are merged more than once.
const INDEX_MEMORY: u64 = 64 << 20;
/// Less log than this between two checkpoints, and a restore is busy writing the same pages again and again.
const LOG: u64 = 4 << 30;
/// Seconds between two checkpoints, for the same reason.
const CHECKPOINTS: u64 = 900;

/// Settings as text; sizes in bytes, times in seconds.
type Settings = BTreeMap<String, String>;

const SETTINGS: &str = "SELECT name, CASE WHEN unit IN ('B', 'kB', '8kB', 'MB') \
     THEN pg_catalog.pg_size_bytes(pg_catalog.current_setting(name))::text ELSE setting END \
     FROM pg_catalog.pg_settings WHERE name IN ('maintenance_work_mem', 'shared_buffers', 'max_wal_size', \
     'checkpoint_timeout', 'wal_compression', 'synchronous_commit', 'synchronous_standby_names') \
     UNION ALL SELECT 'wal_compression_best', CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'on' END \
     FROM pg_catalog.pg_settings WHERE name = 'wal_compression'";

/// Asks and judges.
pub(super) async fn target(report: &mut DoctorReport, bench: &Workbench) -> Result<(), PgError> {
    let rows = bench.rows("asking for the settings of a target", SETTINGS).await?;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?, row.next().unwrap_or_default()))
    };
    judge(report, &rows.into_iter().filter_map(pair).collect());
    Ok(())
}

fn judge(report: &mut DoctorReport, settings: &Settings) {
    let text = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    // A restore raises it for itself, up to its share of shared_buffers; judged as for one lane.
    let memory = number("maintenance_work_mem").max(number("shared_buffers").min(1 << 30));
    let found = format!("an index is built in {} MB at most", memory >> 20);
    match memory >= INDEX_MEMORY {
        true => report.ok("memory", found),
        false => report.warn(
            "memory",
            found,
            "restore with --maintenance-work-mem 256MB, or ALTER SYSTEM SET maintenance_work_mem = '256MB', as far as there \
             is so much memory for every lane",
        ),
    }
    let found = format!("max_wal_size is {} MB", number("max_wal_size") >> 20);
    match number("max_wal_size") >= LOG {
        true => report.ok("log", found),
        false => report.warn(
            "log",
            format!("{found}: the log fills up in seconds, and each time all pages are written"),
            "for the time of the restore: ALTER SYSTEM SET max_wal_size = '16GB'; SELECT pg_reload_conf()",
        ),
    }
    let found = format!("checkpoint_timeout is {} s", number("checkpoint_timeout"));
    match number("checkpoint_timeout") >= CHECKPOINTS {
        true => report.ok("checkpoints", found),
        false => report.warn(
            "checkpoints",
            found,
            "for the time of the restore: ALTER SYSTEM SET checkpoint_timeout = '30min'; SELECT pg_reload_conf()",
        ),
    }
    let best = text("wal_compression_best");
    match text("wal_compression") {
        "off" => report.warn(
            "log size",
            "wal_compression is off: indexes that are built go into the log as they are",
            format!("ALTER SYSTEM SET wal_compression = '{best}'; SELECT pg_reload_conf()"),
        ),
        used => report.ok("log size", format!("wal_compression is {used}")),
    }
    let commit = text("synchronous_commit");
    let standbys = match text("synchronous_standby_names") {
        "" => "no standby is waited for".to_owned(),
        names => format!("the last commit waits for {names}"),
    };
    report.ok(
        "commits",
        format!(
            "synchronous_commit is {commit}; the lanes of a restore do without, but for the last: {standbys}"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Answer;
    use crate::pg::throwaway::{Throwaway, ThrowawayOptions};

    /// What is warned of, and the advice on it.
    fn warned(report: &DoctorReport) -> Vec<(&'static str, &str)> {
        let warnings = report.lines.iter().filter(|line| line.answer == Answer::Warn);
        warnings.map(|line| (line.what, line.advice.as_deref().unwrap_or_default())).collect()
    }

    #[test]
    fn what_is_slow_is_named_with_a_value_and_what_is_not_is_left_alone() {
        let slow = [
            ("maintenance_work_mem", "16777216"),
            ("shared_buffers", "33554432"),
            ("max_wal_size", "1073741824"),
            ("checkpoint_timeout", "300"),
            ("wal_compression", "off"),
            ("wal_compression_best", "lz4"),
            ("synchronous_commit", "on"),
            ("synchronous_standby_names", ""),
        ];
        let quick = [
            ("maintenance_work_mem", "268435456"),
            ("max_wal_size", "17179869184"),
            ("checkpoint_timeout", "1800"),
            ("wal_compression", "lz4"),
        ];
        let settings = |pairs: &[(&str, &str)]| -> Settings {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut report = DoctorReport::default();
        judge(&mut report, &settings(&slow));
        let found = warned(&report);
        assert_eq!(
            found.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
            ["memory", "log", "checkpoints", "log size"]
        );
        for ((what, advice), value) in found.iter().zip(["256MB", "16GB", "30min", "'lz4'"]) {
            assert!(advice.contains(value), "{what}: {advice}");
        }
        // One setting put right at a time takes one warning away.
        for (number, right) in quick.iter().enumerate() {
            let mut mended = settings(&slow);
            mended.extend(settings(&[*right]));
            let mut report = DoctorReport::default();
            judge(&mut report, &mended);
            let left = warned(&report);
            assert!(
                left.len() == 3 && !left.iter().any(|(what, _)| *what == found[number].0),
                "{right:?}: {left:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_as_it_comes_is_advised_and_one_that_follows_is_content() {
        let advised = [
            "maintenance_work_mem=256MB",
            "max_wal_size=16GB",
            "checkpoint_timeout=30min",
            "wal_compression=on",
        ];
        for (settings, expected) in
            [(&[][..], 3), (&["maintenance_work_mem=16MB", "shared_buffers=16MB"][..], 4), (&advised[..], 0)]
        {
            let settings = settings.iter().map(|line| (*line).to_owned()).collect();
            let server =
                Throwaway::start(&ThrowawayOptions { settings, ..ThrowawayOptions::default() }).unwrap();
            let bench = Workbench::connect(&server.settings("postgres")).await.unwrap();
            let mut report = DoctorReport::default();
            target(&mut report, &bench).await.unwrap();
            assert_eq!((report.lines.len(), warned(&report).len()), (5, expected), "{report:?}");
        }
    }
}
