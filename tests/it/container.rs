//! PostgreSQL 17 from the test image (`BARKEEP_TEST_IMAGE`), through testcontainers.

use barkeep::pg::{ConnectionSettings, ProcessSurroundings};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage};

/// A running container; removed when dropped.
pub(crate) struct Server {
    container: ContainerAsync<GenericImage>,
    port: u16,
}

/// Starts one. There is no fallback: a machine without Docker fails here, and says why.
pub(crate) async fn start() -> Server {
    let image = std::env::var("BARKEEP_TEST_IMAGE").unwrap_or_else(|_| "barkeep-test:pg17".to_owned());
    let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    let container = GenericImage::new(name, tag)
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::message_on_either_std("database system is ready to accept connections"))
        .start()
        .await
        .unwrap_or_else(|error| panic!("the image {image} does not start ({error}); `make test` builds it"));
    let port = container.get_host_port_ipv4(5432).await.unwrap();
    Server { container, port }
}

impl Server {
    /// The server's own database.
    pub(crate) fn settings(&self) -> ConnectionSettings {
        let uri = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        ConnectionSettings::resolve(&uri, &ProcessSurroundings).unwrap()
    }

    /// The pg_dump inside the container, which fits the server; it shares the container's network, so the port differs.
    pub(crate) fn pg_dump(&self) -> String {
        let inside = "env PGHOST=127.0.0.1 PGPORT=5432 pg_dump";
        format!("docker exec -i {} {inside}", self.container.id())
    }
}
