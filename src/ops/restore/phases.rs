//! The phases of a restore, with the time that each took. They follow each other without gaps, so that they add up to the
//! whole.

use std::time::Duration;

use serde::Serialize;

use super::{Restore, RestoreReport};
use crate::base::Event;
use crate::plan::ddl::Stage;

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// What a stage after the rows is called, where it is a phase of its own.
pub(super) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Build => "indexes",
        Stage::Attach => "indexes of partitions",
        Stage::ForeignKeys => "foreign keys",
        Stage::Rest => "triggers",
        Stage::Privileges => "grants",
        Stage::Refresh => "materialized views",
        Stage::EventTriggers => "event triggers",
    }
}

impl RestoreReport {
    /// Ends the last phase, `elapsed` after the restore began, and begins another.
    pub(super) fn begin(&mut self, name: &'static str, elapsed: Duration) {
        self.end(elapsed);
        self.phases.push(Phase { name, seconds: 0.0 });
    }

    /// Ends the last phase.
    pub(super) fn end(&mut self, elapsed: Duration) {
        let Some((last, before)) = self.phases.split_last_mut() else { return };
        last.seconds =
            (elapsed.as_secs_f64() - before.iter().map(|phase| phase.seconds).sum::<f64>()).max(0.0);
    }
}

impl Restore<'_> {
    /// Tells of a new phase and notes it.
    pub(super) fn phase(&self, name: &'static str, report: &mut RestoreReport) {
        self.services.events.emit(Event::Phase(name));
        report.begin(name, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_and_add_up() {
        let mut report = RestoreReport::default();
        report.end(Duration::from_secs(1));
        assert_eq!(report.phases, []);
        report.begin("preflight", Duration::ZERO);
        report.begin("data", Duration::from_secs(2));
        report.begin("indexes", Duration::from_secs(5));
        report.end(Duration::from_secs(6));
        let seconds: Vec<(&str, f64)> =
            report.phases.iter().map(|phase| (phase.name, phase.seconds)).collect();
        assert_eq!(seconds, [("preflight", 2.0), ("data", 3.0), ("indexes", 1.0)]);
    }
}
