//! Parts of a backup, under other names, into what is there already, by whoever owns it.

use std::sync::{Arc, Mutex};

use barkeep::base::{Event, Events, TableName};
use barkeep::catalog::Pattern;
use barkeep::ops::Services;
use barkeep::ops::restore::{Mode, RestoreRequest, restore};
use barkeep::ops::verify::Level;
use barkeep::store::BackupChoice;

use crate::bench_world::{World, assert_same_schema, run, value};

const SOURCE: &str = "CREATE SCHEMA desk;
     CREATE TABLE desk.users (id bigint PRIMARY KEY, name text);
     CREATE TABLE desk.orders (id bigint PRIMARY KEY, owner bigint REFERENCES desk.users, price numeric(18,6));
     CREATE INDEX orders_owner ON desk.orders (owner);
     INSERT INTO desk.users SELECT i, 'user ' || i FROM generate_series(1, 100) i;
     INSERT INTO desk.orders SELECT i, 1 + i % 100, i * 0.5 FROM generate_series(1, 1000) i";

fn pattern(text: &str) -> Vec<Pattern> {
    vec![Pattern::parse(text).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_comes_back_under_another_name_beside_the_original() {
    let world = World::with(SOURCE).await;
    world.dump().await;
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    world
        .restore_with(target.clone(), |request| {
            request.create = false;
            request.schemas = pattern("desk");
            request.map_schema = vec![("desk".into(), "recovery".into())];
        })
        .await
        .unwrap();
    let sum = "SELECT count(*) || ' ' || sum(price) FROM recovery.orders";
    assert_eq!(value(&target, sum).await.as_deref(), Some("1000 250250.000000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_comes_back_under_another_name() {
    let world = World::with(SOURCE).await;
    world.dump().await;
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    world
        .restore_with(target.clone(), |request| {
            request.create = false;
            request.tables = pattern("desk.users");
            request.rename = vec![(TableName::new("desk", "users"), TableName::new("desk", "users_old"))];
        })
        .await
        .unwrap();
    assert_eq!(value(&target, "SELECT count(*) FROM desk.users_old").await.as_deref(), Some("100"));
    assert_eq!(value(&target, "SELECT count(*) FROM desk.users").await.as_deref(), Some("100"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_missing_rows_come_back_and_changed_ones_stay() {
    let world = World::with(SOURCE).await;
    world.dump().await;
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    run(&target, "DELETE FROM desk.orders WHERE id <= 10; UPDATE desk.orders SET price = 7 WHERE id = 11")
        .await;
    world
        .restore_with(target.clone(), |request| {
            request.create = false;
            request.data_only = true;
            request.tables = pattern("desk.orders");
            request.mode = Mode::OnlyMissing;
        })
        .await
        .unwrap();
    assert_eq!(value(&target, "SELECT count(*) FROM desk.orders").await.as_deref(), Some("1000"));
    assert_eq!(
        value(&target, "SELECT price FROM desk.orders WHERE id = 11").await.as_deref(),
        Some("7.000000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_brings_a_slice_back_and_nothing_else() {
    let world = World::with(SOURCE).await;
    world.dump().await;
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    run(&target, "UPDATE desk.orders SET price = 7 WHERE id IN (11, 900)").await;
    world
        .restore_with(target.clone(), |request| {
            request.create = false;
            request.data_only = true;
            request.tables = pattern("desk.orders");
            request.where_ = vec![(Pattern::parse("desk.orders").unwrap(), "id <= 100".into())];
            request.mode = Mode::Replace;
        })
        .await
        .unwrap();
    let prices = "SELECT string_agg(price::text, ' ' ORDER BY id) FROM desk.orders WHERE id IN (11, 900)";
    assert_eq!(value(&target, prices).await.as_deref(), Some("5.500000 7.000000"));
    assert_eq!(value(&target, "SELECT count(*) FROM desk.orders").await.as_deref(), Some("1000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_in_the_source_are_reported_and_their_key_is_left_unproven() {
    let world = World::with(SOURCE).await;
    world
        .run("SET session_replication_role = replica; INSERT INTO desk.orders VALUES (5000, 999, 1); RESET session_replication_role")
        .await;
    world.dump().await;
    let target = world.copy("copy");
    let report = world.restore(target.clone()).await;
    assert_eq!(report.violations.len(), 1, "{:?}", report.violations);
    let valid = "SELECT convalidated::text FROM pg_constraint WHERE conname = 'orders_owner_fkey'";
    assert_eq!(value(&target, valid).await.as_deref(), Some("false"));
    assert!(world.compare(target).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_without_superuser_dumps_and_restores_all_he_owns() {
    let world = World::with("").await;
    let owner = format!("owner_{}", world.database);
    world
        .run(&format!(
            "CREATE ROLE {owner} LOGIN CREATEDB; ALTER DATABASE {} OWNER TO {owner}",
            world.database
        ))
        .await;
    run(&world.role(&owner), SOURCE).await;
    let as_owner = world.role(&owner);
    world.dump_with(|request| request.database = as_owner).await.unwrap();
    let target = barkeep::pg::ConnectionSettings { user: owner, ..world.copy("copy") };
    let report = world.restore_with(target.clone(), |_| ()).await.unwrap();
    assert!(report.violations.is_empty());
    assert!(world.compare(target).await.is_equal());
}

/// Hands every event to a closure.
struct Hook<F>(F);

impl<F: Fn(&Event) + Send + Sync> Events for Hook<F> {
    fn emit(&self, event: Event) {
        (self.0)(&event);
    }
}

fn hooked(hook: impl Fn(&Event) + Send + Sync + 'static) -> Services {
    Services { events: Arc::new(Hook(hook)), ..Services::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_come_first_with_their_root() {
    let world = World::with(
        "CREATE TABLE days (d int, v text) PARTITION BY RANGE (d);
         CREATE TABLE leaf_a PARTITION OF days FOR VALUES FROM (0) TO (10);
         CREATE TABLE leaf_b PARTITION OF days FOR VALUES FROM (10) TO (20);
         CREATE TABLE larger (i int); INSERT INTO larger SELECT generate_series(1, 20000);
         INSERT INTO days SELECT i, 'v' FROM generate_series(0, 19) i",
    )
    .await;
    world.dump().await;
    for (suffix, first, expected) in [("plain", "", "larger"), ("first", "days", "leaf_a")] {
        let order = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&order);
        let services = hooked(move |event| {
            if let Event::TableDone { table, .. } = event {
                told.lock().unwrap().push(table.name.clone());
            }
        });
        let mut request = RestoreRequest::new(&world.vault, BackupChoice::latest(), world.copy(suffix));
        (request.create, request.jobs) = (true, 1);
        request.first = if first.is_empty() { Vec::new() } else { pattern(first) };
        restore(&request, &services).await.unwrap();
        assert_eq!(order.lock().unwrap()[0], expected, "--first {first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_left_out_stays_so_when_the_restore_goes_on() {
    let world = World::with(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2);
         CREATE TABLE b (id int REFERENCES a); INSERT INTO b VALUES (1);
         CREATE TABLE z (id int); CREATE INDEX z_id ON z (id); CREATE VIEW v AS SELECT * FROM z",
    )
    .await;
    // A key that its rows violate, as a damaged index lets happen.
    world
        .run("UPDATE pg_index SET indisready = false, indislive = true WHERE indexrelid = 'a_pkey'::regclass; INSERT INTO a VALUES (1);
              UPDATE pg_index SET indisready = true WHERE indexrelid = 'a_pkey'::regclass")
        .await;
    world.dump().await;
    let target = world.copy("copy");
    let stop = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&stop);
    let services = hooked(move |event| {
        if matches!(event, Event::Step { what } if what.contains("a_pkey")) {
            told.notify_one();
        }
    });
    let mut request = RestoreRequest::new(&world.vault, BackupChoice::latest(), target.clone());
    (request.create, request.jobs) = (true, 1);
    tokio::select! {
        biased;
        () = stop.notified() => {}
        done = restore(&request, &services) => panic!("it should have been stopped: {done:?}"),
    }
    let recorded = "SELECT count(*) FROM barkeep_restore.journal WHERE detail LIKE '%left-out%'";
    assert_eq!(value(&target, recorded).await.as_deref(), Some("1"));
    // Were it tried again, it would succeed now.
    run(&target, "DELETE FROM a WHERE ctid = (SELECT max(ctid) FROM a WHERE id = 1)").await;
    request.create = false;
    let report = restore(&request, &Services::default()).await.unwrap();
    assert!(report.resumed);
    assert_eq!(report.violations.len(), 1, "{:?}", report.violations);
    assert!(report.violations[0].constraint.contains("a_pkey"));
    assert!(
        report.violations[0].lost.iter().any(|lost| lost.contains("b_id_fkey")),
        "{:?}",
        report.violations
    );
    assert_eq!(
        value(&target, "SELECT count(*) FROM pg_constraint WHERE conname = 'a_pkey'").await.as_deref(),
        Some("0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attestations_say_when() {
    let world = World::with("CREATE TABLE a (i int); INSERT INTO a VALUES (1)").await;
    world.dump().await;
    world.verify(Level::Hash).await;
    world.compare(world.source()).await;
    let id = world.vault.manifests().unwrap().remove(0).manifest.head.id;
    let times: Vec<String> = world
        .vault
        .attestations(&id)
        .unwrap()
        .iter()
        .map(|attestation| attestation["time"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(times.len(), 2);
    let age = format!(
        "SELECT bool_and(t::timestamptz BETWEEN now() - interval '1 min' AND now() + interval '1 s') FROM unnest(ARRAY['{}', '{}']) t",
        times[0], times[1]
    );
    assert_eq!(value(&world.source(), &age).await.as_deref(), Some("t"), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_into_tables_that_refer_in_a_circle_are_refused_by_the_names_of_the_keys() {
    let world = World::with(
        "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
         CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree);
         INSERT INTO a VALUES (1, 1), (2, NULL); INSERT INTO b VALUES (1, 1);
         INSERT INTO tree SELECT i, NULLIF((i * 7 + 3) % 5000, i) FROM generate_series(0, 4999) i;
         ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b",
    )
    .await;
    world.dump().await;
    let target = world.copy("copy");
    world.restore_with(target.clone(), |request| request.schema_only = true).await.unwrap();
    let rows_only = |request: &mut RestoreRequest<'_>| (request.create, request.data_only) = (false, true);
    let failed = world.restore_with(target.clone(), rows_only).await.unwrap_err();
    let text = failed.to_string();
    assert!(text.contains("a_b_fkey (public.a to public.b)"), "{text}");
    assert!(text.contains("b_a_fkey (public.b to public.a)") && !text.contains("tree_parent_fkey"), "{text}");
    assert_eq!(failed.exit_code(), 42);
    // What the message says is the way out.
    run(&target, "ALTER TABLE a DROP CONSTRAINT a_b_fkey").await;
    let report = world.restore_with(target.clone(), rows_only).await.unwrap();
    assert!(report.resumed);
    run(&target, "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b").await;
    assert!(world.compare(target).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn phases_are_told_apart_and_foreign_keys_are_validated_after_the_rows() {
    let world = World::with(SOURCE).await;
    world
        .run(
            "CREATE FUNCTION desk.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER t BEFORE INSERT ON desk.orders FOR EACH ROW EXECUTE FUNCTION desk.f();
             CREATE SEQUENCE desk.s; CREATE MATERIALIZED VIEW desk.m AS SELECT count(*) FROM desk.orders",
        )
        .await;
    world.dump().await;
    let target = world.copy("copy");
    let report = world.restore_with(target.clone(), |request| request.jobs = 3).await.unwrap();
    let names: Vec<&str> = report.phases.iter().map(|phase| phase.name).collect();
    assert_eq!(
        names,
        [
            "preflight",
            "schema",
            "sequences",
            "data",
            "indexes",
            "foreign keys",
            "triggers",
            "materialized views",
            "analyze"
        ]
    );
    let sum: f64 = report.phases.iter().map(|phase| phase.seconds).sum();
    assert!((report.seconds - sum).abs() < 0.05 && report.phases.iter().all(|phase| phase.seconds > 0.0));
    let unvalidated = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated";
    assert_eq!(value(&target, unvalidated).await.as_deref(), Some("0"));
    // The control: of a database without any of it there are no such phases.
    let plain = World::dumped("CREATE TABLE t AS SELECT 1 AS x").await;
    let report = plain.restore(plain.copy("copy")).await;
    let names: Vec<&str> = report.phases.iter().map(|phase| phase.name).collect();
    assert_eq!(names, ["preflight", "schema", "sequences", "data", "indexes", "analyze"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_that_the_restore_has_made_is_frozen_and_others_are_not() {
    let large =
        "SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS noise FROM generate_series(1, 250000) i";
    let world = World::with(&format!(
        "CREATE TABLE large AS {large}; CREATE TABLE small AS SELECT i AS id FROM generate_series(1, 1000) i"
    ))
    .await;
    world.dump().await;
    let frozen = async |target: &barkeep::pg::ConnectionSettings, table: &str| {
        let sql = format!(
            "SELECT relallvisible = relpages AND relpages > 0 FROM pg_class WHERE oid = '{table}'::regclass"
        );
        value(target, &sql).await.as_deref() == Some("t")
    };
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    assert!(frozen(&target, "large").await && !frozen(&target, "small").await);
    assert!(world.compare(target.clone()).await.is_equal());
    // Into a table that was there, with a row that nobody may lose.
    let filled = world.copy("filled");
    world.run(&format!("CREATE DATABASE {}", filled.database)).await;
    run(&filled, "CREATE TABLE large (id int, noise text) WITH (autovacuum_enabled = off); INSERT INTO large VALUES (0, 'mine')").await;
    let append = |request: &mut RestoreRequest<'_>| {
        (request.create, request.mode, request.tables) = (false, Mode::Append, pattern("large"));
    };
    world.restore_with(filled.clone(), append).await.unwrap();
    assert!(!frozen(&filled, "large").await);
    assert_eq!(value(&filled, "SELECT count(*) FROM large").await.as_deref(), Some("250001"));
}

/// What a restore on one lane says it does, in order: tables whose rows come, and steps.
async fn told(world: &World, suffix: &str) -> Vec<String> {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&log);
    let services = hooked(move |event| {
        let word = match event {
            Event::Progress { table, .. } => format!("rows of {table}"),
            Event::Step { what } => what.clone(),
            Event::Phase(name) => format!("phase {name}"),
            _ => return,
        };
        let mut seen = seen.lock().unwrap();
        if seen.last() != Some(&word) {
            seen.push(word);
        }
    });
    let target = world.copy(suffix);
    let mut request = RestoreRequest::new(&world.vault, BackupChoice::latest(), target.clone());
    (request.create, request.jobs) = (true, 1);
    restore(&request, &services).await.unwrap();
    assert!(world.compare(target.clone()).await.is_equal());
    assert_same_schema(&world.source(), &target);
    let told = log.lock().unwrap().clone();
    let wanted = ["rows of ", "INDEX ", "CONSTRAINT ", "FK CONSTRAINT ", "phase data", "phase indexes"];
    told.into_iter().filter(|word| wanted.iter().any(|wanted| word.starts_with(wanted))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_indexed_when_its_rows_are_there_and_what_others_could_have_a_say_in_when_all_are() {
    let world = World::dumped(
        "CREATE TABLE a (id int PRIMARY KEY, t text); CREATE TABLE b (id int PRIMARY KEY);
         CREATE FUNCTION looks(i int) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT count(*) FROM public.b WHERE id < i';
         CREATE TABLE c (id int PRIMARY KEY REFERENCES a);
         INSERT INTO a SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
         INSERT INTO b SELECT generate_series(1, 4000); INSERT INTO c SELECT generate_series(1, 3000);
         CREATE INDEX a_t ON a (t); CREATE INDEX a_looks ON a (looks(id)) WHERE id < 9",
    )
    .await;
    assert_eq!(
        told(&world, "copy").await,
        [
            "phase data",
            "rows of public.a",
            "CONSTRAINT public.a a_pkey",
            "INDEX public.a_t",
            "rows of public.b",
            "CONSTRAINT public.b b_pkey",
            "rows of public.c",
            "phase indexes",
            "INDEX public.a_looks",
            "CONSTRAINT public.c c_pkey",
            "FK CONSTRAINT public.c c_id_fkey",
        ]
    );
    // What the function looked up was there to be found.
    let copy = world.copy("copy");
    run(&copy, &format!("ALTER DATABASE {} SET enable_seqscan = off", copy.database)).await;
    let found = "SELECT count(*) FROM a WHERE looks(id) = 7 AND id < 9";
    assert_eq!(value(&copy, found).await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_indexed_when_all_rows_of_their_tree_are_there() {
    let world = World::dumped(
        "CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (9000);
         CREATE TABLE r2 PARTITION OF r FOR VALUES FROM (9000) TO (20000);
         CREATE TABLE h (id int PRIMARY KEY) PARTITION BY HASH (id);
         CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE h2 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         CREATE INDEX only_r1 ON r1 (id DESC);
         INSERT INTO r SELECT generate_series(0, 16000); INSERT INTO h SELECT generate_series(1, 200)",
    )
    .await;
    let told = told(&world, "copy").await;
    let place =
        |word: &str| told.iter().position(|told| told == word).unwrap_or_else(|| panic!("{word}: {told:?}"));
    let of_h = place("rows of public.h1").max(place("rows of public.h2"));
    // An index of a partition alone waits for nobody else's rows, a key of the tree for all of them.
    assert!(place("INDEX public.only_r1") < place("rows of public.r2"), "{told:?}");
    assert!(place("rows of public.r2") < place("CONSTRAINT public.r r_pkey"), "{told:?}");
    assert!(place("CONSTRAINT public.r r_pkey") < place("CONSTRAINT public.r1 r1_pkey"), "{told:?}");
    assert!(place("CONSTRAINT public.r2 r2_pkey") < of_h && of_h < place("CONSTRAINT public.h1 h1_pkey"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_analyzed_once_after_what_its_statistics_are_about() {
    // Large enough to be analyzed while the largest one's indexes are built.
    let world = World::dumped(
        "CREATE TABLE walk AS SELECT i AS id, md5(i::text) AS a, md5((i * 7)::text) AS b FROM generate_series(1, 300000) i;
         CREATE INDEX walk_a ON walk (a); CREATE INDEX walk_b ON walk (b);
         CREATE TABLE early AS SELECT i AS id, -i AS minus FROM generate_series(1, 40000) i;
         CREATE INDEX early_abs ON early (abs(minus));
         CREATE TABLE pairs AS SELECT i % 7 AS a, i % 7 AS b FROM generate_series(1, 40000) i;
         CREATE STATISTICS together (dependencies) ON a, b FROM pairs;
         CREATE TABLE few AS SELECT 1 AS x",
    )
    .await;
    let target = world.copy("copy");
    world.restore_with(target.clone(), |request| request.jobs = 2).await.unwrap();
    let counts =
        "SELECT string_agg(relname || ' ' || analyze_count, ', ' ORDER BY relname) FROM pg_stat_user_tables";
    let once = "early 1, few 1, pairs 1, walk 1";
    // A server tells what a session did a moment after it has ended.
    let mut told = None;
    for _ in 0..50 {
        told = value(&target, counts).await;
        if told.as_deref() == Some(once) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(told.as_deref(), Some(once));
    let of_expression = "SELECT n_distinct::text FROM pg_stats WHERE tablename = 'early_abs'";
    assert_eq!(value(&target, of_expression).await.as_deref(), Some("-1"));
    let together = "SELECT dependencies::text FROM pg_stats_ext WHERE statistics_name = 'together'";
    assert!(value(&target, together).await.is_some_and(|found| found.contains("1.000000")));
}
