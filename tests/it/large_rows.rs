//! Rows beyond `--max-row`: refused by table and ctid, with nothing half-made, and taken where they fit to the byte.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use barkeep::base::Event;
use barkeep::catalog::Pattern;
use barkeep::ops::OpsError;
use barkeep::ops::dump::DumpRequest;
use barkeep::ops::verify::Level;

use crate::bench_world::{World, nothing_half_made, run, uri, value};

const MIB: u64 = 1 << 20;

/// Small rows with some missing in between, so that a row's number is not its place, and one large row among them.
const ONE_LARGE: &str = "CREATE TABLE wide (id int PRIMARY KEY, t text);
     INSERT INTO wide SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i;
     DELETE FROM wide WHERE id % 3 = 0;
     UPDATE wide SET t = repeat('y', 2 * 1024 * 1024) WHERE id = 7777;
     INSERT INTO wide SELECT i, repeat('z', 100) FROM generate_series(20001, 40000) i";

/// Its tuple: a count, an int4 and a text with their lengths.
const LARGEST: u64 = 2 + (4 + 4) + (4 + 2 * MIB);

async fn place(world: &World) -> String {
    value(&world.source(), "SELECT ctid::text FROM wide WHERE length(t) > 1000").await.unwrap()
}

/// What the dump says of a row that it refuses: table, place, bytes, bound.
async fn refused(world: &World, change: impl FnOnce(&mut DumpRequest)) -> (String, String, u64, u64) {
    match world.dump_with(change).await {
        Err(OpsError::RowTooLarge { table, place, bytes, bound }) => {
            nothing_half_made(world);
            (table.to_string(), place.to_string(), bytes, bound)
        }
        other => panic!("{other:?}"),
    }
}

