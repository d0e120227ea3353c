//! One piece: tuples → a Parquet file and its exceptions sidecar ([`PieceWriter`]), and back ([`PieceReader`]),
//! or to batches of some columns for a query ([`BatchReader`]).
//!
//! It knows sinks and sources, not paths; whoever opened a sink makes it durable.

mod auction;
mod batches;
mod cluster;
mod columns;
mod exceptions;
mod flat;
mod footer;
mod groups;
mod guard;
mod limits;
mod output;
mod overlay;
mod pages;
mod precedent;
mod reader;
mod schema;
mod segments;
mod sink;
mod thrift;
mod writer;

pub use batches::{BatchReader, ViewColumn, view_type};
pub use cluster::has_order;
pub use columns::{Beside, Crew};
pub use exceptions::FinishedExceptions;
pub use precedent::Precedent;
pub use reader::{PieceBounds, PieceReader};
pub use schema::{EXCEPTIONS_KEY, SCHEMA_KEY};
pub use writer::{FinishedPiece, FinishedSinks, LARGE_TUPLE, PieceLimits, PieceWriter, RowGroupDigest};

#[cfg(test)]
mod tests;
