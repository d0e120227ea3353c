# shellcheck shell=bash
# Where Debian packages come from, for scripts that unpack those of another release. Sourced after common.sh, never run.

# "uri suite" of every binary source in the apt configuration, whichever of the two file formats it is written in.
apt_sources() {
    # shellcheck disable=SC2016  # apt expands these, not the shell
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null || true
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$file" ] || continue
        sed -nE 's/^[[:space:]]*deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]]+([^[:space:]]+).*/\2 \3/p' "$file"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        awk '
            function flush(  i, j) {
                if (types ~ /(^| )deb( |$)/ && enabled != "no")
                    for (i = 1; i <= nu; i++) for (j = 1; j <= ns; j++) print uri[i], suite[j]
                types = ""; enabled = ""; nu = 0; ns = 0
            }
            /^[[:space:]]*$/ { flush(); next }
            /^#/ { next }
            tolower($1) == "types:" { $1 = ""; types = $0 }
            tolower($1) == "enabled:" { enabled = tolower($2) }
            tolower($1) == "uris:" { nu = 0; for (i = 2; i <= NF; i++) uri[++nu] = $i }
            tolower($1) == "suites:" { ns = 0; for (i = 2; i <= NF; i++) suite[++ns] = $i }
            END { flush() }
        ' "$file"
    done
}

# The first mirror that carries a Debian release itself (not its security or update pockets, not a third party).
debian_mirror() {
    apt_sources | awk '
        $2 ~ /^(bullseye|bookworm|trixie|forky|duke|sid|oldstable|stable|testing|unstable)$/ &&
        $1 ~ /^(https?|file|mirror\+https?):/ { print $1; exit }
    '
}

# Debian 12 got the trixie keys with a point release: an old debian-archive-keyring cannot check what it downloads.
# check_keyring SUITE
check_keyring() {
    local suite=$1 ring=/usr/share/keyrings
    [ "$suite" = trixie ] || return 0
    compgen -G "$ring/debian-archive-$suite-*" >/dev/null && return
    (install_packages "the key of $suite" debian-archive-keyring) || true
    compgen -G "$ring/debian-archive-$suite-*" >/dev/null ||
        say "warning: no key of $suite in $ring; if the signature is refused, upgrade debian-archive-keyring"
}
