//! A vault that was harmed, by chance or on purpose: `verify` and `restore` end with the documented code, name what is
//! harmed, and no row of that table reaches the server. The binary itself is asked.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use barkeep::ops::verify::Level;
use barkeep::pg::workbench::Workbench;
use barkeep::store::{BackupChoice, Vault};
use serde_json::Value;

use crate::bench_world::{World, value, words};
use crate::forgery::{
    Chunk, endless_footer, manifest_path, one_value, only_path, page_header, replace_piece, replace_sidecar,
    reseal, rewrite, row_of_zeros, sidecar_path, with_chunk, zstd_zeros,
};

const TABLES: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text);
     CREATE TABLE bars (id bigint PRIMARY KEY, close numeric);
     CREATE TABLE blobs (data bytea);
     CREATE TABLE tags (list int[]);
     INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 3000) i;
     INSERT INTO bars SELECT i, i * 0.25 FROM generate_series(1, 3000) i;
     INSERT INTO bars VALUES (0, 'NaN');
     INSERT INTO blobs VALUES ('\\x0102');
     INSERT INTO tags VALUES ('{1,2}')";

const USERS: &str = "public.users";
const BARS: &str = "public.bars";
const BLOBS: &str = "public.blobs";
const TAGS: &str = "public.tags";

/// What a process may hold while it refuses a file that asks for gigabytes.
const MODEST: u64 = 200 << 20;

/// One way to harm a vault.
struct Case {
    what: &'static str,
    harm: fn(&Vault),
    code: i32,
    /// What verify and restore both have to say; `{id}` is the backup's.
    names: &'static [&'static str],
    /// Whose rows must not arrive.
    table: &'static str,
}

const fn case(
    what: &'static str,
    code: i32,
    names: &'static [&'static str],
    table: &'static str,
    harm: fn(&Vault),
) -> Case {
    Case { what, harm, code, names, table }
}

/// How the program ended.
struct Ran {
    code: i32,
    said: String,
    /// The most memory it had, in bytes.
    peak: u64,
}

fn barkeep(vault: &Path, arguments: &[&str]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_barkeep"))
        .args(arguments)
        .args(["--progress", "none", "--vault"])
        .arg(vault)
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        let status = std::fs::read_to_string(&status_file).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak = high.and_then(|kib| kib.parse::<u64>().ok()).map_or(peak, |kib| peak.max(kib << 10));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    Ran { code: status.code().unwrap_or(-1), said, peak }
}

/// A copy of the vault to harm.
fn copy_of(world: &World) -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-a").arg(world.vault.root()).arg(folder.path()).status().unwrap();
    assert!(status.success());
    let vault = Vault::open(&folder.path().join("vault")).unwrap();
    (folder, vault)
}

/// Restores with the binary: how it ended, and how many rows the table has then.
async fn restored(world: &World, vault: &Path, table: &str) -> (Ran, u64) {
    let target = world.copy("harmed");
    let to =
        format!("host={} port={} user={} dbname={}", target.host, target.port, target.user, target.database);
    let ran = barkeep(vault, &["restore", "--create", "--no-compare", "--to", &to]);
    let server = Workbench::connect(&world.source()).await.unwrap();
    let mut rows = 0;
    if server.databases().await.unwrap().contains(&target.database) {
        let there = format!("SELECT to_regclass('{table}')");
        if value(&target, &there).await.is_some() {
            rows = value(&target, &format!("SELECT count(*) FROM {table}")).await.unwrap().parse().unwrap();
        }
    }
    server.drop_database(&target.database).await.unwrap();
    (ran, rows)
}

