//! A slow sorter of the server's messages: what passes, which rows come, and how a COPY ends.

/// A row whose message has a body from this size on goes by itself.
const ALONE: usize = 64 << 10;

/// Bytes of a row too large that are looked at.
const HEAD: usize = 16;

/// What a conversation has in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sorted {
    /// Everything but rows.
    pub passed: Vec<u8>,
    /// Rows, in their messages, that are handed on for certain: something comes behind them that is none.
    pub rows: Vec<u8>,
    /// Whole rows behind those.
    pub more: Vec<u8>,
    /// The row that was too large: its bytes, and how it begins. No row is taken after it.
    pub refused: Option<(u64, Vec<u8>)>,
    /// How the newest COPY ended: its rows, or `None` for an error.
    pub end: Option<Option<u64>>,
}

/// A message: its kind, its header and body as far as they came, and whether it is whole.
pub struct Message<'a> {
    pub kind: u8,
    pub bytes: &'a [u8],
    pub body: &'a [u8],
    pub whole: bool,
}

/// The messages of a conversation. A header that is not whole is none.
pub fn messages(mut bytes: &[u8]) -> Vec<Message<'_>> {
    let mut found = Vec::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
        let end = length.max(4) + 1;
        let (message, rest) = bytes.split_at(end.min(bytes.len()));
        found.push(Message {
            kind: message[0],
            bytes: message,
            body: &message[5..],
            whole: message.len() == end,
        });
        bytes = rest;
    }
    found
}

/// Sorts a conversation whose rows are wanted from the beginning to the end, or to one of more than `largest` bytes.
pub fn sort(bytes: &[u8], largest: usize) -> Sorted {
    let mut sorted = Sorted::default();
    let (mut open, mut first) = (true, true);
    for message in messages(bytes) {
        let length =
            u32::from_be_bytes([message.bytes[1], message.bytes[2], message.bytes[3], message.bytes[4]]);
        let body = (length as usize).saturating_sub(4);
        let alone = body >= ALONE;
        if message.kind != b'd' {
            sorted.passed.extend_from_slice(message.bytes);
        }
        if message.kind != b'd' || alone {
            sorted.rows.append(&mut sorted.more);
        }
        match message.kind {
            b'd' if !open => {}
            b'd' => {
                // The header of the stream comes with the first row of each COPY.
                let header = if first { 19 } else { 0 };
                let row = body.saturating_sub(header);
                if row > largest {
                    sorted.rows.append(&mut sorted.more);
                    open = false;
                    let head = &message.body[message.body.len().min(header)..];
                    let head = &head[..head.len().min(HEAD)];
                    sorted.refused = (head.len() == HEAD.min(row)).then(|| (row as u64, head.to_vec()));
                    continue;
                }
                first = false;
                if message.whole {
                    let to = if alone { &mut sorted.rows } else { &mut sorted.more };
                    to.extend_from_slice(message.bytes);
                }
            }
            b'c' => first = true,
            b'E' => {
                first = true;
                sorted.end = Some(None);
            }
            b'C' if message.whole => {
                if let Some(rows) = copied(message.body) {
                    sorted.end = Some(Some(rows));
                }
            }
            _ => {}
        }
    }
    sorted
}

/// The number in `COPY n`, if the tag is one and short enough to be heard.
fn copied(tag: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(&tag[..tag.len().min(32)]).ok()?;
    tag.strip_prefix("COPY ")?.strip_suffix('\0')?.parse().ok()
}
