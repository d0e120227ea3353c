//! Tests of renaming: many kinds of statements one by one, and a real schema.

use super::super::fixture::{entry, nasty};
use super::*;

fn to_recovery() -> Renames {
    Renames { schemas: [("market".to_owned(), "recovery".to_owned())].into(), ..Renames::default() }
}

fn orders_old() -> Renames {
    let (old, new) = (TableName::new("market", "orders"), TableName::new("market", "orders_old"));
    Renames { tables: [(old, new)].into(), ..Renames::default() }
}

/// Renames one statement that stands in an entry of this kind.
fn renamed(kind: &str, sql: &str, renames: &Renames) -> String {
    let dump = SchemaDump { entries: vec![entry(kind, Some("market"), "x", sql)], ..SchemaDump::default() };
    rename(&dump, renames).dump.entries.remove(0).definition
}

#[test]
fn every_kind_of_name_follows_its_schema_and_aliases_do_not() {
    for (kind, old, new) in [
        (
            "TABLE",
            "CREATE TABLE market.t (a market.side, b public.x);",
            r#"CREATE TABLE "recovery".t (a "recovery".side, b public.x);"#,
        ),
        (
            "VIEW",
            "CREATE VIEW market.v AS SELECT market.a, f.market FROM market.market market",
            r#"CREATE VIEW "recovery".v AS SELECT market.a, f.market FROM "recovery".market market"#,
        ),
        ("OPERATOR", "SELECT a OPERATOR(market.===) b", r#"SELECT a OPERATOR("recovery".===) b"#),
        ("ACL", "GRANT USAGE ON SCHEMA market TO market", r#"GRANT USAGE ON SCHEMA "recovery" TO market"#),
        (
            "PUBLICATION",
            "ALTER PUBLICATION p ADD TABLES IN SCHEMA market",
            r#"ALTER PUBLICATION p ADD TABLES IN SCHEMA "recovery""#,
        ),
        (
            "DEFAULT",
            "ALTER TABLE ONLY market.t ALTER COLUMN a SET DEFAULT nextval('market.s'::regclass)",
            r#"ALTER TABLE ONLY "recovery".t ALTER COLUMN a SET DEFAULT nextval('"recovery".s'::regclass)"#,
        ),
        (
            "FUNCTION",
            "CREATE FUNCTION market.f(a market.side) RETURNS SETOF market.t LANGUAGE sql SET search_path TO 'market', 'pg_temp' AS 'SELECT 1'",
            r#"CREATE FUNCTION "recovery".f(a "recovery".side) RETURNS SETOF "recovery".t LANGUAGE sql SET search_path TO 'recovery', 'pg_temp' AS 'SELECT 1'"#,
        ),
        (
            "INDEX",
            "CREATE INDEX i ON market.t USING btree (market.f(a), b market.ops)",
            r#"CREATE INDEX i ON "recovery".t USING btree ("recovery".f(a), b "recovery".ops)"#,
        ),
        (
            "COMMENT",
            "COMMENT ON COLUMN market.t.market IS 'market.t'",
            r#"COMMENT ON COLUMN "recovery".t.market IS 'market.t'"#,
        ),
        (
            "TRIGGER",
            "CREATE TRIGGER g BEFORE INSERT ON market.t FOR EACH ROW EXECUTE FUNCTION market.f('ä', 'b')",
            r#"CREATE TRIGGER g BEFORE INSERT ON "recovery".t FOR EACH ROW EXECUTE FUNCTION "recovery".f('ä', 'b')"#,
        ),
        (
            "DEFAULT ACL",
            "ALTER DEFAULT PRIVILEGES FOR ROLE r IN SCHEMA market GRANT SELECT ON TABLES TO s",
            r#"ALTER DEFAULT PRIVILEGES FOR ROLE r IN SCHEMA "recovery" GRANT SELECT ON TABLES TO s"#,
        ),
        (
            "DOMAIN",
            "CREATE DOMAIN market.d AS text COLLATE market.c CONSTRAINT k CHECK ((VALUE ~ 'market.x'::text))",
            r#"CREATE DOMAIN "recovery".d AS text COLLATE "recovery".c CONSTRAINT k CHECK ((VALUE ~ 'market.x'::text))"#,
        ),
    ] {
        assert_eq!(renamed(kind, old, &to_recovery()), new);
    }
}

#[test]
fn a_renamed_table_keeps_its_old_name_as_an_alias_where_columns_use_it() {
    for (kind, old, new) in [
        (
            "VIEW",
            "CREATE VIEW market.v AS SELECT orders.id FROM (market.orders JOIN market.t o ON ((o.id = orders.id)))",
            r#"CREATE VIEW market.v AS SELECT orders.id FROM ("market"."orders_old" AS "orders" JOIN market.t o ON ((o.id = orders.id)))"#,
        ),
        (
            "VIEW",
            "CREATE VIEW market.v AS SELECT o.id, market.orders(1) AS f FROM market.orders o",
            r#"CREATE VIEW market.v AS SELECT o.id, market.orders(1) AS f FROM "market"."orders_old" o"#,
        ),
        (
            "RULE",
            "CREATE RULE r AS ON DELETE TO market.orders DO INSTEAD UPDATE market.orders SET a = 1 WHERE (orders.id = old.id)",
            r#"CREATE RULE r AS ON DELETE TO "market"."orders_old" DO INSTEAD UPDATE "market"."orders_old" AS "orders" SET a = 1 WHERE (orders.id = old.id)"#,
        ),
        (
            "POLICY",
            "CREATE POLICY p ON market.orders USING ((EXISTS ( SELECT 1 FROM market.t a WHERE (a.id = orders.t_id))))",
            r#"CREATE POLICY p ON "market"."orders_old" USING ((EXISTS ( SELECT 1 FROM market.t a WHERE (a.id = "orders_old".t_id))))"#,
        ),
        (
            "FK CONSTRAINT",
            "ALTER TABLE ONLY market.t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES market.orders(id)",
            r#"ALTER TABLE ONLY market.t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES "market"."orders_old"(id)"#,
        ),
        (
            "ACL",
            "GRANT SELECT(a) ON TABLE market.orders TO orders",
            r#"GRANT SELECT(a) ON TABLE "market"."orders_old" TO orders"#,
        ),
    ] {
        assert_eq!(renamed(kind, old, &orders_old()), new);
    }
}

#[test]
fn keys_indexes_and_sequences_of_a_renamed_table_do_not_clash_with_the_original() {
    let result = rename(&nasty(), &orders_old());
    let new = |name: &str| result.relations.get(&TableName::new("market", name)).map(|new| new.name.as_str());
    assert_eq!(new("orders_pkey"), Some("orders_old_pkey"));
    assert_eq!(new("orders_id_seq"), Some("orders_old_id_seq"));
    assert_eq!(new("accounts_pkey"), None);
    let text: String = result.dump.entries.iter().map(|entry| entry.definition.clone()).collect();
    assert!(text.contains(r#"ADD CONSTRAINT "orders_old_pkey" PRIMARY KEY"#), "{text}");
    assert!(text.contains(r#"CREATE INDEX "orders_old_day" ON "market"."orders_old""#));
    assert!(text.contains(r#"CLUSTER ON "orders_old_pkey""#));
    assert!(text.contains(r#"COMMENT ON INDEX "market"."orders_old_day""#));
    assert!(text.contains(r#"CREATE STATISTICS "market"."ostat_orders_old""#), "{text}");
    let key = result.dump.entries.iter().find(|entry| entry.name == "orders_old orders_old_pkey");
    assert!(key.is_some());
}

#[test]
fn a_body_that_mentions_an_old_name_is_reported_and_left_alone() {
    let result = rename(&nasty(), &to_recovery());
    let touch = result.warnings.iter().find(|warning| warning.object == "FUNCTION market.touch()").unwrap();
    assert_eq!(touch.mentions.as_deref(), Some("market"));
    assert!(!result.warnings.iter().any(|warning| warning.object == "FUNCTION market.plain(integer)"));
    let text: String = result.dump.entries.iter().map(|entry| entry.definition.clone()).collect();
    assert!(text.contains("PERFORM 1 FROM market.orders"));
    assert!(text.contains("SET search_path TO 'recovery', 'pg_temp'"));
}

#[test]
fn what_an_extension_made_stays_where_the_extension_is() {
    let renames =
        Renames { schemas: [("public".to_owned(), "other".to_owned())].into(), ..Renames::default() };
    let result = rename(&nasty(), &renames);
    let text: String = result.dump.entries.iter().map(|entry| entry.definition.clone()).collect();
    assert!(text.contains("WITH SCHEMA public") && text.contains("public.gin_trgm_ops"));
    assert!(!text.contains("other"));
}

#[test]
fn without_renames_nothing_changes() {
    let result = rename(&nasty(), &Renames::default());
    assert_eq!((result.dump, result.warnings), (nasty(), Vec::new()));
}
