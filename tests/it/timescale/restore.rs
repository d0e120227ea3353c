//! Restores of TimescaleDB: as it was, onto less, in part, into what is there, and after being stopped anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use barkeep::base::{Event, Events, TableName};
use barkeep::catalog::Pattern;
use barkeep::catalog::timescale::Hypertable;
use barkeep::manifest::Manifest;
use barkeep::ops::Services;
use barkeep::ops::compare::TableVerdict;
use barkeep::ops::restore::{Mode, RestoreRequest, TimescaleMode, restore, start_jobs};
use barkeep::pg::ConnectionSettings;
use barkeep::plan::chunks::TimeSlice;
use barkeep::store::BackupChoice;

use super::Timescale;
use crate::bench_world::{World, run, server, value};

/// What a backup says about hypertables, aggregates and jobs, without numbers and names that differ in every database.
fn description(manifest: &Manifest) -> Vec<String> {
    let timescale = manifest.body.timescale.as_ref().unwrap();
    let rows = |table: &Hypertable, name: &TableName, own: &str| {
        let units = manifest.table(name).map(|table| &table.units[..]).unwrap_or_default();
        let chunks: BTreeSet<String> = units
            .iter()
            .filter_map(|unit| Some((&unit.chunk.as_ref()?.chunk, unit.rowset)))
            .filter(|(_, rowset)| rowset.rows > 0)
            .map(|(chunk, rowset)| format!("{:?} compressed: {} {rowset:?}", chunk.ranges, chunk.status & 1))
            .collect();
        format!(
            "{own} {:?} {:?} {:?} {:?} {chunks:#?}",
            table.dimensions, table.compression, table.tablespaces, table.skipping
        )
    };
    let hypertables = timescale.hypertables.iter().map(|table| rows(table, &table.name, &table.name.sql()));
    let aggregates = timescale.aggregates.iter().map(|aggregate| {
        let indexes: BTreeSet<&str> =
            aggregate.indexes.iter().filter_map(|index| Some(index.split_once(" USING ")?.1)).collect();
        let own = format!(
            "{} over {}: {} {} {:?} {indexes:?}",
            aggregate.view,
            aggregate.over,
            aggregate.definition,
            aggregate.materialized_only,
            aggregate.watermark
        );
        rows(&aggregate.hypertable, &aggregate.view, &own)
    });
    let jobs = timescale.jobs.iter().map(|job| {
        let mut config: serde_json::Value =
            serde_json::from_str(job.config.as_deref().unwrap_or("{}")).unwrap();
        for number in ["hypertable_id", "mat_hypertable_id"] {
            config.as_object_mut().unwrap().remove(number);
        }
        format!(
            "{} {:?} {config} {} {} {} {} {} {:?} {:?}",
            job.procedure.name,
            job.hypertable,
            job.owner,
            job.fixed_schedule,
            job.schedule_interval,
            job.max_runtime,
            job.max_retries,
            job.initial_start,
            job.timezone
        )
    });
    hypertables.chain(aggregates).chain(jobs.collect::<BTreeSet<_>>()).collect()
}

/// The same of a database, by dumping it into a vault of its own.
async fn described(timescale: &Timescale, database: &ConnectionSettings) -> (Vec<String>, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let vault = barkeep::store::Vault::open_or_create(
        &folder.path().join("vault"),
        barkeep::base::Clock::now(&barkeep::base::SystemClock),
        rand::random(),
    );
    let vault = vault.unwrap();
    let mut request = barkeep::ops::dump::DumpRequest::new(database.clone());
    request.pg_dump = timescale.server.pg_dump();
    request.path = std::env::var_os("PATH");
    barkeep::ops::dump::dump(&vault, &request, &Services::default()).await.unwrap();
    let manifest = vault.manifests().unwrap().remove(0).manifest;
    // Another vault has another key, so that digests differ: rows are compared by `compare`.
    (description(&manifest).iter().map(|line| without_sums(line)).collect(), manifest)
}

