//! Checks of one's own: `[[checks.custom]]`, put to an engine as those of the packs are.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::base::quote_literal;
use crate::checks::{Check, Interview, Pack, Role, Severity};
use crate::ops::OpsError;

/// The name of their pack.
pub(super) const CUSTOM: &str = "custom";

/// `[[checks.custom]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// What it is called; like no other check.
    pub id: String,
    /// What is asked, for people.
    pub question: Option<String>,
    /// What a finding means.
    #[serde(default)]
    pub why: String,
    /// How bad a finding is; an error unless said otherwise.
    pub severity: Option<Severity>,
    /// A query for bad rows, with `{roles}` in place of tables where that helps; or for one value, with `expect`.
    pub sql: String,
    /// The first columns of a row, which say where it is; one unless said otherwise.
    pub key_columns: Option<usize>,
    /// The one value that should come out, as text.
    pub expect: Option<String>,
    /// `database`, `backup`; both unless said otherwise.
    #[serde(default)]
    pub engines: Vec<EngineKind>,
}

/// Who can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// PostgreSQL.
    Database,
    /// The files of a backup.
    Backup,
}

/// The pack of all of them. A name that is taken is a mistake.
pub(super) fn pack(
    custom: &[Custom],
    roles: &BTreeMap<String, Role>,
    packs: &[Pack],
) -> Result<Pack, OpsError> {
    let mut checks: Vec<Check> = Vec::new();
    for written in custom {
        let check = written.check(roles);
        let others = packs.iter().flat_map(|pack| &pack.checks).chain(&checks);
        if others.clone().any(|other| other.id.eq_ignore_ascii_case(&check.id))
            || super::structure::has(&check.id)
            || super::drift::has(&check.id)
        {
            return Err(OpsError::Usage(format!(
                "[[checks.custom]] id = {:?}: there is such a check already",
                check.id
            )));
        }
        checks.push(check);
    }
    Ok(Pack { name: CUSTOM, checks })
}

impl Custom {
    fn check(&self, roles: &BTreeMap<String, Role>) -> Check {
        let sql = self.sql.trim().trim_end_matches(';');
        let sql = match &self.expect {
            // No row at all is not what was expected either.
            Some(value) => format!(
                "SELECT s.value FROM (SELECT ({sql}) AS value) AS s WHERE NOT coalesce(CAST(s.value AS text) = {}, false)",
                quote_literal(value)
            ),
            None => sql.to_owned(),
        };
        let scans = roles.keys().filter_map(|role| Some((sql.find(&format!("{{{role}}}"))?, role))).min();
        Check {
            id: self.id.clone(),
            name: self.id.clone(),
            question: self.question.clone().unwrap_or_else(|| self.sql.trim().to_owned()),
            why: self.why.clone(),
            severity: self.severity.unwrap_or(Severity::Error),
            scans: scans.map(|(_, role)| role.clone()).unwrap_or_default(),
            needs: Vec::new(),
            uses: Vec::new(),
            only: Vec::new(),
            key: Vec::new(),
            params: BTreeMap::new(),
            sql,
        }
    }
}

/// Why it cannot be asked here, if it cannot.
pub(super) fn beyond(
    written: &Custom,
    check: &Check,
    interview: &Interview<'_>,
    engine: EngineKind,
) -> Option<String> {
    if !written.engines.is_empty() && !written.engines.contains(&engine) {
        let who = if engine == EngineKind::Backup { "a database" } else { "a backup" };
        return Some(format!("it is to be asked of {who} only"));
    }
    let lacking = interview.roles.keys().find(|role| {
        check.sql.contains(&format!("{{{role}}}")) && !interview.mapping.roles.contains_key(*role)
    });
    lacking.map(|role| format!("{role} is not mapped"))
}
