//! [`Ahead`]: which jobs after the rows can begin while rows of other tables are still on their way.
//!
//! Rows claim what they go into, as jobs claim what they lock; a job is open when no rows to come conflict with it. That they
//! conflict with no running job is the dispatcher's business.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::schedule::{Access, Dispatcher, PostDataSchedule, Stage};
use crate::base::TableName;

/// What some rows claim: tables and how they use them.
type Claims = Vec<(TableName, Access)>;

/// Rows to come that use a table.
#[derive(Debug, Clone, Copy, Default)]
struct ToCome {
    exclusive: usize,
    shared: usize,
}

/// The rows to come, and the jobs that need not wait for them.
#[derive(Debug)]
pub struct Ahead<'a> {
    schedule: &'a PostDataSchedule,
    claims: HashMap<TableName, Claims>,
    to_come: HashMap<TableName, ToCome>,
    /// Early jobs by the tables they lock.
    jobs_of: HashMap<&'a TableName, Vec<usize>>,
    /// The largest first.
    open: BTreeSet<(Reverse<u64>, usize)>,
}

impl<'a> Ahead<'a> {
    /// All rows are to come: one of `loads` for each transaction, the table that its rows go into. Jobs on a table of `held`
    /// wait for all of them.
    pub fn new(
        schedule: &'a PostDataSchedule,
        loads: impl IntoIterator<Item = TableName>,
        held: &BTreeSet<TableName>,
    ) -> Self {
        let mut ahead = Self {
            schedule,
            claims: HashMap::new(),
            to_come: HashMap::new(),
            jobs_of: HashMap::new(),
            open: BTreeSet::new(),
        };
        for into in loads {
            let claims = ahead.claims.entry(into).or_insert_with_key(|into| schedule.claims(into));
            for (table, access) in claims {
                let to_come = ahead.to_come.entry(table.clone()).or_default();
                *(if *access == Access::Exclusive { &mut to_come.exclusive } else { &mut to_come.shared }) +=
                    1;
            }
        }
        for (number, job) in schedule.jobs().iter().enumerate() {
            let waits = job.locks.iter().any(|(table, _)| held.contains(table));
            if job.early && job.stage == Stage::Build && !waits {
                job.locks.iter().for_each(|(table, _)| ahead.jobs_of.entry(table).or_default().push(number));
                ahead.open_if_free(number);
            }
        }
        ahead
    }

    /// The rows of one transaction are there, or will come after all jobs.
    pub fn ended(&mut self, into: &TableName) {
        let claims = self.claims.get(into).cloned().unwrap_or_default();
        for (table, access) in &claims {
            let Some(to_come) = self.to_come.get_mut(table) else { continue };
            let left =
                if *access == Access::Exclusive { &mut to_come.exclusive } else { &mut to_come.shared };
            *left = left.saturating_sub(1);
            if *left == 0 {
                for number in self.jobs_of.get(table).cloned().unwrap_or_default() {
                    self.open_if_free(number);
                }
            }
        }
    }

    fn open_if_free(&mut self, number: usize) {
        let Some(job) = self.schedule.jobs().get(number) else { return };
        let is_free = job.locks.iter().all(|(table, access)| {
            let to_come = self.to_come.get(table).copied().unwrap_or_default();
            to_come.exclusive == 0 && (*access == Access::Shared || to_come.shared == 0)
        });
        if is_free {
            self.open.insert((Reverse(job.weight), number));
        }
    }

    /// Whether no rows are to come into a table.
    pub(super) fn has_all_rows(&self, table: &TableName) -> bool {
        self.to_come.get(table).is_none_or(|to_come| to_come.exclusive == 0 && to_come.shared == 0)
    }

