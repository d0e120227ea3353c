//! [`Context`]: what holds for any command, after options, environment and configuration have been laid over each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{GlobalArgs, ProgressMode};
use super::config::{self, Config};
use super::progress::Progress;
use super::surroundings::{Outside, usual_places, variable};
use crate::base::SystemClock;
use crate::ops::{OpsError, Services};
use crate::pg::client_tools::Search;
use crate::pg::{ConnectionSettings, PgError, ProcessSurroundings};
use crate::store::Vault;

/// Everything resolved that is not a command's own.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) config: Config,
    /// Where the configuration is, or would be written by `init`.
    pub(super) config_path: PathBuf,
    /// `--vault` as typed, before environment and file.
    pub(super) vault_option: Option<PathBuf>,
    vault: Option<PathBuf>,
    database: Option<String>,
    pub(super) tools: Search,
    pub(super) quiet: bool,
    pub(super) json: bool,
    pub(super) progress: Arc<Progress>,
    pub(super) services: Services,
}

impl Context {
    /// Options beat environment beats file.
    ///
    /// `insist`: a configuration file that is named must exist (`init` is about to make it).
    pub(super) fn resolve(args: &GlobalArgs, insist: bool, outside: &dyn Outside) -> Result<Self, OpsError> {
        let (config_path, config) = read_config(args.config.as_deref(), insist, outside)?;
        let folder = config_path.parent().map(Path::to_owned).unwrap_or_default();
        let vault = args
            .vault
            .clone()
            .or_else(|| outside.variable(variable::VAULT).map(PathBuf::from))
            .or_else(|| config.vault.as_ref().map(|vault| folder.join(vault)));
        let mode = progress_mode(args, &config, outside)?;
        let progress = Arc::new(Progress::new(mode));
        Ok(Self {
            vault_option: args.vault.clone(),
            vault,
            database: outside.variable(variable::DATABASE).or_else(|| config.database.clone()),
            tools: Search {
                setting: config.tools.pg_dump.clone(),
                path: outside.variable(variable::PATH).map(Into::into),
            },
            quiet: args.quiet,
            json: args.json,
            services: Services { clock: Arc::new(SystemClock), events: progress.clone() },
            progress,
            config,
            config_path,
        })
    }

    /// Where the vault is, if anything says so.
    pub(super) fn vault_path(&self) -> Option<&Path> {
        self.vault.as_deref()
    }

    /// Opens the vault.
    pub(super) fn vault(&self) -> Result<Vault, OpsError> {
        let path = self.vault.as_deref().ok_or_else(|| OpsError::Usage("no vault is named".to_owned()))?;
        refuse_url(path)?;
        Ok(Vault::open(path)?)
    }

    /// The database of an argument, else of the environment, else of the configuration, else libpq's default.
    pub(super) fn database(&self, argument: Option<&str>) -> Result<ConnectionSettings, OpsError> {
        let text = argument.or(self.database.as_deref()).unwrap_or_default();
        Ok(ConnectionSettings::resolve(text, &ProcessSurroundings).map_err(PgError::from)?)
    }

    /// Lanes: the option, else the configuration, else the processors but at least two and at most eight.
    pub(super) fn jobs(&self, option: Option<usize>) -> usize {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        option.or(self.config.jobs).unwrap_or_else(|| processors.clamp(2, 8)).max(1)
    }
}

/// A URL would otherwise become a folder named `s3:`.
pub(super) fn refuse_url(path: &Path) -> Result<(), OpsError> {
    match path.to_str().and_then(|text| text.split_once("://")) {
        Some((scheme, _)) => Err(OpsError::Usage(format!(
            "vaults of the kind {scheme}:// are not supported by this version; name a directory"
        ))),
        None => Ok(()),
    }
}

fn read_config(
    named: Option<&Path>,
    insist: bool,
    outside: &dyn Outside,
) -> Result<(PathBuf, Config), OpsError> {
    let named = named.map(Path::to_owned).or_else(|| outside.variable(variable::CONFIG).map(PathBuf::from));
    let must_exist = named.is_some() && insist;
    let places = named.map_or_else(|| usual_places(outside), |path| vec![path]);
    let first = places.first().cloned().unwrap_or_default();
    for path in places {
        let unreadable =
            |error: std::io::Error| OpsError::Usage(format!("cannot read {}: {error}", path.display()));
        if let Some(text) = outside.file(&path).map_err(unreadable)? {
            let config = config::parse(&path, &text)?;
            return Ok((path, config));
        }
    }
    if must_exist {
        return Err(OpsError::Usage(format!("the configuration file {} does not exist", first.display())));
    }
    Ok((first, Config::default()))
}

fn progress_mode(
    args: &GlobalArgs,
    config: &Config,
    outside: &dyn Outside,
) -> Result<ProgressMode, OpsError> {
    if args.quiet {
        return Ok(ProgressMode::None);
    }
    let written = match &config.progress {
        None => None,
        Some(text) => Some(<ProgressMode as clap::ValueEnum>::from_str(text, false).map_err(|_| {
            OpsError::Usage(format!("progress = {text:?} is none of auto, bar, plain, json, none"))
        })?),
    };
    Ok(match args.progress.or(written).unwrap_or(ProgressMode::Auto) {
        ProgressMode::Auto if outside.stderr_is_terminal() => ProgressMode::Bar,
        ProgressMode::Auto => ProgressMode::Plain,
        other => other,
    })
}
