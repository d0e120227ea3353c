//! Where a drill restores to: a server, a container or a database that is there for the drill only, and goes with the value,
//! however the drill ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::DrillTarget;
use crate::base::{Timestamp, quote_ident};
use crate::ops::OpsError;
use crate::pg::throwaway::{Throwaway, ThrowawayOptions};
use crate::pg::workbench::Workbench;
use crate::pg::{ConnectionSettings, PgError, Probe, TlsMode};

/// How long a container may take until its server answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// A place to restore to.
pub(super) struct Provisioned {
    /// The database; it is there already where `exists`.
    pub(super) database: ConnectionSettings,
    /// It exists, and is empty.
    pub(super) exists: bool,
    /// `embedded`, `container`, `scratch`.
    pub(super) kind: &'static str,
    /// What a reader of its times should know.
    pub(super) note: String,
    undo: Undo,
}

/// What has to go.
enum Undo {
    Nothing,
    Server(Throwaway),
    Container(String),
    Database { at: ConnectionSettings, name: String, existed: bool },
}

impl Provisioned {
    /// Makes the place. `source` is the identifier of the server that the backup came from.
    pub(super) async fn make(
        target: &DrillTarget,
        source: Option<&str>,
        allow_source: bool,
        now: Timestamp,
    ) -> Result<Self, OpsError> {
        let name = format!("barkeep_drill_{}", now.compact().to_lowercase());
        match target {
            DrillTarget::Embedded => {
                let start = tokio::task::spawn_blocking(|| Throwaway::start(&ThrowawayOptions::default()));
                let server = start.await.map_err(|_| OpsError::Internal("a thread died".to_owned()))?;
                let server = server.map_err(|error| OpsError::Unavailable(error.to_string()))?;
                Ok(Self {
                    database: server.settings(&name),
                    exists: false,
                    kind: "embedded",
                    note: "the server was made for this drill and does not sync its files (fsync off): a durable one is slower"
                        .to_owned(),
                    undo: Undo::Server(server),
                })
            }
            DrillTarget::Container(image) => container(image, &name).await,
            DrillTarget::Scratch(settings) => scratch(settings, source, allow_source).await,
        }
    }

    /// Leaves it as it is; gives what is left behind.
    pub(super) fn keep(mut self) -> String {
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => self.database.describe(),
            Undo::Server(server) => {
                let place = format!(
                    "{}; its folder is {}",
                    self.database.describe(),
                    server.socket_directory().display()
                );
                // Its Drop would stop it.
                std::mem::forget(server);
                place
            }
            Undo::Container(id) => format!("{}, container {id}", self.database.describe()),
            Undo::Database { .. } => self.database.describe(),
        }
    }
}

impl Drop for Provisioned {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing | Undo::Server(_) => {}
            Undo::Container(id) => {
                let removed = docker(&["rm", "--force", "--volumes", &id]).output();
                if !removed.is_ok_and(|output| output.status.success()) {
                    tracing::warn!(container = id, "the drill's container stays behind");
                }
            }
            Undo::Database { at, name, existed } => {
                // Dropping may happen inside a runtime, which must not be blocked on from itself.
                let thread = std::thread::spawn(move || drop_database(&at, &name, existed));
                if !matches!(thread.join(), Ok(Ok(()))) {
                    tracing::warn!(database = self.database.database, "the drill's database stays behind");
                }
            }
        }
    }
}

/// Drops the database; one that was there before comes back empty.
fn drop_database(at: &ConnectionSettings, name: &str, existed: bool) -> Result<(), OpsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| OpsError::Internal(error.to_string()))?;
    runtime.block_on(async {
        let bench = Workbench::connect(at).await?;
        bench.drop_database(name).await?;
        if existed {
            bench.create_database(name).await?;
        }
        Ok(())
    })
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    command
}

fn said(program: &str, output: &std::process::Output) -> OpsError {
    let text = String::from_utf8_lossy(&output.stderr);
    OpsError::Unavailable(format!(
        "{program}: {}",
        text.trim().lines().last().unwrap_or("failed without a word")
    ))
}

async fn container(image: &str, name: &str) -> Result<Provisioned, OpsError> {
    let password = crate::base::Secret::new(format!("{:032x}", rand::random::<u128>()));
    let started =
        docker(&["run", "--detach", "--publish", "127.0.0.1::5432", "--env", "POSTGRES_PASSWORD", image])
            .env("POSTGRES_PASSWORD", password.expose())
            .output()
            .map_err(|error| OpsError::Unavailable(format!("docker cannot be run: {error}")))?;
    if !started.status.success() {
        return Err(said("docker run", &started));
    }
    let id = String::from_utf8_lossy(&started.stdout).trim().to_owned();
    let nowhere = ConnectionSettings {
        host: "127.0.0.1".to_owned(),
        port: 0,
        user: "postgres".to_owned(),
        password: Some(password),
        database: name.to_owned(),
        tls: TlsMode::Disable,
        root_cert: None,
        client_cert: None,
        client_key: None,
        connect_timeout: 5,
    };
    // From here on it is removed, whatever fails.
    let mut made = Provisioned {
        database: nowhere,
        exists: false,
        kind: "container",
        note: format!("a container of {image}"),
        undo: Undo::Container(id.clone()),
    };
    let port = docker(&["port", &id, "5432/tcp"]).output();
    let port = port.map_err(|error| OpsError::Unavailable(error.to_string()))?;
    let printed = String::from_utf8_lossy(&port.stdout).into_owned();
    let number = printed.lines().next().and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
    made.database.port = number.ok_or_else(|| said("docker port", &port))?;
    let began = Instant::now();
    let server = made.database.with_database("postgres");
    loop {
        match Workbench::connect(&server).await {
            Ok(_) => return Ok(made),
            Err(error) if began.elapsed() > PATIENCE => {
                return Err(OpsError::Unavailable(format!(
                    "{image} started, but its server does not answer: {error}"
                )));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn scratch(
    settings: &ConnectionSettings,
    source: Option<&str>,
    allow_source: bool,
) -> Result<Provisioned, OpsError> {
    let server = settings.with_database("postgres");
    let unavailable = |error: PgError| OpsError::Unavailable(crate::base::chain(&error));
    let probe = Probe::connect(&server).await.map_err(unavailable)?;
    let facts = probe.facts().await?;
    if source.is_some() && facts.system_identifier.as_deref() == source && !allow_source {
        return Err(OpsError::Usage(format!(
            "{} is on the server that the backup came from (or a clone of it); a drill belongs elsewhere, \
             --allow-source-server says that it may be there",
            settings.describe()
        )));
    }
    let bench = Workbench::connect(&server).await?;
    let existed = bench.databases().await?.contains(&settings.database);
    if existed {
        refuse_non_empty(settings).await?;
    }
    Ok(Provisioned {
        database: settings.clone(),
        exists: existed,
        kind: "scratch",
        note: format!("a database on {}", server.describe()),
        undo: Undo::Database { at: server, name: settings.database.clone(), existed },
    })
}

/// A drill drops its database: one with anything in it is somebody's.
async fn refuse_non_empty(settings: &ConnectionSettings) -> Result<(), OpsError> {
    const OBJECTS: &str = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";
    let bench = Workbench::connect(settings).await?;
    let objects = bench.value("looking whether the database is empty", OBJECTS).await?;
    if objects.as_deref() == Some("0") {
        return Ok(());
    }
    Err(OpsError::Usage(format!(
        "the database {} is not empty, and a drill drops what it restores into; name one that does not exist",
        quote_ident(&settings.database)
    )))
}
