//! The parts in which a chunked table is compared: by ranges of time, whatever the target is cut into.

use crate::base::RowsetDigest;
use crate::catalog::timescale::{Dimension, Range};
use crate::manifest::{Table, Unit};
use crate::plan::chunks::{conditions, label};

/// Rows of one query: small chunks are read together, since each query costs planning.
pub const ROWS: u64 = 1_000_000;

/// And not too many chunks, all of which that query locks, with their indexes.
const CHUNKS: usize = 500;

/// Rows that are read by one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Their range, for people; `None` where it is the whole table.
    pub label: Option<String>,
    /// What is true of them.
    pub conditions: Vec<String>,
    /// The units that hold them, as indexes into the table's.
    pub units: Vec<usize>,
    /// What the backup has of them.
    pub expected: RowsetDigest,
}

/// The whole table as one part.
pub fn whole(table: &Table) -> Part {
    Part {
        label: None,
        conditions: Vec::new(),
        units: (0..table.units.len()).collect(),
        expected: table.rowset,
    }
}

/// Ranges that together are everything: the first and the last are open, each reaches up to the next, so that rows the
/// backup has no chunk for are read too. Chunks that overlap (space partitions) stay together.
pub fn parts(table: &Table, time: &Dimension, rows: u64) -> Vec<Part> {
    let of = |unit: &Unit| unit.chunk.as_ref()?.chunk.ranges.get(&time.column).copied();
    let ranges: Option<Vec<Range>> = table.units.iter().map(of).collect();
    // A function of the user's need not exist in the target.
    let Some(ranges) = ranges.filter(|ranges| !ranges.is_empty() && time.function.is_none()) else {
        return vec![whole(table)];
    };
    let mut units: Vec<(Range, usize)> = ranges.into_iter().zip(0..).collect();
    units.sort();
    let mut cuts: Vec<(Range, Vec<usize>, RowsetDigest)> = Vec::new();
    let mut reached = Range::MIN;
    for (range, unit) in units {
        let digest = table.units.get(unit).map(|unit| unit.rowset).unwrap_or_default();
        match cuts.last_mut() {
            Some((last, units, sum))
                if range.from < reached || (sum.rows + digest.rows <= rows && units.len() < CHUNKS) =>
            {
                last.to = last.to.max(range.to);
                units.push(unit);
                *sum += digest;
            }
            _ => cuts.push((range, vec![unit], digest)),
        }
        reached = reached.max(range.to);
    }
    if cuts.len() < 2 {
        return vec![whole(table)];
    }
    let starts: Vec<i64> = cuts.iter().map(|(range, _, _)| range.from).collect();
    let made = cuts.into_iter().enumerate().map(|(number, (_, units, expected))| {
        let from = if number == 0 { Range::MIN } else { starts.get(number).copied().unwrap_or(Range::MIN) };
        let range = Range { from, to: starts.get(number + 1).copied().unwrap_or(Range::MAX) };
        Part { label: Some(label(time, range)), conditions: conditions(time, range), units, expected }
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Dimension {
        Dimension {
            column: "k".into(),
            column_type: "bigint".into(),
            interval: Some(10),
            partitions: None,
            function: None,
            integer_now: None,
        }
    }

    /// A table with chunks of so many rows.
    fn table(chunks: &[(i64, i64, u64)]) -> Table {
        let units: Vec<serde_json::Value> = chunks
            .iter()
            .map(|(from, to, rows)| {
                serde_json::json!({
                    "from_page": null, "pieces": [], "rowset": digest(*rows), "chunk": {
                        "id": 1, "name": { "schema": "i", "name": "c" }, "status": 0,
                        "ranges": { "k": { "from": from.to_string(), "to": to.to_string() } },
                    },
                })
            })
            .collect();
        let name = serde_json::json!({ "schema": "a", "name": "t" });
        let table = serde_json::json!({
            "name": name, "kind": "hypertable", "root": null, "load_through": null, "folder": "a.t",
            "columns": [], "primary_key": [], "condition": null, "rowset": digest(0), "counted": null,
            "pages_per_unit": null, "units": units,
        });
        serde_json::from_value(table).unwrap()
    }

    fn digest(rows: u64) -> RowsetDigest {
        RowsetDigest { rows, ..RowsetDigest::default() }
    }

    #[test]
    fn ranges_reach_up_to_the_next_and_the_outermost_are_open() {
        let parts = parts(&table(&[(20, 30, 9), (0, 10, 9), (40, 50, 9)]), &time(), 10);
        let all: Vec<(&str, &[String])> =
            parts.iter().map(|part| (part.label.as_deref().unwrap(), &part.conditions[..])).collect();
        assert_eq!(all[0], ("the beginning to 20", &["\"k\" < (20)::bigint".to_owned()][..]));
        assert_eq!(all[1].0, "20 to 40");
        assert_eq!(all[2], ("40 to the end", &["\"k\" >= (40)::bigint".to_owned()][..]));
        assert_eq!(parts[0].units, [1]);
    }

    #[test]
    fn small_chunks_are_read_together_and_overlapping_ones_always() {
        let small = parts(&table(&[(0, 10, 4), (10, 20, 4), (20, 30, 4)]), &time(), 10);
        let units: Vec<&[usize]> = small.iter().map(|part| &part.units[..]).collect();
        assert_eq!(units, [&[0, 1][..], &[2]]);
        assert_eq!(small[0].expected.rows, 8);
        let spaces = parts(&table(&[(0, 10, 9), (0, 10, 9), (5, 20, 9), (20, 30, 9)]), &time(), 10);
        assert_eq!(spaces[0].units, [0, 1, 2]);
        assert_eq!(parts(&table(&[(0, 10, 9)]), &time(), 10)[0].label, None);
    }
}
