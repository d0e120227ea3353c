//! What analysts' tools make of the pieces, held against what PostgreSQL says.

use std::process::Command;

use crate::bench_world::{World, value};

/// Unconstrained numerics whose scale grows in the last leaf: a reader that takes the first file's scale would round.
const SOURCE: &str = "CREATE TABLE bars (day date, symbol text, ts timestamptz, px numeric, vol bigint) PARTITION BY RANGE (day);
     CREATE TABLE bars_1 PARTITION OF bars FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
     CREATE TABLE bars_2 PARTITION OF bars FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
     INSERT INTO bars SELECT '2026-01-10', 'BTC', '2026-01-10 00:00Z'::timestamptz + i * interval '1 min', i * 0.5, i
       FROM generate_series(1, 2000) i;
     INSERT INTO bars SELECT '2026-02-10', 'ETH', '2026-02-10 00:00Z'::timestamptz, i * 0.00000001, i
       FROM generate_series(1, 2000) i";

const READERS: &str = r#"
import sys, glob, decimal
folder = sys.argv[1]
files = sorted(glob.glob(glob.escape(folder) + "/*.parquet"))
import duckdb, polars, pyarrow.dataset, pyarrow.compute
row = duckdb.sql("select count(*), sum(px), max(ts)::timestamp, sum(vol) from read_parquet('%s/*.parquet')" % folder).fetchall()[0]
print("duckdb", row[0], row[1], row[2], row[3])
frame = polars.read_parquet(files)
print("polars", frame.height, frame["px"].sum(), frame["ts"].max().replace(tzinfo=None), frame["vol"].sum())
table = pyarrow.dataset.dataset(files).to_table()
px = sum((v for v in table["px"].to_pylist()), decimal.Decimal(0))
print("pyarrow", table.num_rows, px, pyarrow.compute.max(table["ts"]).as_py().replace(tzinfo=None), pyarrow.compute.sum(table["vol"]).as_py())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_polars_and_pyarrow_read_what_postgresql_says() {
    let python = std::env::var("BARKEEP_TEST_PYTHON")
        .expect("BARKEEP_TEST_PYTHON names a Python with pyarrow, DuckDB and Polars; `make test` sets it up");
    let world = World::with(SOURCE).await;
    world.dump().await;
    let id = world.vault.backups().unwrap()[0].clone();
    let folder = world.vault.root().join("backups").join(id.as_str()).join("tables/public.bars");
    let output = Command::new(python).args(["-c", READERS]).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sql = "SELECT count(*) || ' ' || sum(px) || ' ' || (max(ts) AT TIME ZONE 'UTC') || ' ' || sum(vol) FROM bars";
    let expected = value(&world.source(), sql).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for reader in ["duckdb", "polars", "pyarrow"] {
        assert!(printed.contains(&format!("{reader} {expected}\n")), "PostgreSQL says {expected}; {printed}");
    }
}
