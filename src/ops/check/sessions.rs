//! The sessions of the market that the bars are of: its calendar, from before the first bar to past now.

use std::collections::BTreeMap;

use super::CheckRequest;
use crate::base::Timestamp;
use crate::checks::{Calendar, Check, Mapping, Times, first_bar};
use crate::ops::OpsError;
use crate::pg::Probe;

/// When the checks are asked, with the sessions if one of them wants to know.
pub(super) async fn times(
    request: &CheckRequest,
    checks: &[&Check],
    mapping: &Mapping,
    probe: &Probe,
    now: Timestamp,
) -> Result<Times, OpsError> {
    let calendars = calendars(request)?;
    let bars = mapping.roles.get("bars");
    let calendar = bars.and_then(|bars| calendars.get(bars.calendar.as_ref()?));
    let Some(calendar) = calendar.filter(|_| checks.iter().any(|check| check.asks_for("cal"))) else {
        return Ok(Times { now, sessions: None });
    };
    let first = first_bar_of(mapping, probe).await?.unwrap_or(now);
    Ok(Times { now, sessions: Some(calendar.sub_select(first, now)) })
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

/// When the bars begin. What the server refuses here it refuses again to each check, which says so.
async fn first_bar_of(mapping: &Mapping, probe: &Probe) -> Result<Option<Timestamp>, OpsError> {
    let Some(sql) = first_bar(mapping) else { return Ok(None) };
    probe.mark().await?;
    let seconds = match probe.ask("asking when the bars begin", &sql).await {
        Ok(answer) => answer.rows.into_iter().next().and_then(|mut row| row.pop()?),
        Err(error) if error.is_connection_lost() => return Err(error.into()),
        Err(_) => {
            probe.back().await?;
            None
        }
    };
    let micros = seconds.and_then(|text| text.parse::<i64>().ok()?.checked_mul(1_000_000));
    Ok(micros.and_then(Timestamp::from_unix_micros))
}
