//! Every encoding that a column may get is read by every reader, to the last value.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use barkeep::base::Event;
use barkeep::manifest::Mapping;
use serde_json::Value;

use crate::bench_world::{World, not_run, value};

/// Columns that want different encodings, and enough rows to choose by.
const SOURCE: &str =
    "CREATE TABLE bars (id int, symbol text, bars_id text, note text, remark text, px numeric(18,6), \
         tick numeric(9,2), level float8, noise float8, vol bigint, big numeric(30,10));
     INSERT INTO bars SELECT i, 'SYM' || abs(hashint4(i) % 50), 'order-' || lpad(i::text, 12, '0'), md5(i::text),
         nullif(repeat('é' || md5((i % 977)::text), i % 3) || i, '33'),
         100 + (hashint4(i) % 100000) * 0.000001, abs(hashint4(i + 3) % 40) * 0.25, abs(hashint4(i + 7) % 300) / 100.0::float8,
         ('0.' || abs(hashint8(i))::text)::float8 * (i % 19), i * 7919::bigint,
         (hashint8(i)::numeric * 1000003) / 7
       FROM generate_series(1, 30000) i";

/// What PostgreSQL says of a column, as `read_encodings.py` does.
fn digest_sql(column: &str) -> String {
    let text = match column {
        "level" | "noise" => format!("encode(float8send({column}), 'hex')"),
        "px" => "px::numeric(18,6)::text".to_owned(),
        "big" => "big::text".to_owned(),
        other => format!("{other}::text"),
    };
    format!("SELECT md5(string_agg(coalesce({text}, 'NULL'), E'\\n' ORDER BY id)) FROM bars")
}

/// Whether Spark can be had: it is large, and needs Java.
fn has_spark(python: &str) -> bool {
    let quiet = |command: &mut Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    quiet(Command::new(python).args(["-c", "import pyspark"])) && quiet(Command::new("java").arg("-version"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_is_read_by_every_reader() {
    let python = std::env::var("BARKEEP_TEST_PYTHON")
        .expect("BARKEEP_TEST_PYTHON names a Python with pyarrow, DuckDB and Polars; `make test` sets it up");
    let spark = has_spark(&python);
    let world = World::with(SOURCE).await;
    world.dump().await;
    let id = world.vault.backups().unwrap()[0].clone();
    let folder = world.vault.root().join("backups").join(id.as_str()).join("tables/public.bars");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/read_encodings.py");
    let wanted = if spark { "spark" } else { "none" };
    let output = Command::new(python).arg(script).arg(&folder).arg(wanted).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();

    let encodings: BTreeSet<&str> = found["encodings"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|names| names.as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .collect();
    let all = [
        "RLE_DICTIONARY",
        "PLAIN",
        "DELTA_BINARY_PACKED",
        "DELTA_LENGTH_BYTE_ARRAY",
        "DELTA_BYTE_ARRAY",
        "BYTE_STREAM_SPLIT",
    ];
    for encoding in all {
        assert!(encodings.contains(encoding), "{encoding} is tried: {}", found["encodings"]);
    }
    let readers = found["readers"].as_object().unwrap();
    assert_eq!(readers.len(), if spark { 4 } else { 3 });
    let columns = readers["pyarrow"].as_object().unwrap();
    assert_eq!(columns.len(), 11);
    for column in columns.keys() {
        let said = value(&world.source(), &digest_sql(column)).await.unwrap();
        for (reader, digests) in readers {
            assert_eq!(digests[column], *said, "{column} by {reader}: {}", found["encodings"][column]);
        }
    }
    if !spark {
        not_run("encodings::every_encoding_is_read_by_every_reader, Spark's part: needs pyspark and Java");
    }
}

/// Scale and digits are counted in the server, and so is what is not finite: too much of that makes a text.
#[tokio::test(flavor = "multi_thread")]
async fn what_unconstrained_numerics_hold_decides_their_type() {
    let world = World::with(
        "CREATE DOMAIN price AS numeric CHECK (value > 0);
         CREATE TABLE held (a numeric, b price, c numeric, d numeric, e numeric, f numeric, g numeric);
         INSERT INTO held SELECT i / 8.0, 1 + i / 1000.00000, CASE WHEN i > 998 THEN 'NaN' ELSE i::numeric END,
             CASE WHEN i % 2 = 0 THEN '-Infinity' ELSE i::numeric END, CASE i WHEN 3 THEN -1e30 ELSE 0.123456789 END,
             CASE i WHEN 5 THEN -1e20 ELSE 0.5 END, NULL FROM generate_series(1, 1000) i;
         INSERT INTO held (a) VALUES ('Infinity'), ('-Infinity')",
    )
    .await;
    // What is not counted is found out while it is read, and then read again.
    let again = Arc::new(AtomicUsize::new(0));
    let count = again.clone();
    let hook = move |event: &Event| {
        count.fetch_add(usize::from(matches!(event, Event::Warning(_))), Ordering::Relaxed);
    };
    world.dump_hooked(hook, |_| ()).await.unwrap();
    assert_eq!(again.load(Ordering::Relaxed), 0);
    let manifest = world.vault.manifest(&world.vault.backups().unwrap()[0]).unwrap().manifest;
    let scale = |mapping: &Mapping| match mapping {
        Mapping::Decimal { precision: 38, scale, .. } => Some(*scale),
        Mapping::NumericText => None,
        other => panic!("{other:?}"),
    };
    let found: Vec<Option<u8>> =
        manifest.body.tables[0].columns.iter().map(|column| scale(&column.mapping)).collect();
    assert_eq!(found, [Some(20), Some(20), Some(0), None, None, Some(1), Some(0)]);
}
