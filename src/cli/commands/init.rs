//! `barkeep init`.

use std::path::{Path, PathBuf};

use crate::cli::CommandResult;
use crate::cli::context::{Context, refuse_url};
use crate::cli::output::Outcome;
use crate::ops::init::init;

pub(super) fn run(context: &Context) -> CommandResult {
    let vault = context.vault_path().map_or_else(|| PathBuf::from("vault"), Path::to_owned);
    refuse_url(&vault)?;
    // An absolute path, because the file's own folder is where a relative one would start.
    let vault = std::path::absolute(&vault).unwrap_or(vault);
    let report = init(&context.config_path, &vault, &context.services)?;
    let said = |made: bool| if made { "made" } else { "was there already" };
    let text = format!(
        "vault          {} ({})\nconfiguration  {} ({})\nnext: put the database into the configuration, then \
         `barkeep doctor`, then `barkeep dump`\n",
        report.vault.display(),
        said(report.vault_made),
        report.config.display(),
        said(report.config_written),
    );
    Outcome::new(&report, text, 0)
}
