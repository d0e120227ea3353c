//! What every test needs: one shared server, a database and a vault of its own, and short ways to dump, restore, compare.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use barkeep::base::{Event, Events};
use barkeep::ops::compare::{CompareReport, CompareRequest, compare};
use barkeep::ops::dump::{DumpReport, DumpRequest, dump};
use barkeep::ops::restore::{RestoreReport, RestoreRequest, restore};
use barkeep::ops::verify::{Level, VerifyReport, VerifyRequest, verify};
use barkeep::ops::{OpsError, Services};
use barkeep::pg::ConnectionSettings;
use barkeep::pg::throwaway::{Throwaway, ThrowawayOptions};
use barkeep::pg::workbench::Workbench;
use barkeep::store::{BackupChoice, Vault};

/// The server that tests running at the same time share: PostgreSQL 15 from local binaries. It stops with the last of
/// them; a static would outlive the process.
pub(crate) fn server() -> Arc<Throwaway> {
    static SHARED: Mutex<Weak<Throwaway>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let settings = ["max_connections=200", "max_locks_per_transaction=256", "wal_level=logical"];
    let options = ThrowawayOptions {
        version: Some(15),
        settings: settings.iter().map(|line| (*line).to_owned()).collect(),
        ..ThrowawayOptions::default()
    };
    let server = Arc::new(Throwaway::start(&options).expect("a throw-away PostgreSQL 15 starts"));
    *shared = Arc::downgrade(&server);
    server
}

/// Hands every event to a closure.
struct Hook<F>(F);

impl<F: Fn(&Event) + Send + Sync> Events for Hook<F> {
    fn emit(&self, event: Event) {
        (self.0)(&event);
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of its own, a vault of its own.
pub(crate) struct World {
    /// Keeps the local server running while the test does.
    pub(crate) local: Option<Arc<Throwaway>>,
    server: ConnectionSettings,
    pg_dump: Option<String>,
    pub(crate) database: String,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) vault: Vault,
}

/// The text of a fixture.
pub(crate) fn fixture(path: &str) -> String {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    std::fs::read_to_string(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()))
}

impl World {
    /// A new database on the shared local server, loaded with `sql`.
    pub(crate) async fn with(sql: &str) -> Self {
        let local = server();
        let mut world = Self::on(local.settings("postgres"), None, "").await;
        world.local = Some(local);
        world.run(sql).await;
        world
    }

    /// The same, with a backup of it in the vault.
    pub(crate) async fn dumped(sql: &str) -> Self {
        let world = Self::with(sql).await;
        world.dump().await;
        world
    }

    /// A new database on some server, loaded with `sql`; `pg_dump` as in `tools.pg_dump`.
    pub(crate) async fn on(server: ConnectionSettings, pg_dump: Option<String>, sql: &str) -> Self {
        let database = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = Workbench::connect(&server).await.unwrap();
        admin.create_database(&database).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let now = barkeep::base::Clock::now(&barkeep::base::SystemClock);
        let vault = Vault::open_or_create(&folder.path().join("vault"), now, rand::random()).unwrap();
        let world = Self { local: None, server, pg_dump, database, folder, vault };
        world.run(sql).await;
        world
    }

    pub(crate) fn source(&self) -> ConnectionSettings {
        self.server.with_database(&self.database)
    }

