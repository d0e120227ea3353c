//! `barkeep files`.

use crate::catalog::Pattern;
use crate::cli::CommandResult;
use crate::cli::args::FilesArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::cli::output::complain;
use crate::cli::output::table::plural;
use crate::ops::OpsError;
use crate::ops::files::{Reader, files};

pub(super) fn run(args: &FilesArgs, context: &Context) -> CommandResult {
    let pattern = Pattern::parse(&args.table).map_err(|error| OpsError::Usage(error.to_string()))?;
    let report = files(&context.vault()?, &args.backup.choice(), &pattern)?;
    if report.exceptions > 0 && !context.quiet {
        complain(&format!(
            "note: {} of {} stand in exceptions sidecars and read as NULL here; restore and verify use them",
            plural(report.exceptions, "value"),
            report.table,
        ));
    }
    let reader = [(args.duckdb, Reader::DuckDb), (args.polars, Reader::Polars), (args.spark, Reader::Spark)];
    let text = match reader.into_iter().find(|(wanted, _)| *wanted) {
        Some((_, reader)) => report.line(reader),
        None => report.paths.iter().map(|path| format!("{}\n", path.display())).collect(),
    };
    Outcome::new(&report, text, 0)
}
