//! TimescaleDB, on whichever edition the test image has. What needs the full edition and does not find it says so by name;
//! `scripts/test.sh` repeats that in its last lines.

mod checks;
mod dump;
mod faults;
mod restore;
mod schedules;

use std::collections::BTreeMap;

use barkeep::manifest::{Manifest, Table, Unit};
use barkeep::pg::workbench::Workbench;

use crate::bench_world::{World, fixture, not_run};
use crate::container::{self, Server};

/// A database with TimescaleDB in a container of its own.
pub(crate) struct Timescale {
    pub(crate) world: World,
    /// Keeps the container running.
    pub(crate) server: Server,
    /// `extversion`, as numbers.
    pub(crate) version: Vec<u32>,
    /// It has compression, continuous aggregates and jobs.
    pub(crate) full: bool,
}

impl Timescale {
    /// A new database with the extension and `sql`.
    pub(crate) async fn with(sql: &str) -> Self {
        let server = container::start().await;
        let script = format!("CREATE EXTENSION timescaledb; {sql}");
        let world = World::on(server.settings(), server.pg_dump(), &script).await;
        let bench = Workbench::connect(&world.source()).await.unwrap();
        let question = "SELECT extversion, current_setting('timescaledb.license') FROM pg_extension WHERE extname = 'timescaledb'";
        let row = bench.rows("the edition", question).await.unwrap().remove(0);
        let text = |at: usize| row[at].clone().unwrap();
        let version = text(0).split('.').map(|number| number.parse().unwrap_or(0)).collect();
        Self { world, server, version, full: text(1) == "timescale" }
    }

    /// The trading fixture; with all that only the full edition has, where this is one.
    pub(crate) async fn trading() -> Self {
        let timescale = Self::with(&fixture("sql/timescale.sql")).await;
        if timescale.full {
            // Statement by statement: CALL wants no transaction around it.
            let bench = Workbench::connect(&timescale.world.source()).await.unwrap();
            for sql in statements(&fixture("sql/timescale-full.sql")) {
                bench.run("the fixture", &sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            }
        }
        timescale
    }

    /// True where the test cannot go on, and says so.
    pub(crate) fn lacks_full(&self, test: &str) -> bool {
        if !self.full {
            not_run(&format!("{test}: needs TimescaleDB's full edition (BARKEEP_TEST_IMAGE)"));
        }
        !self.full
    }

    /// Runs SQL, each statement by itself.
    pub(crate) async fn run(&self, sql: &str) {
        let bench = Workbench::connect(&self.world.source()).await.unwrap();
        for sql in statements(sql) {
            bench.run("a test's own SQL", &sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    /// The first column of the first row.
    pub(crate) async fn value(&self, sql: &str) -> Option<String> {
        crate::bench_world::value(&self.world.source(), sql).await
    }

    /// The newest backup.
    pub(crate) fn manifest(&self) -> Manifest {
        self.world.vault.manifests().unwrap().remove(0).manifest
    }
}

/// A script's statements: they end at a semicolon that ends a line.
pub(crate) fn statements(script: &str) -> Vec<String> {
    let script: Vec<&str> = script.lines().filter(|line| !line.starts_with("--")).collect();
    let parts = script.join("\n");
    parts.split(";\n").map(|sql| sql.trim().to_owned()).filter(|sql| !sql.is_empty()).collect()
}

/// Rows of a table's chunks by the name of the chunk.
pub(crate) fn rows_by_chunk(table: &Table) -> BTreeMap<String, u64> {
    let name = |unit: &Unit| unit.chunk.as_ref().unwrap().chunk.name.name.clone();
    table.units.iter().map(|unit| (name(unit), unit.rowset.rows)).collect()
}
