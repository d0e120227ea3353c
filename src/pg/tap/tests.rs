//! What a tap takes, what it lets pass and what it hears, wherever the bytes are cut.

use tokio::io::AsyncReadExt as _;

use super::super::blocks::{self, ALONE, BLOCK, Receiver, Refused};
use super::super::intake::Directed;
use super::pieces::Pieces;
use super::*;
use crate::codec::copy;

fn pieces(bytes: &[u8], size: usize) -> Pieces {
    Pieces(bytes.chunks(size).map(<[u8]>::to_vec).collect())
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
        self.direct_bounded(usize::MAX)
    }

    fn direct_bounded(&self, largest: usize) -> (Directed, Receiver) {
        let (sender, receiver) = blocks::bounded_channel(None, largest);
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
            blocks.push(block.messages);
        }
        blocks
    })
}

/// As the server sends rows.
fn data(rows: &[Vec<u8>]) -> Vec<u8> {
    rows.iter().flat_map(|row| message(b'd', row)).collect()
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
    ([&before[..], &data(rows), &after].concat(), [before, after].concat())
}

#[tokio::test]
async fn rows_are_taken_and_the_rest_passes_wherever_the_bytes_are_cut() {
    let (all, rest) = conversation(&rows());
    for size in (1..60).chain([1000, 8192, 100_000, all.len()]) {
        let heard = listen();
        let (directed, receiver) = heard.direct();
        let taken = collect(receiver);
        let passed = read_all(Tap::plain(pieces(&all, size), heard.listener)).await;
        assert_eq!(passed, rest, "pieces of {size}");
        drop(directed);
        let taken = taken.join().unwrap();
        let [before, large, after] = &taken[..] else { panic!("a large row goes by itself") };
        assert_eq!(*before, data(&rows()[..3]), "pieces of {size}");
        assert_eq!(*large, data(&rows()[3..4]), "pieces of {size}");
        assert_eq!(*after, data(&rows()[4..]), "pieces of {size}");
        assert_eq!(*heard.ends.borrow(), Some(CopyEnd::Copied(12_345_678_901)));
    }
}

#[tokio::test]
async fn without_anybody_who_wants_rows_everything_passes() {
    let (all, _) = conversation(&rows());
    let heard = listen();
    assert_eq!(read_all(Tap::plain(pieces(&all, 777), heard.listener)).await, all);
    assert_eq!(*heard.ends.borrow(), Some(CopyEnd::Copied(12_345_678_901)));
}

#[tokio::test]
async fn many_rows_fill_blocks() {
    let many = vec![vec![7u8; 100]; 30_000];
    let (all, _) = conversation(&many);
    let heard = listen();
    let (directed, receiver) = heard.direct();
    let taken = collect(receiver);
    read_all(Tap::plain(pieces(&all, 50_000), heard.listener)).await;
    drop(directed);
    let sizes: Vec<usize> = taken.join().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 30_000 * 105);
    let (_, full) = sizes.split_last().unwrap();
    assert!(full.iter().all(|size| (BLOCK..=SPARE).contains(size)), "{sizes:?}");
}

