#!/usr/bin/env bash
# Runs the fuzz targets (fuzz/), one after the other, on the stable toolchain. What they find lies in fuzz/artifacts, what they
# learnt in fuzz/corpus, where the next run goes on.
#
# TIME   seconds for each target (default 60)
# FUZZ   which targets (default: all)
set -euo pipefail
who=fuzz
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"
cd "$here/.."

if ! have cargo-fuzz; then
    say "installing cargo-fuzz"
    cargo install --locked --quiet --version 0.13.2 cargo-fuzz </dev/null
fi
# Instrumented like nothing else: a folder of its own keeps other builds from starting anew.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/fuzz"
say "building (eight minutes the first time)"
cargo fuzz build --sanitizer none
read -ra targets <<<"${FUZZ:-$(cargo fuzz list | tr '\n' ' ')}"
for target in "${targets[@]}"; do
    say "$target, ${TIME:-60} s"
    # Without unsafe code of our own a sanitizer finds nothing that the targets do not assert.
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="${TIME:-60}" -max_len=4096 -print_final_stats=1 2>&1 |
        grep -E 'panicked|assertion|^ *(left|right):|ERROR|INITED|DONE|^Done|Test unit written' ||
        fail "$target found something" "cargo fuzz run --sanitizer none $target fuzz/artifacts/$target/<file> shows it again"
done
say "OK, nothing was found"
