#!/usr/bin/env bash
# Counts the words of some megabytes of real text with the example word_count. It dies by SIGKILL twice on the way, is
# started again each time, and in the end every count is compared with a plain one. Fails if anything is off.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly text_bytes=4000000
# How long the slowed-down count takes, more or less.
readonly slowed_seconds=9
readonly workers=2

folder=$(mktemp -d "${TMPDIR:-/tmp}/watershed-demo.XXXXXX")
mkdir "$folder/counts" "$folder/state"
pid=""
trap 'if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT

fail() {
    echo "demo: $1" >&2
    if [ -s "$folder/log" ]; then tail -n 30 "$folder/log" >&2; fi
    exit 1
}

# Seconds with one decimal, from milliseconds.
seconds() { echo "$(($1 / 1000)).$(($1 / 100 % 10))"; }
now_ms() { date +%s%3N; }

# Gathers the licences and docs on this machine, and those of the project itself, into one text of a fixed size. Only
# printable ASCII is kept, so that awk and Rust agree on what a word is.
gather_text() {
    local places=(/usr/share/common-licenses /usr/share/doc /usr/share/perl /usr/share/perl5)
    {
        cat ./*.md LICENSE-*
        find "${places[@]}" -type f \( -path '*/common-licenses/*' -o -name copyright -o -name '*.pod' \) -print0 \
            2>/dev/null | LC_ALL=C sort -z | xargs -0 -r cat 2>/dev/null
    } | LC_ALL=C tr -cd '\11\12\40-\176' >"$folder/gathered" || true
    [ -s "$folder/gathered" ] || fail "no text was found"
    while [ "$(wc -c <"$folder/gathered")" -lt "$text_bytes" ]; do
        cat "$folder/gathered" "$folder/gathered" >"$folder/twice"
        mv "$folder/twice" "$folder/gathered"
    done
    head -c "$text_bytes" "$folder/gathered" >"$folder/text"
}

# Starts counting in the background; $1 is the delay for each line in microseconds.
start() {
    "$program" --input "$folder/text" --output "$folder/counts" --checkpoints "$folder/state" \
        --checkpoint-interval-ms 250 --parallelism "$workers" --delay-us "$1" >"$folder/out" 2>>"$folder/log" &
    pid=$!
}

# The newest complete checkpoint, 0 if there is none. Old ones may be removed while find looks at them.
newest_checkpoint() {
    { echo 0; find "$folder/state" -name manifest 2>/dev/null | sed 's/.*chk-\([0-9]*\).*/\1/' || true; } |
        sort -n | tail -n 1
}

# Ends it without warning, after at least three seconds and one checkpoint of this start.
kill_midway() {
    local before status=0
    before=$(newest_checkpoint)
    sleep 3
    until [ "$(newest_checkpoint)" -gt "$before" ]; do
        kill -0 "$pid" 2>/dev/null || fail "the count ended before its time"
        sleep 0.02
    done
    kill -KILL "$pid" 2>/dev/null || fail "the count ended before its time"
    wait "$pid" 2>/dev/null || status=$?
    pid=""
    [ "$status" -eq 137 ] || fail "the count ended before its time"
    echo "killed after checkpoint $(newest_checkpoint), $(cat "$folder"/counts/*.jsonl | wc -l) counts committed"
}

finish() {
    local status=0
    wait "$pid" || status=$?
    pid=""
    [ "$status" -eq 0 ] || fail "the count ended with status $status"
    grep -q '^finished' "$folder/out" || fail "the count did not say that it is finished"
}

# Compares what was committed with a plain count: for every word that comes for the n-th time there is one line that says
# so, and there is no other line.
check() {
    sed 's/[\\"]/\\&/g' "$folder/text" |
        awk '{ for (i = 1; i <= NF; i++) print "{\"word\":\"" $i "\",\"count\":" ++seen[$i] "}" }' |
        LC_ALL=C sort >"$folder/expected"
    cat "$folder"/counts/*.jsonl | LC_ALL=C sort >"$folder/found"
    if ! cmp -s "$folder/expected" "$folder/found"; then
        echo "demo: missing (left) and too many (right):" >&2
        LC_ALL=C comm -3 "$folder/expected" "$folder/found" | head -n 20 >&2 || true
        fail "the counts are wrong"
    fi
    counts=$(wc -l <"$folder/found")
    echo "all $counts counts exactly once"
}

# The same text eight times over at full speed, without delay and without a crash. Sets $full_rate to words a second.
measure() {
    local began
    rm -rf "$folder/counts" "$folder/state"
    for _ in 1 2 3 4 5 6 7 8; do cat "$folder/text" && echo; done >"$folder/large"
    mv "$folder/large" "$folder/text"
    began=$(now_ms)
    start 0
    finish
    full_rate=$((counts * 8 * 1000 / ($(now_ms) - began)))
}

# Without RocksDB, which takes minutes to build.
cargo build --profile demo --no-default-features --example word_count
program="${CARGO_TARGET_DIR:-target}/demo/examples/word_count"
[ -x "$program" ] || fail "cargo did not build $program"

gather_text
lines=$(wc -l <"$folder/text")
delay_us=$((slowed_seconds * 1000000 * workers / lines))
echo "counting the words of $text_bytes bytes in $lines lines, $delay_us us a line"

began=$(now_ms)
for _ in 1 2; do
    start "$delay_us"
    kill_midway
done
start "$delay_us"
finish
took=$(($(now_ms) - began))
cat "$folder/out"
restarts=$(sed -n 's/.* restarts=\([0-9]*\).*/\1/p' "$folder/out" | head -n 1)

check
measure
echo "restarts: 2 of the process, ${restarts:-?} of a region within it"
echo "summary: $counts words in $(seconds "$took") s, slowed down: $((counts * 1000 / took)) words/s;" \
    "at full speed: $full_rate words/s"
