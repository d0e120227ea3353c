//! [`Tap`]: sits between a connection's bytes and tokio-postgres, for the two things that one cannot do.
//!
//! It takes the rows of a COPY OUT out of the stream, and hands on what it read them into ([`super::intake`]): tokio-postgres
//! would make a buffer with a counter of every row, and read 8 KiB at a time. And it hears the `n` of `COPY n`, which
//! tokio-postgres drops: a COPY that was cut short between its last row and its end must not pass for a whole one.
//! Everything else passes through as it came. Only headers of messages are looked at: a type byte and a length.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::blocks::{BLOCK, Room, SPARE};
use super::intake::{Filler, Intake, Way};
use crate::codec::copy;

/// How the newest COPY of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyEnd {
    /// `COPY n`.
    Copied(u64),
    /// The server reported an error (of any statement).
    Failed,
}

/// Who listens at a tap.
#[derive(Clone)]
pub(super) struct Listener {
    /// Told of every [`CopyEnd`], in order.
    pub(super) told: watch::Sender<Option<CopyEnd>>,
    /// Where rows go.
    pub(super) intake: Arc<Intake>,
}

/// Bytes read at once where no rows come; as few are copied rather than handed on with the memory they stand in.
const SMALL: usize = 8 << 10;

/// After less than this the server is left alone for a moment. It sends 8 KiB at a time, and waking for each of them costs
/// both sides more than all the copying: a third of the server's time and most of ours (docs/performance.md).
const SHORT: usize = 64 << 10;

/// The moment. Long enough for a server to fill half a Unix socket, too short to let it fill up; a timer of the runtime
/// ticks in whole milliseconds, so the thread sleeps.
const NAP: Duration = Duration::from_micros(250);

/// `COPY ` and twenty digits fit with room to spare; other tags may be cut.
const LONGEST_TAG: usize = 32;

enum State {
    /// One byte is awaited: S (TLS follows) or N (it does not).
    Negotiation,
    /// Ciphertext.
    Deaf,
    /// Between messages, or inside a header or a row.
    Message,
    /// Inside a message that passes: bytes still to come.
    Passing(usize),
    /// Inside a row that goes by itself.
    Alone(Alone),
    /// Inside a row that nobody wants any more: bytes still to come.
    Dropping(usize),
}

/// A message that is read into memory of its own.
struct Alone {
    message: Vec<u8>,
    /// Bytes of it that are still to come.
    left: usize,
    room: Room,
}

/// A byte stream whose incoming messages are sorted.
pub(super) struct Tap<S> {
    stream: S,
    state: State,
    /// What came: rows that wait to be handed on, whole and without anything between them, and from `at` on what is not
    /// sorted yet. Nothing is before `from`.
    incoming: Vec<u8>,
    from: usize,
    at: usize,
    /// What tokio-postgres gets, from `passed_at` on.
    passed: Vec<u8>,
    passed_at: usize,
    /// There while somebody wants rows.
    filler: Option<Filler>,
    /// The body of a CommandComplete, as far as it has come; `None` in any other message.
    tag: Option<Vec<u8>>,
    /// The last read brought little.
    short: bool,
    nap: Duration,
    listener: Listener,
}

impl<S> Tap<S> {
    fn new(stream: S, state: State, listener: Listener) -> Self {
        Self {
            stream,
            state,
            incoming: Vec::new(),
            from: 0,
            at: 0,
            passed: Vec::new(),
            passed_at: 0,
            filler: None,
            tag: None,
            short: false,
            nap: NAP,
            listener,
        }
    }

    /// Over a stream on which the protocol itself is spoken.
    pub(super) fn plain(stream: S, listener: Listener) -> Self {
        Self::new(stream, State::Message, listener)
    }

    /// Over a stream that begins with the answer to a request for TLS. After a yes this tap is deaf: then the one
    /// inside the encryption listens.
    pub(super) fn before_tls(stream: S, listener: Listener) -> Self {
        Self::new(stream, State::Negotiation, listener)
    }

    /// Sorts what came; waits where rows are to be handed on and there is no room for them.
    fn sort(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.filler.is_some() && self.listener.intake.is_left() {
            self.leave();
        }
        self.finish_alone();
        while self.at < self.incoming.len() {
            match self.state {
                State::Negotiation => {
                    let follows = self.incoming[self.at] == b'S';
                    self.state = if follows { State::Deaf } else { State::Message };
                    self.pass(1);
                }
                State::Deaf => {
                    self.pass(usize::MAX);
                }
                State::Message => {
                    if !ready!(self.message(cx)) {
                        break;
                    }
                }
                State::Passing(left) => self.passing(left),
                State::Dropping(left) => self.drop_row(left),
                State::Alone(_) => break,
            }
        }
        if self.at - self.from >= BLOCK {
            ready!(self.hand_on(cx));
        }
        self.incoming.drain(..self.from);
        self.at -= self.from;
        self.from = 0;
        Poll::Ready(())
    }

