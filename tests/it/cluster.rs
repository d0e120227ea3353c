//! `--cluster-by`: rows stand in another order in the files, and nowhere else does anything change.

use barkeep::catalog::Pattern;
use barkeep::ops::ExitCode;
use barkeep::ops::verify::Level;

use crate::bench_world::World;

/// Bars by time, one of each symbol in turn; `odd` has a value that no decimal holds.
const SOURCE: &str = "CREATE TABLE bars (ts timestamptz, symbol text, px numeric(18,6), tags text[]);
     INSERT INTO bars SELECT '2026-01-01'::timestamptz + i / 50 * interval '1 min', 'SYM' || i % 50,
         (i % 50) * 100 + (i / 50 + hashint4(i) % 3) * 0.01, NULL FROM generate_series(0, 49999) i;
     CREATE TABLE odd AS SELECT ts, symbol, px FROM bars;
     INSERT INTO odd VALUES (now(), 'SYM7', 'NaN');
     CREATE TABLE plain AS SELECT * FROM bars LIMIT 100;";

fn by(table: &str, columns: &[&str]) -> (Pattern, Vec<String>) {
    (Pattern::parse(table).unwrap(), columns.iter().map(|column| (*column).to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn clustered_rows_are_the_same_rows_in_smaller_files() {
    let world = World::dumped(SOURCE).await;
    let cluster_by = vec![by("bars", &["symbol", "ts"]), by("odd", &["symbol"])];
    let before = world.vault.manifest(&world.vault.backups().unwrap()[0]).unwrap().manifest;
    let report = world.dump_with(|request| request.cluster_by = cluster_by).await.unwrap();
    let id = report.backup.unwrap();
    let after = world.vault.manifest(&id).unwrap().manifest;
    for table in &after.body.tables {
        let earlier = before.table(&table.name).unwrap();
        assert_eq!(table.rowset, earlier.rowset, "{}", table.name);
        let bytes = |manifest: &barkeep::manifest::Manifest, table| {
            manifest.pieces(table).map(|piece| piece.bytes).sum::<u64>()
        };
        let reused = after.pieces(table).filter(|piece| piece.reused_from.is_some()).count();
        let clustered = table.clustered.as_ref().map(|clustered| clustered.rows);
        match &*table.name.name {
            "bars" => {
                assert_eq!((clustered, reused), (Some(50_000), 0));
                let (small, large) = (bytes(&after, table), bytes(&before, earlier));
                assert!(small * 10 < large * 9, "{small} {large}");
            }
            // The last batch has the row of the sidecar.
            "odd" => assert_eq!(clustered, Some(49_152)),
            _ => assert_eq!((clustered, reused), (None, 1)),
        }
    }
    assert_eq!(world.verify(Level::Decode).await.findings, []);
    world.restore(world.copy("clustered")).await;
    assert!(world.compare(world.copy("clustered")).await.is_equal());
    world.run("UPDATE odd SET px = 1 WHERE px = 'NaN'").await;
    assert!(!world.compare(world.source()).await.is_equal(), "the control");
    // The same once more is linked.
    let again = world.dump_with(|request| request.cluster_by = vec![by("bars", &["symbol", "ts"])]).await;
    let bars = again.unwrap().tables.into_iter().find(|table| table.table.name == "bars").unwrap();
    assert_eq!((bars.reused, bars.clustered), (bars.pieces, Some(50_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_clustered_is_named_before_a_byte_is_written() {
    let world = World::with(SOURCE).await;
    for (asked, what) in [
        (
            by("bars", &["symbl"]),
            "public.bars has no column \"symbl\" to cluster by; it has ts, symbol, px, tags",
        ),
        (
            by("bars", &["tags"]),
            "public.bars cannot be clustered by \"tags\": values of type text[] have no order",
        ),
        (by("trades", &["symbol"]), "nothing in the database matches trades"),
    ] {
        let error = world.dump_with(|request| request.cluster_by = vec![asked]).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Usage as u8);
    }
    assert_eq!(world.vault.backups().unwrap(), []);
}
