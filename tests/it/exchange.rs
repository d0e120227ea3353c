//! A simulated exchange, sound by construction, and a hundred ways to break it: each is found by exactly the checks that
//! `fixtures/exchange/breaks.toml` names, and the sound one by none.

use std::process::Command;

use crate::bench_world::server;

#[test]
fn every_break_of_the_exchange_is_found_by_the_checks_that_it_names() {
    let server = server();
    let python = std::env::var("BARKEEP_TEST_PYTHON").expect("`make test` sets it");
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/exchange/prove.py"))
        .args(["--barkeep", env!("CARGO_BIN_EXE_barkeep"), "--server"])
        .arg(format!("postgres://postgres@127.0.0.1:{}", server.port()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Without checks and breaks it would have proven nothing.
    let (checks, rest) = said.lines().last().unwrap().split_once(" checks, ").unwrap();
    let breaks = rest.split(' ').next().unwrap();
    assert!(checks.parse::<u32>().unwrap() > 50 && breaks.parse::<u32>().unwrap() > 90, "{said}");
}
