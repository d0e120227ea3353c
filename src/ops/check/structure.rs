//! The pack `structure`: every constraint of the database, and every one that the configuration states, asked one by one.

use std::collections::HashMap;
use std::time::Instant;

use super::engine::{Engine, Ground, Refusal};
use super::{CheckOutcome, CheckRequest, Override, Run};
use crate::catalog::structure::{Constraint, Standing, Structure};
use crate::checks::structure::{
    STRUCTURE, STRUCTURE_CHECKS, StructureCheck, StructureQuestion, Witness, about_the_server, check_of,
    structure_question,
};
use crate::checks::{Declarations, KnownTables, Verdict, judge};
use crate::ops::OpsError;

/// A server may neither answer out of an index, which could be the broken thing, nor conclude from a constraint what no row was
/// asked about.
const TRUST_NOTHING: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; \
     SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL constraint_exclusion = off";
const AS_BEFORE: &str = "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL enable_indexscan TO DEFAULT; \
     SET LOCAL enable_indexonlyscan TO DEFAULT; SET LOCAL enable_bitmapscan TO DEFAULT; \
     SET LOCAL constraint_exclusion TO DEFAULT";

/// Whether a check of this pack is meant: by id or name.
pub(super) fn is(check: &StructureCheck, wanted: &str) -> bool {
    check.id.eq_ignore_ascii_case(wanted) || check.name == wanted
}

/// Whether a name means a check of this pack.
pub(super) fn has(wanted: &str) -> bool {
    STRUCTURE_CHECKS.iter().any(|check| is(check, wanted))
}

/// Whether it is asked for.
fn is_wanted(check: &StructureCheck, request: &CheckRequest) -> bool {
    (request.packs.is_empty() || request.packs.iter().any(|pack| pack == STRUCTURE))
        && (request.only.is_empty() || request.only.iter().any(|name| is(check, name)))
}

/// What is known of the database, and what the configuration states; nothing where nobody asks.
pub(super) async fn read(
    request: &CheckRequest,
    engine: &Engine,
    ground: &Ground,
) -> Result<Option<Structure>, OpsError> {
    let tables: KnownTables =
        ground.tables.iter().map(|table| (table.name.clone(), table.column_names().collect())).collect();
    let settings = &request.settings;
    let declared = Declarations {
        relation: settings.relation.clone(),
        unique: settings.unique.clone(),
        not_null: settings.not_null.clone(),
        accepted: settings.accepted.clone(),
    };
    let declared = declared.constraints(&tables).map_err(|error| OpsError::Usage(error.to_string()))?;
    if !STRUCTURE_CHECKS.iter().any(|check| is_wanted(check, request)) {
        return Ok(None);
    }
    let mut structure = engine.structure(&ground.relations).await?;
    structure.constraints.extend(declared);
    Ok(Some(structure))
}

/// What nobody asked about, because it could not be read.
pub(super) fn unread(structure: &Structure) -> impl Iterator<Item = String> {
    structure.unread.iter().map(|sql| {
        format!(
            "this constraint could not be read, so that nothing was asked about it: {}",
            sql.escape_default()
        )
    })
}

/// Asks all that is asked for, check by check in the order of the pack.
pub(super) async fn ask(run: &Run<'_>, structure: &Structure) -> Result<Vec<CheckOutcome>, OpsError> {
    run.engine.set("distrusting indexes and constraints", TRUST_NOTHING).await?;
    let mut asking = Asking { run, counts: HashMap::new(), asked: 0 };
    let (witness, mut outcomes) = (run.engine.witness(), Vec::new());
    for check in STRUCTURE_CHECKS.iter().filter(|check| is_wanted(check, run.request)) {
        let of_server = matches!(witness, Witness::Postgres).then(about_the_server);
        for (_, question) in of_server.iter().flatten().filter(|(about, _)| about == check) {
            let outcome = asking.ask(check, None, Ok(question.clone())).await?;
            // A database without indexes has none that is invalid, which is no news.
            outcomes.extend(Some(outcome).filter(|outcome| outcome.verdict != Verdict::Skipped));
        }
        for constraint in structure.constraints.iter().filter(|one| check_of(one) == *check) {
            let question = structure_question(constraint, structure, witness);
            outcomes
                .push(asking.ask(check, Some(constraint), question.map_err(|why| why.to_string())).await?);
        }
    }
    run.engine.set("trusting them again", AS_BEFORE).await?;
    Ok(outcomes)
}

struct Asking<'a> {
    run: &'a Run<'a>,
    /// Rows of a table need not be counted once for each of its constraints.
    counts: HashMap<String, u64>,
    asked: usize,
}

impl Asking<'_> {
    async fn ask(
        &mut self,
        check: &StructureCheck,
        constraint: Option<&Constraint>,
        question: Result<StructureQuestion, String>,
    ) -> Result<CheckOutcome, OpsError> {
        let began = Instant::now();
        let none = Override::default();
        let mut overrides = self.run.request.settings.overrides.iter();
        let settings = overrides.find(|(name, _)| is(check, name)).map_or(&none, |(_, settings)| settings);
        let words = [check.id, check.name, check.question, check.why];
        let severity = settings.severity.unwrap_or(check.severity);
        let mut outcome = CheckOutcome::unasked(STRUCTURE, words, severity);
        outcome.object = constraint.map(Constraint::to_string);
        let question = match question {
            _ if settings.off => Err("switched off in the configuration".to_owned()),
            question => question,
        };
        match question {
            Err(why) => outcome.note = Some(why),
            Ok(question) => match self.answer(check, &question, &mut outcome).await {
                Err(Refusal::Run(error)) => return Err(error),
                Err(Refusal::Check(why)) => (outcome.verdict, outcome.note) = (Verdict::Error, Some(why)),
                Ok(()) if outcome.scanned == 0 => empty(constraint, &mut outcome),
                Ok(()) => {
                    let (findings, scanned) = (outcome.findings, outcome.scanned);
                    let limits = (settings.warn_if, settings.error_if);
                    outcome.verdict = judge(findings, scanned, outcome.severity, limits.0, limits.1);
                }
            },
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        Ok(outcome)
    }

    async fn answer(
        &mut self,
        check: &StructureCheck,
        question: &StructureQuestion,
        outcome: &mut CheckOutcome,
    ) -> Result<(), Refusal> {
        let doing =
            format!("asking check {} of {}", check.id, outcome.object.as_deref().unwrap_or("the server"));
        outcome.scanned = match self.counts.get(&question.scanned) {
            Some(known) => *known,
            None => self.run.count(&doing, &question.scanned).await?,
        };
        self.counts.insert(question.scanned.clone(), outcome.scanned);
        outcome.key_columns = question.key;
        let order: Vec<String> = (1..=question.key).map(|place| place.to_string()).collect();
        // Of several constraints each has a file of its own.
        self.asked += 1;
        let file = format!("{}-{}", check.id, self.asked);
        self.run.findings(&doing, &question.sql, &order.join(", "), &file, outcome).await
    }
}

/// A table may well be empty, and then its constraints hold of nothing. Where a person states something of it, that is odd.
fn empty(constraint: Option<&Constraint>, outcome: &mut CheckOutcome) {
    let table = constraint.map(|constraint| constraint.table.to_string()).unwrap_or_default();
    (outcome.verdict, outcome.note) = match constraint.map(|constraint| constraint.standing) {
        Some(Standing::Declared) => (Verdict::Error, Some(format!("no row of {table} was there to look at"))),
        _ => (Verdict::Skipped, Some("no rows".to_owned())),
    };
}
