//! [`Csv`]: an answer as RFC 4180.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{Output, unwritten};
use crate::ops::OpsError;
use crate::query::rows;

pub(super) struct Csv {
    out: Box<dyn Write + Send>,
}

impl Csv {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }

    fn line<'a>(&mut self, cells: impl Iterator<Item = Option<&'a str>>) -> Result<(), OpsError> {
        let line: Vec<String> = cells.map(|cell| cell.map(quoted).unwrap_or_default()).collect();
        writeln!(self.out, "{}", line.join(",")).map_err(unwritten)
    }
}

/// In quotes where it has to be; an empty text always, so that it is not taken for NULL.
fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

impl Output for Csv {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), OpsError> {
        self.line(schema.fields().iter().map(|field| Some(field.name().as_str())))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), OpsError> {
        for row in rows(batch)? {
            self.line(row.iter().map(Option::as_deref))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), OpsError> {
        self.out.flush().map_err(unwritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be() {
        assert_eq!(quoted("a b"), "a b");
        assert_eq!((quoted(""), quoted("a\"b")), ("\"\"".to_owned(), "\"a\"\"b\"".to_owned()));
        assert_eq!(quoted("x\ny,z"), "\"x\ny,z\"");
    }
}
