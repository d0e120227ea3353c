//! Constraints out of statements: all kinds, and what a partition or a child has from its parent.

use super::super::fixture::nasty;
use super::*;

fn read(sql: &str) -> Structure {
    structure(std::iter::once(sql), BTreeSet::new())
}

fn shown(structure: &Structure) -> Vec<String> {
    structure.constraints.iter().map(Constraint::to_string).collect()
}

#[test]
fn a_dump_with_awkward_names_gives_its_constraints() {
    let found = structure_of(&nasty(), BTreeSet::new());
    assert!(found.unread.is_empty(), "{:?}", found.unread);
    let all = shown(&found);
    for expected in [
        "market.accounts accounts_pkey",
        "market.accounts accounts_name_key",
        "market.accounts name_ok",
        "market.accounts (id, name)",
        "market.accounts (id) market.accounts_id_seq",
        "market.bars bars_pkey",
        "market.orders orders_account_id_fkey",
        "market.orders (id) market.orders_id_seq",
        "market.signals signals_symbol_ts_fkey",
        "market.with_default (id) market.free",
        "market.with_default chk_later, NOT VALID",
    ] {
        assert!(all.iter().any(|one| one == expected), "{expected} of {all:#?}");
    }
    // Neither the copies of a partition, nor what is no number, nor a view's index.
    assert!(
        !all.iter().any(|one| one.contains("bars_2023") || one.contains("! rm") || one.contains("daily")),
        "{all:#?}"
    );
    let free = found.constraints.iter().find(|one| one.to_string().ends_with("market.free")).unwrap();
    assert!(matches!(free.rule, Rule::Sequence { increment: 5, .. }), "{free:?}");
    assert_eq!(found.primary_key(&TableName::new("market", "bars")), ["symbol", "ts"]);
    assert!(found.spread.contains(&TableName::new("market", "bars")) && found.spread.len() == 1);
}

#[test]
fn keys_say_what_null_means_and_which_rows_they_hold_of() {
    let found = read(
        "CREATE TABLE a.t (x int, y text);
         ALTER TABLE ONLY a.t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (x, y);
         CREATE UNIQUE INDEX live ON a.t USING btree (x) INCLUDE (y) WHERE ((y <> ' WHERE '::text) AND (x > 0));
         CREATE UNIQUE INDEX lower ON a.t USING btree (lower(y));
         CREATE INDEX plain ON a.t USING btree (x);
         ALTER TABLE ONLY a.t ADD CONSTRAINT k FOREIGN KEY (x, y) REFERENCES b.p(v, w) MATCH FULL ON DELETE CASCADE NOT VALID;
         ALTER TABLE ONLY a.t ADD CONSTRAINT n FOREIGN KEY (x) REFERENCES b.p(v) NOT ENFORCED;
         ALTER TABLE ONLY a.t ADD CONSTRAINT p FOREIGN KEY (x, PERIOD z) REFERENCES b.p(v, PERIOD z)",
    );
    assert!(found.unread.is_empty(), "{:?}", found.unread);
    let rule = |name: &str| found.constraints.iter().find(|one| one.name.as_deref() == Some(name)).unwrap();
    assert!(matches!(rule("u").rule, Rule::Unique { nulls_distinct: false, primary: false, .. }));
    assert_eq!(rule("live").condition.as_deref(), Some("((y <> ' WHERE '::text) AND (x > 0))"));
    assert!(matches!(&rule("live").rule, Rule::Unique { columns, .. } if *columns == ["x"]));
    assert!(matches!(&rule("k").rule, Rule::ForeignKey(key) if key.full && key.parent_columns == ["v", "w"]));
    assert_eq!((rule("k").standing, rule("n").standing), (Standing::NotValid, Standing::NotEnforced));
    assert!(matches!(&rule("p").rule, Rule::ForeignKey(key) if key.period));
    assert_eq!(found.constraints.len(), 5, "{:#?}", found.constraints);
}

