//! Restores, of one table's rows and of a whole database, and the proofs: verify and compare.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::case::{Case, Program};
use crate::dumps::{bar_columns, load_columns};
use crate::market::tables::{ORDERS, TYPES, WIDE, small};
use crate::market::{Order, bars, put_numeric};
use crate::world::{World, barkeep};

pub(crate) const RESTORE: &str = "restore numeric bars";
pub(crate) const WHOLE: &str = "restore a database with indexes";
pub(crate) const VERIFY: &str = "verify numeric bars";
pub(crate) const COMPARE: &str = "compare numeric bars";

pub(crate) const PG_RESTORE: &str = "pg_restore -j2";
pub(crate) const FLOOR_ANALYZED: &str = "psql \\copy, then ANALYZE";
pub(crate) const ANALYZED: &str = "pg_restore -j2, then vacuumdb -Z -j2";
pub(crate) const HASH: &str = "barkeep verify --level hash";
pub(crate) const DECODE: &str = "barkeep verify --level decode";
pub(crate) const COMPARED: &str = "barkeep compare";

/// Runs what a case needs beforehand.
fn done(mut command: Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {status:?}");
}

/// A backup to restore from, or to prove; made once.
fn vault(world: &World, database: &str, arguments: &[&str]) -> std::path::PathBuf {
    let vault = world.place(&format!("vault-of-{database}"));
    if vault.exists() {
        return vault;
    }
    world.empty_vault(&vault);
    let mut command = world.barkeep(&vault);
    command.args(["dump", "-j", "2"]).args(arguments).arg(world.server.keywords(database));
    done(command);
    vault
}

/// An empty table like the dumped one, in a database of its own.
fn empty_table(world: &World) {
    world.server.fresh("back");
    world.server.run("back", &format!("CREATE TABLE bars ({})", bar_columns("numeric(18,6)")));
    world.server.settle();
}

fn restore<'a>(world: &'a World, vault: &Path, lanes: usize, arguments: &'a [&str]) -> Program<'a> {
    let vault = vault.to_owned();
    Program {
        name: barkeep(lanes),
        prepare: Box::new(|| ()),
        result: None,
        command: Box::new(move || {
            let mut command = world.barkeep(&vault);
            command.args(["restore", "-j", &lanes.to_string(), "--to", &world.server.keywords("back")]);
            command.args(arguments);
            command
        }),
    }
}

fn pg_restore<'a>(world: &'a World, folder: &Path, arguments: &'a [&str]) -> Program<'a> {
    let folder = folder.to_owned();
    Program {
        name: PG_RESTORE.to_owned(),
        prepare: Box::new(|| ()),
        result: None,
        command: Box::new(move || {
            let mut command = world.server.client("pg_restore");
            command.args(["-j2", "-d", "back"]).args(arguments).arg(&folder);
            command
        }),
    }
}

/// A database that the planner knows as well as after a restore by barkeep, which analyzes.
fn analyzed<'a>(world: &'a World, folder: &Path) -> Program<'a> {
    let folder = folder.to_owned();
    Program {
        name: ANALYZED.to_owned(),
        prepare: Box::new(|| ()),
        result: None,
        command: Box::new(move || {
            let mut command = world.server.client("sh");
            command.args(["-c", "pg_restore -j2 -d back \"$0\" && vacuumdb -q -Z -j2 -d back"]).arg(&folder);
            command
        }),
    }
}

/// A dump in the directory format, to restore from.
fn directory(world: &World, database: &str) -> std::path::PathBuf {
    let folder = world.place(&format!("directory-of-{database}"));
    if !folder.exists() {
        let mut command = world.server.client("pg_dump");
        command.args(["-Fd", "-j2", "-Z1", "-d", database, "-f"]).arg(&folder);
        done(command);
    }
    folder
}

/// The rows of a table as a file of COPY BINARY.
fn copied(world: &World, database: &str, table: &str) -> String {
    let file = world.place(&format!("{database}-{table}.copy"));
    done(world.server.psql(database, &[&format!("\\copy {table} to '{}' (format binary)", file.display())]));
    format!("\\copy {table} from '{}' (format binary)", file.display())
}

/// Rows into an empty table without indexes.
pub(crate) fn restore_case<'a>(world: &'a World, database: &str, rows: u64) -> Case<'a> {
    let vault = vault(world, database, &["--data-only"]);
    let folder = directory(world, database);
    let copy = copied(world, database, "bars");
    const APPEND: &[&str] = &["--data-only", "--mode", "append", "--no-compare", "-t", "bars"];
    // A table that the planner knows as well as after a restore by barkeep.
    let analyzed = world.floor("back", || (), vec![copy.clone(), "ANALYZE bars".to_owned()]);
    let mut programs = vec![
        world.floor("back", || (), vec![copy]),
        Program { name: FLOOR_ANALYZED.to_owned(), ..analyzed },
        restore(world, &vault, 1, APPEND),
        restore(world, &vault, 2, APPEND),
        pg_restore(world, &folder, &["-a"]),
    ];
    for program in &mut programs {
        program.prepare = Box::new(|| empty_table(world));
    }
    Case { name: RESTORE, rows, programs }
}

