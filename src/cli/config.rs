//! The configuration file as it is written. An unknown key is an error that names it: a misspelt `exclude_tables` must not
//! make a backup of everything.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::checks::Calendar;
use crate::ops::OpsError;
use crate::ops::check::CheckSettings;
use crate::ops::drill::Smoke;

/// `barkeep.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) vault: Option<String>,
    pub(super) database: Option<String>,
    pub(super) jobs: Option<usize>,
    pub(super) progress: Option<String>,
    #[serde(default)]
    pub(super) tools: Tools,
    #[serde(default)]
    pub(super) dump: Dump,
    #[serde(default)]
    pub(super) checks: CheckSettings,
    #[serde(default)]
    pub(super) drill: Drill,
    #[serde(default)]
    pub(super) calendar: BTreeMap<String, Calendar>,
}

/// `[tools]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tools {
    pub(super) pg_dump: Option<String>,
}

/// `[dump]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dump {
    #[serde(default)]
    pub(super) tables: Vec<String>,
    #[serde(default)]
    pub(super) exclude_tables: Vec<String>,
    #[serde(default)]
    pub(super) schemas: Vec<String>,
    #[serde(default)]
    pub(super) exclude_schemas: Vec<String>,
    #[serde(default, rename = "where")]
    pub(super) conditions: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) cluster_by: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) strict: bool,
}

/// `[drill]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drill {
    pub(super) policy: Option<String>,
    pub(super) target: Option<String>,
    pub(super) image: Option<String>,
    pub(super) to: Option<String>,
    pub(super) rto: Option<String>,
    pub(super) rpo: Option<String>,
    pub(super) report: Option<String>,
    /// A command that is told when a drill did not hold.
    pub(super) alert: Option<String>,
    #[serde(default)]
    pub(super) packs: Vec<String>,
    #[serde(default)]
    pub(super) smoke: Vec<Smoke>,
}

/// Reads the text of a configuration file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, OpsError> {
    toml::from_str(text).map_err(|error| {
        // The error's own rendering quotes the line, and the line may have a password in it.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        OpsError::Usage(format!("{} line {line}: {message}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_and_no_value_is_shown() {
        for text in [
            "databse = 'postgres://u:hunter2@h/d'",
            "[dump]\nexclude_table = ['hunter2']",
            "vault = 'hunter2",
        ] {
            let error = parse(Path::new("b.toml"), text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = parse(Path::new("b.toml"), "[dump]\nexclude_table = ['x']").unwrap_err().to_string();
        assert!(error.contains("`exclude_table`") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn the_example_in_the_page_about_checks_is_a_valid_configuration() {
        let page = include_str!("../../docs/checks.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let checks = parse(Path::new("x"), example).unwrap().checks;
        assert_eq!(checks.map["orders"].filter.as_deref(), Some("NOT test"));
        assert_eq!(checks.overrides["T1"].params["grace"], "10 seconds");
        assert!(checks.overrides["M16"].off && checks.overrides["M9"].error_if.is_some());
        let calendar = page.split("```toml\n").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
        let config = parse(Path::new("x"), calendar).unwrap();
        // A Monday that is the second of January is no day of the week to trade on.
        let days = ["2023-01-02", "2023-01-04"].map(|day| day.parse().unwrap());
        assert_eq!(config.calendar["tokyo"].sessions(days[0], days[1]).len(), 1);
        let stated = page.split("```toml\n").nth(3).and_then(|rest| rest.split("```").next()).unwrap();
        let checks = parse(Path::new("x"), stated).unwrap().checks;
        let stated =
            [checks.relation.len(), checks.unique.len(), checks.not_null.len(), checks.accepted.len()];
        assert_eq!(stated, [2, 1, 1, 1]);
    }

    #[test]
    fn the_template_of_init_is_a_valid_configuration() {
        let template = crate::ops::init::template(Path::new("/srv/it's"));
        assert_eq!(parse(Path::new("x"), &template).unwrap().vault.as_deref(), Some("/srv/it's"));
        // And every setting it only comments on is one that exists.
        let uncommented: String = template
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = parse(Path::new("x"), &uncommented).unwrap();
        assert!(config.dump.strict && config.tools.pg_dump.is_some() && config.jobs == Some(4));
    }
}
