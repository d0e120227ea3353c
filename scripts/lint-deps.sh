#!/usr/bin/env bash
# Licences, bans and sources of every dependency (deny.toml). Compiling cargo-deny takes three minutes, so it is installed
# only when CARGO_DENY_INSTALL=1 (CI sets it); otherwise it is said that it did not run. CARGO_DENY_ADVISORIES=1 asks the advisory
# database too, which needs the network.
set -euo pipefail
who=lint
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"
cd "$here/.."

if ! have cargo-deny && [ "${CARGO_DENY_INSTALL:-}" = 1 ]; then
    say "installing cargo-deny (several minutes)"
    cargo install --locked --quiet --version 0.20.2 cargo-deny </dev/null
fi
if ! have cargo-deny; then
    say "cargo deny: not run (not installed)"
    exit 0
fi
say "cargo deny check licenses bans sources"
cargo deny --locked check licenses bans sources
if [ "${CARGO_DENY_ADVISORIES:-}" = 1 ]; then
    say "cargo deny check advisories"
    cargo deny --locked check advisories
else
    say "cargo deny check advisories: not run (set CARGO_DENY_ADVISORIES=1)"
fi
