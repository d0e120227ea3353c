//! Parts of a backup, under other names, into what is there already, by whoever owns it.

use barkeep::base::TableName;
use barkeep::catalog::Pattern;
use barkeep::ops::restore::Mode;

use crate::bench_world::{World, run, value};

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
