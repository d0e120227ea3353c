//! `barkeep check`.

use std::time::Duration;

use crate::base::chain;
use crate::checks::{MappedRole, Verdict};
use crate::cli::CommandResult;
use crate::cli::args::{CheckArgs, CheckFormat};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{count, plural, seconds, table};
use crate::ops::check::{CheckOutcome, CheckReport, CheckRequest, CheckTarget, check};
use crate::ops::{ExitCode, OpsError};
use crate::report::Report;

pub(super) async fn run(args: &CheckArgs, context: &Context) -> CommandResult {
    let target = match args.database.as_deref() {
        Some(database) => {
            CheckTarget::Database(context.database(Some(database).filter(|text| !text.is_empty()))?)
        }
        None => CheckTarget::Backup(context.vault()?, args.backup.choice()),
    };
    let request = CheckRequest {
        packs: args.pack.clone(),
        only: args.only.clone(),
        sample: args.sample,
        settings: context.config.checks.clone(),
        explain: args.explain,
        charts: args.format == CheckFormat::Html,
        store: args.store.clone(),
        calendars: context.config.calendar.clone(),
        ..CheckRequest::new(target)
    };
    let report = check(&request, &context.services).await?;
    let text = match args.explain {
        true => explanation(&report),
        false => rendered(&report, args, context)?,
    };
    let code = exit_code(&report);
    match &args.output {
        None => Outcome::new(&report, text, code),
        Some(path) => {
            std::fs::write(path, text).map_err(OpsError::Output)?;
            Outcome::new(&report, summary(&report), code)
        }
    }
}

/// The report in the form that was asked for.
fn rendered(report: &CheckReport, args: &CheckArgs, context: &Context) -> Result<String, OpsError> {
    let internal = |error: &dyn std::fmt::Display| OpsError::Internal(format!("the report: {error}"));
    let command = match (&args.database, &report.backup) {
        (Some(_), _) => format!("barkeep check --db {}", report.database),
        (None, Some(backup)) => format!("barkeep check {}", backup.id),
        (None, None) => "barkeep check".to_owned(),
    };
    let document =
        || report.document(&command, context.services.clock.now()).map_err(|error| internal(&error));
    let render = |form: Report| form.render(&document()?).map_err(|error| internal(&chain(&error)));
    match args.format {
        CheckFormat::Table => Ok(verdicts(report)),
        CheckFormat::Json => Ok(format!("{:#}\n", document()?)),
        CheckFormat::Junit => render(Report::CheckJunit),
        CheckFormat::Html => render(Report::CheckHtml),
    }
}

fn exit_code(report: &CheckReport) -> u8 {
    let code = match (report.is_sound(), report.count(Verdict::Warn) + report.warnings.len()) {
        (false, _) => ExitCode::Checks,
        (true, 0) => ExitCode::Ok,
        (true, _) => ExitCode::Warnings,
    };
    code as u8
}

/// The worst first, each with the rows that it objects to; what passed in one table; one line for all.
fn verdicts(report: &CheckReport) -> String {
    let mut checks: Vec<&CheckOutcome> = report.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    let (loud, quiet): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| check.verdict > Verdict::Skipped);
    let mut text: String = loud.iter().map(|check| findings(check)).collect();
    let line = |check: &&CheckOutcome| {
        let rows = if check.verdict == Verdict::Pass { count(check.scanned) } else { String::new() };
        let note = check.note.clone().unwrap_or_default();
        let object = check.object.clone().unwrap_or_default();
        vec![word(check.verdict).to_owned(), check.id.clone(), check.name.clone(), object, rows, note]
    };
    text.push_str(&table(&["", "check", "", "", ">rows", ""], quiet.iter().map(line)));
    for warning in &report.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text.push('\n');
    text.push_str(&summary(report));
    text
}

/// Everything in a line.
fn summary(report: &CheckReport) -> String {
    let number = |verdict| report.count(verdict);
    let whose = match &report.backup {
        Some(backup) => format!("{} in backup {}", report.database, backup.id),
        None => report.database.clone(),
    };
    format!(
        "{}: {} failed, {} could not be answered, {} warned, {} passed, {} skipped, as of {}, in {}\n",
        whose,
        number(Verdict::Fail),
        number(Verdict::Error),
        number(Verdict::Warn),
        number(Verdict::Pass),
        number(Verdict::Skipped),
        report.snapshot_time.readable(),
        seconds(Duration::from_secs_f64(report.seconds))
    )
}

pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Skipped => "skipped",
        Verdict::Warn => "WARN",
        Verdict::Fail => "FAIL",
        Verdict::Error => "ERROR",
    }
}

