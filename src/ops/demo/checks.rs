//! The demo's checks: the backup's files are asked, and the copy in which a cent was moved.

use crate::base::BackupId;
use crate::checks::Verdict;
use crate::ops::check::{CheckReport, CheckRequest, CheckTarget, check};
use crate::ops::{OpsError, Services};
use crate::pg::ConnectionSettings;
use crate::store::{BackupChoice, Vault};

/// What names do not say: accounts carry the balances, and bars are a minute long.
const SETTINGS: &str = r#"
map.balances = { table = "public.accounts", account = "id", asset = "currency" }
map.bars = { table = "public.market_bars", interval = "1 minute" }
"#;

fn request(target: impl Into<CheckTarget>) -> Result<CheckRequest, OpsError> {
    let mut request = CheckRequest::new(target);
    request.settings = toml::from_str(SETTINGS)
        .map_err(|error| OpsError::Internal(format!("the demo's settings: {error}")))?;
    Ok(request)
}

/// All checks of a backup, without a server: whether nothing was found, and that in words.
pub(super) async fn of_backup(
    vault: &Vault,
    id: &BackupId,
    services: &Services,
) -> Result<(bool, String), OpsError> {
    let choice = BackupChoice::named(id.as_str());
    let report = check(&request(CheckTarget::Backup(vault.clone(), choice))?, services).await?;
    let found: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.verdict >= Verdict::Warn)
        .map(|check| check.id.as_str())
        .collect();
    let seen = match found.is_empty() {
        true => format!(
            "{} checks of orders, trades, balances, bars and every constraint passed, on the files alone",
            report.count(Verdict::Pass)
        ),
        false => format!("NOT SOUND: {}", found.join(", ")),
    };
    Ok((found.is_empty(), seen))
}

/// Whether the ledger gives away that account 7 has a cent more, to somebody who has no backup.
pub(super) async fn sees_the_cent(copy: &ConnectionSettings, services: &Services) -> Result<bool, OpsError> {
    let mut request = request(copy.clone())?;
    request.only = vec!["B4".to_owned()];
    let report: CheckReport = check(&request, services).await?;
    let rows = report.checks.iter().flat_map(|check| &check.sample);
    let accounts: Vec<Option<&str>> = rows.map(|row| row.first()?.as_deref()).collect();
    Ok(accounts == [Some("7")])
}
