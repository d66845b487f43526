#!/bin/sh
# Installs what is missing to build Watershed: a C compiler, which Rust links with, and what is named as arguments:
# components of Rust, valgrind, `rocksdb` (what it takes to build that) or `fresh` (what `make fresh` needs).
# It says first what it is about to install and how. In a terminal it asks; elsewhere nobody could answer, so it goes on.
# WATERSHED_INSTALL=yes does not ask. WATERSHED_INSTALL=no installs nothing, and prints what to type.
set -eu
cd "$(dirname "$0")/.."

give_up() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Whether there is somebody to ask.
in_terminal() { [ -t 0 ] && [ -t 2 ]; }

# Ends the script where this machine is not to be changed. $1 is what is missing, for people; the rest are the commands
# that bring it.
announce() {
    missing=$1
    shift
    if [ "${WATERSHED_INSTALL:-}" = no ]; then
        give_up "setup: $missing is missing, and WATERSHED_INSTALL=no forbids to install it. Please type this and try again:" "$@"
    fi
    printf '%s\n' "setup: $missing is missing. These commands install it (WATERSHED_INSTALL=no forbids it):" "$@" >&2
    if in_terminal && [ "${WATERSHED_INSTALL:-}" != yes ]; then
        printf 'setup: go on? [Y/n] ' >&2
        read -r answer || answer=n
        case $answer in
            "" | [Yy] | [Yy][Ee][Ss]) ;;
            *) give_up "setup: nothing was installed." ;;
        esac
    fi
}

# $1 is what is missing, the rest are the packages that bring it.
install_packages() {
    missing=$1
    shift
    if ! command -v apt-get >/dev/null 2>&1; then
        give_up "setup: $missing is missing, and this is neither Debian nor Ubuntu: please install it and try again." \
            "Debian has it in: $*"
    elif [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n "
    elif in_terminal && command -v sudo >/dev/null 2>&1; then
        as_root="sudo " # it asks for a password
    else
        give_up "setup: $missing is missing, and this user may not install it. Please type this as root and try again:" \
            "  apt-get update" "  apt-get install -y --no-install-recommends $*"
    fi
    announce "$missing" "  ${as_root}apt-get update" "  ${as_root}apt-get install -y --no-install-recommends $*"
    ${as_root}apt-get update
    ${as_root}env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null
}

# Whether a C program can be linked: `cc` alone is not enough, the files of the C library have to be there too.
can_link() {
    command -v cc >/dev/null 2>&1 && echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null
}

# Whether a file is a shared library for this machine: the first five bytes say so.
is_library() {
    case $(getconf LONG_BIT) in
        64) class=02 ;;
        *) class=01 ;;
    esac
    [ -f "$1" ] && [ "$(od -A n -t x1 -N 5 "$1" 2>/dev/null)" = " 7f 45 4c 46 $class" ]
}

# Whether one of the files is libclang. Its names begin like that of LLVM's C++ library, libclang-cpp, which is another one.
any_is_libclang() {
    for file in "$@"; do
        case ${file##*/} in
            *-cpp.*) ;;
            *) if is_library "$file"; then return 0; fi ;;
        esac
    done
    return 1
}

folder_has_libclang() {
    any_is_libclang "$1"/libclang.so "$1"/libclang-*.so "$1"/libclang.so.* "$1"/libclang-*.so.*
}

# Whether the bindings of RocksDB can be made: bindgen has to find libclang. It looks at the same places for the same names
# (crate clang-sys, `search_libclang_directories`).
has_libclang() {
    if [ -n "${LIBCLANG_PATH+set}" ]; then
        # A file or its folder; nothing else is looked at then.
        case ${LIBCLANG_PATH##*/} in
            libclang.so | libclang-*.so | libclang.so.* | libclang-*.so.*)
                if any_is_libclang "$LIBCLANG_PATH"; then return 0; fi
                ;;
        esac
        folder_has_libclang "$LIBCLANG_PATH"
        return
    fi
    if prefix=$("${LLVM_CONFIG_PATH:-llvm-config}" --prefix 2>/dev/null); then
        for folder in "$prefix/bin" "$prefix/lib" "$prefix/lib64"; do
            if folder_has_libclang "$folder"; then return 0; fi
        done
    fi
    old_ifs=$IFS
    IFS=:
    for folder in ${LD_LIBRARY_PATH:-} ${LIBRARY_PATH:-}; do
        if folder_has_libclang "$folder"; then
            IFS=$old_ifs
            return 0
        fi
    done
    IFS=$old_ifs
    for folder in "/usr/local/llvm*/lib*" "/usr/local/lib*/*/*" "/usr/local/lib*/*" "/usr/local/lib*" "/usr/lib*/*/*" \
        "/usr/lib*/*" "/usr/lib*"; do
        # Not quoted, as the names of the folders are patterns too.
        if any_is_libclang $folder/libclang.so $folder/libclang-*.so $folder/libclang.so.* $folder/libclang-*.so.*; then
            return 0
        fi
    done
    return 1
}

# Whether libclang has the headers that belong to the compiler, like stddef.h. Packages of libclang alone lack them.
has_clang_headers() {
    named=${LIBCLANG_PATH:-/nowhere/libclang.so}
    for file in "$named"/clang/*/include/stddef.h "${named%/*}"/clang/*/include/stddef.h \
        "${prefix:-/nowhere}"/lib*/clang/*/include/stddef.h /usr/lib*/clang/*/include/stddef.h \
        /usr/lib*/llvm*/lib*/clang/*/include/stddef.h /usr/local/lib*/clang/*/include/stddef.h \
        /usr/local/llvm*/lib*/clang/*/include/stddef.h; do
        if [ -f "$file" ]; then return 0; fi
    done
    return 1
}

set_up_rocksdb() {
    if [ -n "${LIBCLANG_PATH+set}" ] && ! has_libclang; then
        give_up "setup: LIBCLANG_PATH is set to \"$LIBCLANG_PATH\", where libclang is not. The bindings of RocksDB are made with" \
            "libclang, and it is looked for nowhere else then. Please set it right, or unset it, and try again."
    fi
    if { [ -z "${CXX:-}" ] && ! command -v g++ >/dev/null 2>&1; } || ! has_libclang || ! has_clang_headers; then
        install_packages "What RocksDB is built with (g++, libclang)" g++ libclang-dev
    fi
}

needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null 2>&1; then
    give_up "setup: Rust is missing. Its installer is described at https://rustup.rs; Watershed needs version $needed or newer."
fi
version=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$needed" "$version" | sort -V | head -n 1)" != "$needed" ]; then
    give_up "setup: Watershed needs Rust $needed or newer, this is $version. Please type this and try again:" "  rustup update"
fi

can_link || install_packages "A C compiler" gcc libc6-dev

for part in "$@"; do
    case $part in
        valgrind) command -v valgrind >/dev/null 2>&1 || install_packages Valgrind valgrind ;;
        rocksdb) set_up_rocksdb ;;
        fresh) command -v debootstrap >/dev/null 2>&1 || install_packages "debootstrap, which makes a bare Debian," debootstrap ;;
        *)
            if ! cargo "${part#rust}" --version >/dev/null 2>&1; then
                announce "The component $part of Rust" "  rustup component add $part"
                rustup component add "$part" || give_up "setup: the component $part of Rust is missing; please install it."
            fi
            ;;
    esac
done
