//! Arguments on their way to requests, and the reference that is made from them.

use std::path::Path;

use clap::{CommandFactory, Parser};

use super::args::{Args, Command};

#[test]
fn the_arguments_are_consistent() {
    Args::command().debug_assert();
}

#[test]
fn global_options_may_stand_behind_the_command() {
    let args = Args::try_parse_from(["barkeep", "list", "--json", "--vault", "/v", "-q"]).unwrap();
    assert!(args.global.json && args.global.quiet && args.global.vault.as_deref() == Some(Path::new("/v")));
}

#[test]
fn restore_needs_a_target_and_verify_a_known_level() {
    assert!(Args::try_parse_from(["barkeep", "restore"]).is_err());
    assert!(Args::try_parse_from(["barkeep", "verify", "--level", "deep"]).is_err());
    assert!(Args::try_parse_from(["barkeep", "dump", "--keep", "a-while"]).is_err());
    assert!(Args::try_parse_from(["barkeep", "show", "--before", "yesterday"]).is_err());
    let args =
        Args::try_parse_from(["barkeep", "restore", "--to", "d", "--first", "users,accounts"]).unwrap();
    let Command::Restore(restore) = args.command else { panic!("another command") };
    assert_eq!(restore.first, ["users", "accounts"]);
}

/// docs/cli.md is what the program says about itself.
fn reference() -> String {
    let mut text = String::from(
        "# Commands\n\nMade from the program's own help (`UPDATE_DOCS=1 cargo test --lib cli` writes it anew). What the exit \
         codes mean is in [exit-codes.md](exit-codes.md).\n",
    );
    let mut top = Args::command().term_width(100).color(clap::ColorChoice::Never);
    top.build();
    text.push_str(&section("barkeep", &mut top.clone()));
    for command in top.get_subcommands_mut() {
        let title = format!("barkeep {}", command.get_name());
        text.push_str(&section(&title, command));
    }
    text
}

fn section(title: &str, command: &mut clap::Command) -> String {
    let help: String =
        command.render_long_help().to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    format!("\n## {title}\n\n```text\n{}\n```\n", help.trim_end())
}

#[test]
fn the_command_reference_is_what_the_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let now = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "docs/cli.md is out of date: run UPDATE_DOCS=1 cargo test --lib cli");
}

#[test]
fn every_command_has_examples() {
    for command in Args::command().get_subcommands_mut() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:\n  barkeep "), "{} has none", command.get_name());
    }
}