fn dump(world: &World, max_row: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(world.vault.root()).args(["--progress", "none", "dump", "--data-only"]);
    command.args(["--max-row", max_row, &uri(&world.source())]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_is_named_with_its_place_and_what_to_do_next() {
    let world = World::with(ONE_LARGE).await;
    let output = dump(&world, "1M");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let place = place(&world).await;
    let text =
        format!("the row of public.wide with ctid {place} has {LARGEST} bytes, and --max-row allows {MIB}");
    assert!(said.contains(&text), "{said}");
    let next = format!("SELECT * FROM \"public\".\"wide\" WHERE ctid = '{place}'");
    assert!(said.contains("Hint: ") && said.contains("higher --max-row"), "{said}");
    assert!(said.contains(&next), "{said}");
    nothing_half_made(&world);
    // What was said to look at is that row and no other.
    let found = format!("SELECT string_agg(id::text, ',') FROM wide WHERE ctid = '{place}'");
    assert_eq!(value(&world.source(), &found).await.as_deref(), Some("7777"));
    // The negative control: with room for it there is a backup.
    assert_eq!(dump(&world, "3M").status.code(), Some(0));
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_is_held_to_the_byte_also_by_the_first_row() {
    let world = World::with(&format!("{ONE_LARGE}; DELETE FROM wide WHERE length(t) < 1000")).await;
    let expected = format!("the row of public.wide with ctid {}", place(&world).await);
    let found = refused(&world, |request| request.max_row = LARGEST - 1).await;
    assert_eq!(found, ("public.wide".to_owned(), expected, LARGEST, LARGEST - 1));
    assert_eq!(world.dump_with(|request| request.max_row = LARGEST).await.unwrap().rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_found_in_any_unit_and_through_a_condition() {
    // Wide enough in pages to be read in several units; the row is in one of the last.
    let world = World::with(
        "CREATE TABLE wide (id int, t text, filler text);
         ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
         INSERT INTO wide SELECT i, 'x', repeat('f', 4000) FROM generate_series(1, 60000) i;
         UPDATE wide SET t = repeat('y', 2 * 1024 * 1024) WHERE id = 55555",
    )
    .await;
    let expected = format!("the row of public.wide with ctid {}", place(&world).await);
    let (_, found, ..) = refused(&world, |request| request.max_row = MIB).await;
    assert_eq!(found, expected);
    let only = |sql: &str| vec![(Pattern::parse("wide").unwrap(), sql.to_owned())];
    let (_, found, ..) = refused(&world, |request| {
        (request.max_row, request.conditions) = (MIB, only("id > 50000"));
    })
    .await;
    assert_eq!(found, expected);
    // Left out by the condition, it is in nobody's way.
    let change =
        |request: &mut DumpRequest| (request.max_row, request.conditions) = (MIB, only("id <> 55555"));
    let report = world.dump_with(change).await.unwrap();
    assert_eq!(report.rows, 59_999);
    assert!(report.tables[0].units > 1, "{:?}", report.tables);
    // What is read in several units was counted besides, under its condition.
    let manifest = world.vault.manifests().unwrap().remove(0).manifest;
    assert_eq!(manifest.body.tables[0].counted, Some(59_999));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_finds_a_row_where_no_lane_can_lock_its_table() {
    let world = Arc::new(World::with(ONE_LARGE).await);
    let expected = format!("the row of public.wide with ctid {}", place(&world).await);
    let altering = Arc::new(Mutex::new(None));
    let (hooked, session) = (world.clone(), altering.clone());
    let error = world
        .dump_hooked(
            move |event| {
                if *event == Event::Phase("data") {
                    let settings = hooked.source();
                    let task =
                        tokio::spawn(async move { run(&settings, "ALTER TABLE wide ADD late int").await });
                    *session.lock().unwrap() = Some(task);
                    crate::interference::until_waiting(&hooked, 1);
                }
            },
            |request| (request.max_row, request.data_only) = (MIB, true),
        )
        .await
        .unwrap_err();
    let OpsError::RowTooLarge { place: found, .. } = &error else { panic!("{error:?}") };
    assert_eq!(found.to_string(), expected);
    let task = altering.lock().unwrap().take().unwrap();
    task.await.unwrap();
    nothing_half_made(&world);
}

/// Two values of which each can be sent, and no row with both: the server ends the COPY itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_server_cannot_send_is_named_too() {
    let world = World::with(
        "CREATE TABLE wide (id int PRIMARY KEY, \"t, ctid\" text, b bytea, j jsonb);
         INSERT INTO wide SELECT i, 'x', 'y', '[1]' FROM generate_series(1, 3000) i;
         DELETE FROM wide WHERE id % 3 = 0;
         UPDATE wide SET \"t, ctid\" = repeat('z', 540000000) WHERE id = 1000;
         UPDATE wide SET b = convert_to(\"t, ctid\", 'UTF8') WHERE id = 1000",
    )
    .await;
    let place = value(&world.source(), "SELECT ctid::text FROM wide WHERE id = 1000").await.unwrap();
    let output = dump(&world, "1G");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let text = format!("the row of public.wide with ctid {place} has 1080000003 bytes");
    assert!(said.contains(&text) && said.contains("1 GiB by COPY"), "{said}");
    nothing_half_made(&world);
    let change = |request: &mut DumpRequest| {
        request.conditions = vec![(Pattern::parse("wide").unwrap(), "id <> 1000".to_owned())];
    };
    assert_eq!(world.dump_with(change).await.unwrap().rows, 1999);
}

/// Large objects are slices that functions give; they have a number and no place.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_ctid_is_named_by_its_number() {
    let world = World::with("SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'))").await;
    let (table, found, ..) = refused(&world, |request| request.max_row = 50_000).await;
    assert_eq!(table, "pg_catalog.pg_largeobject");
    assert!(found.starts_with("row 1 of unit 0 of pg_catalog.pg_largeobject"), "{found}");
    assert_eq!(world.dump_with(|request| request.max_row = 200_000).await.unwrap().rows, 1);
}
