//! `check`.

/// `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The database to check [default: from configuration and PG* variables]
    #[arg(long = "db", value_name = "DB")]
    pub database: Option<String>,
    /// Only this pack: trading, balance, market, audit (more than once for several)
    #[arg(long, value_name = "PACK")]
    pub pack: Vec<String>,
    /// Only this check, by id or name (more than once for several)
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Findings to show of each check
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub sample: u64,
    /// Show which tables and columns are taken for what, and why, and a configuration to start from; check nothing
    #[arg(long)]
    pub explain: bool,
}
