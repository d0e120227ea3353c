//! [`Settled`]: tables that can be analyzed while others are still built, because nothing is to come that their statistics are about.
//!
//! `ANALYZE` reads expressions of indexes and fills statistics objects, so it comes after them. It locks one table against the
//! jobs of these stages; of later ones, each waits for it at most as long as it takes.

use std::collections::HashMap;

use super::ahead::Ahead;
use super::schedule::{Dispatcher, PostDataSchedule, Stage};
use crate::base::TableName;

/// Large tables that are not analyzed yet.
pub struct Settled<'a> {
    /// Who takes longest comes last.
    open: Vec<TableName>,
    /// The jobs that come first, by table.
    jobs_of: HashMap<&'a TableName, Vec<usize>>,
}

impl<'a> Settled<'a> {
    /// `tables`: who takes longest comes last.
    pub fn new(schedule: &'a PostDataSchedule, tables: Vec<TableName>) -> Self {
        let mut jobs_of: HashMap<_, Vec<_>> = HashMap::new();
        for (number, job) in schedule.jobs().iter().enumerate() {
            if matches!(job.stage, Stage::Build | Stage::Attach | Stage::Rest) {
                job.locks.iter().for_each(|(table, _)| jobs_of.entry(table).or_default().push(number));
            }
        }
        Self { open: tables, jobs_of }
    }

    /// A table that can be analyzed now; it is not handed out again.
    pub fn next(&mut self, ahead: &Ahead<'_>, dispatcher: &Dispatcher<'_>) -> Option<TableName> {
        let is_settled = |table: &TableName| {
            let mut jobs = self.jobs_of.get(table).into_iter().flatten();
            ahead.has_all_rows(table) && jobs.all(|job| dispatcher.is_over(*job))
        };
        let found = self.open.iter().rposition(is_settled)?;
        Some(self.open.remove(found))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fixture::nasty;
    use super::*;

    #[test]
    fn a_table_is_analyzed_after_its_rows_and_its_indexes() {
        let schedule = PostDataSchedule::new(&nasty(), &[]);
        let name = |table: &str| TableName::new("market", table);
        let mut ahead = Ahead::new(&schedule, [name("orders")], &BTreeSet::new());
        let mut dispatcher = schedule.dispatch();
        let mut settled = Settled::new(&schedule, vec![name("orders"), name("unknown")]);
        assert_eq!(settled.next(&ahead, &dispatcher), Some(name("unknown")), "nothing is to come of it");
        assert_eq!(settled.next(&ahead, &dispatcher), None, "neither rows nor indexes");
        ahead.ended(&name("orders"));
        assert_eq!(settled.next(&ahead, &dispatcher), None, "no indexes");
        let mut jobs = 0;
        while let Some(job) = dispatcher.next_job() {
            let of_orders = schedule.jobs()[job].locks.iter().any(|(table, _)| *table == name("orders"));
            if of_orders && schedule.jobs()[job].stage == Stage::Build {
                assert_eq!(settled.next(&ahead, &dispatcher), None, "{}", schedule.jobs()[job].label);
                jobs += 1;
            }
            dispatcher.succeeded(job);
        }
        assert!(jobs > 0);
        assert_eq!(settled.next(&ahead, &dispatcher), Some(name("orders")));
        assert_eq!(settled.next(&ahead, &dispatcher), None, "only once");
    }
}
