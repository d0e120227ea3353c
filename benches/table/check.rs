//! What `cargo test` asks of the benchmark: it starts, and its verdicts can fall either way. Nothing is measured.

use std::process::Command;
use std::time::Duration;

use crate::case::{FLOOR, Line};
use crate::dumps::{self, GZIP1, PG2PARQUET, duckdb};
use crate::goals::goals;
use crate::measure::{Sample, run};
use crate::options::Options;
use crate::restores::{self, ANALYZED, COMPARED, DECODE, FLOOR_ANALYZED, HASH, PG_RESTORE};
use crate::world::barkeep;

/// Made-up runs in which barkeep takes `times` as much of everything as would be fine.
fn runs(times: f64) -> Vec<Line> {
    let line = |case: &str, program: &str, wall: f64, client: f64, bytes: f64| {
        // The dump that a comparison is compared with is no result.
        let ours = program.starts_with("barkeep") && (case, program) != (restores::COMPARE, &barkeep(1));
        let factor = if ours { times } else { 1.0 };
        let sample = Sample {
            wall: Duration::from_secs_f64(wall * factor),
            client: Duration::from_secs_f64(client * factor),
            server: Duration::from_secs(1),
            peak: (100.0 * factor) as u64 * (1 << 20),
            // What verify reads is no larger because it is slow.
            bytes: Some((bytes * if case == restores::VERIFY { 1.0 } else { factor }) as u64),
        };
        Line { case: case.to_owned(), program: program.to_owned(), rows: 4_000_000, samples: vec![sample] }
    };
    let mut lines = Vec::new();
    for case in [dumps::BY_TIME, dumps::BY_SYMBOL, dumps::FLOAT8, dumps::WIDE_TABLE, dumps::ORDERS_TABLE] {
        lines.push(Line { samples: Vec::new(), ..line(case, "never ran", 0.0, 0.0, 0.0) });
        lines.push(Line {
            samples: line(case, "", 1.0, 0.2, 0.0).samples,
            ..line(case, FLOOR, 1.0, 0.2, 0.0)
        });
        lines.extend([1, 2].map(|lanes| line(case, &barkeep(lanes), 1.0, 0.4, 50e6)));
        lines.push(line(case, GZIP1, 2.0, 1.0, 150e6));
        lines.push(line(case, &duckdb(2), 2.0, 1.0, 100e6));
        lines.push(line(case, PG2PARQUET, 4.0, 4.0, 120e6));
    }
    // The floor makes nothing.
    lines.iter_mut().filter(|line| line.program == FLOOR).for_each(|line| line.samples[0].bytes = None);
    for case in [restores::RESTORE, restores::WHOLE, dumps::SMALL, dumps::PLAN, restores::COMPARE] {
        lines.extend([FLOOR, FLOOR_ANALYZED].map(|name| line(case, name, 1.0, 0.2, 0.0)));
        lines.extend([1, 2].map(|lanes| line(case, &barkeep(lanes), 1.0, 0.4, 0.0)));
        lines.extend([PG_RESTORE, ANALYZED].map(|name| line(case, name, 2.0, 1.0, 0.0)));
    }
    lines.push(line(restores::COMPARE, COMPARED, 1.0, 0.4, 0.0));
    lines.push(line(restores::VERIFY, HASH, 0.02, 0.02, 50e6));
    lines.push(line(restores::VERIFY, DECODE, 1.0, 1.0, 50e6));
    lines
}

/// All checks.
pub(crate) fn check() {
    let verdicts =
        |lines: &[Line]| goals(lines).into_iter().map(|goal| (goal.met(), goal.what)).collect::<Vec<_>>();
    for (lines, verdict) in [(runs(1.0), Some(true)), (runs(20.0), Some(false)), (Vec::new(), None)] {
        for (met, what) in verdicts(&lines) {
            assert_eq!(met, verdict, "{what}");
        }
    }
    let failed = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), 1, None);
    assert!(failed.is_err_and(|error| error.contains("exit status: 3: why")), "a failure is no result");
    let parse = |flag: &str| Options::parse([flag.to_owned()], |_| None);
    assert!(parse("--bench").is_ok());
    assert!(parse("--row").is_err(), "an unknown flag");
}
