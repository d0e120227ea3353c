#!/usr/bin/env bash
# What the build needs beside a Rust toolchain: a C compiler, and libclang (the SQL parser's bindings are generated).
set -euo pipefail
who=build
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    # libclang-cpp, which other packages bring, is another library.
    local name
    for name in 'libclang.so*' 'libclang-[0-9]*.so*'; do
        compgen -G "/usr/lib/llvm-*/lib/$name" >/dev/null && return 0
        compgen -G "/usr/lib/*/$name" >/dev/null && return 0
        compgen -G "/usr/lib*/$name" >/dev/null && return 0
        compgen -G "/usr/local/lib/$name" >/dev/null && return 0
    done
    compgen -G '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib' >/dev/null ||
        compgen -G '/Applications/Xcode.app/Contents/Developer/Toolchains/*/usr/lib/libclang.dylib' >/dev/null
}

have cargo || fail "cargo is not on PATH" "install Rust with rustup, then open a new shell"
have cc || install_packages "a C compiler" gcc libc6-dev
have make || install_packages "make" make
libclang || install_packages "libclang" libclang-dev
say "$(cargo --version), C compiler and libclang are here"
