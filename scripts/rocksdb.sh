#!/usr/bin/env bash
# Builds RocksDB once for all checkouts and profiles, into the user's cache folder, and tells cargo to link it from there
# by `.cargo/config.toml`. Without this cargo builds it by itself, in each target folder and for each profile, which takes
# four times as long: here many files are compiled as one, so that their headers are read once.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly files_in_one=22

fail() {
    printf '%s\n' "rocksdb: $1" >&2
    exit 1
}

# The version of a package that Cargo.lock names.
version_of() { sed -n "/^name = \"$1\"/{n;s/^version = \"\(.*\)\"/\1/p}" Cargo.lock; }

# The source of a package, as cargo has downloaded it.
source_of() {
    local manifest
    manifest=$(sed -n 's/.*"manifest_path":"\([^"]*\/'"$1-$(version_of "$1" | sed 's/[.]/\\./g')"'\/Cargo.toml\)".*/\1/p' "$work/metadata")
    [ -n "$manifest" ] || fail "cargo did not download $1"
    dirname "$manifest"
}

# Compiles all of it into $work/librocksdb.a.
build() {
    local source lz4 zstd file unit=0 count=0
    cargo metadata --format-version 1 --locked | tr ',' '\n' >"$work/metadata"
    source=$(source_of librocksdb-sys)
    lz4=$(source_of lz4-sys)/liblz4/lib
    zstd=$(source_of zstd-sys)/zstd/lib

    while read -r file; do
        [ "$file" != util/build_version.cc ] || continue
        printf '#include "%s"\n' "$source/rocksdb/$file" >>"$work/unit$unit.cc"
        count=$((count + 1))
        unit=$((count / files_in_one))
    done <"$source/rocksdb_lib_sources.txt"
    cp "$source/build_version.cc" "$work/version.cc"

    # As the package's own build does it, for this processor's checksums if it has the instructions.
    flags=(-std=c++20 -O2 -fPIC -w -include cstdint -ffunction-sections -fdata-sections -DNDEBUG -DLZ4=1 -DZSTD=1
        -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX
        -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT
        -DROCKSDB_RANGESYNC_PRESENT "-I$source/rocksdb/include" "-I$source/rocksdb" "-I$source" "-I$lz4" "-I$zstd")
    if [ "$(uname -m)" = x86_64 ]; then
        if grep -qw sse4_2 /proc/cpuinfo; then flags+=(-msse4.2); fi
        if grep -qw pclmulqdq /proc/cpuinfo; then flags+=(-mpclmul); fi
    fi
    printf '%s\n' "$work"/*.cc |
        xargs -P "$(nproc)" -I{} "${CXX:-g++}" "${flags[@]}" -c {} -o {}.o || fail "it does not compile"
    ar crs "$work/librocksdb.a" "$work"/*.o
}

[ "$(uname -s)" = Linux ] || exit 0 # cargo builds it by itself

folder=${XDG_CACHE_HOME:-$HOME/.cache}/watershed/rocksdb-$(version_of librocksdb-sys)-$(uname -m)
if [ ! -s "$folder/librocksdb.a" ]; then
    mkdir -p "$folder"
    work=$(mktemp -d "$folder/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "building RocksDB into $folder, once; this takes some minutes"
    build
    # Nobody sees a half of it.
    mv "$work/librocksdb.a" "$folder/librocksdb.a"
fi

config="[env]
ROCKSDB_LIB_DIR = \"$folder\"
ROCKSDB_STATIC = \"1\""
if [ "$(cat .cargo/config.toml 2>/dev/null)" != "$config" ]; then
    mkdir -p .cargo
    printf '%s\n' "$config" >.cargo/config.toml
fi
