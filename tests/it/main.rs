//! Integration tests of the library against real servers: PostgreSQL 15 from local binaries, PostgreSQL 17 in a container.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod bench_market;
mod bench_world;
mod calendars;
mod checks;
mod cluster;
mod connections;
mod container;
mod diff;
mod disk;
mod drift;
mod drill;
mod encodings;
mod exchange;
mod faults;
mod flow;
mod forgery;
mod golden;
mod interference;
mod kills;
mod large;
mod large_rows;
mod many;
mod mutations;
mod oracle;
mod query;
mod readers;

mod regress;
mod reports;
mod restores;
mod roundtrip;
mod servers;
mod structure;
mod timescale;
