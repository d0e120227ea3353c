//! What every case needs: the server, the peers, a folder for results, and ways to call barkeep.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::case::{FLOOR, Program};
use crate::peers::Peers;
use crate::server::{Server, clear};

/// All of it. The folder goes with the value.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) peers: Peers,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

impl World {
    pub(crate) fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("barkeep-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for results");
        // Nothing of the measurer's own settings.
        fs::write(folder.join("barkeep.toml"), "").expect("a configuration");
        let server = Server::start();
        let peers = Peers::find(&server);
        Self { server, peers, folder }
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// barkeep, quiet, with a vault.
    pub(crate) fn barkeep(&self, vault: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
        command.env("PATH", self.server.path()).env_remove("BARKEEP_CONFIG").env_remove("BARKEEP_VAULT");
        command.arg("--vault").arg(vault).arg("--config").arg(self.place("barkeep.toml"));
        command.args(["-q", "--progress", "none"]);
        command
    }

    /// An empty vault: a second dump into one would find its pieces there already.
    pub(crate) fn empty_vault(&self, vault: &Path) {
        if vault.exists() {
            clear(vault);
        }
        let made = Command::new(env!("CARGO_BIN_EXE_barkeep"))
            .args(["-q", "init", "--vault"])
            .arg(vault)
            .arg("--config")
            .arg(self.place("made.toml"))
            .stdout(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "barkeep init {}", vault.display());
        clear(&self.place("made.toml"));
    }

    /// barkeep dumping a database, or one table of it, into an empty vault.
    pub(crate) fn dump(&self, database: &str, lanes: usize, arguments: &[&str]) -> Program<'_> {
        let vault = self.place(&format!("vault-{lanes}"));
        let (to, keywords) = (vault.clone(), self.server.keywords(database));
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Program {
            name: barkeep(lanes),
            prepare: Box::new(move || self.empty_vault(&to)),
            result: Some(vault.clone()),
            command: Box::new(move || {
                let mut command = self.barkeep(&vault);
                command.args(["dump", "-j", &lanes.to_string()]).args(&arguments).arg(&keywords);
                command
            }),
        }
    }

    /// The floor: psql with commands of its own.
    pub(crate) fn floor(
        &self,
        database: &str,
        prepare: impl Fn() + 'static,
        commands: Vec<String>,
    ) -> Program<'_> {
        let database = database.to_owned();
        Program {
            name: FLOOR.to_owned(),
            prepare: Box::new(prepare),
            result: None,
            command: Box::new(move || {
                self.server.psql(&database, &commands.iter().map(String::as_str).collect::<Vec<_>>())
            }),
        }
    }

    /// A program that makes one file or folder.
    pub(crate) fn maker<'a>(
        &'a self,
        name: &str,
        command: impl Fn(&Path) -> Option<Command> + 'a,
    ) -> Option<Program<'a>> {
        let made: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let result = self.place(&format!("made-{made}"));
        command(&result)?;
        let (before, file) = (result.clone(), result.clone());
        Some(Program {
            name: name.to_owned(),
            prepare: Box::new(move || {
                if before.exists() {
                    clear(&before);
                }
            }),
            result: Some(result),
            // It was there a moment ago.
            command: Box::new(move || command(&file).unwrap_or_else(|| Command::new("false"))),
        })
    }

    /// A pg_dump of a database into a file or folder.
    pub(crate) fn pg_dump<'a>(
        &'a self,
        program: &'a str,
        database: &'a str,
        name: &str,
        arguments: &'a [&str],
    ) -> Option<Program<'a>> {
        self.maker(name, move |result| {
            let mut command = self.server.client(program);
            command.args(arguments).arg("-f").arg(result).args(["-d", database]);
            Some(command)
        })
    }
}

/// barkeep's name with so many lanes.
pub(crate) fn barkeep(lanes: usize) -> String {
    format!("barkeep, {lanes} lane{}", if lanes == 1 { "" } else { "s" })
}
