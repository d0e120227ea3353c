//! A case: programs that do the same work, run in turns.

use std::path::PathBuf;
use std::process::Command;

use crate::measure::{Sample, run};
use crate::server::Server;

/// The floor's name in every case that has one.
pub(crate) const FLOOR: &str = "psql \\copy (floor)";

/// One program.
pub(crate) struct Program<'a> {
    pub(crate) name: String,
    /// Makes everything as it was before the last run; not measured.
    pub(crate) prepare: Box<dyn Fn() + 'a>,
    pub(crate) command: Box<dyn Fn() -> Command + 'a>,
    /// What it makes.
    pub(crate) result: Option<PathBuf>,
}

/// Programs to compare. The floor, where there is one, comes first.
pub(crate) struct Case<'a> {
    pub(crate) name: &'static str,
    pub(crate) rows: u64,
    pub(crate) programs: Vec<Program<'a>>,
}

/// What one program did in one case.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) case: String,
    pub(crate) program: String,
    pub(crate) rows: u64,
    pub(crate) samples: Vec<Sample>,
}

impl Line {
    /// The fastest run, with the highest peak of all of them.
    pub(crate) fn best(&self) -> Option<Sample> {
        let fastest = self.samples.iter().min_by_key(|sample| sample.wall)?;
        let peak = self.samples.iter().map(|sample| sample.peak).max()?;
        Some(Sample { peak, ..*fastest })
    }
}

/// Runs the programs in turns: the floor first in each round, the others each time in another order.
pub(crate) fn measure(case: Case<'_>, rounds: usize, server: &Server) -> (Vec<Line>, Vec<(String, String)>) {
    let postmaster = server.postmaster();
    let mut failed: Vec<(String, String)> = Vec::new();
    let mut samples: Vec<Vec<Sample>> = case.programs.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("{}, round {} of {rounds}", case.name, round + 1);
        for at in order(&case, round) {
            let program = &case.programs[at];
            if failed.iter().any(|(name, _)| *name == program.name) {
                continue;
            }
            (program.prepare)();
            flush();
            match run(&mut (program.command)(), postmaster, program.result.as_deref()) {
                Ok(sample) => {
                    eprintln!("  {} {:.2} s", program.name, sample.wall.as_secs_f64());
                    samples[at].push(sample);
                }
                Err(why) => {
                    eprintln!("  {} failed: {why}", program.name);
                    failed.push((program.name.clone(), why));
                }
            }
        }
    }
    let made = case.programs.iter().zip(samples).filter(|(_, samples)| !samples.is_empty());
    let line = |(program, samples): (&Program<'_>, Vec<Sample>)| Line {
        case: case.name.to_owned(),
        program: program.name.clone(),
        rows: case.rows,
        samples,
    };
    let lines = made.map(line).collect();
    let failed = failed.into_iter().map(|(name, why)| (format!("{name} in \"{}\"", case.name), why));
    (lines, failed.collect())
}

/// Files that the last program left for the kernel to write are not written while the next one is measured.
fn flush() {
    // Without it the numbers are a little noisier, no more.
    let _ = Command::new("sync").status();
}

fn order(case: &Case<'_>, round: usize) -> Vec<usize> {
    let fixed = usize::from(case.programs.first().is_some_and(|program| program.name == FLOOR));
    let others = case.programs.len() - fixed;
    (0..fixed).chain((0..others).map(|at| fixed + (at + round) % others)).collect()
}
