//! What unconstrained numeric columns hold, exactly: how many digits before and after the point.

use tokio_postgres::Client;

use super::{PgError, survey};
use crate::base::{TableName, quote_ident};
use crate::plan::mapping::NumericProfile;

/// One profile for each column of a table (`from`: the table, with ONLY where it belongs).
pub(super) async fn profile(
    client: &Client,
    table: &TableName,
    from: &str,
    columns: &[String],
) -> Result<Vec<NumericProfile>, PgError> {
    let list: Vec<String> = columns.iter().map(|column| expressions(&quote_ident(column))).collect();
    let sql = format!("SELECT {} FROM {from}", list.join(", "));
    let found = survey::rows(client, &format!("the numerics of {table}"), &sql).await?;
    let row = found.first().ok_or(PgError::Unexpected("an aggregate gave no row"))?;
    let number = |index: usize| u64::try_from(row.get::<_, i64>(index)).unwrap_or(0);
    let digits = |index: usize| u32::try_from(number(index)).unwrap_or(u32::MAX);
    let profile = |i: usize| NumericProfile {
        integer_digits: digits(4 * i),
        scale: digits(4 * i + 1),
        specials: number(4 * i + 2),
        values: number(4 * i + 3),
    };
    Ok((0..columns.len()).map(profile).collect())
}

/// The largest number has the most digits, so only one becomes a text; `scale` is NULL of what is not finite, and cheaper than
/// a comparison with infinity.
fn expressions(c: &str) -> String {
    let number = format!("{c}::pg_catalog.numeric");
    let scale = format!("pg_catalog.scale({number})");
    format!(
        "coalesce(pg_catalog.length(pg_catalog.trunc(max(pg_catalog.abs({number})) FILTER (WHERE {scale} IS NOT NULL))::text), 1)::int8, \
         coalesce(max({scale}), 0)::int8, \
         count({c}) - count({scale}), count({c})"
    )
}
