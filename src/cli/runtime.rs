//! Runs one command until it is done or a signal comes. The first SIGINT or SIGTERM drops the operation, whose values
//! clean up after themselves (staging folder, throw-away server); the second ends the process at once.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::CommandResult;
use crate::ops::OpsError;

/// How long threads of a stopped operation may take to notice.
const LEAVE_TAKING: Duration = Duration::from_secs(5);

/// Builds the runtime, runs the future, stops on a signal.
pub(super) fn run<F, Fut>(command: F) -> CommandResult
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = CommandResult>,
{
    let failed = |error: std::io::Error| OpsError::Internal(format!("no runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let stopped = listen()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = command() => outcome,
            Ok(name) = stopped => Err(OpsError::Interrupted(name)),
        }
    });
    runtime.shutdown_timeout(LEAVE_TAKING);
    outcome
}

/// Listens on a thread of its own, so that the second signal works however busy or stuck the runtime is.
fn listen() -> Result<oneshot::Receiver<&'static str>, OpsError> {
    let failed = |error: std::io::Error| OpsError::Internal(format!("no signal handler: {error}"));
    let (tell, told) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let listening = move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => ("SIGINT", 130),
                    _ = terminate.recv() => ("SIGTERM", 143),
                }
            };
            let (name, _) = next().await;
            // The command may be done already; then nobody is listening, and the process ends anyway.
            let _ = tell.send(name);
            let (_, code) = next().await;
            std::process::exit(code);
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listening).map_err(failed)?;
    Ok(told)
}
