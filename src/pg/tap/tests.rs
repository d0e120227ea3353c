//! What a tap takes, what it lets pass and what it hears, wherever the bytes are cut.

use std::collections::VecDeque;

use tokio::io::AsyncReadExt as _;

use super::super::blocks::{self, BLOCK, Receiver};
use super::super::intake::Directed;
use super::*;

/// A stream that gives its bytes in pieces, and then ends.
struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    fn of(bytes: &[u8], size: usize) -> Self {
        Self(bytes.chunks(size).map(<[u8]>::to_vec).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(mut piece) = this.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                this.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

struct Heard {
    intake: Arc<Intake>,
    ends: watch::Receiver<Option<CopyEnd>>,
    listener: Listener,
}

fn listen() -> Heard {
    let (told, ends) = watch::channel(None);
    let intake = Arc::new(Intake::default());
    let listener = Listener { told, intake: Arc::clone(&intake) };
    Heard { intake, ends, listener }
}

impl Heard {
    fn direct(&self) -> (Directed, Receiver) {
        let (sender, receiver) = blocks::channel(None);
        (self.intake.direct(sender), receiver)
    }
}

async fn read_all<S: AsyncRead + Unpin>(mut tap: Tap<S>) -> Vec<u8> {
    tap.nap = Duration::ZERO;
    let mut passed = Vec::new();
    tap.read_to_end(&mut passed).await.unwrap();
    passed
}

/// Everything that the receiver gets until its senders are gone.
fn collect(mut receiver: Receiver) -> std::thread::JoinHandle<Vec<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut blocks = Vec::new();
        while let Some(block) = receiver.blocking_recv() {
            blocks.push(block.bytes);
        }
        blocks
    })
}

fn rows() -> Vec<Vec<u8>> {
    // One looks like the end of a COPY, one is empty, one is large.
    vec![b"first".to_vec(), message(b'C', b"COPY 99\0"), Vec::new(), vec![5; BLOCK + 7], b"last".to_vec()]
}

fn conversation(rows: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let before = [message(b'2', b""), message(b'H', &[1, 0, 0])].concat();
    let after = [
        message(b'c', b""),
        message(b'C', b"COPY 12345678901\0"),
        message(b'Z', b"T"),
        message(b'C', b"SELECT 3\0"),
    ]
    .concat();
    let data: Vec<u8> = rows.iter().flat_map(|row| message(b'd', row)).collect();
    ([&before[..], &data, &after].concat(), [before, after].concat())
}

#[tokio::test]
async fn rows_are_taken_and_the_rest_passes_wherever_the_bytes_are_cut() {
    let (all, rest) = conversation(&rows());
    for size in (1..60).chain([1000, 8192, 100_000, all.len()]) {
        let heard = listen();
        let (directed, receiver) = heard.direct();
        let taken = collect(receiver);
        let passed = read_all(Tap::plain(Pieces::of(&all, size), heard.listener)).await;
        assert_eq!(passed, rest, "pieces of {size}");
        drop(directed);
        let taken = taken.join().unwrap();
        assert_eq!(taken.concat(), rows().concat(), "pieces of {size}");
        assert_eq!(taken.len(), 3, "a large row goes by itself");
        assert_eq!(*heard.ends.borrow(), Some(CopyEnd::Copied(12_345_678_901)));
    }
}

#[tokio::test]
async fn without_anybody_who_wants_rows_everything_passes() {
    let (all, _) = conversation(&rows());
    let heard = listen();
    assert_eq!(read_all(Tap::plain(Pieces::of(&all, 777), heard.listener)).await, all);
    assert_eq!(*heard.ends.borrow(), Some(CopyEnd::Copied(12_345_678_901)));
}

#[tokio::test]
async fn many_rows_fill_blocks() {
    let many = vec![vec![7u8; 100]; 30_000];
    let (all, _) = conversation(&many);
    let heard = listen();
    let (directed, receiver) = heard.direct();
    let taken = collect(receiver);
    read_all(Tap::plain(Pieces::of(&all, 50_000), heard.listener)).await;
    drop(directed);
    let sizes: Vec<usize> = taken.join().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 3_000_000);
    let (_, full) = sizes.split_last().unwrap();
    assert!(full.iter().all(|size| (BLOCK..BLOCK + 100).contains(size)), "{sizes:?}");
}

#[tokio::test]
async fn a_reader_that_stands_still_stops_the_stream_and_one_that_left_does_not() {
    let many = vec![vec![7u8; 1000]; 10_000];
    let (all, rest) = conversation(&many);
    let bytes = all.len();
    let heard = listen();
    let (directed, receiver) = heard.direct();
    let mut tap = Tap::plain(Pieces::of(&all, 10_000), heard.listener);
    let left = |tap: &Tap<Pieces>| tap.stream.0.iter().map(Vec::len).sum::<usize>();
    let mut passed = Vec::new();
    let waited = tokio::time::timeout(Duration::from_millis(200), tap.read_to_end(&mut passed)).await;
    assert!(waited.is_err(), "nobody takes blocks");
    let read = bytes - left(&tap);
    assert!((4 * BLOCK..6 * BLOCK).contains(&read), "{read} bytes were read ahead");
    drop(directed);
    drop(receiver);
    tap.read_to_end(&mut passed).await.unwrap();
    // What was begun as a row is read past; later rows pass to tokio-postgres, which drops them.
    assert!(passed.starts_with(&rest[..5]) && passed.ends_with(&rest[rest.len() - 30..]));
}

#[tokio::test]
async fn nothing_is_heard_of_ciphertext_and_all_after_a_refusal_of_tls() {
    let (all, rest) = conversation(&rows());
    for (answer, hears) in [(b'N', true), (b'S', false)] {
        let heard = listen();
        let (directed, receiver) = heard.direct();
        let taken = collect(receiver);
        let bytes = [&[answer][..], &all].concat();
        let passed = read_all(Tap::before_tls(Pieces::of(&bytes, 7), heard.listener)).await;
        assert_eq!(passed[0], answer);
        assert_eq!(&passed[1..], if hears { &rest[..] } else { &all[..] });
        drop(directed);
        assert_eq!(taken.join().unwrap().is_empty(), !hears);
        assert_eq!(heard.ends.borrow().is_some(), hears);
    }
}

#[tokio::test]
async fn an_error_ends_the_copy_and_is_heard() {
    let bytes = [message(b'H', b""), message(b'd', b"x"), message(b'E', b"SERROR\0\0")].concat();
    let heard = listen();
    let (directed, receiver) = heard.direct();
    let taken = collect(receiver);
    let passed = read_all(Tap::plain(Pieces::of(&bytes, 3), heard.listener)).await;
    assert_eq!(passed, [message(b'H', b""), message(b'E', b"SERROR\0\0")].concat());
    drop(directed);
    assert!(taken.join().unwrap().is_empty(), "an unfinished block is not handed on");
    assert_eq!(*heard.ends.borrow(), Some(CopyEnd::Failed));
}

#[tokio::test]
async fn a_tag_without_a_number_or_too_long_is_no_count() {
    for tag in [&b"COPY \0"[..], b"COPY x\0", b"COPY 1", b"COPYX 1\0", &[b'C'; 4000]] {
        let heard = listen();
        read_all(Tap::plain(Pieces::of(&message(b'C', tag), 4096), heard.listener)).await;
        assert_eq!(*heard.ends.borrow(), None, "{tag:?}");
    }
}
