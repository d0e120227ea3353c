//! The memory in which indexes are built: `maintenance_work_mem` of the sessions that build them. Each index takes a
//! part of it, `plan::ddl::workspace`.
//!
//! A client cannot know how much memory a server has. Its administrator does, and has set `shared_buffers` by it, to a
//! quarter of it by the usual rule. So all lanes together take at most as much as `shared_buffers`, each at most a
//! gibibyte, beyond which nothing is gained; and what the server allows already is never lowered.

use tokio_postgres::Client;

use super::Restore;
use crate::ops::OpsError;
use crate::pg::PgError;

/// What one lane takes at most, in kB.
const MOST: u64 = 1 << 20;

/// An amount of memory, at least the megabyte that PostgreSQL asks for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    kilobytes: u64,
}

impl std::str::FromStr for Memory {
    type Err = String;

    /// As PostgreSQL writes it: `512MB`, `2GB`, `65536kB`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [("kB", 1), ("MB", 1 << 10), ("GB", 1 << 20)];
        let parsed = units.into_iter().find_map(|(unit, factor)| {
            text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(factor)
        });
        match parsed {
            // The range of the setting itself.
            Some(kilobytes @ 1024..=2_147_483_647) => Ok(Self { kilobytes }),
            _ => Err(format!("{text:?} is no amount of memory from 1MB to 2047GB, such as 512MB or 2GB")),
        }
    }
}

impl Restore<'_> {
    /// Gives a session that builds its share, one of `lanes`.
    pub(super) async fn memory(&self, client: &Client, lanes: usize) -> Result<(), OpsError> {
        let set = client.batch_execute(&self.memory_sql(lanes)).await;
        Ok(set.map_err(|error| PgError::query("setting maintenance_work_mem", error))?)
    }

    /// The same as SQL.
    pub(super) fn memory_sql(&self, lanes: usize) -> String {
        statement(self.request.maintenance_work_mem, lanes)
    }
}

fn statement(asked: Option<Memory>, lanes: usize) -> String {
    if let Some(Memory { kilobytes }) = asked {
        return format!("SET maintenance_work_mem = '{kilobytes}kB'");
    }
    format!(
        "SELECT pg_catalog.set_config('maintenance_work_mem', wanted || 'kB', false) FROM (SELECT least({MOST}, \
         pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / 1024 / {}) AS wanted) w WHERE wanted > \
         pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')) / 1024",
        lanes.max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::throwaway::{Throwaway, ThrowawayOptions};
    use crate::pg::workbench::Workbench;

    #[test]
    fn amounts_are_read_as_the_server_reads_them() {
        let kilobytes = |text: &str| text.parse::<Memory>().map(|memory| memory.kilobytes).ok();
        assert_eq!(kilobytes("512MB"), Some(512 << 10));
        assert_eq!(kilobytes("2 GB"), Some(2 << 20));
        for wrong in
            ["", "512", "1kB", "-1MB", "1.5GB", "1MB'; DROP TABLE x", "9999999GB", "18446744073709551615GB"]
        {
            assert_eq!(kilobytes(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn memory_is_shared_among_the_lanes_and_never_lowered() {
        let settings = ["shared_buffers=256MB", "maintenance_work_mem=48MB"];
        let settings = settings.iter().map(|line| (*line).to_owned()).collect();
        let server = Throwaway::start(&ThrowawayOptions { settings, ..ThrowawayOptions::default() }).unwrap();
        let asked = Some("20MB".parse().unwrap());
        for (asked, lanes, expected) in
            [(None, 1, "256MB"), (None, 4, "64MB"), (None, 8, "48MB"), (asked, 1, "20MB")]
        {
            let bench = Workbench::connect(&server.settings("postgres")).await.unwrap();
            bench.run("the lane's memory", &statement(asked, lanes)).await.unwrap();
            let found = bench.value("asking", "SHOW maintenance_work_mem").await.unwrap();
            assert_eq!(found.as_deref(), Some(expected), "{asked:?} {lanes}");
        }
    }
}
