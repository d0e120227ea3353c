//! PostgreSQL's own regression database: the oddest schema there is, made by the people who know.

use std::path::{Path, PathBuf};
use std::process::Command;

use barkeep::ops::compare::TableVerdict;
use barkeep::ops::verify::Level;
use barkeep::pg::throwaway::{Throwaway, ThrowawayOptions};

use crate::bench_world::{World, assert_same_schema, run, schema_difference, value};

/// Lines of `pg_dump -s` that may differ: pg_dump and pg_restore themselves leave twelve, the order of columns in
/// inherited tables.
const LINES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn postgresqls_own_regression_database_comes_back() {
    let mut world = World::with("").await;
    let settings = world.source();
    let folder = tempfile::Builder::new().prefix("barkeep-regress").tempdir().unwrap();
    // The server runs as another user and loads regress.so from here.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/regress/run.sh"))
        .args(["127.0.0.1", &settings.port.to_string()])
        .env("REGRESS_FOLDER", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    world.database = "regression".to_owned();
    let dumped = world.dump().await;
    assert!(
        dumped.tables.len() > 200 && dumped.rows > 50_000,
        "{} tables, {} rows",
        dumped.tables.len(),
        dumped.rows
    );
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    let target = world.copy("copy");
    let restored = world.restore(target.clone()).await;
    assert!(restored.violations.is_empty(), "{:?}", restored.violations);
    let compared = world.compare(target.clone()).await;
    let unequal: Vec<_> =
        compared.tables.iter().filter(|table| table.verdict != TableVerdict::Equal).collect();
    assert!(unequal.is_empty(), "{unequal:#?}");
    assert_eq!(compared.sequences, Vec::<String>::new());
    let differing = schema_difference(&world.source(), &target);
    assert!(differing.len() <= LINES, "{}", differing.join("\n"));
}

/// Labels of PostgreSQL's own test provider on every kind of object that a trading database may label.
const LABELLED: &str = "CREATE SCHEMA desk; CREATE TABLE desk.orders (id bigint PRIMARY KEY, price numeric);
     CREATE VIEW desk.open_orders AS SELECT id FROM desk.orders; CREATE SEQUENCE desk.tickets;
     CREATE MATERIALIZED VIEW desk.prices AS SELECT price FROM desk.orders;
     CREATE DOMAIN desk.money_amount AS numeric(18, 6); CREATE TYPE desk.side AS ENUM ('buy', 'sell');
     CREATE FUNCTION desk.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
     SELECT lo_create(4711);
     SECURITY LABEL FOR dummy ON SCHEMA desk IS 'classified';
     SECURITY LABEL FOR dummy ON TABLE desk.orders IS 'classified';
     SECURITY LABEL FOR dummy ON COLUMN desk.orders.price IS 'unclassified';
     SECURITY LABEL FOR dummy ON VIEW desk.open_orders IS 'classified';
     SECURITY LABEL FOR dummy ON MATERIALIZED VIEW desk.prices IS 'unclassified';
     SECURITY LABEL FOR dummy ON SEQUENCE desk.tickets IS 'classified';
     SECURITY LABEL FOR dummy ON DOMAIN desk.money_amount IS 'classified';
     SECURITY LABEL FOR dummy ON TYPE desk.side IS 'unclassified';
     SECURITY LABEL FOR dummy ON FUNCTION desk.one() IS 'classified';
     SECURITY LABEL FOR dummy ON LARGE OBJECT 4711 IS 'classified'";

#[tokio::test(flavor = "multi_thread")]
async fn security_labels_come_back() {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let provider = target.join("regress/src/src/test/modules/dummy_seclabel/dummy_seclabel.so");
    let folder = tempfile::Builder::new().prefix("barkeep-labels").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let library = folder.path().join("dummy_seclabel.so");
    std::fs::copy(&provider, &library)
        .unwrap_or_else(|error| panic!("{}: {error}; `make test` compiles it", provider.display()));
    let options = ThrowawayOptions {
        version: Some(15),
        settings: vec![format!("session_preload_libraries={}", library.display())],
        ..ThrowawayOptions::default()
    };
    let server = Throwaway::start(&options).unwrap();
    let world = World::on(server.settings("postgres"), None, LABELLED).await;
    world.dump().await;
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    let labels = "SELECT string_agg(format('%s %s %s %s', objtype, objname, provider, label), E'\\n' \
                  ORDER BY objtype, objname) FROM pg_catalog.pg_seclabels";
    let before = value(&world.source(), labels).await.unwrap();
    assert_eq!(before.lines().count(), 10, "{before}");
    assert_eq!(value(&target, labels).await.unwrap(), before);
    assert_same_schema(&world.source(), &target);
    run(&target, "SECURITY LABEL FOR dummy ON TABLE desk.orders IS 'unclassified'").await;
    assert_ne!(value(&target, labels).await.unwrap(), before, "the control: a changed label is seen");
}
