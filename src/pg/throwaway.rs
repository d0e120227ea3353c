//! [`Throwaway`]: a PostgreSQL server of one's own for a while: made from the binaries on this machine, in a temporary
//! folder, and gone with the value. For the demo, for tests, and for drills.
//!
//! It is not durable on purpose (`fsync` off) and trusts everybody who reaches its socket or its loopback port.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{ConnectionSettings, TlsMode};

/// Why there is no throw-away server.
#[derive(Debug, thiserror::Error)]
pub enum ThrowawayError {
    /// No binaries of a version that is supported.
    #[error("no PostgreSQL server binaries of version {wanted} were found (looked in {})", looked.join(", "))]
    NoBinaries {
        /// What was wanted.
        wanted: String,
        /// Where was looked.
        looked: Vec<String>,
    },
    /// The disk said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A server may not run as root, and there is no other user to run it as.
    #[error("PostgreSQL refuses to run as root, and this machine has neither the user postgres nor nobody")]
    NoUser,
    /// A program of the server failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// Which.
        program: String,
        /// The end of what it printed.
        message: String,
    },
    /// It did not get ready in time.
    #[error("the throw-away server was not ready after {seconds} s: {log}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
}

/// What kind of server is wanted.
#[derive(Debug, Clone, Default)]
pub struct ThrowawayOptions {
    /// A major version; the newest found otherwise.
    pub version: Option<u32>,
    /// Further server settings, each `name=value`; they win over the built-in ones.
    pub settings: Vec<String>,
    /// Where its temporary folder is made; the system's place otherwise.
    pub directory: Option<PathBuf>,
}

/// A running server. Dropping it stops the server and removes everything.
#[derive(Debug)]
pub struct Throwaway {
    folder: PathBuf,
    bin: PathBuf,
    version: u32,
    port: u16,
    owner: Option<(u32, u32)>,
    postmaster: Option<Child>,
}

/// Oldest version that barkeep works with.
const OLDEST: u32 = 14;

/// First start of a cold machine included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Folders with one subfolder a version: (parent, prefix of the name, what comes after).
const VERSIONED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
];

/// Folders that are a `bin` themselves.
const SINGLE: [&str; 3] = ["/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql/bin", "/usr/local/bin"];

/// Server binaries found on this machine as (major version, `bin` folder), newest first.
pub fn binaries() -> Vec<(u32, PathBuf)> {
    let versioned = VERSIONED.iter().flat_map(|(parent, prefix)| {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
            .map(|entry| entry.path().join("bin"))
            .collect::<Vec<_>>()
    });
    let mut found: Vec<(u32, PathBuf)> = versioned
        .chain(SINGLE.iter().map(PathBuf::from))
        .filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .filter_map(|bin| Some((major_version(&bin)?, bin)))
        .filter(|(version, _)| *version >= OLDEST)
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found
}

