//! The way to the server fails: a restart, a connection lost once or for good, a pooler, a wrong password, old tools.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use barkeep::base::{Event, Secret};
use barkeep::ops::verify::Level;
use barkeep::pg::TlsMode;
use barkeep::pg::throwaway::{Throwaway, ThrowawayOptions};

use crate::bench_world::{World, assert_same_schema, nothing_half_made, run, value, words};
use crate::container;

/// One table large enough that its COPY is still running when its first rows arrive here.
/// Many blocks of rows, but one unit: what is cut off below is cut off from all of the table.
const LARGE: &str = "CREATE TABLE large (id bigint PRIMARY KEY, filler text);
     INSERT INTO large SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 200000) i";

const ROWS: u64 = 200_000;

/// Runs SQL from a progress callback, which knows no async: through psql.
fn psql(world: &World, sql: &str) -> String {
    let settings = world.source();
    let output = Command::new("psql")
        .args(["-X", "-At", "-h", &settings.host, "-p", &settings.port.to_string(), "-U", &settings.user])
        .args(["-d", "postgres", "-c", sql])
        .output()
        .unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Ends the sessions of this world's dump whose newest statement is like this; gives how many there were.
fn terminate(world: &World, like: &str) -> u32 {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = '{}' AND application_name = 'barkeep dump' AND query LIKE '{like}'",
        world.database
    );
    psql(world, &sql).parse().unwrap()
}

/// Ends the sessions of a restore that are copying into this database; gives how many there were.
fn terminate_loading(world: &World, database: &str) -> u32 {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE 'COPY%'"
    );
    psql(world, &sql).parse().unwrap()
}