/// A row that is nearly as large as those that go by themselves finds room behind a block that is nearly full.
#[tokio::test]
async fn a_block_never_needs_more_memory_than_is_kept_for_it() {
    for large in [ALONE - 1, ALONE] {
        let rows: Vec<Vec<u8>> = (0..900).map(|at| vec![3; if at % 3 == 0 { large } else { 100 }]).collect();
        let (all, rest) = conversation(&rows);
        for size in [1000, 77_777, all.len()] {
            let heard = listen();
            let (directed, receiver) = heard.direct();
            let taken = collect(receiver);
            assert_eq!(read_all(Tap::plain(pieces(&all, size), heard.listener)).await, rest);
            drop(directed);
            let taken = taken.join().unwrap();
            assert!(taken.iter().all(|block| block.len() <= SPARE && block.capacity() <= SPARE));
            assert_eq!(taken.concat(), data(&rows), "pieces of {size}");
            assert_eq!(taken.len() >= 600, large == ALONE, "{} blocks", taken.len());
        }
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_stops_the_stream_and_one_that_left_does_not() {
    let many = vec![vec![7u8; 1000]; 10_000];
    let (all, rest) = conversation(&many);
    let bytes = all.len();
    let heard = listen();
    let (directed, receiver) = heard.direct();
    let mut tap = Tap::plain(pieces(&all, 10_000), heard.listener);
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

/// What a receiver of rows of at most so many bytes gets, and the row that it did not.
async fn taken(all: &[u8], size: usize, largest: usize) -> (Vec<u8>, Option<Refused>) {
    let heard = listen();
    let (directed, mut receiver) = heard.direct_bounded(largest);
    let thread = std::thread::spawn(move || {
        let mut taken = Vec::new();
        while let Some(block) = receiver.blocking_recv() {
            taken.extend(block.messages);
        }
        (taken, receiver.refused().cloned())
    });
    read_all(Tap::plain(pieces(all, size), heard.listener)).await;
    drop(directed);
    thread.join().unwrap()
}

#[tokio::test]
async fn a_row_that_is_too_large_is_refused_with_what_came_before_it_taken() {
    let header = copy::HEADER.to_vec();
    let large: Vec<u8> = (0..=255).cycle().take(BLOCK + 7).collect();
    let rows = [[&header[..], b"first"].concat(), b"second".to_vec(), large.clone(), b"last".to_vec()];
    let (all, _) = conversation(&rows);
    for size in (1..60).chain([1000, 8192, all.len()]) {
        let (before, refused) = taken(&all, size, BLOCK + 6).await;
        assert_eq!(before, data(&rows[..2]), "pieces of {size}");
        let expected = Refused { bytes: large.len() as u64, head: large[..16].to_vec() };
        assert_eq!(refused, Some(expected), "pieces of {size}");
    }
    // The negative control: one byte more is enough.
    assert_eq!(taken(&all, 1000, BLOCK + 7).await, (data(&rows), None));
}

#[tokio::test]
async fn the_header_of_the_stream_is_no_part_of_the_first_row() {
    let row = vec![3; 100];
    let (all, _) = conversation(&[[&copy::HEADER[..], &row].concat(), row.clone()]);
    assert_eq!(taken(&all, 7, 100).await.1, None);
    assert_eq!(taken(&all, 7, 99).await, (Vec::new(), Some(Refused { bytes: 100, head: vec![3; 16] })));
}

/// A length is all that a server needs to lie about: memory is for what comes.
#[tokio::test]
async fn no_memory_is_had_for_a_length_that_no_row_has() {
    let lie = [&[b'd', 0xff, 0xff, 0xff, 0xff][..], &[1; 100]].concat();
    let (sender, receiver) = blocks::channel(None);
    let heard = listen();
    let directed = heard.intake.direct(sender);
    read_all(Tap::plain(pieces(&lie, 9), heard.listener)).await;
    drop(directed);
    let mut receiver = receiver;
    assert!(receiver.try_recv().is_none());
    assert_eq!(receiver.refused().map(|refused| refused.bytes), Some(u64::from(u32::MAX) - 4 - 19));
}

#[tokio::test]
async fn nothing_is_heard_of_ciphertext_and_all_after_a_refusal_of_tls() {
    let (all, rest) = conversation(&rows());
    for (answer, hears) in [(b'N', true), (b'S', false)] {
        let heard = listen();
        let (directed, receiver) = heard.direct();
        let taken = collect(receiver);
        let bytes = [&[answer][..], &all].concat();
        let passed = read_all(Tap::before_tls(pieces(&bytes, 7), heard.listener)).await;
        assert_eq!(passed[0], answer);
        assert_eq!(&passed[1..], if hears { &rest[..] } else { &all[..] });
        drop(directed);
        assert_eq!(taken.join().unwrap().is_empty(), !hears);
        assert_eq!(heard.ends.borrow().is_some(), hears);
    }
}

#[tokio::test]
async fn an_error_ends_the_copy_and_is_heard_behind_the_rows_before_it() {
    let row = message(b'd', b"x");
    let bytes = [message(b'H', b""), row.clone(), message(b'E', b"SERROR\0\0")].concat();
    let heard = listen();
    let (directed, receiver) = heard.direct();
    let taken = collect(receiver);
    let passed = read_all(Tap::plain(pieces(&bytes, 3), heard.listener)).await;
    assert_eq!(passed, [message(b'H', b""), message(b'E', b"SERROR\0\0")].concat());
    drop(directed);
    assert_eq!(taken.join().unwrap(), [row]);
    assert_eq!(*heard.ends.borrow(), Some(CopyEnd::Failed));
}

#[tokio::test]
async fn a_tag_without_a_number_or_too_long_is_no_count() {
    for tag in [&b"COPY \0"[..], b"COPY x\0", b"COPY 1", b"COPYX 1\0", &[b'C'; 4000]] {
        let heard = listen();
        read_all(Tap::plain(pieces(&message(b'C', tag), 4096), heard.listener)).await;
        assert_eq!(*heard.ends.borrow(), None, "{tag:?}");
    }
}

#[tokio::test]
async fn a_tag_is_looked_for_in_no_other_message() {
    let bytes = [message(b'C', b""), message(b'N', b"COPY 7\0"), message(b'S', b"COPY 8\0")].concat();
    for size in 1..=bytes.len() {
        let heard = listen();
        assert_eq!(read_all(Tap::plain(pieces(&bytes, size), heard.listener)).await, bytes);
        assert_eq!(*heard.ends.borrow(), None, "pieces of {size}");
    }
}
