//! The pack `structure`: every kind of constraint with rows that hold it and rows that break it, and the same constraints out
//! of a server and out of its backup.

use std::collections::BTreeSet;

use barkeep::base::TableName;
use barkeep::catalog::ddl::SchemaDump;

use barkeep::catalog::structure::{Constraint, ForeignKey, Rule, Standing, Structure};
use barkeep::checks::Verdict;
use barkeep::checks::structure::{Files, Witness, structure_question};
use barkeep::ops::check::{CheckOutcome, CheckReport, CheckRequest, CheckSettings, CheckTarget, check};
use barkeep::ops::{OpsError, Services};
use barkeep::pg::{ConnectionSettings, Probe};
use barkeep::plan::ddl::structure::structure_of;

use barkeep::store::BackupChoice;

use crate::bench_world::World;

async fn ask(target: impl Into<CheckTarget>, config: &str) -> Result<CheckReport, OpsError> {
    let mut request = CheckRequest::new(target);
    request.packs = vec!["structure".to_owned()];
    request.sample = 100;
    request.settings = toml::from_str::<CheckSettings>(config).unwrap();
    check(&request, &Services::default()).await
}

pub(crate) async fn structure(database: ConnectionSettings) -> CheckReport {
    ask(database, "").await.unwrap()
}

/// The outcome of one constraint.
pub(crate) fn of<'a>(report: &'a CheckReport, id: &str, object: &str) -> &'a CheckOutcome {
    let named = |one: &&CheckOutcome| one.id == id && one.object.as_deref().unwrap_or_default() == object;
    let all = || report.checks.iter().map(|one| format!("{} {:?}", one.id, one.object)).collect::<Vec<_>>();
    report.checks.iter().find(named).unwrap_or_else(|| panic!("{id} {object:?} of {:#?}", all()))
}

/// The findings of one constraint, each as its values with spaces between; all of them.
pub(crate) fn found(report: &CheckReport, id: &str, object: &str) -> Vec<String> {
    let outcome = of(report, id, object);
    assert_eq!(outcome.findings, outcome.sample.len() as u64, "{outcome:#?}");
    assert!(outcome.note.is_none() && outcome.scanned > 0, "{outcome:#?}");
    let verdict = if outcome.findings == 0 { Verdict::Pass } else { Verdict::Fail };
    assert!(outcome.verdict == verdict || outcome.verdict == Verdict::Warn, "{outcome:#?}");
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
    outcome.sample.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join(" ")).collect()
}

/// As a session that plays replica: keys are not looked at.
fn unseen(sql: &str) -> String {
    format!("SET session_replication_role = replica; {sql}; RESET session_replication_role")
}

