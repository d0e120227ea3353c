//! [`Dictionary`]: the different values of a chunk in the order in which they came, and for each value its place among them.

use std::ops::Range;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::arrays::Flat;
use super::bounds::Bounds;
use super::runs;

/// A value and where it stands, for each of a chunk's different values.
enum Entries {
    /// Numbers and floats by their bits, in so many bytes.
    Words(HashTable<(u64, u32)>, usize),
    /// Short texts and long ones.
    Texts(HashTable<Short>, HashTable<Text>),
}

/// Bytes from which on a text is a long one: a short one is compared, and hashed, as one number.
const LONG: usize = 16;

/// A short text of the dictionary.
struct Short {
    /// Its bytes, and in the last one its length.
    key: u128,
    place: u32,
    /// The last page in which it was.
    page: u32,
}

/// A long text of the dictionary.
struct Text {
    /// Where its bytes stand.
    start: usize,
    length: usize,
    place: u32,
    /// The last page in which it was.
    page: u32,
}

pub(super) struct Dictionary {
    hashes: RandomState,
    entries: Entries,
    /// The dictionary's own page: plain values.
    values: Vec<u8>,
    count: u32,
    /// The places of the open page.
    places: Vec<u32>,
    /// Pages before it.
    pages: u32,
}

impl Dictionary {
    /// For values of so many bytes.
    pub(super) fn of_words(bytes: usize) -> Self {
        Self::new(Entries::Words(HashTable::new(), bytes))
    }

    pub(super) fn of_texts() -> Self {
        Self::new(Entries::Texts(HashTable::new(), HashTable::new()))
    }

    fn new(entries: Entries) -> Self {
        Self {
            hashes: RandomState::new(),
            entries,
            values: Vec::new(),
            count: 0,
            places: Vec::new(),
            pages: 0,
        }
    }

    /// Adds values. Takes texts that are new to the page into `bounds`: the others are there already.
    pub(super) fn put(&mut self, flat: Flat<'_>, rows: Range<usize>, bounds: &mut Bounds) {
        match flat {
            Flat::Int32(values) => self.put_words(values[rows].iter().map(|value| u64::from(*value as u32))),
            Flat::Int64(values) => self.put_words(values[rows].iter().map(|value| *value as u64)),
            Flat::Float32(values) => {
                self.put_words(values[rows].iter().map(|value| u64::from(value.to_bits())));
            }
            Flat::Float64(values) => self.put_words(values[rows].iter().map(|value| value.to_bits())),
            Flat::Texts(ends, bytes) => {
                for ends in ends[rows.start..=rows.end].windows(2) {
                    self.put_text(bytes, ends[0] as usize..ends[1] as usize, bounds);
                }
            }
            // No dictionaries are made of them.
            Flat::Decimals(..) | Flat::Fixed(..) => {}
        }
    }

    fn put_words(&mut self, words: impl ExactSizeIterator<Item = u64>) {
        let Self { hashes, entries: Entries::Words(entries, bytes), values, count, places, .. } = self else {
            return;
        };
        places.reserve(words.len());
        for word in words {
            let equal = |entry: &(u64, u32)| entry.0 == word;
            let place = match entries.entry(hashes.hash_one(word), equal, |entry| hashes.hash_one(entry.0)) {
                Entry::Occupied(entry) => entry.get().1,
                Entry::Vacant(entry) => {
                    values.extend_from_slice(&word.to_le_bytes()[..*bytes]);
                    entry.insert((word, *count));
                    *count += 1;
                    *count - 1
                }
            };
            places.push(place);
        }
    }

    #[inline]
    fn put_text(&mut self, bytes: &[u8], place: Range<usize>, bounds: &mut Bounds) {
        let text = &bytes[place.clone()];
        let Self { hashes, entries: Entries::Texts(short, long), values, count, places, pages } = self else {
            return;
        };
        let found = match short_key(&bytes[place.start..], text.len()) {
            Some(key) => short
                .find_mut(hashes.hash_one(key), |entry| entry.key == key)
                .map(|entry| (entry.place, &mut entry.page)),
            None => long
                .find_mut(hashes.hash_one(text), |entry| {
                    entry.length == text.len() && values[entry.start..entry.start + entry.length] == *text
                })
                .map(|entry| (entry.place, &mut entry.page)),
        };
        if let Some((place, page)) = found {
            if *page != *pages {
                *page = *pages;
                bounds.take_bytes(text);
            }
            places.push(place);
            return;
        }
        places.push(*count);
        bounds.take_bytes(text);
        self.add_text(text);
    }

    /// A text that is not there yet.
    fn add_text(&mut self, text: &[u8]) {
        let Self { hashes, entries: Entries::Texts(short, long), values, count, pages, .. } = self else {
            return;
        };
        values.extend_from_slice(&(text.len() as u32).to_le_bytes());
        let (start, place, page) = (values.len(), *count, *pages);
        values.extend_from_slice(text);
        *count += 1;
        if let Some(key) = short_key(text, text.len()) {
            let new = Short { key, place, page };
            short.insert_unique(hashes.hash_one(key), new, |entry| hashes.hash_one(entry.key));
            return;
        }
        let new = Text { start, length: text.len(), place, page };
        long.insert_unique(hashes.hash_one(text), new, |entry| {
            hashes.hash_one(&values[entry.start..entry.start + entry.length])
        });
    }

    /// Bytes of its page, before they are compressed.
    pub(super) fn bytes(&self) -> usize {
        self.values.len()
    }

    /// Bytes that it takes in memory.
    pub(super) fn memory(&self) -> usize {
        let entries = match &self.entries {
            Entries::Words(entries, _) => entries.allocation_size(),
            Entries::Texts(short, long) => short.allocation_size() + long.allocation_size(),
        };
        entries + self.values.capacity() + self.places.capacity() * size_of::<u32>()
    }

    /// Values of the open page.
    pub(super) fn page_count(&self) -> usize {
        self.places.len()
    }

    fn width(&self) -> u32 {
        runs::width(self.count as usize)
    }

    /// The most bytes that the open page may take.
    pub(super) fn page_bytes(&self) -> usize {
        let most = runs::most_bytes(self.width(), self.places.len());
        // Its first byte is the width, which the Parquet crate counts for texts alone.
        match self.entries {
            Entries::Words(..) => most,
            Entries::Texts(..) => 1 + most,
        }
    }

    /// Appends the places of the open page; the next one begins.
    pub(super) fn end_page(&mut self, page: &mut Vec<u8>) {
        page.push(self.width() as u8);
        runs::put_runs(page, self.width(), &self.places);
        self.places.clear();
        self.pages += 1;
    }

    /// The dictionary's own page, and how many values are in it.
    pub(super) fn end(self) -> (Vec<u8>, u32) {
        (self.values, self.count)
    }
}

/// The first `length` of these bytes as a number that no other text has; `None` for a long one.
#[inline]
fn short_key(bytes: &[u8], length: usize) -> Option<u128> {
    if length >= LONG {
        return None;
    }
    let all = match bytes.first_chunk() {
        Some(all) => u128::from_le_bytes(*all),
        // Near the end of all texts.
        None => {
            let mut all = [0; LONG];
            all[..length].copy_from_slice(&bytes[..length]);
            u128::from_le_bytes(all)
        }
    };
    Some(all & !(u128::MAX << (8 * length)) | (length as u128) << 120)
}
