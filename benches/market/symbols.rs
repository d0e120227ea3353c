//! The 200 symbols: their names and what kind of price they have.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::random::Random;

/// How many symbols there are.
pub(crate) const SYMBOLS: usize = 200;

/// How many of them are like currency pairs; the others are like shares.
const PAIRS: usize = 80;

const CURRENCIES: [&str; 12] =
    ["USD", "EUR", "GBP", "CHF", "AUD", "CAD", "NZD", "SEK", "NOK", "SGD", "PLN", "DKK"];

/// Sorted, so that the number of a symbol is its place by name.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut random = Random::of("names", 0);
    let mut names = BTreeSet::new();
    while names.len() < PAIRS {
        let (base, quote) = (random.of_these(&CURRENCIES), random.of_these(&CURRENCIES));
        if base != quote {
            names.insert(format!("{base}{quote}"));
        }
    }
    while names.len() < SYMBOLS {
        // Half of the tickers have four letters.
        let length = [3, 3, 4, 4, 4, 5][random.below(6) as usize];
        names.insert((0..length).map(|_| char::from(b'A' + random.below(26) as u8)).collect());
    }
    names.into_iter().collect()
});

/// The name of a symbol.
pub(crate) fn symbol_name(symbol: u16) -> &'static str {
    &NAMES[usize::from(symbol)]
}

/// What a symbol's walk starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instrument {
    /// Smallest step of the price, in millionths.
    pub(super) tick: i64,
    /// First price, in ticks.
    pub(super) price: i64,
    /// Longest step from one trade to the next, in millionths of the price.
    pub(super) volatility: i64,
    /// Distance of bid and ask, in ticks.
    pub(super) spread: i64,
    /// Trades in a minute of average traffic, in tenths.
    pub(super) traffic: u64,
    /// What sizes are a multiple of, mostly.
    pub(super) lot: i64,
}

impl Instrument {
    pub(super) fn of(symbol: u16) -> Self {
        let mut random = Random::of("instrument", symbol.into());
        let pair = symbol_name(symbol).len() == 6;
        // Few symbols have most of the traffic.
        let traffic = (15 << random.below(5)) + random.below(30);
        if pair {
            let price = random.between(20_000, 60_000) << random.below(4);
            let volatility = random.between(8, 40);
            let spread = random.between(1, 6);
            Self { tick: 10, price, volatility, spread, traffic, lot: 1000 }
        } else {
            // From about 5 to about 800 dollars, as many between 10 and 20 as between 200 and 400.
            let price = random.between(500, 1250) << random.below(7);
            let volatility = random.between(40, 250);
            let spread = 1 + price / random.between(4000, 20_000);
            Self { tick: 10_000, price, volatility, spread, traffic, lot: 100 }
        }
    }
}
