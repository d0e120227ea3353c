//! What comes out: the report on standard output (for people, or as one JSON document), errors on standard error.

pub(super) mod row;
pub(super) mod table;

use std::io::Write;

use serde_json::{Value, json};

use super::CommandResult;
use super::hint::hint;
use crate::ops::OpsError;

/// What a command that did its work has to say.
pub(super) struct Outcome {
    /// The whole report.
    pub(super) report: Value,
    /// For people.
    pub(super) text: String,
    /// 0, 3, or the code of a proof that failed.
    pub(super) exit_code: u8,
}

impl Outcome {
    /// From a report and its text.
    pub(super) fn new(report: &impl serde::Serialize, text: String, exit_code: u8) -> Result<Self, OpsError> {
        let report = serde_json::to_value(report)
            .map_err(|error| OpsError::Internal(format!("the report: {error}")))?;
        Ok(Self { report, text, exit_code })
    }
}

/// Prints the outcome and gives the exit code.
pub(super) fn finish(command: &str, json: bool, outcome: CommandResult) -> u8 {
    let code = match &outcome {
        Ok(outcome) => outcome.exit_code,
        Err(error) => error.exit_code(),
    };
    match (&outcome, json) {
        (Ok(outcome), false) => print(&outcome.text),
        (Ok(outcome), true) => {
            print_json(&json!({ "command": command, "exit_code": code, "report": outcome.report }));
        }
        (Err(error), false) => complain(&render(error)),
        (Err(error), true) => {
            print_json(&json!({
                "command": command,
                "exit_code": code,
                "error": { "message": error.to_string(), "causes": causes(error), "hint": hint(error) },
            }));
        }
    }
    code
}

fn print_json(document: &Value) {
    print(&format!("{document:#}"));
}

/// A reader that has gone away (`| head`) is not an error.
pub(super) fn print(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
    }
}

/// Standard error has nowhere to report its own failure.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `Error: …`, numbered causes from the outside in, one hint.
pub(super) fn render(error: &OpsError) -> String {
    let mut text = format!("Error: {error}");
    let causes = causes(error);
    if !causes.is_empty() {
        text.push_str("\nCaused by:");
    }
    for (number, cause) in causes.iter().enumerate() {
        text.push_str(&format!("\n  {}: {cause}", number + 1));
    }
    if let Some(hint) = hint(error) {
        text.push_str(&format!("\nHint: {hint}"));
    }
    text
}

fn causes(error: &OpsError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some libraries put their source into their own message: say it once.
        if !said.contains(&text) {
            causes.push(text.clone());
        }
        said = text;
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::workbench::Workbench;
    use crate::pg::{ConnectionSettings, ProcessSurroundings};
    use crate::store::StoreError;

    #[test]
    fn an_error_has_three_parts() {
        let source = std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left on device");
        let error = OpsError::Store(StoreError::Io { doing: "write", path: "/v/x.parquet".into(), source });
        let text = "Error: cannot write /v/x.parquet\nCaused by:\n  1: no space left on device\n\
                    Hint: make room, then run again; nothing was committed";
        assert_eq!(render(&error), text);
        assert_eq!(error.exit_code(), 30);
    }

    #[tokio::test]
    async fn a_failed_login_never_shows_the_password() {
        // Port 1 answers nobody; the address is shown, the password is not.
        let uri = "postgres://trader:hunter2@127.0.0.1:1/trading";
        let settings = ConnectionSettings::resolve(uri, &ProcessSurroundings).unwrap();
        let Err(error) = Workbench::connect(&settings).await else { panic!("somebody listens on port 1") };
        let error = OpsError::from(error);
        let text = render(&error);
        assert!(text.contains("trader@127.0.0.1:1/trading") && text.contains("Hint: "), "{text}");
        assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"));
    }
}
