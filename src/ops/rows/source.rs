//! [`Source`]: where the rows of a side are: pieces of a backup, or queries of a database.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Projection, Which};
use crate::base::TableName;
use crate::codec::CodecError;
use crate::manifest::{Mapping, Piece, Table};
use crate::ops::OpsError;
use crate::ops::compare::{Reading, digest_error};
use crate::ops::verify::checked_rows;
use crate::pg::Probe;
use crate::pipeline::digest::{OnRow, of_query};
use crate::store::Vault;

/// Takes the projected rows of both sides, first all of one, then all of the other.
pub(super) trait RowSink: Send + 'static {
    /// Takes one row.
    fn row(&mut self, side: Which, tuple: &[u8]) -> Result<(), CodecError>;
}

/// Rows of one table on one side.
pub(in crate::ops) struct Source<'a> {
    /// The table, for errors.
    pub(in crate::ops) table: &'a TableName,
    /// Where they are.
    pub(in crate::ops) rows: Rows<'a>,
    /// What of them is compared.
    pub(in crate::ops) projection: Projection,
}

/// Where rows are.
pub(in crate::ops) enum Rows<'a> {
    /// In pieces of a vault, each with its table.
    Stored { vault: &'a Vault, pieces: Vec<(&'a Table, &'a Piece)> },
    /// In a database, whose transaction has a mark to come back to.
    Live { probe: &'a Probe, readings: &'a [Reading], mappings: Vec<Mapping>, key: &'a [u8; 32] },
}

impl Source<'_> {
    /// Shows every row to the sink.
    pub(super) async fn feed<S: RowSink>(&self, side: Which, sink: &Arc<Mutex<S>>) -> Result<(), OpsError> {
        let projection = &self.projection;
        match &self.rows {
            Rows::Stored { vault, pieces } => {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                let mut room = Vec::new();
                for (table, piece) in pieces {
                    checked_rows(vault, table, piece, &mut |tuple| {
                        sink.row(side, projection.apply(tuple, &mut room)?)
                    })?;
                }
            }
            Rows::Live { probe, readings, mappings, key } => {
                for reading in *readings {
                    let (shared, projection) = (Arc::clone(sink), projection.clone());
                    let mut room = Vec::new();
                    let on_row: OnRow = Box::new(move |_, tuple| {
                        let tuple = projection.apply(tuple, &mut room)?;
                        shared.lock().unwrap_or_else(PoisonError::into_inner).row(side, tuple)
                    });
                    of_query(probe.client(), &reading.sql, mappings.clone(), key, on_row)
                        .await
                        .map_err(|error| digest_error(self.table, error))?;
                    if reading.units.is_some() {
                        // The locks of many chunks go with it.
                        probe.back().await?;
                    }
                }
            }
        }
        Ok(())
    }
}
