//! One column: wire values → Arrow array ([`ColumnBuilder`]), and back ([`ColumnEncoder`]).
//!
//! The law of this module: for every wire value `w` either `encode(decode(w)) == canonical(w)` byte for byte, or the
//! builder says [`Pushed::Exception`] and the caller keeps the bytes. Bytes that are no value at all are an error.
//! Nothing here knows where a value comes from or what its column is called.

mod builder;
mod canonical;
mod cells;
mod display;
mod encoder;
mod fits;
mod half;
mod nested;
mod numeric;
mod printed;
mod quick;
mod scalar;
mod strip;
mod text;
mod types;

pub use builder::{ColumnBuilder, Pushed};
pub use canonical::{canonical_tuple, canonicalise};
pub use display::{cell_text, display, text_of, uuid};
pub use encoder::ColumnEncoder;
pub use fits::fits;
pub use strip::{STRIP, Strip};
pub use types::arrow_type;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
