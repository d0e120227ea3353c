//! What a dump of a TimescaleDB database brings, and what it refuses.

use barkeep::base::{Event, TableName};
use barkeep::catalog::Pattern;
use barkeep::manifest::TableKind;
use barkeep::ops::verify::Level;
use barkeep::plan::chunks::TimeSlice;

use super::{Timescale, rows_by_chunk};
use crate::bench_world::{nothing_half_made, words};

fn bars() -> TableName {
    TableName::new("md", "bars")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_every_chunk_is_in_the_backup() {
    let timescale = Timescale::trading().await;
    let report = timescale.world.dump().await;
    assert_eq!(report.warnings, vec![]);
    let manifest = timescale.manifest();
    assert_eq!(manifest.required, ["timescale"]);
    let kept = manifest.body.timescale.as_ref().unwrap();
    let names: Vec<String> = kept.hypertables.iter().map(|hypertable| hypertable.name.to_string()).collect();
    assert_eq!(names, ["md.bars", "md.empty", "md.settlements", "md.ticks"]);
    for hypertable in &kept.hypertables {
        let table = manifest.table(&hypertable.name).unwrap();
        assert_eq!(table.kind, TableKind::Hypertable);
        let counted = timescale.value(&format!("SELECT count(*) FROM {}", hypertable.name.sql())).await;
        assert_eq!(counted, Some(table.rowset.rows.to_string()), "{}", hypertable.name);
        let chunks = format!(
            "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = 'md' AND hypertable_name = '{}'",
            hypertable.name.name
        );
        assert_eq!(timescale.value(&chunks).await, Some(table.units.len().to_string()));
    }
    for aggregate in &kept.aggregates {
        let table = manifest.table(&aggregate.view).unwrap();
        assert_eq!(table.kind, TableKind::ContinuousAggregate);
        let sql = format!("SELECT count(*) FROM {}", aggregate.hypertable.name.sql());
        assert_eq!(timescale.value(&sql).await, Some(table.rowset.rows.to_string()), "{}", aggregate.view);
        assert!(table.rowset.rows > 0 && aggregate.watermark.is_some(), "{}", aggregate.view);
    }
    assert_eq!(kept.aggregates.len(), if timescale.full { 3 } else { 0 });
    assert_eq!(kept.jobs.len(), if timescale.full { 5 } else { 0 });
    // Nothing of TimescaleDB's own is a table of the backup.
    let own = manifest.body.tables.iter().find(|table| table.name.schema.starts_with("_timescaledb"));
    assert_eq!(own.map(|table| &table.name), None);
    assert!(manifest.head.objects.iter().any(|object| object.path.ends_with("schema/timescale.json")));
    let path =
        manifest.pieces(manifest.table(&bars()).unwrap()).map(|piece| piece.path.clone()).next().unwrap();
    assert!(path.contains("/tables/md.bars/2026-01-0"), "pieces are named by their range: {path}");
    assert_eq!(timescale.world.verify(Level::Decode).await.findings, vec![]);
    // The same once more: every piece is found again.
    let again = timescale.world.dump().await;
    assert!(again.tables.iter().all(|table| table.reused == table.pieces), "{:?}", again.tables);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hypertable_by_name_brings_its_rows_and_what_it_is() {
    let timescale = Timescale::trading().await;
    let bars_only = vec![Pattern::parse("md.bars").unwrap()];
    timescale.world.dump_with(|request| request.selection.tables = bars_only).await.unwrap();
    let manifest = timescale.manifest();
    let counted = timescale.value("SELECT count(*) FROM md.bars").await;
    assert_eq!(counted, Some(manifest.rows().to_string()));
    let kept = manifest.body.timescale.as_ref().unwrap();
    assert_eq!((kept.hypertables.len(), kept.aggregates.len()), (1, 0));
    let dimensions: Vec<&str> = kept.hypertables[0].dimensions.iter().map(|d| d.column.as_str()).collect();
    assert_eq!(dimensions, ["ts", "symbol"]);
    assert_eq!(kept.jobs.len(), if timescale.full { 2 } else { 0 }, "its policies");
    let nothing = timescale.world.dump_with(|request| {
        request.selection.tables = vec![Pattern::parse("_timescaledb_internal._hyper_1_9_chunk").unwrap()];
    });
    let error = nothing.await.unwrap_err();
    assert_eq!(error.exit_code(), 2, "a chunk is no table of the user's: {}", words(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_of_time_takes_chunks_by_range_and_rows_of_those_at_the_edge() {
    let timescale = Timescale::trading().await;
    let slice = TimeSlice {
        since: Some("2026-01-03T12:00:00Z".parse().unwrap()),
        until: Some("2026-01-06".parse().unwrap()),
    };
    let report = timescale.world.dump_with(|request| request.slice = slice).await.unwrap();
    let manifest = timescale.manifest();
    let table = manifest.table(&bars()).unwrap();
    let within = "ts >= '2026-01-03 12:00+00' AND ts < '2026-01-06'";
    let sql = format!("SELECT count(*) FROM md.bars WHERE {within}");
    assert_eq!(timescale.value(&sql).await, Some(table.rowset.rows.to_string()));
    assert_eq!(rows_by_chunk(table).len(), 6, "three ranges of time, two partitions each");
    // Kept as a condition that the server understands.
    let sql = format!("SELECT count(*) FROM md.bars WHERE {}", table.condition.as_ref().unwrap());
    assert_eq!(timescale.value(&sql).await, Some(table.rowset.rows.to_string()));
    assert_eq!(manifest.body.selection.since.as_deref(), Some("2026-01-03T12:00:00.000000Z"));
    let warned: Vec<&str> = report.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert!(!warned.is_empty() && warned.iter().all(|code| *code == "SLICE"), "{warned:?}");
    let symbols = |request: &mut barkeep::ops::dump::DumpRequest| {
        request.slice = slice;
        request.selection.tables = vec![Pattern::parse("md.symbols").unwrap()];
    };
    let error = timescale.world.dump_with(symbols).await.unwrap_err();
    assert!(error.exit_code() == 2 && words(&error).contains("none is chosen"), "{}", words(&error));
    // Ticks are numbered, not timed.
    let ticks = manifest.table(&TableName::new("md", "ticks")).unwrap();
    assert_eq!((ticks.rowset.rows, ticks.condition.as_deref()), (7000, None));
    assert!(report.warnings.iter().any(|warning| warning.message.contains("md.ticks")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_hide_rows_is_refused_or_set_right() {
    let timescale = Timescale::trading().await;
    let database = &timescale.world.database;
    let whole = timescale.value("SELECT count(*) FROM md.bars").await;
    for (setting, value) in [
        ("enable_transparent_decompression", "off"),
        ("enable_columnarscan", "off"),
        ("enable_optimizations", "off"),
    ] {
        let sql = format!("SELECT count(*) FROM pg_settings WHERE name = 'timescaledb.{setting}'");
        if timescale.value(&sql).await.as_deref() == Some("0") {
            continue;
        }
        timescale.run(&format!("ALTER DATABASE \"{database}\" SET timescaledb.{setting} = {value}")).await;
        timescale.world.dump().await;
        let rows = timescale.manifest().table(&bars()).unwrap().rowset.rows;
        assert_eq!(Some(rows.to_string()), whole, "{setting}");
        timescale.run(&format!("ALTER DATABASE \"{database}\" RESET timescaledb.{setting}")).await;
    }
    std::fs::remove_dir_all(timescale.world.vault.root().join("backups")).unwrap();
    // Rows that no chunk has; before 2.23 they were not let in.
    if timescale.version >= vec![2, 23] {
        timescale.run("SET timescaledb.restoring = on;\nINSERT INTO md.empty VALUES ('2026-01-01', 1)").await;
        let error = timescale.world.dump_with(|_| ()).await.unwrap_err();
        assert!(error.exit_code() == 22 && words(&error).contains("md.empty"), "{}", words(&error));
    }
    timescale.run(&format!("ALTER DATABASE \"{database}\" SET timescaledb.restoring = on")).await;
    let error = timescale.world.dump_with(|_| ()).await.unwrap_err();
    assert!(
        error.exit_code() == 22 && words(&error).contains("timescaledb_post_restore"),
        "{}",
        words(&error)
    );
    timescale.run(&format!("ALTER DATABASE \"{database}\" RESET timescaledb.restoring")).await;
    nothing_half_made(&timescale.world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_dropped_after_the_snapshot_is_late_and_strict_ends_the_run() {
    let timescale = std::sync::Arc::new(Timescale::trading().await);
    let drop_oldest = |timescale: std::sync::Arc<Timescale>, older: &'static str| {
        move |event: &Event| {
            if *event == Event::Phase("data") {
                let sql = format!("SELECT drop_chunks('md.ticks', older_than => {older}::bigint)");
                let timescale = timescale.clone();
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(async move { timescale.run(&sql).await });
                });
            }
        }
    };
    let hook = drop_oldest(timescale.clone(), "-1000");
    let error = timescale.world.dump_hooked(hook, |request| request.strict = true).await.unwrap_err();
    assert!(error.exit_code() == 21 && words(&error).contains("dropped"), "{}", words(&error));
    nothing_half_made(&timescale.world);
    let hook = drop_oldest(timescale.clone(), "0");
    let report = timescale.world.dump_hooked(hook, |_| ()).await.unwrap();
    let manifest = timescale.manifest();
    assert!(!manifest.body.consistent);
    let late: Vec<_> = manifest.late().collect();
    assert_eq!(late.len(), 1);
    assert!(late[0].2.gone && late[0].1.chunk.ranges["seq"].to == 0, "{:?}", late[0]);
    assert_eq!(report.warnings.iter().map(|warning| &*warning.code).collect::<Vec<_>>(), ["LATE"]);
    assert!(report.warnings[0].message.contains("-1000 to 0"), "{}", report.warnings[0].message);
    assert_eq!(manifest.table(&TableName::new("md", "ticks")).unwrap().rowset.rows, 5500);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_a_schema_of_the_users_are_no_tables_of_the_users() {
    let timescale = Timescale::with(
        "CREATE SCHEMA \"Own Chunks\"; CREATE TABLE ev (ts timestamptz NOT NULL, x int); \
         SELECT create_hypertable('ev', 'ts', chunk_time_interval => interval '1 day', \
             associated_schema_name => 'Own Chunks', associated_table_prefix => 'ev\"x'); \
         INSERT INTO ev SELECT '2026-01-01'::timestamptz + interval '1 hour' * i, i FROM generate_series(0, 99) i",
    )
    .await;
    timescale.world.dump().await;
    let manifest = timescale.manifest();
    let names: Vec<String> = manifest.body.tables.iter().map(|table| table.name.to_string()).collect();
    assert_eq!(names, ["public.ev"]);
    assert_eq!(manifest.rows(), 100);
    let chunk = &manifest.body.tables[0].units[0].chunk.as_ref().unwrap().chunk;
    assert_eq!(chunk.name, TableName::new("Own Chunks", "ev\"x_1_chunk"));
    let object = &manifest.head.objects[manifest.body.schema.unwrap()];
    let schema = std::fs::read_to_string(timescale.world.vault.place(&object.path)).unwrap();
    assert!(schema.contains("CREATE TABLE public.ev") && !schema.contains("_chunk"), "{schema}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_is_not_behind_the_rows_of_a_late_chunk() {
    let timescale = std::sync::Arc::new(Timescale::trading().await);
    let chunk = "SELECT c::text FROM show_chunks('md.settlements', older_than => '2025-11-09'::date) c";
    let chunk = timescale.value(chunk).await.unwrap();
    let changing = timescale.clone();
    let hook = move |event: &Event| {
        if *event == Event::Phase("data") {
            let (timescale, chunk) = (changing.clone(), chunk.clone());
            let sql = format!(
                "TRUNCATE {chunk};\nINSERT INTO md.settlements (day, account, amount) \
                 SELECT '2025-11-01', 1, 1 FROM generate_series(1, 10)"
            );
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async move { timescale.run(&sql).await });
            });
        }
    };
    timescale.world.dump_hooked(hook, |_| ()).await.unwrap();
    let manifest = timescale.manifest();
    let late: Vec<_> = manifest.late().collect();
    assert!(late.iter().any(|(table, ..)| table.name.name == "settlements"), "{late:?}");
    let sequence = manifest.body.sequences.iter().find(|sequence| sequence.name.name == "settlements_id_seq");
    let last = timescale.value("SELECT max(id) FROM md.settlements").await;
    assert_eq!(sequence.map(|sequence| sequence.last_value.clone()), last);
    assert_eq!(last.as_deref(), Some("3010"));
}
