#!/usr/bin/env bash
# Runs shellcheck over every script of the project, if it is installed; says so if not.
set -euo pipefail
who=lint
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"
cd "$here/.."

if ! have shellcheck; then
    say "shellcheck: not run (not installed)"
    exit 0
fi
say "shellcheck"
shellcheck -x scripts/*.sh fixtures/*/*.sh .ci/run
