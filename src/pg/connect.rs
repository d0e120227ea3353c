//! Opening one connection and pinning everything on it that could hide rows, kill it, or change what values look like.

use std::ops::Deref;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::intake::Intake;
use super::settings::{ConnectionSettings, TlsMode};
use super::tap::{CopyEnd, Listener, Tap, TappedTls};
use super::timescale::SAFE_SETTINGS;
use super::{PgError, ascii_names, tls};
use crate::base::TableName;

/// Given in the startup packet, because a role's own timeouts would otherwise end the session before its first
/// statement could switch them off. The last one is a mark: where it is missing, somebody sits in between.
pub const STARTUP_OPTIONS: &str = "-c statement_timeout=0 -c lock_timeout=0 \
     -c idle_in_transaction_session_timeout=0 -c barkeep.direct=yes";

/// Settings pinned in every session. Each one has cost somebody rows:
/// a role's `statement_timeout` or `idle_in_transaction_session_timeout` kills a dump, `row_security = on` returns a
/// silent subset, a `search_path` changes what names mean, `extra_float_digits` what floats look like as text, and
/// `synchronize_seqscans` shuffles rows between runs.
const PINNED: &str = "SET row_security = off; SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; \
     SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = content; \
     SET synchronize_seqscans = off; SET standard_conforming_strings = on; SET client_min_messages = warning; \
     SET check_function_bodies = off; SET default_transaction_read_only = off";

/// A connection to a server.
pub struct Session {
    client: Client,
    /// How its newest COPY ended.
    pub(super) copies: watch::Receiver<Option<CopyEnd>>,
    /// Where the rows of its COPY go.
    pub(super) intake: Arc<Intake>,
    settings: ConnectionSettings,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    /// Asks the server to end the statement that is running; it answers with an error on this connection.
    pub async fn cancel(&self) -> Result<(), PgError> {
        let target = || self.settings.describe();
        let wire = reach(&self.settings).await?;
        let token = self.client.cancel_token();
        let cancelled = if encrypts(&self.settings) {
            token.cancel_query_raw(wire, tls::connect::<Wire>(&self.settings)?).await
        } else {
            token.cancel_query_raw(wire, NoTls).await
        };
        cancelled.map_err(|source| PgError::Connect { target: target(), source: Box::new(source) })
    }

    /// Makes a table's statistics. Gives what to warn of where they cannot be: its rows are no worse for it.
    pub async fn analyze(&self, table: &TableName) -> Result<(), String> {
        let analyzed = self.client.batch_execute(&format!("ANALYZE {}", table.sql())).await;
        analyzed.map_err(|error| format!("{table} could not be analyzed: {error}"))
    }
}

/// What the protocol can be spoken over.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}
type Wire = Box<dyn Bytes>;

/// Bytes that may wait in a Unix socket for the server; the kernel takes less where it allows less. It wakes who sends only when
/// three quarters are gone, and of the usual 208 KiB the rest is read before a thread of a restore has got a processor: with this
/// one lane of ten million bars takes a sixteenth less. TCP finds its own size.
const SEND_BUFFER: usize = 1 << 20;

/// Opens the socket.
async fn reach(settings: &ConnectionSettings) -> Result<Wire, PgError> {
    let opened = async {
        if is_socket_directory(&settings.host) {
            let path = Path::new(&settings.host).join(format!(".s.PGSQL.{}", settings.port));
            let stream = UnixStream::connect(path).await?;
            // A smaller one is slower, no more.
            if let Err(error) = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER) {
                tracing::debug!(%error, "the socket keeps the size it has");
            }
            return Ok::<Wire, std::io::Error>(Box::new(stream));
        }
        let stream = TcpStream::connect((settings.host.clone(), settings.port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Box::new(stream))
    };
    opened.await.map_err(|source| PgError::Unreachable { target: settings.describe(), source })
}

fn is_socket_directory(host: &str) -> bool {
    host.starts_with('/')
}

/// As in libpq, a Unix socket is never encrypted.
fn encrypts(settings: &ConnectionSettings) -> bool {
    settings.tls != TlsMode::Disable && !is_socket_directory(&settings.host)
}

/// Opens a connection, without pinning anything by statements. As in libpq, `connect_timeout` is for all of it, the login
/// included, and 0 waits for ever.
pub(super) async fn open(settings: &ConnectionSettings, application: &str) -> Result<Session, PgError> {
    let opened = log_in(settings, application);
    let seconds = settings.connect_timeout;
    if seconds == 0 {
        return opened.await;
    }
    match tokio::time::timeout(Duration::from_secs(seconds), opened).await {
        Ok(opened) => opened,
        Err(_) => {
            let late = std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer within {seconds} s (connect_timeout)"),
            );
            Err(PgError::Unreachable { target: settings.describe(), source: late })
        }
    }
}

