//! The pack `drift`, and A4: what became of the rows since the backup before.

use std::time::Instant;

use super::engine::{EARLIER, Ground, Refusal};
use super::values::Pair;
use super::{CheckOutcome, CheckRequest, Override, Run};
use crate::base::{TableName, quote_ident};
use crate::checks::drift::{DRIFT, DRIFT_CHECKS, DriftCheck, Found, drift};
use crate::checks::{Severity, Verdict, judge};
use crate::ops::OpsError;

/// `A4`: the one check of the audit pack that needs two backups.
const APPEND_ONLY: DriftCheck = DriftCheck {
    id: "A4",
    name: "append-only-changed",
    question: "Which rows of a table that is only ever appended to are not there any more as the backup before has them?",
    why: "Somebody updated or deleted what was to stay for ever: [[checks.append_only]] names these tables. The rows shown are those of the earlier backup.",
    severity: Severity::Error,
};

/// Whether a name means a check of these.
pub(super) fn has(wanted: &str) -> bool {
    DRIFT_CHECKS.iter().chain([&APPEND_ONLY]).any(|check| is(check, wanted))
}

fn is(check: &DriftCheck, wanted: &str) -> bool {
    check.id.eq_ignore_ascii_case(wanted) || check.name == wanted
}

fn is_wanted(check: &DriftCheck, pack: &str, request: &CheckRequest) -> bool {
    (request.packs.is_empty() || request.packs.iter().any(|wanted| wanted == pack))
        && (request.only.is_empty() || request.only.iter().any(|name| is(check, name)))
}

/// Asks all that is asked for.
pub(super) async fn ask(run: &Run<'_>, ground: &Ground) -> Result<Vec<CheckOutcome>, OpsError> {
    let request = run.request;
    let mut outcomes = Vec::new();
    let wanted: Vec<&DriftCheck> =
        DRIFT_CHECKS.iter().filter(|check| is_wanted(check, DRIFT, request)).collect();
    if !wanted.is_empty() {
        outcomes.extend(drifted(run, ground, &wanted).await?);
    }
    if is_wanted(&APPEND_ONLY, "audit", request) {
        for table in &request.settings.append_only {
            outcomes.push(appended(run, ground, &table.table).await?);
        }
    }
    Ok(outcomes)
}

fn blank(check: &DriftCheck, pack: &'static str, request: &CheckRequest) -> (CheckOutcome, Override) {
    let mut overrides = request.settings.overrides.iter();
    let settings = overrides.find(|(name, _)| is(check, name)).map(|(_, settings)| settings.clone());
    let settings = settings.unwrap_or_default();
    let words = [check.id, check.name, check.question, check.why];
    let mut outcome = CheckOutcome::unasked(pack, words, settings.severity.unwrap_or(check.severity));
    outcome.key_columns = 1;
    outcome.note = settings.off.then(|| "switched off in the configuration".to_owned());
    (outcome, settings)
}

/// Compares manifests, and for some checks rows.
async fn drifted(
    run: &Run<'_>,
    ground: &Ground,
    wanted: &[&DriftCheck],
) -> Result<Vec<CheckOutcome>, OpsError> {
    let request = run.request;
    let compared = match &ground.history {
        None => Err("it compares backups with each other"),
        Some(history) => drift(&history.now, &history.earlier, &request.settings.drift)
            .map(|found| (history.now.body.tables.len() as u64, found))
            .ok_or("there is no earlier backup of this database and selection"),
    };
    let mut outcomes = Vec::new();
    for check in wanted {
        let began = Instant::now();
        let (mut outcome, settings) = blank(check, DRIFT, request);
        match &compared {
            _ if settings.off => {}
            Err(why) => outcome.note = Some((*why).to_owned()),
            Ok((tables, manifests)) => {
                outcome.scanned = *tables;
                let found = match (check.id, Pair::of(run, ground)) {
                    ("D7", Some(pair)) => pair.stale().await,
                    ("D8", Some(pair)) => pair.nulls().await.map(|(found, unread)| {
                        outcome.note = (!unread.is_empty()).then(|| left_out(&unread));
                        found
                    }),
                    (id, _) => Ok(manifests.get(id).cloned().unwrap_or_default()),
                };
                conclude(&mut outcome, found, &settings, request.sample as usize)?;
            }
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn left_out(columns: &[String]) -> String {
    format!("without {}, whose values are beyond what a query can be given", columns.join(", "))
}

fn conclude(
    outcome: &mut CheckOutcome,
    found: Result<Vec<Found>, Refusal>,
    settings: &Override,
    sample: usize,
) -> Result<(), OpsError> {
    let found = match found {
        Ok(found) => found,
        Err(Refusal::Run(error)) => return Err(error),
        Err(Refusal::Check(why)) => {
            (outcome.verdict, outcome.note) = (Verdict::Error, Some(why));
            return Ok(());
        }
    };
    let (findings, scanned) = (found.len() as u64, outcome.scanned);
    outcome.findings = findings;
    outcome.columns = ["object", "before", "now"].map(str::to_owned).into();
    outcome.sample =
        found.into_iter().take(sample).map(|(what, was, is)| [what, was, is].map(Some).into()).collect();
    outcome.verdict = judge(findings, scanned, outcome.severity, settings.warn_if, settings.error_if);
    Ok(())
}

/// The rows of the earlier backup that are not in this one.
async fn appended(run: &Run<'_>, ground: &Ground, wanted: &str) -> Result<CheckOutcome, OpsError> {
    let began = Instant::now();
    let (mut outcome, settings) = blank(&APPEND_ONLY, "audit", run.request);
    outcome.object = Some(wanted.to_owned());
    if settings.off {
        return Ok(outcome);
    }
    let means = |name: &TableName| name.to_string() == wanted || name.name == wanted;
    let Some(now) = ground.tables.iter().find(|table| means(&table.name)) else {
        return Err(OpsError::Usage(format!(
            "[[checks.append_only]] table = {wanted:?}: there is no such table"
        )));
    };
    let before = ground
        .earlier
        .as_ref()
        .and_then(|earlier| earlier.tables.iter().find(|table| table.name == now.name));
    let Some(before) = before else {
        outcome.note = Some("there is no earlier backup of this table here to compare with".to_owned());
        return Ok(outcome);
    };
    let both = before.column_names().filter(|name| now.column_names().any(|other| other == *name));
    let columns: Vec<String> = both.map(|name| quote_ident(&name)).collect();
    let columns = columns.join(", ");
    let old = TableName::new(format!("{EARLIER}{}", before.name.schema), before.name.name.clone()).sql();
    let sql = format!(
        "SELECT gone.* FROM (SELECT {columns} FROM {old} EXCEPT SELECT {columns} FROM {}) AS gone",
        now.name.sql()
    );
    let asked = async {
        outcome.scanned = run.count("asking check A4", &format!("SELECT count(*) FROM {old}")).await?;
        run.findings("asking check A4", &sql, "1", &format!("A4 {wanted}"), &mut outcome).await
    };
    match asked.await {
        Ok(()) => {
            outcome.verdict = judge(
                outcome.findings,
                outcome.scanned,
                outcome.severity,
                settings.warn_if,
                settings.error_if,
            );
        }
        Err(Refusal::Run(error)) => return Err(error),
        Err(Refusal::Check(why)) => (outcome.verdict, outcome.note) = (Verdict::Error, Some(why)),
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}
