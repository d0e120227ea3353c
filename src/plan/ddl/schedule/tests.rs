//! Tests of the order, on the archive of a real schema.

use super::super::fixture::nasty;
use super::*;

fn job<'a>(schedule: &'a PostDataSchedule, label: &str) -> &'a Job {
    let found = schedule.jobs().iter().find(|job| job.label == label);
    found.unwrap_or_else(|| panic!("no {label}"))
}

fn populated() -> Vec<TableName> {
    // Named against the order they must run in.
    vec![TableName::new("market", "daily3"), TableName::new("market", "daily")]
}

/// Runs all jobs on `lanes` lanes, each job taking as long as its number says, and returns the order of starting.
fn run(schedule: &PostDataSchedule, lanes: usize) -> Vec<usize> {
    let mut dispatcher = schedule.dispatch();
    let (mut order, mut running): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    while !dispatcher.is_done() {
        while running.len() < lanes
            && let Some(next) = dispatcher.next_job()
        {
            for other in &running {
                assert!(!conflict(&schedule.jobs()[next].locks, &schedule.jobs()[*other].locks));
            }
            order.push(next);
            running.push(next);
        }
        assert!(!running.is_empty(), "stuck after {order:?}");
        let shortest = running.iter().position(|job| job % 3 == 0).unwrap_or(0);
        dispatcher.succeeded(running.remove(shortest));
    }
    order
}

#[test]
fn every_entry_is_restored_exactly_once() {
    let dump = nasty();
    let schedule = PostDataSchedule::new(&dump, &populated());
    let wanted = dump.entries.iter().filter(|entry| !is_data(entry)).count() + populated().len();
    assert_eq!(pre_data(&dump).len() + schedule.jobs().len(), wanted);
    for lanes in [1, 2, 8] {
        let mut order = run(&schedule, lanes);
        order.sort_unstable();
        assert_eq!(order, (0..schedule.jobs().len()).collect::<Vec<_>>());
    }
}

#[test]
fn nothing_starts_before_what_it_needs_and_stages_do_not_overlap() {
    let schedule = PostDataSchedule::new(&nasty(), &populated());
    let order = run(&schedule, 4);
    let place = |job: usize| order.iter().position(|other| *other == job).unwrap();
    for (number, job) in schedule.jobs().iter().enumerate() {
        assert!(job.depends_on.iter().all(|needed| place(*needed) < place(number)), "{}", job.label);
    }
    let stages: Vec<Stage> = order.iter().map(|job| schedule.jobs()[*job].stage).collect();
    assert!(stages.is_sorted());
    assert_eq!(stages.last(), Some(&Stage::EventTriggers));
}

#[test]
fn a_foreign_key_locks_both_tables_and_the_partitions_through_their_parent() {
    let schedule = PostDataSchedule::new(&nasty(), &[]);
    let key = job(&schedule, "FK CONSTRAINT market.signals signals_symbol_ts_fkey");
    let tables: Vec<String> = key.locks.iter().map(|(table, access)| format!("{table} {access:?}")).collect();
    assert!(tables.contains(&"market.bars Exclusive".to_owned()), "{tables:?}");
    assert!(tables.contains(&"market.signals Exclusive".to_owned()), "{tables:?}");
    let leaf = job(&schedule, "INDEX market.bars_2023_ts_idx");
    assert!(conflict(&key.locks, &leaf.locks), "an index on a leaf must wait for a key on its parent");
}

#[test]
fn two_indexes_of_a_table_run_at_once_and_a_key_runs_alone() {
    let schedule = PostDataSchedule::new(&nasty(), &[]);
    let (one, two) = (job(&schedule, "INDEX market.orders_day"), job(&schedule, "INDEX market.orders_expr"));
    assert!(!conflict(&one.locks, &two.locks));
    let key = job(&schedule, "CONSTRAINT market.orders orders_pkey");
    assert!(conflict(&one.locks, &key.locks));
}

#[test]
fn a_materialised_view_is_filled_after_the_one_it_reads() {
    let schedule = PostDataSchedule::new(&nasty(), &populated());
    let first = schedule.jobs().iter().position(|job| job.label.ends_with("market.daily")).unwrap();
    assert!(job(&schedule, "REFRESH MATERIALIZED VIEW market.daily3").depends_on.contains(&first));
    assert!(!schedule.jobs().iter().any(|job| job.label.ends_with("market.daily2")), "it held no rows");
}

#[test]
fn what_needs_a_failed_job_is_left_out_and_the_rest_goes_on() {
    let schedule = PostDataSchedule::new(&nasty(), &[]);
    let mut dispatcher = schedule.dispatch();
    let key = schedule.jobs().iter().position(|job| job.label.ends_with("accounts_pkey")).unwrap();
    let mut lost = Vec::new();
    while !dispatcher.is_done() {
        let next = dispatcher.next_job().unwrap();
        if next == key {
            lost = dispatcher.failed(next);
        } else {
            dispatcher.succeeded(next);
        }
    }
    let labels: Vec<&str> = lost.iter().map(|job| &*schedule.jobs()[*job].label).collect();
    assert!(labels.contains(&"FK CONSTRAINT market.orders orders_account_id_fkey"), "{labels:?}");
    assert!(!labels.contains(&"FK CONSTRAINT market.orders orders_parent_id_fkey"), "{labels:?}");
}

#[test]
fn a_comment_on_an_index_waits_for_the_index_and_one_on_a_table_does_not() {
    let dump = nasty();
    let before: Vec<String> = pre_data(&dump).iter().map(|entry| entry.label()).collect();
    assert!(before.contains(&"COMMENT market.TABLE orders".to_owned()), "{before:?}");
    assert!(!before.contains(&"COMMENT market.INDEX orders_day".to_owned()));
    assert!(!before.iter().any(|label| label.starts_with("ACL")));
}

#[test]
fn ten_thousand_tables_are_scheduled_in_no_time() {
    use super::super::fixture::entry;
    let mut dump = SchemaDump::default();
    for number in 0..10_000 {
        let name = format!("t{number}");
        let mut table = entry("TABLE", Some("s"), &name, "");
        table.dump_id = number * 2;
        let definition = format!("CREATE INDEX i{number} ON s.{name} (a)");
        let mut index = entry("INDEX", Some("s"), &format!("i{number}"), &definition);
        (index.dump_id, index.section, index.depends_on) =
            (number * 2 + 1, Section::PostData, vec![number * 2]);
        dump.entries.extend([table, index]);
    }
    let began = std::time::Instant::now();
    assert_eq!(run(&PostDataSchedule::new(&dump, &[]), 4).len(), 10_000);
    // A quadratic search took minutes; the bound is wide because the machine may be busy.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn a_job_weighs_as_much_as_its_tree_and_sorts_its_own_table() {
    let bytes = [("bars_2023", 30), ("bars_2024", 12), ("orders", 5)];
    let bytes = bytes.map(|(table, bytes)| (TableName::new("market", table), bytes)).into();
    let schedule = PostDataSchedule::new(&nasty(), &[]).by_size(&bytes);
    let of = |label: &str| {
        let job = job(&schedule, label);
        (job.weight, job.own)
    };
    assert_eq!(of("CONSTRAINT market.bars_2023 bars_2023_pkey"), (42, 30));
    assert_eq!(of("CONSTRAINT market.bars bars_pkey"), (42, 42));
    assert_eq!(of("CONSTRAINT market.orders orders_pkey"), (5, 5));
    assert_eq!(of("CONSTRAINT market.accounts accounts_pkey"), (0, 0), "no rows");
}
