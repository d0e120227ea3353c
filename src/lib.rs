//! barkeep: a logical dumper with an integrity suite for PostgreSQL trading databases.
//!
//! It dumps tables over binary COPY into Parquet pieces with a blake3 manifest, restores them, and proves that the
//! restored rows are the dumped rows. The command line is a thin skin over [`ops`], which is where to start reading:
//! `ops/dump.rs`, then [`pipeline`], then [`codec`].
//!
//! - [`base`]: names, digests, time, secrets, events
//! - [`catalog`]: what a database consists of, as data
//! - [`manifest`]: the document that makes a backup exist
//! - [`codec`]: COPY binary ⇄ Arrow ⇄ Parquet, and the rowset digest; pure
//! - [`plan`]: what to do, decided without doing it
//! - [`checks`]: questions about the data, and judgement of the answers
//! - [`report`]: what a check or a drill found, for people who were not there
//! - [`pg`], [`store`]: servers, and vaults on disk
//! - `query`: SQL on the files of a backup
//! - [`pipeline`]: where connections, threads and files meet
//! - [`ops`]: one file per intention
//! - [`cli`]: arguments, progress, hints
//!
//! A test of another project that wants a database with its fixtures in it needs no server but the binaries of one:
//!
//! ```
//! use barkeep::ops::{Services, restore::{RestoreRequest, restore}};
//! use barkeep::pg::{throwaway::Throwaway, workbench::Workbench};
//! use barkeep::store::{BackupChoice, Vault};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Throwaway::start(&Default::default())?;
//! let database = server.settings("fixtures");
//!
//! let vault = Vault::open("fixtures/vaults/format-1".as_ref())?;
//! let mut request = RestoreRequest::new(&vault, BackupChoice::latest(), database.clone());
//! request.create = true;
//! restore(&request, &Services::default()).await?;
//!
//! let session = Workbench::connect(&database).await?;
//! let orders = session.value("counting the orders", "SELECT count(*) FROM orders").await?;
//! assert_eq!(orders.as_deref(), Some("900"));
//! # Ok(())
//! # }
//! ```

pub mod base;
pub mod catalog;
pub mod checks;
pub mod cli;
pub mod codec;
pub mod manifest;
pub mod ops;
pub mod pg;
pub mod pipeline;
pub mod plan;
#[cfg(feature = "query")]
pub mod query;
pub mod report;
pub mod store;
