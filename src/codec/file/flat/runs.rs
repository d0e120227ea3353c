//! [`put_runs`]: places in a dictionary, as Parquet writes them: run lengths and packed bits in turn.
//!
//! Eight equal ones in a row begin a run, what is between runs is packed eight at a time, as the Parquet crate does it: the same places
//! give the same bytes.

use super::differences::pack;
use super::levels::{GROUP, MOST_GROUPS, put_unsigned};

/// Bits that the places in a dictionary of so many entries need.
pub(super) fn width(entries: usize) -> u32 {
    usize::BITS - entries.saturating_sub(1).leading_zeros()
}

/// The most bytes that so many places of this width take: by this the Parquet crate tells whether a page is full.
pub(super) fn most_bytes(width: u32, places: usize) -> usize {
    places.div_ceil(GROUP) * (1 + width as usize)
}

/// Appends places of so many bits.
pub(super) fn put_runs(bytes: &mut Vec<u8>, width: u32, mut places: &[u32]) {
    // Where the count of the packed groups stands, and how many there are.
    let mut packed: Option<(usize, usize)> = None;
    while let Some(first) = places.first() {
        let (group, rest) = places.split_at(places.len().min(GROUP));
        let equal = group.iter().all(|place| place == first);
        if equal && (group.len() == GROUP || packed.is_none()) {
            end_packed(bytes, packed.take());
            let run = places.iter().take_while(|place| *place == first).count();
            put_unsigned(bytes, (run as u64) << 1);
            bytes.extend_from_slice(&first.to_le_bytes()[..width.div_ceil(8) as usize]);
            places = &places[run..];
            continue;
        }
        let (at, groups) = packed.unwrap_or_else(|| {
            bytes.push(0);
            (bytes.len() - 1, 0)
        });
        pack(bytes, width, GROUP, group.iter().map(|place| u64::from(*place)));
        packed = Some((at, groups + 1));
        if groups + 1 >= MOST_GROUPS {
            end_packed(bytes, packed.take());
        }
        places = rest;
    }
    end_packed(bytes, packed);
}

fn end_packed(bytes: &mut [u8], packed: Option<(usize, usize)>) {
    if let Some((at, groups)) = packed {
        bytes[at] = (groups << 1 | 1) as u8;
    }
}
