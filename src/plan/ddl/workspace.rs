//! [`Workspace`]: the memory and the processes that build one index, as SQL for the transaction that does it.
//!
//! PostgreSQL sorts as much at a time as `maintenance_work_mem` holds, and merges what it has sorted. More memory means fewer
//! and larger parts, and parts beyond the processor's caches are sorted slower, not faster: the key (symbol, ts) of five
//! million bars took 3.8 s of the server's processor with 4 MB, 5.8 with 64 and 8.9 with a gigabyte. So a B-tree gets
//! what lets it merge all its parts in one go, and no more. An inverted index gathers entries in that memory until it is full: too
//! little costs more there than too much (1.5 million short arrays: 3.4 s with 8 MB, 1.9 with 64, 2.0 with a gigabyte;
//! half a million objects: 4.0 s with 16 MB, 4.1 with 64, 4.6 with a gigabyte). Other kinds keep what the session has.

use super::schedule::{Job, Stage};
use crate::catalog::ddl::SchemaEntry;

/// What a merge holds of each part, in kB: 32 blocks, and one more each for reading and writing (`tuplesort_merge_order`).
const PART: u64 = 34 * 8;

/// Below this parts of a B-tree become too many, in kB.
const TREE: u64 = 4 << 10;

/// What an inverted index has at least, in kB, and which share of the table's rows if that is more.
const INVERTED: (u64, u64) = (64 << 10, 8);

/// PostgreSQL lets processes take part only as long as each has this much, in kB (`plan_create_index_workers`).
const A_PROCESS: u64 = 32 << 10;

/// Who works while a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    /// As many as may work.
    pub all: usize,
    /// As many as do, with the one that does the job.
    pub busy: usize,
}

/// With what one index is to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workspace {
    kilobytes: u64,
    /// Processes beside the session's own; as many as the server likes where nobody else works.
    helpers: Option<usize>,
}

impl Workspace {
    /// For an entry that makes a B-tree or an inverted index.
    pub fn of(job: &Job, entry: &SchemaEntry, lanes: Lanes) -> Option<Self> {
        let definition = &entry.definition;
        let (tree, inverted) = match &*entry.kind {
            "INDEX" => (definition.contains(" USING btree "), definition.contains(" USING gin ")),
            "CONSTRAINT" => (definition.contains(" PRIMARY KEY ") || definition.contains(" UNIQUE "), false),
            _ => (false, false),
        };
        let kilobytes = match (job.stage, tree, inverted) {
            (Stage::Build, true, _) => of_tree(job.own),
            (Stage::Build, _, true) => (job.own / 1024 / INVERTED.1).max(INVERTED.0),
            _ => return None,
        };
        // Idle lanes lend their processors, evenly.
        let helpers = (lanes.busy > 1).then(|| (lanes.all / lanes.busy).saturating_sub(1));
        Some(Self { kilobytes, helpers })
    }

    /// Settings of the open transaction, within those of the session.
    pub fn sql(self) -> String {
        let Self { kilobytes, helpers } = self;
        let at_most = helpers.map_or_else(String::new, |helpers| format!(", {helpers}"));
        format!(
            "SELECT pg_catalog.set_config('max_parallel_maintenance_workers', helpers::text, true), \
             pg_catalog.set_config('maintenance_work_mem', least(most, greatest({kilobytes}, \
             CASE WHEN helpers > 0 THEN {A_PROCESS} * (helpers + 1) END)) || 'kB', true) FROM (SELECT \
             least(pg_catalog.current_setting('max_parallel_maintenance_workers')::int{at_most}) AS helpers, \
             pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')) / 1024 AS most) s;\n"
        )
    }
}

