//! Progress as bars: one for everything, and one line for each table that is being read right now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::numbers;
use super::{Display, Totals};
use crate::base::{Event, TableName};
use crate::cli::output::table::{bytes, count};

/// More tables at once than this would push the rest off the screen.
const MOST_LINES: usize = 8;

/// Redraws more often than this are work for nobody.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    tables: BTreeMap<TableName, ProgressBar>,
    last: Instant,
}

impl Bars {
    pub(super) fn new() -> Self {
        let screen = MultiProgress::new();
        let total = screen.add(ProgressBar::new(0));
        // A template that does not parse falls back to the library's own.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} [{bar:24}] {percent:>3}%  {msg}")
        {
            total.set_style(style.progress_chars("=> "));
        }
        total.enable_steady_tick(Duration::from_millis(200));
        Self { screen, total, tables: BTreeMap::new(), last: Instant::now() }
    }

    fn line(&mut self, table: &TableName, totals: &Totals) {
        if !self.tables.contains_key(table) {
            if self.tables.len() >= MOST_LINES {
                return;
            }
            let bar = self.screen.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("    {msg}") {
                bar.set_style(style);
            }
            self.tables.insert(table.clone(), bar);
        }
        if let (Some(bar), Some(so_far)) = (self.tables.get(table), totals.tables.get(table)) {
            bar.set_message(format!("{table}  {} rows, {}", count(so_far.rows), bytes(so_far.bytes)));
        }
    }

    fn total(&mut self, totals: &Totals) {
        let (done, planned) = if totals.planned_bytes > 0 {
            (totals.bytes, totals.planned_bytes)
        } else {
            (totals.rows, totals.planned_rows)
        };
        // The plan is the planner's estimate: a bar beyond its end would be a lie.
        self.total.set_length(planned.max(done));
        self.total.set_position(done);
        self.total.set_message(numbers(totals, Instant::now()));
    }
}

impl Display for Bars {
    fn show(&mut self, event: &Event, totals: &Totals) {
        match event {
            Event::Phase(name) => {
                self.total.set_prefix(*name);
                self.total(totals);
            }
            Event::Progress { table, .. } if self.last.elapsed() >= PAUSE => {
                self.last = Instant::now();
                self.line(table, totals);
                self.total(totals);
            }
            Event::TableDone { table, .. } => {
                if let Some(bar) = self.tables.remove(table) {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
                self.total(totals);
            }
            Event::Step { what } => self.total.set_message(what.clone()),
            Event::Warning(text) => {
                self.screen.suspend(|| crate::cli::output::complain(&format!("warning: {text}")))
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        for bar in self.tables.values() {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }
}
