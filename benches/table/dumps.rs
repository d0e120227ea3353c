//! Dumps of one table, or of thousands.

use crate::case::Case;
use crate::market::columns::{self, Column};
use crate::market::tables::{ORDERS, TYPES, WIDE, small};
use crate::market::{self, Bar, Order, bars, csv};
use crate::options::Options;
use crate::world::{World, barkeep};

pub(crate) const BY_TIME: &str = "dump numeric bars (ts, symbol)";
pub(crate) const BY_SYMBOL: &str = "dump numeric bars (symbol, ts)";
pub(crate) const FLOAT8: &str = "dump float8 bars";
pub(crate) const WIDE_TABLE: &str = "dump wide table";
pub(crate) const ORDERS_TABLE: &str = "dump orders, mostly text";
pub(crate) const CSV: &str = "dump real bars from CSV files";
pub(crate) const SMALL: &str = "dump small tables";
pub(crate) const PLAN: &str = "catalog and plan of small tables";

/// How many small tables there are.
pub(crate) const SMALL_TABLES: u64 = 5000;

pub(crate) const GZIP1: &str = "pg_dump -Fc -Z1";
pub(crate) const PG2PARQUET: &str = "pg2parquet";

/// DuckDB's name with so many threads.
pub(crate) fn duckdb(threads: usize) -> String {
    format!("DuckDB, {threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// The columns of a table of bars.
pub(crate) fn bar_columns(price: &str) -> String {
    format!(
        "symbol text NOT NULL, ts timestamptz NOT NULL, open {price}, high {price}, low {price}, close {price}, \
         vwap {price}, volume bigint, trade_count int"
    )
}

/// A database `name` with the table `bars`.
pub(crate) fn load_bars(
    world: &World,
    name: &str,
    (order, rows): (Order, u64),
    price: &str,
    put: fn(&Bar, &mut Vec<u8>),
) {
    eprintln!("loading {rows} bars into {name}");
    world.server.fresh(name);
    world.server.run(name, &format!("CREATE TABLE bars ({})", bar_columns(price)));
    let mut all = bars(order, rows);
    world.server.copy(name, "bars", rows, |_, out| {
        if let Some(bar) = all.next() {
            put(&bar, out);
        }
    });
    world.server.rest(name);
}

/// A database `name` with a table of columns.
pub(crate) fn load_columns(world: &World, name: &str, table: &str, list: &[Column], rows: u64) {
    eprintln!("loading {rows} rows into {table}");
    world.server.run(name, &format!("CREATE TABLE {table} ({})", columns::definition(list)));
    world.server.copy(name, table, rows, |at, out| columns::put(table, list, at, out));
}

/// Every program that dumps one table, each into files of its own way.
pub(crate) fn dump_case<'a>(
    world: &'a World,
    name: &'static str,
    database: &'a str,
    table: &'a str,
    rows: u64,
) -> Case<'a> {
    world.server.warm(database, table);
    let copy = format!("\\copy {table} to /dev/null (format binary)");
    let mut programs = vec![
        world.floor(database, || (), vec![copy]),
        world.dump(database, 1, &["--data-only", "-t", table]),
        world.dump(database, 2, &["--data-only", "-t", table]),
    ];
    let own = "pg_dump";
    programs.extend(world.pg_dump(own, database, GZIP1, &["-Fc", "-Z1", "-a"]));
    programs.extend(world.pg_dump(own, database, "pg_dump -Fc", &["-Fc", "-a"]));
    programs.extend(world.pg_dump(own, database, "pg_dump -Fd -j2 -Z1", &["-Fd", "-j2", "-Z1", "-a"]));
    if let Some(zstd) = &world.peers.zstd_pg_dump {
        programs.extend(world.pg_dump(zstd, database, "pg_dump -Fc -Zzstd", &["-Fc", "-Zzstd", "-a"]));
        let folder = ["-Fd", "-j2", "-Zzstd", "-a"].as_slice();
        programs.extend(world.pg_dump(zstd, database, "pg_dump -Fd -j2 -Zzstd", folder));
    }
    for threads in [1, 2] {
        let keywords = world.server.keywords(database);
        programs.extend(
            world.maker(&duckdb(threads), move |file| world.peers.duckdb(&keywords, table, file, threads)),
        );
    }
    let pg2parquet = |file: &std::path::Path| world.peers.pg2parquet(&world.server, database, table, file);
    programs.extend(world.maker(PG2PARQUET, pg2parquet));
    Case { name, rows, programs }
}

