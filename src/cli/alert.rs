//! [`alert`]: a command of the operator's own, told when something did not hold.
//!
//! It gets what there is to read on standard input. Whether it took it is part of what is reported; that it did not changes
//! no verdict.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Who is told has so long to take it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happened, for a script that does not read.
pub(super) struct Occasion<'a> {
    /// `drill`.
    pub(super) command: &'a str,
    /// What the program ends with.
    pub(super) exit_code: u8,
    /// In a sentence.
    pub(super) sentence: &'a str,
}

/// Runs `line` in a shell; in words how that went, and whether it took the text.
pub(super) async fn alert(line: &str, occasion: &Occasion<'_>, text: &str) -> (bool, String) {
    match tokio::time::timeout(PATIENCE, tell(line, occasion, text)).await {
        Err(_) => (false, format!("NOT delivered: its command did not end within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => (false, format!("NOT delivered: {error}")),
        Ok(Ok(status)) if status.success() => (true, "delivered".to_owned()),
        Ok(Ok(status)) => (false, format!("NOT delivered: its command ended with {status}")),
    }
}

async fn tell(line: &str, occasion: &Occasion<'_>, text: &str) -> std::io::Result<std::process::ExitStatus> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env("BARKEEP_COMMAND", occasion.command)
        .env("BARKEEP_EXIT_CODE", occasion.exit_code.to_string())
        .env("BARKEEP_SENTENCE", occasion.sentence)
        .stdin(Stdio::piped())
        // Standard output is the report's.
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(text.as_bytes()).await {
            // A command may know enough without reading.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait().await
}
