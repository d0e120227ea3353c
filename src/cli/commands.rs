//! One file a command: arguments and context into a request, the request to `ops`, the report into text.

mod check;
mod compare;
mod demo;
mod diff;
mod doctor;
mod drill;
mod dump;
mod files;
mod init;
mod list;
#[cfg(feature = "query")]
mod prompt;
#[cfg(feature = "query")]
mod query;
mod restore;
mod selection;
mod show;
mod verify;

use super::args::Command;
use super::context::Context;
use super::{CommandResult, output::Outcome};
use crate::ops::OpsError;

/// Runs a command.
pub(super) async fn run(command: Command, context: Context) -> CommandResult {
    let outcome = dispatch(command, &context).await;
    context.progress.close();
    outcome
}

async fn dispatch(command: Command, context: &Context) -> Result<Outcome, OpsError> {
    match command {
        Command::Demo(args) => demo::run(&args, context).await,
        Command::Dump(args) => dump::run(&args, context).await,
        Command::Restore(args) => restore::run(&args, context).await,
        Command::Verify(args) => verify::run(&args, context).await,
        Command::Check(args) => check::run(&args, context).await,
        Command::Compare(args) => compare::run(&args, context).await,
        Command::Diff(args) => diff::run(&args, context).await,
        #[cfg(feature = "query")]
        Command::Query(args) => query::run(&args, context).await,
        Command::Drill(args) => drill::run(&args, context).await,
        Command::List(_) => list::run(context),
        Command::Show(args) => show::run(&args, context),
        Command::Files(args) => files::run(&args, context),
        Command::Init(_) => init::run(context),
        Command::Doctor(args) => doctor::run(&args, context).await,
    }
}
