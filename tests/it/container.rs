//! PostgreSQL 17 from the test image (`BARKEEP_TEST_IMAGE`), through testcontainers; or a server of one's own
//! (`BARKEEP_TEST_SERVER`).

use std::time::Duration;

use barkeep::pg::workbench::Workbench;
use barkeep::pg::{ConnectionSettings, ProcessSurroundings};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

/// A server to test against; its container, if it has one, is removed when this is dropped.
pub(crate) struct Server {
    settings: ConnectionSettings,
    container: Option<ContainerAsync<GenericImage>>,
}

/// Starts one. There is no fallback: a machine without Docker fails here, and says why.
pub(crate) async fn start() -> Server {
    start_with(&[]).await
}

/// The same with settings of the server: `timescaledb.license=apache`.
pub(crate) async fn start_with(settings: &[&str]) -> Server {
    if let Ok(uri) = std::env::var("BARKEEP_TEST_SERVER") {
        let settings = ConnectionSettings::resolve(&uri, &ProcessSurroundings).unwrap();
        return Server { settings, container: None };
    }
    let image = std::env::var("BARKEEP_TEST_IMAGE").unwrap_or_else(|_| "barkeep-test:pg17".to_owned());
    let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    // The images' own command, with more behind it; none at all leaves it to the image.
    let given = settings.iter().flat_map(|setting| ["-c", setting]);
    let command: Vec<&str> = std::iter::once("postgres").chain(given).collect();
    let command = if settings.is_empty() { Vec::new() } else { command };
    let container = GenericImage::new(name, tag)
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::message_on_either_std("database system is ready to accept connections"))
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_cmd(command)
        .start()
        .await
        .unwrap_or_else(|error| panic!("the image {image} does not start ({error}); `make test` builds it"));
    let port = container.get_host_port_ipv4(5432).await.unwrap();
    let uri = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let settings = ConnectionSettings::resolve(&uri, &ProcessSurroundings).unwrap();
    // The public images say that they are ready while they set themselves up, and restart afterwards.
    for _ in 0..120 {
        if Workbench::connect(&settings).await.is_ok() {
            return Server { settings, container: Some(container) };
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the image {image} started, but nobody answers at port {port} after a minute");
}

impl Server {
    /// The server's own database.
    pub(crate) fn settings(&self) -> ConnectionSettings {
        self.settings.clone()
    }

    /// A pg_dump that fits the server: the one inside the container, which shares the container's network, so the port
    /// differs; or the newest of this machine.
    pub(crate) fn pg_dump(&self) -> Option<String> {
        let container = self.container.as_ref()?;
        let inside = "env PGHOST=127.0.0.1 PGPORT=5432 pg_dump";
        Some(format!("docker exec -i {} {inside}", container.id()))
    }
}
