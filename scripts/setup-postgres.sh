#!/usr/bin/env bash
# Makes sure that PostgreSQL server binaries of version 14 or later are on this machine. They are used to start
# throw-away servers; no cluster is created and none is left running.
set -euo pipefail
who=postgres
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

oldest=14

# Prints "VERSION DIRECTORY" of every server found, newest first.
servers() {
    local dir version
    {
        [ -z "${PGBIN:-}" ] || echo "$PGBIN"
        ! have initdb || dirname "$(realpath "$(command -v initdb)")"
        ! have pg_config || pg_config --bindir
        compgen -G '/usr/lib/postgresql/*/bin' || true
        compgen -G '/usr/pgsql-*/bin' || true
        compgen -G '/usr/local/pgsql*/bin' || true
        compgen -G '/opt/homebrew/opt/postgresql@*/bin' || true
        compgen -G '/usr/local/opt/postgresql@*/bin' || true
        compgen -G '/Applications/Postgres.app/Contents/Versions/*/bin' || true
    } | sort -u | while read -r dir; do
        if [ ! -x "$dir/initdb" ] || [ ! -x "$dir/postgres" ]; then continue; fi
        version=$("$dir/postgres" --version | sed -nE 's/^.* ([0-9]+)[.a-z].*$/\1/p')
        if [ -z "$version" ] || [ "$version" -lt "$oldest" ]; then continue; fi
        printf '%s %s\n' "$version" "$dir"
    done | sort -rn
}

install_server() {
    have apt-get || fail "no PostgreSQL server of version $oldest or later was found" \
        "install one (Fedora: dnf install postgresql-server; macOS: brew install postgresql@17) or set PGBIN to its bin directory"
    # Debian's package creates and starts a cluster unless this file says otherwise. It is put back as it was.
    local conf=/etc/postgresql-common/createcluster.conf ours=
    if [ ! -e "$conf" ]; then
        as_root mkdir -p "$(dirname "$conf")"
        printf 'create_main_cluster = false\n' | as_root tee "$conf" >/dev/null
        ours=yes
    fi
    install_packages "a PostgreSQL server" postgresql postgresql-contrib
    [ -z "$ours" ] || say "no cluster was created ($conf says so; remove that line to have one)"
}

found=$(servers | head -n 1)
if [ -z "$found" ]; then
    install_server
    found=$(servers | head -n 1)
    [ -n "$found" ] || fail "the installed PostgreSQL is older than $oldest" "use a newer distribution or set PGBIN"
fi
say "PostgreSQL ${found%% *} in ${found#* }"
