//! What was measured, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::case::{FLOOR, Line};
use crate::goals::{Bound, Goal};
use crate::measure::Sample;
use crate::options::Options;

/// Everything that belongs into a report.
pub(crate) struct Report {
    /// Machine, versions, date.
    pub(crate) about: Vec<(String, String)>,
    pub(crate) lines: Vec<Line>,
    pub(crate) goals: Vec<Goal>,
    /// What was not measured, and why.
    pub(crate) missing: Vec<(String, String)>,
}

/// Machine and date.
pub(crate) fn about(options: &Options, versions: &[(String, String)]) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    // 6.18 of 6.18.44-amd64: the rest is whoever built it.
    let kernel = read("/proc/sys/kernel/osrelease").split('.').take(2).collect::<Vec<_>>().join(".");
    let own = |name: &str, value: String| (name.to_owned(), value);
    let mut all = vec![
        own("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
        own("processor", format!("{} × {}", cores, field(&read("/proc/cpuinfo"), "model name"))),
        own("memory", format!("{} GiB", kib >> 20)),
        own("kernel", format!("Linux {kernel}")),
        own("load before", read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()),
        own("barkeep", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    all.extend(versions.iter().cloned());
    all.push(own("rounds", format!("{}, alternating; the fastest counts", options.rounds)));
    all
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// 10000000 is 10,000,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Report {
    /// The cases in the order in which they were run.
    pub(crate) fn cases(&self) -> Vec<(&str, Vec<&Line>)> {
        let mut cases: Vec<(&str, Vec<&Line>)> = Vec::new();
        for line in &self.lines {
            match cases.last_mut() {
                Some((case, lines)) if *case == line.case => lines.push(line),
                _ => cases.push((&line.case, vec![line])),
            }
        }
        cases
    }

    /// The one table, the goals below it, and what is missing.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.about {
            let _ = writeln!(text, "{name:<12} {value}");
        }
        let _ = writeln!(
            text,
            "\n{:<42} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7}",
            "", "wall s", "worst s", "client s", "server s", "peak MiB", "MiB", "× floor"
        );
        for (case, lines) in self.cases() {
            let _ = writeln!(text, "\n{case}: {}", amount(case, &lines));
            let floor = floor(&lines);
            lines.iter().for_each(|line| text.push_str(&row(line, floor)));
        }
        text.push_str(
            "\nwall: of the fastest run, worst: of the slowest; client, server: CPU seconds of the fastest run;\n\
             peak: of the largest process of a program, highest run; MiB: what it made (verify: what it read)\n\ngoals\n",
        );
        for goal in &self.goals {
            let (sign, bound) = match goal.bound {
                Bound::AtMost(bound) => ("≤", bound),
                Bound::AtLeast(bound) => ("≥", bound),
            };
            let measured = goal.measured.map_or("-".to_owned(), |measured| format!("{measured:.2}"));
            let met = goal.met().map_or("not measured", |met| if met { "met" } else { "MISSED" });
            let _ = writeln!(text, "  {:<58} {sign} {bound:<5.2} {measured:>7}  {met}", goal.what);
        }
        text.push('\n');
        for (name, why) in &self.missing {
            let _ = writeln!(text, "not measured: {name} ({why})");
        }
        text
    }

    /// Everything, every round.
    pub(crate) fn json(&self) -> Value {
        let about: serde_json::Map<String, Value> =
            self.about.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let sample = |sample: &Sample| {
            json!({
                "wall_seconds": sample.wall.as_secs_f64(),
                "client_cpu_seconds": sample.client.as_secs_f64(),
                "server_cpu_seconds": sample.server.as_secs_f64(),
                "peak_bytes": sample.peak,
                "bytes": sample.bytes,
            })
        };
        let line = |line: &Line| {
            let rounds: Vec<Value> = line.samples.iter().map(sample).collect();
            json!({ "case": line.case, "program": line.program, "rows": line.rows, "rounds": rounds })
        };
        let goal = |goal: &Goal| {
            let (direction, bound) = match goal.bound {
                Bound::AtMost(bound) => ("at most", bound),
                Bound::AtLeast(bound) => ("at least", bound),
            };
            json!({
                "goal": goal.what, "direction": direction, "bound": bound, "measured": goal.measured,
                "met": goal.met(),
            })
        };
        let missing = |(name, why): &(String, String)| json!({ "name": name, "why": why });
        json!({
            "about": about,
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "goals": self.goals.iter().map(goal).collect::<Vec<_>>(),
            "not_measured": self.missing.iter().map(missing).collect::<Vec<_>>(),
        })
    }
}

/// How much a case is about.
pub(crate) fn amount(case: &str, lines: &[&Line]) -> String {
    let unit = if case.contains("small") { "tables" } else { "rows" };
    format!("{} {unit}", grouped(lines.first().map_or(0, |line| line.rows)))
}

/// The floor's wall time in seconds.
pub(crate) fn floor(lines: &[&Line]) -> Option<f64> {
    let best = lines.iter().find(|line| line.program == FLOOR)?.best()?;
    Some(best.wall.as_secs_f64())
}

fn row(line: &Line, floor: Option<f64>) -> String {
    let Some(best) = line.best() else { return String::new() };
    let wall = best.wall.as_secs_f64();
    let made = best.bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", mebibytes(bytes)));
    let ratio = floor.map_or("-".to_owned(), |floor| format!("{:.2}", wall / floor));
    let worst = line.samples.iter().map(|sample| sample.wall).max().unwrap_or_default();
    format!(
        "  {:<40} {wall:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.0} {made:>9} {ratio:>7}\n",
        line.program,
        worst.as_secs_f64(),
        best.client.as_secs_f64(),
        best.server.as_secs_f64(),
        mebibytes(best.peak),
    )
}
