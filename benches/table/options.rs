//! What can be asked for on the command line.

use std::path::PathBuf;

/// How to use it, one flag a line.
const USAGE: &str = "\
cargo bench --bench table -- [FLAGS]
  --rows N        bars in the largest tables (10000000; BARKEEP_BENCH_ROWS); the other tables grow with it
  --rounds N      runs of each program, alternating; the fastest counts (3)
  --only PATTERN  cases whose name has PATTERN
  --csv DIR       folder with real bars as CSV files (BARKEEP_BENCH_CSV)
  --json FILE     everything that was measured, every round
  --svg FILE      a plot of the table";

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) rows: u64,
    pub(crate) rounds: usize,
    pub(crate) only: Option<String>,
    pub(crate) csv: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

impl Options {
    /// Reads the flags; `environment` answers for a variable.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let rows = environment("BARKEEP_BENCH_ROWS").map_or(Ok(10_000_000), |text| number(&text))?;
        let csv = environment("BARKEEP_BENCH_CSV").map(PathBuf::from);
        let mut options = Self { rows, rounds: 3, only: None, csv, json: None, svg: None };
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{flag} needs a value\n{USAGE}"));
            match flag.as_str() {
                "--rows" => options.rows = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?.max(1) as usize,
                "--only" => options.only = Some(value()?),
                "--csv" => options.csv = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                // What `cargo bench` adds.
                "--bench" => {}
                _ => return Err(format!("unknown flag {flag}\n{USAGE}")),
            }
        }
        // The smallest tables are a fraction of the largest.
        if options.rows < 10_000 {
            return Err("--rows is at least 10000: less is nothing but the start of programs".to_owned());
        }
        Ok(options)
    }

    /// Whether a case is asked for.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|pattern| case.contains(pattern.as_str()))
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number\n{USAGE}"))
}
