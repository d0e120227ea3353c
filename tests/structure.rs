//! The architecture, held by a machine: ranks, sizes, and a word at the start of every file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules in the order in which they may name each other: each names only itself and those of an earlier rank. `plan` and
/// `pg` and `store` share no rank with each other's users; those of one rank do not name each other.
const RANKS: [&[&str]; 10] = [
    &["base"],
    &["catalog"],
    &["manifest"],
    &["codec"],
    &["plan"],
    &["checks", "report"],
    &["pg", "store"],
    &["pipeline", "query"],
    &["ops"],
    &["cli"],
];

const LONGEST_FILE: usize = 600;

fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    source_files(&root.join("src"), &mut found);
    let named = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root.join("src")).unwrap().display().to_string(), text)
    };
    found.into_iter().map(named).collect()
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}

/// The top module of a file: `codec/copy.rs` and `codec.rs` are both `codec`.
fn module(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// `crate::x` in code; tests may reach up, since they are not part of what is built.
fn named_modules(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names = BTreeSet::new();
    for line in lines {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            names.insert(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

fn rank_violations(path: &str, text: &str) -> Vec<String> {
    let own = module(path);
    let Some(mine) = rank(own) else { return Vec::new() };
    named_modules(text)
        .into_iter()
        .filter(|name| name != own && rank(name).is_none_or(|theirs| theirs >= mine))
        .map(|name| format!("{path} names crate::{name}"))
        .collect()
}

/// Tests of a module may lie in a file of their own; they are compiled for tests only.
fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

#[test]
fn a_module_names_only_modules_of_an_earlier_rank() {
    let all: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !is_test_file(path))
        .flat_map(|(path, text)| rank_violations(path, text))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_module_has_a_rank() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    let unranked: Vec<&str> = modules.filter(|module| rank(module).is_none()).collect();
    assert!(unranked.is_empty(), "{unranked:?}");
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let long = |(path, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{path}: {lines} lines"))
    };
    let all: Vec<String> = sources().iter().filter_map(long).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_file_says_at_its_start_what_it_is() {
    let silent = |(path, text): &(String, String)| (!text.starts_with("//! ")).then(|| path.clone());
    let all: Vec<String> = sources().iter().filter_map(silent).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The check itself must be able to fail.
#[test]
fn a_module_that_reaches_up_is_found() {
    let text = "//! x\nuse crate::base::Digest;\nuse crate::ops::OpsError;\nfn f() { crate::pg::x() }\n";
    let found = rank_violations("store/vault.rs", text);
    assert_eq!(found, ["store/vault.rs names crate::ops", "store/vault.rs names crate::pg"]);
    assert!(rank_violations("cli/mod.rs", text).is_empty());
    assert!(
        rank_violations("store/vault.rs", "//! x\n// crate::ops\n#[cfg(test)]\nuse crate::ops::X;")
            .is_empty()
    );
}