async fn log_in(settings: &ConnectionSettings, application: &str) -> Result<Session, PgError> {
    let mut config = tokio_postgres::Config::new();
    config.user(&settings.user).dbname(&settings.database).application_name(application);
    config.options(STARTUP_OPTIONS);
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    let failed = |source| login_failure(settings, source);
    let (told, copies) = watch::channel(None);
    let intake = Arc::new(Intake::default());
    let listener = Listener { told, intake: Arc::clone(&intake) };
    let wire = reach(settings).await?;
    let client = if encrypts(settings) {
        config.ssl_mode(if settings.tls == TlsMode::Prefer { SslMode::Prefer } else { SslMode::Require });
        let connect = TappedTls { connect: tls::connect::<Tap<Wire>>(settings)?, listener: listener.clone() };
        let (client, connection) =
            sendable(config.connect_raw(Tap::before_tls(wire, listener), connect)).await.map_err(failed)?;
        tokio::spawn(drive(connection));
        client
    } else {
        let (client, connection) =
            sendable(config.connect_raw(Tap::plain(wire, listener), NoTls)).await.map_err(failed)?;
        tokio::spawn(drive(connection));
        client
    };
    Ok(Session { client, copies, intake, settings: settings.clone() })
}

/// The same future, known to be `Send` here, where its types are concrete: further out the compiler cannot tell any more.
fn sendable<'a, T>(
    future: impl Future<Output = T> + Send + 'a,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}

fn login_failure(settings: &ConnectionSettings, source: tokio_postgres::Error) -> PgError {
    let target = settings.describe();
    // PgBouncer's own words; it knows no options, or none but its own.
    let pooled =
        source.as_db_error().is_some_and(|error| error.message().contains("unsupported startup parameter"));
    if pooled { PgError::Pooler { target } } else { PgError::Connect { target, source: Box::new(source) } }
}

/// Runs the connection until the client is dropped. Its error also reaches whoever awaits the client, so it is only
/// worth a debug line here.
async fn drive<F>(connection: F)
where
    F: Future<Output = Result<(), tokio_postgres::Error>>,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Opens a connection and pins its session.
pub(super) async fn open_pinned(
    settings: &ConnectionSettings,
    application: &str,
) -> Result<Session, PgError> {
    let session = open(settings, application).await?;
    let version = server_version(&session).await?;
    if !is_direct(&session).await? {
        return Err(PgError::Pooler { target: settings.describe() });
    }
    let mut pinned = PINNED.to_owned();
    if version >= 170_000 {
        pinned.push_str("; SET transaction_timeout = 0");
    }
    if version >= 140_000 {
        pinned.push_str("; SET idle_session_timeout = 0");
    }
    session
        .batch_execute(&pinned)
        .await
        .map_err(|error| PgError::query("pinning the session's settings", error))?;
    pin_timescale(&session).await?;
    let encoding: String = session
        .query_one("SELECT pg_catalog.current_setting('server_encoding')", &[])
        .await
        .map_err(|error| PgError::query("reading server_encoding", error))?
        .get(0);
    if encoding == "SQL_ASCII" {
        // Under SQL_ASCII the bytes are whatever they are; any conversion would fail on the first that is not UTF-8.
        let sql = "SET client_encoding = 'SQL_ASCII'";
        session.batch_execute(sql).await.map_err(|error| PgError::query(sql, error))?;
        ascii_names::refuse_foreign(&session, &settings.describe()).await?;
    }
    Ok(session)
}

/// TimescaleDB's settings exist only where it is loaded, and not all in every version.
async fn pin_timescale(session: &Client) -> Result<(), PgError> {
    let list: Vec<String> =
        SAFE_SETTINGS.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    let sql = format!(
        "SELECT pg_catalog.set_config(s.name, w.value, false) FROM pg_catalog.pg_settings s \
         JOIN (VALUES {}) AS w(name, value) ON w.name = s.name WHERE s.setting <> w.value",
        list.join(", ")
    );
    session.batch_execute(&sql).await.map_err(|error| PgError::query("pinning TimescaleDB's settings", error))
}

/// Whether the startup options reached the session this statement runs in. A pooler drops them, and what is pinned
/// through it would stay behind in other clients' sessions.
async fn is_direct(client: &Client) -> Result<bool, PgError> {
    let sql = "SELECT pg_catalog.current_setting('barkeep.direct', true) IS NOT DISTINCT FROM 'yes'";
    let row =
        client.query_one(sql, &[]).await.map_err(|error| PgError::query("looking for a pooler", error))?;
    Ok(row.get(0))
}

/// `server_version_num`.
pub(super) async fn server_version(client: &Client) -> Result<u32, PgError> {
    let rows = client
        .simple_query("SHOW server_version_num")
        .await
        .map_err(|error| PgError::query("SHOW server_version_num", error))?;
    rows.iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse().ok()),
            _ => None,
        })
        .ok_or(PgError::Unexpected("server_version_num is not a number"))
}
