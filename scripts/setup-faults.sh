#!/usr/bin/env bash
# What the fault tests break things with: strace makes system calls fail, PgBouncer stands in front of a server, openssl
# makes certificates.
set -euo pipefail
who=faults
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

have strace || install_packages "strace" strace
[ -x /usr/sbin/pgbouncer ] || have pgbouncer || install_packages "PgBouncer" pgbouncer
have openssl || install_packages "openssl" openssl
have setpriv || install_packages "setpriv" util-linux
say "strace, PgBouncer and openssl are here"
