//! More kinds of servers: databases in other encodings, a standby as the source, and a database that is written to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use barkeep::ops::compare::{CompareReport, CompareRequest, compare};
use barkeep::ops::verify::Level;
use barkeep::ops::{OpsError, Services};
use barkeep::pg::ConnectionSettings;
use barkeep::pg::throwaway::{Throwaway, ThrowawayOptions};

use crate::bench_world::{World, assert_same_schema, run, value, words};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A database in some encoding beside the world's own.
async fn encoded(world: &World, encoding: &str, suffix: &str) -> ConnectionSettings {
    let settings = world.copy(suffix);
    let sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'",
        settings.database
    );
    run(&world.source(), &sql).await;
    settings
}

async fn dump_of(world: &World, database: &ConnectionSettings) -> Result<(), OpsError> {
    world.dump_with(|request| request.database = database.clone()).await.map(|_| ())
}

async fn compared(world: &World, database: &ConnectionSettings) -> CompareReport {
    let request = CompareRequest { rows: true, ..CompareRequest::new(database.clone()) };
    compare(&world.vault, &request, &Services::default()).await.unwrap()
}

fn program(name: &str, settings: &ConnectionSettings) -> Command {
    let mut command = Command::new(Path::new(BIN).join(name));
    command.env("PGHOST", &settings.host).env("PGPORT", settings.port.to_string());
    command
        .env("PGUSER", &settings.user)
        .env("PGDATABASE", &settings.database)
        .env_remove("PGCLIENTENCODING");
    command
}

