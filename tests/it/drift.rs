//! What became of tables between two backups, and which backups are compared at all.

use barkeep::base::Timestamp;
use barkeep::checks::Verdict;
use barkeep::ops::Services;
use barkeep::ops::check::{CheckReport, CheckRequest, CheckTarget, check};
use barkeep::store::BackupChoice;

use crate::bench_world::World;

const BEFORE: &str =
    "CREATE TABLE ledger (id bigserial PRIMARY KEY, amount numeric); INSERT INTO ledger (amount) SELECT i FROM generate_series(1, 5000) i;
     CREATE TABLE feed (id int, body text); INSERT INTO feed SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
     CREATE TABLE prices (id int, close numeric); INSERT INTO prices SELECT i, i FROM generate_series(1, 100) i;
     CREATE TABLE old (id int); CREATE TABLE steady (id int); INSERT INTO steady VALUES (1);
     CREATE SEQUENCE downwards;
     CREATE TABLE ticks (at timestamptz, expires timestamptz);
     INSERT INTO ticks SELECT now() - i * interval '1 minute', now() + interval '1 year' FROM generate_series(1, 50) i;
     CREATE TABLE quotes (at date, note text); INSERT INTO quotes VALUES ('infinity'), ((now() AT TIME ZONE 'UTC')::date);
     CREATE TABLE years (at timestamp); INSERT INTO years VALUES ('2020-01-01');
     CREATE TABLE filled (id int, emptied numeric, half text, ratio float8, steady int) PARTITION BY RANGE (id);
     CREATE TABLE filled_1 PARTITION OF filled FOR VALUES FROM (1) TO (1001);
     CREATE TABLE filled_2 PARTITION OF filled FOR VALUES FROM (1001) TO (9999);
     INSERT INTO filled SELECT i, 'NaN', i::text, i, CASE WHEN i % 2 = 0 THEN i END FROM generate_series(1, 2000) i;
     CREATE TABLE odd (id int, p date[], note text);
     INSERT INTO odd SELECT i, CASE i WHEN 7 THEN '{{0044-03-15 BC,2020-01-01}}'::date[] ELSE '{2020-01-01}' END, 'x' FROM generate_series(1, 2000) i";

const AFTER: &str =
    "DELETE FROM ledger WHERE id = 17; UPDATE ledger SET amount = 0 WHERE id = 18; DELETE FROM feed WHERE id > 2000;
     UPDATE feed SET body = repeat(body, 30); TRUNCATE prices; DROP TABLE old; CREATE TABLE young (id int);
     ALTER TABLE steady ADD note text; SELECT setval('ledger_id_seq', 12);
     ALTER SEQUENCE downwards INCREMENT -1 MINVALUE -9 START -1 RESTART -1; DELETE FROM ticks WHERE at > (SELECT max(at) - interval '5 minutes' FROM ticks);
     UPDATE filled SET emptied = NULL, half = CASE WHEN id > 400 THEN half END, ratio = 'NaN';
     UPDATE odd SET note = NULL";

/// The first column of what a check found.
fn objects(report: &CheckReport, id: &str) -> Vec<String> {
    let outcome = report.checks.iter().find(|check| check.id == id).unwrap();
    assert!(outcome.verdict >= Verdict::Warn, "{outcome:?}");
    outcome.sample.iter().map(|row| row[0].clone().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_found_between_backups_and_an_append_only_table_may_only_grow() {
    let world = World::dumped(BEFORE).await;
    let written = "append_only = [{ table = 'ledger' }]\n[drift]\ngrowth_only = ['public.ledger']";
    let ask = async |now: Option<Timestamp>| {
        let mut request = CheckRequest::new(CheckTarget::Backup(world.vault.clone(), BackupChoice::latest()));
        request.now = now;
        request.settings = toml::from_str(written).unwrap();
        request.only = ["A4", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"].map(str::to_owned).into();
        check(&request, &Services::default()).await
    };
    let error = ask(None).await.unwrap_err().to_string();
    assert!(error.contains("no check could be asked") && error.contains("earlier backup"), "{error}");
    world.run("INSERT INTO ledger (amount) SELECT 1 FROM generate_series(1, 10)").await;
    world.dump().await;
    let quiet = ask(None).await.unwrap();
    assert_eq!(quiet.count(Verdict::Pass), 9, "{quiet:#?}");
    world.run(AFTER).await;
    world.dump().await;
    let report = ask(None).await.unwrap();
    assert_eq!(objects(&report, "A4"), ["17", "18"]);
    assert_eq!(objects(&report, "D1"), ["public.ledger", "public.prices"]);
    assert_eq!(objects(&report, "D2"), ["public.feed", "public.prices"]);
    assert_eq!(objects(&report, "D3"), ["public.feed"]);
    assert_eq!(objects(&report, "D4"), ["public.young", "public.old"]);
    assert_eq!(objects(&report, "D5"), ["public.steady"]);
    assert_eq!(objects(&report, "D6"), ["public.downwards", "public.ledger_id_seq"]);
    assert_eq!(objects(&report, "D7"), ["public.ticks"]);
    assert_eq!(objects(&report, "D8"), ["public.filled.emptied", "public.filled.half", "public.odd.note"]);
    let d8 = report.checks.iter().find(|check| check.id == "D8").unwrap();
    assert_eq!(
        d8.note.as_deref(),
        Some("without public.odd.p, whose values are beyond what a query can be given")
    );

    // Five days later nothing has come any more; what never was fresh is not said to be stale.
    let later = report.snapshot_time.unix_micros() + 5 * 86_400_000_000;
    let later = ask(Timestamp::from_unix_micros(later)).await.unwrap();
    assert_eq!(objects(&later, "D7"), ["public.quotes", "public.ticks"]);
    // A database has no backup before it.
    let mut request = CheckRequest::new(world.source());
    request.packs = vec!["drift".to_owned()];
    let error = check(&request, &Services::default()).await.unwrap_err().to_string();
    assert!(error.contains("compares backups"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_of_another_backup_is_a_warning_and_the_sound_one_is_checked() {
    let world = World::dumped(
        "CREATE TABLE market_bars (symbol text, ts timestamptz, open numeric, high numeric, low numeric, close numeric);
         INSERT INTO market_bars VALUES ('AAPL', now(), 1, 2, 1, 2)",
    )
    .await;
    let before = world.vault.backups().unwrap().remove(0);
    world.dump().await;
    let latest = world.vault.newest(|_| true).unwrap().unwrap().manifest.head.id;
    let choice = BackupChoice::named(latest.as_str());
    let request = CheckRequest::new(CheckTarget::Backup(world.vault.clone(), choice));
    let sound = check(&request, &Services::default()).await.unwrap();
    assert_eq!(sound.warnings, Vec::<String>::new());
    let passed = |report: &CheckReport, id: &str| {
        report.checks.iter().find(|check| check.id == id).unwrap().verdict == Verdict::Pass
    };
    assert!(passed(&sound, "M1") && passed(&sound, "D1"));
    let manifest = world.vault.root().join("backups").join(before.as_str()).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("market_bars", "market_cars")).unwrap();
    let report = check(&request, &Services::default()).await.unwrap();
    assert!(passed(&report, "M1") && !passed(&report, "D1"));
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].contains(before.as_str()), "{:?}", report.warnings);
}
