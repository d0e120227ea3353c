//! Which rows two sides do not have in common, in bounded memory, with or without a key, wherever the sides are read from.
//!
//! Rows are summed into buckets by their key, those of one side added and those of the other subtracted; only rows of
//! buckets that do not come to nothing are looked at again (`docs/decisions/0003`). What is held then is paired by key.

mod pairs;
mod projection;
mod sieve;
mod source;

use std::sync::{Arc, Mutex, PoisonError};

use super::OpsError;
use crate::base::Digest;
use crate::codec::CodecError;
use crate::codec::column::display;
use crate::manifest::Mapping;

use pairs::Held;
pub(super) use pairs::{Difference, Found};
pub(super) use projection::{Field, Projection, fields_of};
use sieve::{Plan, Sieve};
use source::RowSink;
pub(super) use source::{Rows, Source};

/// Bytes of a value above which nobody reads it: there is no memory for two versions of it and their texts.
const READABLE: usize = 1 << 20;

/// Which of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The first: its rows are removed ones where the other lacks them.
    A,
    /// The second: its rows are added ones.
    B,
}

/// What is looked for.
pub(super) struct Search<'a> {
    /// The vault's secret under which rows are hashed.
    pub(super) key: &'a [u8; 32],
    /// Rows of both sides, about: how finely the buckets are cut.
    pub(super) rows: u64,
    /// The mapping of each column of a projected tuple, by which its keys are put in order.
    pub(super) mappings: &'a [Mapping],
    /// Columns of the key, as places in a projected tuple; none: the whole row.
    pub(super) keyed_by: &'a [usize],
    /// At most so many rows of each side are given back.
    pub(super) sample: usize,
}

/// The rows that only one of `a` and `b` has. Both are read twice, or three times where many differ in a large table.
pub(super) async fn differences(
    search: &Search<'_>,
    a: &Source<'_>,
    b: &Source<'_>,
) -> Result<Found, OpsError> {
    let mut sieve = Sieve::new(search.key, search.keyed_by, search.rows);
    loop {
        match pass(sieve, a, b).await?.plan() {
            Plan::Refine(finer) => sieve = finer,
            Plan::Collect(_, wanted) if wanted.is_empty() => return Ok(Found::none()),
            Plan::Collect(hasher, wanted) => {
                return Ok(pass(Held::new(hasher, wanted), a, b).await?.pair(search));
            }
        }
    }
}

/// Shows every row of both sides to a sink.
async fn pass<S: RowSink>(sink: S, a: &Source<'_>, b: &Source<'_>) -> Result<S, OpsError> {
    let shared = Arc::new(Mutex::new(sink));
    a.feed(Which::A, &shared).await?;
    b.feed(Which::B, &shared).await?;
    let gone = || OpsError::Internal("a thread still holds the rows that differ".to_owned());
    let sink = Arc::into_inner(shared).ok_or_else(gone)?;
    Ok(sink.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The columns of a tuple as text; NULL is absent.
pub(super) fn texts<'n>(
    names: impl IntoIterator<Item = &'n String>,
    mappings: &[Mapping],
    tuple: &[u8],
) -> Result<Vec<(String, Option<String>)>, CodecError> {
    let fields = fields_of(tuple)?;
    let columns = names.into_iter().zip(mappings).zip(fields);
    columns
        .map(|((name, mapping), field)| {
            let value = tuple.get(field.start + 4..field.end).filter(|_| !field.is_null(tuple));
            let text = value.map(|wire| match wire.len() {
                large if large > READABLE => Ok(format!("({large} bytes, blake3 {})", Digest::of(wire))),
                _ => display(mapping, wire),
            });
            Ok((name.clone(), text.transpose()?))
        })
        .collect()
}
