#!/bin/sh
# Installs what is missing to build Watershed: a C compiler, which Rust links with, and what is named as arguments:
# components of Rust, valgrind, or what it takes to build RocksDB. It needs root or sudo for that; without them it prints what to type.
set -eu
cd "$(dirname "$0")/.."

give_up() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Whether a C program can be linked: `cc` alone is not enough, the files of the C library have to be there too.
can_link() {
    command -v cc >/dev/null 2>&1 && echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null
}

# What is missing, for people, and the packages that bring it.
install_packages() {
    missing=$1
    shift
    if ! command -v apt-get >/dev/null 2>&1; then
        give_up "$missing is missing, and this is neither Debian nor Ubuntu: please install $1 and try again."
    elif [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        give_up "$missing is missing. Please type this and try again:" \
            "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
    fi
    $as_root apt-get update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null
}

needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null 2>&1; then
    give_up "Rust is missing. Its installer is described at https://rustup.rs; Watershed needs version $needed or newer."
fi
version=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$needed" "$version" | sort -V | head -n 1)" != "$needed" ]; then
    give_up "Watershed needs Rust $needed or newer, this is $version. Please type this and try again:" "  rustup update"
fi

can_link || install_packages "A C compiler" gcc libc6-dev

for part in "$@"; do
    if [ "$part" = valgrind ]; then
        command -v valgrind >/dev/null 2>&1 || install_packages Valgrind valgrind
    elif [ "$part" = rocksdb ]; then
        # Its bindings are made from its header by libclang, which also needs headers of its own.
        if ! command -v g++ >/dev/null 2>&1 || ! ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1; then
            install_packages "What RocksDB is built with" g++ libclang-dev
        fi
    elif ! cargo "${part#rust}" --version >/dev/null 2>&1; then
        rustup component add "$part" || give_up "The component $part of Rust is missing; please install it."
    fi
done
