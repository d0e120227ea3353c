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
//! - [`pg`], [`store`]: servers, and vaults on disk
//! - [`pipeline`]: where connections, threads and files meet
//! - [`ops`]: one file per intention
//! - [`cli`]: arguments, progress, hints
//!
//! A test of another project that wants a database with its fixtures in it:
//!
//! ```no_run
//! use barkeep::ops::{Services, restore::{RestoreRequest, restore}};
//! use barkeep::pg::{ConnectionSettings, ProcessSurroundings};
//! use barkeep::store::{BackupChoice, Vault};
//!
//! # async fn fixtures() -> Result<(), Box<dyn std::error::Error>> {
//! let vault = Vault::open("fixtures/vault".as_ref())?;
//! let target = ConnectionSettings::resolve("postgres://postgres@localhost:5432/test_1", &ProcessSurroundings)?;
//! let mut request = RestoreRequest::new(&vault, BackupChoice::latest(), target);
//! request.create = true;
//! let report = restore(&request, &Services::default()).await?;
//! assert!(report.violations.is_empty());
//! # Ok(())
//! # }
//! ```

pub mod base;
pub mod catalog;
pub mod cli;
pub mod codec;
pub mod manifest;
pub mod ops;
pub mod pg;
pub mod pipeline;
pub mod plan;
pub mod store;
