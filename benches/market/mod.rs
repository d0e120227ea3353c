//! The data of the benchmarks: made of whole numbers from one fixed seed, the same on every machine, and never tuned to what
//! is measured with it.
//!
//! 200 symbols, one bar a minute of a New York session, weekdays only. 120 are like shares (three to five letters, ticks of
//! 0.01), 80 like currency pairs (six letters, ticks of 0.00001). Each has its own volatility and its own traffic; a bar is
//! what its simulated trades make it, and a minute without a trade has no bar. [`bars`] gives the same bars in either order.

#![allow(dead_code, reason = "each benchmark uses the part that it needs")]

pub(crate) mod columns;
pub(crate) mod csv;
pub(crate) mod random;
mod symbols;
pub(crate) mod tables;
pub(crate) mod tuple;
mod walk;
mod words;

pub(crate) use symbols::{SYMBOLS, symbol_name};
use walk::Walk;

/// The seed of everything. It is older than the first measurement, and stays.
pub(crate) const SEED: u64 = 0x6261_726b_6565_7001;

/// Minutes of a session.
const SESSION: u64 = 390;

/// A minute in microseconds.
const MINUTE: i64 = 60_000_000;

/// One bar; prices in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bar {
    /// Which symbol, 0 to 199, in the order of their names.
    pub(crate) symbol: u16,
    /// Start of the minute, in microseconds since 2000-01-01 UTC.
    pub(crate) ts: i64,
    /// Price of the first trade.
    pub(crate) open: i64,
    /// Highest price.
    pub(crate) high: i64,
    /// Lowest price.
    pub(crate) low: i64,
    /// Price of the last trade.
    pub(crate) close: i64,
    /// Sum of price times size over sum of sizes, rounded to a millionth.
    pub(crate) vwap: i64,
    /// Sum of the sizes.
    pub(crate) volume: i64,
    /// Number of trades.
    pub(crate) trades: i32,
}

/// How rows lie in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they come in: minute by minute.
    TimeThenSymbol,
    /// As a table lies after CLUSTER: symbol by symbol.
    SymbolThenTime,
}

/// The first `rows` bars by (ts, symbol), in that order or sorted by (symbol, ts).
pub(crate) fn bars(order: Order, rows: u64) -> Box<dyn Iterator<Item = Bar>> {
    let symbols = SYMBOLS as u64;
    match order {
        Order::TimeThenSymbol => {
            let mut walks: Vec<Walk> = (0..SYMBOLS as u16).map(Walk::new).collect();
            let all = (0..).flat_map(move |at: u64| walks[(at % symbols) as usize].bar(at / symbols));
            Box::new(all.take(rows as usize))
        }
        Order::SymbolThenTime => {
            let end = places(rows);
            let of = move |symbol: u16| {
                let mut walk = Walk::new(symbol);
                // The last minute is there for the symbols up to the last bar's.
                let minutes = end / symbols + u64::from(u64::from(symbol) < end % symbols);
                (0..minutes).filter_map(move |minute| walk.bar(minute))
            };
            Box::new((0..SYMBOLS as u16).flat_map(of))
        }
    }
}

/// How many pairs of minute and symbol, with or without a bar, hold the first `rows` bars.
fn places(rows: u64) -> u64 {
    let all = walk::traffic();
    let mut left = rows;
    let mut at = 0;
    while left > 0 {
        let symbol = (at % SYMBOLS as u64) as u16;
        left -= u64::from(all[usize::from(symbol)].trades_in(at / SYMBOLS as u64));
        at += 1;
    }
    at
}

/// The time of a minute counted over all sessions: 14:30 UTC onward, Monday to Friday, from Tuesday, 2 January 2024.
pub(crate) fn time_of(minute: u64) -> i64 {
    /// Monday, 1 January 2024, 14:30 UTC.
    const MONDAY: i64 = 757_434_600_000_000;
    let day = (minute / SESSION) as i64 + 1;
    let days = day / 5 * 7 + day % 5;
    MONDAY + days * 1440 * MINUTE + (minute % SESSION) as i64 * MINUTE
}

/// Appends a bar as a tuple of COPY BINARY: symbol text, ts timestamptz, open, high, low, close, vwap numeric(18,6), volume
/// bigint, trade_count int.
pub(crate) fn put_numeric(bar: &Bar, out: &mut Vec<u8>) {
    put(bar, out, |price, out| tuple::numeric(out, price.into(), 6));
}

/// The same with prices as float8.
pub(crate) fn put_float8(bar: &Bar, out: &mut Vec<u8>) {
    // Both are whole numbers below 2^53: the quotient is the double nearest to the decimal price.
    put(bar, out, |price, out| tuple::float8(out, price as f64 / 1e6));
}

fn put(bar: &Bar, out: &mut Vec<u8>, price: impl Fn(i64, &mut Vec<u8>)) {
    tuple::begin(out, 9);
    tuple::text(out, symbol_name(bar.symbol));
    tuple::int8(out, bar.ts);
    for value in [bar.open, bar.high, bar.low, bar.close, bar.vwap] {
        price(value, out);
    }
    tuple::int8(out, bar.volume);
    tuple::int4(out, bar.trades);
}
