//! [`Gate`]: holds back what a server sends while a large row of a COPY waits to be taken.
//!
//! tokio-postgres reads ahead by messages, whatever their size: four rows of a hundred megabytes would wait in memory
//! behind the one that is being encoded. So the tap below it asks here before it reads the body of a large row.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// A row's message from this size on passes the gate one at a time.
pub(super) const LARGE: usize = 16 << 20;

/// Shared by a connection's tap and by whoever takes the rows of its COPY.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Somebody takes rows, and says when there is room.
    watched: AtomicBool,
    /// A large row has passed and is not used up yet.
    taken: AtomicBool,
    reader: AtomicWaker,
}

impl Gate {
    /// From now on one large row at a time.
    pub(super) fn watch(&self) {
        self.taken.store(false, Ordering::SeqCst);
        self.watched.store(true, Ordering::SeqCst);
    }

    /// Nobody takes rows any more: what still comes has to be read past.
    pub(super) fn leave(&self) {
        self.watched.store(false, Ordering::SeqCst);
        self.reader.wake();
    }

    /// There is room for the next large row.
    pub(super) fn open(&self) {
        self.taken.store(false, Ordering::SeqCst);
        self.reader.wake();
    }

    /// Asked before the body of a large row is read.
    pub(super) fn poll_pass(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered first: whoever opens the gate after the look below finds somebody to wake.
        self.reader.register(cx.waker());
        if !self.watched.load(Ordering::SeqCst) || !self.taken.swap(true, Ordering::SeqCst) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(gate: &Gate) -> bool {
        gate.poll_pass(&Context::from_waker(futures_util::task::noop_waker_ref())).is_ready()
    }

    #[test]
    fn one_large_row_passes_at_a_time_and_all_of_them_where_nobody_watches() {
        let gate = Gate::default();
        assert!(passes(&gate) && passes(&gate));
        gate.watch();
        assert!(passes(&gate));
        assert!(!passes(&gate) && !passes(&gate));
        gate.open();
        assert!(passes(&gate) && !passes(&gate));
        gate.leave();
        assert!(passes(&gate) && passes(&gate));
    }
}
