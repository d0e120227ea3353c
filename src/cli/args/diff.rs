//! `diff`.

use super::dump::TableArgs;

/// `diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The one side: `latest`, an id, the beginning of an id, or a tag
    #[arg(value_name = "A")]
    pub a: String,
    /// The other side, a backup of the same vault [default: latest]
    #[arg(value_name = "B", conflicts_with = "database")]
    pub b: Option<String>,
    /// A database as the other side, in the place of B
    #[arg(long = "db", value_name = "DB")]
    pub database: Option<String>,
    /// Which tables.
    #[command(flatten)]
    pub chosen: TableArgs,
    /// Differing rows to print for each table and side
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub sample: usize,
    /// Tables and chunks only, by their digests; reads no rows where digests can tell
    #[arg(long)]
    pub summary: bool,
}