async fn refused(world: &World, cases: &[Case]) {
    let control = barkeep(world.vault.root(), &["verify", "--level", "decode"]);
    assert_eq!(control.code, 0, "the control: an unharmed vault is sound: {}", control.said);
    let (control, rows) = restored(world, world.vault.root(), USERS).await;
    assert_eq!(
        (control.code, rows),
        (0, 3000),
        "the control: an unharmed vault comes back: {}",
        control.said
    );
    let id = world.vault.backups().unwrap()[0].to_string();
    let mut wrong = Vec::new();
    for Case { what, harm, code, names, table } in cases {
        let (_folder, vault) = copy_of(world);
        harm(&vault);
        let verified = barkeep(vault.root(), &["verify", "--level", "decode"]);
        let (back, rows) = restored(world, vault.root(), table).await;
        for (command, ran) in [("verify", &verified), ("restore", &back)] {
            if ran.code != *code {
                wrong.push(format!("{command} of {what} ends with {}: {}", ran.code, ran.said));
            }
            for name in names.iter().map(|name| name.replace("{id}", &id)) {
                if !ran.said.contains(&name) {
                    wrong.push(format!("{command} of {what} does not say {name:?}: {}", ran.said));
                }
            }
            if ran.peak >= MODEST {
                wrong.push(format!("{command} of {what} took {} MiB", ran.peak >> 20));
            }
        }
        if rows != 0 {
            wrong.push(format!("{what}: {rows} rows of {table} reached the server"));
        }
    }
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn flip(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// Flips a bit, counted from the end where `at` is negative.
fn flip_in(vault: &Vault, path: &str, at: i64) {
    let place = vault.place(path);
    let length = std::fs::metadata(&place).unwrap().len();
    flip(&place, if at < 0 { length.saturating_add_signed(at) } else { at as u64 });
}

fn users(vault: &Vault) -> String {
    only_path(vault, USERS)
}

fn bars_sidecar(vault: &Vault) -> String {
    sidecar_path(vault, BARS)
}

fn catalog(vault: &Vault) -> String {
    let folder = manifest_path(vault).parent().unwrap().to_owned();
    let path = folder.join("schema/catalog.json");
    path.strip_prefix(vault.root()).unwrap().to_str().unwrap().to_owned()
}

fn change_file(vault: &Vault, path: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let place = vault.place(path);
    let bytes = std::fs::read(&place).unwrap();
    std::fs::write(place, change(bytes)).unwrap();
}

fn cut(vault: &Vault, path: &str, length: usize) {
    change_file(vault, path, |bytes| bytes[..length].to_vec());
}

const PIECE: &[&str] = &["/tables/public.users/"];
const SIDECAR: &[&str] = &["/exceptions/public.bars/"];

const PIECES: &[Case] = &[
    case("a flipped bit in the magic", 40, PIECE, USERS, |v| flip_in(v, &users(v), 0)),
    case("a flipped bit in the data", 40, PIECE, USERS, |v| flip_in(v, &users(v), 500)),
    case("a flipped bit in the footer", 40, PIECE, USERS, |v| flip_in(v, &users(v), -20)),
    case("a flipped bit in the footer's length", 40, PIECE, USERS, |v| flip_in(v, &users(v), -7)),
    case("a flipped bit in the last magic", 40, PIECE, USERS, |v| flip_in(v, &users(v), -1)),
    case("a missing piece", 40, PIECE, USERS, |v| std::fs::remove_file(v.place(&users(v))).unwrap()),
    case("a renamed piece", 40, PIECE, USERS, |v| {
        let place = v.place(&users(v));
        std::fs::rename(&place, place.with_file_name("other.parquet")).unwrap();
    }),
    case("a piece cut short", 40, PIECE, USERS, |v| cut(v, &users(v), 100)),
    case("a piece of no length", 40, PIECE, USERS, |v| cut(v, &users(v), 0)),
    case("a piece with something appended", 40, PIECE, USERS, |v| {
        change_file(v, &users(v), |bytes| [bytes, b"x".to_vec()].concat());
    }),
    case("zeros of the same length", 40, PIECE, USERS, |v| {
        change_file(v, &users(v), |bytes| vec![0; bytes.len()]);
    }),
    case("a directory in a piece's place", 40, PIECE, USERS, |v| {
        let place = v.place(&users(v));
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(place).unwrap();
    }),
    case("a link to elsewhere in a piece's place", 40, PIECE, USERS, |v| {
        let place = v.place(&users(v));
        let elsewhere = v.root().parent().unwrap().join("elsewhere");
        std::fs::rename(&place, &elsewhere).unwrap();
        std::os::unix::fs::symlink(elsewhere, place).unwrap();
    }),
    case("two pieces that changed places", 40, &["/tables/public."], USERS, |v| {
        let (a, b) = (v.place(&users(v)), v.place(&only_path(v, BARS)));
        let aside = a.with_extension("aside");
        std::fs::rename(&a, &aside).unwrap();
        std::fs::rename(&b, &a).unwrap();
        std::fs::rename(&aside, &b).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_harmed_piece_is_named_and_never_restored() {
    refused(&World::dumped(TABLES).await, PIECES).await;
}

const BESIDES: &[Case] = &[
    case("a flipped bit in a sidecar", 40, SIDECAR, BARS, |v| flip_in(v, &bars_sidecar(v), 40)),
    case("a sidecar cut short", 40, SIDECAR, BARS, |v| cut(v, &bars_sidecar(v), 50)),
    case("a missing sidecar", 40, SIDECAR, BARS, |v| {
        std::fs::remove_file(v.place(&bars_sidecar(v))).unwrap();
    }),
    case("a piece in a sidecar's place", 40, SIDECAR, BARS, |v| {
        std::fs::copy(v.place(&users(v)), v.place(&bars_sidecar(v))).unwrap();
    }),
    case("a flipped bit in the catalog", 40, &["schema/catalog.json"], USERS, |v| {
        flip_in(v, &catalog(v), 500);
    }),
    case("half a catalog", 40, &["schema/catalog.json"], USERS, |v| cut(v, &catalog(v), 400)),
    case("no catalog", 40, &["schema/catalog.json"], USERS, |v| {
        std::fs::remove_file(v.place(&catalog(v))).unwrap();
    }),
    case("no vault.json", 10, &["vault.json"], USERS, |v| {
        std::fs::remove_file(v.place("vault.json")).unwrap();
    }),
    case("half a vault.json", 40, &["vault.json is damaged"], USERS, |v| cut(v, "vault.json", 60)),
    case("a vault of another format", 10, &["barkeep-vault/2"], USERS, |v| {
        text(v, "barkeep-vault/1", "barkeep-vault/2");
    }),
    case("another rowset key under the old id", 40, &["vault.json", "rowset key"], USERS, |v| {
        let key: String = v.key(v.key_id()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        text(v, &key, &"ab".repeat(32));
    }),
    case("no rowset key of the backup's", 40, &["vault.json", "rowset key"], USERS, |v| {
        let other = [7; 32];
        let id = &blake3::Hash::from_bytes(blake3::derive_key("barkeep rowset key id v1", &other)).to_hex();
        let key: String = v.key(v.key_id()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let old = v.key_id().to_owned();
        text(v, &key, &"07".repeat(32));
        text(v, &old, &id[..8]);
    }),
];

/// Replaces a text in `vault.json`, everywhere.
fn text(vault: &Vault, from: &str, to: &str) {
    change_file(vault, "vault.json", |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn harm_to_what_lies_beside_the_pieces_is_named() {
    refused(&World::dumped(TABLES).await, BESIDES).await;
}

const ID: &[&str] = &["the manifest of {id}"];

fn once(vault: &Vault, from: &str, to: &str) {
    rewrite(vault, |text| text.replacen(from, to, 1));
}

/// Harm that the root finds, or that leaves no manifest to have a root.
const MANIFESTS: &[Case] = &[
    case("a changed row count", 40, ID, USERS, |v| once(v, "\"n\":\"3000\"", "\"n\":\"3001\"")),
    case("a changed digest", 40, ID, USERS, |v| once(v, "\"blake3\":\"", "\"blake3\":\"0")),
    case("a path that leads out", 40, ID, USERS, |v| once(v, "\"path\":\"backups/", "\"path\":\"../x/")),
    case("a key that stands twice", 40, ID, USERS, |v| once(v, "{\"body\":", "{\"root\":\"\",\"body\":")),
    case("an unknown format", 10, ID, USERS, |v| once(v, "barkeep-manifest/1", "barkeep-manifest/2")),
    case("half a manifest", 40, ID, USERS, |v| rewrite(v, |text| text[..text.len() / 2].to_owned())),
    case("an empty manifest", 40, ID, USERS, |v| rewrite(v, |_| String::new())),
    case("a fraction for a whole number", 40, ID, USERS, |v| once(v, "\"schema\":0", "\"schema\":0.5")),
    case("a root of zeros", 40, ID, USERS, |v| {
        rewrite(v, |text| {
            let at = text.find("\"root\":\"").unwrap() + 8;
            format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..])
        });
    }),
    case("an unknown field slipped in", 40, ID, USERS, |v| once(v, "{\"body\":{", "{\"body\":{\"aaa\":1,")),
    case("a flipped bit in the manifest", 40, ID, USERS, |v| flip(&manifest_path(v), 300)),
    case("a manifest in another backup's folder", 40, &["20260101T000000Z-aaaaaaaa", "{id}"], USERS, |v| {
        let folder = v.root().join("backups/20260101T000000Z-aaaaaaaa");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(manifest_path_of_last(v), folder.join("manifest.json")).unwrap();
    }),
];

/// The manifest while another folder is being made before it.
fn manifest_path_of_last(vault: &Vault) -> std::path::PathBuf {
    let id = vault.backups().unwrap().pop().unwrap();
    vault.root().join("backups").join(id.as_str()).join("manifest.json")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmed_manifest_is_refused() {
    refused(&World::dumped(TABLES).await, MANIFESTS).await;
}

fn first_piece(manifest: &mut Value) -> &mut Value {
    &mut manifest["head"]["pieces"][0]
}

/// Manifests whose root fits: what is left is what they say.
const SEALED: &[Case] = &[
    case("a sealed path that leads out", 40, &["{id}", "backups/../../etc/passwd"], USERS, |v| {
        reseal(v, |manifest| first_piece(manifest)["path"] = "backups/../../etc/passwd".into());
    }),
    case("a sealed absolute path", 40, &["{id}", "/etc/passwd"], USERS, |v| {
        reseal(v, |manifest| first_piece(manifest)["path"] = "/etc/passwd".into());
    }),
    case("a sealed path of a sidecar that leads out", 40, &["{id}", "backups/x/../../y"], USERS, |v| {
        reseal(v, |manifest| {
            let pieces = manifest["head"]["pieces"].as_array_mut().unwrap();
            let piece = pieces.iter_mut().find(|piece| !piece["exceptions"].is_null()).unwrap();
            piece["exceptions"]["path"] = "backups/x/../../y".into();
        });
    }),
    case("a sealed path with a NUL", 40, &["{id}", "plain path"], USERS, |v| {
        reseal(v, |manifest| first_piece(manifest)["path"] = "backups/a\0b".into());
    }),
    case("a piece sealed twice", 40, &["{id}", "twice"], USERS, |v| {
        reseal(v, |manifest| {
            let copy = first_piece(manifest).clone();
            manifest["head"]["pieces"].as_array_mut().unwrap().push(copy);
        });
    }),
    case("a table sealed twice", 40, &["{id}", "public.bars is listed twice"], BARS, |v| {
        reseal(v, |manifest| {
            let mut copy = manifest["body"]["tables"][0].clone();
            copy["units"] = Value::Array(Vec::new());
            manifest["body"]["tables"].as_array_mut().unwrap().push(copy);
        });
    }),
    case("a table sealed without its piece", 40, &["{id}", "public.bars"], BARS, |v| {
        reseal(v, |manifest| manifest["body"]["tables"][0]["units"] = Value::Array(Vec::new()));
    }),
    case("row groups sealed with other rows", 40, &["{id}", "row groups"], USERS, |v| {
        reseal(v, |manifest| first_piece(manifest)["row_groups"][0]["rows"] = "7".into());
    }),
    case("an unknown format, sealed", 10, &["{id}", "barkeep-manifest/9"], USERS, |v| {
        reseal(v, |manifest| manifest["format"] = "barkeep-manifest/9".into());
    }),
    case("a required feature nobody knows", 10, &["{id}", "time-travel"], USERS, |v| {
        reseal(v, |manifest| manifest["required"] = serde_json::json!(["time-travel"]));
    }),
    case("a rowset digest nobody knows", 10, &["{id}", "rs2"], USERS, |v| {
        reseal(v, |manifest| manifest["head"]["rowset"]["alg"] = "rs2".into());
    }),
    case("a rowset key nobody has", 40, &["vault.json", "0123abcd"], USERS, |v| {
        reseal(v, |manifest| manifest["head"]["rowset"]["key_id"] = "0123abcd".into());
    }),
    case("a sealed length that is not the file's", 40, PIECE, USERS, |v| {
        let path = users(v);
        reseal(v, |manifest| {
            let pieces = manifest["head"]["pieces"].as_array_mut().unwrap();
            pieces.iter_mut().find(|piece| piece["path"] == path).unwrap()["bytes"] = "12".into();
        });
    }),
    case("another table's piece, sealed", 40, &["/tables/public.users/", "columns"], USERS, |v| {
        let other = std::fs::read(v.place(&only_path(v, BARS))).unwrap();
        replace_piece(v, USERS, &other, 1 << 20, None);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_root_fits_is_still_not_believed() {
    let world = World::dumped(TABLES).await;
    let (_folder, vault) = copy_of(&world);
    reseal(&vault, |manifest| manifest["body"]["tag"] = "resealed".into());
    let control = barkeep(vault.root(), &["verify", "--level", "decode", "resealed"]);
    assert_eq!(control.code, 0, "the control: a root of our making is believed: {}", control.said);
    refused(&world, SEALED).await;
}

/// The longest page that a header can say.
const TWO_GIB: u64 = (1 << 31) - 1;
const HALF_A_GIB: u64 = 1 << 29;

/// A page of one `bytea` of zeros that has `uncompressed` bytes, and whose header says `says`.
fn page_of_zeros(uncompressed: u64, says: u64) -> Vec<u8> {
    let start = one_value(uncompressed - 10);
    let page = zstd_zeros(&start, uncompressed - start.len() as u64);
    [page_header(says, page.len(), 1), page].concat()
}

/// Puts a page of zeros into `blobs`. The column says `column`, the manifest `copy_bytes`.
fn bomb(vault: &Vault, page: Vec<u8>, column: u64, values: u64, copy_bytes: u64) {
    let place = vault.place(&only_path(vault, BLOBS));
    let chunk = Chunk { bytes: page, uncompressed: column, values };
    let file = with_chunk(&place, 0, &chunk);
    assert!(file.len() < 1 << 20, "a bomb is small");
    replace_piece(vault, BLOBS, &file, copy_bytes, None);
}

const GIB: u64 = 1 << 30;
const BLOB: &[&str] = &["/tables/public.blobs/"];

/// Parquet files with lengths that lie, under digests and a root that fit.
const BOMBS: &[Case] = &[
    case("a page of 2 GiB in 70 KiB", 40, &["/tables/public.blobs/", "a page has 2147483647"], BLOBS, |v| {
        bomb(v, page_of_zeros(TWO_GIB, TWO_GIB), TWO_GIB + 100, 1, GIB);
    }),
    case("a page that inflates to 2 GiB and says 4 KiB", 40, BLOB, BLOBS, |v| {
        bomb(v, page_of_zeros(TWO_GIB, 4096), 4200, 1, GIB);
    }),
    case("a page larger than its column", 40, &["larger than its column"], BLOBS, |v| {
        bomb(v, page_of_zeros(HALF_A_GIB, HALF_A_GIB), 4200, 1, GIB);
    }),
    case("a column larger than its rows", 40, &["the uncompressed piece has"], BLOBS, |v| {
        bomb(v, page_of_zeros(HALF_A_GIB, HALF_A_GIB), HALF_A_GIB + 100, 1, 100);
    }),
    case("a row longer than any row", 40, &["more than 1 rows can have"], BLOBS, |v| {
        bomb(v, page_of_zeros(HALF_A_GIB, HALF_A_GIB), HALF_A_GIB + 100, 1, 1 << 50);
    }),
    case("a thousand million values in one row", 40, &["1073741824 values in 1 rows"], BLOBS, |v| {
        let page = zstd_zeros(&one_value(2), 2);
        let page = [page_header(12, page.len(), GIB), page].concat();
        bomb(v, page, 200, GIB, GIB);
    }),
    case("a thousand million elements in one array", 40, &["1073741824 values in 1 rows"], TAGS, |v| {
        // Levels of one run each: 2^30 elements that are NULL, in twenty bytes.
        let run = |value: u8| [&[6, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x08][..], &[value]].concat();
        let page = zstd_zeros(&[run(1), run(2)].concat(), 0);
        let chunk = [page_header(20, page.len(), GIB), page].concat();
        let place = v.place(&only_path(v, TAGS));
        let file = with_chunk(&place, 0, &Chunk { bytes: chunk, uncompressed: 200, values: GIB });
        replace_piece(v, TAGS, &file, GIB, None);
    }),
    case("a footer with two thousand million columns", 40, BLOB, BLOBS, |v| {
        replace_piece(v, BLOBS, &endless_footer(), 100, None);
    }),
    case("a footer longer than the file", 40, BLOB, BLOBS, |v| {
        let mut file = std::fs::read(v.place(&only_path(v, BLOBS))).unwrap();
        let at = file.len() - 8;
        file[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x07]);
        replace_piece(v, BLOBS, &file, 100, None);
    }),
    case(
        "a sidecar with a page of 2 GiB",
        40,
        &["/tables/public.bars/", "a page has 2147483647"],
        BARS,
        |v| {
            let place = v.place(&bars_sidecar(v));
            let page = page_of_zeros(TWO_GIB, TWO_GIB);
            let file = with_chunk(&place, 4, &Chunk { bytes: page, uncompressed: TWO_GIB + 100, values: 1 });
            replace_sidecar(v, BARS, &file);
            let piece = only_path(v, BARS);
            reseal(v, |manifest| {
                let pieces = manifest["head"]["pieces"].as_array_mut().unwrap();
                let piece = pieces.iter_mut().find(|found| found["path"] == piece).unwrap();
                piece["copy_bytes"] = GIB.to_string().into();
            });
        },
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn forged_lengths_and_bombs_are_refused_in_little_memory() {
    let world = World::dumped(TABLES).await;
    let (_folder, vault) = copy_of(&world);
    let zeros = 300 << 20;
    let (rowset, copy_bytes) = row_of_zeros(vault.key(vault.key_id()).unwrap(), zeros);
    let page = page_of_zeros(zeros + 10, zeros + 10);
    let chunk = Chunk { bytes: page, uncompressed: zeros + 200, values: 1 };
    let file = with_chunk(&vault.place(&only_path(&vault, BLOBS)), 0, &chunk);
    replace_piece(&vault, BLOBS, &file, copy_bytes, Some(rowset));
    let control = barkeep(vault.root(), &["verify", "--level", "decode"]);
    assert_eq!(
        control.code, 0,
        "the control: a forged file whose lengths are true is read: {}",
        control.said
    );
    assert!(control.peak > MODEST, "the control: memory is seen, {} MiB", control.peak >> 20);
    refused(&world, BOMBS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_shows_no_rows_from_a_sidecar_that_was_harmed() {
    let world = World::dumped(TABLES).await;
    world.run("UPDATE bars SET close = 1 WHERE id = 0").await;
    let request = || {
        let mut request = barkeep::ops::compare::CompareRequest::new(world.source());
        request.rows = true;
        request
    };
    let services = barkeep::ops::Services::default();
    let report = barkeep::ops::compare::compare(&world.vault, &request(), &services).await.unwrap();
    let bars = report.tables.iter().find(|table| table.table.name == "bars").unwrap();
    assert_eq!(bars.differences.len(), 2, "the control: the old row and the new one");
    // It decodes, and only its digest tells that the old row had another value.
    let path = bars_sidecar(&world.vault);
    let other = World::dumped(&TABLES.replace("'NaN'", "'Infinity'")).await;
    std::fs::copy(other.vault.place(&bars_sidecar(&other.vault)), world.vault.place(&path)).unwrap();
    let error = barkeep::ops::compare::compare(&world.vault, &request(), &services).await.unwrap_err();
    let text = words(&error);
    assert!(error.exit_code() == 40 && text.contains(&path) && text.contains("is damaged"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extra_file_is_reported_and_harms_nothing() {
    let world = World::dumped(TABLES).await;
    let folder = manifest_path(&world.vault).parent().unwrap().join("tables");
    std::fs::write(folder.join("stray.parquet"), b"x").unwrap();
    let report = world.verify(Level::Hash).await;
    assert_eq!((report.findings.len(), report.extra.len()), (0, 1));
    let ran = barkeep(world.vault.root(), &["verify"]);
    assert!(ran.code == 3 && ran.said.contains("tables/stray.parquet"), "{}", ran.said);
    let (ran, rows) = restored(&world, world.vault.root(), USERS).await;
    assert_eq!((ran.code, rows), (0, 3000), "{}", ran.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmed_manifest_elsewhere_does_not_hide_a_backup_that_is_named() {
    let world = World::dumped(TABLES).await;
    let id = world.vault.backups().unwrap()[0].clone();
    let folder = world.vault.root().join("backups/20260101T000000Z-aaaaaaaa");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("manifest.json"), b"{").unwrap();
    assert!(BackupChoice::latest().find(&world.vault).is_err());
    assert_eq!(BackupChoice::named(id.as_str()).find(&world.vault).unwrap().manifest.head.id, id);
}
