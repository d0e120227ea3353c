//! What goes wrong must be said, with the right exit code and the object's name, and leave nothing that looks whole.

use barkeep::catalog::Pattern;
use barkeep::ops::OpsError;
use barkeep::ops::verify::Level;
use barkeep::store::Vault;

use crate::bench_world::{World, nothing_half_made, run, words};

const TWO_TABLES: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text);
     CREATE TABLE bars (id bigint PRIMARY KEY, close numeric(18,6));
     INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 3000) i;
     INSERT INTO bars SELECT i, i * 0.25 FROM generate_series(1, 3000) i";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_select_and_one_under_row_security_are_told_every_table_at_once() {
    let world = World::with(TWO_TABLES).await;
    let role = format!("poor_{}", world.database);
    world
        .run(&format!(
            "CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET statement_timeout = '1ms';
             CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
             GRANT SELECT ON secret TO {role}; GRANT SELECT ON users TO {role}"
        ))
        .await;
    let settings = world.role(&role);
    let error = world.dump_with(|request| request.database = settings).await.unwrap_err();
    assert_eq!(error.exit_code(), 22, "{}", words(&error));
    let text = words(&error);
    assert!(
        text.contains("public.bars") && text.contains("public.secret") && !text.contains("public.users"),
        "{text}"
    );
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roles_timeouts_do_not_end_a_dump() {
    let world = World::with(TWO_TABLES).await;
    let role = format!("hasty_{}", world.database);
    world
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
             ALTER ROLE {role} SET statement_timeout = '1ms';
             ALTER ROLE {role} SET idle_in_transaction_session_timeout = '1ms'"
        ))
        .await;
    let settings = world.role(&role);
    let report = world.dump_with(|request| request.database = settings).await.unwrap();
    assert_eq!(report.rows, 6000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_matches_nothing_is_an_error_that_names_it() {
    let world = World::with(TWO_TABLES).await;
    let error = world
        .dump_with(|request| request.selection.tables = vec![Pattern::parse("userz").unwrap()])
        .await
        .unwrap_err();
    assert_eq!((error.exit_code(), words(&error).contains("userz")), (2, true));
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_database_is_a_connection_error() {
    let world = World::with("").await;
    let error = world.dump_with(|request| request.database.database = "not_there".into()).await.unwrap_err();
    assert_eq!(error.exit_code(), 20, "{}", words(&error));
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_during_the_dump_is_read_as_of_the_snapshot() {
    let world = World::with(TWO_TABLES).await;
    let settings = world.source();
    let writer = tokio::spawn(async move {
        for i in 0..200 {
            run(
                &settings,
                &format!("INSERT INTO bars SELECT 10000 + {i} * 10 + j, 1 FROM generate_series(1, 5) j"),
            )
            .await;
        }
    });
    let before = world.dump().await;
    writer.await.unwrap();
    let after = world.dump().await;
    let bars = |report: &barkeep::ops::dump::DumpReport| {
        report.tables.iter().find(|t| t.table.name == "bars").unwrap().rows
    };
    assert_eq!(bars(&before) % 5, 0, "transactions of five rows are whole or absent");
    assert_eq!(bars(&after), 4000);
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_refuses_the_source_and_a_database_that_is_not_empty() {
    let world = World::with(TWO_TABLES).await;
    world.dump().await;
    let error = world.restore_with(world.source(), |request| request.create = false).await.unwrap_err();
    assert!(words(&error).contains("source"), "{}", words(&error));
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    let error = world.restore_with(target, |request| request.create = false).await.unwrap_err();
    assert!(matches!(error, OpsError::Usage(_) | OpsError::Restore(_)), "{}", words(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_storage_error_and_leaves_nothing() {
    let world = World::with(
        "CREATE TABLE big (id bigint, filler text);
         INSERT INTO big SELECT i, md5(i::text) || md5((i * 7)::text) FROM generate_series(1, 60000) i",
    )
    .await;
    let mount = world.folder.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let status = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&mount)
        .status()
        .unwrap();
    assert!(status.success(), "this test mounts a small tmpfs, which needs root");
    let now = barkeep::base::Clock::now(&barkeep::base::SystemClock);
    let vault = Vault::open_or_create(&mount.join("vault"), now, rand::random()).unwrap();
    let mut request = barkeep::ops::dump::DumpRequest::new(world.source());
    request.path = std::env::var_os("PATH");
    let error =
        barkeep::ops::dump::dump(&vault, &request, &barkeep::ops::Services::default()).await.unwrap_err();
    let (code, text, backups) = (error.exit_code(), words(&error), vault.backups().unwrap());
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&mount).status().unwrap();
    assert!(unmounted.success());
    assert_eq!((code, backups), (30, vec![]), "{text}");
}

/// A pg_dump that gives no schema before rows have been stored; it waits for them so many tenths of a second.
fn patient_pg_dump(world: &World, tenths: u32) -> String {
    let script = world.folder.path().join(format!("pg_dump-{tenths}"));
    let text = format!(
        "#!/bin/sh\nreal=/usr/lib/postgresql/15/bin/pg_dump\ncase \"$*\" in *--version*) exec $real \"$@\";; esac\n\
         for i in $(seq {tenths}); do find {}/staging -name '*.parquet' | grep -q . && exec $real \"$@\"; sleep 0.1; done\n\
         echo 'no rows came' >&2; exit 1\n",
        world.vault.root().display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_runs_beside_the_lanes_and_its_failure_ends_the_dump() {
    let world = World::with(TWO_TABLES).await;
    let tool = patient_pg_dump(&world, 600);
    let report = world.dump_with(|request| request.pg_dump = Some(tool)).await.unwrap();
    assert_eq!(report.rows, 6000);
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    // The control: without rows it waits in vain.
    let world = World::with("").await;
    let tool = patient_pg_dump(&world, 10);
    let error = world.dump_with(|request| request.pg_dump = Some(tool)).await.unwrap_err();
    assert!(words(&error).contains("no rows came"), "{}", words(&error));
    nothing_half_made(&world);
}