    /// Up to so many bytes from here on are sorted; gives how many there were. No row waits.
    fn advance(&mut self, bytes: usize) -> usize {
        let before = self.at;
        self.at = before.saturating_add(bytes).min(self.incoming.len());
        self.from = self.at;
        self.at - before
    }

    /// Lets up to so many bytes pass; gives how many there were.
    fn pass(&mut self, bytes: usize) -> usize {
        let before = self.at;
        let bytes = self.advance(bytes);
        self.passed.extend_from_slice(&self.incoming[before..self.at]);
        bytes
    }

    /// Sorts a message, or begins to; false if more of it has to come first.
    #[inline]
    fn message(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some((kind, body)) = copy::message(&self.incoming[self.at..]) else { return Poll::Ready(false) };
        if kind == copy::DATA && self.wants_rows() {
            return self.row(body, cx);
        }
        ready!(self.hand_on(cx));
        self.pass(copy::MESSAGE);
        match kind {
            // Without a body there is no tag: what comes next would pass for one. A fuzz target found it.
            b'C' => self.tag = (body > 0).then(Vec::new),
            b'c' => self.filler = None,
            b'E' => {
                self.filler = None;
                self.listener.told.send_replace(Some(CopyEnd::Failed));
            }
            _ => {}
        }
        self.state = if body == 0 { State::Message } else { State::Passing(body) };
        Poll::Ready(true)
    }

    fn passing(&mut self, left: usize) {
        let before = self.at;
        let left = left - self.pass(left);
        if let Some(tag) = &mut self.tag {
            tag.extend(self.incoming[before..self.at].iter().take(LONGEST_TAG - tag.len()));
        }
        if left > 0 {
            self.state = State::Passing(left);
            return;
        }
        self.state = State::Message;
        if let Some(rows) = self.tag.take().as_deref().and_then(copied) {
            self.listener.told.send_replace(Some(CopyEnd::Copied(rows)));
        }
    }

    fn drop_row(&mut self, left: usize) {
        let left = left - self.advance(left);
        self.state = if left == 0 { State::Message } else { State::Dropping(left) };
    }

    /// Takes the row in a message with so many bytes; false if more of it has to come first.
    #[inline]
    fn row(&mut self, body: usize, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(filler) = &mut self.filler else { return Poll::Ready(false) };
        let (message, come) = (copy::MESSAGE + body, self.incoming.len() - self.at);
        match filler.way(body) {
            Way::Together => {
                if message > come {
                    return Poll::Ready(false);
                }
                filler.count(body);
                self.at += message;
                Poll::Ready(true)
            }
            Way::Alone => self.begin_alone(body, cx).map(|()| true),
            Way::Refused => {
                ready!(self.hand_on(cx));
                let come = &self.incoming[self.at + copy::MESSAGE..];
                if self.filler.as_ref().is_some_and(|filler| !filler.refuse(body, come)) {
                    return Poll::Ready(false);
                }
                self.filler = None;
                self.state = State::Dropping(message);
                Poll::Ready(true)
            }
        }
    }