/// Something that happens once.
fn once(what: impl FnOnce() + Send + 'static) -> impl Fn() + Send + Sync {
    let what = Mutex::new(Some(what));
    move || {
        let taken = what.lock().unwrap().take();
        if let Some(what) = taken {
            what();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_once_is_retried_under_the_same_snapshot() {
    let world = Arc::new(World::with(LARGE).await);
    let lost = Arc::new(Mutex::new(Vec::new()));
    let (hooked, told) = (world.clone(), lost.clone());
    let cut = once(move || {
        // A row that the snapshot must not see, so that a second snapshot would be found out.
        let insert = "INSERT INTO large VALUES (0, 'late')";
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(run(&hooked.source(), insert));
        });
        let ended = terminate(&hooked, "COPY%");
        told.lock().unwrap().push(format!("{ended} ended"));
    });
    let told = lost.clone();
    let report = world
        .dump_hooked(
            move |event| match event {
                Event::Progress { .. } => cut(),
                Event::Warning(text) => told.lock().unwrap().push(text.clone()),
                _ => {}
            },
            |_| (),
        )
        .await
        .unwrap();
    let told = lost.lock().unwrap().join("; ");
    assert!(told.contains("1 ended") || told.contains("2 ended"), "the control: a lane was cut: {told}");
    assert!(told.contains("connection lost"), "{told}");
    assert_eq!(report.rows, ROWS, "the late row is not in it");
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    assert!(!world.compare(world.source()).await.is_equal(), "the control: the late row is in the source");
    run(&world.source(), "DELETE FROM large WHERE id = 0").await;
    assert!(world.compare(world.source()).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_again_and_again_ends_the_run() {
    let world = Arc::new(World::with(LARGE).await);
    let hooked = world.clone();
    let cuts = AtomicU32::new(0);
    let error = world
        .dump_hooked(
            move |event| {
                if let Event::Progress { .. } = event {
                    cuts.fetch_add(terminate(&hooked, "COPY%"), Ordering::Relaxed);
                }
            },
            |_| (),
        )
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 20, "{}", words(&error));
    assert!(words(&error).contains("public.large"), "{}", words(&error));
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_snapshot_ends_the_run() {
    let world = Arc::new(World::with(LARGE).await);
    let hooked = world.clone();
    let cut = once(move || assert!(terminate(&hooked, "%") >= 2));
    let error = world
        .dump_hooked(
            move |event| {
                if let Event::Progress { .. } = event {
                    cut();
                }
            },
            |_| (),
        )
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 21, "{}", words(&error));
    assert!(words(&error).contains("snapshot"), "{}", words(&error));
    nothing_half_made(&world);
    // A new run, under a new snapshot, is whole.
    assert_eq!(world.dump().await.rows, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_in_the_middle_of_a_copy_ends_the_run() {
    let server = Arc::new(Throwaway::start(&options(&["synchronous_commit=on"])).unwrap());
    let world = World::on(server.settings("postgres"), None, LARGE).await;
    let hooked = server.clone();
    let restart = once(move || restart(&hooked));
    let error = world
        .dump_hooked(
            move |event| {
                if let Event::Progress { .. } = event {
                    restart();
                }
            },
            |_| (),
        )
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 21, "{}", words(&error));
    nothing_half_made(&world);
    assert_eq!(world.dump().await.rows, ROWS, "the restarted server is dumped as usual");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_survives_one_lost_connection_and_is_resumed_after_many() {
    let world = Arc::new(World::with(LARGE).await);
    world.dump().await;
    for (name, forever) in [("once", false), ("forever", true)] {
        let target = world.copy(name);
        run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
        let cuts = Arc::new(AtomicU32::new(0));
        let (hooked, counted, database) = (world.clone(), cuts.clone(), target.database.clone());
        let hook = move |event: &Event| {
            let cut =
                matches!(event, Event::Progress { .. }) && (forever || counted.load(Ordering::Relaxed) == 0);
            if cut {
                counted.fetch_add(terminate_loading(&hooked, &database), Ordering::Relaxed);
            }
        };
        let restored = world.restore_hooked(target.clone(), hook).await;
        let cuts = cuts.load(Ordering::Relaxed);
        if forever {
            let error = restored.unwrap_err();
            assert!(cuts > 1, "{cuts} cuts");
            assert_eq!(error.exit_code(), 20, "{}", words(&error));
            assert!(words(&error).contains("public.large"), "{}", words(&error));
            // Nothing of the table is there until its piece is whole.
            let rows = value(&target, "SELECT count(*) FROM public.large").await;
            assert_eq!(rows.as_deref(), Some("0"));
            world.restore_with(target.clone(), |request| request.create = false).await.unwrap();
        } else {
            restored.unwrap();
            assert_eq!(cuts, 1);
        }
        assert!(world.compare(target.clone()).await.is_equal());
        assert_same_schema(&world.source(), &target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_under_a_restore_is_no_loss() {
    let server = Arc::new(Throwaway::start(&options(&["synchronous_commit=on"])).unwrap());
    let world = World::on(server.settings("postgres"), None, LARGE).await;
    world.dump().await;
    let target = world.copy("copy");
    run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
    let hooked = server.clone();
    let restart = once(move || restart(&hooked));
    let restored = world
        .restore_hooked(target.clone(), move |event| {
            if let Event::Progress { .. } = event {
                restart();
            }
        })
        .await;
    // Whether the lanes outlast the restart is a matter of milliseconds; what must hold is that nothing is lost.
    if let Err(error) = restored {
        assert!(matches!(error.exit_code(), 20 | 75), "{}", words(&error));
        world.restore_with(target.clone(), |request| request.create = false).await.unwrap();
    }
    assert!(world.compare(target.clone()).await.is_equal());
    assert_same_schema(&world.source(), &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_a_crash_of_the_server_takes_back_are_made_again() {
    let settings = ["synchronous_commit=on", "autovacuum=off"];
    let server = Arc::new(Throwaway::start(&options(&settings)).unwrap());
    let tables = "DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS x', i, i); END LOOP; END $$";
    let world = World::on(server.settings("postgres"), None, tables).await;
    world.dump().await;
    let target = world.copy("copy");
    run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
    // From here on only a commit that waits for it gets the log to the disk.
    let writer = psql(&world, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
    assert!(Command::new("kill").args(["-STOP", &writer]).status().unwrap().success());
    let hooked = server.clone();
    let crash = once(move || restart(&hooked));
    let sent = AtomicU32::new(0);
    let restored = world
        .restore_hooked(target.clone(), move |event| {
            if matches!(event, Event::Progress { .. }) && sent.fetch_add(1, Ordering::Relaxed) == 50 {
                crash();
            }
        })
        .await;
    let error = restored.unwrap_err();
    assert!(matches!(error.exit_code(), 20 | 75), "{}", words(&error));
    // All but the last few had been committed; the journal knows of those that are left.
    let pieces = "SELECT count(*) FROM barkeep_restore.journal WHERE key LIKE 'piece:%'";
    let kept: u32 = value(&target, pieces).await.unwrap().parse().unwrap();
    assert!(kept < 40, "{kept} pieces outlasted the crash: it took nothing back, and this test says nothing");
    world.restore_with(target.clone(), |request| request.create = false).await.unwrap();
    assert!(world.compare(target.clone()).await.is_equal());
    assert_same_schema(&world.source(), &target);
}

fn options(settings: &[&str]) -> ThrowawayOptions {
    let settings = settings.iter().map(|line| (*line).to_owned()).collect();
    ThrowawayOptions { version: Some(15), settings, ..ThrowawayOptions::default() }
}

fn restart(server: &Throwaway) {
    let data = server.socket_directory().join("data");
    let status = as_postgres(Path::new("/usr/lib/postgresql/15/bin/pg_ctl"))
        .args(["restart", "-s", "-w", "-m", "immediate", "-l", "/dev/null", "-D"])
        .arg(&data)
        .current_dir("/")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Neither a server nor a pooler runs as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command
}

/// A PgBouncer of one's own in front of a server; ended when dropped.
struct Pooler {
    child: Child,
    port: u16,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn pooler(world: &World, extra: &str) -> Pooler {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let settings = world.source();
    let folder = PathBuf::from(&settings.host).join(format!("pooler-{port}"));
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = any\npool_mode = transaction\n{extra}\n[users]\n",
        settings.host, settings.port
    );
    // auth_type = any logs everyone in as the user of the database line.
    let text = text
        .replace(&format!("port={}\n", settings.port), &format!("port={} user=postgres\n", settings.port));
    std::fs::write(folder.join("pgbouncer.ini"), text).unwrap();
    let status = Command::new("chown").args(["-R", "postgres"]).arg(&folder).status().unwrap();
    assert!(status.success());
    let program = Path::new("/usr/sbin/pgbouncer");
    assert!(program.exists(), "this test needs PgBouncer; `make test` installs it");
    let child = as_postgres(program)
        .args(["-q", "pgbouncer.ini"])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pooler = Pooler { child, port };
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return pooler;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("PgBouncer does not listen; see {}", folder.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_refused_before_it_can_mix_up_sessions() {
    let world = World::with("CREATE TABLE t (id int)").await;
    for extra in ["", "ignore_startup_parameters = options"] {
        let pooler = pooler(&world, extra);
        let mut settings = world.source();
        settings.host = "127.0.0.1".to_owned();
        settings.port = pooler.port;
        // The control: it does lead to the database.
        let uri = format!("host=127.0.0.1 port={} user=postgres dbname={}", pooler.port, world.database);
        let asked = Command::new("psql").args(["-X", "-At", "-d", &uri, "-c", "SELECT 7"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), "7", "{extra:?}: {asked:?}");
        let target = settings.clone();
        let error = world.dump_with(|request| request.database = settings).await.unwrap_err();
        assert_eq!(error.exit_code(), 20, "{extra:?}: {}", words(&error));
        assert!(words(&error).contains("pooler"), "{extra:?}: {}", words(&error));
        nothing_half_made(&world);
        world.dump().await;
        let error = world.restore_with(target, |request| request.create = false).await.unwrap_err();
        assert!(words(&error).contains("pooler"), "{extra:?}: {}", words(&error));
        std::fs::remove_dir_all(world.vault.root().join("backups")).unwrap();
        std::fs::create_dir(world.vault.root().join("backups")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_login_error_that_shows_no_password() {
    let server = Throwaway::start(&options(&[])).unwrap();
    let world = World::on(
        server.settings("postgres"),
        None,
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right';
         CREATE TABLE t (id int); INSERT INTO t VALUES (1)",
    )
    .await;
    let rules = server.socket_directory().join("data/pg_hba.conf");
    std::fs::write(&rules, "local all postgres trust\nlocal all all scram-sha-256\n").unwrap();
    run(&world.source(), "SELECT pg_reload_conf()").await;
    assert_eq!(value(&world.source(), "SELECT 1").await.as_deref(), Some("1"));
    let with = |password: &str| {
        let mut settings = world.role("guarded");
        settings.password = Some(Secret::new(password.to_owned()));
        settings
    };
    let error = world.dump_with(|request| request.database = with("hunter2-wrong")).await.unwrap_err();
    assert_eq!(error.exit_code(), 20, "{}", words(&error));
    assert!(words(&error).contains("guarded"), "{}", words(&error));
    assert!(!words(&error).contains("hunter2"), "{}", words(&error));
    nothing_half_made(&world);
    // The control: pg_dump gets the right one too.
    let report = world.dump_with(|request| request.database = with("right")).await.unwrap();
    assert_eq!(report.rows, 1);
}

/// A certificate authority, and a certificate of its for `localhost`, where the server finds them.
fn certificates(folder: &Path) {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt &&
         openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr &&
         printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext &&
         openssl x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext -out server.crt &&
         openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key -out other.crt &&
         chmod 600 server.key && chown postgres server.key server.crt";
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_connections_are_followed_like_plain_ones() {
    let server = Throwaway::start(&options(&[])).unwrap();
    let world = World::on(
        server.settings("postgres"),
        None,
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right';
         CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 5000)",
    )
    .await;
    let over = |tls: TlsMode, authority: Option<&str>| {
        let mut settings = world.role("guarded");
        settings.host = "localhost".to_owned();
        settings.password = Some(Secret::new("right".to_owned()));
        settings.tls = tls;
        settings.root_cert = authority.map(|name| server.socket_directory().join(name));
        settings
    };
    let dump = async |tls: TlsMode, authority: Option<&str>| {
        world.dump_with(|request| request.database = over(tls, authority)).await
    };
    // A server without TLS: `prefer` goes on in the clear, `require` does not.
    assert_eq!(dump(TlsMode::Prefer, None).await.unwrap().rows, 5000);
    let error = dump(TlsMode::Require, None).await.unwrap_err();
    assert_eq!(error.exit_code(), 20, "{}", words(&error));
    let folder = server.socket_directory();
    certificates(folder);
    std::fs::write(
        folder.join("data/pg_hba.conf"),
        "local all all trust\nhostssl all all all scram-sha-256\n",
    )
    .unwrap();
    let files = format!(
        "ALTER SYSTEM SET ssl_cert_file = '{0}/server.crt'; ALTER SYSTEM SET ssl_key_file = '{0}/server.key'",
        folder.display()
    );
    for statement in files.split("; ").chain(["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"]) {
        run(&world.source(), statement).await;
    }
    for _ in 0..100 {
        if value(&world.source(), "SHOW ssl").await.as_deref() == Some("on") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let settings = over(TlsMode::Require, None);
    let encrypted = value(&settings, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    assert_eq!(encrypted.as_deref(), Some("t"));
    for (tls, authority) in [
        (TlsMode::Prefer, None),
        (TlsMode::Require, None),
        (TlsMode::VerifyCa, Some("ca.crt")),
        (TlsMode::VerifyFull, Some("ca.crt")),
    ] {
        assert_eq!(dump(tls, authority).await.unwrap().rows, 5000, "{tls:?}");
    }
    for tls in [TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let error = dump(tls, Some("other.crt")).await.unwrap_err();
        assert_eq!(error.exit_code(), 20, "{tls:?}: {}", words(&error));
    }
    assert!(world.compare(over(TlsMode::VerifyFull, Some("ca.crt"))).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let world = World::with("").await;
    let mut settings = world.source();
    settings.host = "127.0.0.1".to_owned();
    settings.port = listener.local_addr().unwrap().port();
    settings.connect_timeout = 1;
    let error = world.dump_with(|request| request.database = settings).await.unwrap_err();
    assert_eq!(error.exit_code(), 20, "{}", words(&error));
    assert!(words(&error).contains("no answer within 1 s"), "{}", words(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_newer_than_pg_dump_is_said_before_the_first_byte() {
    let server = container::start().await;
    let world =
        World::on(server.settings(), server.pg_dump(), "CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
            .await;
    let old = "/usr/lib/postgresql/15/bin/pg_dump".to_owned();
    let error = world.dump_with(|request| request.pg_dump = Some(old)).await.unwrap_err();
    let text = words(&error);
    assert_eq!(error.exit_code(), 2, "{text}");
    assert!(text.contains("15") && text.contains("17") && text.contains("pg_dump"), "{text}");
    nothing_half_made(&world);
    // The rows alone need no pg_dump.
    assert_eq!(world.dump_with(|request| request.data_only = true).await.unwrap().rows, 1);
}
