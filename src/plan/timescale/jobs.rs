//! Policies and jobs: the call that makes one anew, and the one that gives it its schedule, paused.
//!
//! A job's configuration names hypertables by the source's numbers, so it is never replayed as it stands: what the
//! policy's own function takes is given to it by name, the rest is put behind.

use serde_json::{Map, Value};

use super::calls::{Functions, literal, regclass, regproc};
use crate::base::TableName;
use crate::catalog::timescale::{Timescale, TimescaleJob};

/// What names become in the target.
pub struct Names<'a> {
    /// Tables and views.
    pub relation: &'a dyn Fn(&TableName) -> TableName,
    /// Functions and procedures.
    pub routine: &'a dyn Fn(&TableName) -> TableName,
}

/// How one job is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobCalls {
    /// The query that makes it and gives its number. To be run as `role`, where there is one.
    pub add: String,
    /// Jobs of users' own procedures belong to whoever makes them; policies to the owner of their table.
    pub role: Option<String>,
    /// The arguments of `alter_job` behind the number: schedule as in the source, paused.
    alter: Vec<String>,
    /// What of its configuration the call does not take, as JSON.
    rest: Option<String>,
}

impl JobCalls {
    /// The statement that gives job `number` the source's schedule and pauses it, in the transaction that made it.
    pub fn pause(&self, functions: &Functions, number: i32) -> String {
        let mut arguments = vec![number.to_string()];
        arguments.extend(self.alter.iter().cloned());
        if let Some(rest) = &self.rest {
            arguments.push(format!(
                "config => (SELECT j.config || {}::pg_catalog.jsonb FROM timescaledb_information.jobs j \
                 WHERE j.job_id = {number})",
                literal(rest)
            ));
        }
        format!("SELECT FROM {}({})", functions.public("alter_job"), arguments.join(", "))
    }
}

/// The statement that lets job `number` run.
pub fn start(functions: &Functions, number: i32) -> String {
    format!("SELECT FROM {}({number}, scheduled => true)", functions.public("alter_job"))
}

/// How to make a job anew, or why nobody can.
pub fn job(
    functions: &Functions,
    timescale: &Timescale,
    job: &TimescaleJob,
    names: &Names<'_>,
) -> Result<JobCalls, String> {
    let config: Value = match &job.config {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("its configuration: {error}"))?,
        None => Value::Null,
    };
    let mut made = match job.procedure.schema.starts_with("_timescaledb_") {
        true => policy(functions, timescale, job, config, names)?,
        false => users_own(functions, job, names),
    };
    made.alter = schedule(functions, job);
    Ok(made)
}

fn users_own(functions: &Functions, job: &TimescaleJob, names: &Names<'_>) -> JobCalls {
    let mut arguments = vec![
        regproc(&(names.routine)(&job.procedure)),
        format!("{}::pg_catalog.interval", literal(&job.schedule_interval)),
    ];
    arguments
        .extend(job.config.as_ref().map(|text| format!("config => {}::pg_catalog.jsonb", literal(text))));
    arguments.push("scheduled => false".to_owned());
    if functions.takes("add_job", "fixed_schedule") {
        arguments.push(format!("fixed_schedule => {}", job.fixed_schedule));
    }
    arguments.extend(start_of(functions, "add_job", job));
    if functions.takes("add_job", "check_config") {
        let check = job.check.as_ref().map(|check| regproc(&(names.routine)(check)));
        arguments.extend(check.map(|check| format!("check_config => {check}")));
    }
    let add = format!("SELECT {}({})", functions.public("add_job"), arguments.join(", "));
    JobCalls { add, role: Some(job.owner.clone()), alter: Vec::new(), rest: None }
}

/// `initial_start` and `timezone`, which older versions only take when the job is made.
fn start_of(functions: &Functions, function: &str, job: &TimescaleJob) -> Vec<String> {
    let mut arguments = Vec::new();
    if let (Some(start), true) = (&job.initial_start, functions.takes(function, "initial_start")) {
        arguments.push(format!("initial_start => {}::pg_catalog.timestamptz", literal(start)));
    }
    if let (Some(zone), true) = (&job.timezone, functions.takes(function, "timezone")) {
        arguments.push(format!("timezone => {}", literal(zone)));
    }
    arguments
}

