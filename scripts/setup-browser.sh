#!/usr/bin/env bash
# The browser that the tests of the HTML reports look at them with: Chromium, or a Chrome that is there already.
# Its path goes to stdout with --print.
#
# BARKEEP_TEST_BROWSER  a browser of your own that takes Chromium's flags
set -euo pipefail
who=browser
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mac_chrome='/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'

# Not chromium-browser: on Ubuntu that is a stub which asks for a snap.
find_browser() {
    local name
    if [ -n "${BARKEEP_TEST_BROWSER:-}" ]; then
        command -v "$BARKEEP_TEST_BROWSER" || fail "BARKEEP_TEST_BROWSER=$BARKEEP_TEST_BROWSER is not a program"
        return
    fi
    for name in chromium google-chrome google-chrome-stable "$mac_chrome"; do
        command -v "$name" && return
    done
    return 1
}

# A browser that is there may lack a library, and one in a snap does not see the files in /tmp: only a file that it has read
# shows that it works.
works() {
    local folder read
    folder=$(mktemp -d)
    printf '<p>works</p>' > "$folder/page.html"
    read=$(timeout 60 "$1" --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" --dump-dom \
        "file://$folder/page.html" 2>/dev/null || true)
    rm -rf "$folder"
    [[ $read == *'<p>works</p>'* ]]
}

is_ubuntu() { grep -qs '^ID=ubuntu$' /etc/os-release; }

if ! browser=$(find_browser); then
    [ -z "${BARKEEP_TEST_BROWSER:-}" ] || exit 1
    ! is_ubuntu || fail "a browser is missing, and Ubuntu's Chromium is a snap, which does not see /tmp" \
        "install Google Chrome (google-chrome-stable), or set BARKEEP_TEST_BROWSER"
    install_packages "Chromium" chromium fonts-liberation >&2
    browser=$(find_browser) || fail "apt-get installed no program named chromium" "set BARKEEP_TEST_BROWSER"
fi
works "$browser" || fail "$browser shows no page from /tmp" "set BARKEEP_TEST_BROWSER to a Chromium or Chrome that runs with --headless"
if [ "${1:-}" = --print ]; then printf '%s\n' "$browser"; else say "$browser is here"; fi
