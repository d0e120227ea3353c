//! Names the sessions that wait for the dump's locks, while it runs: somebody's migration hangs because of us, and
//! whoever looks at the log should see whose.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use crate::base::{Event, Events};
use crate::pg::{Locked, Source};

/// Looks now and then, for as long as it is polled; every waiter is named once.
pub(super) async fn name_them(
    source: &Source,
    locked: &Locked,
    after: Duration,
    events: &dyn Events,
) -> Infallible {
    let mut named = BTreeSet::new();
    let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    loop {
        tokio::time::sleep(after.max(Duration::from_millis(100)) / 2).await;
        let waiters = match source.waiters(locked, seconds).await {
            Ok(waiters) => waiters,
            Err(error) => {
                events.emit(Event::Warning(format!("who waits for the dump is no longer watched: {error}")));
                return std::future::pending().await;
            }
        };
        for waiter in waiters {
            if named.insert(waiter.pid) {
                let text = format!(
                    "pid {}: {}, held by this dump, since {} s",
                    waiter.pid, waiter.who, waiter.seconds
                );
                events.emit(Event::Warning(text));
            }
        }
    }
}
