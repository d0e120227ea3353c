#!/usr/bin/env bash
# Makes sure that Docker answers and that an image with PostgreSQL and TimescaleDB is there for the integration tests.
# The image's name goes to target/test-image, one line; with --print it goes to stdout too.
#
# BARKEEP_TEST_SERVER  a server of your own: nothing to set up here
# BARKEEP_TEST_IMAGE   an image of your own: used as it is, pulled if missing
set -euo pipefail
who=docker
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

root=$(cd "$here/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
public_image=timescale/timescaledb:latest-pg17
built_image=barkeep-test:pg17
# Long enough for a slow registry to answer at all, short enough for a machine that reaches none.
answer_seconds=20
pull_seconds=300

answers() { timeout 10 docker info >/dev/null 2>&1; }

start_daemon() {
    answers && return
    if ! have dockerd; then
        [ "$(uname -s)" = Linux ] || fail "docker does not answer" "start Docker Desktop, or set BARKEEP_TEST_SERVER"
        install_packages "docker" docker.io
    fi
    answers && return
    if [ "$(id -u)" != 0 ] && [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
        fail "this user may not use the docker daemon" "add it to the group docker, or set BARKEEP_TEST_SERVER"
    fi
    if [ -d /run/systemd/system ] && have systemctl; then
        say "starting the docker service"
        as_root systemctl start docker || true
    fi
    local log="$target/dockerd.log" i
    if ! answers; then
        say "starting dockerd in the background, its log is $log"
        # A session of its own, so that it outlives this script and no Ctrl-C reaches it.
        as_root sh -c "setsid nohup dockerd >'$log' 2>&1 </dev/null &"
    fi
    for i in $(seq 1 60); do
        answers && { say "the docker daemon answers after $i s"; return; }
        sleep 1
    done
    tail -n 15 "$log" >&2 2>/dev/null || true
    fail "the docker daemon did not get ready in 60 s" "read $log, or set BARKEEP_TEST_SERVER to a server of your own"
}

present() { docker image inspect "$1" >/dev/null 2>&1; }

# True when the registry knows the image; asks for the description only, so that being offline costs seconds.
reachable() { timeout "$answer_seconds" docker manifest inspect "$1" >/dev/null 2>&1; }

pick_image() {
    if [ -n "${BARKEEP_TEST_IMAGE:-}" ]; then
        image=$BARKEEP_TEST_IMAGE
        present "$image" || docker pull -q "$image" >/dev/null || fail "cannot pull BARKEEP_TEST_IMAGE=$image"
        say "using $image (BARKEEP_TEST_IMAGE)"
    elif present "$public_image"; then
        image=$public_image
        say "using $image"
    elif ! present "$built_image" && reachable "$public_image" && say "pulling $public_image" &&
        timeout "$pull_seconds" docker pull -q "$public_image" >/dev/null; then
        image=$public_image
        say "using $image"
    else
        present "$built_image" || say "$public_image cannot be pulled here: $built_image is built from Debian packages"
        "$root/fixtures/image/build.sh"
        image=$built_image
    fi
}

mkdir -p "$target"
if [ -n "${BARKEEP_TEST_SERVER:-}" ]; then
    say "BARKEEP_TEST_SERVER is set: no container is needed"
    exit 0
fi
start_daemon
have docker || fail "the docker command is missing" "install the docker command line client"
image=
pick_image
printf '%s\n' "$image" > "$target/test-image"
[ "${1:-}" != --print ] || printf '%s\n' "$image"
