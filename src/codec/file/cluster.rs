//! [`Cluster`]: rows on their way into a row group, held back for a while and put into the order of some columns.
//!
//! Bars arrive by time, one of each symbol in turn, so that neighbours have nothing in common. By symbol they do: differences
//! are small, texts repeat. The sort is stable, so that rows of one symbol keep the server's order, and it counts instead of
//! comparing: each column costs one pass over the rows, and sorting its different values.

use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, RecordBatch};
use arrow_cast::cast;
use arrow_ord::sort::sort_to_indices;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;

use crate::codec::CodecError;

/// Bytes that are held, about: bars of 200 symbols come in runs of two thousand.
pub(super) const RUN: usize = 32 << 20;

/// Rows and bytes that are handed out at once.
const BATCH_ROWS: usize = 16_384;
const BATCH_BYTES: usize = 4 << 20;

/// Whether rows can be put into the order of such a column: Arrow makes dictionaries of all but these.
pub fn has_order(data_type: &DataType) -> bool {
    !data_type.is_nested() && *data_type != DataType::Boolean
}

/// Rows that wait to be put in order.
pub(super) struct Cluster {
    /// Columns, the first one first.
    by: Vec<usize>,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Cluster {
    pub(super) fn new(by: Vec<usize>) -> Self {
        Self { by, batches: Vec::new(), bytes: 0 }
    }

    /// Large rows are not held back, and not copied once more.
    pub(super) fn takes(&self, batch: &RecordBatch) -> bool {
        batch.get_array_memory_size() < RUN / 2
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Hands out what is held, in order, a batch at a time.
    pub(super) fn take(
        &mut self,
        mut each: impl FnMut(&RecordBatch) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let (batches, bytes) = (std::mem::take(&mut self.batches), std::mem::take(&mut self.bytes));
        let Some(first) = batches.first() else { return Ok(()) };
        let (schema, order) = (first.schema(), self.order(&batches)?);
        let rows = (order.len().saturating_mul(BATCH_BYTES) / bytes.max(1)).clamp(1, BATCH_ROWS);
        let begins: Vec<usize> = begins(&batches).collect();
        let mut places = Vec::with_capacity(rows);
        for order in order.chunks(rows) {
            places.clear();
            places.extend(order.iter().map(|row| place(&begins, *row as usize)));
            each(&gather(&schema, &batches, &places)?)?;
        }
        Ok(())
    }

    /// The rows, counted through all batches, in the order in which they are wanted.
    fn order(&self, batches: &[RecordBatch]) -> Result<Vec<u32>, CodecError> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut order: Vec<u32> = (0..rows as u32).collect();
        // The last column first: each pass keeps the order of the one before where its own values are equal.
        for column in self.by.iter().rev() {
            let arrays: Vec<&dyn Array> =
                batches.iter().map(|batch| batch.column(*column).as_ref()).collect();
            order = sorted(&order, &Ranks::of(&concat(&arrays)?)?);
        }
        Ok(order)
    }
}

/// The values of a column by their place among all different ones; NULLs behind them.
struct Ranks {
    of_rows: Vec<u32>,
    /// One more than the largest.
    count: usize,
}

impl Ranks {
    fn of(column: &ArrayRef) -> Result<Self, CodecError> {
        let kind = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(column.data_type().clone()));
        let encoded = cast(column, &kind)?;
        let Some(encoded) = encoded.as_any().downcast_ref::<DictionaryArray<UInt32Type>>() else {
            return Err(CodecError::Piece("a column to cluster by has no dictionary".to_owned()));
        };
        let sorted = sort_to_indices(encoded.values(), None, None)?;
        let mut ranks = vec![0u32; sorted.len()];
        for (rank, value) in sorted.values().iter().enumerate() {
            ranks[*value as usize] = rank as u32;
        }
        let nulls = ranks.len() as u32;
        let keys = encoded.keys();
        let of_rows = match keys.null_count() {
            0 => keys.values().iter().map(|key| ranks[*key as usize]).collect(),
            _ => keys.iter().map(|key| key.map_or(nulls, |key| ranks[key as usize])).collect(),
        };
        Ok(Self { of_rows, count: ranks.len() + 1 })
    }
}

/// The rows of `order` by their ranks, otherwise as they stand.
fn sorted(order: &[u32], ranks: &Ranks) -> Vec<u32> {
    let mut starts = vec![0u32; ranks.count + 1];
    ranks.of_rows.iter().for_each(|rank| starts[*rank as usize + 1] += 1);
    for rank in 0..ranks.count {
        starts[rank + 1] += starts[rank];
    }
    let mut sorted = vec![0; order.len()];
    for row in order {
        let place = &mut starts[ranks.of_rows[*row as usize] as usize];
        sorted[*place as usize] = *row;
        *place += 1;
    }
    sorted
}

/// The first row of each batch.
fn begins(batches: &[RecordBatch]) -> impl Iterator<Item = usize> {
    batches.iter().scan(0, |next, batch| {
        let begin = *next;
        *next += batch.num_rows();
        Some(begin)
    })
}

/// The batch that a row is in, and which of its rows it is.
fn place(begins: &[usize], row: usize) -> (usize, usize) {
    let batch = begins.partition_point(|begin| *begin <= row) - 1;
    (batch, row - begins[batch])
}

fn gather(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    places: &[(usize, usize)],
) -> Result<RecordBatch, CodecError> {
    let column = |column: usize| {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        interleave(&arrays, places)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    type Row = (Option<String>, Option<i64>, i64);

    fn batch(rows: &[Row]) -> RecordBatch {
        let field = |name: &str, kind| Field::new(name, kind, true);
        let (text, number) = (field("a", DataType::Utf8), field("b", DataType::Int64));
        let schema = Arc::new(Schema::new(vec![text, number, field("n", DataType::Int64)]));
        let a: StringArray = rows.iter().map(|row| row.0.clone()).collect();
        let b: Int64Array = rows.iter().map(|row| row.1).collect();
        let n: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
        RecordBatch::try_new(schema, vec![Arc::new(a), Arc::new(b), Arc::new(n)]).unwrap()
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        let text = batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        let number = |column: usize| batch.column(column).as_any().downcast_ref::<Int64Array>().unwrap();
        let rows = text.iter().zip(number(1)).zip(number(2));
        rows.map(|((a, b), n)| (a.map(str::to_owned), b, n.unwrap())).collect()
    }

    proptest! {
        #[test]
        fn rows_come_in_order_and_equal_ones_as_they_came(
            values in prop::collection::vec((prop::option::of("[a-c]{0,2}"), prop::option::of(-2..3i64)), 0..200),
            cuts in prop::collection::vec(1..60usize, 1..8),
            both in any::<bool>(),
        ) {
            let all: Vec<Row> = values.into_iter().zip(0..).map(|((a, b), n)| (a, b, n)).collect();
            let by = if both { vec![0, 1] } else { vec![1] };
            let mut cluster = Cluster::new(by);
            let (mut rest, mut cuts) = (&all[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                cluster.push(batch(now));
                rest = later;
            }
            prop_assert_eq!(cluster.rows(), all.len());
            let mut found = Vec::new();
            cluster.take(|batch| { found.extend(rows(batch)); Ok(()) }).unwrap();
            // NULLs last, as in PostgreSQL.
            let mut expected = all.clone();
            expected.sort_by_key(|(a, b, _)| ((a.is_none(), a.clone()), (b.is_none(), *b)));
            if !both {
                expected = all;
                expected.sort_by_key(|(_, b, _)| (b.is_none(), *b));
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!((cluster.rows(), cluster.bytes()), (0, 0));
        }
    }
}
