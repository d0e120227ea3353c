//! [`Precedent`]: what the auctions of a table's first unit came to, so that the other units need not hold them again.
//!
//! An auction writes a column's first rows five to seven times; most units of a table are like the first. Each column of a unit still shows
//! in one or two samples that it is like that one's, or its auction is held again: rows of a column that was added later, or
//! sorted since, are not like the first ones. Nobody waits for the first unit, which may have no row for an hour.

use std::sync::{Arc, OnceLock};

use super::auction::Won;

/// Files of one table, or of tables that are read as one, share it. Without, each file stands alone.
#[derive(Debug, Clone, Default)]
pub struct Precedent {
    held: Arc<OnceLock<Held>>,
    sets: bool,
}

/// The auctions of a file.
#[derive(Debug)]
struct Held {
    /// Rows that its row groups would have, by which the weight of dictionaries is reckoned.
    group_rows: usize,
    /// By column; `None` where there was nothing to choose.
    columns: Vec<Option<Won>>,
}

impl Precedent {
    /// For the first file, which sets it.
    pub fn first() -> Self {
        Self { sets: true, ..Self::default() }
    }

    /// For the others, which go by it where they find it.
    #[must_use]
    pub fn for_others(&self) -> Self {
        Self { held: Arc::clone(&self.held), sets: false }
    }

    /// What the column's auction came to, if it was one for row groups of about this size.
    pub(super) fn of(&self, column: usize, group_rows: usize) -> Option<&Won> {
        let held = self.held.get()?;
        let alike = group_rows <= 2 * held.group_rows && held.group_rows <= 2 * group_rows;
        if alike { held.columns.get(column)?.as_ref() } else { None }
    }

    /// Notes a file's auctions, if it is the first.
    pub(super) fn note(&self, group_rows: usize, columns: Vec<Option<Won>>) {
        if self.sets {
            // A unit that is read again, because its connection broke, has set it before.
            self.held.get_or_init(|| Held { group_rows, columns });
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::file::metadata::KeyValue;

    use super::super::auction::{Terms, choose};
    use super::super::output::Output;
    use super::super::writer::PieceLimits;
    use super::*;
    use crate::codec::shape::{ColumnShape, PieceShape};
    use crate::manifest::Mapping;

    const ROWS: i64 = 8192;

    fn few(at: i64) -> i64 {
        ((at * 7919) ^ ((at * at) >> 5)) % 50 * 1_234_567
    }

    fn growing(at: i64) -> i64 {
        at * 1_234_567
    }

    fn array(value: fn(i64) -> i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(value)))
    }

    fn file(value: fn(i64) -> i64, precedent: Precedent) -> Vec<u8> {
        let column = ColumnShape { name: "c".into(), mapping: Mapping::Int64, derived: false };
        let shape = PieceShape { columns: vec![column], metadata: String::new(), clustered_by: Vec::new() };
        let mut output = Output::new(Vec::new(), &shape, PieceLimits::default());
        output.heed(precedent);
        let rows = RecordBatch::try_new(output.schema().clone(), vec![array(value)]).unwrap();
        output.write(&rows, ROWS as usize, None).unwrap();
        output.end_group().unwrap();
        output.finish(KeyValue::new("k".to_owned(), "v".to_owned())).unwrap().0
    }

    /// Another choice than the rows would get by themselves.
    fn odd() -> Vec<Option<Won>> {
        let terms = Terms { group_rows: ROWS as usize, level: 3, dictionaries: false };
        vec![choose(&array(few), terms, None).unwrap()]
    }

    #[test]
    fn like_rows_are_encoded_as_the_first_ones_and_others_as_they_want() {
        let first = Precedent::first();
        first.note(ROWS as usize, odd());
        let (like, unlike) = (file(few, first.for_others()), file(growing, first.for_others()));
        assert!(
            like.len() > file(few, Precedent::default()).len(),
            "without the dictionary that it would have"
        );
        assert!(unlike == file(growing, Precedent::default()));
    }

    #[test]
    fn only_the_first_file_sets_it_and_only_for_row_groups_like_its_own() {
        let alone = file(few, Precedent::default());
        let first = Precedent::first();
        first.for_others().note(ROWS as usize, odd());
        assert!(file(few, first.for_others()) == alone);
        first.note(3 * ROWS as usize, odd());
        assert!(file(few, first.for_others()) == alone);
        let first = Precedent::first();
        let set = file(few, first.clone());
        first.note(ROWS as usize, odd());
        assert!(set == alone && file(few, first.for_others()) == alone, "what is set stays");
    }
}