/// The function that makes a policy, and the keys of its configuration that are arguments of it.
fn maker(procedure: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match procedure {
        "policy_retention" => ("add_retention_policy", &["drop_after", "drop_created_before"]),
        "policy_compression" => ("add_compression_policy", &["compress_after", "compress_created_before"]),
        "policy_refresh_continuous_aggregate" => (
            "add_continuous_aggregate_policy",
            &[
                "start_offset",
                "end_offset",
                "include_tiered_data",
                "buckets_per_batch",
                "max_batches_per_execution",
                "refresh_newest_first",
            ],
        ),
        "policy_reorder" => ("add_reorder_policy", &["index_name"]),
        _ => return None,
    })
}

fn policy(
    functions: &Functions,
    timescale: &Timescale,
    job: &TimescaleJob,
    config: Value,
    names: &Names<'_>,
) -> Result<JobCalls, String> {
    let Some((function, keys)) = maker(&job.procedure.name) else {
        return Err(format!("no public function makes a job of {}", job.procedure));
    };
    let Some(table) = &job.hypertable else { return Err("it names no hypertable".to_owned()) };
    let integer = timescale.rows_of(table).and_then(|rows| rows.time()).filter(|time| !time.is_time());
    let Value::Object(mut config) = config else { return Err("it has no configuration".to_owned()) };
    let mut arguments = vec![regclass(&(names.relation)(table))];
    for key in keys {
        // Both offsets have to be given, and NULL means that there is no bound.
        let offset = matches!(*key, "start_offset" | "end_offset");
        let known = functions.arguments.get(function).is_none_or(|names| names.contains(*key));
        if let (Some(value), true) = (config.get(*key), known) {
            let value = argument(key, value, integer.map(|time| &*time.column_type), table, names);
            arguments.push(format!("{key} => {value}"));
            config.remove(*key);
        } else if offset {
            arguments.push(format!("{key} => NULL"));
        }
    }
    if functions.takes(function, "schedule_interval") {
        arguments
            .push(format!("schedule_interval => {}::pg_catalog.interval", literal(&job.schedule_interval)));
    }
    arguments.extend(start_of(functions, function, job));
    let add = format!("SELECT {}({})", functions.public(function), arguments.join(", "));
    Ok(JobCalls { add, role: None, alter: Vec::new(), rest: rest(config) })
}

fn rest(mut config: Map<String, Value>) -> Option<String> {
    config.remove("hypertable_id");
    config.remove("mat_hypertable_id");
    (!config.is_empty()).then(|| Value::Object(config).to_string())
}

/// A value of a configuration as an argument. Offsets are numbers of the dimension's own type, or intervals.
fn argument(key: &str, value: &Value, integer: Option<&str>, table: &TableName, names: &Names<'_>) -> String {
    match (key, value) {
        (_, Value::Null) => "NULL".to_owned(),
        ("index_name", Value::String(index)) => {
            let index = (names.relation)(&TableName::new(table.schema.clone(), index.clone()));
            literal(&index.name)
        }
        (_, Value::Bool(value)) => value.to_string(),
        ("buckets_per_batch" | "max_batches_per_execution", value) => value.to_string(),
        (_, Value::Number(number)) => format!("({number})::{}", integer.unwrap_or("bigint")),
        (_, Value::String(text)) => format!("{}::pg_catalog.interval", literal(text)),
        (_, other) => literal(&other.to_string()),
    }
}

/// Names that TimescaleDB gives by itself.
const GIVEN_NAMES: [&str; 7] = [
    "Retention Policy",
    "Compression Policy",
    "Columnstore Policy",
    "Refresh Continuous Aggregate Policy",
    "Reorder Policy",
    "User-Defined Action",
    "Customer Job",
];

