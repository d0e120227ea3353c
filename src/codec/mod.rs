//! The codec: COPY binary ⇄ Arrow ⇄ Parquet, and the rowset digest. Pure and synchronous.
//!
//! The way of a row out: [`copy`] cuts the stream into tuples, [`mod@column`] makes them canonical and decodes them,
//! [`rowset`] hashes them, [`mod@file`] writes the piece. The way home is [`mod@file`]'s reader, which gives canonical tuples
//! back. Nothing here knows a connection, a clock or a path.

pub mod column;
pub mod copy;
mod error;
pub mod file;
pub mod rowset;
pub mod shape;
mod wire;

pub use error::CodecError;

/// The tests' wire values by mapping, as the first inputs of the fuzz targets.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn samples() -> Vec<(crate::manifest::Mapping, Vec<Vec<u8>>)> {
    column::samples::all()
}
