//! Opening one connection and pinning everything on it that could hide rows, kill it, or change what values look like.

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::settings::{ConnectionSettings, TlsMode};
use super::{PgError, tls};

/// Settings pinned in every session. Each one has cost somebody rows:
/// a role's `statement_timeout` or `idle_in_transaction_session_timeout` kills a dump, `row_security = on` returns a
/// silent subset, a `search_path` changes what names mean, `extra_float_digits` what floats look like as text, and
/// `synchronize_seqscans` shuffles rows between runs.
const PINNED: &str = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
     SET row_security = off; SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; \
     SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = content; \
     SET synchronize_seqscans = off; SET standard_conforming_strings = on; SET client_min_messages = warning; \
     SET check_function_bodies = off; SET default_transaction_read_only = off";

/// Opens a connection, without pinning anything.
pub(super) async fn open(settings: &ConnectionSettings, application: &str) -> Result<Client, PgError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name(application)
        .connect_timeout(Duration::from_secs(settings.connect_timeout))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(60))
        .ssl_mode(match settings.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    let failed = |source| PgError::Connect { target: settings.describe(), source: Box::new(source) };
    if settings.tls == TlsMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        tokio::spawn(drive(connection));
        return Ok(client);
    }
    let connector =
        tls::connector(settings).map_err(|source| PgError::Tls { target: settings.describe(), source })?;
    let (client, connection) = config.connect(connector).await.map_err(failed)?;
    tokio::spawn(drive(connection));
    Ok(client)
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
pub(super) async fn open_pinned(settings: &ConnectionSettings, application: &str) -> Result<Client, PgError> {
    let client = open(settings, application).await?;
    let version = server_version(&client).await?;
    let mut pinned = PINNED.to_owned();
    if version >= 170_000 {
        pinned.push_str("; SET transaction_timeout = 0");
    }
    if version >= 140_000 {
        pinned.push_str("; SET idle_session_timeout = 0");
    }
    client
        .batch_execute(&pinned)
        .await
        .map_err(|error| PgError::query("pinning the session's settings", error))?;
    let encoding: String = client
        .query_one("SELECT pg_catalog.current_setting('server_encoding')", &[])
        .await
        .map_err(|error| PgError::query("reading server_encoding", error))?
        .get(0);
    if encoding == "SQL_ASCII" {
        // Under SQL_ASCII the bytes are whatever they are; any conversion would fail on the first that is not UTF-8.
        let sql = "SET client_encoding = 'SQL_ASCII'";
        client.batch_execute(sql).await.map_err(|error| PgError::query(sql, error))?;
    }
    Ok(client)
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
