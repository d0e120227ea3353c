//! Log lines on standard error: warnings by default, more with `-v`. Progress and reports do not come through here.

use tracing_subscriber::EnvFilter;

/// Starts logging. A second start (in tests) changes nothing.
pub(super) fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "barkeep=debug,warn",
        _ => "barkeep=trace,debug",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_target(false)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}
