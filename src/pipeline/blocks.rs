//! The way from a connection to the thread that decodes what it sends: blocks of COPY data, bounded in bytes.
//!
//! A bound in blocks would be none: a row of a hundred megabytes is one block, and four of them would wait in line. A
//! block counts until it is dropped, so whoever decodes it holds on to it meanwhile.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes handed over at once.
pub(super) const BLOCK: usize = 256 << 10;

/// Bytes on their way. A block that is larger goes when nothing else is.
const BOUND: usize = 4 * BLOCK;

/// Some bytes, and the room that they take.
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Given back when it is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

/// The connection's end.
pub(super) struct Sender {
    blocks: mpsc::UnboundedSender<Block>,
    room: Arc<Semaphore>,
}

/// The thread's end. Dropping it tells the sender to stop.
pub(super) struct Receiver {
    blocks: mpsc::UnboundedReceiver<Block>,
    room: Arc<Semaphore>,
}

/// Nobody listens any more.
pub(super) struct Deaf;

pub(super) fn channel() -> (Sender, Receiver) {
    let room = Arc::new(Semaphore::new(BOUND));
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sender { blocks: sender, room: Arc::clone(&room) }, Receiver { blocks: receiver, room })
}

impl Sender {
    /// Waits for room, then makes the bytes the receiver's own.
    pub(super) async fn send(&self, bytes: impl AsRef<[u8]> + Into<Vec<u8>>) -> Result<(), Deaf> {
        let wanted = bytes.as_ref().len().min(BOUND) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await.map_err(|_| Deaf)?;
        self.blocks.send(Block { bytes: bytes.into(), room }).map_err(|_| Deaf)
    }

    /// Waits until all that was sent is used up, where it was more than there is room for.
    pub(super) async fn settled(&self) {
        if self.room.available_permits() == 0 {
            // An error means that nobody listens; the next block will tell.
            let _ = self.room.acquire_many(BOUND as u32).await;
        }
    }
}

impl Receiver {
    /// The next block; `None` at the end.
    pub(super) fn blocking_recv(&mut self) -> Option<Block> {
        self.blocks.blocking_recv()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether sending so many bytes has to wait.
    async fn waits(sender: &Sender, bytes: usize) -> bool {
        tokio::time::timeout(Duration::from_millis(50), sender.send(vec![7; bytes])).await.is_err()
    }

    #[tokio::test]
    async fn small_blocks_share_the_room_and_a_large_one_has_it_alone() {
        let (sender, mut receiver) = channel();
        for _ in 0..4 {
            assert!(!waits(&sender, BLOCK).await);
        }
        assert!(waits(&sender, 1).await);
        let held: Vec<Block> = (0..4).map(|_| receiver.blocks.try_recv().unwrap()).collect();
        assert!(waits(&sender, 1).await, "what is being decoded still counts");
        drop(held);
        assert!(!waits(&sender, 100 * BLOCK).await);
        assert!(waits(&sender, 100 * BLOCK).await, "one row of this size at a time");
        assert!(waits(&sender, 1).await);
        drop(receiver.blocks.try_recv().unwrap());
        assert!(!waits(&sender, BLOCK).await);
    }

    #[tokio::test]
    async fn a_sender_that_waits_learns_that_nobody_listens() {
        let (sender, receiver) = channel();
        assert!(!waits(&sender, 5 * BLOCK).await);
        let sending = tokio::spawn(async move { sender.send(vec![1]).await.is_err() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(receiver);
        assert!(sending.await.unwrap());
    }
}
