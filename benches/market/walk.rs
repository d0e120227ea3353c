//! One symbol's walk: trade after trade, bar after bar.

use super::random::{Random, mix};
use super::symbols::{Instrument, SYMBOLS};
use super::{Bar, SEED, SESSION, time_of};

/// Traffic by half hour of the session, in per cent of the average: much at the opening, more at the close.
const DAY: [u64; 13] = [210, 130, 100, 90, 80, 70, 60, 60, 65, 75, 90, 120, 250];

/// When a symbol trades at all. It depends on nothing but the minute, so that bars can be counted without being made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    symbol: u16,
    /// Expected trades of a minute by half hour, in tenths.
    expected: [u64; DAY.len()],
    /// How many of 2^20 minutes have no trade.
    empty: [u64; DAY.len()],
}

impl Traffic {
    fn of(symbol: u16, tenths: u64) -> Self {
        let expected = DAY.map(|percent| tenths * percent / 100);
        // e^-0.1 is 0.9048: independent trades leave that part of the minutes empty for each tenth of a trade.
        let empty = expected.map(|tenths| (0..tenths).fold(1 << 20, |left, _| left * 9048 / 10_000));
        Self { symbol, expected, empty }
    }

    fn half_hour(minute: u64) -> usize {
        (minute % SESSION / 30) as usize
    }

    /// Whether there is a bar in this minute.
    pub(super) fn trades_in(&self, minute: u64) -> bool {
        mix(SEED ^ mix(minute << 16 | u64::from(self.symbol))) >> 44 >= self.empty[Self::half_hour(minute)]
    }
}

/// The traffic of all symbols.
pub(super) fn traffic() -> Vec<Traffic> {
    (0..SYMBOLS as u16).map(|symbol| Walk::new(symbol).traffic).collect()
}

/// The state between two bars.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    symbol: u16,
    instrument: Instrument,
    traffic: Traffic,
    random: Random,
    /// The bid, in ticks.
    bid: i64,
    /// The session of the last bar.
    session: u64,
}

impl Walk {
    pub(super) fn new(symbol: u16) -> Self {
        let instrument = Instrument::of(symbol);
        let traffic = Traffic::of(symbol, instrument.traffic);
        let random = Random::of("walk", symbol.into());
        Self { symbol, instrument, traffic, random, bid: instrument.price, session: 0 }
    }

    /// The bar of a minute, if there was a trade. Minutes must be asked for in their order.
    pub(super) fn bar(&mut self, minute: u64) -> Option<Bar> {
        if !self.traffic.trades_in(minute) {
            return None;
        }
        let session = minute / SESSION;
        if session != self.session {
            // Overnight: up to one per cent.
            self.bid += self.bid * self.random.between(-100, 100) / 10_000;
            self.session = session;
        }
        let trades = self.count(minute);
        let (mut open, mut high, mut low, mut close) = (0, i64::MIN, i64::MAX, 0);
        let (mut volume, mut paid) = (0, 0);
        for trade in 0..trades {
            let (price, size) = self.trade();
            if trade == 0 {
                open = price;
            }
            (high, low, close) = (high.max(price), low.min(price), price);
            volume += size;
            paid += i128::from(price) * i128::from(size);
        }
        let vwap = ((2 * paid + i128::from(volume)) / (2 * i128::from(volume))) as i64;
        let ts = time_of(minute);
        Some(Bar { symbol: self.symbol, ts, open, high, low, close, vwap, volume, trades })
    }

    /// At least one; most minutes are below the average, some far above.
    fn count(&mut self, minute: u64) -> i32 {
        let expected = self.traffic.expected[Traffic::half_hour(minute)];
        let busy = if self.random.permille(30) { 4 } else { 1 };
        let (one, two) = (self.random.below(expected + 1), self.random.below(expected + 1));
        1 + (one.min(two) * busy / 10) as i32 + (self.random.below(expected + 1) / 10) as i32
    }

    /// Price in millionths, and size.
    fn trade(&mut self) -> (i64, i64) {
        let bits = self.random.bits();
        // Most trades leave the quote where it is.
        if bits & 7 < 3 {
            let reach = (self.bid * self.instrument.volatility / 1_000_000).max(1);
            let step = self.random.between(-reach, reach) + self.random.between(-reach, reach);
            // Nothing falls to zero: a low price is turned around.
            self.bid = (self.bid + step).abs().max(100);
        }
        let ask = (bits >> 3) & 1 == 1;
        let price = self.bid + if ask { self.instrument.spread } else { 0 };
        (price * self.instrument.tick, self.size(bits >> 8))
    }

    /// One lot mostly, some odd lots, sometimes several lots, rarely a block.
    fn size(&mut self, bits: u64) -> i64 {
        let lot = self.instrument.lot;
        match bits % 100 {
            0..20 => 1 + (bits >> 8) as i64 % (lot - 1),
            20..70 => lot,
            70..95 => lot * (2 + (bits >> 8) as i64 % 9),
            95..99 => lot * (10 + (bits >> 8) as i64 % 41),
            _ => lot * (50 + (bits >> 8) as i64 % 451),
        }
    }
}
