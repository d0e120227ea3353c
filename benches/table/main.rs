//! The benchmark of the data path: barkeep, the floor and every peer that is installed, on the same tables of the same
//! server, in turns, in one table. `make bench` runs it, docs/performance.md says what came out.
//!
//! The server is a throw-away one that is as durable as a real one; the data comes from `benches/market`. Client CPU and
//! memory are the kernel's own account of each program (wait4), server CPU is that of all the server's processes (/proc).

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its table, or fails"
)]

mod case;
mod check;
mod dumps;
mod goals;
#[path = "../market/mod.rs"]
mod market;
mod measure;
mod options;
mod peers;
mod report;
mod restores;
mod server;
mod svg;
mod world;

use case::{Case, Line, measure};
use market::Order;
use options::Options;
use report::Report;
use world::World;

/// What is collected from case to case.
struct Run<'a> {
    world: &'a World,
    options: &'a Options,
    lines: Vec<Line>,
    missing: Vec<(String, String)>,
}

impl<'a> Run<'a> {
    /// Measures a case if it is asked for.
    fn case(&mut self, name: &str, make: impl FnOnce(&'a World) -> Case<'a>) {
        if self.options.wants(name) {
            let (lines, failed) = measure(make(self.world), self.options.rounds, &self.world.server);
            self.lines.extend(lines);
            self.missing.extend(failed);
        }
    }

    fn wants(&self, cases: &[&str]) -> bool {
        cases.iter().any(|case| self.options.wants(case))
    }

    fn bars(&mut self) {
        let (world, rows) = (self.world, self.options.rows);
        let name = "bars_by_time";
        if self.wants(&[dumps::BY_TIME, restores::RESTORE, restores::VERIFY, restores::COMPARE]) {
            dumps::load_numeric(world, name, Order::TimeThenSymbol, rows);
            self.case(dumps::BY_TIME, |world| dumps::by_time(world, name, rows));
            self.case(restores::COMPARE, |world| restores::compare_case(world, name, rows));
            self.case(restores::VERIFY, |world| restores::verify_case(world, name, rows));
            self.case(restores::RESTORE, |world| restores::restore_case(world, name, rows));
            world.server.remove(name);
            world.server.remove("back");
        }
        let name = "bars_by_symbol";
        if self.wants(&[dumps::BY_SYMBOL]) {
            dumps::load_numeric(world, name, Order::SymbolThenTime, rows);
            self.case(dumps::BY_SYMBOL, |world| {
                dumps::dump_case(world, dumps::BY_SYMBOL, name, "bars", rows)
            });
            world.server.remove(name);
        }
        let name = "float8_bars";
        if self.wants(&[dumps::FLOAT8]) {
            dumps::load_float8(world, rows);
            self.case(dumps::FLOAT8, |world| dumps::dump_case(world, dumps::FLOAT8, name, "bars", rows));
            world.server.remove(name);
        }
    }

    fn others(&mut self) {
        let (world, rows) = (self.world, self.options.rows);
        if self.wants(&[dumps::WIDE_TABLE]) {
            dumps::load_wide(world, rows / 10);
            self.case(dumps::WIDE_TABLE, |world| {
                dumps::dump_case(world, dumps::WIDE_TABLE, "wide", "wide", rows / 10)
            });
            world.server.remove("wide");
        }
        if self.wants(&[dumps::ORDERS_TABLE]) {
            dumps::load_orders(world, rows / 5);
            self.case(dumps::ORDERS_TABLE, |world| {
                dumps::dump_case(world, dumps::ORDERS_TABLE, "orders", "orders", rows / 5)
            });
            world.server.remove("orders");
        }
        if self.wants(&[dumps::CSV]) {
            match dumps::load_csv(world, self.options, rows / 10) {
                Ok(()) => self
                    .case(dumps::CSV, |world| dumps::dump_case(world, dumps::CSV, "csv", "bars", rows / 10)),
                Err(why) => self.missing.push((format!("\"{}\"", dumps::CSV), why)),
            }
            world.server.remove("csv");
        }
        if self.wants(&[restores::WHOLE]) {
            restores::load_whole(world, rows / 2);
            self.case(restores::WHOLE, |world| restores::whole_case(world, rows / 2));
            world.server.remove("whole");
            world.server.remove("back");
        }
        if self.wants(&[dumps::SMALL, dumps::PLAN]) {
            dumps::load_small(world);
            self.case(dumps::PLAN, dumps::plan_case);
            self.case(dumps::SMALL, dumps::small_case);
            // Removing thousands of tables takes a minute: they go with the server.
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // `cargo bench` says so; `cargo test` hands over whatever its tests are called with.
    if !given("--bench") || given("--test") {
        return check::check();
    }
    let options = match Options::parse(arguments, |name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(2);
        }
    };
    let world = World::start();
    let about = report::about(&options, &world.peers.versions);
    let missing = world.peers.missing.clone();
    let mut run = Run { world: &world, options: &options, lines: Vec::new(), missing };
    run.bars();
    run.others();
    let Run { lines, missing, .. } = run;
    let report = Report { about, goals: goals::goals(&lines), lines, missing };
    println!("{}", report.text());
    let write = |file: &std::path::Path, text: String| {
        std::fs::write(file, text).unwrap_or_else(|error| eprintln!("{}: {error}", file.display()));
    };
    if let Some(file) = &options.json {
        write(file, format!("{:#}\n", report.json()));
    }
    if let Some(file) = &options.svg {
        write(file, svg::plot(&report));
    }
}
