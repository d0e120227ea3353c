#!/usr/bin/env bash
# Installs into target/peers what `make bench` compares barkeep with and the registries have: DuckDB with its postgres scanner
# (PyPI), pg2parquet (crates.io). pgcopydb comes from the distribution, and so does pg_dump with zstd, unpacked from Debian trixie
# where this machine's own is older than 16. What cannot be had is said; the benchmark runs without it and names it.
#
# BENCH_PEERS_JOBS  processors for building pg2parquet (default: all; it takes ten minutes on two)
set -euo pipefail
who=peers
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"
# shellcheck source=scripts/debian.sh
. "$here/debian.sh"

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

# pg_dump of PostgreSQL 17 with the libraries it was made for, in a folder of its own: it runs by its own loader.
zstd_pg_dump() {
    local folder="$peers/trixie" mirror loader libraries
    have mmdebstrap || install_packages "mmdebstrap" mmdebstrap debian-archive-keyring
    check_keyring trixie
    mirror=${BARKEEP_DEBIAN_MIRROR:-$(debian_mirror)}
    rm -rf "$folder"
    say "unpacking pg_dump 17 and its libraries into $folder"
    mmdebstrap --quiet --variant=extract --include=postgresql-client-17 --aptopt='Apt::Install-Recommends "false"' \
        trixie "$folder" ${mirror:+"$mirror"} </dev/null 2>"$peers/mmdebstrap.log" || {
        tail -n 5 "$peers/mmdebstrap.log" >&2
        return 1
    }
    loader=$(find -L "$folder/usr/lib" -maxdepth 2 -name 'ld-linux*.so.*' | head -n 1)
    libraries=$(dirname "$(find "$folder/usr/lib" -name 'libpq.so.5' | head -n 1)")
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
        "$loader" "$libraries" "$folder/usr/lib/postgresql/17/bin/pg_dump" >"$peers/bin/pg_dump"
    chmod +x "$peers/bin/pg_dump"
}

# Its version as a number, 0 where it does not run.
major_of() { "$1" --version 2>/dev/null | sed -nE 's/^pg_dump \(PostgreSQL\) ([0-9]+).*/\1/p' | grep . || echo 0; }

if [ "$(major_of pg_dump)" -lt 16 ] && [ "$(major_of "$peers/bin/pg_dump")" -lt 16 ]; then
    mkdir -p "$peers/bin"
    (zstd_pg_dump) || true
fi
if [ "$(major_of pg_dump)" -ge 16 ]; then
    say "pg_dump with zstd: this machine's own"
elif [ "$(major_of "$peers/bin/pg_dump")" -ge 16 ]; then
    say "$("$peers/bin/pg_dump" --version)"
else
    absent+=("pg_dump with zstd")
fi

[ ${#absent[@]} = 0 ] || say "not to be had here: ${absent[*]}; the benchmark says so too"
