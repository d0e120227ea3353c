//! `barkeep drill`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::check::word;
use crate::base::chain;
use crate::checks::Verdict;
use crate::cli::CommandResult;
use crate::cli::alert::{Occasion, alert};
use crate::cli::args::{DrillArgs, PolicyChoice, TargetChoice};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::table::{seconds, table};
use crate::ops::OpsError;
use crate::ops::drill::{DrillReport, DrillRequest, DrillTarget, Policy, drill};
use crate::report::Report;

pub(super) async fn run(args: &DrillArgs, context: &Context) -> CommandResult {
    let config = &context.config.drill;
    let mut report = match (drilled(args, context).await, &config.alert) {
        (Err(error), Some(line)) => {
            not_begun(line, &error).await;
            return Err(error);
        }
        (drilled, _) => drilled?,
    };
    if let Some(line) = config.alert.as_ref().filter(|_| report.verdict >= Verdict::Fail) {
        let text = rendered(&report, Report::DrillMarkdown)?;
        let (_, how) = alert(line, &occasion(report.exit_code, &report.verdict_text), &text).await;
        report.warnings.push(format!("the alert of this drill was {how}"));
    }
    let mut text = summary(&report);
    let folder = args.report.clone().or_else(|| config.report.as_ref().map(PathBuf::from));
    if let Some(folder) = folder {
        write(&report, &folder)?;
        text.push_str(&format!("reports: {}\n", folder.join("drill.html").display()));
    }
    Outcome::new(&report, text, report.exit_code)
}

async fn drilled(args: &DrillArgs, context: &Context) -> Result<DrillReport, OpsError> {
    let config = &context.config.drill;
    let request = DrillRequest {
        policy: policy(args, context)?,
        target: target(args, context)?,
        allow_source_server: args.allow_source_server,
        keep: args.keep,
        rto: span("rto", args.rto.as_ref().or(config.rto.as_ref()))?,
        rpo: span("rpo", args.rpo.as_ref().or(config.rpo.as_ref()))?,
        jobs: context.jobs(args.jobs),
        checks: context.config.checks.clone(),
        packs: if args.pack.is_empty() { config.packs.clone() } else { args.pack.clone() },
        calendars: context.config.calendar.clone(),
        smoke: config.smoke.clone(),
        arguments: arguments(args),
    };
    drill(&context.vault()?, &request, &context.services).await
}

fn occasion(exit_code: u8, sentence: &str) -> Occasion<'_> {
    Occasion { command: "drill", exit_code, sentence }
}

/// A drill that could not even begin is what nobody notices for months.
async fn not_begun(line: &str, error: &OpsError) {
    let text = chain(error);
    let (delivered, how) = alert(line, &occasion(error.exit_code(), &text), &format!("{text}\n")).await;
    if !delivered {
        tracing::warn!("the alert of this drill was {how}");
    }
}

fn one_of<T: ValueEnum>(
    name: &str,
    option: Option<T>,
    written: Option<&String>,
) -> Result<Option<T>, OpsError> {
    let Some(text) = written.filter(|_| option.is_none()) else { return Ok(option) };
    let parsed = T::from_str(text, false);
    parsed.map(Some).map_err(|_| OpsError::Usage(format!("[drill] {name} = {text:?} is none that there is")))
}

fn policy(args: &DrillArgs, context: &Context) -> Result<Policy, OpsError> {
    let choice = args.backup.choice();
    if choice.name.is_some() || choice.before.is_some() {
        return Ok(Policy::Named(choice));
    }
    let policy = one_of("policy", args.policy, context.config.drill.policy.as_ref())?;
    Ok(match policy.unwrap_or(PolicyChoice::Latest) {
        PolicyChoice::Latest => Policy::Named(choice),
        PolicyChoice::LatestVerified => Policy::LatestVerified,
        PolicyChoice::Random => Policy::Random,
        PolicyChoice::Oldest => Policy::Oldest,
    })
}

