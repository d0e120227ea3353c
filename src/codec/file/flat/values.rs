//! [`Values`]: the values of a page that is open, in one of Parquet's encodings.

use std::ops::Range;

use arrow_buffer::ToByteSlice as _;
use parquet::basic::{Encoding, Type};

use super::arrays::Flat;
use super::bounds::Bounds;
use super::dictionary::Dictionary;
use super::differences::Differences;

/// Values that are not NULL, encoded. In memory they are little-endian, as Parquet has them, on every processor that barkeep is
/// built for.
pub(super) enum Values {
    /// Behind [`HEAD`] bytes for the levels that stand in front of them in a page.
    Plain(Vec<u8>),
    /// DELTA_BINARY_PACKED.
    Differences(Differences),
    /// BYTE_STREAM_SPLIT: plain until the page ends, and how many bytes a value has.
    Split(Vec<u8>, usize),
    /// DELTA_LENGTH_BYTE_ARRAY: lengths by differences, then all bytes.
    Lengths(Differences, Vec<u8>),
    /// DELTA_BYTE_ARRAY: what each text has in common with the one before, and the rest.
    Prefixes(Box<Prefixes>),
    Dictionary(Box<Dictionary>),
}

/// Levels have fewer bytes than that where few values are NULL.
const HEAD: usize = 64;

pub(super) struct Prefixes {
    lengths: Differences,
    rests: Differences,
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Values {
    /// For values of this type in an encoding, if it is one of ours.
    pub(super) fn encoded(encoding: Encoding, physical: Type) -> Option<Self> {
        match (encoding, physical) {
            (Encoding::PLAIN, _) => Some(Self::Plain(vec![0; HEAD])),
            (Encoding::DELTA_BINARY_PACKED, Type::INT32) => Some(Self::Differences(Differences::new(true))),
            (Encoding::DELTA_BINARY_PACKED, Type::INT64) => Some(Self::Differences(Differences::new(false))),
            (Encoding::BYTE_STREAM_SPLIT, Type::FLOAT) => Some(Self::Split(Vec::new(), size_of::<f32>())),
            (Encoding::BYTE_STREAM_SPLIT, Type::DOUBLE) => Some(Self::Split(Vec::new(), size_of::<f64>())),
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, Type::BYTE_ARRAY) => {
                Some(Self::Lengths(Differences::new(true), Vec::new()))
            }
            (Encoding::DELTA_BYTE_ARRAY, Type::BYTE_ARRAY) => Some(Self::Prefixes(Box::new(Prefixes {
                lengths: Differences::new(true),
                rests: Differences::new(true),
                bytes: Vec::new(),
                last: Vec::new(),
            }))),
            _ => None,
        }
    }

    /// For values of this type in a dictionary. The Parquet crate makes none of values with a fixed length, and neither do we.
    pub(super) fn in_dictionary(physical: Type) -> Option<Self> {
        Some(Self::Dictionary(Box::new(match physical {
            Type::INT32 | Type::FLOAT => Dictionary::of_words(size_of::<u32>()),
            Type::INT64 | Type::DOUBLE => Dictionary::of_words(size_of::<u64>()),
            Type::BYTE_ARRAY => Dictionary::of_texts(),
            _ => return None,
        })))
    }

    /// Adds values and, where they are wanted, takes their bounds.
    pub(super) fn put(&mut self, flat: Flat<'_>, rows: Range<usize>, bounds: Option<&mut Bounds>) {
        if let (Self::Dictionary(dictionary), Flat::Texts(..)) = (&mut *self, flat) {
            // They are compared only once a page, so that it costs nothing to do it always.
            return dictionary.put(flat, rows, bounds.unwrap_or(&mut Bounds::None));
        }
        if let Some(bounds) = bounds {
            flat.bound(rows.clone(), bounds);
        }
        match self {
            Self::Plain(bytes) | Self::Split(bytes, _) => put_plain(bytes, flat, rows),
            Self::Differences(differences) => match flat {
                Flat::Int32(values) => differences.put(&values[rows]),
                Flat::Int64(values) => differences.put(&values[rows]),
                _ => {}
            },
            Self::Lengths(lengths, bytes) => put_lengths(lengths, bytes, flat, rows),
            Self::Prefixes(prefixes) => prefixes.put(flat, rows),
            Self::Dictionary(dictionary) => dictionary.put(flat, rows, &mut Bounds::None),
        }
    }

    /// How many there are, where [`Self::put`] passes over those that the encoding is not for; plain ones are of any type.
    pub(super) fn counted(&self) -> Option<usize> {
        match self {
            Self::Plain(_) => None,
            Self::Split(bytes, width) => Some(bytes.len() / *width),
            Self::Differences(differences) => Some(differences.count()),
            Self::Lengths(lengths, _) => Some(lengths.count()),
            Self::Prefixes(prefixes) => Some(prefixes.lengths.count()),
            Self::Dictionary(dictionary) => Some(dictionary.page_count()),
        }
    }

