//! [`Pace`]: how many bytes a second a dump may read, all its lanes together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What was not used is kept for so long: enough to make up for a late wake-up, too little for a burst.
const KEPT: Duration = Duration::from_millis(250);

/// Shared by all lanes of a dump.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    /// When the bytes that were let through so far are paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second, at least one.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// So many bytes have come.
    pub(super) fn spend(&self, bytes: usize) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *paid = (*paid).max(now.checked_sub(KEPT).unwrap_or(now)) + cost;
    }

    /// Waits until more may come.
    pub(super) async fn ready(&self) {
        let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep_until(paid).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn several_lanes_share_one_rate() {
        let pace = Arc::new(Pace::new(1_000_000));
        let began = Instant::now();
        let lane = |size: usize, count: usize| {
            let pace = Arc::clone(&pace);
            async move {
                for _ in 0..count {
                    pace.ready().await;
                    pace.spend(size);
                }
                pace.ready().await;
            }
        };
        tokio::join!(lane(10_000, 300), lane(50_000, 40), lane(1, 100));
        let seconds = began.elapsed().as_secs_f64();
        assert!((4.7..5.3).contains(&seconds), "5,000,100 bytes took {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_is_no_reserve_for_a_burst() {
        let pace = Pace::new(1_000_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        pace.spend(3_000_000);
        pace.ready().await;
        assert!(began.elapsed() >= Duration::from_millis(2_700));
    }
}
