//! What to do, decided without doing it: pure functions from a catalog or a manifest to work.

pub mod chunks;
pub mod cluster;
pub mod copy;
pub mod ddl;
pub mod dump;
pub mod load;
pub mod mapping;
pub mod selection;
pub mod timescale;
pub mod units;
