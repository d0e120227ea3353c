//! Drills: what holds is proven, what does not is told from it, and nothing stays behind.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use barkeep::base::{Event, Events};
use barkeep::checks::Verdict;
use barkeep::ops::drill::{DrillReport, DrillRequest, DrillTarget, Policy, Smoke, drill};
use barkeep::ops::{OpsError, Services};
use barkeep::pg::workbench::Workbench;
use barkeep::store::BackupChoice;

use crate::bench_world::{World, run, value};
use crate::disk::Small;

/// A few orders that are right, by names that checks recognise.
const TRADING: &str = "
    CREATE TABLE orders (id bigint PRIMARY KEY, symbol text NOT NULL, side text, status text, qty numeric, filled_qty numeric,
        price numeric, created_at timestamptz);
    CREATE TABLE trades (id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders, symbol text, side text,
        qty numeric NOT NULL, price numeric NOT NULL, executed_at timestamptz NOT NULL);
    INSERT INTO orders SELECT i, 'BTC', 'buy', 'filled', 1, 1, 100, now() - interval '2 hours' FROM generate_series(1, 500) i;
    INSERT INTO trades SELECT i, i, 'BTC', 'buy', 1, 100, now() - interval '1 hour' FROM generate_series(1, 500) i";

fn verdict(report: &DrillReport, id: &str) -> Verdict {
    let found = report.proofs.iter().find(|proof| proof.id == id);
    found.unwrap_or_else(|| panic!("no proof {id}: {:#?}", report.proofs)).verdict
}

