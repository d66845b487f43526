#!/usr/bin/env bash
# Tries this project in a bare Debian: what debootstrap makes, with make and sudo, and the Rust of this machine. None of this
# machine's caches is in it.
#   fresh.sh setup     runs setup.sh where there is nothing, and where g++ and libclang-cpp are, and makes bindings by libclang
#   fresh.sh [root] [newcomer]   runs `make demo` and `make test`, or TARGETS, as root, or as a user with sudo; or as both
# It needs root, or sudo, as it changes roots. What it mounts is in a namespace of its own, so that nothing of this machine
# can be removed with the folder in the end.
set -euo pipefail
cd "$(dirname "$0")/.."

# The user with sudo.
readonly newcomer=newcomer
# Where the Rust of this machine is in there, for reading only.
readonly rust=/opt/rust

fail() {
    printf '%s\n' "fresh: $1" >&2
    exit 1
}

for who in "$@"; do
    case $who in
    setup | root | "$newcomer") ;;
    *) fail "there is no $who: say setup, root or $newcomer" ;;
    esac
done

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env env "PATH=$PATH" "HOME=$HOME" scripts/fresh.sh "$@"
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/watershed-fresh.XXXXXX")
running=""

# Ends what runs and removes everything. What is killed may still be at it for a moment.
clean_up() {
    if [ -n "$running" ]; then kill -KILL "$running" 2>/dev/null || true; fi
    rm -rf --one-file-system "$work" 2>/dev/null || { sleep 1 && rm -rf --one-file-system "$work"; }
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# Runs a command that mounts. All of it ends, and is unmounted, with the command, and also with this script: it is waited for
# in a way that a signal interrupts.
apart() {
    local status=0
    unshare --mount --pid --fork --kill-child --mount-proc "$@" </dev/null &
    running=$!
    wait "$running" || status=$?
    running=""
    return "$status"
}

apart true 2>"$work/why" || fail "namespaces are not allowed here, as in many containers: $(cat "$work/why")"

# Makes the archive $base of a bare Debian, or takes the one of an earlier run.
make_base() {
    local mirror suite
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' |
        sed -n "s/ $suite main\$//p" | head -n 1)
    [ -n "$mirror" ] || fail "apt has no source for $suite, from which a bare Debian could be made"
    base=${XDG_CACHE_HOME:-$HOME/.cache}/watershed/bare-$suite-$(dpkg --print-architecture).tar
    [ ! -s "$base" ] || return 0
    echo "fresh: making a bare Debian, once"
    local proxy
    proxy=$(apt-config shell proxy Acquire::http::Proxy)
    eval "${proxy:-proxy=}"
    http_proxy=${http_proxy:-$proxy} apart debootstrap --variant=minbase --include=make,sudo "$suite" "$work/base" "$mirror" \
        >"$work/debootstrap" 2>&1 || { tail "$work/debootstrap" >&2 && fail "debootstrap failed"; }
    rm -rf "$work"/base/var/lib/apt/lists/* "$work"/base/var/cache/apt/*
    mkdir -p "${base%/*}"
    tar -C "$work/base" -cf "$base.$$" .
    mv "$base.$$" "$base"
    rm -rf --one-file-system "$work/base"
}

# Unpacks a bare Debian into the folder $1, and the files of this checkout into the home folders there.
unpack() {
    local home
    mkdir "$1" "$1.sources"
    tar -C "$1" -xf "$base"
    # How to reach servers from this machine, which is no part of the project.
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(IndexTargets\|cdrom\)' >"$1/etc/apt/apt.conf.d/99host" || true
    cp /etc/resolv.conf /etc/hosts "$1/etc/"
    mkdir -p "$1/etc/ssl/certs" "$1$rust"
    cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$1/etc/ssl/certs/ca-certificates.crt"
    hostname >"$1/etc/hostname"
    echo "127.0.1.1 $(hostname)" >>"$1/etc/hosts"

    chroot "$1" useradd --create-home --shell /bin/bash "$newcomer"
    echo "$newcomer ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/$newcomer"
    git ls-files -z | tar --null --files-from=- -cf "$1.sources/tar"
    for home in root "home/$newcomer"; do
        mkdir -p "$1/$home/.cargo/bin" "$1/$home/watershed"
        for tool in cargo rustc rustdoc; do ln -sf "$rust/bin/$tool" "$1/$home/.cargo/bin/$tool"; done
        cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$1/$home/.cargo/" 2>/dev/null || true
        tar -C "$1/$home/watershed" -xf "$1.sources/tar"
    done
    chroot "$1" chown -R "$newcomer:$newcomer" "/home/$newcomer"
    rm -r "$1.sources"
}

# Runs the shell command $3 as the user $2 in the folder $1, from the checkout in the user's home folder.
inside() {
    local home=/root
    [ "$2" = root ] || home=/home/$2
    local settings=("HOME=$home" "USER=$2" "LANG=C.UTF-8" "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    while read -r setting; do settings+=("$setting"); done < <(env |
        grep -E '^((https?|ftp|all|no)_proxy|(HTTPS?|FTP|ALL|NO)_PROXY|CARGO_(HTTP|NET)_[A-Z_]*)=' || true)
    # shellcheck disable=SC2016
    apart bash -euc 'mount --rbind /dev "$1/dev"
        mount -t proc proc "$1/proc"
        mount --bind "$2" "$1$3"
        mount -o remount,bind,ro "$1$3"
        exec chroot --userspec="$4:$4" "$1" env -i "${@:6}" sh -euc "cd ~/watershed; $5"' \
        - "$1" "$(rustc --print sysroot)" "$rust" "$2" "PATH=\$PATH:\$HOME/.cargo/bin; $3" "${settings[@]}"
}

# Whether setup.sh brings all that bindings of RocksDB are made with, as the user $2, where the packages from $3 on are.
check_setup() {
    local folder=$work/$1 user=$2 began=$SECONDS
    shift 2
    unpack "$folder"
    if [ $# -gt 0 ]; then
        inside "$folder" root "apt-get update && apt-get install -y --no-install-recommends $*" >"$folder.log" 2>&1 ||
            { tail "$folder.log" >&2 && fail "apt-get did not install $*"; }
    fi
    echo "fresh: setup.sh as $user, with: ${*:-nothing}"
    if inside "$folder" "$user" 'WATERSHED_INSTALL=no scripts/setup.sh rocksdb' 2>"$folder.log"; then
        fail "setup.sh takes what is there for all that RocksDB is built with"
    fi
    cat "$folder.log"
    grep -q 'apt-get install -y' "$folder.log" || fail "setup.sh does not say what to type"
    inside "$folder" "$user" 'scripts/setup.sh rocksdb' >"$folder.log" 2>&1 || { cat "$folder.log" >&2 && fail "setup.sh failed"; }
    inside "$folder" "$user" 'scripts/setup.sh rocksdb' >"$folder.log" 2>&1 || true
    [ ! -s "$folder.log" ] || { cat "$folder.log" >&2 && fail "setup.sh does not see what it has installed"; }
    # Bindings are made before anything is linked, so there may be no RocksDB.
    inside "$folder" "$user" 'ROCKSDB_LIB_DIR=/nowhere cargo check --quiet --locked -p librocksdb-sys' ||
        fail "after setup.sh bindgen does not find libclang"
    inside "$folder" root 'dpkg --force-depends --remove $(dpkg-query -W -f "\${Package} " "libclang-common-*-dev")' \
        >"$folder.log" 2>&1 || { cat "$folder.log" >&2 && fail "the headers of libclang could not be removed"; }
    if inside "$folder" "$user" 'WATERSHED_INSTALL=no scripts/setup.sh rocksdb' 2>/dev/null; then
        fail "setup.sh takes libclang without its headers for all that RocksDB is built with"
    fi
    rm -rf --one-file-system "$folder"
    echo "fresh: setup.sh as $user, with: ${*:-nothing}: $((SECONDS - began)) s"
}

# The README's two commands, as the user $1.
check_readme() {
    local folder=$work/readme-$1 target began
    unpack "$folder"
    for target in ${TARGETS:-demo test}; do
        began=$SECONDS
        echo "fresh: make $target as $1"
        inside "$folder" "$1" "make $target" || fail "make $target as $1 failed after $((SECONDS - began)) s"
        times+=("fresh: make $target as $1: $((SECONDS - began)) s")
        echo "${times[-1]}"
    done
    rm -rf --one-file-system "$folder"
}

began=$SECONDS
make_base
if [ "${1:-}" = setup ]; then
    check_setup nothing root
    # The version that libclang-dev has, as in Debian 12: libclang-cpp14.
    version=$(apt-cache depends libclang-dev | sed -n 's/.*Depends: libclang-\([0-9]*\)-dev.*/\1/p' | head -n 1)
    check_setup cpp "$newcomer" g++ "libclang-cpp$version"
else
    times=()
    [ $# -gt 0 ] || set -- root "$newcomer"
    for user in "$@"; do check_readme "$user"; done
    printf '%s\n' "${times[@]}"
fi
echo "fresh: all of it in $((SECONDS - began)) s"