const KEYS: &str = "CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b)); INSERT INTO parent VALUES (1, 1);
    CREATE TABLE simple (a int, b int, FOREIGN KEY (a, b) REFERENCES parent);
    CREATE TABLE whole (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES parent MATCH FULL);
    CREATE TABLE elder (id int PRIMARY KEY, boss int REFERENCES elder);
    CREATE TABLE child () INHERITS (elder);
    CREATE TABLE days (day date, n int, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    CREATE TABLE notes (day date, n int, FOREIGN KEY (day, n) REFERENCES days) PARTITION BY LIST (n);
    CREATE TABLE notes_1 PARTITION OF notes FOR VALUES IN (1);
    CREATE TABLE notes_2 PARTITION OF notes FOR VALUES IN (2);
    INSERT INTO days VALUES ('2026-01-05', 1), ('2026-02-05', 2)";

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_as_postgresql_means_its_foreign_keys() {
    let world = World::with(KEYS).await;
    world.run("INSERT INTO simple VALUES (1, 1), (NULL, 9); INSERT INTO whole VALUES (0, 1, 1), (-1, NULL, NULL)").await;
    world.run("INSERT INTO notes SELECT * FROM days; INSERT INTO elder VALUES (1, NULL), (2, 1)").await;
    let keys = [
        "public.simple simple_a_b_fkey",
        "public.whole whole_a_b_fkey",
        "public.notes notes_day_n_fkey",
        "public.elder elder_boss_fkey",
    ];
    let report = structure(world.source()).await;
    assert!(keys.iter().all(|key| found(&report, "S1", key).is_empty()));
    assert_eq!(
        report.checks.iter().filter(|one| one.id == "S1").count(),
        keys.len(),
        "one for each key, not for partitions"
    );
    let rows = "(NULL, NULL), (1, NULL), (9, 9), (9, NULL), (NULL, 9)";
    world.run(&unseen(&format!("INSERT INTO simple VALUES {rows}; INSERT INTO whole SELECT row_number() OVER (), * FROM (VALUES {rows}) v"))).await;
    // A key of a parent table does not hold of those that inherit from it, and their rows are nobody's parents.
    world.run(&unseen("INSERT INTO notes VALUES ('2026-01-06', 1), ('2026-02-05', 1); INSERT INTO child VALUES (7, 99); INSERT INTO elder VALUES (8, 7)")).await;
    let report = structure(world.source()).await;
    assert_eq!(found(&report, "S1", keys[0]), ["9 9"]);
    assert_eq!(found(&report, "S1", keys[1]), ["1 NULL 2", "9 9 3", "9 NULL 4", "NULL 9 5"]);
    assert_eq!(found(&report, "S1", keys[2]), ["2026-01-06 1", "2026-02-05 1"]);
    assert_eq!(found(&report, "S1", keys[3]), ["7 8"]);
    assert!(!report.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_compared_in_their_own_way_are_compared_so() {
    let world = World::with(
        "CREATE EXTENSION citext; CREATE TABLE p (name citext PRIMARY KEY, code text UNIQUE);
         CREATE TABLE c (name citext REFERENCES p, code text COLLATE \"C\" REFERENCES p (code), big bigint);
         CREATE TABLE i (id int PRIMARY KEY); ALTER TABLE c ADD FOREIGN KEY (big) REFERENCES i NOT VALID;
         INSERT INTO p VALUES ('Desk', 'x'); INSERT INTO i VALUES (1); INSERT INTO c VALUES ('DESK', 'x', 1)",
    )
    .await;
    let keys = ["public.c c_name_fkey", "public.c c_code_fkey", "public.c c_big_fkey, NOT VALID"];
    let report = structure(world.source()).await;
    assert!(keys.iter().all(|key| found(&report, "S1", key).is_empty()));
    world.run(&unseen("INSERT INTO c VALUES ('dusk', 'X', 4294967297)")).await;
    let report = structure(world.source()).await;
    let values = ["dusk", "X", "4294967297"];
    for (key, value) in keys.iter().zip(values) {
        assert_eq!(found(&report, "S1", key), [value]);
    }
}

/// What no statement can do to a table any more.
const BROKEN: &str = "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b int NOT NULL, c int UNIQUE NULLS NOT DISTINCT, d int, e int);
    CREATE UNIQUE INDEX t_live ON t (d) WHERE e > 0;
    INSERT INTO t VALUES (1, 'x', 1, 1, 1, 1), (2, 'y', 2, NULL, NULL, 1), (3, 'z', 3, 3, 1, 0), (4, 'z', 4, 4, NULL, 1);
    CREATE TABLE bare (x int NOT NULL); INSERT INTO bare VALUES (1)";

#[tokio::test(flavor = "multi_thread")]
async fn missing_values_and_duplicates_are_found_although_the_server_thinks_there_are_none() {
    let world = World::with(BROKEN).await;
    let keys = ["public.t t_pkey", "public.t t_c_key", "public.t t_live"];
    let report = structure(world.source()).await;
    assert!(keys.iter().all(|key| found(&report, "S3", key).is_empty()));
    assert!(
        found(&report, "S2", "public.t (id, a, b)").is_empty()
            && found(&report, "S2", "public.bare (x)").is_empty()
    );
    let all = "attrelid IN ('t'::regclass, 'bare'::regclass) AND attname IN ('a', 'b', 'x')";
    let indexes = "indrelid = 't'::regclass";
    world
        .run(&format!(
            "UPDATE pg_attribute SET attnotnull = false WHERE {all}; UPDATE pg_index SET indisready = false WHERE {indexes};
             INSERT INTO t VALUES (1, NULL, 7, 1, 1, 9), (6, NULL, NULL, NULL, NULL, NULL); INSERT INTO bare VALUES (NULL);
             UPDATE pg_attribute SET attnotnull = true WHERE {all}; UPDATE pg_index SET indisready = true WHERE {indexes}"
        ))
        .await;
    // An index that has not heard of the new rows must not answer.
    world.run(&format!("ALTER DATABASE \"{}\" SET enable_seqscan = off", world.database)).await;
    let report = structure(world.source()).await;
    assert_eq!(found(&report, "S2", "public.t (id, a, b)"), ["1 a", "6 a, b"]);
    assert_eq!(found(&report, "S2", "public.bare (x)"), ["x"]);
    assert_eq!(found(&report, "S3", keys[0]), ["1 2"]);
    assert_eq!(found(&report, "S3", keys[1]), ["1 2", "NULL 2"]);
    assert_eq!(
        found(&report, "S3", keys[2]),
        ["1 2"],
        "where e is 0 it does not hold, and NULLs are distinct"
    );
    assert_eq!(found(&report, "S7", ""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_asked_again_whether_valid_or_not() {
    let world = World::with(
        "CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 100';
         CREATE TABLE t (id int PRIMARY KEY, \"Px\" numeric, n int, CONSTRAINT px CHECK (\"Px\" > 0), CONSTRAINT fits CHECK (fits(n)));
         CREATE TABLE kid () INHERITS (t);
         INSERT INTO t VALUES (1, 1, 1); INSERT INTO kid VALUES (3, 3, 3);
         CREATE TABLE rows (x int, CONSTRAINT whole CHECK (rows IS NOT NULL)); INSERT INTO rows VALUES (1);
         CREATE TABLE old (x int); INSERT INTO old VALUES (-1), (1), (NULL); ALTER TABLE old ADD CONSTRAINT late CHECK (x > 0) NOT VALID",
    )
    .await;
    let report = structure(world.source()).await;
    for name in ["t px", "t fits", "rows whole"] {
        assert!(found(&report, "S5", &format!("public.{name}")).is_empty());
    }
    assert_eq!(found(&report, "S5", "public.old late, NOT VALID"), ["-1"], "NULL breaks no condition");
    // The function changed its mind, also about rows of a table that inherits.
    world
        .run("CREATE OR REPLACE FUNCTION fits(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 1'")
        .await;
    let report = structure(world.source()).await;
    assert_eq!(found(&report, "S5", "public.t fits"), ["1 1", "3 3"]);
    assert_eq!(
        report.checks.iter().filter(|one| one.id == "S5").count(),
        4,
        "what is inherited is asked once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_behind_its_column_is_found_whichever_way_it_counts() {
    let world = World::with(
        "CREATE TABLE ahead (id serial); CREATE TABLE behind (id bigserial); CREATE TABLE fresh (id int GENERATED ALWAYS AS IDENTITY);
         CREATE SEQUENCE down INCREMENT -1 MINVALUE -1000 MAXVALUE 1000 START 10; CREATE TABLE falls (id int DEFAULT nextval('down'));
         CREATE SEQUENCE ring MAXVALUE 5 CYCLE; CREATE TABLE rings (id int DEFAULT nextval('ring'));
         INSERT INTO ahead SELECT FROM generate_series(1, 5); INSERT INTO falls SELECT FROM generate_series(1, 3); INSERT INTO rings VALUES (9);
         INSERT INTO behind SELECT FROM generate_series(1, 10); INSERT INTO behind VALUES (10);
         INSERT INTO fresh OVERRIDING SYSTEM VALUE VALUES (0)",
    )
    .await;
    let objects = [
        "public.ahead (id) public.ahead_id_seq",
        "public.behind (id) public.behind_id_seq",
        "public.fresh (id) public.fresh_id_seq",
        "public.falls (id) public.down",
    ];
    let report = structure(world.source()).await;
    assert!(objects.iter().all(|object| found(&report, "S6", object).is_empty()));
    assert_eq!(
        report.checks.iter().filter(|one| one.id == "S6").count(),
        objects.len(),
        "one that cycles is never behind"
    );
    world.run("INSERT INTO behind VALUES (50); INSERT INTO fresh OVERRIDING SYSTEM VALUE VALUES (7); INSERT INTO falls VALUES (7), (99)").await;
    let report = structure(world.source()).await;
    assert_eq!(found(&report, "S6", objects[0]), Vec::<String>::new());
    assert_eq!(found(&report, "S6", objects[1]), ["10 50"]);
    assert_eq!(found(&report, "S6", objects[2]), ["0 7"], "no number was given out yet");
    assert_eq!(found(&report, "S6", objects[3]), ["8 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_triggers_and_invalid_indexes_are_warnings() {
    let world = World::with(KEYS).await;
    let report = structure(world.source()).await;
    assert!(found(&report, "S1b", "").is_empty() && found(&report, "S7", "").is_empty());
    world.run("ALTER TABLE simple DISABLE TRIGGER ALL; CREATE INDEX half ON whole (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass").await;
    let report = structure(world.source()).await;
    assert_eq!(found(&report, "S1b", ""), ["public.simple simple_a_b_fkey"]);
    assert_eq!(found(&report, "S7", ""), ["public.whole half f"]);
    assert_eq!(of(&report, "S7", "").verdict, Verdict::Warn);
    assert!(report.is_sound());
}

const DECLARED: &str = r#"
[[relation]]
child = "public.fills.account"
parent = "accounts.id"
when = "NOT test"
[[relation]]
child = ["fills.venue", "fills.code"]
parent = ["venues.venue", "venues.code"]
match = "full"
[[unique]]
columns = ["fills.venue", "fills.exec"]
[[not_null]]
columns = "fills.px"
when = "NOT test"
[[accepted]]
column = "fills.side"
values = ["buy", "it's"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_states_is_asked_like_what_the_database_knows() {
    let world = World::with(
        "CREATE TABLE accounts (id int); CREATE TABLE venues (venue text, code text); INSERT INTO accounts VALUES (1); INSERT INTO venues VALUES ('X', 'a');
         CREATE TABLE fills (account int, test boolean, venue text, code text, exec text, px numeric, side text);
         INSERT INTO fills VALUES (1, false, 'X', 'a', '1', 1, 'buy'), (9, true, NULL, NULL, '1', NULL, 'it''s'), (1, false, 'X', 'a', NULL, 2, NULL), (1, false, 'X', 'a', NULL, 2, NULL)",
    )
    .await;
    let objects = [
        ("S1", "public.fills (account) → public.accounts"),
        ("S1", "public.fills (venue, code) → public.venues"),
        ("S2", "public.fills (px)"),
        ("S3", "public.fills (venue, exec)"),
        ("S4", "public.fills (side)"),
    ];
    let report = ask(world.source(), DECLARED).await.unwrap();
    assert!(objects.iter().all(|(id, object)| found(&report, id, object).is_empty()));
    world.run("INSERT INTO fills VALUES (8, false, 'X', NULL, '1', NULL, 'BUY')").await;
    let report = ask(world.source(), DECLARED).await.unwrap();
    let expected = ["8", "X NULL", "px", "X 1 2", "BUY 1"];
    for ((id, object), row) in objects.iter().zip(expected) {
        assert_eq!(found(&report, id, object), [row], "{id}");
    }
    // A limit of one's own, and a check that is switched off.
    let limits = format!(
        "{DECLARED}\n[override.S4]\nseverity = 'warn'\n[override.missing-value]\noff = true\n[override.s3]\nerror_if = '> 50%'"
    );
    let report = ask(world.source(), &limits).await.unwrap();
    assert_eq!(of(&report, "S4", objects[4].1).verdict, Verdict::Warn);
    assert_eq!(of(&report, "S2", objects[2].1).verdict, Verdict::Skipped);
    assert_eq!(of(&report, "S3", objects[3].1).verdict, Verdict::Warn);
    // Where somebody states something of rows, no rows are odd.
    world.run("TRUNCATE fills").await;
    let report = ask(world.source(), DECLARED).await.unwrap();
    assert_eq!(of(&report, objects[0].0, objects[0].1).verdict, Verdict::Error);
    assert!(!report.is_sound());
    for (config, words) in [
        (
            "[[relation]]\nchild = 'fills.acct'\nparent = 'accounts.id'",
            "[[checks.relation]] child = \"fills.acct\": public.fills has no such column",
        ),
        (
            "[[accepted]]\ncolumn = 'orders.side'\nvalues = ['x']",
            "[[checks.accepted]] column = \"orders.side\": the database has no such table",
        ),
    ] {
        let error = ask(world.source(), config).await.unwrap_err();
        assert!(matches!(error, OpsError::Usage(_)) && error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_skipped_and_what_cannot_be_asked_is_an_error_of_one_constraint() {
    let world = World::with(KEYS).await;
    let report = structure(world.source()).await;
    let empty = of(&report, "S1", "public.simple simple_a_b_fkey");
    assert_eq!((empty.verdict, empty.note.as_deref()), (Verdict::Skipped, Some("no rows")));
    assert!(report.is_sound(), "{:#?}", report.checks);
    // A condition that fails instead of answering.
    world.run("CREATE TABLE odd (x int, CONSTRAINT odd CHECK (1 / x > 0)); UPDATE pg_constraint SET convalidated = false WHERE conname = 'odd'").await;
    world.run("ALTER TABLE odd DROP CONSTRAINT odd; INSERT INTO odd VALUES (0); ALTER TABLE odd ADD CONSTRAINT odd CHECK (1 / x > 0) NOT VALID").await;
    let report = structure(world.source()).await;
    let odd = of(&report, "S5", "public.odd odd, NOT VALID");
    assert_eq!(odd.verdict, Verdict::Error);
    assert!(odd.note.as_ref().unwrap().contains("division by zero"), "{:?}", odd.note);
    assert!(found(&report, "S3", "public.parent parent_pkey").is_empty(), "the others have their answers");
    // A database without constraints has nothing to be asked, and that is said.
    let none = World::with("CREATE TABLE pictures (id int)").await;
    let error = ask(none.source(), "").await.unwrap_err().to_string();
    assert!(error.contains("no check could be asked"), "{error}");
}

/// All that there is, with names that want quotes.
const RICH: &str = "CREATE SCHEMA \"Odd.S\"; CREATE SEQUENCE \"Odd.S\".\"free one\" INCREMENT 5; CREATE TYPE side AS ENUM ('b', 's');
    CREATE TABLE \"Odd.S\".\"T \"\"1\" (\"Id\" bigint GENERATED BY DEFAULT AS IDENTITY (INCREMENT 2) PRIMARY KEY, \"a'b\" text NOT NULL UNIQUE,
      n int DEFAULT nextval('\"Odd.S\".\"free one\"'), side side NOT NULL, CONSTRAINT \"c (\" CHECK (\"a'b\" <> ')' AND side = 'b'), CHECK (n > 0) NO INHERIT);
    CREATE UNIQUE INDEX few ON \"Odd.S\".\"T \"\"1\" (n, side) NULLS NOT DISTINCT WHERE \"a'b\" LIKE '% WHERE %';
    CREATE UNIQUE INDEX more ON \"Odd.S\".\"T \"\"1\" (lower(\"a'b\")); CREATE INDEX other ON \"Odd.S\".\"T \"\"1\" (n);
    ALTER TABLE \"Odd.S\".\"T \"\"1\" ADD CONSTRAINT late CHECK (n < 100) NOT VALID;
    CREATE TABLE kid (own serial, CONSTRAINT kids CHECK (own > 0)) INHERITS (\"Odd.S\".\"T \"\"1\"); ALTER TABLE kid ADD PRIMARY KEY (\"Id\");
    CREATE TABLE self (id smallserial PRIMARY KEY, up smallint REFERENCES self DEFERRABLE INITIALLY DEFERRED, t bigint); ALTER TABLE self ADD CONSTRAINT later FOREIGN KEY (t) REFERENCES \"Odd.S\".\"T \"\"1\" ON DELETE CASCADE NOT VALID;
    CREATE SEQUENCE rest OWNED BY self.up; CREATE SEQUENCE ring CYCLE; ALTER TABLE self ADD COLUMN ring int DEFAULT nextval('ring');
    CREATE TABLE days (day date NOT NULL, n serial, x int NOT NULL, CONSTRAINT days_x CHECK (x > 0), PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY LIST (n);
    CREATE TABLE days_1_1 PARTITION OF days_1 (CONSTRAINT more CHECK (x < 9)) FOR VALUES IN (1);
    CREATE TABLE loose (day date NOT NULL, n int NOT NULL, x int NOT NULL, CONSTRAINT days_x CHECK (x > 0), UNIQUE (x)); ALTER TABLE days ATTACH PARTITION loose DEFAULT;
    CREATE TABLE notes (day date, n int, FOREIGN KEY (day, n) REFERENCES days MATCH FULL) PARTITION BY LIST (n); CREATE TABLE notes_1 PARTITION OF notes FOR VALUES IN (1);
    CREATE MATERIALIZED VIEW v AS SELECT 1 AS x; CREATE UNIQUE INDEX ON v (x); CREATE UNLOGGED TABLE u (x int NOT NULL);
    CREATE TABLE ex (r int4range, EXCLUDE USING gist (r WITH &&))";

/// The constraints of the newest backup.
pub(crate) fn of_backup(world: &World) -> Structure {
    let manifest = world.vault.manifests().unwrap().remove(0).manifest;
    let object = &manifest.head.objects[manifest.body.schema.unwrap()];
    let bytes = world.vault.read_checked(&object.path, object.bytes, object.blake3).unwrap();
    let dump: SchemaDump = serde_json::from_slice(&bytes).unwrap();
    let hypertables = manifest.body.timescale.iter().flat_map(|found| &found.hypertables);
    let hypertables: BTreeSet<_> = hypertables.map(|hypertable| hypertable.name.clone()).collect();
    structure_of(&dump, hypertables)
}

/// The constraints of a server, without what a dump cannot know.
pub(crate) async fn of_server(database: &ConnectionSettings) -> Structure {
    let probe = Probe::connect(database).await.unwrap();
    let relations = probe.survey().await.unwrap().relations;
    let mut found = probe.structure(&relations).await.unwrap();
    for constraint in &mut found.constraints {
        if let Rule::ForeignKey(key) = &mut constraint.rule {
            key.comparisons.clear();
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_knows_the_constraints_that_the_server_has() {
    let world = World::dumped(RICH).await;
    let (server, backup) = (of_server(&world.source()).await, of_backup(&world));
    let shown =
        |structure: &Structure| structure.constraints.iter().map(Constraint::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&server), shown(&backup));
    assert_eq!(server, backup);
    assert!(server.unread.is_empty() && server.constraints.len() > 25, "{:#?}", shown(&server));
    // They differ where the databases do.
    world.run("ALTER TABLE u ADD CONSTRAINT later CHECK (x > 0)").await;
    assert_ne!(of_server(&world.source()).await, backup);
}

/// The questions for files, put to a server that has the same rows: they find as many.
#[tokio::test(flavor = "multi_thread")]
async fn the_questions_for_files_find_what_those_for_servers_find() {
    let world =
        World::with(&format!("{KEYS}; CREATE TABLE ids (id serial PRIMARY KEY, x int NOT NULL, UNIQUE (x))"))
            .await;
    world.run(&unseen("INSERT INTO simple VALUES (9, 9), (1, NULL); INSERT INTO whole VALUES (1, 1, NULL), (2, 9, 9); INSERT INTO notes VALUES ('2026-01-06', 1)")).await;
    world.run("UPDATE pg_attribute SET attnotnull = false WHERE attrelid = 'ids'::regclass; UPDATE pg_index SET indisready = false WHERE indrelid = 'ids'::regclass;
        INSERT INTO ids VALUES (5, 1), (5, 1), (6, NULL); UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'ids'::regclass; UPDATE pg_index SET indisready = true WHERE indrelid = 'ids'::regclass").await;
    let structure = of_server(&world.source()).await;
    let probe = Probe::connect(&world.source()).await.unwrap();
    let sequences: Vec<_> =
        probe.sequences().await.unwrap().into_iter().map(|(sequence, _)| sequence).collect();
    let everything = |relation: &barkeep::catalog::Relation| {
        (relation.name.clone(), relation.columns.iter().map(|column| column.name.clone()).collect())
    };
    let comparable = probe.survey().await.unwrap().relations.iter().map(everything).collect();
    let files = Files { sequences, comparable };
    probe.ask("not out of indexes", "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off").await.unwrap();
    let mut found = Vec::new();
    for constraint in &structure.constraints {
        let mut rows = Vec::new();
        for witness in [Witness::Postgres, Witness::Files(&files)] {
            let question = structure_question(constraint, &structure, witness).unwrap();
            assert!(probe.ask("counting", &question.scanned).await.is_ok());
            rows.push(probe.ask("asking", &question.sql).await.unwrap().rows);
        }
        assert_eq!(rows[0], rows[1], "{constraint}");
        found.push(rows[0].len());
    }
    assert_eq!(found.iter().filter(|rows| **rows > 0).count(), 7, "{found:?}");
}

/// Without a server: what was broken when the backup was made is found in its files.
#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_backup_are_asked_as_the_server_would_be() {
    let world = World::with(&format!(
        "{KEYS}; CREATE TABLE ids (id serial PRIMARY KEY, x int NOT NULL, side text, n char(3) UNIQUE, CHECK (x > 0));
         CREATE TABLE nobody (id int PRIMARY KEY)"
    ))
    .await;
    world.run("INSERT INTO simple VALUES (1, 1); INSERT INTO whole VALUES (7, 1, 1); INSERT INTO ids (x, side) VALUES (1, 'buy')").await;
    let config = "[[accepted]]\ncolumn = 'ids.side'\nvalues = ['buy', 'sell']";
    let backup = || CheckTarget::Backup(world.vault.clone(), BackupChoice::latest());
    world.dump().await;
    let sound = ask(backup(), config).await.unwrap();
    assert!(sound.is_sound() && sound.count(Verdict::Pass) > 9, "{:#?}", sound.checks);
    world.run(&unseen("INSERT INTO simple VALUES (9, 9), (1, NULL); INSERT INTO whole VALUES (1, 1, NULL), (2, 9, 9); INSERT INTO notes VALUES ('2026-01-06', 1)")).await;
    world.run("UPDATE pg_attribute SET attnotnull = false WHERE attrelid = 'ids'::regclass; UPDATE pg_index SET indisready = false WHERE indrelid = 'ids'::regclass;
        INSERT INTO ids VALUES (5, 1, 'BUY', NULL), (5, 1, NULL, NULL), (6, NULL, NULL, NULL); UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'ids'::regclass; UPDATE pg_index SET indisready = true WHERE indrelid = 'ids'::regclass").await;
    world.dump().await;
    let (files, server) = (ask(backup(), config).await.unwrap(), ask(world.source(), config).await.unwrap());
    assert!(files.engine.starts_with("DataFusion"));
    let mut broken = 0;
    for outcome in &server.checks {
        let (id, object) = (outcome.id.as_str(), outcome.object.as_deref().unwrap_or_default());
        match (id, object) {
            ("S1b" | "S7", _) => assert!(files.checks.iter().all(|one| one.id != id), "{id}"),
            ("S5", _) | (_, "public.ids ids_n_key") => {
                let skipped = of(&files, id, object);
                assert_eq!(skipped.verdict, Verdict::Skipped, "{skipped:#?}");
                assert!(skipped.note.as_ref().unwrap().contains("server"), "{skipped:#?}");
            }
            _ => {
                let same = of(&files, id, object);
                assert_eq!(
                    (same.verdict, &same.sample),
                    (outcome.verdict, &outcome.sample),
                    "{id} {object}: {same:#?}"
                );
                broken += usize::from(same.verdict == Verdict::Fail);
            }
        }
    }
    assert_eq!(broken, 7);
    // A key to a table that was left out is not asked, and says so.
    world
        .dump_with(|request| {
            request.selection.exclude_tables = vec![barkeep::catalog::Pattern::parse("parent").unwrap()]
        })
        .await
        .unwrap();
    let part = ask(backup(), "").await.unwrap();
    let orphans = of(&part, "S1", "public.simple simple_a_b_fkey");
    assert_eq!(orphans.note.as_deref(), Some("public.parent is not in the backup"), "{orphans:#?}");
}

/// A foreign key with PERIOD (PostgreSQL 18): rows of the parent cover a range together. Its question is for servers from 14 on.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_no_rows_of_the_parent_cover_together_are_orphans() {
    let world = World::with(
        "CREATE TABLE listed (symbol text, valid daterange);
         INSERT INTO listed VALUES ('A', '[2025-01-01,2025-02-01)'), ('A', '[2025-02-01,2025-03-01)'), ('B', '[2025-01-01,2025-02-01)'), ('B', '[2025-02-02,2025-03-01)');
         CREATE TABLE quoted (symbol text, valid daterange);
         INSERT INTO quoted VALUES ('A', '[2025-01-15,2025-02-15)'), ('A', '[2025-02-15,2025-03-02)'), ('B', '[2025-01-15,2025-02-15)'), ('C', '[2025-01-15,2025-01-16)'), (NULL, '[2025-01-15,2025-01-16)')",
    )
    .await;
    let columns = || vec!["symbol".to_owned(), "valid".to_owned()];
    let rule = Rule::ForeignKey(ForeignKey {
        columns: columns(),
        parent: TableName::new("public", "listed"),
        parent_columns: columns(),
        full: false,
        period: true,
        comparisons: Vec::new(),
    });
    let table = TableName::new("public", "quoted");
    let constraint = Constraint { table, rule, name: None, condition: None, standing: Standing::Enforced };
    let question = structure_question(&constraint, &Structure::default(), Witness::Postgres).unwrap();
    let probe = Probe::connect(&world.source()).await.unwrap();
    let answer = probe.ask("asking for orphans", &format!("{} ORDER BY 1, 2", question.sql)).await.unwrap();
    let found: Vec<String> = answer
        .rows
        .iter()
        .map(|row| row[..2].iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        found,
        ["A [2025-02-15,2025-03-02)", "B [2025-01-15,2025-02-15)", "C [2025-01-15,2025-01-16)"]
    );
}
