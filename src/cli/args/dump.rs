//! `dump`: which database, which tables, and what the backup is called. The selection is shared with `restore` and `diff`.

use crate::codec::copy::MAX_TUPLE;
use crate::plan::chunks::Bound;

/// Which tables.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Selection")]
pub struct TableArgs {
    /// Take these tables only (psql pattern; one that matches nothing is an error)
    #[arg(long = "table", short = 't', value_name = "PATTERN")]
    pub tables: Vec<String>,
    /// Leave these tables out
    #[arg(long = "exclude-table", short = 'T', value_name = "PATTERN")]
    pub exclude_tables: Vec<String>,
    /// Take these schemas only
    #[arg(long = "schema", short = 'n', value_name = "PATTERN")]
    pub schemas: Vec<String>,
    /// Leave these schemas out
    #[arg(long = "exclude-schema", short = 'N', value_name = "PATTERN")]
    pub exclude_schemas: Vec<String>,
}

/// Which tables, and what of them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectionArgs {
    /// Which tables.
    #[command(flatten)]
    pub chosen: TableArgs,
    /// Take only the rows of TABLE for which SQL holds
    #[arg(long = "where", value_name = "TABLE=SQL")]
    pub conditions: Vec<String>,
    /// Of hypertables and continuous aggregates, take the rows from this position on: 2026-11-20, a time, or a number
    #[arg(long, value_name = "TIME")]
    pub since: Option<Bound>,
    /// Of hypertables and continuous aggregates, take the rows before this position
    #[arg(long, value_name = "TIME")]
    pub until: Option<Bound>,
    /// Take no rows
    #[arg(long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Take no schema
    #[arg(long)]
    pub data_only: bool,
}

/// `dump`.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// The database: a URI, a key=value string, a service, or a name [default: from configuration and PG* variables]
    #[arg(value_name = "DB")]
    pub database: Option<String>,
    /// Which tables.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Lanes: connections that read at the same time [default: one a processor, 2 to 8]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    /// Read at most so many bytes of rows a second, all lanes together: 500K, 20M, 1.5G (powers of 1024)
    #[arg(long, value_name = "BYTES", value_parser = bytes_per_second)]
    pub rate: Option<u64>,
    /// End at a row of more bytes than this, and say which it is: 64M, 1G (powers of 1024). Memory is for four of the largest row
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = row_bytes)]
    pub max_row: u64,
    /// Store the rows of TABLE in the order of these columns, in runs of 32 MiB: smaller files, for more of the processor
    #[arg(long, value_name = "TABLE=COLUMN[,COLUMN]")]
    pub cluster_by: Vec<String>,
    /// A name to find this backup by
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// `forever`: retention never deletes this backup
    #[arg(long, value_name = "HOW_LONG", value_parser = ["forever"])]
    pub keep: Option<String>,
    /// Wait at most this long for the lock of a table; 0 waits for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub lock_timeout: u64,
    /// Leave out chunks of hypertables that lie in tiered storage
    #[arg(long)]
    pub skip_tiered: bool,
    /// Do not hold TimescaleDB's jobs while chunks are read; what they change is read again, later than the rest
    #[arg(long)]
    pub no_pause_jobs: bool,
    /// Any warning ends the run before the commit
    #[arg(long)]
    pub strict: bool,
    /// Print the plan and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// `20M` and the like; at least a kibibyte, below which nobody would see the end.
fn bytes_per_second(text: &str) -> Result<u64, String> {
    let bytes = bytes(text)?;
    if (1024.0..1e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("between 1K and 1e15 bytes".to_owned())
    }
}

/// The same, up to what PostgreSQL itself can send as one row.
fn row_bytes(text: &str) -> Result<u64, String> {
    let bytes = bytes(text)?;
    let most = MAX_TUPLE as f64;
    if (1024.0..=most).contains(&bytes) { Ok(bytes as u64) } else { Err("between 1K and 1G".to_owned()) }
}

fn bytes(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().trim_end_matches("ib") {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        other => return Err(format!("{other} is no unit: K, M or G")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{digits:?} is no number"))?;
    Ok(number * unit as f64)
}

#[cfg(test)]
mod tests {
    use super::{bytes_per_second, row_bytes};

    #[test]
    fn a_rate_has_a_number_and_a_unit() {
        assert_eq!(bytes_per_second("20M"), Ok(20 << 20));
        assert_eq!(bytes_per_second("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes_per_second("4096"), Ok(4096));
        for wrong in ["", "M", "20X", "1e", "-5M", "0", "nan", "infM"] {
            assert!(bytes_per_second(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_row_is_no_larger_than_a_server_can_send() {
        assert_eq!((row_bytes("64M"), row_bytes("1GiB")), (Ok(64 << 20), Ok(1 << 30)));
        for wrong in ["1.001G", "1023", "0", "-1M", "nan", "x"] {
            assert!(row_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