/// Counts stay, sums go.
fn without_sums(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" rows, ") {
        out.push_str(before);
        out.push_str(" rows");
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    out + rest
}

fn source(timescale: &Timescale) -> Vec<String> {
    description(&timescale.manifest()).iter().map(|line| without_sums(line)).collect()
}

fn pattern(text: &str) -> Vec<Pattern> {
    vec![Pattern::parse(text).unwrap()]
}

async fn equal(world: &World, target: &ConnectionSettings) {
    let report = world.compare(target.clone()).await;
    assert!(report.is_equal(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_and_jobs_are_paused() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let target = timescale.world.copy("all");
    let mode = if timescale.full { TimescaleMode::Require } else { TimescaleMode::Auto };
    let report =
        timescale.world.restore_with(target.clone(), |request| request.timescale = mode).await.unwrap();
    equal(&timescale.world, &target).await;
    let (found, manifest) = described(&timescale, &target).await;
    if !timescale.full {
        let lost =
            report.warnings.iter().any(|warning| warning.contains("chunks cut by the interval of now"));
        assert!(lost && manifest.body.timescale.unwrap().hypertables.len() == 4, "{:?}", report.warnings);
        return;
    }
    assert_eq!(found, source(&timescale));
    assert!(manifest.body.timescale.unwrap().jobs.iter().all(|job| !job.scheduled));
    assert!(!report.warnings.iter().any(|warning| warning.contains("materialised up to")), "{report:#?}");
    assert!(report.warnings.iter().any(|warning| warning.contains("md.bars_hourly has rows from before")));
    assert_eq!(report.jobs.len(), 5);
    let started = start_jobs(&target, &report.jobs).await.unwrap();
    assert_eq!(started.len(), 5);
    let span = "SELECT count(*)::text FROM md.daily_range";
    assert_eq!(value(&target, span).await, timescale.value(span).await);
    let seen = "SELECT count(*)::text || ' ' || sum(n) FROM md.bars_hourly";
    assert_eq!(value(&target, seen).await, timescale.value(seen).await);
    let comment = "SELECT obj_description('md.bars_daily'::regclass)";
    assert_eq!(value(&target, comment).await.as_deref(), Some("a day in one row"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dimensions_and_buckets_of_every_kind_come_back() {
    let timescale = Timescale::with("").await;
    if timescale.lacks_full("dimensions_and_buckets_of_every_kind_come_back") {
        return;
    }
    timescale.run(&crate::bench_world::fixture("sql/timescale-odd.sql")).await;
    timescale.world.dump().await;
    let target = timescale.world.copy("odd");
    let report = timescale
        .world
        .restore_with(target.clone(), |request| request.timescale = TimescaleMode::Require)
        .await
        .unwrap();
    assert!(!report.warnings.iter().any(|warning| warning.contains("materialised up to")), "{report:#?}");
    equal(&timescale.world, &target).await;
    let (found, _) = described(&timescale, &target).await;
    // How single chunks were compressed is no setting of the table.
    assert_eq!(found, source(&timescale));
    let owners = "SELECT string_agg(view_name || ' ' || view_owner, ', ' ORDER BY view_name) \
                  FROM timescaledb_information.continuous_aggregates";
    assert_eq!(value(&target, owners).await, timescale.value(owners).await);
    assert_eq!(value(&target, "SELECT count(*)::text FROM o.mat").await.as_deref(), Some("5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_lacks_is_listed_before_it_is_lost() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let local = server();
    let target = local.settings(&format!("{}_plain", timescale.world.database));
    let plan = timescale
        .world
        .restore_with(target.clone(), |request| request.dry_run = true)
        .await
        .unwrap()
        .dry_run_plan;
    assert!(plan.iter().any(|line| line.starts_with("lost: the server has no TimescaleDB")), "{plan:#?}");
    let refused = timescale
        .world
        .restore_with(target.clone(), |request| request.timescale = TimescaleMode::Require)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("--timescale require"), "{refused}");
    let report = timescale.world.restore(target.clone()).await;
    assert!(report.warnings.iter().any(|w| w.contains("left out, since they need")), "{:?}", report.warnings);
    equal(&timescale.world, &target).await;
    let kinds = "SELECT string_agg(relname || ' ' || relkind::text, ', ' ORDER BY relname) FROM pg_class \
                 WHERE relnamespace = 'md'::regnamespace AND relname IN ('bars', 'ticks')";
    // Eight slices are a table, more are partitions.
    assert_eq!(value(&target, kinds).await.as_deref(), Some("bars r, ticks r"));
}

/// More than eight slices of time, with storage parameters, keys, and everything that partitions make hard.
const MANY: &str = "CREATE SCHEMA md; CREATE TABLE md.places (id int PRIMARY KEY); INSERT INTO md.places VALUES (1), (2);
     CREATE TABLE md.wide (ts timestamptz NOT NULL, place int NOT NULL, v numeric(10, 2), CHECK (v >= 0)) \
         WITH (fillfactor = 70);
     SELECT create_hypertable('md.wide', 'ts', chunk_time_interval => interval '1 day');
     SELECT add_dimension('md.wide', 'place', number_partitions => 2);
     INSERT INTO md.wide SELECT '2026-01-01Z'::timestamptz + i * interval '1 hour', 1 + i % 2, i FROM generate_series(0, 599) i;
     ALTER TABLE md.wide ADD PRIMARY KEY (ts, place);
     ALTER TABLE md.wide ADD FOREIGN KEY (place) REFERENCES md.places;
     CREATE INDEX wide_v ON md.wide (v) WHERE v > 10;
     CREATE VIEW md.buckets AS SELECT time_bucket('1 day', ts) AS day, count(*) AS n FROM md.wide GROUP BY 1;
     CREATE TABLE md.days (ts date NOT NULL, n int);
     SELECT create_hypertable('md.days', 'ts', chunk_time_interval => interval '7 days');
     INSERT INTO md.days SELECT '2026-01-01'::date + i, i FROM generate_series(0, 99) i";

#[tokio::test(flavor = "multi_thread")]
async fn many_chunks_become_partitions_on_plain_postgresql() {
    let timescale = Timescale::with(MANY).await;
    timescale.world.dump().await;
    let local = server();
    let target = local.settings(&format!("{}_parts", timescale.world.database));
    let report = timescale.world.restore(target.clone()).await;
    equal(&timescale.world, &target).await;
    assert!(report.warnings.iter().any(|w| w.contains("VIEW md.buckets")), "{:?}", report.warnings);
    assert!(report.warnings.iter().any(|w| w.contains("fillfactor")), "{:?}", report.warnings);
    let parts = "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'md.wide'::regclass";
    assert_eq!(value(&target, parts).await.as_deref(), Some("26"), "25 days and the default");
    let stray = "SELECT count(*)::text FROM md.wide_default";
    assert_eq!(value(&target, stray).await.as_deref(), Some("0"));
    // A row outside of all ranges is found by the comparison, whatever the target is cut into.
    run(&target, "INSERT INTO md.wide VALUES ('2031-01-01Z', 1, 5)").await;
    let compared = timescale.world.compare(target.clone()).await;
    let wide = compared.tables.iter().find(|table| table.table.name == "wide").unwrap();
    assert_eq!((&wide.verdict, wide.differences.len()), (&TableVerdict::Different, 1));
    // Beside itself, under another name, on the server it came from.
    let report = timescale
        .world
        .restore_with(timescale.world.source(), |request| {
            request.create = false;
            request.yes_overwrite_source = true;
            request.timescale = TimescaleMode::Plain;
            request.tables = pattern("md.wide");
            request.rename = vec![(TableName::new("md", "wide"), TableName::new("md", "narrow"))];
        })
        .await
        .unwrap();
    let parts = "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'md.narrow'::regclass";
    assert_eq!(timescale.value(parts).await.as_deref(), Some("26"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_needs_the_extension_is_refused_by_name() {
    let sql = "CREATE TABLE public.derived (ts timestamptz NOT NULL, \
               day timestamptz GENERATED ALWAYS AS (public.time_bucket('1 day', ts, 'UTC')) STORED)";
    let immutable = sql.replace("time_bucket('1 day', ts, 'UTC')", "time_bucket('1 day'::interval, ts)");
    let timescale = Timescale::with(&immutable).await;
    timescale.world.dump().await;
    let target = timescale.world.copy("plain");
    let refused = timescale
        .world
        .restore_with(target, |request| request.timescale = TimescaleMode::Plain)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("TABLE public.derived cannot be made"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_of_time_takes_chunks_and_cuts_those_at_its_edges() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let target = timescale.world.copy("slice");
    let report = timescale
        .world
        .restore_with(target.clone(), |request| {
            request.slice = TimeSlice {
                since: Some("2026-01-03T12:00:00Z".parse().unwrap()),
                until: Some("2026-01-06".parse().unwrap()),
            };
        })
        .await
        .unwrap();
    assert!(report.warnings.iter().any(|w| w.contains("md.ticks is taken whole")), "{:?}", report.warnings);
    let wanted = "SELECT count(*) || ' ' || min(ts) || ' ' || sum(close) FROM md.bars \
                  WHERE ts >= '2026-01-03 12:00Z' AND ts < '2026-01-06Z'";
    let all = "SELECT count(*) || ' ' || min(ts) || ' ' || sum(close) FROM md.bars";
    assert_eq!(value(&target, all).await, timescale.value(wanted).await);
    assert_eq!(value(&target, "SELECT count(*)::text FROM md.symbols").await.as_deref(), Some("4"));
    if timescale.full {
        run(&target, "ALTER MATERIALIZED VIEW md.bars_hourly SET (timescaledb.materialized_only = true)")
            .await;
        let hours = "SELECT count(*)::text FROM md.bars_hourly";
        assert_eq!(value(&target, hours).await.as_deref(), Some("240"), "60 hours of 4 symbols");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_into_hypertables_that_are_there() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let target = timescale.world.copy("there");
    timescale.world.restore(target.clone()).await;
    run(&target, "DELETE FROM md.bars WHERE symbol = 'NVDA'; INSERT INTO md.ticks VALUES (6000, 1, 'new')")
        .await;
    let again = |mode: Mode, tables: &'static str| {
        let target = target.clone();
        timescale.world.restore_with(target, move |request| {
            request.create = false;
            request.mode = mode;
            request.tables = pattern(tables);
        })
    };
    again(Mode::OnlyMissing, "md.bars").await.unwrap();
    again(Mode::Replace, "md.ticks").await.unwrap();
    equal(&timescale.world, &target).await;
    // A hypertable's triggers cannot be switched off; nobody may notice that afterwards.
    let refused = again(Mode::Append, "md.settlements").await.unwrap_err();
    assert!(refused.to_string().contains("settlement_noted"), "{refused}");
    run(&target, "DROP TRIGGER settlement_noted ON md.settlements").await;
    again(Mode::Append, "md.settlements").await.unwrap();
    let rows = "SELECT count(*)::text FROM md.settlements";
    assert_eq!(value(&target, rows).await.as_deref(), Some("6000"));
    let audit = "SELECT count(*)::text FROM md.audit";
    assert_eq!(value(&target, audit).await.as_deref(), Some("0"));
    if timescale.full {
        let report = again(Mode::Append, "md.bars_daily").await.unwrap();
        assert!(report.warnings.iter().any(|w| w.contains("refresh it")), "{:?}", report.warnings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_hypertables_comes_back_under_another_name_beside_the_original() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let target = timescale.world.source();
    let report = timescale
        .world
        .restore_with(target.clone(), |request| {
            request.create = false;
            request.yes_overwrite_source = true;
            request.map_schema = vec![("md".into(), "Recovered".into())];
        })
        .await
        .unwrap();
    let count = |schema: &str| format!("SELECT count(*)::text FROM \"{schema}\".bars");
    assert_eq!(timescale.value(&count("Recovered")).await, timescale.value(&count("md")).await);
    let hypertables = "SELECT count(*)::text FROM timescaledb_information.hypertables WHERE hypertable_schema = 'Recovered'";
    assert_eq!(timescale.value(hypertables).await.as_deref(), Some("4"), "{report:#?}");
    if timescale.full {
        let over = "SELECT count(*)::text FROM timescaledb_information.continuous_aggregates \
                    WHERE view_schema = 'Recovered'";
        assert_eq!(timescale.value(over).await.as_deref(), Some("3"));
        let daily =
            |schema: &str| format!("SELECT count(*) || ' ' || sum(volume) FROM \"{schema}\".bars_daily");
        assert_eq!(timescale.value(&daily("Recovered")).await, timescale.value(&daily("md")).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_without_what_it_aggregates_becomes_a_table() {
    let timescale = Timescale::trading().await;
    if timescale.lacks_full("an_aggregate_without_what_it_aggregates_becomes_a_table") {
        return;
    }
    timescale.world.dump().await;
    let target = timescale.world.copy("part");
    let only = |request: &mut RestoreRequest<'_>| {
        request.tables = pattern("md.bars_*").into_iter().chain(pattern("md.daily_range")).collect();
        request.timescale = TimescaleMode::Auto;
    };
    let report = timescale.world.restore_with(target.clone(), only).await.unwrap();
    assert!(report.warnings.iter().any(|w| w.contains("md.bars_hourly becomes a table")), "{report:#?}");
    let rows = "SELECT count(*)::text FROM md.bars_hourly";
    assert_eq!(value(&target, rows).await.as_deref(), Some("672"));
    assert_eq!(value(&target, "SELECT count(*)::text FROM md.daily_range").await.as_deref(), Some("4"));
    // With its source it stays one, and the extension comes along.
    let target = timescale.world.copy("chosen");
    let with = |request: &mut RestoreRequest<'_>| {
        request.tables = pattern("md.bars").into_iter().chain(pattern("md.bars_*")).collect();
        request.exclude_tables = pattern("md.nothing").into_iter().take(0).collect();
    };
    timescale.world.restore_with(target.clone(), with).await.unwrap();
    let there = "SELECT count(*)::text FROM timescaledb_information.continuous_aggregates";
    assert_eq!(value(&target, there).await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_schema_brings_settings_and_no_chunks() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let target = timescale.world.copy("schema");
    timescale.world.restore_with(target.clone(), |request| request.schema_only = true).await.unwrap();
    let hypertables = "SELECT count(*) || ' ' || sum(num_chunks) FROM timescaledb_information.hypertables";
    assert_eq!(value(&target, hypertables).await.as_deref(), Some("4 0"));
    if timescale.full {
        let jobs =
            "SELECT count(*)::text FROM timescaledb_information.jobs WHERE job_id >= 1000 AND NOT scheduled";
        assert_eq!(value(&target, jobs).await.as_deref(), Some("5"));
        let compressed =
            "SELECT count(*)::text FROM timescaledb_information.hypertables WHERE compression_enabled";
        assert_eq!(value(&target, compressed).await.as_deref(), Some("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_database_restores_it_without_being_superuser() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let role = format!("{}_owner", timescale.world.database);
    let target = timescale.world.copy("owned");
    timescale.run(&format!("CREATE ROLE {role} LOGIN")).await;
    timescale.run(&format!("CREATE DATABASE {} OWNER {role} TEMPLATE template0", target.database)).await;
    let own = ConnectionSettings { user: role, ..target.clone() };
    let report = timescale
        .world
        .restore_with(own, |request| {
            request.create = false;
            request.owners = false;
            request.privileges = false;
        })
        .await
        .unwrap();
    equal(&timescale.world, &target).await;
    assert_eq!(report.jobs.len(), if timescale.full { 5 } else { 0 }, "{:?}", report.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apache_licence_of_a_full_server_is_a_target_of_its_own() {
    let timescale = Timescale::trading().await;
    if timescale.lacks_full("the_apache_licence_of_a_full_server_is_a_target_of_its_own") {
        return;
    }
    timescale.world.dump().await;
    let apache = crate::container::start_with(&["timescaledb.license=apache"]).await;
    let target = apache.settings().with_database("restored");
    let report = timescale.world.restore(target.clone()).await;
    equal(&timescale.world, &target).await;
    assert!(report.warnings.iter().any(|w| w.contains("no policies and jobs")), "{:?}", report.warnings);
    let hypertables = "SELECT count(*)::text FROM timescaledb_information.hypertables";
    assert_eq!(value(&target, hypertables).await.as_deref(), Some("4"));
    let span = "SELECT count(*)::text FROM md.daily_range";
    assert_eq!(value(&target, span).await.as_deref(), Some("4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_the_middle_of_another_restore_is_refused() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let target = timescale.world.copy("restoring");
    timescale.run(&format!("CREATE DATABASE {} TEMPLATE template0", target.database)).await;
    run(&target, "CREATE EXTENSION timescaledb").await;
    run(&target, &format!("ALTER DATABASE {} SET timescaledb.restoring = on", target.database)).await;
    let refused = timescale.world.restore_with(target, |request| request.create = false).await.unwrap_err();
    assert!(refused.to_string().contains("timescaledb_post_restore"), "{refused}");
}

/// Counts the steps of a run, and stops it at one of them.
struct Stopper {
    left: AtomicUsize,
    stop: tokio::sync::Notify,
}

impl Events for Stopper {
    fn emit(&self, event: Event) {
        if matches!(event, Event::Step { .. } | Event::Phase(_) | Event::TableDone { .. })
            && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            self.stop.notify_one();
        }
    }
}

/// A run that is dropped at its n-th step, as a killed process drops it; whether it had ended before.
async fn stopped(world: &World, target: &ConnectionSettings, create: bool, steps: usize) -> bool {
    let stopper = Arc::new(Stopper { left: AtomicUsize::new(steps), stop: tokio::sync::Notify::new() });
    let mut request = RestoreRequest::new(&world.vault, BackupChoice::latest(), target.clone());
    request.create = create;
    let services = Services { events: Arc::clone(&stopper) as Arc<dyn Events>, ..Services::default() };
    tokio::select! {
        done = restore(&request, &services) => { done.unwrap(); true }
        () = stopper.stop.notified() => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_and_said_again_it_ends_as_if_never_stopped() {
    let timescale = Timescale::trading().await;
    timescale.world.dump().await;
    let wanted = source(&timescale);
    let mut stops = 0;
    for first in [1, 5, 10, 16, 23, 31, 40, 50, 61] {
        let target = timescale.world.copy(&format!("stop{first}"));
        // Stopped again and again, further on each time: what is done already is told again.
        let there = format!("SELECT count(*)::text FROM pg_database WHERE datname = '{}'", target.database);
        for at in (first..).step_by(17) {
            let create = timescale.value(&there).await.as_deref() == Some("0");
            if stopped(&timescale.world, &target, create, at).await {
                break;
            }
            stops += 1;
        }
        equal(&timescale.world, &target).await;
        let (found, manifest) = described(&timescale, &target).await;
        if timescale.full {
            assert_eq!(found, wanted, "stopped at {first}");
            assert!(manifest.body.timescale.unwrap().jobs.iter().all(|job| !job.scheduled));
        }
        run(&timescale.world.source(), &format!("DROP DATABASE {} WITH (FORCE)", target.database)).await;
    }
    eprintln!("stopped {stops} times");
    assert!(stops > 10, "{stops}");
}
