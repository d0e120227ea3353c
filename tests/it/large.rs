//! Values of a megabyte and of a hundred: back to the byte, and in memory that the largest row bounds.

use std::process::{Command, Stdio};
use std::time::Duration;

use barkeep::ops::verify::Level;

use crate::bench_world::{World, run, uri, value};

const MIB: u64 = 1 << 20;
/// What a run of one or two lanes may take beside four times its largest row (`docs/architecture.md`).
const BASE: u64 = 256 * MIB;

/// Sixty rows of four values of a megabyte each; nothing in them repeats, so that nothing shrinks.
const WIDE: &str = "CREATE FUNCTION noise(bytes int, seed int) RETURNS text LANGUAGE sql AS $$
         SELECT string_agg(md5(i::text || 'x' || seed), '') FROM generate_series(1, bytes / 32) i $$;
     CREATE TABLE wide (id int PRIMARY KEY, t text, b bytea, j jsonb, a int8[]);
     INSERT INTO wide SELECT i, noise(1 << 20, i), decode(noise(2 << 20, -i), 'hex'),
         jsonb_build_object('key', noise(1 << 20, 1000 + i), 'n', i),
         (SELECT array_agg(k::numeric * 6364136223846793005 % 9223372036854775807::numeric)::int8[] FROM generate_series(1, 131072) k)
       FROM generate_series(1, 60) i";

const HUGE: &str = "CREATE FUNCTION noise(bytes int, seed int) RETURNS text LANGUAGE sql AS $$
         SELECT string_agg(md5(i::text || 'x' || seed), '') FROM generate_series(1, bytes / 32) i $$;
     CREATE TABLE huge (id int PRIMARY KEY, t text, b bytea);
     INSERT INTO huge VALUES (0, 'before', 'before');
     INSERT INTO huge SELECT 1, noise(100000000, 1), NULL;
     INSERT INTO huge SELECT 2, NULL, convert_to(noise(100000000, 2), 'UTF8');
     INSERT INTO huge VALUES (3, 'small', 'small');
     INSERT INTO huge SELECT i, noise(100000000, i), NULL FROM generate_series(4, 6) i";

/// Runs the command to its end and gives the most memory it ever held.
pub(crate) fn peak(world: &World, arguments: &[&str]) -> u64 {
    peak_ending_with(world, arguments, 0)
}

/// The same of a command that ends with this code.
pub(crate) fn peak_ending_with(world: &World, arguments: &[&str], code: i32) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(world.vault.root()).args(["--progress", "none"]).args(arguments);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut highest = 0;
    // The mark only rises, so the last look before the end is the one that counts.
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = mark.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()) {
            highest = kib * 1024;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    assert!(highest > 8 * MIB, "{arguments:?}: {highest} bytes is no process of ours");
    eprintln!("{}: {} MiB", arguments[0], highest / MIB);
    highest
}

/// Dumps, verifies, restores and compares with the binary, each within the bound.
async fn goes_out_and_comes_back(world: &World, largest: u64) {
    let bound = BASE + 4 * largest;
    let source = uri(&world.source());
    let target = world.copy("copy");
    run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
    let to = uri(&target);
    let runs: [&[&str]; 4] = [
        &["dump", &source, "-j", "2"],
        &["verify", "--level", "decode"],
        &["restore", "--to", &to, "--no-compare", "-j", "2"],
        &["compare", "--db", &to, "--rows"],
    ];
    let peaks: Vec<(&str, u64)> = runs.iter().map(|run| (run[0], peak(world, run))).collect();
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    assert!(world.compare(target).await.is_equal());
    for (what, highest) in &peaks {
        assert!(*highest <= bound, "{what} took {} MiB of {}: {peaks:?}", highest / MIB, bound / MIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_megabyte_come_back_in_little_memory() {
    let world = World::with(WIDE).await;
    let sizes = "SELECT min(least(octet_length(t), octet_length(b), octet_length(j::text), cardinality(a) * 8)) FROM wide";
    assert_eq!(value(&world.source(), sizes).await.as_deref(), Some("1048576"));
    goes_out_and_comes_back(&world, 4 * MIB + MIB / 2).await;
    let content =
        "SELECT md5(string_agg(md5(t) || md5(b) || md5(j::text) || md5(a::text), '' ORDER BY id)) FROM wide";
    assert_eq!(value(&world.copy("copy"), content).await, value(&world.source(), content).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_hundred_megabytes_come_back_in_four_times_their_memory() {
    let world = World::with(HUGE).await;
    goes_out_and_comes_back(&world, 100_000_000).await;
    let content = "SELECT string_agg(concat_ws(' ', id, md5(t), md5(b), octet_length(t), octet_length(b)), ',' ORDER BY id) FROM huge";
    let content = (value(&world.source(), content).await, value(&world.copy("copy"), content).await);
    assert_eq!(content.0, content.1);
    assert!(content.0.unwrap().contains("100000000"));
    // Rows before the first large one are a piece as always, and the rest is one for large rows.
    let sealed = world.vault.manifests().unwrap().remove(0);
    let rows: Vec<u64> = sealed.manifest.head.pieces.iter().map(|piece| piece.rowset.rows).collect();
    assert_eq!(rows, [1, 6]);
    // The negative control: one byte of a hundred million.
    let copy = world.copy("copy");
    run(&copy, "UPDATE huge SET b = set_byte(b, 77777777, (get_byte(b, 77777777) + 1) % 256) WHERE id = 2")
        .await;
    let compared = world.compare(copy).await;
    let shown: Vec<Option<&str>> =
        compared.tables[0].differences.iter().map(|row| row.columns[2].1.as_deref()).collect();
    let digest =
        |text: Option<&str>| text.unwrap().strip_prefix("(100000000 bytes, blake3 ").unwrap().to_owned();
    assert_eq!(shown.len(), 2, "both versions, and no hundred megabytes of them");
    assert_ne!(digest(shown[0]), digest(shown[1]));
    assert!(!compared.is_equal());
}
