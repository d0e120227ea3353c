//! [`DataFusion`]: how DataFusion is asked, with functions that `query` gives it.

use std::collections::BTreeMap;

use super::Dialect;
use crate::base::{TableName, Timestamp, quote_ident, quote_literal};
use crate::checks::columns::ColumnSort;
use crate::checks::definition::Kind;
use crate::checks::mapping::MappedColumn;

/// `(number or text, scale)` → an exact decimal, or an error; NaN and the infinities are NULL.
pub const EXACT: &str = "barkeep_exact";
/// A number or its text → its digits after the point.
pub const DECIMALS: &str = "barkeep_decimals";
/// A date or time → an instant; the infinities are NULL.
pub const TIME: &str = "barkeep_time";
/// Anything → its text, as PostgreSQL has it.
pub const TEXT: &str = "barkeep_text";

/// The type of instants, to the microsecond as in PostgreSQL.
const INSTANT: &str = "'Timestamp(Microsecond, Some(\"UTC\"))'";

/// DataFusion on the files of a backup.
#[derive(Debug, Clone, Default)]
pub struct DataFusion {
    /// How many digits after the point the amounts of a column have, by table and column. Every column keeps its own: a
    /// product of two decimals has the digits of both, and 38 are all there are.
    pub scales: BTreeMap<(TableName, String), u8>,
    /// All values of a column, as text, where they are few.
    pub values: BTreeMap<(TableName, String), std::collections::BTreeSet<String>>,
    /// Columns that a query sees as text, because of values beyond their type.
    pub as_text: std::collections::BTreeSet<(TableName, String)>,
}

impl Dialect for DataFusion {
    fn column(&self, table: &TableName, column: &MappedColumn, kind: Kind) -> String {
        let name = quote_ident(&column.name);
        let place = (table.clone(), column.name.clone());
        let scale = self.scales.get(&place).copied().unwrap_or(0);
        let parsed = self.as_text.contains(&place);
        match (kind, column.sort) {
            (Kind::Key, sort) if column.as_text && sort != ColumnSort::Text => format!("{TEXT}({name})"),
            (Kind::Amount | Kind::Count, ColumnSort::Integer) => format!("CAST({name} AS decimal(38, 0))"),
            (Kind::Amount | Kind::Count | Kind::Key, ColumnSort::Decimal | ColumnSort::Money) if !parsed => {
                format!("CAST({name} AS decimal(38, {scale}))")
            }
            (Kind::Amount | Kind::Count, _) | (Kind::Key, ColumnSort::Decimal | ColumnSort::Money) => {
                format!("{EXACT}({name}, {scale})")
            }
            (Kind::Time, _) => format!("{TIME}({name})"),
            (Kind::Text, ColumnSort::Text | ColumnSort::Printed) => name,
            (Kind::Text, _) => format!("{TEXT}({name})"),
            (Kind::Bytes, ColumnSort::Text | ColumnSort::Printed) => format!("arrow_cast({name}, 'Binary')"),
            (Kind::Digest, ColumnSort::Bytes) => format!("encode({name}, 'hex')"),
            (Kind::Digest | Kind::Key | Kind::Flag | Kind::Bytes, _) => name,
        }
    }

    fn null(&self, sort: ColumnSort) -> &'static str {
        match sort {
            ColumnSort::Integer => "arrow_cast(NULL, 'Int64')",
            ColumnSort::Decimal | ColumnSort::Money | ColumnSort::Float => {
                "arrow_cast(NULL, 'Decimal128(38, 8)')"
            }
            ColumnSort::Text | ColumnSort::Printed | ColumnSort::Uuid => "arrow_cast(NULL, 'Utf8')",
            ColumnSort::Time => "arrow_cast(NULL, 'Timestamp(Microsecond, Some(\"UTC\"))')",
            ColumnSort::Flag => "arrow_cast(NULL, 'Boolean')",
            ColumnSort::Bytes => "arrow_cast(NULL, 'Binary')",
        }
    }

    fn instant(&self, at: Timestamp) -> String {
        format!("arrow_cast({}, {INSTANT})", quote_literal(&at.to_string()))
    }

    fn may_be(&self, table: &TableName, column: &str, value: &str) -> bool {
        self.values.get(&(table.clone(), column.to_owned())).is_none_or(|values| values.contains(value))
    }
}
