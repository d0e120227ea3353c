//! The data of the benchmarks is what it says: the same on every machine, the same bars in both orders, and rows as PostgreSQL
//! itself would send them.

#[path = "../../benches/market/mod.rs"]
mod market;

use std::collections::BTreeSet;

use market::{Bar, Order, bars, put_float8, put_numeric, symbol_name, tuple};

/// Digest of the first 100,000 bars in an order, as COPY BINARY tuples.
fn digest(order: Order, put: fn(&Bar, &mut Vec<u8>)) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut row = Vec::new();
    for bar in bars(order, 100_000) {
        row.clear();
        put(&bar, &mut row);
        hasher.update(&row);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Whoever changes the generator makes every measurement before incomparable: these digests are not to be renewed.
#[test]
fn the_bars_of_the_benchmarks_are_the_same_on_every_machine() {
    let digests = [
        digest(Order::TimeThenSymbol, put_numeric),
        digest(Order::SymbolThenTime, put_numeric),
        digest(Order::TimeThenSymbol, put_float8),
    ];
    assert_eq!(digests, ["7d28d790d50a48b2", "b1c49051893f5b4f", "7afcd591b23b0a0a"]);
}

#[test]
fn both_orders_have_the_same_bars() {
    let by_time: Vec<Bar> = bars(Order::TimeThenSymbol, 54_321).collect();
    let by_symbol: Vec<Bar> = bars(Order::SymbolThenTime, 54_321).collect();
    assert_eq!(by_time.len(), 54_321);
    assert!(by_time.is_sorted_by_key(|bar| (bar.ts, bar.symbol)));
    assert!(by_symbol.is_sorted_by_key(|bar| (bar.symbol, bar.ts)));
    assert_ne!(by_time, by_symbol);
    let sorted = |bars: Vec<Bar>| bars.into_iter().collect::<BTreeSet<Bar>>();
    assert_eq!(sorted(by_time), sorted(by_symbol));
    // A longer table begins as a shorter one does.
    let longer: Vec<Bar> = bars(Order::TimeThenSymbol, 60_000).take(1000).collect();
    assert_eq!(longer, bars(Order::TimeThenSymbol, 1000).collect::<Vec<Bar>>());
}

#[test]
fn a_bar_is_what_its_trades_made_it() {
    let all: Vec<Bar> = bars(Order::TimeThenSymbol, 200_000).collect();
    for bar in &all {
        let tick = if symbol_name(bar.symbol).len() == 6 { 10 } else { 10_000 };
        assert!(bar.low > 0 && bar.trades > 0 && bar.volume >= bar.trades.into(), "{bar:?}");
        for price in [bar.open, bar.close, bar.vwap] {
            assert!((bar.low..=bar.high).contains(&price), "{bar:?}");
        }
        for price in [bar.open, bar.high, bar.low, bar.close] {
            assert_eq!(price % tick, 0, "{bar:?}");
        }
    }
    let part = |of: &dyn Fn(&Bar) -> bool| all.iter().filter(|bar| of(bar)).count() as f64 / all.len() as f64;
    let shares = part(&|bar| symbol_name(bar.symbol).len() < 6);
    assert!((0.5..0.7).contains(&shares), "{shares}");
    let still = part(&|bar| bar.low == bar.high);
    assert!((0.001..0.2).contains(&still), "{still}");
}

/// PostgreSQL is the oracle: it takes the rows and sends the same bytes back.
#[tokio::test]
async fn the_tuples_of_the_bars_are_those_of_postgresql() {
    use futures_util::{SinkExt as _, StreamExt as _};

    let world = crate::bench_world::World::with("").await;
    let source = world.source();
    let config =
        format!("host={} port={} user=postgres dbname={}", source.host, source.port, source.database);
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    let running = tokio::spawn(connection);
    for (price, put) in [("numeric(18,6)", put_numeric as fn(&Bar, &mut Vec<u8>)), ("float8", put_float8)] {
        let mut sent = tuple::HEADER.to_vec();
        bars(Order::TimeThenSymbol, 20_000).for_each(|bar| put(&bar, &mut sent));
        sent.extend_from_slice(&tuple::TRAILER);
        let table = format!(
            "DROP TABLE IF EXISTS b; CREATE TABLE b (symbol text, ts timestamptz, o {price}, h {price}, l {price}, c {price}, \
             vwap {price}, volume bigint, trade_count int)"
        );
        client.batch_execute(&table).await.unwrap();
        let sink = client.copy_in("COPY b FROM STDIN (FORMAT binary)").await.unwrap();
        let mut sink = Box::pin(sink);
        sink.send(bytes::Bytes::from(sent.clone())).await.unwrap();
        sink.close().await.unwrap();
        let stream = client
            .copy_out("COPY (SELECT * FROM b ORDER BY ts, symbol COLLATE \"C\") TO STDOUT (FORMAT binary)")
            .await
            .unwrap();
        let back: Vec<bytes::Bytes> = stream.map(Result::unwrap).collect().await;
        let back = back.concat();
        let other = back.iter().zip(&sent).position(|(back, sent)| back != sent);
        assert!(
            back == sent,
            "{price}: {} bytes, {} came back, from byte {other:?} on others",
            sent.len(),
            back.len()
        );
    }
    drop(client);
    running.await.unwrap().unwrap();
}
