//! `drill`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::BackupArgs;

/// `drill`.
#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// Which backup, if none is named [default: latest]
    #[arg(long, value_name = "POLICY", conflicts_with_all = ["backup", "before"])]
    pub policy: Option<PolicyChoice>,
    /// Where to restore to [default: embedded; scratch with --to]
    #[arg(long, value_name = "WHERE")]
    pub target: Option<TargetChoice>,
    /// The image of a container [default: from configuration]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// A scratch database: it must be empty or not exist, and is dropped afterwards
    #[arg(long, value_name = "DB")]
    pub to: Option<String>,
    /// The scratch database may be on the server that the backup came from
    #[arg(long)]
    pub allow_source_server: bool,
    /// Leave the restored database, to look at it
    #[arg(long)]
    pub keep: bool,
    /// How long applications may wait for the data (4h, 90min); longer is exit code 43
    #[arg(long, value_name = "TIME")]
    pub rto: Option<String>,
    /// How much may be lost: the age of the backup (24h); more is exit code 43
    #[arg(long, value_name = "TIME")]
    pub rpo: Option<String>,
    /// Only this pack of checks (more than once for several)
    #[arg(long, value_name = "PACK")]
    pub pack: Vec<String>,
    /// Write drill.html, drill.md, drill.json and drill.junit.xml into this folder
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Connections that load and build
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
}

/// Which backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyChoice {
    /// The newest
    Latest,
    /// The newest whose files were verified
    LatestVerified,
    /// Any
    Random,
    /// The oldest that is kept
    Oldest,
}

/// Where to restore to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TargetChoice {
    /// A server that is started for it from the binaries on this machine
    Embedded,
    /// A container that is started for it
    Container,
    /// A database on a server that is there
    Scratch,
}
