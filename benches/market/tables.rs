//! The tables beside the bars: a wide one, one full of text, and thousands of small ones.

use super::columns::{Column, Values};
use super::random::Random;

use Values::{
    Big, Bigs, Choice, Code, Day, Decimal, Flag, Float, Floats, Free, Int, Json, Numbered, Real, Serial,
    Small, Symbol, Texts, Time, Uuid, Words,
};

const STATUS: &[&str] = &["filled", "cancelled", "new", "partially_filled", "rejected", "expired"];
const SIDE: &[&str] = &["buy", "sell"];
const VENUES: &[&str] = &["XNAS", "XNYS", "ARCX", "BATS", "EDGX", "IEXG", "XETR", "XLON", "TRQX", "CHIX"];
const CURRENCY: &[&str] = &["USD", "EUR", "GBP", "CHF", "JPY", "SEK"];
const FORCE: &[&str] = &["DAY", "IOC", "GTC", "FOK", "GTD"];

/// What has to be there before the tables are.
pub(crate) const TYPES: &str = "CREATE TYPE order_status AS ENUM \
    ('new', 'partially_filled', 'filled', 'cancelled', 'rejected', 'expired')";

/// Sixty columns of everything that trading systems keep.
pub(crate) const WIDE: [Column; 60] = [
    ("id", "bigint", 0, Serial),
    ("account_id", "int", 0, Int(1, 40_000)),
    ("shard", "smallint", 0, Small(0, 63)),
    ("sequence", "bigint", 0, Big(40)),
    ("status", "order_status", 0, Choice(STATUS)),
    ("side", "text", 0, Choice(SIDE)),
    ("symbol", "text", 0, Symbol),
    ("venue", "text", 20, Choice(VENUES)),
    ("currency", "char(3)", 0, Choice(CURRENCY)),
    ("created_at", "timestamptz", 0, Time(1)),
    ("updated_at", "timestamptz", 200, Time(3600)),
    ("sent_at", "timestamptz", 30, Time(5)),
    ("local_time", "timestamp", 0, Time(1)),
    ("expires_at", "timestamptz", 850, Time(86_400)),
    ("trading_day", "date", 0, Day),
    ("settles_on", "date", 400, Day),
    ("quantity", "numeric(20,8)", 0, Decimal(14, 8)),
    ("filled", "numeric(20,8)", 0, Decimal(14, 8)),
    ("limit_price", "numeric(18,6)", 300, Decimal(10, 6)),
    ("stop_price", "numeric(18,6)", 900, Decimal(10, 6)),
    ("average_price", "numeric(18,6)", 250, Decimal(10, 6)),
    ("fee", "numeric(12,2)", 0, Decimal(5, 2)),
    ("notional", "numeric(28,8)", 0, Decimal(18, 8)),
    ("fx_rate", "numeric", 0, Free),
    ("realized", "numeric", 500, Free),
    ("exposure", "numeric(38,10)", 100, Decimal(30, 10)),
    ("weight", "numeric(5,4)", 100, Decimal(5, 4)),
    ("margin", "numeric(16,2)", 0, Decimal(9, 2)),
    ("delta", "float8", 600, Float(0.5)),
    ("gamma", "float8", 600, Float(0.01)),
    ("vega", "float8", 600, Float(12.0)),
    ("theta", "float8", 600, Float(3.0)),
    ("implied_volatility", "float8", 600, Float(0.4)),
    ("score", "float8", 0, Float(1.0)),
    ("slippage", "float8", 250, Float(25.0)),
    ("latency_ms", "real", 50, Real(40.0)),
    ("signal", "real", 300, Real(1.0)),
    ("priority", "smallint", 0, Small(0, 9)),
    ("hops", "smallint", 700, Small(1, 12)),
    ("parent_id", "bigint", 750, Big(31)),
    ("strategy_id", "int", 0, Int(1, 350)),
    ("trader_id", "int", 0, Int(1, 900)),
    ("retries", "int", 0, Int(0, 3)),
    ("version", "int", 0, Int(1, 6)),
    ("bytes_sent", "bigint", 0, Big(24)),
    ("is_open", "boolean", 0, Flag(30)),
    ("is_algo", "boolean", 0, Flag(700)),
    ("is_hidden", "boolean", 100, Flag(80)),
    ("reviewed", "boolean", 900, Flag(500)),
    ("order_uuid", "uuid", 0, Uuid),
    ("parent_uuid", "uuid", 750, Uuid),
    ("client_ref", "text", 0, Code("C-", 10)),
    ("exchange_ref", "varchar(20)", 150, Code("", 14)),
    ("desk", "text", 0, Numbered("desk-", 60)),
    ("note", "text", 600, Words(3, 40)),
    ("reason", "text", 940, Words(2, 8)),
    ("attributes", "jsonb", 0, Json(6)),
    ("labels", "text[]", 300, Texts(4)),
    ("legs", "bigint[]", 800, Bigs(6)),
    ("curve", "float8[]", 800, Floats(8)),
];

/// Orders as a broker keeps them: mostly text.
pub(crate) const ORDERS: [Column; 22] = [
    ("id", "bigint", 0, Serial),
    ("client_order_id", "text", 0, Code("ord-2024-", 20)),
    ("exchange_order_id", "text", 120, Code("", 18)),
    ("account", "text", 0, Numbered("ACC-", 60_000)),
    ("symbol", "text", 0, Symbol),
    ("venue", "text", 0, Choice(VENUES)),
    ("side", "text", 0, Choice(SIDE)),
    ("status", "order_status", 0, Choice(STATUS)),
    ("time_in_force", "text", 0, Choice(FORCE)),
    ("quantity", "numeric(20,8)", 0, Decimal(14, 8)),
    ("limit_price", "numeric(18,6)", 300, Decimal(10, 6)),
    ("tags", "jsonb", 0, Json(8)),
    ("note", "text", 350, Words(1, 60)),
    ("instructions", "text", 800, Words(10, 200)),
    ("reject_reason", "text", 960, Words(2, 12)),
    ("trader", "text", 0, Numbered("trader.", 900)),
    ("strategy", "text", 200, Words(1, 3)),
    ("labels", "text[]", 500, Texts(5)),
    ("external_id", "uuid", 0, Uuid),
    ("created_at", "timestamptz", 0, Time(1)),
    ("updated_at", "timestamptz", 100, Time(7200)),
    ("cancelled_at", "timestamptz", 800, Time(86_400)),
];

/// SQL that makes and fills `count` tables of 1 to 20 rows, each with a primary key.
pub(crate) fn small(count: u64) -> String {
    let mut sql = String::new();
    for at in 0..count {
        let mut random = Random::of("small", at);
        let name = format!("small_{at:05}");
        sql.push_str(&format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, name text NOT NULL, price numeric(18,6), at timestamptz);\n\
             INSERT INTO {name} VALUES "
        ));
        for row in 0..=random.below(20) {
            let comma = if row > 0 { ", " } else { "" };
            let (price, second) = (random.below(1 << 30), random.below(40_000_000));
            let word = super::words::word(&mut random);
            sql.push_str(&format!(
                "{comma}({row}, '{word}', {price} * 0.000001, timestamptz '2024-01-01 00:00+00' + {second} * interval '1 s')"
            ));
        }
        sql.push_str(";\n");
    }
    sql
}
