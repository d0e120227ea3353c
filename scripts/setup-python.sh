#!/usr/bin/env bash
# A Python environment in target/venv with the readers whose view of our Parquet files is tested: pyarrow, DuckDB, Polars,
# and Spark where there is Java; and with exchange_calendars, against which the calendars are.
set -euo pipefail
who=python
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

venv="${CARGO_TARGET_DIR:-$here/../target}/venv"
# A later exchange_calendars may know of days that no rule can foresee.
readers=(pyarrow duckdb polars numpy exchange_calendars==4.13.2)
modules="pyarrow, duckdb, polars, numpy, exchange_calendars"
# Without Java the tests say that Spark's part was not run.
if have java; then
    readers+=(pyspark)
    modules+=", pyspark"
fi

complete() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "import $modules" >/dev/null 2>&1
}

if ! complete; then
    have python3 || install_packages "python3" python3 python3-venv
    python3 -c 'import ensurepip' >/dev/null 2>&1 || install_packages "python's venv module" python3-venv
    mkdir -p "$(dirname "$venv")"
    say "creating $venv with ${readers[*]}"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${readers[@]}" </dev/null ||
        fail "pip could not install ${readers[*]}" "install them into $venv yourself; the reader tests need all of them"
    complete || fail "the readers do not import in $venv" "remove that directory and try again"
fi
"$venv/bin/python" - <<'PY'
import duckdb, polars, pyarrow
print(f"python: pyarrow {pyarrow.__version__}, duckdb {duckdb.__version__}, polars {polars.__version__}")
PY
