//! Progress as lines, for logs: every phase, and at most one line of numbers in five seconds.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{Display, Totals};
use crate::base::Event;
use crate::cli::output::table::{bytes, count, plural, seconds};

/// Often enough to see that it lives, seldom enough for a log.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Lines<W> {
    out: W,
    last: Instant,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, last: Instant::now() }
    }

    /// Progress that nobody can read is no reason to stop.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }
}

impl<W: Write + Send> Display for Lines<W> {
    fn show(&mut self, event: &Event, totals: &Totals) {
        match event {
            Event::Phase(name) => self.line(name),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Progress { .. } | Event::TableDone { .. } if self.last.elapsed() >= PAUSE => {
                self.last = Instant::now();
                self.line(&numbers(totals, self.last));
            }
            _ => {}
        }
    }
}

/// `3/12 tables, 1,000,000 rows, 105 MiB, 250,000 rows/s, about 40 s left`.
pub(super) fn numbers(totals: &Totals, now: Instant) -> String {
    let mut text = match totals.planned_tables {
        0 => plural(totals.tables_done, "table"),
        planned => format!("{}/{planned} tables", totals.tables_done),
    };
    if totals.rows > 0 {
        let rate = count(totals.rate(now));
        text.push_str(&format!(", {} rows, {}, {rate} rows/s", count(totals.rows), bytes(totals.bytes)));
    }
    if let Some(left) = totals.remaining(now) {
        text.push_str(&format!(", about {} left", seconds(left)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TableName;

    #[test]
    fn a_thousand_events_in_a_moment_make_no_line_and_a_phase_makes_one() {
        let mut lines = Lines::new(Vec::new());
        let totals = Totals {
            began: Instant::now(),
            phase: "data",
            planned_tables: 2,
            planned_rows: 10,
            planned_bytes: 0,
            tables_done: 1,
            rows: 5,
            bytes: 50,
            tables: Default::default(),
        };
        lines.show(&Event::Phase("data"), &totals);
        let table = TableName::new("public", "a");
        for _ in 0..1000 {
            lines.show(&Event::Progress { table: table.clone(), rows: 1, bytes: 1 }, &totals);
        }
        assert_eq!(String::from_utf8(lines.out.clone()).unwrap(), "data\n");
        lines.last = Instant::now().checked_sub(PAUSE).unwrap();
        lines.show(&Event::Progress { table, rows: 1, bytes: 1 }, &totals);
        assert!(String::from_utf8(lines.out).unwrap().contains("1/2 tables, 5 rows, 50 B"));
    }
}