/// A database as it is used: primary keys, indexes, small tables beside large ones.
pub(crate) fn load_whole(world: &World, rows: u64) {
    const INDEXES: [&str; 9] = [
        "ALTER TABLE bars ADD PRIMARY KEY (symbol, ts)",
        "CREATE INDEX bars_ts ON bars (ts)",
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
        "ALTER TABLE orders ADD UNIQUE (client_order_id)",
        "CREATE INDEX orders_symbol ON orders (symbol, created_at)",
        "CREATE INDEX orders_tags ON orders USING gin (tags)",
        "ALTER TABLE wide ADD PRIMARY KEY (id)",
        "CREATE INDEX wide_account ON wide (account_id, created_at)",
        "CREATE INDEX wide_updated ON wide (updated_at)",
    ];
    let server = &world.server;
    server.fresh("whole");
    server.run("whole", TYPES);
    eprintln!("loading {rows} bars into whole");
    server.run("whole", &format!("CREATE TABLE bars ({})", bar_columns("numeric(18,6)")));
    let mut all = bars(Order::TimeThenSymbol, rows);
    server.copy("whole", "bars", rows, |_, out| {
        if let Some(bar) = all.next() {
            put_numeric(&bar, out);
        }
    });
    load_columns(world, "whole", "orders", &ORDERS, rows / 10);
    load_columns(world, "whole", "wide", &WIDE, rows / 20);
    server.script("whole", &small(100));
    INDEXES.iter().for_each(|sql| {
        server.run("whole", sql);
    });
    server.rest("whole");
}

/// All of that database into an empty one.
pub(crate) fn whole_case(world: &World, rows: u64) -> Case<'_> {
    const ALL: &[&str] = &["--no-compare"];
    let vault = vault(world, "whole", &[]);
    let folder = directory(world, "whole");
    let mut copies: Vec<String> =
        ["bars", "orders", "wide"].map(|table| copied(world, "whole", table)).to_vec();
    copies.extend((0..100).map(|at| copied(world, "whole", &format!("small_{at:05}"))));
    // What the floor fills: the same tables without a key.
    let tables = world.place("tables.sql");
    let mut command = world.server.client("pg_dump");
    command.args(["--section=pre-data", "-d", "whole", "-f"]).arg(&tables);
    done(command);
    let mut floor = world.floor("back", || (), copies);
    floor.prepare = Box::new(move || {
        world.server.fresh("back");
        done(world.server.psql("back", &[&format!("\\i {}", tables.display())]));
        world.server.settle();
    });
    let mut proven = restore(world, &vault, 2, &[]);
    proven.name = format!("{}, then compare", barkeep(2));
    let (ours, theirs) = (restore(world, &vault, 2, ALL), pg_restore(world, &folder, &[]));
    let mut others = vec![ours, proven, theirs, analyzed(world, &folder)];
    if let Some(program) = pgcopydb(world) {
        others.push(program);
    }
    let copying = world.place("pgcopydb");
    for program in &mut others {
        let copying = copying.clone();
        program.prepare = Box::new(move || {
            if copying.exists() {
                crate::server::clear(&copying);
            }
            world.server.fresh("back");
            world.server.settle();
        });
    }
    let programs = std::iter::once(floor).chain(others).collect();
    Case { name: WHOLE, rows, programs }
}

/// Dump and restore in one.
fn pgcopydb(world: &World) -> Option<Program<'_>> {
    let command = || {
        let [source, target] = ["whole", "back"].map(|database| world.server.uri(database));
        world.peers.pgcopydb(&source, &target, &world.place("pgcopydb"), 2)
    };
    command()?;
    Some(Program {
        name: "pgcopydb clone -j2 (dump and restore)".to_owned(),
        prepare: Box::new(|| ()),
        result: None,
        command: Box::new(move || command().unwrap_or_else(|| Command::new("false"))),
    })
}

/// Both levels on the files of one table.
pub(crate) fn verify_case<'a>(world: &'a World, database: &str, rows: u64) -> Case<'a> {
    let vault = vault(world, database, &["--data-only"]);
    let level = |name: &str, level: &'static str| {
        let (vault, result) = (vault.clone(), vault.clone());
        Program {
            name: name.to_owned(),
            prepare: Box::new(|| ()),
            // Not made, but read: what is divided by time.
            result: Some(result),
            command: Box::new(move || {
                let mut command = world.barkeep(&vault);
                command.args(["verify", "--level", level]);
                command
            }),
        }
    };
    Case { name: VERIFY, rows, programs: vec![level(HASH, "hash"), level(DECODE, "decode")] }
}

/// A comparison with the source beside a dump of it.
pub(crate) fn compare_case<'a>(world: &'a World, database: &'a str, rows: u64) -> Case<'a> {
    let vault = vault(world, database, &["--data-only"]);
    let compare = Program {
        name: COMPARED.to_owned(),
        prepare: Box::new(|| ()),
        result: None,
        command: Box::new(move || {
            let mut command = world.barkeep(&vault);
            command.args(["compare", "--db", &world.server.keywords(database)]);
            command
        }),
    };
    let dump = world.dump(database, 1, &["--data-only"]);
    Case { name: COMPARE, rows, programs: vec![dump, compare] }
}