fn target(args: &DrillArgs, context: &Context) -> Result<DrillTarget, OpsError> {
    let config = &context.config.drill;
    let (to, image) =
        (args.to.as_ref().or(config.to.as_ref()), args.image.as_ref().or(config.image.as_ref()));
    let told = match (&args.target, &args.to, &args.image) {
        (None, Some(_), _) => Some(TargetChoice::Scratch),
        (None, None, Some(_)) => Some(TargetChoice::Container),
        (other, _, _) => *other,
    };
    let chosen = one_of("target", told, config.target.as_ref())?;
    let by_config = if to.is_some() { TargetChoice::Scratch } else { TargetChoice::Embedded };
    let lacking = |what: &str| OpsError::Usage(what.to_owned());
    Ok(match chosen.unwrap_or(by_config) {
        TargetChoice::Embedded => DrillTarget::Embedded,
        TargetChoice::Container => {
            let image =
                image.ok_or_else(|| lacking("a container needs an image: --image, or [drill] image"))?;
            DrillTarget::Container(image.clone())
        }
        TargetChoice::Scratch => {
            let to = to.ok_or_else(|| lacking("a scratch database needs a name: --to, or [drill] to"))?;
            DrillTarget::Scratch(context.database(Some(to))?)
        }
    })
}

/// `4h`, `90min`, `1h 30m`.
fn span(name: &str, text: Option<&String>) -> Result<Option<Duration>, OpsError> {
    let parse = |text: &String| {
        let span: Option<jiff::SignedDuration> = text.parse().ok();
        let positive = span.and_then(|span| Duration::try_from(span).ok());
        positive.ok_or_else(|| {
            OpsError::Usage(format!("--{name} {text:?} is no stretch of time; write 4h, 90min or 1h 30min"))
        })
    };
    text.map(parse).transpose()
}

/// What was said beside the backup's name, without what could be secret.
fn arguments(args: &DrillArgs) -> String {
    let mut words = Vec::new();
    words.extend(args.rto.iter().map(|limit| format!("--rto '{limit}'")));
    words.extend(args.rpo.iter().map(|limit| format!("--rpo '{limit}'")));
    words.extend(args.image.iter().map(|image| format!("--image {image}")));
    words.extend(args.pack.iter().map(|pack| format!("--pack {pack}")));
    words.join(" ")
}

fn summary(report: &DrillReport) -> String {
    let proof = |proof: &crate::ops::drill::Proof| {
        vec![word(proof.verdict).to_owned(), proof.title.to_owned(), proof.text.clone()]
    };
    let mut text = table(&["", "proof", ""], report.proofs.iter().map(proof));
    let phase = |phase: &crate::ops::drill::DrillPhase| {
        let waited = if phase.service { "yes" } else { "" };
        vec![phase.name.clone(), seconds(Duration::from_secs_f64(phase.seconds)), waited.to_owned()]
    };
    text.push('\n');
    text.push_str(&table(&["phase", ">time", "applications wait"], report.rto.phases.iter().map(phase)));
    text.push('\n');
    for warning in &report.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let service = report.rto.service_seconds.map(Duration::from_secs_f64);
    let rto = service.map_or("not measured".to_owned(), seconds);
    text.push_str(&format!(
        "{}: {} (backup {}, RTO {rto}, in {})\n",
        word(report.verdict),
        report.verdict_text,
        report.backup.id,
        seconds(Duration::from_secs_f64(report.seconds))
    ));
    text
}

fn document(report: &DrillReport) -> Result<serde_json::Value, OpsError> {
    serde_json::to_value(report).map_err(|error| OpsError::Internal(format!("the report: {error}")))
}

fn rendered(report: &DrillReport, form: Report) -> Result<String, OpsError> {
    let text = form.render(&document(report)?);
    text.map_err(|error| OpsError::Internal(format!("the report: {}", chain(&error))))
}

/// The report in all its forms.
fn write(report: &DrillReport, folder: &Path) -> Result<(), OpsError> {
    let document = document(report)?;
    std::fs::create_dir_all(folder).map_err(OpsError::Output)?;
    for (name, text) in [
        ("drill.html", rendered(report, Report::DrillHtml)?),
        ("drill.md", rendered(report, Report::DrillMarkdown)?),
        ("drill.junit.xml", rendered(report, Report::DrillJunit)?),
        ("drill.json", format!("{document:#}\n")),
    ] {
        std::fs::write(folder.join(name), text).map_err(OpsError::Output)?;
    }
    Ok(())
}