#[test]
fn a_condition_is_the_servers_own_text() {
    let found = read(
        "CREATE TABLE a.t (\"X)\" int, y text, CONSTRAINT \"CHECK (\" CHECK (((\"X)\" > 0) OR (y = ')'::text))) NO INHERIT);
         ALTER TABLE a.t ADD CONSTRAINT late CHECK ((length(y) < 9)) NOT VALID",
    );
    let Rule::Check { expression, columns, no_inherit } = &found.constraints[0].rule else {
        panic!("{found:?}")
    };
    assert_eq!(expression, "((\"X)\" > 0) OR (y = ')'::text))");
    assert_eq!((columns, *no_inherit), (&vec!["X)".to_owned(), "y".to_owned()], true));
    assert!(found.constraints[1].to_string().ends_with("late, NOT VALID"));
}

#[test]
fn what_comes_from_a_parent_is_asked_of_the_parent() {
    let found = read(
        "CREATE TABLE a.p (x int NOT NULL, CONSTRAINT c CHECK ((x > 0)), CONSTRAINT own CHECK ((x > 1)) NO INHERIT) PARTITION BY LIST (x);
         CREATE TABLE a.p1 (x int NOT NULL, y int NOT NULL, CONSTRAINT c CHECK ((x > 0)), CONSTRAINT own CHECK ((x > 1)));
         ALTER TABLE ONLY a.p ATTACH PARTITION a.p1 FOR VALUES IN (1);
         ALTER TABLE ONLY a.p ADD CONSTRAINT pk PRIMARY KEY (x);
         ALTER TABLE ONLY a.p1 ADD CONSTRAINT p1_pk PRIMARY KEY (x);
         CREATE TABLE a.base (x int NOT NULL, CONSTRAINT c CHECK ((x > 0)));
         CREATE TABLE a.child (CONSTRAINT c CHECK ((x > 0))) INHERITS (a.base);
         ALTER TABLE ONLY a.base ADD CONSTRAINT bpk PRIMARY KEY (x);
         ALTER TABLE ONLY a.child ADD CONSTRAINT cpk PRIMARY KEY (x)",
    );
    // A key is not inherited, unless by a partition.
    assert_eq!(
        shown(&found),
        [
            "a.base (x)",
            "a.base bpk",
            "a.base c",
            "a.child cpk",
            "a.p (x)",
            "a.p pk",
            "a.p c",
            "a.p own",
            "a.p1 (y)",
            "a.p1 own"
        ]
    );
}

#[test]
fn a_sequence_feeds_a_column_by_default_by_identity_or_by_owner() {
    let found = read(
        "CREATE TABLE a.t (i int DEFAULT nextval('a.\"S 1\"'::regclass), o bigint, z text DEFAULT nextval('a.\"S 1\"'::regclass),
                           c int DEFAULT nextval('a.ring'::regclass), d int, k smallint DEFAULT (nextval('a.big'::regclass))::smallint);
         CREATE SEQUENCE a.\"S 1\" START WITH 1 INCREMENT BY -2;
         CREATE SEQUENCE a.ring CYCLE; CREATE SEQUENCE a.big INCREMENT BY 5000000000; CREATE SEQUENCE a.owned;
         ALTER SEQUENCE a.owned OWNED BY a.t.o;
         ALTER TABLE a.t ALTER COLUMN d ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME a.ident START WITH 1 INCREMENT BY 3);
         ALTER TABLE ONLY a.t ALTER COLUMN o SET DEFAULT nextval('a.owned'::regclass)",
    );
    let feeds: Vec<(String, i64)> = found
        .constraints
        .iter()
        .map(|one| match &one.rule {
            Rule::Sequence { column, sequence, increment } => (format!("{column} {sequence}"), *increment),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("d a.ident", 3), ("i a.\"S 1\"", -2), ("k a.big", 5_000_000_000), ("o a.owned", 1)];
    assert_eq!(feeds, expected.map(|(name, increment)| (name.to_owned(), increment)));
}

#[test]
fn what_cannot_be_read_is_kept_and_not_passed_over() {
    let found = read("ALTER TABLE ONLY a.t ADD CONSTRAINT x FROB (y); CREATE TABLE a.t (x int NOT NULL)");
    assert_eq!(found.unread, ["ALTER TABLE ONLY a.t ADD CONSTRAINT x FROB (y)"]);
    assert_eq!(shown(&found), ["a.t (x)"]);
}
