//! [`Tap`]: listens to what a server sends, for the one thing tokio-postgres keeps to itself: the `n` of `COPY n`.
//!
//! A COPY OUT that was cut short between its last row and its end must not pass for a whole one. tokio-postgres reports
//! the end of the data (CopyDone) and drops what the server says of the whole (CommandComplete), so the frames are
//! followed here, below it. Only headers are looked at: a type byte and a length.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::gate::{Gate, LARGE};

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
    /// Asked before a large row is read.
    pub(super) gate: Arc<Gate>,
}

/// A byte stream whose incoming frames are followed.
pub(super) struct Tap<S> {
    stream: S,
    frames: Frames,
    listener: Listener,
}

impl<S> Tap<S> {
    /// Over a stream on which the protocol itself is spoken.
    pub(super) fn plain(stream: S, listener: Listener) -> Self {
        Self { stream, frames: Frames::new(State::Header), listener }
    }

    /// Over a stream that begins with the answer to a request for TLS. After a yes this tap is deaf: then the one
    /// inside the encryption listens.
    pub(super) fn before_tls(stream: S, listener: Listener) -> Self {
        Self { stream, frames: Frames::new(State::Negotiation), listener }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.frames.wants_to_pass() {
            ready!(this.listener.gate.poll_pass(cx));
            this.frames.large = false;
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if result.is_ready() {
            let told = &this.listener.told;
            this.frames.follow(&buf.filled()[before..], &mut |end| {
                told.send_replace(Some(end));
            });
        }
        result
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
    /// Inside a message's body: bytes still to come.
    Body(usize),
}

/// Follows the frames of the protocol through blocks that may end anywhere.
struct Frames {
    state: State,
    /// The bytes of a header that was cut.
    header: Vec<u8>,
    /// The body of a CommandComplete, as far as it has come; `None` in any other message.
    tag: Option<Vec<u8>>,
    /// The message is a large row, and nobody has let it pass yet.
    large: bool,
}

impl Frames {
    fn new(state: State) -> Self {
        Self { state, header: Vec::with_capacity(HEADER), tag: None, large: false }
    }

    fn wants_to_pass(&self) -> bool {
        self.large && matches!(self.state, State::Body(_))
    }

    fn follow(&mut self, mut bytes: &[u8], told: &mut dyn FnMut(CopyEnd)) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Deaf => return,
                State::Negotiation => {
                    self.state = if bytes[0] == b'S' { State::Deaf } else { State::Header };
                    &bytes[1..]
                }
                State::Header => self.header(bytes, told),
                State::Body(left) => self.body(left, bytes, told),
            };
        }
    }

    #[inline]
    fn header<'a>(&mut self, bytes: &'a [u8], told: &mut dyn FnMut(CopyEnd)) -> &'a [u8] {
        if self.header.is_empty()
            && let Some((header, rest)) = bytes.split_at_checked(HEADER)
        {
            self.begin(header, told);
            return rest;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(HEADER - self.header.len()));
        self.header.extend_from_slice(now);
        if self.header.len() == HEADER {
            let header = std::mem::take(&mut self.header);
            self.begin(&header, told);
        }
        rest
    }

    #[inline]
    fn begin(&mut self, header: &[u8], told: &mut dyn FnMut(CopyEnd)) {
        // The length counts itself but not the type byte.
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let body = length.saturating_sub(4);
        self.large = header[0] == b'd' && body >= LARGE;
        match header[0] {
            b'C' => self.tag = Some(Vec::new()),
            b'E' => told(CopyEnd::Failed),
            _ => {}
        }
        self.state = if body == 0 { State::Header } else { State::Body(body) };
    }

    #[inline]
    fn body<'a>(&mut self, left: usize, bytes: &'a [u8], told: &mut dyn FnMut(CopyEnd)) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(left));
        if let Some(tag) = &mut self.tag {
            tag.extend(now.iter().take(LONGEST_TAG - tag.len()));
        }
        if now.len() < left {
            self.state = State::Body(left - now.len());
            return rest;
        }
        self.state = State::Header;
        if let Some(rows) = self.tag.take().as_deref().and_then(copied) {
            told(CopyEnd::Copied(rows));
        }
        rest
    }
}

/// The number in `COPY n\0`.
fn copied(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag.strip_prefix(b"COPY ")?).ok()?;
    text.strip_suffix('\0')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// What is heard of these bytes when they come in blocks of `size`.
    fn heard(state: State, bytes: &[u8], size: usize) -> Vec<CopyEnd> {
        let mut frames = Frames::new(state);
        let mut ends = Vec::new();
        for block in bytes.chunks(size) {
            frames.follow(block, &mut |end| ends.push(end));
        }
        ends
    }

    fn conversation() -> Vec<u8> {
        [
            message(b'H', &[1, 0, 0]),
            // A row whose bytes look like the end of a COPY.
            message(b'd', &message(b'C', b"COPY 99\0")),
            message(b'c', b""),
            message(b'C', b"COPY 12345678901\0"),
            message(b'Z', b"T"),
            message(b'C', b"SELECT 3\0"),
            message(b'E', b"SERROR\0\0"),
            message(b'C', b"COPY 0\0"),
        ]
        .concat()
    }

    #[test]
    fn every_copy_is_heard_and_nothing_else_wherever_the_blocks_end() {
        let bytes = conversation();
        let expected = [CopyEnd::Copied(12_345_678_901), CopyEnd::Failed, CopyEnd::Copied(0)];
        for size in 1..=bytes.len() {
            assert_eq!(heard(State::Header, &bytes, size), expected, "blocks of {size}");
        }
    }

    #[test]
    fn nothing_is_heard_of_ciphertext_and_all_after_a_refusal_of_tls() {
        let refused = [b"N".to_vec(), conversation()].concat();
        let accepted = [b"S".to_vec(), conversation()].concat();
        assert_eq!(heard(State::Negotiation, &refused, 7).len(), 3);
        assert_eq!(heard(State::Negotiation, &accepted, 7), []);
    }

    #[test]
    fn a_tag_without_a_number_or_too_long_is_no_count() {
        for tag in [&b"COPY \0"[..], b"COPY x\0", b"COPY 1", b"COPYX 1\0", &[b'C'; 4000]] {
            assert_eq!(heard(State::Header, &message(b'C', tag), 4096), [], "{tag:?}");
        }
    }
}
