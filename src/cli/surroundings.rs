//! The process's environment and files, as a parameter, and the one list of environment variables barkeep itself reads.

use std::path::PathBuf;

/// Variables of barkeep's own; libpq's are in `pg::settings`.
pub(super) mod variable {
    /// The vault.
    pub(in crate::cli) const VAULT: &str = "BARKEEP_VAULT";
    /// The database.
    pub(in crate::cli) const DATABASE: &str = "BARKEEP_DATABASE";
    /// The configuration file.
    pub(in crate::cli) const CONFIG: &str = "BARKEEP_CONFIG";
    /// Where programs are looked for.
    pub(in crate::cli) const PATH: &str = "PATH";
    /// Where programs keep what they remember.
    pub(in crate::cli) const STATE: &str = "XDG_STATE_HOME";
    /// For the second place of the configuration file.
    pub(in crate::cli) const HOME: &str = "HOME";
}

/// What the command line needs from outside.
pub(super) trait Outside {
    /// A variable, `None` where it is unset or empty.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text, `None` where there is no such file.
    fn file(&self, path: &std::path::Path) -> std::io::Result<Option<String>>;
    /// Standard error is a terminal.
    fn stderr_is_terminal(&self) -> bool;
}

/// The real process.
pub(super) struct Process;

impl Outside for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn file(&self, path: &std::path::Path) -> std::io::Result<Option<String>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stderr_is_terminal(&self) -> bool {
        std::io::IsTerminal::is_terminal(&std::io::stderr())
    }
}

/// Where a configuration file is looked for, if none is named.
pub(super) fn usual_places(outside: &dyn Outside) -> Vec<PathBuf> {
    let home =
        outside.variable(variable::HOME).map(|home| PathBuf::from(home).join(".config/barkeep/config.toml"));
    std::iter::once(PathBuf::from("barkeep.toml")).chain(home).collect()
}