/// As many parts of that size as memory of that size can merge. `bytes` are those of the table's rows: an entry of an index is
/// hardly larger than its row.
fn of_tree(bytes: u64) -> u64 {
    (bytes / 1024).saturating_mul(PART).isqrt().max(TREE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::throwaway::{Throwaway, ThrowawayOptions};
    use crate::pg::workbench::Workbench;
    use crate::plan::ddl::fixture::nasty;
    use crate::plan::ddl::{PostDataSchedule, Work};

    const BUSY: Lanes = Lanes { all: 2, busy: 2 };

    /// The workspaces of all jobs that have one, with their entries.
    fn all(own: u64, lanes: Lanes) -> Vec<(SchemaEntry, Workspace)> {
        let dump = nasty();
        let mut found = Vec::new();
        for job in PostDataSchedule::new(&dump, &[]).jobs() {
            let Work::Entry(id) = job.work else { continue };
            let entry = dump.entries.iter().find(|entry| entry.dump_id == id).unwrap();
            let job = Job { own, ..job.clone() };
            found.extend(Workspace::of(&job, entry, lanes).map(|workspace| (entry.clone(), workspace)));
        }
        found
    }

    #[test]
    fn a_trees_memory_grows_with_the_root_of_its_rows() {
        assert_eq!(of_tree(0), TREE);
        for bytes in [1 << 30, 1 << 34, 1 << 40] {
            let memory = of_tree(bytes);
            let (parts, merged) = (bytes / 1024 / memory, memory / PART);
            assert!(
                parts <= merged + 1 && parts * 2 > merged,
                "{bytes}: {parts} parts, {merged} merged at once"
            );
        }
    }

    #[test]
    fn helpers_are_idle_lanes() {
        let helpers = |all_lanes, busy| all(0, Lanes { all: all_lanes, busy })[0].1.helpers;
        assert_eq!([helpers(2, 2), helpers(8, 3), helpers(8, 4)], [Some(0), Some(1), Some(1)]);
        assert_eq!([helpers(1, 1), helpers(8, 1)], [None, None], "alone: what the server likes");
    }

    #[test]
    fn trees_and_inverted_indexes_have_their_own_measure_and_nothing_else_has() {
        let size = 4 << 30;
        let (mut trees, mut keys, mut inverted) = (0, 0, 0);
        for (entry, workspace) in all(size, BUSY) {
            let uses = |method: &str| entry.definition.contains(&format!("USING {method}"));
            assert!(!["gist", "brin", "hash", "spgist"].iter().any(|other| uses(other)), "{}", entry.label());
            assert!(!entry.definition.contains("EXCLUDE") && !entry.definition.contains("FOREIGN KEY"));
            let expected = if uses("gin") { size / 1024 / 8 } else { of_tree(size) };
            assert_eq!(workspace.kilobytes, expected, "{}", entry.label());
            match (uses("gin"), &*entry.kind) {
                (true, _) => inverted += 1,
                (_, "INDEX") => trees += 1,
                _ => keys += 1,
            }
        }
        assert!(trees > 0 && keys > 0 && inverted > 0, "{trees} {keys} {inverted}");
    }

    #[tokio::test]
    async fn settings_hold_for_the_transaction_and_never_exceed_the_sessions() {
        let settings = ["maintenance_work_mem=100MB", "max_parallel_maintenance_workers=2"];
        let settings = settings.iter().map(|line| (*line).to_owned()).collect();
        let server = Throwaway::start(&ThrowawayOptions { settings, ..ThrowawayOptions::default() }).unwrap();
        let bench = Workbench::connect(&server.settings("postgres")).await.unwrap();
        let space = |bytes, helpers| Workspace { kilobytes: of_tree(bytes), helpers }.sql();
        for (sql, memory, helpers) in [
            (space(0, Some(0)), "4MB", "0"),
            (space(0, Some(1)), "64MB", "1"),
            (space(0, None), "96MB", "2"),
            (space(0, Some(31)), "96MB", "2"),
            (space(1 << 40, Some(0)), "100MB", "0"),
        ] {
            bench.run("a transaction", &format!("BEGIN; {sql}")).await.unwrap();
            let found = bench.value("memory", "SHOW maintenance_work_mem").await.unwrap();
            assert_eq!(found.as_deref(), Some(memory), "{sql}");
            let found = bench.value("helpers", "SHOW max_parallel_maintenance_workers").await.unwrap();
            assert_eq!(found.as_deref(), Some(helpers), "{sql}");
            bench.run("its end", "COMMIT").await.unwrap();
            let after = bench.value("memory", "SHOW maintenance_work_mem").await.unwrap();
            assert_eq!(after.as_deref(), Some("100MB"));
        }
    }
}
