//! Restores a nasty schema on a real server: `BARKEEP_TEST_SERVER`, or a throw-away PostgreSQL 15.
//!
//! One test at a time: they create roles, which belong to the whole cluster.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio_postgres::NoTls;

use super::*;
use crate::base::{Silent, TableName};
use crate::pg::client_tools::{ConnectionParameters, Excluded, Search};
use crate::pg::throwaway::{Throwaway, ThrowawayOptions};
use crate::plan::ddl::{pre_data, roles};

/// Where the server of the running test is.
static ADDRESS: Mutex<String> = Mutex::new(String::new());
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server to oneself; dropped in this order.
struct Alone {
    _server: Option<Throwaway>,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

async fn alone() -> Alone {
    let turn = TURN.lock().await;
    let (address, server) = match std::env::var("BARKEEP_TEST_SERVER") {
        Ok(address) => (address, None),
        Err(_) => {
            let options = ThrowawayOptions { version: Some(15), ..ThrowawayOptions::default() };
            let server = Throwaway::start(&options).unwrap();
            (format!("host=127.0.0.1 port={} user=postgres", server.port()), Some(server))
        }
    };
    *ADDRESS.lock().unwrap() = address;
    Alone { _server: server, _turn: turn }
}

fn server() -> tokio_postgres::Config {
    ADDRESS.lock().unwrap().parse().unwrap()
}

async fn connect(database: &str) -> Client {
    let (client, connection) = server().dbname(database).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn fixture() -> SchemaDump {
    crate::catalog::toc::parse(include_bytes!("../../../fixtures/nasty-schema.dump")).unwrap()
}

/// An empty database with every role that the fixture needs.
async fn fresh(database: &str) -> Client {
    let admin = connect("postgres").await;
    // In this order their OIDs are those of the fixture's cluster, by which pg_dump orders a policy's roles.
    for role in roles(&fixture().entries, &RestoreOptions::default()).into_iter().rev() {
        let _ = admin.batch_execute(&format!("CREATE ROLE {}", crate::base::quote_ident(&role))).await;
    }
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {database}")).await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE template0")).await.unwrap();
    connect(database).await
}

async fn dump(database: &str) -> SchemaDump {
    let config = server();
    let host = match &config.get_hosts()[0] {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        tokio_postgres::config::Host::Unix(path) => path.to_string_lossy().into_owned(),
    };
    let connection = ConnectionParameters {
        host: Some(host),
        port: config.get_ports().first().copied(),
        user: config.get_user().map(str::to_owned),
        database: Some(database.to_owned()),
        ..ConnectionParameters::default()
    };
    let client = connect(database).await;
    let version: i32 =
        client.query_one("SELECT current_setting('server_version_num')::int4", &[]).await.unwrap().get(0);
    let search = Search { setting: None, path: std::env::var_os("PATH") };
    let tool = search.pg_dump(u32::try_from(version / 10_000).unwrap()).await.unwrap();
    tool.schema(&connection, None, std::time::Duration::from_secs(30), &Excluded::default()).await.unwrap()
}

fn run_of<'a>(dump: &'a SchemaDump, journal: &'a dyn Journal) -> Run<'a> {
    const ALL: RestoreOptions =
        RestoreOptions { owners: true, privileges: true, tablespaces: true, access_methods: true };
    Run { dump, options: &ALL, journal, events: &Silent }
}

fn populated() -> [TableName; 2] {
    [TableName::new("market", "daily"), TableName::new("market", "daily3")]
}

fn each(clients: &[Client]) -> Vec<&Client> {
    clients.iter().collect()
}

async fn lanes(database: &str, dump: &SchemaDump) -> Vec<Client> {
    let mut lanes = Vec::new();
    for _ in 0..4 {
        let client = connect(database).await;
        prepare(&client, dump).await.unwrap();
        lanes.push(client);
    }
    lanes
}

async fn restore(database: &str, dump: &SchemaDump) {
    let client = fresh(database).await;
    prepare(&client, dump).await.unwrap();
    let run = run_of(dump, &NoJournal);
    run.pre_data(&client, &pre_data(dump)).await.unwrap();
    let schedule = PostDataSchedule::new(dump, &populated());
    let violations =
        run.post_data(&each(&lanes(database, dump).await), &schedule, &mut |_| ()).await.unwrap();
    assert_eq!(violations, []);
}