fn successful(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// `pg_dump -s` to the byte, in the database's own encoding, without the line that is random.
fn schema_bytes(settings: &ConnectionSettings) -> Vec<Vec<u8>> {
    let mut command = program("pg_dump", settings);
    command.args(["--schema-only", "--no-password"]);
    let text = successful(command).stdout;
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    lines.filter(|line| !line.starts_with(b"\\restrict") && !line.starts_with(b"\\unrestrict")).collect()
}

const LATIN: &str = "CREATE TYPE \"gemüse\" AS ENUM ('möhre', 'épinard');
     CREATE TABLE \"größe\" (\"währung £\" text PRIMARY KEY, was \"gemüse\" DEFAULT 'möhre', fest char(5), j jsonb,
         list text[], c \"char\", CONSTRAINT \"nicht é\" CHECK (\"währung £\" <> 'ê'));
     CREATE INDEX \"über\" ON \"größe\" (lower(\"währung £\")) WHERE \"währung £\" <> 'ß';
     COMMENT ON TABLE \"größe\" IS 'naïve Größe in £';
     CREATE FUNCTION \"grüß\"() RETURNS text LANGUAGE sql AS $$ SELECT 'Grüße für 5 £'::text $$;
     CREATE SEQUENCE \"zähler\" START 41;
     CREATE VIEW \"schön\" AS SELECT \"währung £\" || 'ü' AS \"çà\" FROM \"größe\";
     INSERT INTO \"größe\" VALUES ('é', 'épinard', 'ü', '{\"ü\": \"£\"}', ARRAY['à', NULL, 'ÿ'], 'a') ON CONFLICT DO NOTHING;";

#[tokio::test(flavor = "multi_thread")]
async fn latin1_goes_out_and_comes_back_and_fits_into_utf8() {
    let world = World::with("").await;
    let source = encoded(&world, "LATIN1", "latin").await;
    run(&source, LATIN).await;
    // Every character that LATIN1 has and a text may have.
    run(&source, "INSERT INTO \"größe\" SELECT chr(i) || i FROM generate_series(160, 255) i").await;
    assert_eq!(value(&source, "SHOW server_encoding").await.as_deref(), Some("LATIN1"));
    dump_of(&world, &source).await.unwrap();
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);

    let same = world.copy("latin_too");
    world.restore(same.clone()).await;
    assert_eq!(value(&same, "SHOW server_encoding").await.as_deref(), Some("LATIN1"));
    assert!(compared(&world, &same).await.is_equal());
    assert_eq!(schema_bytes(&source), schema_bytes(&same));
    // The bytes in the database itself, not only what a client is shown.
    let inside = "SELECT md5(string_agg(encode(convert_to(\"währung £\", 'LATIN1'), 'hex'), ',' ORDER BY \"währung £\")) FROM \"größe\"";
    assert_eq!(value(&source, inside).await, value(&same, inside).await);

    let utf8 = encoded(&world, "UTF8", "utf8").await;
    let report = world.restore_with(utf8.clone(), |request| request.create = false).await.unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("LATIN1")), "{:?}", report.warnings);
    assert!(compared(&world, &utf8).await.is_equal());
    let characters = "SELECT string_agg(\"währung £\", '' ORDER BY \"währung £\") FROM \"größe\"";
    assert_eq!(value(&utf8, characters).await, value(&source, characters).await);
    assert_eq!(value(&utf8, "SELECT \"grüß\"()").await.as_deref(), Some("Grüße für 5 £"));
    // The negative control: one character is seen.
    run(&utf8, "UPDATE \"größe\" SET fest = 'û' WHERE \"währung £\" = 'é'").await;
    assert!(!compared(&world, &utf8).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_latin1_lacks_ends_a_restore_into_it() {
    let world = World::with(
        "CREATE TABLE prices (id int, what text); INSERT INTO prices VALUES (1, '5 £'), (2, '7 €')",
    )
    .await;
    world.dump().await;
    let latin = encoded(&world, "LATIN1", "latin").await;
    let failed = world.restore_with(latin.clone(), |request| request.create = false).await.unwrap_err();
    let text = words(&failed);
    assert!(text.contains("public.prices") && text.contains("LATIN1"), "{text}");
    assert_eq!(failed.exit_code(), 42);
    assert_eq!(
        value(&latin, "SELECT count(*) FROM prices").await.as_deref(),
        Some("0"),
        "not even the first row"
    );
}

/// Bytes that are no UTF-8, in every place where a database in SQL_ASCII takes them.
const BYTES: &str = "CREATE TABLE raw (id int PRIMARY KEY, t text, v varchar(9), c char(4), a text[], b bytea);
     INSERT INTO raw VALUES (1, E'\\xff\\xfe', E'caf\\xe9', E'\\xa3', ARRAY[E'\\xe9', 'plain', NULL], '\\xff00'),
         (2, 'plain', 'plain', 'abcd', '{}', ''), (3, E'\\xc3\\xa9', E'\\xc3\\xa9', E'\\xc3\\xa9', ARRAY[E'\\xc3\\xa9'], NULL);
     INSERT INTO raw SELECT 1000 + i, E'\\x80' || i FROM generate_series(1, 500) i;";

/// The bytes inside the server, which no client's encoding touches.
const RAW: &str = "SELECT md5(string_agg(concat_ws(',', id, encode(convert_to(concat_ws('|', t, v, c,
         array_to_string(a, '+', 'NULL')), 'SQL_ASCII'), 'hex'), encode(b, 'hex')), ';' ORDER BY id)) FROM raw";

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_sql_ascii_come_back_and_never_change_in_silence() {
    let world = World::with("").await;
    let source = encoded(&world, "SQL_ASCII", "bytes").await;
    run(&source, BYTES).await;
    dump_of(&world, &source).await.unwrap();
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    let same = world.copy("bytes_too");
    world.restore(same.clone()).await;
    assert_eq!(value(&same, "SHOW server_encoding").await.as_deref(), Some("SQL_ASCII"));
    assert!(compared(&world, &same).await.is_equal());
    assert!(value(&source, RAW).await.is_some());
    assert_eq!(value(&same, RAW).await, value(&source, RAW).await);
    assert_eq!(schema_bytes(&source), schema_bytes(&same));

    let utf8 = encoded(&world, "UTF8", "utf8").await;
    let failed = world.restore_with(utf8.clone(), |request| request.create = false).await.unwrap_err();
    let text = words(&failed);
    assert!(text.contains("public.raw") && text.contains("invalid byte sequence"), "{text}");
    assert_eq!(failed.exit_code(), 42);
    assert_eq!(
        value(&utf8, "SELECT count(*) FROM raw").await.as_deref(),
        Some("0"),
        "not even the sound rows"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_sql_ascii_that_is_utf8_fits_into_utf8() {
    let world = World::with("").await;
    let source = encoded(&world, "SQL_ASCII", "bytes").await;
    run(&source, BYTES).await;
    run(&source, "DELETE FROM raw WHERE id = 1 OR id > 1000; UPDATE raw SET c = 'abcd'").await;
    dump_of(&world, &source).await.unwrap();
    let utf8 = encoded(&world, "UTF8", "utf8").await;
    world.restore_with(utf8.clone(), |request| request.create = false).await.unwrap();
    assert_eq!(value(&utf8, RAW).await, value(&source, RAW).await);
    assert_eq!(value(&utf8, "SELECT t FROM raw WHERE id = 3").await.as_deref(), Some("é"));
    assert!(compared(&world, &utf8).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn char_n_counts_bytes_in_sql_ascii_and_letters_in_utf8_and_compare_says_so() {
    let world = World::with("").await;
    let source = encoded(&world, "SQL_ASCII", "bytes").await;
    run(&source, "CREATE TABLE padded (c char(4)); INSERT INTO padded VALUES (E'\\xc3\\xa9')").await;
    dump_of(&world, &source).await.unwrap();
    let utf8 = encoded(&world, "UTF8", "utf8").await;
    world.restore_with(utf8.clone(), |request| request.create = false).await.unwrap();
    let length = "SELECT octet_length(c) FROM padded";
    assert_eq!(value(&source, length).await.as_deref(), Some("4"));
    assert_eq!(value(&utf8, length).await.as_deref(), Some("5"), "padded to four letters");
    assert!(!compared(&world, &utf8).await.is_equal(), "one blank more is another row");
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_in_sql_ascii_that_are_no_utf8_are_refused() {
    let world = World::with("").await;
    let source = encoded(&world, "SQL_ASCII", "bytes").await;
    let sql = "CREATE TABLE plain (i int);
        DO $$ BEGIN EXECUTE format('COMMENT ON TABLE plain IS %L', E'5 \\xa3'); END $$";
    run(&source, sql).await;
    let failed = dump_of(&world, &source).await.unwrap_err();
    assert!(
        words(&failed).contains("invalid byte sequence for encoding \"UTF8\": 0xa3"),
        "{}",
        words(&failed)
    );
    assert_eq!(world.vault.backups().unwrap(), vec![]);
    // Rows alone need no definitions.
    world
        .dump_with(|request| {
            request.database = source.clone();
            request.data_only = true;
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_sql_ascii_that_are_no_utf8_are_refused_all_at_once() {
    let world = World::with("").await;
    let source = encoded(&world, "SQL_ASCII", "bytes").await;
    run(
        &source,
        "CREATE TABLE plain (i int); DO $$ BEGIN EXECUTE format('CREATE TABLE caf (%I text)', E'prix\\xa3');
        EXECUTE format('CREATE TYPE %I AS ENUM (%L)', E'\\xe9', 'x'); END $$;
        CREATE TABLE \"größe\" (i int)",
    )
    .await;
    let failed = dump_of(&world, &source).await.unwrap_err();
    let text = words(&failed);
    assert!(text.contains(r"column public.caf.prix\xa3, enum label \xe9 x, type public.\xe9"), "{text}");
    assert!(text.ends_with(r"type public.\xe9"), "a name that is UTF-8 is no reason: {text}");
    assert_eq!(failed.exit_code(), 2);
    assert_eq!(world.vault.backups().unwrap(), vec![]);
}

/// A hot standby of a throw-away primary. Dropping it stops it and removes everything.
struct Standby {
    folder: PathBuf,
    port: u16,
    owner: Option<&'static str>,
}

impl Standby {
    /// Copies the primary and follows it.
    fn of(primary: &Throwaway) -> Self {
        let folder = std::env::temp_dir().join(format!("barkeep-standby-{:08x}", rand::random::<u32>()));
        std::fs::create_dir(&folder).unwrap();
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        // PostgreSQL refuses to run as root.
        let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&folder).unwrap()) == 0;
        let standby = Self { folder, port, owner: root.then_some("postgres") };
        if root {
            let mut chown = Command::new("chown");
            chown.arg("postgres:postgres").arg(&standby.folder);
            successful(chown);
        }
        let mut copy = standby.command("pg_basebackup");
        copy.arg("-h").arg(primary.socket_directory()).arg("-p").arg(primary.port().to_string());
        copy.args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast", "-D"]).arg(standby.data());
        successful(copy);
        let mut start = standby.command("pg_ctl");
        start.args(["start", "-w", "-t", "60", "-s", "-l"]).arg(standby.folder.join("log"));
        start.arg("-D").arg(standby.data()).arg("-o").arg(format!(
            "-c port={port} -c listen_addresses= -c unix_socket_directories={} -c fsync=off -c max_connections=200",
            standby.folder.display()
        ));
        start.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        let started = start.status().unwrap();
        let log = std::fs::read_to_string(standby.folder.join("log")).unwrap_or_default();
        assert!(started.success(), "the standby does not start: {log}");
        standby
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let place = Path::new(BIN).join(program);
        let mut command = match self.owner {
            None => Command::new(place),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={user}"), format!("--regid={user}")])
                    .arg("--init-groups")
                    .arg(place);
                command
            }
        };
        command.current_dir(&self.folder);
        command
    }

    fn settings(&self, like: &ConnectionSettings) -> ConnectionSettings {
        ConnectionSettings { host: self.folder.display().to_string(), port: self.port, ..like.clone() }
    }

    /// Waits until everything that is committed on the primary is there.
    async fn catch_up(&self, primary: &ConnectionSettings) {
        let there = value(primary, "SELECT pg_current_wal_flush_lsn()").await.unwrap();
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{there}'");
        for _ in 0..200 {
            if value(&self.settings(primary), &question).await.as_deref() == Some("t") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the standby does not follow");
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "-s", "-m", "immediate", "-w", "-t", "10", "-D"]).arg(self.data());
        let stopped = stop.stdin(Stdio::null()).stdout(Stdio::null()).status();
        let removed = std::fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            assert!(stopped.unwrap().success());
            removed.unwrap();
        }
    }
}

const ON_PRIMARY: &str =
    "CREATE TABLE bars (id bigint PRIMARY KEY, close numeric, at timestamptz DEFAULT now());
     CREATE UNLOGGED TABLE scratch (id int); CREATE SEQUENCE s START 7; CREATE TABLE empty (i int);
     INSERT INTO bars SELECT i, i / 7.0 FROM generate_series(1, 30000) i; INSERT INTO scratch VALUES (1);
     SELECT nextval('s'), lo_from_bytea(70001, 'abc')";

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_dumped_as_far_as_it_has_replayed() {
    let settings = ["wal_level=replica", "max_wal_senders=4", "max_connections=200"];
    let options = ThrowawayOptions {
        version: Some(15),
        settings: settings.iter().map(|line| (*line).to_owned()).collect(),
        ..ThrowawayOptions::default()
    };
    let primary = Throwaway::start(&options).unwrap();
    let world = World::on(primary.settings("postgres"), None, ON_PRIMARY).await;
    let standby = Standby::of(&primary);
    standby.catch_up(&world.source()).await;
    let from = standby.settings(&world.source());
    // What comes after this stays on the primary until the end of the dump.
    run(&from, "SELECT pg_wal_replay_pause()").await;
    let paused = "SELECT pg_get_wal_replay_pause_state()";
    for _ in 0..100 {
        if value(&from, paused).await.as_deref() == Some("paused") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = value(&world.source(), "SELECT pg_current_wal_lsn()").await.unwrap();
    world.run("INSERT INTO bars VALUES (0, 'NaN'); DELETE FROM bars WHERE id = 30000").await;
    let report = world.dump_with(|request| request.database = from.clone()).await.unwrap();
    let replayed = value(&from, "SELECT pg_last_wal_replay_lsn()").await.unwrap();
    let bars = report.tables.iter().find(|table| table.table.name == "bars").unwrap();
    assert_eq!(bars.rows, 30_000);
    assert!(!report.tables.iter().any(|table| table.table.name == "scratch"));
    let body = world.vault.manifests().unwrap().remove(0).manifest.body;
    assert!(body.source.in_recovery);
    assert_eq!(body.snapshot.timeline.as_deref(), Some("1"));
    assert!(body.omitted.iter().any(|omission| omission.what.contains("scratch")), "{:?}", body.omitted);
    let lsn = body.snapshot.lsn.unwrap();
    let order = format!("SELECT '{replayed}'::pg_lsn = '{lsn}' AND '{lsn}'::pg_lsn <= '{before}'");
    assert_eq!(value(&from, &order).await.as_deref(), Some("t"), "{order}");
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);

    // The primary has gone on, and the comparison must see exactly that.
    let behind = compared(&world, &world.source()).await;
    let differing: Vec<_> = behind.tables.iter().filter(|table| !table.differences.is_empty()).collect();
    assert_eq!(
        (differing.len(), differing[0].table.name.as_str(), differing[0].differences.len()),
        (1, "bars", 2)
    );
    world.run("DELETE FROM bars WHERE id = 0; INSERT INTO bars SELECT 30000, 30000 / 7.0, at FROM bars WHERE id = 1").await;
    assert!(compared(&world, &world.source()).await.is_equal());

    run(&from, "SELECT pg_wal_replay_resume()").await;
    let copy = world.copy("copy");
    let restored = world.restore(copy.clone()).await;
    assert!(restored.violations.is_empty());
    assert!(compared(&world, &copy).await.is_equal());
    let object = "SELECT encode(lo_get(70001), 'escape')";
    assert_eq!(value(&copy, object).await.as_deref(), Some("abc"));
}

/// Both ways of adding up what pgbench moved around: equal in every state that ever was committed.
const BALANCES: &str = "SELECT concat_ws(' ', (SELECT sum(abalance) FROM pgbench_accounts),
     (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers),
     (SELECT sum(delta) FROM pgbench_history))";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_under_pgbench_is_dumped_in_one_state_that_adds_up() {
    let world = World::with("").await;
    let source = world.source();
    let mut initialise = program("pgbench", &source);
    initialise.args(["-i", "-q", "-s", "5"]);
    successful(initialise);
    world.run("ALTER TABLE pgbench_history ADD id bigint GENERATED ALWAYS AS IDENTITY").await;
    let mut load = program("pgbench", &source);
    load.args(["-n", "-c", "2", "-j", "2", "-T", "120"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut load = load.spawn().unwrap();
    let written = "SELECT count(*) FROM pgbench_history";
    let count =
        async |settings: &ConnectionSettings| value(settings, written).await.unwrap().parse::<u64>().unwrap();
    let began = Instant::now();
    while count(&source).await < 100 {
        assert!(began.elapsed() < Duration::from_secs(30), "pgbench does not write");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = count(&source).await;
    let report = world.dump().await;
    let after = count(&source).await;
    assert!(load.try_wait().unwrap().is_none(), "pgbench must have written all the while");
    load.kill().unwrap();
    load.wait().unwrap();
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    let copy = world.copy("copy");
    let restored = world.restore(copy.clone()).await;
    assert!(restored.violations.is_empty() && restored.warnings.is_empty(), "{:?}", restored.warnings);
    let back = compared(&world, &copy).await;
    assert!(back.is_equal());
    assert_eq!(back.sequences, Vec::<String>::new());
    assert_same_schema(&source, &copy);

    let dumped = count(&copy).await;
    assert!(
        before <= dumped && dumped < after,
        "{before} ≤ {dumped} < {after}: nothing was written meanwhile"
    );
    assert_eq!(report.rows, 500_000 + 5 + 50 + dumped);
    let sums = value(&copy, BALANCES).await.unwrap();
    let sums: Vec<&str> = sums.split(' ').collect();
    assert!(sums.len() == 4 && sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    assert_ne!(sums[0], "0", "a sum of nothing would always add up");
    // Rows of the snapshot were numbered before the sequence was read.
    let ahead = "SELECT (SELECT last_value FROM pgbench_history_id_seq) >= max(id) FROM pgbench_history";
    assert_eq!(value(&copy, ahead).await.as_deref(), Some("t"));
    // The negative control: a single lost transaction does not add up.
    run(
        &copy,
        "DELETE FROM pgbench_history WHERE id = (SELECT max(id) FROM pgbench_history WHERE delta <> 0)",
    )
    .await;
    let sums = value(&copy, BALANCES).await.unwrap();
    let sums: Vec<&str> = sums.split(' ').collect();
    assert!(sums[0] == sums[1] && sums[0] != sums[3], "{sums:?}");
    assert!(!compared(&world, &copy).await.is_equal());
}
