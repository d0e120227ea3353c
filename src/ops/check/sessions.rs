//! The sessions of the market that the bars are of: its calendar, from before the first bar to past now.

use std::collections::BTreeMap;

use super::CheckRequest;
use super::engine::{Engine, Refusal};
use crate::base::Timestamp;
use crate::checks::{Calendar, Check, Mapping, SessionSql, first_bar};
use crate::ops::OpsError;

/// The sessions, as sub-selects, if one of the checks wants to know.
pub(super) async fn sessions(
    request: &CheckRequest,
    checks: &[&Check],
    mapping: &Mapping,
    engine: &Engine,
    now: Timestamp,
) -> Result<Option<SessionSql>, OpsError> {
    let calendars = calendars(request)?;
    let bars = mapping.roles.get("bars");
    let calendar = bars.and_then(|bars| calendars.get(bars.calendar.as_ref()?));
    let Some(calendar) = calendar.filter(|_| checks.iter().any(|check| check.asks_for("cal"))) else {
        return Ok(None);
    };
    let first = first_bar_of(mapping, engine).await?.unwrap_or(now);
    engine.sessions(&calendar.around(first, now)).map(Some)
}

/// Those that are built in and those of the configuration, which come first. A name that means none is a mistake.
fn calendars(request: &CheckRequest) -> Result<BTreeMap<String, Calendar>, OpsError> {
    let mut calendars = Calendar::built_in().map_err(|error| OpsError::Internal(error.to_string()))?;
    calendars.extend(request.calendars.clone());
    for (role, settings) in &request.settings.map {
        if let Some(unknown) = settings.calendar.as_ref().filter(|name| !calendars.contains_key(*name)) {
            let known = calendars.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(OpsError::Usage(format!(
                "[checks.map.{role}] calendar = {unknown:?}: there is no such calendar; calendars are {known}, and one of your own \
                 stands under [calendar.NAME]"
            )));
        }
    }
    Ok(calendars)
}

/// When the bars begin. What the engine refuses here it refuses again to each check, which says so.
async fn first_bar_of(mapping: &Mapping, engine: &Engine) -> Result<Option<Timestamp>, OpsError> {
    let Some(sql) = first_bar(mapping, engine.dialect()) else { return Ok(None) };
    let seconds = match engine.ask("asking when the bars begin", &sql).await {
        Ok(answer) => answer.rows.into_iter().next().and_then(|mut row| row.pop()?),
        Err(Refusal::Run(error)) => return Err(error),
        Err(Refusal::Check(_)) => None,
    };
    let micros = seconds.and_then(|text| text.parse::<i64>().ok()?.checked_mul(1_000_000));
    Ok(micros.and_then(Timestamp::from_unix_micros))
}