fn findings(check: &CheckOutcome) -> String {
    let object = check.object.as_ref().map(|object| format!(" of {object}")).unwrap_or_default();
    let mut text = format!("{} {} {}{object}: ", word(check.verdict), check.id, check.name);
    let counted = || format!("{} among {}", plural(check.findings, "finding"), plural(check.scanned, "row"));
    text.push_str(&match &check.note {
        Some(note) if check.findings == 0 => format!("{note}\n"),
        Some(note) => format!("{}, {note}\n", counted()),
        None => format!("{}\n", counted()),
    });
    text.push_str(&format!("  {}\n", check.question));
    if !check.sample.is_empty() {
        let header: Vec<&str> = check.columns.iter().map(String::as_str).collect();
        let rows = check.sample.iter().map(|row| row.iter().map(|value| shown(value.as_deref())).collect());
        for line in table(&header, rows).lines() {
            text.push_str(&format!("    {line}\n"));
        }
        if check.findings > check.sample.len() as u64 {
            text.push_str("    … and more; --sample N shows them\n");
        }
        text.push_str(&format!("  {}\n", check.why));
    }
    text.push('\n');
    text
}

/// A value as one short piece of a line, whatever it contains.
fn shown(value: Option<&str>) -> String {
    const LONGEST: usize = 60;
    let Some(value) = value else { return "NULL".to_owned() };
    let printed = if value.chars().any(char::is_control) { format!("{value:?}") } else { value.to_owned() };
    if printed.chars().count() <= LONGEST {
        return printed;
    }
    printed.chars().take(LONGEST).chain(['…']).collect()
}

/// What plays which role, and the same as a configuration.
fn explanation(report: &CheckReport) -> String {
    let mut rows = Vec::new();
    for (role, mapped) in &report.mapping.roles {
        rows.push(vec![role.clone(), mapped.table.to_string(), mapped.why.to_owned()]);
        for (column, found) in &mapped.columns {
            let name = format!("  {} {}", found.name, found.type_sql);
            let why = if found.as_text { format!("{}, as text", found.why) } else { found.why.to_owned() };
            rows.push(vec![format!("  {column}"), name, why]);
        }
        for (column, why) in &mapped.unfit {
            rows.push(vec![format!("  {column}"), format!("  - {why}"), String::new()]);
        }
    }
    if rows.is_empty() {
        return format!(
            "{}: no table is recognised; name tables and columns in barkeep.toml under [checks.map]\n",
            report.database
        );
    }
    let config: Vec<String> =
        report.mapping.roles.iter().map(|(role, mapped)| configuration(role, mapped)).collect();
    format!(
        "{}\nThe same for barkeep.toml, to start from:\n\n{}",
        table(&["role", "table, column", "taken"], rows),
        config.join("\n")
    )
}

/// `[checks.map.orders]` and its columns.
fn configuration(role: &str, mapped: &MappedRole) -> String {
    let text = |value: &str| toml::Value::from(value).to_string();
    let mut config = format!("[checks.map.{role}]\ntable = {}\n", text(&mapped.table.to_string()));
    let set = |name: &str, value: Option<&str>, example: &str| match value {
        Some(value) => format!("{name} = {}\n", text(value)),
        None => format!("# {name} = {}\n", text(example)),
    };
    if ["bars", "coarse"].contains(&role) {
        config.push_str(&set("interval", mapped.interval.as_deref(), "1 minute"));
    }
    if role == "bars" {
        config.push_str(&set("calendar", mapped.calendar.as_deref(), "24x7"));
    }
    config.extend(mapped.columns.iter().map(|(column, found)| format!("{column} = {}\n", text(&found.name))));
    config
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::TableName;
    use crate::checks::{ColumnSort, MappedColumn};

    #[test]
    fn what_explain_prints_is_a_configuration() {
        let column = MappedColumn {
            name: "Close \"adj\"".to_owned(),
            type_sql: "numeric".to_owned(),
            sort: ColumnSort::Decimal,
            as_text: false,
            why: "by its name",
        };
        let mapped = MappedRole {
            table: TableName::new("md", "Bars 1m"),
            why: "by its name",
            filter: None,
            interval: Some("1 minute".to_owned()),
            calendar: None,
            columns: BTreeMap::from([("close".to_owned(), column)]),
            unfit: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        let text = configuration("bars", &mapped);
        let config = crate::cli::config::parse(std::path::Path::new("x"), &text).unwrap();
        let bars = &config.checks.map["bars"];
        assert_eq!(bars.table.as_deref(), Some("md.\"Bars 1m\""));
        assert_eq!(
            (bars.interval.as_deref(), bars.columns["close"].as_str()),
            (Some("1 minute"), "Close \"adj\"")
        );
    }
}
