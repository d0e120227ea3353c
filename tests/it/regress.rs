//! PostgreSQL's own regression database: the oddest schema there is, made by the people who know.

use std::process::Command;

use barkeep::ops::compare::TableVerdict;
use barkeep::ops::verify::Level;

use crate::bench_world::{World, schema_difference};

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