async fn embedded(world: &World) -> DrillReport {
    drill(&world.vault, &DrillRequest::new(), &Services::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_backup_passes_and_the_drill_is_attested() {
    let world = World::dumped(TRADING).await;
    let mut request = DrillRequest::new();
    request.smoke = vec![Smoke {
        name: "orders".to_owned(),
        sql: "SELECT count(*) FROM orders".to_owned(),
        expect: "500".to_owned(),
    }];
    (request.rto, request.rpo) = (Some(Duration::from_secs(600)), Some(Duration::from_secs(600)));
    let report = drill(&world.vault, &request, &Services::default()).await.unwrap();
    assert_eq!(report.exit_code, 0, "{:#?}", report.proofs);
    for id in [
        "files",
        "restore",
        "constraints",
        "compare",
        "checks",
        "same answers",
        "smoke",
        "control-file",
        "control-row",
        "rpo",
        "rto",
    ] {
        assert_eq!(verdict(&report, id), Verdict::Pass, "{id}: {:#?}", report.proofs);
    }
    assert_eq!((report.compare.equal, report.compare.different), (2, 0));
    assert!(
        report.rpo.newest.iter().any(|newest| newest.table == "public.trades"),
        "{:?}",
        report.rpo.newest
    );
    assert!(
        report.rto.service_seconds.unwrap() > 0.0 && report.seconds >= report.rto.service_seconds.unwrap()
    );
    let attested = world.vault.attestations(&report.backup.id).unwrap();
    let drilled = attested.iter().find(|one| one["level"] == "drill").unwrap();
    assert_eq!((&drilled["exit_code"], &drilled["proofs"]["control-row"]), (&0.into(), &"pass".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_source_restores_and_is_reported() {
    let world = World::with(TRADING).await;
    // A trade whose order is gone: no trigger looked.
    world.run("SET session_replication_role = replica; DELETE FROM orders WHERE id = 7").await;
    world.dump().await;
    let report = embedded(&world).await;
    assert_eq!(report.exit_code, 41, "{:#?}", report.proofs);
    assert_eq!(verdict(&report, "constraints"), Verdict::Fail);
    assert_eq!(verdict(&report, "compare"), Verdict::Pass);
    assert_eq!(verdict(&report, "checks"), Verdict::Fail, "T5 sees it too");
    assert_eq!(verdict(&report, "control-row"), Verdict::Pass);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_ends_with_forty_and_nothing_is_restored() {
    let world = World::dumped(TRADING).await;
    let sealed = BackupChoice::latest().find(&world.vault).unwrap();
    let path = world.vault.place(&sealed.manifest.head.pieces[0].path);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let report = embedded(&world).await;
    assert_eq!((report.exit_code, report.proofs.len()), (40, 1), "{:#?}", report.proofs);
    assert_eq!(verdict(&report, "files"), Verdict::Fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_not_kept_end_with_forty_three() {
    let world = World::dumped(TRADING).await;
    let mut request = DrillRequest::new();
    (request.rto, request.rpo) = (Some(Duration::from_nanos(1)), Some(Duration::from_nanos(1)));
    let report = drill(&world.vault, &request, &Services::default()).await.unwrap();
    assert_eq!(report.exit_code, 43);
    assert_eq!((verdict(&report, "rto"), verdict(&report, "rpo")), (Verdict::Fail, Verdict::Fail));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_question_with_another_answer_fails() {
    let world = World::dumped(TRADING).await;
    let smoke = |sql: &str| Smoke { name: sql.to_owned(), sql: sql.to_owned(), expect: "501".to_owned() };
    let mut request = DrillRequest::new();
    request.smoke = vec![
        smoke("SELECT count(*) FROM orders"),
        smoke("SELECT no_such_column"),
        smoke("DELETE FROM trades"),
    ];
    let report = drill(&world.vault, &request, &Services::default()).await.unwrap();
    assert_eq!(report.exit_code, 41);
    let verdicts: Vec<Verdict> = report.smoke.iter().map(|smoke| smoke.verdict).collect();
    assert_eq!(verdicts, [Verdict::Fail, Verdict::Error, Verdict::Error]);
    assert_eq!(report.smoke[0].got.as_deref(), Some("500"));
    assert!(report.smoke[1].got.as_ref().unwrap().contains("no_such_column"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_database_must_be_nobodys_and_goes_afterwards() {
    let world = World::dumped(TRADING).await;
    let scratch = |settings| DrillRequest { target: DrillTarget::Scratch(settings), ..DrillRequest::new() };
    // The server of the source, without a word that it may be.
    let mut request = scratch(world.copy("drill"));
    let error = drill(&world.vault, &request, &Services::default()).await.unwrap_err();
    assert!(matches!(&error, OpsError::Usage(text) if text.contains("--allow-source-server")), "{error}");
    // Somebody's database.
    request = DrillRequest { allow_source_server: true, ..scratch(world.source()) };
    let error = drill(&world.vault, &request, &Services::default()).await.unwrap_err();
    assert!(matches!(&error, OpsError::Usage(text) if text.contains("not empty")), "{error}");
    assert_eq!(value(&world.source(), "SELECT count(*) FROM orders").await.as_deref(), Some("500"));
    // One that does not exist.
    request = DrillRequest { allow_source_server: true, ..scratch(world.copy("drill")) };
    let report = drill(&world.vault, &request, &Services::default()).await.unwrap();
    assert_eq!(report.exit_code, 0, "{:#?}", report.proofs);
    assert!(Workbench::connect(&world.copy("drill")).await.is_err(), "it is dropped");
    // One that exists and is empty comes back empty.
    let admin = Workbench::connect(&world.copy("").with_database("postgres")).await.unwrap();
    admin.create_database(&world.copy("drill").database).await.unwrap();
    let report = drill(&world.vault, &request, &Services::default()).await.unwrap();
    assert_eq!(report.exit_code, 0, "{:#?}", report.proofs);
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 'orders'";
    assert_eq!(value(&world.copy("drill"), tables).await.as_deref(), Some("0"));
    // And one that is to be looked at stays.
    request.keep = true;
    let report = drill(&world.vault, &request, &Services::default()).await.unwrap();
    assert!(report.target.kept && report.warnings.iter().any(|text| text.contains("kept")));
    let orders = value(&world.copy("drill"), "SELECT count(*) FROM orders").await;
    assert!(["499", "500"].contains(&orders.unwrap().as_str()));
}

/// Does something once, when a phase begins.
struct At<F: Fn() + Send + Sync>(&'static str, F, AtomicBool);

impl<F: Fn() + Send + Sync> Events for At<F> {
    fn emit(&self, event: Event) {
        if matches!(event, Event::Phase(name) if name == self.0) && !self.2.swap(true, Ordering::Relaxed) {
            (self.1)();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_disappears_midway_is_a_failed_restore_and_no_error_of_the_drill() {
    let world = World::dumped(TRADING).await;
    for phase in ["sequences", "compare", "checks"] {
        let target = world.copy("gone");
        let (server, name) = (target.with_database("postgres"), target.database.clone());
        let vanish = move || {
            let (server, name) = (server.clone(), name.clone());
            let drop = async move { run(&server, &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await };
            std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(drop)).join().unwrap();
        };
        let request = DrillRequest {
            target: DrillTarget::Scratch(target),
            allow_source_server: true,
            ..DrillRequest::new()
        };
        let events = Arc::new(At(phase, vanish, AtomicBool::new(false)));
        let services = Services { events, ..Services::default() };
        let report = drill(&world.vault, &request, &services).await.unwrap();
        assert_eq!(report.exit_code, 42, "{phase}: {:#?}", report.proofs);
        assert!(report.verdict >= Verdict::Fail && !report.verdict_text.is_empty());
        let broken = report.proofs.iter().find(|proof| proof.verdict >= Verdict::Fail).unwrap();
        assert!(!broken.text.is_empty(), "{broken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_picks_and_an_empty_vault_has_nothing_to_pick() {
    let world = World::with(TRADING).await;
    let request = |policy| DrillRequest { policy, ..DrillRequest::new() };
    let error = drill(&world.vault, &request(Policy::Random), &Services::default()).await.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    let first = world.dump().await.backup.unwrap();
    world.verify(barkeep::ops::verify::Level::Hash).await;
    world.dump().await;
    for policy in [Policy::Oldest, Policy::LatestVerified] {
        let report = drill(&world.vault, &request(policy), &Services::default()).await.unwrap();
        assert_eq!((report.exit_code, &report.backup.id), (0, &first));
    }
}

fn barkeep(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command
        .current_dir(world.folder.path())
        .arg("--vault")
        .arg(world.vault.root())
        .arg("drill")
        .args(arguments);
    command
}

/// Folders of servers of drills.
fn places(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("barkeep-"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_drill_and_takes_its_server_along() {
    let world = World::dumped(TRADING).await;
    world.run("CREATE TABLE slow AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 400000) i").await;
    world.dump().await;
    let folder = tempfile::Builder::new().prefix("d").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut child = barkeep(&world, &["--progress", "none"]).env("TMPDIR", folder.path()).spawn().unwrap();
    let mut seen = false;
    for _ in 0..600 {
        seen = places(folder.path()) > 0;
        if seen {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(seen, "a server was started");
    std::thread::sleep(Duration::from_millis(1500));
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let code = child.wait().unwrap().code();
    assert_eq!((code, places(folder.path())), (Some(143), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_writes_all_four_reports() {
    let world = World::dumped(TRADING).await;
    std::fs::write(
        world.folder.path().join("barkeep.toml"),
        "[drill]\nrpo = '1h'\nsmoke = [{ name = 'trades', sql = 'SELECT count(*) FROM trades', expect = '500' }]\n",
    )
    .unwrap();
    let output = barkeep(&world, &["--report", "out", "--progress", "none"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join("out").join(name)).unwrap();
    let html = read("drill.html");
    assert!(html.contains("What this proves") && html.contains("public.trades") && !html.contains("<script"));
    assert!(read("drill.md").starts_with("# ") && read("drill.junit.xml").contains("<testsuites"));
    let document: serde_json::Value = serde_json::from_str(&read("drill.json")).unwrap();
    assert_eq!(document["verdict"], "pass");
    assert!(said.contains("drill.html") && said.contains("A lost row is noticed"), "{said}");
    assert_eq!(document["command"], format!("barkeep drill {}", document["backup"]["id"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_a_place_too_and_an_unknown_image_is_no_verdict() {
    let world = World::dumped(TRADING).await;
    let container = |image: &str| DrillRequest {
        target: DrillTarget::Container(image.to_owned()),
        ..DrillRequest::new()
    };
    let error =
        drill(&world.vault, &container("barkeep-no-such-image:0"), &Services::default()).await.unwrap_err();
    assert_eq!(error.exit_code(), 75, "{error}");
    let image = std::env::var("BARKEEP_TEST_IMAGE").unwrap_or_else(|_| "barkeep-test:pg17".to_owned());
    let report = drill(&world.vault, &container(&image), &Services::default()).await.unwrap();
    assert_eq!(report.exit_code, 0, "{:#?}", report.proofs);
    assert!(report.target.server_version.starts_with("17"), "{}", report.target.server_version);
    let left = Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter"])
        .arg(format!("ancestor={image}"))
        .output()
        .unwrap();
    let ours = String::from_utf8_lossy(&left.stdout).lines().count();
    // The shared server of other tests may run.
    assert!(ours <= 2, "{ours} containers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_without_room_is_known_before_the_restore_and_is_no_verdict() {
    // Long runs of one letter: 600 MB on the wire, little in the vault, and more than a small place can have.
    let world = World::dumped(
        "CREATE TABLE wide (id int, filler text);
         INSERT INTO wide SELECT i, repeat('x', 1000000) FROM generate_series(1, 600) i",
    )
    .await;
    let small = Small::mount(&world, 150);
    std::fs::set_permissions(&small.0, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = barkeep(&world, &["--progress", "plain"]).env("TMPDIR", &small.0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("MiB free") && !said.contains("sequences"), "{said}");
    assert_eq!(places(&small.0), 0, "nothing stays behind");
    let attested = world.vault.attestations(&world.vault.backups().unwrap()[0]).unwrap();
    assert!(attested.iter().all(|one| one["level"] != "drill"), "no verdict: {attested:?}");
}

/// Who has to know is told, and the report says whether.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_sent_when_something_does_not_hold_and_only_then() {
    let world = World::dumped(TRADING).await;
    let told = world.folder.path().join("told");
    let drill = |alert: &str, arguments: &[&str]| {
        let config = format!("[drill]\nalert = '{alert}'\npacks = ['trading']\n");
        std::fs::write(world.folder.path().join("barkeep.toml"), config).unwrap();
        let _ = std::fs::remove_file(&told);
        let output = barkeep(&world, arguments).arg("--json").output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report.to_string(), std::fs::read_to_string(&told).ok())
    };
    let line = "(echo $BARKEEP_COMMAND $BARKEEP_EXIT_CODE; cat) > told";
    let (code, _, told) = drill(line, &[]);
    assert_eq!((code, told), (Some(0), None));
    let (code, report, told) = drill(line, &["--rto", "1ms"]);
    let told = told.unwrap();
    assert!(told.starts_with("drill 43\n") && told.contains("RTO"), "{told}");
    assert!(code == Some(43) && report.contains("the alert of this drill was delivered"), "{report}");
    // Who cannot be told does not change what was found.
    let (code, report, _) = drill("exit 9", &["--rto", "1ms"]);
    let failed = "NOT delivered: its command ended with exit status: 9";
    assert!(code == Some(43) && report.contains(failed), "{report}");
    // Drills that cannot begin: no place, and nothing that says what to do.
    for (arguments, expected) in [(["--image", "no/such:image"], 75), (["--rto", "soon"], 2)] {
        let (code, _, told) = drill(line, &arguments);
        let first = told.as_ref().and_then(|told| told.lines().next());
        assert_eq!((code, first), (Some(expected), Some(format!("drill {expected}").as_str())));
    }
}
