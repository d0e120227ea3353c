//! [`Progress`]: events of the library into something to look at, on standard error; and the per-table times for the table
//! at the end.

mod bar;
mod json;
mod plain;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::args::ProgressMode;
use crate::base::{Event, Events, TableName};

/// What is known about one table on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableProgress {
    /// Rows so far.
    pub(super) rows: u64,
    /// Bytes of COPY data so far.
    pub(super) bytes: u64,
    began: Instant,
    ended: Instant,
}

impl TableProgress {
    /// From the first to the last event.
    pub(super) fn time(&self) -> Duration {
        self.ended.duration_since(self.began)
    }
}

/// Sums over everything, which all displays need.
#[derive(Debug, Clone)]
struct Totals {
    began: Instant,
    phase: &'static str,
    planned_tables: u64,
    planned_rows: u64,
    planned_bytes: u64,
    tables_done: u64,
    rows: u64,
    bytes: u64,
    tables: BTreeMap<TableName, TableProgress>,
}

/// One way to show events. Called under a lock, one event at a time, after the sums are up to date.
trait Display: Send {
    fn show(&mut self, event: &Event, totals: &Totals);
    /// The work is over; what moves on the screen goes away.
    fn close(&mut self) {}
}

struct State {
    totals: Totals,
    display: Option<Box<dyn Display>>,
}

/// Takes events from all threads.
pub(super) struct Progress {
    state: Mutex<State>,
}

impl Progress {
    /// Shows events in this way.
    pub(super) fn new(mode: ProgressMode) -> Self {
        let display: Option<Box<dyn Display>> = match mode {
            ProgressMode::Bar => Some(Box::new(bar::Bars::new())),
            ProgressMode::Plain | ProgressMode::Auto => Some(Box::new(plain::Lines::new(std::io::stderr()))),
            ProgressMode::Json => Some(Box::new(json::JsonLines::new(std::io::stderr()))),
            ProgressMode::None => None,
        };
        let totals = Totals {
            began: Instant::now(),
            phase: "",
            planned_tables: 0,
            planned_rows: 0,
            planned_bytes: 0,
            tables_done: 0,
            rows: 0,
            bytes: 0,
            tables: BTreeMap::new(),
        };
        Self { state: Mutex::new(State { totals, display }) }
    }

    /// A display that panicked must not take the dump with it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bars off the screen. Call it before anything else is printed.
    pub(super) fn close(&self) {
        if let Some(mut display) = self.state().display.take() {
            display.close();
        }
    }

    /// What is known about each table.
    pub(super) fn tables(&self) -> BTreeMap<TableName, TableProgress> {
        self.state().totals.tables.clone()
    }
}

impl Totals {
    fn take(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Phase(name) => {
                // Numbers are of one phase: what verify reads says nothing about the dump before it.
                self.phase = name;
                self.began = now;
                (self.planned_tables, self.planned_rows, self.planned_bytes) = (0, 0, 0);
                (self.tables_done, self.rows, self.bytes) = (0, 0, 0);
            }
            Event::Planned { tables, rows, bytes, .. } => {
                (self.planned_tables, self.planned_rows, self.planned_bytes) = (*tables, *rows, *bytes);
                self.tables.clear();
            }
            Event::Progress { table, rows, bytes } => {
                self.rows += rows;
                self.bytes += bytes;
                let entry = self.table(table, now);
                entry.rows += rows;
                entry.bytes += bytes;
            }
            Event::TableDone { table, .. } => {
                self.tables_done += 1;
                self.table(table, now);
            }
            Event::Step { .. } | Event::Warning(_) | Event::Committed(_) => {}
        }
    }

    fn table(&mut self, table: &TableName, now: Instant) -> &mut TableProgress {
        let fresh = TableProgress { rows: 0, bytes: 0, began: now, ended: now };
        let entry = self.tables.entry(table.clone()).or_insert(fresh);
        entry.ended = now;
        entry
    }

    /// Rows for each second since the plan stood.
    fn rate(&self, now: Instant) -> u64 {
        let seconds = now.duration_since(self.began).as_secs_f64();
        if seconds > 0.0 { (self.rows as f64 / seconds) as u64 } else { 0 }
    }

    /// Time left by bytes (rows where bytes are unknown), from the planner's estimates; nothing once they are exceeded.
    fn remaining(&self, now: Instant) -> Option<Duration> {
        let (done, planned) = if self.planned_bytes > 0 {
            (self.bytes, self.planned_bytes)
        } else {
            (self.rows, self.planned_rows)
        };
        if done == 0 || done >= planned {
            return None;
        }
        let spent = now.duration_since(self.began).as_secs_f64();
        Some(Duration::from_secs_f64(spent * (planned - done) as f64 / done as f64))
    }
}

impl Events for Progress {
    fn emit(&self, event: Event) {
        let mut state = self.state();
        let State { totals, display } = &mut *state;
        totals.take(&event, Instant::now());
        if let Some(display) = display {
            display.show(&event, totals);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_add_up_for_each_table_and_for_all() {
        let progress = Progress::new(ProgressMode::None);
        let table = |name: &str| TableName::new("public", name);
        progress.emit(Event::Planned { tables: 2, units: 3, rows: 10, bytes: 100 });
        for (name, rows) in [("a", 2), ("b", 3), ("a", 4)] {
            progress.emit(Event::Progress { table: table(name), rows, bytes: rows * 10 });
        }
        let state = progress.state();
        assert_eq!((state.totals.rows, state.totals.bytes), (9, 90));
        assert_eq!(state.totals.tables[&table("a")].rows, 6);
        assert!(state.totals.remaining(Instant::now()).is_some());
    }
}