/// Bars by time, with one more way to dump them.
pub(crate) fn by_time<'a>(world: &'a World, database: &'a str, rows: u64) -> Case<'a> {
    let mut case = dump_case(world, BY_TIME, database, "bars", rows);
    let mut clustered =
        world.dump(database, 2, &["--data-only", "-t", "bars", "--cluster-by", "bars=symbol"]);
    clustered.name = format!("{}, --cluster-by symbol", barkeep(2));
    case.programs.push(clustered);
    case
}

/// Makes the wide table's database.
pub(crate) fn load_wide(world: &World, rows: u64) {
    world.server.fresh("wide");
    world.server.run("wide", TYPES);
    load_columns(world, "wide", "wide", &WIDE, rows);
    world.server.rest("wide");
}

/// Makes the orders' database.
pub(crate) fn load_orders(world: &World, rows: u64) {
    world.server.fresh("orders");
    world.server.run("orders", TYPES);
    load_columns(world, "orders", "orders", &ORDERS, rows);
    world.server.rest("orders");
}

/// Makes the database of real bars, or says why not.
pub(crate) fn load_csv(world: &World, options: &Options, rows: u64) -> Result<(), String> {
    let folder = options.csv.as_ref().ok_or("name a folder of CSV files with --csv or BARKEEP_BENCH_CSV")?;
    let lines = csv::read(folder)?;
    world.server.fresh("csv");
    world.server.run("csv", &format!("CREATE TABLE bars ({})", csv::DEFINITION));
    let count = lines.len() as u64;
    world
        .server
        .copy("csv", "bars", rows, |at, out| csv::put(&lines[(at % count) as usize], at / count, out));
    world.server.rest("csv");
    Ok(())
}

/// Makes the database of small tables.
pub(crate) fn load_small(world: &World) {
    eprintln!("making {SMALL_TABLES} small tables");
    world.server.fresh("small");
    world.server.script("small", &small(SMALL_TABLES));
    world.server.rest("small");
}

/// All small tables at once.
pub(crate) fn small_case(world: &World) -> Case<'_> {
    let copy = |at: u64| format!("\\copy small_{at:05} to /dev/null (format binary)");
    let script = world.place("small.sql");
    let lines: Vec<String> = (0..SMALL_TABLES).map(copy).collect();
    std::fs::write(&script, lines.join("\n")).expect("a script for psql");
    // Thousands of arguments are a script.
    let mut programs = vec![world.floor("small", || (), vec![format!("\\i {}", script.display())])];
    programs.push(world.dump("small", 1, &["--data-only"]));
    programs.push(world.dump("small", 2, &["--data-only"]));
    programs.extend(world.pg_dump("pg_dump", "small", GZIP1, &["-Fc", "-Z1", "-a"]));
    let folder = ["-Fd", "-j2", "-Z1", "-a"].as_slice();
    programs.extend(world.pg_dump("pg_dump", "small", "pg_dump -Fd -j2 -Z1", folder));
    Case { name: SMALL, rows: SMALL_TABLES, programs }
}

/// Everything that a dump does before the first row.
pub(crate) fn plan_case(world: &World) -> Case<'_> {
    let mut plan = world.dump("small", 1, &["--dry-run"]);
    plan.result = None;
    Case { name: PLAN, rows: SMALL_TABLES, programs: vec![plan] }
}

/// The bars of the numeric tables.
pub(crate) fn load_numeric(world: &World, name: &str, order: Order, rows: u64) {
    load_bars(world, name, (order, rows), "numeric(18,6)", market::put_numeric);
}

/// The bars with floating-point prices.
pub(crate) fn load_float8(world: &World, rows: u64) {
    load_bars(world, "float8_bars", (Order::TimeThenSymbol, rows), "float8", market::put_float8);
}