fn major_version(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Throwaway {
    /// Makes a cluster and starts it. Blocks for a second or two.
    pub fn start(options: &ThrowawayOptions) -> Result<Self, ThrowawayError> {
        let wanted = |version: u32| options.version.is_none_or(|wanted| wanted == version);
        let (version, bin) =
            binaries().into_iter().find(|(version, _)| wanted(*version)).ok_or_else(|| {
                ThrowawayError::NoBinaries {
                    wanted: options
                        .version
                        .map_or(format!("{OLDEST} or later"), |version| version.to_string()),
                    looked: VERSIONED
                        .iter()
                        .map(|(parent, _)| *parent)
                        .chain(SINGLE)
                        .map(str::to_owned)
                        .collect(),
                }
            })?;
        let folder = make_folder(options.directory.clone().unwrap_or_else(std::env::temp_dir))?;
        // From here on Drop removes the folder, whatever fails.
        let mut server = Self { folder, bin, version, port: 0, owner: None, postmaster: None };
        server.owner = server.choose_owner()?;
        server.initdb()?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            server.port = free_port()?;
            server.launch(&options.settings)?;
            match server.wait_until_ready() {
                // Somebody else may have taken the port between our look and the server's bind.
                Err(ThrowawayError::Failed { message, .. }) if attempt < 3 && message.contains("in use") => {
                    server.postmaster = None;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    /// Its major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Its port on 127.0.0.1, for programs that know no sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.folder
    }

    /// How to reach a database as the superuser `postgres`, through the socket.
    pub fn settings(&self, database: &str) -> ConnectionSettings {
        self.settings_for("postgres", database)
    }

    /// How to reach a database as some role, through the socket.
    pub fn settings_for(&self, user: &str, database: &str) -> ConnectionSettings {
        ConnectionSettings {
            host: self.folder.display().to_string(),
            port: self.port,
            user: user.to_owned(),
            password: None,
            database: database.to_owned(),
            tls: TlsMode::Disable,
            root_cert: None,
            client_cert: None,
            client_key: None,
            connect_timeout: 30,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Root hands its children to another user. Our own user id is the owner of a folder we made.
    fn choose_owner(&self) -> Result<Option<(u32, u32)>, ThrowawayError> {
        let made = fs::metadata(&self.folder).map_err(io("read", &self.folder))?;
        if made.uid() != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(io("read", Path::new("/etc/passwd")))?;
        let ids = |user: &str| {
            let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let (uid, gid): (u32, u32) =
            ids("postgres").or_else(|| ids("nobody")).ok_or(ThrowawayError::NoUser)?;
        std::os::unix::fs::chown(&self.folder, Some(uid), Some(gid))
            .map_err(io("change the owner of", &self.folder))?;
        Ok(Some((uid, gid)))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // The caller's working directory may be closed to the server's user. No locale of the caller's either.
        command.current_dir(&self.folder).env("LC_ALL", "C").stdin(Stdio::null());
        for name in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGPASSWORD", "PGSERVICE", "PGOPTIONS"] {
            command.env_remove(name);
        }
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn initdb(&self) -> Result<(), ThrowawayError> {
        let output = self
            .command("initdb")
            .arg("--pgdata")
            .arg(self.data())
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .output()
            .map_err(io("run", &self.bin.join("initdb")))?;
        if output.status.success() {
            return Ok(());
        }
        let message = tail(&String::from_utf8_lossy(&output.stderr));
        Err(ThrowawayError::Failed { program: "initdb".to_owned(), message })
    }

    fn launch(&mut self, extra: &[String]) -> Result<(), ThrowawayError> {
        let log = fs::File::create(self.log()).map_err(io("create", &self.log()))?;
        let copy = log.try_clone().map_err(io("open", &self.log()))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let own = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.display()),
            "fsync=off".to_owned(),
            "synchronous_commit=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "max_wal_size=2GB".to_owned(),
            "logging_collector=off".to_owned(),
        ];
        for setting in own.iter().chain(extra) {
            command.args(["-c", setting]);
        }
        // A group of its own: Ctrl-C at the terminal must reach barkeep first, which then stops the server.
        command.stdout(log).stderr(copy).process_group(0);
        self.postmaster = Some(command.spawn().map_err(io("run", &self.bin.join("postgres")))?);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<(), ThrowawayError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            // The eighth line of postmaster.pid is the server's state, since PostgreSQL 10.
            let state = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            if state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if let Some(Ok(Some(status))) = self.postmaster.as_mut().map(Child::try_wait) {
                let message = format!("{status}: {}", self.log_tail());
                return Err(ThrowawayError::Failed { program: "postgres".to_owned(), message });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(ThrowawayError::NotReady { seconds: PATIENCE.as_secs(), log: self.log_tail() })
    }

    fn log_tail(&self) -> String {
        let mut text = String::new();
        if let Ok(file) = fs::File::open(self.log()) {
            // What cannot be read is not in the message; the error itself stands.
            let _ = file.take(1 << 20).read_to_string(&mut text);
        }
        tail(&text)
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            let stop = self
                .command("pg_ctl")
                .args(["stop", "--silent", "-m", "immediate", "-w", "-t", "10", "-D"])
                .arg(self.data())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !stop.is_ok_and(|status| status.success())
                && let Err(error) = postmaster.kill()
            {
                tracing::debug!(%error, "the throw-away server was gone already");
            }
            if let Err(error) = postmaster.wait() {
                tracing::warn!(%error, "the throw-away server cannot be waited for");
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "the throw-away server's folder stays behind");
        }
    }
}

/// A folder of our own with a short name: the path of a Unix socket may have 107 bytes at most.
fn make_folder(parent: PathBuf) -> Result<PathBuf, ThrowawayError> {
    let parent = if parent.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { parent };
    let folder = parent.join(format!("barkeep-{:08x}", rand::random::<u32>()));
    fs::create_dir(&folder).map_err(io("create", &folder))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(io("protect", &folder))?;
    Ok(folder)
}

fn free_port() -> Result<u16, ThrowawayError> {
    let failed = |source| ThrowawayError::Io { doing: "listen on", path: "127.0.0.1".into(), source };
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ThrowawayError {
    let path = path.to_owned();
    move |source| ThrowawayError::Io { doing, path, source }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::workbench::Workbench;

    #[tokio::test]
    async fn a_throw_away_server_answers_and_leaves_nothing_behind() {
        let options = ThrowawayOptions { settings: vec!["work_mem=5MB".to_owned()], ..Default::default() };
        let server = Throwaway::start(&options).unwrap();
        let bench = Workbench::connect(&server.settings("postgres")).await.unwrap();
        let value = bench.value("asking", "SHOW work_mem").await.unwrap();
        assert_eq!(value.as_deref(), Some("5MB"));
        let mut loopback = server.settings("postgres");
        loopback.host = "127.0.0.1".to_owned();
        assert!(Workbench::connect(&loopback).await.is_ok());
        let folder = server.socket_directory().to_owned();
        drop(server);
        assert!(!folder.exists());
        assert!(Workbench::connect(&loopback).await.is_err(), "it must be gone");
    }

    #[test]
    fn a_version_nobody_has_is_named_in_the_error() {
        let options = ThrowawayOptions { version: Some(9_999), ..Default::default() };
        let error = Throwaway::start(&options).unwrap_err().to_string();
        assert!(error.contains("9999"), "{error}");
    }
}
