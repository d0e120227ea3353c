//! [`text`]: one value of an answer as text.

use arrow_array::ArrayRef;
use arrow_schema::{DataType, TimeUnit};
use datafusion::arrow::compute::cast;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;

use crate::codec::column::cell_text;

/// As PostgreSQL prints it where it has that type, else as Arrow does; none for NULL.
pub fn text(array: &ArrayRef, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    // Expressions may give other units; what PostgreSQL has counts microseconds.
    if let DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond, zone) =
        array.data_type()
    {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let one = cast(&array.slice(row, 1), &micros)?;
        return text(&one, 0);
    }
    if let Some(text) = cell_text(array, row) {
        return Ok(Some(text));
    }
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
    Ok(Some(formatter.value(row).try_to_string()?))
}
