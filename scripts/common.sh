# shellcheck shell=bash
# Shared by the set-up scripts: how they speak, how they fail, how they install. Sourced, never run.

# The name in front of each line; the script that sources this file sets it.
who=${who:-setup}

say() { printf '%s: %s\n' "$who" "$*"; }

# fail WHAT [HINT]: one line what is wrong, one line what to do next.
fail() {
    printf '%s: error: %s\n' "$who" "$1" >&2
    [ $# -lt 2 ] || printf '%s: hint: %s\n' "$who" "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Root already, or root through sudo without a password.
may_be_root() { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }

# as_root COMMAND...
as_root() {
    may_be_root || fail "this needs root: $*" "run it yourself, then start again"
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt_install PACKAGE...: a configuration file that is there already stays as it is, without a question.
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold "$@" </dev/null
}

# install_packages WHY PACKAGE...: Debian and Ubuntu only; elsewhere it says what is missing and stops.
install_packages() {
    local why=$1 log
    shift
    have apt-get || fail "$why is missing and this is not Debian or Ubuntu" "install what these Debian packages hold: $*"
    say "$why is missing: installing $*"
    may_be_root || fail "installing needs root" "run: sudo apt-get install $*"
    log=$(mktemp)
    if ! apt_install "$@" >"$log" 2>&1; then
        # A new machine has no package lists yet, an old one has stale ones: read them once, then try again.
        say "reading the package lists first"
        as_root apt-get update -qq </dev/null >"$log" 2>&1 || true
        if ! apt_install "$@" >"$log" 2>&1; then
            tail -n 15 "$log" >&2
            rm -f "$log"
            fail "apt-get could not install: $*"
        fi
    fi
    rm -f "$log"
}
