//! What goes wrong must be said, with the right exit code and the object's name, and leave nothing that looks whole.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use barkeep::catalog::Pattern;
use barkeep::ops::OpsError;
use barkeep::ops::verify::{Level, VerifyRequest, verify};
use barkeep::store::{BackupChoice, Vault};

use crate::bench_world::{World, nothing_half_made, run, words};

const TWO_TABLES: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text);
     CREATE TABLE bars (id bigint PRIMARY KEY, close numeric(18,6));
     INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 3000) i;
     INSERT INTO bars SELECT i, i * 0.25 FROM generate_series(1, 3000) i";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_select_and_one_under_row_security_are_told_every_table_at_once() {
    let world = World::with(TWO_TABLES).await;
    let role = format!("poor_{}", world.database);
    world
        .run(&format!(
            "CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET statement_timeout = '1ms';
             CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
             GRANT SELECT ON secret TO {role}; GRANT SELECT ON users TO {role}"
        ))
        .await;
    let settings = world.role(&role);
    let error = world.dump_with(|request| request.database = settings).await.unwrap_err();
    assert_eq!(error.exit_code(), 22, "{}", words(&error));
    let text = words(&error);
    assert!(
        text.contains("public.bars") && text.contains("public.secret") && !text.contains("public.users"),
        "{text}"
    );
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roles_timeouts_do_not_end_a_dump() {
    let world = World::with(TWO_TABLES).await;
    let role = format!("hasty_{}", world.database);
    world
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
             ALTER ROLE {role} SET statement_timeout = '1ms';
             ALTER ROLE {role} SET idle_in_transaction_session_timeout = '1ms'"
        ))
        .await;
    let settings = world.role(&role);
    let report = world.dump_with(|request| request.database = settings).await.unwrap();
    assert_eq!(report.rows, 6000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_matches_nothing_is_an_error_that_names_it() {
    let world = World::with(TWO_TABLES).await;
    let error = world
        .dump_with(|request| request.selection.tables = vec![Pattern::parse("userz").unwrap()])
        .await
        .unwrap_err();
    assert_eq!((error.exit_code(), words(&error).contains("userz")), (2, true));
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_database_is_a_connection_error() {
    let world = World::with("").await;
    let error = world.dump_with(|request| request.database.database = "not_there".into()).await.unwrap_err();
    assert_eq!(error.exit_code(), 20, "{}", words(&error));
    nothing_half_made(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_during_the_dump_is_read_as_of_the_snapshot() {
    let world = World::with(TWO_TABLES).await;
    let settings = world.source();
    let writer = tokio::spawn(async move {
        for i in 0..200 {
            run(
                &settings,
                &format!("INSERT INTO bars SELECT 10000 + {i} * 10 + j, 1 FROM generate_series(1, 5) j"),
            )
            .await;
        }
    });
    let before = world.dump().await;
    writer.await.unwrap();
    let after = world.dump().await;
    let bars = |report: &barkeep::ops::dump::DumpReport| {
        report.tables.iter().find(|t| t.table.name == "bars").unwrap().rows
    };
    assert_eq!(bars(&before) % 5, 0, "transactions of five rows are whole or absent");
    assert_eq!(bars(&after), 4000);
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_refuses_the_source_and_a_database_that_is_not_empty() {
    let world = World::with(TWO_TABLES).await;
    world.dump().await;
    let error = world.restore_with(world.source(), |request| request.create = false).await.unwrap_err();
    assert!(words(&error).contains("source"), "{}", words(&error));
    let target = world.copy("copy");
    world.restore(target.clone()).await;
    let error = world.restore_with(target, |request| request.create = false).await.unwrap_err();
    assert!(matches!(error, OpsError::Usage(_) | OpsError::Restore(_)), "{}", words(&error));
}

/// One way to damage a vault, what it damages, and a word that the finding must have.
type Mutilation = (&'static str, fn(&Vault, &str), &'static str);

fn flip(path: &std::path::Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

fn length(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Damage to one piece; `verify` must name it.
const MUTILATIONS: &[Mutilation] = &[
    ("a flipped bit in the magic", |v, p| flip(&v.place(p), 0), "blake3"),
    ("a flipped bit in the data", |v, p| flip(&v.place(p), length(&v.place(p)) / 3), "blake3"),
    ("a flipped bit in the footer", |v, p| flip(&v.place(p), length(&v.place(p)) - 20), "blake3"),
    ("a flipped bit in the footer's length", |v, p| flip(&v.place(p), length(&v.place(p)) - 7), "blake3"),
    ("a flipped bit in the last magic", |v, p| flip(&v.place(p), length(&v.place(p)) - 1), "blake3"),
    ("a missing piece", |v, p| std::fs::remove_file(v.place(p)).unwrap(), "missing"),
    (
        "a piece cut short",
        |v, p| std::fs::File::options().write(true).open(v.place(p)).unwrap().set_len(100).unwrap(),
        "bytes",
    ),
    ("a piece of no length", |v, p| std::fs::write(v.place(p), b"").unwrap(), "bytes"),
    (
        "a piece with something appended",
        |v, p| {
            let bytes = [std::fs::read(v.place(p)).unwrap(), b"x".to_vec()].concat();
            std::fs::write(v.place(p), bytes).unwrap();
        },
        "bytes",
    ),
    (
        "a piece replaced by zeros of the same length",
        |v, p| {
            let zeros = vec![0; std::fs::read(v.place(p)).unwrap().len()];
            std::fs::write(v.place(p), zeros).unwrap();
        },
        "blake3",
    ),
    (
        "a directory in a piece's place",
        |v, p| {
            std::fs::remove_file(v.place(p)).unwrap();
            std::fs::create_dir(v.place(p)).unwrap();
        },
        "missing",
    ),
    (
        "a link to elsewhere in a piece's place",
        |v, p| {
            std::fs::remove_file(v.place(p)).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", v.place(p)).unwrap();
        },
        "missing",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_to_a_piece_is_found_and_named() {
    let world = World::with(TWO_TABLES).await;
    world.dump().await;
    assert_eq!(world.verify(Level::Decode).await.findings, vec![], "the control: an unharmed vault passes");
    for (what, damage, word) in MUTILATIONS {
        let copy = copy_of(&world);
        let sealed = BackupChoice::latest().find(&copy.1).unwrap();
        let piece = sealed.manifest.head.pieces[0].path.clone();
        damage(&copy.1, &piece);
        let request = VerifyRequest { choice: BackupChoice::latest(), level: Level::Decode };
        let report = verify(&copy.1, &request, &barkeep::ops::Services::default()).await.unwrap();
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|finding| (finding.path.as_str(), finding.problem.contains(word)))
            .collect();
        assert_eq!(found, [(piece.as_str(), true)], "{what}: {:?}", report.findings);
    }
}

/// A copy of the vault to harm.
fn copy_of(world: &World) -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(world.vault.root())
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let vault = Vault::open(&folder.path().join("vault")).unwrap();
    (folder, vault)
}

/// Rewrites a manifest's text.
fn rewrite(vault: &Vault, change: impl FnOnce(String) -> String) {
    let id = vault.backups().unwrap()[0].clone();
    let path = vault.root().join("backups").join(id.as_str()).join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "the mutilation must change something");
    std::fs::write(path, changed).unwrap();
}

/// Damage to the manifest, the exit code it must give.
type ManifestMutilation = (&'static str, fn(String) -> String, u8);

const MANIFEST_MUTILATIONS: &[ManifestMutilation] = &[
    ("a changed row count", |text| text.replacen("\"n\":\"3000\"", "\"n\":\"3001\"", 1), 40),
    ("a changed digest", |text| text.replacen("\"blake3\":\"", "\"blake3\":\"0", 1), 40),
    ("a path that leads out", |text| text.replacen("\"path\":\"backups/", "\"path\":\"../backups/", 1), 40),
    ("a key that stands twice", |text| text.replacen("{\"body\":", "{\"required\":[],\"body\":", 1), 40),
    ("an unknown format", |text| text.replacen("barkeep-manifest/1", "barkeep-manifest/2", 1), 10),
    ("half a manifest", |text| text[..text.len() / 2].to_owned(), 40),
    ("an empty manifest", |_| String::new(), 40),
    (
        "a fraction where a whole number belongs",
        |text| text.replacen("\"schema\":0", "\"schema\":0.5", 1),
        40,
    ),
    (
        "a root of zeros",
        |text| {
            let at = text.find("\"root\":\"").unwrap() + 8;
            format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..])
        },
        40,
    ),
    ("an unknown field slipped in", |text| text.replacen("{\"body\":{", "{\"body\":{\"aaa\":1,", 1), 40),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_to_the_manifest_is_refused() {
    let world = World::with(TWO_TABLES).await;
    world.dump().await;
    for (what, damage, code) in MANIFEST_MUTILATIONS {
        let copy = copy_of(&world);
        rewrite(&copy.1, damage);
        let error = BackupChoice::latest().find(&copy.1).map_err(OpsError::from).unwrap_err();
        assert_eq!(error.exit_code(), *code, "{what}: {}", words(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pieces_that_changed_places_are_both_found() {
    let world = World::with(TWO_TABLES).await;
    world.dump().await;
    let sealed = BackupChoice::latest().find(&world.vault).unwrap();
    let places: Vec<PathBuf> =
        sealed.manifest.head.pieces.iter().map(|piece| world.vault.place(&piece.path)).collect();
    let aside = places[0].with_extension("aside");
    std::fs::rename(&places[0], &aside).unwrap();
    std::fs::rename(&places[1], &places[0]).unwrap();
    std::fs::rename(&aside, &places[1]).unwrap();
    assert_eq!(world.verify(Level::Hash).await.findings.len(), 2);
    let error = world.restore_with(world.copy("copy"), |_| ()).await.unwrap_err();
    assert_eq!(error.exit_code(), 40, "{}", words(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extra_file_is_reported_and_harms_nothing() {
    let world = World::with(TWO_TABLES).await;
    world.dump().await;
    let id = world.vault.backups().unwrap()[0].clone();
    std::fs::write(world.vault.root().join("backups").join(id.as_str()).join("tables/stray.parquet"), b"x")
        .unwrap();
    let report = world.verify(Level::Hash).await;
    assert_eq!((report.findings.len(), report.extra.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_storage_error_and_leaves_nothing() {
    let world = World::with(
        "CREATE TABLE big (id bigint, filler text);
         INSERT INTO big SELECT i, md5(i::text) || md5((i * 7)::text) FROM generate_series(1, 60000) i",
    )
    .await;
    let mount = world.folder.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let status = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&mount)
        .status()
        .unwrap();
    assert!(status.success(), "this test mounts a small tmpfs, which needs root");
    let now = barkeep::base::Clock::now(&barkeep::base::SystemClock);
    let vault = Vault::open_or_create(&mount.join("vault"), now, rand::random()).unwrap();
    let mut request = barkeep::ops::dump::DumpRequest::new(world.source());
    request.path = std::env::var_os("PATH");
    let error =
        barkeep::ops::dump::dump(&vault, &request, &barkeep::ops::Services::default()).await.unwrap_err();
    let (code, text, backups) = (error.exit_code(), words(&error), vault.backups().unwrap());
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&mount).status().unwrap();
    assert!(unmounted.success());
    assert_eq!((code, backups), (30, vec![]), "{text}");
}
