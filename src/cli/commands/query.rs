//! `barkeep query`.

use std::fs::{File, Permissions};
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::prompt;
use crate::cli::CommandResult;
use crate::cli::args::{QueryArgs, QueryFormat};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::ops::OpsError;
use crate::ops::query::{Format, QueryReport, Questions};

pub(super) async fn run(args: &QueryArgs, context: &Context) -> CommandResult {
    // Answers, and a prompt, have the screen for themselves.
    context.progress.close();
    let (choice, sql) = args.meant().map_err(OpsError::Usage)?;
    let format = match args.format {
        QueryFormat::Table => Format::Table,
        QueryFormat::Csv => Format::Csv,
        QueryFormat::Json => Format::Json,
        QueryFormat::Parquet => Format::Parquet,
    };
    let questions = Questions::open(&context.vault()?, &choice)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let sql = match sql {
        Some("-") => standard_input()?,
        Some(sql) => sql.to_owned(),
        None if terminal => {
            prompt::run(&questions, format).await?;
            return Outcome::new(&(), String::new(), 0);
        }
        None => standard_input()?,
    };
    if context.json && args.output.is_none() {
        // The one document on standard output has the rows in it.
        return one_document(&questions, &sql).await;
    }
    let report = match &args.output {
        None if format == Format::Parquet && std::io::stdout().is_terminal() => {
            return Err(OpsError::Usage(
                "a Parquet file is nothing for a terminal; name one with -o".to_owned(),
            ));
        }
        None => questions.ask(&sql, format, Box::new(std::io::stdout())).await?,
        Some(path) => into_file(&questions, &sql, format, path).await?,
    };
    Outcome::new(&report, String::new(), 0)
}

/// The whole answer or none: the name appears when everything is written.
async fn into_file(
    questions: &Questions,
    sql: &str,
    format: Format,
    path: &Path,
) -> Result<QueryReport, OpsError> {
    // Devices, pipes and /dev/stdout are written to; put another file in their place, and they would be gone.
    let system = path.starts_with("/dev") || path.starts_with("/proc");
    if system || path.metadata().is_ok_and(|found| !found.is_file()) {
        let file = File::options().append(true).open(path).map_err(OpsError::Output)?;
        return questions.ask(sql, format, Box::new(BufWriter::new(file))).await;
    }
    // A link goes on pointing at what it points at.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::Builder::new();
    // As any new file; the process's mask narrows it.
    let part =
        part.permissions(Permissions::from_mode(0o666)).tempfile_in(folder).map_err(OpsError::Output)?;
    let file = part.as_file().try_clone().map_err(OpsError::Output)?;
    let report = questions.ask(sql, format, Box::new(BufWriter::new(file))).await?;
    part.persist(path).map_err(|error| OpsError::Output(error.error))?;
    Ok(report)
}

fn standard_input() -> Result<String, OpsError> {
    let mut sql = String::new();
    std::io::stdin().read_to_string(&mut sql).map_err(OpsError::Output)?;
    Ok(sql)
}

async fn one_document(questions: &Questions, sql: &str) -> CommandResult {
    let answer = Shared::default();
    let report = questions.ask(sql, Format::Json, Box::new(answer.clone())).await?;
    let text = answer.0.lock().map(|bytes| bytes.clone()).unwrap_or_default();
    let rows: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| OpsError::Internal(error.to_string()))?;
    let mut document =
        serde_json::to_value(&report).map_err(|error| OpsError::Internal(error.to_string()))?;
    document["answer"] = rows;
    Outcome::new(&document, String::new(), 0)
}

/// Bytes that are read when they are all there.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| std::io::Error::other("a thread died"))?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
