//! The goals, each next to what was measured in this very run.

use crate::case::{FLOOR, Line};
use crate::dumps::{self, GZIP1, PG2PARQUET, duckdb};
use crate::measure::Sample;
use crate::restores::{self, ANALYZED, COMPARED, DECODE, FLOOR_ANALYZED, HASH, PG_RESTORE};
use crate::world::barkeep;

/// One goal.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    /// Nothing if its case was not run.
    pub(crate) measured: Option<f64>,
}

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// Whether it is met, if it was measured.
    pub(crate) fn met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.bound {
            Bound::AtMost(bound) => measured <= bound,
            Bound::AtLeast(bound) => measured >= bound,
        })
    }
}

/// The best runs of all programs.
struct Runs<'a>(&'a [Line]);

impl Runs<'_> {
    fn best(&self, case: &str, program: &str) -> Option<Sample> {
        self.0.iter().find(|line| line.case == case && line.program == program)?.best()
    }

    /// Wall time of one program over that of another.
    fn wall(&self, case: &str, program: &str, other: &str) -> Option<f64> {
        let (program, other) = (self.best(case, program)?, self.best(case, other)?);
        Some(program.wall.as_secs_f64() / other.wall.as_secs_f64())
    }

    fn rows(&self, case: &str) -> f64 {
        self.0.iter().find(|line| line.case == case).map_or(0.0, |line| line.rows as f64)
    }

    /// Our files over those of the peer that makes the smallest.
    fn size(&self, case: &str) -> Option<f64> {
        let ours = self.best(case, &barkeep(2))?.bytes?;
        let peers = self.0.iter().filter(|line| line.case == case && !line.program.starts_with("barkeep"));
        let smallest = peers.filter_map(|line| line.best()?.bytes).min()?;
        Some(ours as f64 / smallest as f64)
    }

    /// The highest peak of all dumps, over what is allowed for as many lanes.
    fn memory(&self) -> Option<f64> {
        let part = |line: &Line| {
            let lanes = (1..=2).find(|lanes| line.program.starts_with(&barkeep(*lanes)))?;
            let peak = line.case.starts_with("dump").then(|| line.best())??.peak;
            Some(peak as f64 / ((64 + 128 * lanes as u64) << 20) as f64)
        };
        self.0.iter().filter_map(part).reduce(f64::max)
    }
}

/// All goals of the data path.
pub(crate) fn goals(lines: &[Line]) -> Vec<Goal> {
    let runs = Runs(lines);
    let mut all = dumps_of_bars(&runs);
    for (name, case) in
        [("float8", dumps::FLOAT8), ("wide", dumps::WIDE_TABLE), ("orders", dumps::ORDERS_TABLE)]
    {
        let what = format!("dump {name}, one lane: wall / floor");
        all.push(at_most(&what, 1.25, runs.wall(case, &barkeep(1), FLOOR)));
    }
    for (name, case) in [("(ts, symbol)", dumps::BY_TIME), ("(symbol, ts)", dumps::BY_SYMBOL)] {
        let what = format!("numeric bars {name}: size / smallest peer's");
        all.push(at_most(&what, 0.65, runs.size(case)));
    }
    let (restore, whole) = (restores::RESTORE, restores::WHOLE);
    all.push(at_most("restore, one lane: wall / floor", 1.05, runs.wall(restore, &barkeep(1), FLOOR)));
    let analyzed = runs.wall(restore, &barkeep(1), FLOOR_ANALYZED);
    all.push(at_most("restore, one lane: the same, analyzed as barkeep does", 1.05, analyzed));
    let faster = runs.wall(restore, PG_RESTORE, &barkeep(2));
    all.push(at_least("restore: wall of pg_restore -j2 / two lanes", 1.5, faster));
    let faster = runs.wall(whole, PG_RESTORE, &barkeep(2));
    all.push(at_least("whole database: wall of pg_restore -j2 / two lanes", 1.2, faster));
    let faster = runs.wall(whole, ANALYZED, &barkeep(2));
    all.push(at_least("whole database: the same, analyzed as barkeep does", 1.2, faster));
    all.extend(proofs(&runs));
    all.extend(small_tables(&runs));
    all.push(at_most("dumps: peak memory / (64 MiB + 128 MiB a lane)", 1.0, runs.memory()));
    all
}

fn dumps_of_bars(runs: &Runs<'_>) -> Vec<Goal> {
    let case = dumps::BY_TIME;
    let (one, two, duck) = (barkeep(1), barkeep(2), duckdb(2));
    let cpu = |run: Option<Sample>, other: Option<std::time::Duration>| {
        Some(run?.client.as_secs_f64() / other?.as_secs_f64())
    };
    let best = |program: &str| runs.best(case, program);
    let own = cpu(best(&one), best(&one).map(|run| run.server));
    let ducks = cpu(best(&two), best(&duck).map(|run| run.client));
    vec![
        at_most("dump numeric bars, one lane: wall / floor", 1.10, runs.wall(case, &one, FLOOR)),
        at_most("dump numeric bars, one lane: client CPU / server CPU", 0.5, own),
        at_most("dump numeric bars, two lanes: wall / DuckDB's", 0.80, runs.wall(case, &two, &duck)),
        at_most("dump numeric bars, two lanes: client CPU / DuckDB's", 0.6, ducks),
        at_least("dump numeric bars: wall of pg_dump -Fc -Z1 / two lanes", 1.5, runs.wall(case, GZIP1, &two)),
        at_least("dump numeric bars: wall of pg2parquet / two lanes", 3.5, runs.wall(case, PG2PARQUET, &two)),
    ]
}

fn proofs(runs: &Runs<'_>) -> Vec<Goal> {
    let (verify, compare) = (restores::VERIFY, restores::COMPARE);
    let hash =
        runs.best(verify, HASH).and_then(|run| Some(run.bytes? as f64 / run.client.as_secs_f64() / 1e9));
    let decode = runs.best(verify, DECODE).map(|run| runs.rows(verify) / run.client.as_secs_f64() / 1e6);
    let compared = runs.wall(compare, COMPARED, &barkeep(1));
    vec![
        at_least("verify, hash: GB a second of CPU", 2.0, hash),
        at_least("verify, decode: million bars a second of CPU", 3.0, decode),
        at_most("compare: wall / one-lane dump of the same table", 1.15, compared),
    ]
}

fn small_tables(runs: &Runs<'_>) -> Vec<Goal> {
    let plan = runs.best(dumps::PLAN, &barkeep(1)).map(|run| run.wall.as_secs_f64());
    let of = |program: &str| runs.best(dumps::SMALL, program).map(|run| run.wall.as_secs_f64());
    let each =
        of(&barkeep(1)).zip(of(FLOOR)).map(|(ours, floor)| (ours - floor) * 1e3 / dumps::SMALL_TABLES as f64);
    vec![
        at_most("catalog and plan of 5,000 tables, s", 5.0, plan),
        at_most("a small table, one lane: ms above the floor", 2.0, each),
    ]
}

fn at_most(what: &str, bound: f64, measured: Option<f64>) -> Goal {
    Goal { what: what.to_owned(), bound: Bound::AtMost(bound), measured }
}

fn at_least(what: &str, bound: f64, measured: Option<f64>) -> Goal {
    Goal { what: what.to_owned(), bound: Bound::AtLeast(bound), measured }
}
