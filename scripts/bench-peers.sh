#!/usr/bin/env bash
# Installs into target/peers what `make bench` compares barkeep with and the registries have: DuckDB with its postgres scanner
# (PyPI), pg2parquet (crates.io). pgcopydb comes from the distribution. What cannot be had is said; the benchmark runs
# without it and names it.
#
# BENCH_PEERS_JOBS  processors for building pg2parquet (default: all; it takes ten minutes on two)
set -euo pipefail
who=peers
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

peers="${CARGO_TARGET_DIR:-$here/../target}/peers"
duckdb=1.5.5
pg2parquet=0.2.2
absent=()

# The scanner's package is made for one version of DuckDB and has the extension's file in it: nothing is downloaded later.
scanner() {
    "$peers/venv/bin/python" - <<'PY' 2>/dev/null
import os, duckdb, duckdb_extension_postgres_scanner as scanner
folder = os.path.join(os.path.dirname(scanner.__file__), "extensions", "v" + duckdb.__version__)
duckdb.connect().execute(f"LOAD '{folder}/postgres_scanner.duckdb_extension'")
print(duckdb.__version__)
PY
}

mkdir -p "$peers"
if [ "$(scanner || true)" != "$duckdb" ]; then
    have python3 || install_packages "python3" python3 python3-venv
    python3 -c 'import ensurepip' >/dev/null 2>&1 || install_packages "python's venv module" python3-venv
    say "installing DuckDB $duckdb and its postgres scanner into $peers/venv"
    [ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"
    "$peers/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        "duckdb==$duckdb" "duckdb-extension-postgres-scanner==$duckdb" </dev/null || true
fi
if [ "$(scanner || true)" = "$duckdb" ]; then say "DuckDB $duckdb with its postgres scanner"; else absent+=("DuckDB"); fi

if [ ! -x "$peers/bin/pg2parquet" ]; then
    say "building pg2parquet $pg2parquet into $peers/bin (several minutes)"
    # A folder of its own: its compiler settings are not barkeep's.
    CARGO_TARGET_DIR="$peers/build" "${CARGO:-cargo}" install --quiet --locked --root "$peers" \
        ${BENCH_PEERS_JOBS:+--jobs "$BENCH_PEERS_JOBS"} "pg2parquet@$pg2parquet" </dev/null || true
    rm -rf "$peers/build"
fi
if [ -x "$peers/bin/pg2parquet" ]; then say "$("$peers/bin/pg2parquet" --version)"; else absent+=("pg2parquet"); fi

if ! have pgcopydb && have apt-get; then
    (install_packages "pgcopydb" pgcopydb) || true
fi
if have pgcopydb; then say "pgcopydb in $(command -v pgcopydb)"; else absent+=("pgcopydb"); fi

[ ${#absent[@]} = 0 ] || say "not to be had here: ${absent[*]}; the benchmark says so too"
