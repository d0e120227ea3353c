//! The disk fails under a dump: while a piece is written (`faults`), at every fsync and rename, and at the manifest.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use barkeep::base::Event;
use barkeep::ops::verify::Level;

use crate::bench_world::{World, nothing_half_made, run, uri, value, words};

const TABLES: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text);
     CREATE TABLE bars (id bigint PRIMARY KEY, close numeric(18,6));
     INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 3000) i;
     INSERT INTO bars SELECT i, i * 0.25 FROM generate_series(1, 3000) i";

/// Runs `barkeep dump` with the `when`-th of these system calls of every thread failing with `error`.
fn dump_with_failing(world: &World, calls: &str, error: &str, when: u32) -> (Option<i32>, String) {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:error={error}:when={when}")])
        .arg(env!("CARGO_BIN_EXE_barkeep"))
        .args(["--progress", "none", "--vault"])
        .arg(world.vault.root())
        .args(["dump", "--data-only", &uri(&world.source())])
        .output()
        .expect("strace runs; `make test` installs it");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What a disk can refuse on the way to durability.
const REFUSALS: [(&str, &str); 3] = [
    ("fsync,fdatasync", "ENOSPC"),
    ("fsync,fdatasync", "EIO"),
    ("rename,renameat,renameat2,link,linkat", "ENOSPC"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_on_the_way_to_durability_leaves_a_backup() {
    let world = World::with(TABLES).await;
    // The calls of each thread are counted by themselves, and several threads write pieces: enough for all of them.
    world.run("DO $$ BEGIN FOR i IN 1..16 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS x', i, i); END LOOP; END $$").await;
    for (calls, error) in REFUSALS {
        let mut refused = 0;
        let mut told = String::new();
        for when in 1..=8 {
            let before = world.vault.backups().unwrap().len();
            let (code, text) = dump_with_failing(&world, calls, error, when);
            let made = world.vault.backups().unwrap().len() - before;
            match code {
                // No thread makes that many such calls: nothing failed.
                Some(0) => assert_eq!(made, 1, "{calls} {error} {when}: {text}"),
                Some(30) => {
                    assert_eq!(made, 0, "{calls} {error} {when}: {text}");
                    assert!(
                        text.contains(&*world.vault.root().to_string_lossy()),
                        "the file is named: {text}"
                    );
                    refused += 1;
                    told.push_str(&text);
                }
                other => panic!("{calls} {error} {when}: exit {other:?}: {text}"),
            }
        }
        assert!(refused >= 2, "{calls} {error}: only {refused} runs met a refusal");
        // Pieces are synced by other threads than those that write them, and all folders at the end.
        let of_a_piece = told.contains(".parquet");
        assert!(of_a_piece, "{calls} {error}: no refusal met a piece: {told}");
    }
    assert_eq!(world.dump().await.rows, 6016);
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

/// A small file system of its own; unmounted when dropped.
pub(crate) struct Small(pub(crate) std::path::PathBuf);

impl Small {
    pub(crate) fn mount(world: &World, megabytes: u32) -> Self {
        let place = world.folder.path().join(format!("small-{megabytes}"));
        std::fs::create_dir(&place).unwrap();
        // A server of another user has to get there.
        for folder in [world.folder.path(), &place] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=755"), "tmpfs"])
            .arg(&place)
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a small tmpfs, which needs root");
        Self(place)
    }

    /// Takes the last free byte.
    fn fill(place: &Path) {
        let mut size = 1 << 20;
        let mut number = 0;
        while size > 0 {
            let file = place.join(format!("filler-{number}"));
            if std::fs::write(&file, vec![1; size]).is_err() {
                size /= 2;
            }
            number += 1;
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_when_the_manifest_is_written_leaves_no_backup() {
    let mut world = World::with(TABLES).await;
    let small = Small::mount(&world, 4);
    let now = barkeep::base::Clock::now(&barkeep::base::SystemClock);
    world.vault = barkeep::store::Vault::open_or_create(&small.0.join("vault"), now, rand::random()).unwrap();
    let world = Arc::new(world);
    let place = small.0.clone();
    let fill = move |event: &Event| {
        if *event == Event::Phase("checking") {
            Small::fill(&place);
        }
    };
    let error = world.dump_hooked(fill, |request| request.data_only = true).await.unwrap_err();
    assert_eq!(error.exit_code(), 30, "{}", words(&error));
    nothing_half_made(&world);
    for file in std::fs::read_dir(&small.0).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            std::fs::remove_file(file).unwrap();
        }
    }
    assert_eq!(world.dump().await.rows, 6000, "the control: with room again it works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_cannot_have_room_is_refused_before_it_makes_anything() {
    // Long runs of one letter: 300 MB on the wire, little on either disk.
    let world = World::with(
        "CREATE TABLE wide (id int, filler text);
         INSERT INTO wide SELECT i, repeat('x', 1000000) FROM generate_series(1, 300) i",
    )
    .await;
    world.dump_with(|request| request.data_only = true).await.unwrap();
    for (megabytes, refused) in [(100, true), (400, false)] {
        let small = Small::mount(&world, megabytes);
        let options = barkeep::pg::throwaway::ThrowawayOptions {
            version: Some(15),
            settings: vec!["max_wal_size=32MB".to_owned(), "min_wal_size=32MB".to_owned()],
            directory: Some(small.0.clone()),
        };
        let server = barkeep::pg::throwaway::Throwaway::start(&options).unwrap();
        let target = server.settings("postgres");
        run(&target, "CREATE TABLE wide (id int, filler text)").await;
        let restored = world
            .restore_with(target.clone(), |request| {
                request.create = false;
                request.data_only = true;
                request.mode = barkeep::ops::restore::Mode::Append;
            })
            .await;
        let rows = value(&target, "SELECT count(*) FROM wide").await;
        if refused {
            let error = restored.unwrap_err();
            assert_eq!(error.exit_code(), 30, "{}", words(&error));
            assert!(words(&error).contains("MiB free"), "{}", words(&error));
            assert_eq!(rows.as_deref(), Some("0"));
        } else {
            let warnings = restored.unwrap().warnings.join("; ");
            assert!(warnings.contains("MiB free"), "tight, and said: {warnings}");
            assert_eq!(rows.as_deref(), Some("300"));
        }
        drop(server);
        drop(small);
    }
}
