//! The command line: arguments in, one request to `ops`, a report out. Nothing else prints, reads the environment, or
//! knows the terminal.
//!
//! Two stages: [`args`] is what was typed; `context` resolves it with environment and configuration into what is meant.

mod alert;
pub mod args;
mod commands;
mod config;
mod context;
mod hint;
mod logging;
mod output;
mod progress;
mod runtime;
mod surroundings;

use std::ffi::OsString;

use clap::Parser;

use args::Args;
use context::Context;
use output::Outcome;

/// Runs the command line; the result is the process's exit code (`docs/exit-codes.md`).
pub fn run(arguments: Vec<OsString>) -> u8 {
    let args = match Args::try_parse_from(&arguments) {
        Ok(args) => args,
        Err(error) => return refused(&arguments, &error),
    };
    let json = args.global.json;
    let name = args.command.name();
    logging::start(args.global.verbose, args.global.quiet);
    let outcome = Context::resolve(&args.global, args.command.needs_config(), &surroundings::Process)
        .and_then(|context| runtime::run(|| commands::run(args.command, context)));
    output::finish(name, json, outcome)
}

/// What clap has to say: help and version are no errors.
fn refused(arguments: &[OsString], error: &clap::Error) -> u8 {
    let wrong = error.use_stderr();
    if wrong && arguments.iter().any(|argument| argument == "--json") {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        return output::finish("", true, Err(crate::ops::OpsError::Usage(first)));
    }
    // A closed pipe must not change the exit code.
    let _ = error.print();
    if wrong { 2 } else { 0 }
}

/// What a command returns: a report that is there, or an error.
type CommandResult = Result<Outcome, crate::ops::OpsError>;

#[cfg(test)]
mod tests;