    /// Begins a row that goes by itself. Where nobody wants it any more, it is read past.
    fn begin_alone(&mut self, body: usize, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.hand_on(cx));
        let message = copy::MESSAGE + body;
        let Some(room) = ready!(self.poll_room(message, cx)) else {
            self.state = State::Dropping(message);
            return Poll::Ready(());
        };
        if let Some(filler) = &mut self.filler {
            filler.count(body);
        }
        let mut alone = Alone { message: Vec::with_capacity(message), left: message, room };
        let before = self.at;
        alone.left -= self.advance(message);
        alone.message.extend_from_slice(&self.incoming[before..self.at]);
        self.state = State::Alone(alone);
        self.finish_alone();
        Poll::Ready(())
    }

    /// Hands on a row that goes by itself, when it has come.
    fn finish_alone(&mut self) {
        if !matches!(&self.state, State::Alone(alone) if alone.left == 0) {
            return;
        }
        if let State::Alone(Alone { message, room, .. }) = std::mem::replace(&mut self.state, State::Message)
        {
            self.send(message, room);
        }
    }

    /// Hands on the rows that wait for it, if there are any, with the memory they stand in.
    #[inline]
    fn hand_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.from < self.at { self.hand_on_rows(cx) } else { Poll::Ready(()) }
    }

    fn hand_on_rows(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(room) = ready!(self.poll_room(BLOCK, cx)) else {
            self.from = self.at;
            return Poll::Ready(());
        };
        if self.at - self.from <= SMALL {
            let few = self.incoming[self.from..self.at].to_vec();
            self.from = self.at;
            self.send(few, room);
        } else if let Some(filler) = &self.filler {
            let mut next = filler.block();
            next.extend_from_slice(&self.incoming[self.at..]);
            let mut block = std::mem::replace(&mut self.incoming, next);
            block.truncate(self.at);
            block.drain(..self.from);
            (self.from, self.at) = (0, 0);
            self.send(block, room);
        }
        Poll::Ready(())
    }

    fn send(&mut self, block: Vec<u8>, room: Room) {
        if self.filler.as_mut().is_some_and(|filler| filler.send(block, room).is_err()) {
            self.filler = None;
        }
    }

    /// Waits for room for so many bytes; `None` where nobody wants rows any more.
    fn poll_room(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Option<Room>> {
        let Some(filler) = &mut self.filler else { return Poll::Ready(None) };
        match filler.poll_room(bytes, cx) {
            Poll::Ready(Ok(room)) => return Poll::Ready(Some(room)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                // Registered first, and looked at again: who leaves in between is not missed.
                self.listener.intake.register(cx);
                if !self.listener.intake.is_left() {
                    return Poll::Pending;
                }
            }
        }
        self.filler = None;
        Poll::Ready(None)
    }

    /// Nobody wants rows any more: those that wait are dropped, and what is still to come of one that was begun.
    fn leave(&mut self) {
        self.filler = None;
        self.from = self.at;
        if let State::Alone(alone) = &self.state {
            self.state = State::Dropping(alone.left);
        }
    }

    #[inline]
    fn wants_rows(&mut self) -> bool {
        if self.filler.is_none() {
            self.filler = self.listener.intake.sender().map(Filler::new);
        }
        self.filler.is_some()
    }
}

impl<S: AsyncRead + Unpin> Tap<S> {
    /// Reads more; false at the end of the stream.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let rows = self.filler.is_some();
        if rows && std::mem::take(&mut self.short) {
            std::thread::sleep(self.nap);
        }
        let (into, most) = match &mut self.state {
            State::Alone(Alone { message, left, .. }) => (message, *left),
            _ => {
                let wanted = if rows { SPARE } else { SMALL };
                if self.incoming.capacity() < wanted || self.incoming.capacity() == self.incoming.len() {
                    self.incoming.reserve_exact(wanted.saturating_sub(self.incoming.len()).max(SMALL));
                }
                (&mut self.incoming, usize::MAX)
            }
        };
        let room = most.min(into.capacity() - into.len());
        let bytes = ready!(pin!(self.stream.read_buf(&mut into.limit(most))).poll(cx))?;
        if let State::Alone(Alone { left, .. }) = &mut self.state {
            *left -= bytes;
        }
        self.short = bytes < SHORT.min(room);
        Poll::Ready(Ok(bytes > 0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let passed = &this.passed[this.passed_at..];
            if !passed.is_empty() {
                let bytes = passed.len().min(buf.remaining());
                buf.put_slice(&passed[..bytes]);
                this.passed_at += bytes;
                return Poll::Ready(Ok(()));
            }
            this.passed.clear();
            this.passed_at = 0;
            if matches!(this.state, State::Deaf) && this.incoming.is_empty() {
                return Pin::new(&mut this.stream).poll_read(cx, buf);
            }
            let sorted = this.sort(cx);
            // What passes does not wait for room that rows behind it need.
            if !this.passed.is_empty() {
                continue;
            }
            ready!(sorted);
            if !ready!(this.read(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// A TLS connector whose streams are tapped inside the encryption.
pub(super) struct TappedTls<C> {
    /// The connector.
    pub(super) connect: C,
    /// Who listens.
    pub(super) listener: Listener,
}

impl<S, C> TlsConnect<S> for TappedTls<C>
where
    C: TlsConnect<S>,
    C::Stream: Unpin,
    C::Future: Send + 'static,
{
    type Stream = Tap<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.connect.connect(stream);
        Box::pin(async move { Ok(Tap::plain(connecting.await?, self.listener)) })
    }
}

/// The number in `COPY n\0`.
fn copied(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag.strip_prefix(b"COPY ")?).ok()?;
    text.strip_suffix('\0')?.parse().ok()
}

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(any(test, feature = "fuzzing"))]
mod pieces;
#[cfg(test)]
mod tests;
