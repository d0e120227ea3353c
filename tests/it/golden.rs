//! Golden vaults: what an older barkeep wrote is read, restored and proven by this one, for ever.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use barkeep::ops::Services;
use barkeep::ops::compare::{CompareRequest, compare};
use barkeep::ops::restore::{RestoreRequest, restore};
use barkeep::ops::verify::{Level, VerifyRequest, verify};
use barkeep::pg::ConnectionSettings;
use barkeep::pg::workbench::Workbench;
use barkeep::store::{BackupChoice, Vault};

use crate::bench_world::{run, server, value};

/// Printed when the vault was made.
const ROOT: &str = "b34b3b2c02522d7dd1d7b12ab4c56fb60c704659edeb0613a95496c771f93f7f";

/// Printed when the one with hypertables was made.
const TIMESCALE_ROOT: &str = "169703353ee79ebecfae2b442fca6fcbca5aca2fa7e8b4d6a18ba156352d3c0b";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/vaults").join(name)
}

/// A copy with the modes that git gives: attestations are written into a vault, and this one stays as it is.
fn copy(name: &str) -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("cp").arg("-r").arg(golden(name)).arg(folder.path()).status().unwrap().success());
    let root = folder.path().join(name);
    let all =
        Command::new("find").arg(&root).args(["-type", "f", "-exec", "chmod", "644", "{}", "+"]).status();
    assert!(all.unwrap().success());
    let mode = std::fs::metadata(root.join("vault.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let vault = Vault::open(&root).unwrap();
    (folder, vault)
}

async fn restored(vault: &Vault, database: &ConnectionSettings) {
    let mut request = RestoreRequest::new(vault, BackupChoice::latest(), database.clone());
    request.create = true;
    let report = restore(&request, &Services::default()).await.unwrap();
    assert_eq!((report.violations, report.tables.iter().map(|table| table.rows).sum()), (vec![], 2011));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_vault_of_format_1_verifies_restores_and_compares() {
    let (_folder, vault) = copy("format-1");
    let services = Services::default();
    let request = VerifyRequest { choice: BackupChoice::named("golden"), level: Level::Decode };
    let report = verify(&vault, &request, &services).await.unwrap();
    assert_eq!((report.root.to_string().as_str(), report.rows), (ROOT, 2011));
    assert_eq!((report.findings, report.extra), (vec![], vec![]));

    let server = server();
    let database = server.settings(&format!("golden_{}", std::process::id()));
    restored(&vault, &database).await;
    let report = compare(&vault, &CompareRequest::new(database.clone()), &services).await.unwrap();
    assert!(report.is_equal() && report.rows == 2011, "{report:?}");
    for (sql, expected) in VALUES {
        assert_eq!(value(&database, sql).await.as_deref(), Some(*expected), "{sql}");
    }

    // The control: one value of one row is found, and what it was is shown.
    run(&database, "UPDATE accounts SET balance = balance + 0.00000001 WHERE id = 5").await;
    let mut request = CompareRequest::new(database.clone());
    request.rows = true;
    let report = compare(&vault, &request, &services).await.unwrap();
    let differing: Vec<_> = report.tables.iter().filter(|table| !table.differences.is_empty()).collect();
    assert!(!report.is_equal());
    assert_eq!((differing.len(), differing[0].table.name.as_str()), (1, "accounts"));
    let columns = &differing[0].differences[0].columns;
    let balance = columns.iter().find(|(name, _)| name == "balance").unwrap().1.as_deref();
    assert_eq!((differing[0].differences.len(), balance), (2, Some("6172.83945060")));
    let admin = Workbench::connect(&server.settings("postgres")).await.unwrap();
    admin.drop_database(&database.database).await.unwrap();
}

/// What `fixtures/vaults/format-1.sql` put there, asked of the restored database.
const VALUES: &[(&str, &str)] = &[
    ("SELECT count(*) FROM orders", "900"),
    ("SELECT string_agg(price::text, ' ' ORDER BY id) FROM orders WHERE id BETWEEN 7 AND 11", ODD_PRICES),
    ("SELECT good_until AT TIME ZONE 'UTC' FROM orders WHERE id = 11", "294276-12-31 23:59:59.999999"),
    ("SELECT good_until FROM orders WHERE id = 12", "-infinity"),
    ("SELECT fees::text FROM orders WHERE id = 5", "{\"(venue,0.0005)\",NULL}"),
    (
        "SELECT string_agg(tags::text, ' ' ORDER BY id) FROM users WHERE id <= 3",
        "[0:1]={ides,march} {} {{a,b},{c,d}}",
    ),
    ("SELECT born::text FROM users WHERE id = 1", "0044-03-15 BC"),
    ("SELECT sum(balance) FROM accounts", "5055555.51004140"),
    ("SELECT in_cents FROM accounts WHERE id = 1", "123457"),
    ("SELECT count(*) FROM open_orders", "299"),
    ("SELECT orders FROM traded_by_side WHERE side = 'buy'", "450"),
    ("SELECT nextval('order_reference')", "100901"),
    ("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated", "2"),
    ("SELECT count(*) FROM \"Market.Bars\" WHERE close = 'NaN'", "2"),
    ("SELECT md5(lo_get(4242))", "d79c2ca4fb07a316e0e81e76d602d8db"),
    ("SELECT obj_description('users'::regclass)", "People, and one who was born before Christ"),
];

const ODD_PRICES: &str = "NaN Infinity -Infinity 100.5000 102.75";

#[test]
fn nothing_was_added_to_the_golden_vault() {
    let mut names: Vec<_> =
        std::fs::read_dir(golden("format-1")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["backups", "vault.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_vault_with_hypertables_verifies_and_restores_into_plain_tables() {
    let (_folder, vault) = copy("format-1-timescale");
    let services = Services::default();
    let request = VerifyRequest { choice: BackupChoice::named("golden"), level: Level::Decode };
    let report = verify(&vault, &request, &services).await.unwrap();
    assert_eq!((report.root.to_string().as_str(), report.rows), (TIMESCALE_ROOT, 615));
    assert_eq!((report.findings, report.extra), (vec![], vec![]));

    let server = server();
    let database = server.settings(&format!("golden_ts_{}", std::process::id()));
    let mut request = RestoreRequest::new(&vault, BackupChoice::latest(), database.clone());
    request.create = true;
    let report = restore(&request, &services).await.unwrap();
    for lost in ["bars_hourly", "policy_retention", "no compression: public.bars"] {
        assert!(
            report.warnings.iter().any(|warning| warning.contains(lost)),
            "{lost}: {:?}",
            report.warnings
        );
    }
    let report = compare(&vault, &CompareRequest::new(database.clone()), &services).await.unwrap();
    assert!(report.is_equal() && report.rows == 615, "{report:?}");
    for (sql, expected) in TIMESCALE_VALUES {
        assert_eq!(value(&database, sql).await.as_deref(), Some(*expected), "{sql}");
    }
    // The control: a row that moves out of its chunk's range is missed in one range and found in no other.
    run(&database, "UPDATE ticks SET seq = seq + 1000 WHERE seq = 0").await;
    let report = compare(&vault, &CompareRequest::new(database.clone()), &services).await.unwrap();
    assert!(!report.is_equal());
    let admin = Workbench::connect(&server.settings("postgres")).await.unwrap();
    admin.drop_database(&database.database).await.unwrap();
}

/// What the source itself said.
const TIMESCALE_VALUES: &[(&str, &str)] = &[
    (
        "SELECT count(*) || ' ' || sum(close) || ' ' || count(*) FILTER (WHERE vwap = 'NaN') FROM bars",
        "193 21491.5000 8",
    ),
    (
        "SELECT count(*) || ' ' || sum(volume) || ' ' || min(bucket AT TIME ZONE 'UTC') FROM bars_hourly",
        "120 1448 2026-01-01 00:00:00",
    ),
    ("SELECT string_agg(venue || close, ',' ORDER BY venue) FROM best", "XNAS124.0000,XNYS124.0000"),
    ("SELECT sum(px)::text FROM ticks", "-1.50"),
];