    /// The source, as another role.
    pub(crate) fn role(&self, role: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.source() }
    }

    /// Another database on the same server; not created.
    pub(crate) fn copy(&self, suffix: &str) -> ConnectionSettings {
        self.server.with_database(&format!("{}_{suffix}", self.database))
    }

    /// Runs SQL in the source.
    pub(crate) async fn run(&self, sql: &str) {
        run(&self.source(), sql).await;
    }

    pub(crate) async fn dump(&self) -> DumpReport {
        self.dump_with(|_| ()).await.unwrap()
    }

    pub(crate) async fn dump_with(
        &self,
        change: impl FnOnce(&mut DumpRequest),
    ) -> Result<DumpReport, OpsError> {
        self.dump_hooked(|_| (), change).await
    }

    /// A dump that tells `hook` what it does, while it does it.
    pub(crate) async fn dump_hooked(
        &self,
        hook: impl Fn(&Event) + Send + Sync + 'static,
        change: impl FnOnce(&mut DumpRequest),
    ) -> Result<DumpReport, OpsError> {
        let mut request = DumpRequest::new(self.source());
        request.path = std::env::var_os("PATH");
        request.pg_dump.clone_from(&self.pg_dump);
        change(&mut request);
        let services = Services { events: Arc::new(Hook(hook)), ..Services::default() };
        dump(&self.vault, &request, &services).await
    }

    pub(crate) async fn verify(&self, level: Level) -> VerifyReport {
        let request = VerifyRequest { choice: BackupChoice::latest(), level };
        verify(&self.vault, &request, &Services::default()).await.unwrap()
    }

    pub(crate) async fn restore(&self, target: ConnectionSettings) -> RestoreReport {
        self.restore_with(target, |_| ()).await.unwrap()
    }

    pub(crate) async fn restore_with(
        &self,
        target: ConnectionSettings,
        change: impl FnOnce(&mut RestoreRequest<'_>),
    ) -> Result<RestoreReport, OpsError> {
        let mut request = RestoreRequest::new(&self.vault, BackupChoice::latest(), target);
        request.create = true;
        change(&mut request);
        restore(&request, &Services::default()).await
    }

    /// A restore that tells `hook` what it does, while it does it.
    pub(crate) async fn restore_hooked(
        &self,
        target: ConnectionSettings,
        hook: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<RestoreReport, OpsError> {
        let request = RestoreRequest::new(&self.vault, BackupChoice::latest(), target);
        let services = Services { events: Arc::new(Hook(hook)), ..Services::default() };
        restore(&request, &services).await
    }

    pub(crate) async fn compare(&self, target: ConnectionSettings) -> CompareReport {
        let mut request = CompareRequest::new(target);
        request.rows = true;
        compare(&self.vault, &request, &Services::default()).await.unwrap()
    }
}

/// A database as the command takes it.
pub(crate) fn uri(settings: &ConnectionSettings) -> String {
    let host = settings.host.replace('/', "%2F");
    format!("postgres://{}@{host}:{}/{}", settings.user, settings.port, settings.database)
}

/// Runs SQL in a database.
pub(crate) async fn run(settings: &ConnectionSettings, sql: &str) {
    let bench = Workbench::connect(settings).await.unwrap();
    bench.run("a test's own SQL", sql).await.unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        panic!("{error}: {cause}")
    });
}

/// One value of a database, as text.
pub(crate) async fn value(settings: &ConnectionSettings, sql: &str) -> Option<String> {
    Workbench::connect(settings).await.unwrap().value("a test's own question", sql).await.unwrap()
}

/// Asserts that two local databases have the same schema by pg_dump's own account.
pub(crate) fn assert_same_schema(a: &ConnectionSettings, b: &ConnectionSettings) {
    assert_same_schema_by(LOCAL_PG_DUMP, a, b);
}

/// The same by another pg_dump, a command line.
pub(crate) fn assert_same_schema_by(pg_dump: &str, a: &ConnectionSettings, b: &ConnectionSettings) {
    let (text_a, text_b) = (schema_text(pg_dump, a), schema_text(pg_dump, b));
    let differing = difference(&text_a, &text_b);
    assert!(
        differing.is_empty() && text_a == text_b && text_a.len() > 10,
        "pg_dump -s differs:\n{}",
        differing.join("\n")
    );
}

/// The lines of `pg_dump -s` that only one of two databases has.
pub(crate) fn schema_difference(a: &ConnectionSettings, b: &ConnectionSettings) -> Vec<String> {
    difference(&schema_text(LOCAL_PG_DUMP, a), &schema_text(LOCAL_PG_DUMP, b))
}

fn difference(a: &[String], b: &[String]) -> Vec<String> {
    let gone = a.iter().filter(|line| !b.contains(line)).map(|line| format!("- {line}"));
    gone.chain(b.iter().filter(|line| !a.contains(line)).map(|line| format!("+ {line}"))).collect()
}

const LOCAL_PG_DUMP: &str = "/usr/lib/postgresql/15/bin/pg_dump";

fn schema_text(pg_dump: &str, settings: &ConnectionSettings) -> Vec<String> {
    let mut words = pg_dump.split(' ');
    let output = std::process::Command::new(words.next().unwrap())
        .args(words)
        .args(["--schema-only", "--no-password", "-U", &settings.user, "-d", &settings.database])
        .env("PGHOST", &settings.host)
        .env("PGPORT", settings.port.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Each run has a random key in its \restrict line.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .map(str::to_owned)
        .collect()
}

/// The error and all its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Asserts that a run that failed left no backup and nothing of one.
pub(crate) fn nothing_half_made(world: &World) {
    assert_eq!(world.vault.backups().unwrap(), vec![]);
    let staging = world.vault.root().join("staging");
    let left: Vec<PathBuf> = std::fs::read_dir(staging)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect())
        .unwrap_or_default();
    assert_eq!(left, Vec::<PathBuf>::new());
}

/// Says that a test did not run, to whoever runs it by hand and to `scripts/test.sh`, which repeats it in its last lines.
pub(crate) fn not_run(text: &str) {
    eprintln!("barkeep-not-run: {text}");
    let Ok(path) = std::env::var("BARKEEP_TEST_NOT_RUN") else { return };
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes()).unwrap();
}
