//! [`Intake`]: where the rows of a connection's COPY go, past tokio-postgres, which would make a buffer of every row.
//!
//! Whoever wants the rows puts a [`Sender`] here before the COPY begins; the tap of the connection takes it and hands on
//! what it reads. Large rows have a block of their own, and are read when there is room for them. The server sends each row as a
//! message, the stream's header with the first one, so a row that is too large is known by the length in front of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;

use super::blocks::{ALONE, Deaf, Refused, Room, Sender};
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

/// Where rows go, and what is to be known of those on their way.
pub(super) struct Filler {
    sender: Sender,
    asked: Option<Asked>,
    /// Bytes of the stream's header in front of the next row.
    ahead: usize,
    /// Bytes of COPY data in the rows that are handed on next.
    data: usize,
}

/// How a row goes.
pub(super) enum Way {
    /// With others in one block.
    Together,
    /// By itself.
    Alone,
    /// Not at all.
    Refused,
}

/// Bytes of a refused row that are looked at: its count of fields, and a first one as short as a place in a table.
const HEAD: usize = 16;

impl Filler {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, asked: None, ahead: copy::HEADER.len(), data: 0 }
    }

    /// How a row in a message of so many bytes goes.
    #[inline]
    pub(super) fn way(&self, bytes: usize) -> Way {
        if bytes > self.sender.largest.saturating_add(self.ahead) {
            Way::Refused
        } else if bytes >= ALONE {
            Way::Alone
        } else {
            Way::Together
        }
    }

    /// A row in a message of so many bytes has come.
    #[inline]
    pub(super) fn count(&mut self, bytes: usize) {
        self.ahead = 0;
        self.data += bytes;
    }

    /// Waits for room for a block of so many bytes.
    pub(super) fn poll_room(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Result<Room, Deaf>> {
        let asked = self.asked.get_or_insert_with(|| Box::pin(self.sender.room(bytes)));
        let room = ready!(asked.as_mut().poll(cx));
        self.asked = None;
        Poll::Ready(room)
    }

    /// Memory for a block.
    pub(super) fn block(&self) -> Vec<u8> {
        self.sender.block()
    }

    /// Hands on the rows that were counted.
    pub(super) fn send(&mut self, block: Vec<u8>, room: Room) -> Result<(), Deaf> {
        self.sender.send(block, std::mem::take(&mut self.data), room)
    }

    /// Refuses a row, once its head has come: false until then. `come`: what there is of a message of so many bytes.
    pub(super) fn refuse(&self, bytes: usize, come: &[u8]) -> bool {
        let row = bytes - self.ahead;
        // A bound of less than that is none that anybody may give.
        let Some(head) = come.get(self.ahead..self.ahead + HEAD.min(row)) else { return false };
        self.sender.refuse(Refused { bytes: row as u64, head: head.to_vec() });
        true
    }
}