    /// Which of the rows to come a lane takes next; `tables` is where they go, the largest table first, and `under_load` where others go
    /// right now. Lanes that load one table together wait for each other whenever it grows. So a lane takes another table's
    /// rows, if what is built on the first one keeps all lanes busy when its rows are there; else they are kept for lanes
    /// that would have nothing to build.
    pub fn next_rows<'t>(
        &self,
        mut tables: impl Iterator<Item = &'t TableName>,
        under_load: &[TableName],
        lanes: usize,
    ) -> usize {
        let Some(largest) = tables.next().filter(|largest| under_load.contains(largest)) else { return 0 };
        let keeps_busy = self.jobs_of.get(largest).is_some_and(|jobs| jobs.len() >= lanes);
        let other = tables.position(|table| keeps_busy && !under_load.contains(table));
        other.map_or(0, |behind| behind + 1)
    }

    /// The largest job that can begin now, and its weight. It is not handed out yet.
    pub fn next(&mut self, dispatcher: &Dispatcher<'_>) -> Option<(usize, u64)> {
        self.open.retain(|(_, job)| dispatcher.is_waiting(*job));
        let found = self.open.iter().find(|(_, job)| dispatcher.can_start(*job));
        found.map(|(Reverse(weight), job)| (*job, *weight))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::nasty;
    use super::super::schedule::Job;
    use super::*;

    fn name(table: &str) -> TableName {
        TableName::new("market", table)
    }

    fn number(schedule: &PostDataSchedule, label: &str) -> usize {
        schedule.jobs().iter().position(|job| job.label == label).unwrap()
    }

    /// The labels of all that can begin, each ended at once.
    fn begun(ahead: &mut Ahead<'_>, dispatcher: &mut Dispatcher<'_>) -> Vec<String> {
        let mut labels = Vec::new();
        while let Some((job, _)) = ahead.next(dispatcher) {
            dispatcher.start(job);
            dispatcher.succeeded(job);
            labels.push(ahead.schedule.jobs()[job].label.clone());
        }
        labels
    }

    #[test]
    fn a_table_is_built_when_its_last_rows_are_there_and_not_before() {
        let schedule = PostDataSchedule::new(&nasty(), &[]);
        let loads = ["orders", "orders", "accounts"].map(name);
        let mut ahead = Ahead::new(&schedule, loads, &BTreeSet::new());
        let mut dispatcher = schedule.dispatch();
        let of = |labels: &[String], table: &str| labels.iter().any(|label| label.contains(table));
        let first = begun(&mut ahead, &mut dispatcher);
        assert!(!of(&first, "market.orders ") && !of(&first, "market.accounts "), "{first:?}");
        ahead.ended(&name("orders"));
        assert_eq!(begun(&mut ahead, &mut dispatcher), Vec::<String>::new(), "one of two");
        ahead.ended(&name("orders"));
        let second = begun(&mut ahead, &mut dispatcher);
        assert!(second.contains(&"CONSTRAINT market.orders orders_pkey".to_owned()), "{second:?}");
        assert!(!of(&second, "market.accounts ") && !of(&second, "FK CONSTRAINT"), "{second:?}");
        let mut held = Ahead::new(&schedule, [], &BTreeSet::from([name("orders")]));
        assert!(!of(&begun(&mut held, &mut schedule.dispatch()), "market.orders "));
    }

    #[test]
    fn rows_into_a_partition_hold_back_a_key_of_its_parent_and_no_index_of_its_sibling() {
        let schedule = PostDataSchedule::new(&nasty(), &[]);
        let mut ahead = Ahead::new(&schedule, [name("bars_2023")], &BTreeSet::new());
        let begun = begun(&mut ahead, &mut schedule.dispatch());
        let leaf = number(&schedule, "INDEX market.bars_2023_ts_idx");
        assert!(!begun.contains(&schedule.jobs()[leaf].label));
        assert!(begun.contains(&"INDEX market.bars_2024_ts_idx".to_owned()), "{begun:?}");
        assert!(!begun.iter().any(|label| label.starts_with("CONSTRAINT market.bars ")), "{begun:?}");
        // Rows that go through the parent may end in any partition.
        let claims = schedule.claims(&name("bars"));
        assert!(claims.contains(&(name("bars_2024"), Access::Exclusive)), "{claims:?}");
    }

    #[test]
    fn lanes_load_different_tables_where_what_is_built_keeps_them_busy() {
        let schedule = PostDataSchedule::new(&nasty(), &[]);
        let tables = ["orders", "orders", "accounts"].map(name);
        let ahead = Ahead::new(&schedule, tables.clone(), &BTreeSet::new());
        let builds = ahead.jobs_of[&name("orders")].len();
        assert!(builds >= 2, "{builds}");
        let next = |under_load: &[&str], lanes| {
            let under_load: Vec<TableName> = under_load.iter().map(|table| name(table)).collect();
            ahead.next_rows(tables.iter(), &under_load, lanes)
        };
        assert_eq!(next(&[], builds), 0);
        assert_eq!(next(&["orders"], builds), 2);
        assert_eq!(next(&["orders"], builds + 1), 0, "kept for a lane that would have nothing to build");
        assert_eq!(next(&["accounts"], builds), 0);
        assert_eq!(next(&["orders", "accounts"], builds), 0, "together, where there is no other");
        assert_eq!(ahead.next_rows([].iter(), &[], builds), 0);
    }

    #[test]
    fn what_calls_a_function_of_the_users_waits_for_all_rows() {
        let schedule = PostDataSchedule::new(&nasty(), &[]);
        let early: Vec<&str> =
            schedule.jobs().iter().filter(|job| job.early).map(|job| &*job.label).collect();
        assert!(early.iter().all(|label| label.starts_with("INDEX ") || label.starts_with("CONSTRAINT ")));
        let calls = |job: &&Job| !job.early && job.label.starts_with("INDEX market.");
        let late: Vec<&str> = schedule.jobs().iter().filter(calls).map(|job| &*job.label).collect();
        assert_eq!(late, ["INDEX market.orders_expr"]);
    }
}
