//! The data of the benchmarks is what it says: the same on every machine, the same bars in both orders, and rows as PostgreSQL
//! itself would send them.

#[path = "../../benches/market/mod.rs"]
mod market;

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::bench_world::World;
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

async fn connected(world: &World) -> (Client, JoinHandle<()>) {
    let source = world.source();
    let config =
        format!("host={} port={} user=postgres dbname={}", source.host, source.port, source.database);
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    (client, tokio::spawn(async move { connection.await.unwrap() }))
}

async fn copy_in(client: &Client, table: &str, stream: Vec<u8>) {
    let sink = client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await.unwrap();
    let mut sink = Box::pin(sink);
    sink.send(Bytes::from(stream)).await.unwrap();
    sink.close().await.unwrap();
}

/// PostgreSQL is the oracle: it takes the rows and sends the same bytes back.
#[tokio::test]
async fn the_tuples_of_the_bars_are_those_of_postgresql() {
    let world = World::with("").await;
    let (client, running) = connected(&world).await;
    for (price, put) in [("numeric(18,6)", put_numeric as fn(&Bar, &mut Vec<u8>)), ("float8", put_float8)] {
        let mut sent = tuple::HEADER.to_vec();
        bars(Order::TimeThenSymbol, 20_000).for_each(|bar| put(&bar, &mut sent));
        sent.extend_from_slice(&tuple::TRAILER);
        let table = format!(
            "DROP TABLE IF EXISTS b; CREATE TABLE b (symbol text, ts timestamptz, o {price}, h {price}, l {price}, c {price}, \
             vwap {price}, volume bigint, trade_count int)"
        );
        client.batch_execute(&table).await.unwrap();
        copy_in(&client, "b", sent.clone()).await;
        let sql = "COPY (SELECT * FROM b ORDER BY ts, symbol COLLATE \"C\") TO STDOUT (FORMAT binary)";
        let stream = client.copy_out(sql).await.unwrap();
        let back = stream.map(Result::unwrap).collect::<Vec<Bytes>>().await.concat();
        let other = back.iter().zip(&sent).position(|(back, sent)| back != sent);
        assert!(back == sent, "{price}: {} bytes of {}, others from {other:?} on", back.len(), sent.len());
    }
    drop(client);
    running.await.unwrap();
}

/// COPY of a table's first rows into PostgreSQL, the digest of what was sent, and how many rows there are then.
async fn taken(definition: &str, rows: u64, put: impl Fn(u64, &mut Vec<u8>)) -> (String, i64) {
    let world = World::with(market::tables::TYPES).await;
    let mut sent = tuple::HEADER.to_vec();
    (0..rows).for_each(|at| put(at, &mut sent));
    sent.extend_from_slice(&tuple::TRAILER);
    let digest = blake3::hash(&sent).to_hex()[..16].to_owned();
    let (client, running) = connected(&world).await;
    client.batch_execute(&format!("CREATE TABLE t ({definition})")).await.unwrap();
    copy_in(&client, "t", sent).await;
    let there = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    drop(client);
    running.await.unwrap();
    (digest, there)
}

#[tokio::test]
async fn postgresql_takes_the_wide_table_and_the_orders() {
    use market::columns::{definition, put};
    use market::tables::{ORDERS, WIDE};

    let wide = taken(&definition(&WIDE), 5000, |at, out| put("wide", &WIDE, at, out)).await;
    let orders = taken(&definition(&ORDERS), 5000, |at, out| put("orders", &ORDERS, at, out)).await;
    assert_eq!([wide.0, orders.0], ["d9960d69d327e91b", "4cfde7e1b29f5b25"]);
    assert_eq!([wide.1, orders.1], [5000, 5000]);
}

#[tokio::test]
async fn the_small_tables_are_tables() {
    let world = World::with(&market::tables::small(7)).await;
    let (client, running) = connected(&world).await;
    let row = client.query_one("SELECT count(*), sum(price)::text FROM small_00006", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, String>(1).as_str()), (5, "2356.068902"));
    drop(client);
    running.await.unwrap();
}

#[tokio::test]
async fn bars_of_csv_files_keep_every_digit() {
    use market::csv;

    let daily =
        "Date,Open,High,Low,Close,Adj Close,Volume\n2004-02-29,2.250714,2.3,2.1,2.2,1.966391,97230000\n";
    let minutes = "Date,Open,Close,High,Low,Volume\r\n11/5/2019 9:30,3080.8,3080.49,3081.47,3080.3,0\r\n";
    let mut lines = csv::parse("AAPL", daily).unwrap();
    lines.extend(csv::parse("SP500", minutes).unwrap());
    let world = World::with("").await;
    let (client, running) = connected(&world).await;
    client.batch_execute(&format!("CREATE TABLE t ({})", csv::DEFINITION)).await.unwrap();
    let mut sent = tuple::HEADER.to_vec();
    lines.iter().for_each(|line| csv::put(line, 0, &mut sent));
    sent.extend_from_slice(&tuple::TRAILER);
    copy_in(&client, "t", sent).await;
    let rows = client.query("SELECT t::text FROM t ORDER BY ts", &[]).await.unwrap();
    let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        texts,
        [
            r#"(AAPL,"2004-02-29 00:00:00",2.250714,2.300000,2.100000,2.200000,1.966391,97230000)"#,
            r#"(SP500,"2019-11-05 09:30:00",3080.800000,3081.470000,3080.300000,3080.490000,,0)"#
        ]
    );
    assert_eq!(
        csv::parse("X", &daily.replace("2.3", "2.3456789")).unwrap_err().split(':').next(),
        Some("line 2")
    );
    assert!(csv::parse("X", "Date,Open\n").is_err());
    drop(client);
    running.await.unwrap();
}
