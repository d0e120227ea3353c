//! [`Tap`]: sits between a connection's bytes and tokio-postgres, for the two things that one cannot do.
//!
//! It takes the rows of a COPY OUT out of the stream and fills large blocks with them ([`super::intake`]): tokio-postgres
//! would make a buffer with a counter of every row, and read 8 KiB at a time. And it hears the `n` of `COPY n`, which
//! tokio-postgres drops: a COPY that was cut short between its last row and its end must not pass for a whole one.
//! Everything else passes through as it came. Only headers of messages are looked at: a type byte and a length.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::blocks::Deaf;
use super::intake::{Filler, Intake};

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

/// Bytes read at once. A Unix socket holds about 200 KiB.
const READ: usize = 128 << 10;

/// The same where no rows come.
const SMALL_READ: usize = 8 << 10;

/// After less than this the server is left alone for a moment. It sends 8 KiB at a time, and waking for each of them costs
/// both sides more than all the copying: a third of the server's time and most of ours (docs/performance.md).
const SHORT: usize = 64 << 10;

/// The moment. Long enough for a server to fill half a Unix socket, too short to let it fill up; a timer of the runtime
/// ticks in whole milliseconds, so the thread sleeps.
const NAP: Duration = Duration::from_micros(250);

/// Type byte and length of a message.
const HEADER: usize = 5;

/// `COPY ` and twenty digits fit with room to spare; other tags may be cut.
const LONGEST_TAG: usize = 32;

enum State {
    /// One byte is awaited: S (TLS follows) or N (it does not).
    Negotiation,
    /// Ciphertext.
    Deaf,
    /// Between messages, or inside a header.
    Header,
    /// Inside a message that passes: bytes still to come.
    Passing(usize),
    /// Inside a message with a row that somebody wants: bytes still to come.
    Row(usize),
}

/// A byte stream whose incoming messages are sorted.
pub(super) struct Tap<S> {
    stream: S,
    state: State,
    /// What came and is not sorted yet, from `at` on.
    incoming: Vec<u8>,
    at: usize,
    /// What tokio-postgres gets, from `passed_at` on.
    passed: Vec<u8>,
    passed_at: usize,
    /// Fills blocks while somebody wants rows.
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
        Self::new(stream, State::Header, listener)
    }

    /// Over a stream that begins with the answer to a request for TLS. After a yes this tap is deaf: then the one
    /// inside the encryption listens.
    pub(super) fn before_tls(stream: S, listener: Listener) -> Self {
        Self::new(stream, State::Negotiation, listener)
    }

    /// Sorts what came; waits where a row comes and there is no room for it.
    fn sort(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.filler.is_some() && self.listener.intake.is_left() {
            self.filler = None;
        }
        while self.at < self.incoming.len() {
            match self.state {
                State::Negotiation => {
                    let follows = self.incoming[self.at] == b'S';
                    self.state = if follows { State::Deaf } else { State::Header };
                    self.pass(1);
                }
                State::Deaf => {
                    self.pass(usize::MAX);
                }
                State::Header => {
                    if !self.header() {
                        break;
                    }
                }
                State::Passing(left) => self.passing(left),
                State::Row(left) => ready!(self.row(left, cx)),
            }
        }
        self.incoming.drain(..self.at);
        self.at = 0;
        Poll::Ready(())
    }

    /// Lets up to so many bytes pass; gives how many there were.
    fn pass(&mut self, bytes: usize) -> usize {
        let end = self.at.saturating_add(bytes).min(self.incoming.len());
        let bytes = end - self.at;
        self.passed.extend_from_slice(&self.incoming[self.at..end]);
        self.at = end;
        bytes
    }

    /// Begins a message; false if its header has not come yet.
    #[inline]
    fn header(&mut self) -> bool {
        let Some((header, _)) = self.incoming[self.at..].split_first_chunk::<HEADER>() else { return false };
        // The length counts itself but not the type byte.
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let body = length.saturating_sub(4);
        let kind = header[0];
        if kind == b'd' && self.wants_rows() {
            self.at += HEADER;
            self.state = State::Row(body);
            self.fill(|filler| filler.begin(body));
            if body == 0 {
                self.end_row();
            }
            return true;
        }
        self.pass(HEADER);
        match kind {
            // Without a body there is no tag: what comes next would pass for one. A fuzz target found it.
            b'C' => self.tag = (body > 0).then(Vec::new),
            b'c' => {
                self.fill(Filler::flush);
                self.filler = None;
            }
            b'E' => {
                self.filler = None;
                self.listener.told.send_replace(Some(CopyEnd::Failed));
            }
            _ => {}
        }
        self.state = if body == 0 { State::Header } else { State::Passing(body) };
        true
    }

    fn passing(&mut self, left: usize) {
        let from = self.at;
        let left = left - self.pass(left);
        if let Some(tag) = &mut self.tag {
            tag.extend(self.incoming[from..self.at].iter().take(LONGEST_TAG - tag.len()));
        }
        if left > 0 {
            self.state = State::Passing(left);
            return;
        }
        self.state = State::Header;
        if let Some(rows) = self.tag.take().as_deref().and_then(copied) {
            self.listener.told.send_replace(Some(CopyEnd::Copied(rows)));
        }
    }

    /// Takes more of a row. Where nobody wants it any more, it is read past.
    #[inline]
    fn row(&mut self, left: usize, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.at.saturating_add(left).min(self.incoming.len());
        if let Some(filler) = &mut self.filler {
            match filler.poll_room(cx) {
                Poll::Ready(Ok(())) => {
                    if filler.take(&self.incoming[self.at..end]).is_err() {
                        self.filler = None;
                    }
                }
                Poll::Ready(Err(_)) => self.filler = None,
                Poll::Pending => {
                    // Registered first, and looked at again: who leaves in between is not missed.
                    self.listener.intake.register(cx);
                    if !self.listener.intake.is_left() {
                        return Poll::Pending;
                    }
                    self.filler = None;
                }
            }
        }
        let left = left - (end - self.at);
        self.at = end;
        self.state = State::Row(left);
        if left == 0 {
            self.end_row();
        }
        Poll::Ready(())
    }

    #[inline]
    fn end_row(&mut self) {
        self.state = State::Header;
        self.fill(Filler::end);
    }

    #[inline]
    fn wants_rows(&mut self) -> bool {
        if self.filler.is_none() {
            self.filler = self.listener.intake.sender().map(Filler::new);
        }
        self.filler.is_some()
    }

    /// Does something with the filler, and lets go of it where nobody listens any more.
    #[inline]
    fn fill(&mut self, act: impl FnOnce(&mut Filler) -> Result<(), Deaf>) {
        if self.filler.as_mut().is_some_and(|filler| act(filler).is_err()) {
            self.filler = None;
        }
    }
}

impl<S: AsyncRead + Unpin> Tap<S> {
    /// Reads more; false at the end of the stream.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let rows = self.filler.is_some();
        if rows && std::mem::take(&mut self.short) {
            std::thread::sleep(self.nap);
        }
        self.incoming.reserve(if rows { READ } else { SMALL_READ });
        let bytes = ready!(pin!(self.stream.read_buf(&mut self.incoming)).poll(cx))?;
        self.short = bytes < SHORT;
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
