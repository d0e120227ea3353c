#!/usr/bin/env bash
# Runs cargo's tests and ends in one line with their sum. The exit status is cargo's own.
#
# Arguments go to cargo test. What the tests find in their environment:
#   BARKEEP_TEST_IMAGE   image for the shared container (unless BARKEEP_TEST_SERVER is set)
#   BARKEEP_TEST_PYTHON  interpreter that has pyarrow, DuckDB and Polars
#   BARKEEP_TEST_NOT_RUN file to which a test that lacks what it needs adds a line, its name and what it needs; set here
set -euo pipefail
who='test'
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"
cd "$here/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target"
log="$target/test.log"
export BARKEEP_TEST_NOT_RUN="$target/test-not-run"
: > "$BARKEEP_TEST_NOT_RUN"

if [ -z "${BARKEEP_TEST_IMAGE:-}" ] && [ -s "$target/test-image" ]; then
    BARKEEP_TEST_IMAGE=$(cat "$target/test-image")
    export BARKEEP_TEST_IMAGE
fi
if [ -z "${BARKEEP_TEST_PYTHON:-}" ] && [ -x "$target/venv/bin/python" ]; then
    export BARKEEP_TEST_PYTHON="$target/venv/bin/python"
fi

# PostgreSQL's own regression database is one of the inputs; its suite is fetched and compiled beforehand.
"$here/../fixtures/regress/run.sh" --prepare ||
    say "the regression suite could not be prepared; its test will say so"

say "cargo test (server: ${BARKEEP_TEST_SERVER:-container of ${BARKEEP_TEST_IMAGE:-the public image}})"
status=0
# --no-fail-fast: one red binary must not hide the others from the sum.
"${CARGO:-cargo}" test --locked --no-fail-fast "$@" </dev/null 2>&1 | tee "$log" || status=$?

awk -v status="$status" '
    # A test that lacks what it needs passes for cargo; here it counts as what it is.
    FILENAME ~ /test-not-run$/ { if (!seen[$0]++) absent[++m] = $0; next }
    /^test result: / {
        binaries++
        for (i = 1; i < NF; i++) {
            if ($(i + 1) ~ /^passed/) passed += $i
            if ($(i + 1) ~ /^failed/) failed += $i
            if ($(i + 1) ~ /^ignored/) ignored += $i
        }
    }
    /^test .* \.\.\. FAILED$/ { names[++n] = $2 }
    END {
        for (i = 1; i <= n; i++) print "test: failed: " names[i]
        for (i = 1; i <= m; i++) print "test: not run: " absent[i]
        printf "test: %d passed, %d failed, %d not run, %d ignored in %d test binaries", passed - m, failed, m, ignored, binaries
        # A build that does not compile has no result lines at all: zero failures there are no success.
        if (status != 0 && failed == 0) printf "; cargo test ended with status %d", status
        printf "\n"
    }
' "$BARKEEP_TEST_NOT_RUN" "$log"
if [ "$status" = 0 ] && ! grep -q '^test result: ' "$log"; then
    fail "cargo test ran no tests at all" "read $log"
fi
exit "$status"
