//! Progress as JSON documents, one a line, for programs: every event but the numbers at most once a second.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Display, Totals};
use crate::base::Event;

const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct JsonLines<W> {
    out: W,
    last: Option<Instant>,
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, last: None }
    }
}

impl<W: Write + Send> Display for JsonLines<W> {
    fn show(&mut self, event: &Event, totals: &Totals) {
        if matches!(event, Event::Progress { .. }) {
            if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
                return;
            }
            self.last = Some(Instant::now());
        }
        // Progress that nobody can read is no reason to stop.
        let _ = writeln!(self.out, "{}", document(event, totals));
    }
}

fn document(event: &Event, totals: &Totals) -> Value {
    match event {
        Event::Phase(name) => json!({ "event": "phase", "phase": name }),
        Event::Planned { tables, units, rows, bytes } => {
            json!({ "event": "planned", "tables": tables, "units": units, "rows": rows, "bytes": bytes })
        }
        Event::Progress { .. } => json!({
            "event": "progress", "phase": totals.phase, "tables_done": totals.tables_done,
            "rows": totals.rows, "bytes": totals.bytes,
        }),
        Event::TableDone { table, rows } => json!({ "event": "table_done", "table": table, "rows": rows }),
        Event::Step { what } => json!({ "event": "step", "what": what }),
        Event::Warning(text) => json!({ "event": "warning", "message": text }),
        Event::Committed(id) => json!({ "event": "committed", "backup": id }),
    }
}
