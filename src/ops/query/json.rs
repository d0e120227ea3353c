//! [`Json`]: an answer as one array of objects, one a line.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use serde_json::{Map, Number, Value};

use super::{Output, unwritten};
use crate::ops::OpsError;
use crate::query::{refused, text};

/// The largest whole number that every reader of JSON keeps.
const SAFE: i64 = 1 << 53;

pub(super) struct Json {
    out: Box<dyn Write + Send>,
    names: Vec<String>,
    first: bool,
}

impl Json {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, names: Vec::new(), first: true }
    }
}

/// A number only where it stays the same number: whole ones of up to 53 bits, and doubles that are finite.
fn value(array: &ArrayRef, row: usize) -> Result<Value, OpsError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let float = match array.data_type() {
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        // Its shortest digits, not those of the double beside it.
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string().parse().ok(),
        DataType::Boolean => return Ok(Value::Bool(array.as_boolean().value(row))),
        _ => None,
    };
    if let Some(number) = float.and_then(Number::from_f64) {
        return Ok(Value::Number(number));
    }
    let text = text(array, row).map_err(refused)?.unwrap_or_default();
    let whole = array.data_type().is_integer().then(|| text.parse::<i64>().ok()).flatten();
    Ok(match whole.filter(|number| number.abs() <= SAFE) {
        Some(number) => Value::Number(number.into()),
        None => Value::String(text),
    })
}

impl Output for Json {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), OpsError> {
        self.names = schema.fields().iter().map(|field| field.name().clone()).collect();
        write!(self.out, "[").map_err(unwritten)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), OpsError> {
        for row in 0..batch.num_rows() {
            let mut object = Map::new();
            for (name, array) in self.names.iter().zip(batch.columns()) {
                object.insert(name.clone(), value(array, row)?);
            }
            let comma = if std::mem::take(&mut self.first) { "" } else { "," };
            write!(self.out, "{comma}\n{}", Value::Object(object)).map_err(unwritten)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), OpsError> {
        writeln!(self.out, "\n]").and_then(|()| self.out.flush()).map_err(unwritten)
    }
}
