//! [`Intake`]: where the rows of a connection's COPY go, past tokio-postgres, which would make a buffer of every row.
//!
//! Whoever wants the rows puts a [`Sender`] here before the COPY begins; the tap of the connection takes it and fills its
//! blocks. Large rows have a block of their own, and are read when there is room for them. The server sends each row as a
//! message, the stream's header with the first one, so a row that is too large is known by the length in front of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;

use super::blocks::{BLOCK, Deaf, Refused, Room, Sender};
use crate::codec::copy;

/// Shared by a connection's tap and by whoever runs its COPY.
#[derive(Default)]
pub(super) struct Intake {
    wanted: Mutex<Option<Sender>>,
    /// The tap, where it waits for room.
    reader: AtomicWaker,
}

/// Rows go to a sender for as long as this lives.
pub(super) struct Directed(Arc<Intake>);

impl Intake {
    /// From now on rows go to `sender`.
    pub(super) fn direct(self: &Arc<Self>, sender: Sender) -> Directed {
        *self.lock() = Some(sender);
        Directed(Arc::clone(self))
    }

    /// Who wants rows.
    pub(super) fn sender(&self) -> Option<Sender> {
        self.lock().clone()
    }

    /// Whether nobody does any more.
    pub(super) fn is_left(&self) -> bool {
        self.lock().is_none()
    }

    /// Woken when nobody wants rows any more.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.reader.register(cx.waker());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Sender>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Directed {
    fn drop(&mut self) {
        *self.0.lock() = None;
        self.0.reader.wake();
    }
}

/// Waiting for room for so many bytes.
type Asked = Pin<Box<dyn Future<Output = Result<Room, Deaf>> + Send>>;

/// Fills blocks with what comes.
pub(super) struct Filler {
    sender: Sender,
    block: Vec<u8>,
    /// What the block takes, once it is there.
    room: Option<Room>,
    asked: Option<Asked>,
    /// Bytes that the next row brings where it goes by itself.
    large: Option<usize>,
    /// No message has begun yet.
    first: bool,
    /// The row that is too large, while its head is awaited.
    refused: Option<Refusal>,
}

/// A row that is being refused.
struct Refusal {
    refused: Refused,
    /// Bytes of the stream's header in front of it.
    skip: usize,
}

/// Bytes of a refused row that are looked at: its count of fields, and a first one as short as a place in a table.
const HEAD: usize = 16;

impl Filler {
    pub(super) fn new(sender: Sender) -> Self {
        let (block, room, asked, large) = (Vec::new(), None, None, None);
        Self { sender, block, room, asked, large, first: true, refused: None }
    }

    /// A message of so many bytes begins. A large one goes by itself.
    #[inline]
    pub(super) fn begin(&mut self, bytes: usize) -> Result<(), Deaf> {
        let skip = if std::mem::take(&mut self.first) { copy::HEADER.len() } else { 0 };
        if bytes > self.sender.largest.saturating_add(skip) {
            let refused = Refused { bytes: (bytes - skip) as u64, head: Vec::new() };
            self.refused = Some(Refusal { refused, skip });
            return self.flush();
        }
        if bytes >= BLOCK {
            self.flush()?;
            self.large = Some(bytes);
        }
        Ok(())
    }

    /// The message is whole.
    #[inline]
    pub(super) fn end(&mut self) -> Result<(), Deaf> {
        let alone = self.large.take().is_some();
        if alone || self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// Waits for room for the block that is being filled.
    #[inline]
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Deaf>> {
        if self.room.is_some() || self.refused.is_some() {
            Poll::Ready(Ok(()))
        } else {
            self.poll_new_room(cx)
        }
    }

    fn poll_new_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Deaf>> {
        let bytes = self.large.unwrap_or(BLOCK);
        let asked = self.asked.get_or_insert_with(|| Box::pin(self.sender.room(bytes)));
        let room = ready!(asked.as_mut().poll(cx));
        self.asked = None;
        self.room = Some(room?);
        self.block = self.sender.block(bytes);
        Poll::Ready(Ok(()))
    }

    /// More bytes of the message; there is room.
    #[inline]
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Deaf> {
        if self.refused.is_some() {
            return self.refuse(bytes);
        }
        self.block.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the head of a row that is too large; with the last of it nothing is taken any more.
    #[inline(never)]
    fn refuse(&mut self, bytes: &[u8]) -> Result<(), Deaf> {
        let Some(Refusal { refused, skip }) = &mut self.refused else { return Ok(()) };
        let skipped = bytes.len().min(*skip);
        *skip -= skipped;
        let wanted = (HEAD - refused.head.len()).min(bytes.len() - skipped);
        refused.head.extend_from_slice(&bytes[skipped..skipped + wanted]);
        // A bound of less than that is none that anybody may give.
        if refused.head.len() < HEAD && refused.head.len() < refused.bytes as usize {
            return Ok(());
        }
        Err(self.sender.refuse(refused.clone()))
    }

    /// Hands on what there is.
    pub(super) fn flush(&mut self) -> Result<(), Deaf> {
        // Room that was asked for is for a block of another size.
        self.asked = None;
        let Some(room) = self.room.take() else { return Ok(()) };
        let block = std::mem::take(&mut self.block);
        if block.is_empty() { Ok(()) } else { self.sender.send(block, room) }
    }
}