fn schedule(functions: &Functions, job: &TimescaleJob) -> Vec<String> {
    let interval = |name: &str, value: &str| format!("{name} => {}::pg_catalog.interval", literal(value));
    let mut arguments = vec![
        interval("schedule_interval", &job.schedule_interval),
        interval("max_runtime", &job.max_runtime),
        format!("max_retries => {}", job.max_retries),
        interval("retry_period", &job.retry_period),
        "scheduled => false".to_owned(),
    ];
    if functions.takes("alter_job", "fixed_schedule") {
        arguments.push(format!("fixed_schedule => {}", job.fixed_schedule));
    }
    arguments.extend(start_of(functions, "alter_job", job));
    let name = job.application_name.strip_suffix(&format!(" [{}]", job.id)).unwrap_or_default();
    if !name.is_empty() && !GIVEN_NAMES.contains(&name) && functions.takes("alter_job", "job_name") {
        arguments.push(format!("job_name => {}", literal(name)));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::timescale::{Dimension, Hypertable};

    fn functions() -> Functions {
        let all = ["initial_start", "timezone", "fixed_schedule", "schedule_interval", "check_config"];
        let names = |extra: &[&str]| all.iter().chain(extra).map(|name| (*name).to_owned()).collect();
        Functions {
            schema: "public".into(),
            arguments: [
                ("alter_job".to_owned(), names(&["job_name"])),
                ("add_job".to_owned(), names(&[])),
                ("add_retention_policy".to_owned(), names(&["drop_after"])),
            ]
            .into(),
            ..Functions::default()
        }
    }

    fn source() -> Timescale {
        let time = Dimension {
            column: "k".into(),
            column_type: "integer".into(),
            interval: Some(10),
            partitions: None,
            function: None,
            integer_now: None,
        };
        let hypertable = Hypertable {
            id: 7,
            name: TableName::new("md", "t"),
            dimensions: vec![time],
            compression: None,
            tablespaces: Vec::new(),
            skipping: Vec::new(),
        };
        Timescale {
            version: "2.17.2".into(),
            schema: "public".into(),
            license: None,
            hypertables: vec![hypertable],
            aggregates: Vec::new(),
            jobs: Vec::new(),
        }
    }

    fn retention() -> TimescaleJob {
        TimescaleJob {
            id: 1001,
            application_name: "Retention Policy [1001]".into(),
            procedure: TableName::new("_timescaledb_functions", "policy_retention"),
            owner: "app".into(),
            hypertable: Some(TableName::new("md", "t")),
            scheduled: true,
            fixed_schedule: false,
            schedule_interval: "1 day".into(),
            max_runtime: "00:05:00".into(),
            max_retries: -1,
            retry_period: "00:05:00".into(),
            initial_start: None,
            timezone: None,
            config: Some(r#"{"drop_after": 100, "hypertable_id": 7, "verbose": true}"#.into()),
            check: None,
        }
    }

    fn made(job: &TimescaleJob) -> Result<JobCalls, String> {
        let names = Names { relation: &Clone::clone, routine: &Clone::clone };
        super::job(&functions(), &source(), job, &names)
    }

    #[test]
    fn a_policy_is_made_by_its_own_function_and_paused_at_once() {
        let calls = made(&retention()).unwrap();
        assert_eq!(
            calls.add,
            "SELECT \"public\".\"add_retention_policy\"('\"md\".\"t\"'::pg_catalog.regclass, drop_after => \
             (100)::integer, schedule_interval => '1 day'::pg_catalog.interval)"
        );
        let pause = calls.pause(&functions(), 1234);
        assert!(pause.contains("scheduled => false") && pause.contains(r#"{"verbose":true}"#), "{pause}");
        assert!(!pause.contains("hypertable_id") && !pause.contains("job_name"), "{pause}");
    }

    #[test]
    fn a_policy_that_nobody_knows_is_named() {
        let mut job = retention();
        job.procedure.name = "policy_compaction".into();
        assert!(made(&job).unwrap_err().contains("_timescaledb_functions.policy_compaction"));
    }

    #[test]
    fn a_users_job_keeps_its_configuration_and_its_owner() {
        let mut job = retention();
        job.procedure = TableName::new("md", "tidy");
        job.application_name = "Nightly [1001]".into();
        let calls = made(&job).unwrap();
        assert_eq!(calls.role.as_deref(), Some("app"));
        assert!(calls.add.contains("hypertable_id") && calls.add.contains("scheduled => false"));
        assert!(calls.pause(&functions(), 5).contains("job_name => 'Nightly'"));
    }
}
