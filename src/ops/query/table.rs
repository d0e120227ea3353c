//! [`Table`]: an answer for people.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table as Lines};

use super::{Output, unwritten};
use crate::ops::OpsError;
use crate::query::rows;

/// Nobody reads more; other formats have no end.
const MOST: usize = 10_000;

pub(super) struct Table {
    out: Box<dyn Write + Send>,
    lines: Lines,
    rows: usize,
}

impl Table {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, lines: Lines::new(), rows: 0 }
    }
}

impl Output for Table {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), OpsError> {
        self.lines.load_preset(NOTHING);
        self.lines.set_header(schema.fields().iter().map(|field| field.name()));
        for (column, field) in self.lines.column_iter_mut().zip(schema.fields()) {
            column.set_padding((0, 2));
            if field.data_type().is_numeric() || matches!(field.data_type(), DataType::Decimal128(..)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), OpsError> {
        let left = MOST.saturating_sub(self.rows).min(batch.num_rows());
        for row in rows(&batch.slice(0, left))? {
            self.lines.add_row(row.into_iter().map(|cell| shown(cell.as_deref())));
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn end(&mut self) -> Result<(), OpsError> {
        let mut text: String = self.lines.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let rows = if self.rows == 1 { "1 row".to_owned() } else { format!("{} rows", self.rows) };
        text.push_str(&match self.rows > MOST {
            true => format!(
                "({rows}; only the first {MOST} are shown, --format csv, json and parquet give all)\n"
            ),
            false => format!("({rows})\n"),
        });
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(unwritten)
    }
}

/// NULL is told from an empty text, and no value breaks the line.
fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(value) if value.chars().any(char::is_control) => format!("{value:?}"),
        Some(value) => value.to_owned(),
    }
}