/// Everything about the entries that does not change from database to database.
fn essence(dump: &SchemaDump) -> Vec<String> {
    let mut texts: Vec<String> = dump
        .entries
        .iter()
        .filter(|entry| entry.kind != "DATABASE")
        .map(|entry| {
            let entry = SchemaEntry { dump_id: 0, catalog_id: None, depends_on: Vec::new(), ..entry.clone() };
            serde_json::to_string(&entry).unwrap()
        })
        .collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn a_restored_schema_dumps_to_the_same_entries() {
    let _alone = alone().await;
    restore("barkeep_schema_a", &fixture()).await;
    let first = dump("barkeep_schema_a").await;
    if first.tool_version.split('.').next() == fixture().tool_version.split('.').next() {
        assert_eq!(essence(&fixture()), essence(&first));
    }
    let mut other = first.clone();
    other.entries.retain(|entry| entry.kind != "RULE");
    assert_ne!(essence(&first), essence(&other), "the comparison can fail");
    restore("barkeep_schema_b", &first).await;
    assert_eq!(essence(&first), essence(&dump("barkeep_schema_b").await));
}

const DAMAGE: &str = "
    SET session_replication_role = replica;
    INSERT INTO market.accounts (name) VALUES ('a'), ('b');
    INSERT INTO market.orders (account_id, side, px) SELECT CASE WHEN i > 25 THEN 99 ELSE 1 END, 'buy', 1
      FROM generate_series(1, 50) i;
    INSERT INTO market.with_default (id, chk) VALUES (1, 5), (1, 6), (2, 7);
    INSERT INTO market.bars VALUES ('x', '2024-03-01Z', 1);
    INSERT INTO market.signals VALUES ('x', '2024-03-01Z'), ('y', '2024-03-01Z');
    INSERT INTO market.accounts (name) VALUES ('b');
    RESET session_replication_role";

#[tokio::test]
async fn violated_constraints_are_reported_with_their_rows_and_the_rest_is_restored() {
    let _alone = alone().await;
    let dump = fixture();
    let client = fresh("barkeep_schema_c").await;
    prepare(&client, &dump).await.unwrap();
    let run = run_of(&dump, &NoJournal);
    run.pre_data(&client, &pre_data(&dump)).await.unwrap();
    client.batch_execute(DAMAGE).await.unwrap();
    let schedule = PostDataSchedule::new(&dump, &populated());
    let found =
        run.post_data(&each(&lanes("barkeep_schema_c", &dump).await), &schedule, &mut |_| ()).await.unwrap();
    let by_name: BTreeMap<&str, &Violation> =
        found.iter().map(|violation| (violation.constraint.rsplit(' ').next().unwrap(), violation)).collect();
    assert_eq!(
        by_name.keys().copied().collect::<Vec<_>>(),
        ["accounts_name_key", "excl", "orders_account_id_fkey", "signals_symbol_ts_fkey"],
        "{found:#?}"
    );
    let orphans = by_name["orders_account_id_fkey"];
    assert_eq!((orphans.fate, orphans.rows, orphans.sample.len()), (Fate::NotValid, Some(25), 20));
    assert_eq!(orphans.sample[0], r#"{"account_id":99}"#);
    let twins = by_name["accounts_name_key"];
    assert_eq!(
        (twins.fate, twins.rows, &*twins.sample[0]),
        (Fate::LeftOut, Some(1), r#"{"name":"b","rows":2}"#)
    );
    assert_eq!(by_name["signals_symbol_ts_fkey"].rows, Some(1));
    assert_eq!(by_name["excl"].kind, ViolationKind::Exclusion);
    let policies = client.query("SELECT FROM pg_policies WHERE schemaname = 'market'", &[]).await.unwrap();
    assert_eq!(policies.len(), 1, "what comes after the constraints is there");
}

#[tokio::test]
async fn a_foreign_key_that_cannot_be_not_valid_is_left_out_and_reported() {
    let _alone = alone().await;
    let mut dump = fixture();
    let key = dump.entries.iter_mut().find(|entry| entry.name.ends_with("signals_symbol_ts_fkey")).unwrap();
    key.name = "bars bars_symbol_fkey".to_owned();
    key.definition = "ALTER TABLE market.bars ADD CONSTRAINT bars_symbol_fkey \
                      FOREIGN KEY (symbol) REFERENCES market.accounts(name)"
        .to_owned();
    let client = fresh("barkeep_schema_k").await;
    prepare(&client, &dump).await.unwrap();
    let run = run_of(&dump, &NoJournal);
    run.pre_data(&client, &pre_data(&dump)).await.unwrap();
    client.batch_execute("INSERT INTO market.bars VALUES ('x', '2024-03-01Z', 1)").await.unwrap();
    let schedule = PostDataSchedule::new(&dump, &[]);
    let found =
        run.post_data(&each(&lanes("barkeep_schema_k", &dump).await), &schedule, &mut |_| ()).await.unwrap();
    assert_eq!((found.len(), found[0].kind), (1, ViolationKind::ForeignKey), "{found:#?}");
    // PostgreSQL 18 can; before, the server's own example is all there is.
    assert!(found[0].fate == Fate::NotValid || found[0].sample[0].contains("(symbol)=(x)"), "{found:#?}");
}

/// Keeps its keys where the transaction keeps them.
#[derive(Default)]
struct TableJournal(Mutex<Vec<String>>);

impl Journal for TableJournal {
    fn done(&self, key: &str) -> bool {
        self.0.lock().unwrap().iter().any(|done| done == key)
    }

    fn record(&self, key: &str, _violation: Option<&Violation>) -> Option<String> {
        Some(format!("INSERT INTO public.journal VALUES ({})", quote_literal(key)))
    }

    fn left_out(&self, _key: &str) -> Option<Violation> {
        None
    }
}

#[tokio::test]
async fn an_interrupted_restore_goes_on_where_it_stopped() {
    let _alone = alone().await;
    let dump = fixture();
    let client = fresh("barkeep_schema_d").await;
    client.batch_execute("CREATE TABLE public.journal (key text PRIMARY KEY)").await.unwrap();
    prepare(&client, &dump).await.unwrap();
    let entries = pre_data(&dump);
    run_of(&dump, &TableJournal::default()).pre_data(&client, &entries[..20]).await.unwrap();
    let schedule = PostDataSchedule::new(&dump, &populated());
    for _ in 0..2 {
        let keys = client.query("SELECT key FROM public.journal", &[]).await.unwrap();
        let journal = TableJournal(Mutex::new(keys.iter().map(|row| row.get(0)).collect()));
        let run = run_of(&dump, &journal);
        run.pre_data(&client, &entries).await.unwrap();
        let lanes = lanes("barkeep_schema_d", &dump).await;
        assert_eq!(run.post_data(&each(&lanes), &schedule, &mut |_| ()).await.unwrap(), []);
    }
    let count: i64 = client.query_one("SELECT count(*) FROM public.journal", &[]).await.unwrap().get(0);
    assert_eq!(usize::try_from(count).unwrap(), entries.len() + schedule.jobs().len());
}

#[tokio::test]
async fn an_error_names_the_object_and_ends_the_run() {
    let _alone = alone().await;
    let mut dump = fixture();
    let client = fresh("barkeep_schema_e").await;
    prepare(&client, &dump).await.unwrap();
    let index = dump.entries.iter_mut().find(|entry| entry.name == "orders_day").unwrap();
    index.definition = "CREATE INDEX orders_day ON market.orders USING btree (nothing)".to_owned();
    let run = run_of(&dump, &NoJournal);
    run.pre_data(&client, &pre_data(&dump)).await.unwrap();
    let schedule = PostDataSchedule::new(&dump, &[]);
    let error = run
        .post_data(&each(&lanes("barkeep_schema_e", &dump).await), &schedule, &mut |_| ())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), r#"INDEX market.orders_day: column "nothing" does not exist"#);
    assert_eq!(error.sqlstate(), Some("42703"));
}

/// Restores these entries into a database that has others already.
async fn restore_beside(database: &str, dump: &SchemaDump, populated: &[TableName]) {
    let client = connect(database).await;
    prepare(&client, dump).await.unwrap();
    let run = run_of(dump, &NoJournal);
    run.pre_data(&client, &pre_data(dump)).await.unwrap();
    let schedule = PostDataSchedule::new(dump, populated);
    assert_eq!(run.post_data(&each(&lanes(database, dump).await), &schedule, &mut |_| ()).await.unwrap(), []);
}

#[tokio::test]
async fn a_schema_restored_under_another_name_is_the_same_but_for_the_name() {
    let _alone = alone().await;
    use crate::plan::ddl::{Renames, Selection, rename};
    restore("barkeep_schema_f", &fixture()).await;
    let original = dump("barkeep_schema_f").await;
    let chosen = Selection { table: &|table| table.schema == "market", schema: &|schema| schema == "market" };
    let chosen = chosen.apply(&original).dump;
    let renames = Renames { schemas: [("market".into(), "recovery".into())].into(), ..Renames::default() };
    let renamed = rename(&chosen, &renames).dump;
    restore_beside("barkeep_schema_f", &renamed, &[]).await;
    let after = dump("barkeep_schema_f").await;
    // Not even the original has changed.
    let left = Selection { table: &|table| table.schema == "market", schema: &|schema| schema == "market" };
    assert_eq!(essence(&left.apply(&after).dump), essence(&chosen));
    let copy =
        Selection { table: &|table| table.schema == "recovery", schema: &|schema| schema == "recovery" };
    let plain = |texts: Vec<String>| -> Vec<String> {
        let mut texts: Vec<String> =
            texts.iter().map(|text| text.replace(r#"\"recovery\""#, "recovery")).collect();
        texts.sort();
        texts
    };
    let (want, got) = (plain(essence(&renamed)), plain(essence(&copy.apply(&after).dump)));
    let missing: Vec<&String> = want.iter().filter(|text| !got.contains(text)).collect();
    let extra: Vec<&String> = got.iter().filter(|text| !want.contains(text)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
}

#[tokio::test]
async fn a_table_restored_beside_the_original_has_all_that_belongs_to_it() {
    let _alone = alone().await;
    use crate::plan::ddl::{Renames, Selection, rename};
    restore("barkeep_schema_g", &fixture()).await;
    let original = dump("barkeep_schema_g").await;
    let (old, new) = (TableName::new("market", "orders"), TableName::new("market", "orders_old"));
    let chosen = Selection { table: &|table| *table == old, schema: &|_| false }.apply(&original).dump;
    let renames = Renames { tables: [(old, new.clone())].into(), ..Renames::default() };
    let renamed = rename(&chosen, &renames);
    restore_beside("barkeep_schema_g", &renamed.dump, &[]).await;
    let after = dump("barkeep_schema_g").await;
    let copy = Selection { table: &|table| *table == new, schema: &|_| false }.apply(&after).dump;
    assert_eq!(copy.entries.len(), chosen.entries.len());
    let kept = essence(&after);
    assert!(essence(&chosen).iter().all(|entry| kept.contains(entry)), "the original has changed");
}

#[tokio::test]
async fn the_stored_script_makes_the_same_schema_as_the_entries() {
    let _alone = alone().await;
    let dump_of_fixture = fixture();
    let client = fresh("barkeep_schema_h").await;
    let mut ordered: Vec<&SchemaEntry> = pre_data(&dump_of_fixture);
    let rest = dump_of_fixture.entries.iter().filter(|entry| !ordered.contains(entry)).collect::<Vec<_>>();
    ordered.extend(rest);
    let text = crate::plan::ddl::script(&dump_of_fixture, ordered, &RestoreOptions::default());
    client.batch_execute(&text).await.unwrap();
    restore("barkeep_schema_i", &dump_of_fixture).await;
    assert_eq!(essence(&dump("barkeep_schema_h").await), essence(&dump("barkeep_schema_i").await));
}

/// What only a superuser may make.
const FOR_SUPERUSERS: [&str; 8] = [
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "SERVER",
    "USER MAPPING",
    "FOREIGN TABLE",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PUBLICATION TABLE",
];

#[tokio::test]
async fn the_owner_of_a_database_restores_without_being_superuser() {
    let _alone = alone().await;
    let mut dump = fixture();
    dump.entries.retain(|entry| !FOR_SUPERUSERS.contains(&&*entry.kind));
    let admin = fresh("barkeep_schema_j").await;
    let _ = admin.batch_execute("CREATE ROLE barkeep_test_owner LOGIN").await;
    // The extension is the superuser's, with its usual comment: neither may be an obstacle.
    let setup = "CREATE EXTENSION pg_trgm; ALTER DATABASE barkeep_schema_j OWNER TO barkeep_test_owner";
    admin.batch_execute(setup).await.unwrap();
    let mut config = server();
    let (client, connection) =
        config.user("barkeep_test_owner").dbname("barkeep_schema_j").connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    prepare(&client, &dump).await.unwrap();
    let options = RestoreOptions { owners: false, privileges: false, ..RestoreOptions::default() };
    let run = Run { dump: &dump, options: &options, journal: &NoJournal, events: &Silent };
    run.pre_data(&client, &pre_data(&dump)).await.unwrap();
    let schedule = PostDataSchedule::new(&dump, &populated());
    assert_eq!(run.post_data(&[&client], &schedule, &mut |_| ()).await.unwrap(), []);
}
