//! The way from a connection to the thread that decodes what it sends: blocks of COPY data, bounded in bytes.
//!
//! A bound in blocks would be none: a row of a hundred megabytes is one block, and four of them would wait in line. A
//! block counts from before it is filled until it is dropped, so whoever decodes it holds on to it meanwhile. Where there
//! is no room the connection is not read, and the server's COPY waits. A row that is too large is not received at all:
//! its length stands in front of it, and that ends the way.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::pace::Pace;
use crate::codec::copy::MAX_TUPLE;

/// Bytes handed over at once.
pub const BLOCK: usize = 256 << 10;

/// Memory of a block: it ends behind the row that fills it.
pub(super) const SPARE: usize = BLOCK + BLOCK / 4;

/// A message from this size on is a block by itself; one that is smaller fits into what a block has left before it is full.
pub(super) const ALONE: usize = SPARE - BLOCK;

/// Bytes on their way. A block that is larger goes when nothing else is.
const BOUND: usize = 4 * BLOCK;

/// Some rows, and the room that they take.
pub struct Block {
    /// Whole messages as they came from the server, each with its header (`codec::copy`).
    pub messages: Vec<u8>,
    room: Room,
}

impl Block {
    /// The messages are read. What a large one needed goes back to the system at once; the room of this block is taken until
    /// [`Emptied::leave`].
    pub fn emptied(self) -> Emptied {
        let Self { mut messages, room } = self;
        messages.clear();
        if messages.capacity() > SPARE {
            messages = Vec::new();
        }
        Emptied { messages, room }
    }
}

/// A block that was read.
pub struct Emptied {
    messages: Vec<u8>,
    room: Room,
}

impl Emptied {
    /// Gives the room back, and with it the memory: the next block is filled where this one was, instead of in pages that the
    /// kernel has to clear first.
    pub fn leave(self) {
        if self.messages.capacity() >= SPARE {
            self.room.spare.lock().push(self.messages);
        }
    }
}

/// Room for a block.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    spare: Arc<Spare>,
}

/// Memory of blocks that were decoded; never more than there is room for.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row that was too large to be received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// How large it is.
    pub bytes: u64,
    /// How it begins: enough for the first fields, where they are short.
    pub head: Vec<u8>,
}

/// What a sender may send.
enum Sent {
    Block(Block),
    Refused(Refused),
}

/// The connection's end.
#[derive(Clone)]
pub struct Sender {
    blocks: mpsc::UnboundedSender<Sent>,
    room: Arc<Semaphore>,
    spare: Arc<Spare>,
    pace: Option<Arc<Pace>>,
    /// The largest row that is taken.
    pub(super) largest: usize,
}

/// The thread's end. Dropping it tells the sender to stop.
pub struct Receiver {
    blocks: mpsc::UnboundedReceiver<Sent>,
    room: Arc<Semaphore>,
    refused: Option<Refused>,
}

/// Nobody listens any more.
#[derive(Debug)]
pub struct Deaf;

/// A way for one COPY, no faster than `pace`, for every row that a server can send.
pub fn channel(pace: Option<Arc<Pace>>) -> (Sender, Receiver) {
    bounded_channel(pace, MAX_TUPLE)
}

/// The same, which ends at a row of more than `largest` bytes.
pub fn bounded_channel(pace: Option<Arc<Pace>>, largest: usize) -> (Sender, Receiver) {
    let room = Arc::new(Semaphore::new(BOUND));
    let (sender, receiver) = mpsc::unbounded_channel();
    let sender = Sender { blocks: sender, room: Arc::clone(&room), spare: Arc::default(), pace, largest };
    (sender, Receiver { blocks: receiver, room, refused: None })
}

impl Sender {
    /// Waits until so many bytes may come.
    pub(super) fn room(&self, bytes: usize) -> impl Future<Output = Result<Room, Deaf>> + Send + 'static {
        let (room, spare, pace) = (Arc::clone(&self.room), Arc::clone(&self.spare), self.pace.clone());
        async move {
            if let Some(pace) = pace {
                pace.ready().await;
            }
            let permit = room.acquire_many_owned(bytes.min(BOUND) as u32).await.map_err(|_| Deaf)?;
            Ok(Room { _permit: permit, spare })
        }
    }

    /// Memory for a block.
    pub(super) fn block(&self) -> Vec<u8> {
        self.spare.lock().pop().unwrap_or_else(|| Vec::with_capacity(SPARE))
    }

    /// Makes messages the receiver's own, with so many bytes of COPY data in them.
    pub(super) fn send(&self, messages: Vec<u8>, data: usize, room: Room) -> Result<(), Deaf> {
        if let Some(pace) = &self.pace {
            pace.spend(data);
        }
        self.blocks.send(Sent::Block(Block { messages, room })).map_err(|_| Deaf)
    }

    /// Says that a row is too large. Nothing is taken any more.
    pub(super) fn refuse(&self, refused: Refused) {
        // Whoever has left needs not be told.
        let _ = self.blocks.send(Sent::Refused(refused));
    }

    /// Waits until nobody listens any more.
    pub(super) async fn deaf(&self) {
        self.blocks.closed().await;
    }
}

impl Receiver {
    /// The next block; `None` at the end, or at a row that was refused.
    pub fn blocking_recv(&mut self) -> Option<Block> {
        let sent = if self.refused.is_some() { None } else { self.blocks.blocking_recv() };
        self.received(sent)
    }

    /// The row that ended the way, where one did.
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    fn received(&mut self, sent: Option<Sent>) -> Option<Block> {
        match sent? {
            Sent::Block(block) => Some(block),
            Sent::Refused(refused) => {
                self.refused = Some(refused);
                None
            }
        }
    }

    /// The next block, where one is there already.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn try_recv(&mut self) -> Option<Block> {
        let sent = if self.refused.is_some() { None } else { self.blocks.try_recv().ok() };
        self.received(sent)
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
        match tokio::time::timeout(Duration::from_millis(50), sender.room(bytes)).await {
            Ok(room) => sender.send(vec![7; bytes], bytes, room.unwrap()).is_err(),
            Err(_) => true,
        }
    }

    #[tokio::test]
    async fn small_blocks_share_the_room_and_a_large_one_has_it_alone() {
        let (sender, mut receiver) = channel(None);
        for _ in 0..4 {
            assert!(!waits(&sender, BLOCK).await);
        }
        assert!(waits(&sender, 1).await);
        let held: Vec<Block> = (0..4).map(|_| receiver.try_recv().unwrap()).collect();
        assert!(waits(&sender, 1).await, "what is being decoded still counts");
        drop(held);
        assert!(!waits(&sender, 100 * BLOCK).await);
        assert!(waits(&sender, 100 * BLOCK).await, "one row of this size at a time");
        assert!(waits(&sender, 1).await);
        drop(receiver.try_recv().unwrap());
        assert!(!waits(&sender, BLOCK).await);
    }

    #[tokio::test]
    async fn a_sender_that_waits_learns_that_nobody_listens() {
        let (sender, receiver) = channel(None);
        assert!(!waits(&sender, 5 * BLOCK).await);
        let (waiting, watching) = (sender.clone(), sender);
        let waiting = tokio::spawn(async move { waiting.room(1).await.is_err() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(receiver);
        assert!(waiting.await.unwrap());
        watching.deaf().await;
    }
}
