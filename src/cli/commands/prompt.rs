//! The prompt of `barkeep query`: SQL until a semicolon, and a few words that begin with a backslash.

use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::cli::output::table::table;
use crate::cli::output::{complain, print, render};
use crate::cli::surroundings::{Outside, Process, variable};
use crate::ops::OpsError;
use crate::ops::query::{Format, KnownTable, Questions};

const HELP: &str = "\
SQL ends with a semicolon. as_of('orders', '20261119') is a table as another backup has it.
  \\d          the tables
  \\d TABLE    its columns
  \\q          leave (or Ctrl-D)";

/// Asks and answers until somebody leaves.
pub(super) async fn run(questions: &Questions, format: Format) -> Result<(), OpsError> {
    let mut editor = DefaultEditor::new().map_err(unreadable)?;
    let history = history_file();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    let (backup, taken) = questions.backup();
    print(&format!("barkeep on backup {backup}, as of {}; \\? for help", taken.readable()));
    let mut sql = String::new();
    loop {
        let prompt = if sql.is_empty() { "barkeep> " } else { "      -> " };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                sql.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(unreadable(error)),
        };
        let word = line.trim();
        if sql.is_empty() && word.starts_with('\\') {
            if word == "\\q" {
                break;
            }
            print(&answer(word, &questions.tables()));
            continue;
        }
        sql.push_str(&line);
        sql.push('\n');
        if !word.ends_with(';') {
            if sql.trim().is_empty() {
                sql.clear();
            }
            continue;
        }
        let whole = std::mem::take(&mut sql);
        let _ = editor.add_history_entry(whole.trim());
        if let Some(path) = &history {
            // A question may be worth keeping to oneself, and is never worth stopping for.
            let _ = editor.save_history(path);
            let _ = std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600));
        }
        let out = Box::new(std::io::stdout());
        if let Err(error) = questions.ask(whole.trim().trim_end_matches(';'), format, out).await {
            complain(&render(&error));
        }
    }
    Ok(())
}

fn unreadable(error: ReadlineError) -> OpsError {
    OpsError::Output(std::io::Error::other(error))
}

/// What a word with a backslash says.
fn answer(word: &str, tables: &[KnownTable]) -> String {
    let (command, rest) = word.split_once(' ').unwrap_or((word, ""));
    let wanted = rest.trim();
    let is = |known: &&KnownTable| known.table.to_string() == wanted || known.table.name == wanted;
    match command {
        "\\d" if wanted.is_empty() => {
            let row = |known: &KnownTable| vec![known.table.to_string(), known.columns.len().to_string()];
            table(&["table", ">columns"], tables.iter().map(row))
        }
        "\\d" => match tables.iter().find(is) {
            Some(known) => {
                let row = |(name, kind): &(String, String)| vec![name.clone(), kind.clone()];
                table(&["column", "type"], known.columns.iter().map(row))
            }
            None => format!("this backup has no table {wanted}"),
        },
        _ => HELP.to_owned(),
    }
}

/// `$XDG_STATE_HOME/barkeep/history`, where state is kept at all.
fn history_file() -> Option<PathBuf> {
    let state = Process.variable(variable::STATE).map(PathBuf::from);
    let state =
        state.or_else(|| Some(PathBuf::from(Process.variable(variable::HOME)?).join(".local/state")))?;
    let folder = state.join("barkeep");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TableName;

    #[test]
    fn words_with_a_backslash_are_answered() {
        let columns = vec![("id".to_owned(), "bigint".to_owned())];
        let tables = [KnownTable { table: TableName::new("public", "orders"), columns }];
        assert!(answer("\\d", &tables).contains("public.orders"));
        assert!(answer("\\d orders", &tables).contains("bigint"));
        assert!(answer("\\d trades", &tables).contains("no table trades"));
        assert!(answer("\\?", &tables).contains("semicolon"));
    }
}