    /// By this it is told whether the page is full.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len() - HEAD,
            Self::Split(bytes, _) => bytes.len(),
            Self::Differences(differences) => differences.bytes(),
            Self::Lengths(lengths, bytes) => lengths.bytes() + bytes.len(),
            Self::Prefixes(prefixes) => {
                prefixes.lengths.bytes() + prefixes.rests.bytes() + prefixes.bytes.len()
            }
            Self::Dictionary(dictionary) => dictionary.page_bytes(),
        }
    }

    /// All of them behind these levels, where they are: most pages are plain and need not be copied. `None`: they cannot
    /// be had so, and [`Self::end`] appends them. [`Self::clear`] is called afterwards.
    pub(super) fn behind(&mut self, levels: &[u8]) -> Option<&[u8]> {
        let Self::Plain(bytes) = self else { return None };
        let begin = HEAD.checked_sub(levels.len())?;
        bytes[begin..HEAD].copy_from_slice(levels);
        Some(&bytes[begin..])
    }

    /// There are none afterwards.
    pub(super) fn clear(&mut self) {
        if let Self::Plain(bytes) = self {
            bytes.truncate(HEAD);
        }
    }

    /// Appends all of them to `page`; there are none afterwards.
    pub(super) fn end(&mut self, page: &mut Vec<u8>) {
        let bytes = match self {
            Self::Plain(bytes) => {
                page.extend_from_slice(&bytes[HEAD..]);
                return self.clear();
            }
            Self::Split(bytes, width) => {
                for stream in 0..*width {
                    page.extend(bytes.iter().skip(stream).step_by(*width));
                }
                return bytes.clear();
            }
            Self::Differences(differences) => return differences.end(page),
            Self::Lengths(lengths, bytes) => {
                lengths.end(page);
                bytes
            }
            Self::Prefixes(prefixes) => {
                prefixes.lengths.end(page);
                prefixes.rests.end(page);
                prefixes.last.clear();
                &mut prefixes.bytes
            }
            Self::Dictionary(dictionary) => return dictionary.end_page(page),
        };
        page.extend_from_slice(bytes);
        bytes.clear();
    }
}

fn put_plain(bytes: &mut Vec<u8>, flat: Flat<'_>, rows: Range<usize>) {
    match flat {
        Flat::Int32(values) => bytes.extend_from_slice(values[rows].to_byte_slice()),
        Flat::Int64(values) => bytes.extend_from_slice(values[rows].to_byte_slice()),
        Flat::Float32(values) => bytes.extend_from_slice(values[rows].to_byte_slice()),
        Flat::Float64(values) => bytes.extend_from_slice(values[rows].to_byte_slice()),
        Flat::Texts(ends, texts) => {
            let ends = &ends[rows.start..=rows.end];
            let all = ends.last().zip(ends.first()).map_or(0, |(last, first)| (last - first) as usize);
            bytes.reserve(all + rows.len() * size_of::<u32>());
            for ends in ends.windows(2) {
                bytes.extend_from_slice(&(ends[1] - ends[0]).to_le_bytes());
                bytes.extend_from_slice(&texts[ends[0] as usize..ends[1] as usize]);
            }
        }
        Flat::Decimals(values, width) => {
            bytes.reserve(rows.len() * width);
            for value in &values[rows] {
                bytes.extend_from_slice(&value.to_be_bytes()[size_of::<i128>() - width..]);
            }
        }
        Flat::Fixed(values, width) => {
            bytes.extend_from_slice(&values[rows.start * width..rows.end * width]);
        }
    }
}

/// Lengths that are computed side by side.
const SOME: usize = 256;

fn put_lengths(lengths: &mut Differences, bytes: &mut Vec<u8>, flat: Flat<'_>, rows: Range<usize>) {
    let Flat::Texts(ends, texts) = flat else { return };
    let ends = &ends[rows.start..=rows.end];
    let mut some = [0; SOME];
    for (some_ends, following) in ends[..rows.len()].chunks(SOME).zip(ends[1..].chunks(SOME)) {
        let some = &mut some[..some_ends.len()];
        for (length, (start, end)) in some.iter_mut().zip(some_ends.iter().zip(following)) {
            *length = end - start;
        }
        lengths.put(some);
    }
    bytes.extend_from_slice(&texts[ends[0] as usize..ends[rows.len()] as usize]);
}

impl Prefixes {
    fn put(&mut self, flat: Flat<'_>, rows: Range<usize>) {
        let Flat::Texts(ends, texts) = flat else { return };
        for ends in ends[rows.start..=rows.end].windows(2) {
            let text = &texts[ends[0] as usize..ends[1] as usize];
            let prefix = common_prefix(&self.last, text);
            self.lengths.put(&[prefix as i32]);
            self.rests.put(&[(text.len() - prefix) as i32]);
            self.bytes.extend_from_slice(&text[prefix..]);
            self.last.truncate(prefix);
            self.last.extend_from_slice(&text[prefix..]);
        }
    }
}

/// Bytes that two texts begin with alike.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let (words, other_words) = (one.as_chunks::<WORD>().0, other.as_chunks::<WORD>().0);
    for (at, (one, other)) in words.iter().zip(other_words).enumerate() {
        let different = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return at * WORD + different.trailing_zeros() as usize / 8;
        }
    }
    let whole = words.len().min(other_words.len()) * WORD;
    whole + one[whole..].iter().zip(&other[whole..]).take_while(|(one, other)| one == other).count()
}
