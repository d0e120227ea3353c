//! TimescaleDB's part of a restore and of a comparison, decided without a server: which public functions to call, what
//! becomes of entries where the target has less, and by which ranges rows are compared.

pub mod calls;
pub mod entries;
pub mod jobs;
pub mod partitions;
pub mod ranges;
