//! The door through which the fuzz targets reach a tap: bytes in, and what became of them. Built for them alone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;

use super::super::blocks::{self, Receiver};
use super::super::intake::{Directed, Intake};
use super::pieces::Pieces;
use super::{CopyEnd, Listener, Tap};

/// A conversation, and who listens to it.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// What the server sends, in the pieces that reads give.
    pub pieces: Vec<Vec<u8>>,
    /// It begins with the answer to a request for TLS.
    pub before_tls: bool,
    /// Reads after which nobody wants rows any more; 0: from the beginning.
    pub leave_after: usize,
    /// Bytes that the reader of what passes takes at once.
    pub appetite: usize,
    /// The largest row that is taken.
    pub largest: usize,
}

/// What a tap made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tapped {
    /// What tokio-postgres would get.
    pub passed: Vec<u8>,
    /// Blocks with rows, in messages.
    pub blocks: Vec<Vec<u8>>,
    /// The row that was too large: its bytes, and how it begins.
    pub refused: Option<(u64, Vec<u8>)>,
    /// How the newest COPY ended: its rows, or `None` for an error.
    pub end: Option<Option<u64>>,
    /// The tap waited although nothing that was sent was still to be taken.
    pub stuck: bool,
}

/// Sends a conversation through a tap.
pub fn tapped(conversation: Conversation) -> Tapped {
    let (told, ends) = watch::channel(None);
    let intake = Arc::new(Intake::default());
    let (sender, receiver) = blocks::bounded_channel(None, conversation.largest);
    let listener = Listener { told, intake: Arc::clone(&intake) };
    let mut listening: Option<(Directed, Receiver)> = Some((intake.direct(sender), receiver));
    let stream = Pieces(conversation.pieces.into());
    let mut tap = match conversation.before_tls {
        true => Tap::before_tls(stream, listener),
        false => Tap::plain(stream, listener),
    };
    tap.nap = Duration::ZERO;
    let mut seen = Tapped::default();
    let mut buffer = vec![0; conversation.appetite.max(1)];
    for read in 0.. {
        if read == conversation.leave_after
            && let Some((directed, mut receiver)) = listening.take()
        {
            take(&mut receiver, &mut seen);
            drop(directed);
        }
        let mut buf = ReadBuf::new(&mut buffer);
        match Pin::new(&mut tap).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => seen.passed.extend_from_slice(buf.filled()),
            Poll::Ready(_) => break,
            Poll::Pending => {
                let taken = listening.as_mut().map(|(_, receiver)| take(receiver, &mut seen));
                // Whoever hears of a row that is too large leaves, and that wakes the tap.
                if seen.refused.is_some() && listening.take().is_some() {
                    continue;
                }
                if taken.unwrap_or(0) == 0 {
                    seen.stuck = true;
                    break;
                }
            }
        }
    }
    if let Some((_directed, receiver)) = &mut listening {
        take(receiver, &mut seen);
    }
    seen.end = ends.borrow().map(|end| match end {
        CopyEnd::Copied(rows) => Some(rows),
        CopyEnd::Failed => None,
    });
    seen
}

/// Takes what has been sent; gives how many blocks that were.
fn take(receiver: &mut Receiver, seen: &mut Tapped) -> usize {
    let before = seen.blocks.len();
    while let Some(block) = receiver.try_recv() {
        seen.blocks.push(block.messages);
    }
    seen.refused = receiver.refused().map(|refused| (refused.bytes, refused.head.clone()));
    seen.blocks.len() - before
}
