#!/usr/bin/env bash
# Tests .ci/retry: it must run a command until it succeeds, at most three times, and end with the command's status and a line that names
# it. All downloads of scripts must use it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "retry: failed: $*" >&2
    exit 1
}

# A command that counts its runs and fails with 7 as many times as its argument.
printf '#!/bin/sh\necho >> "$0.runs"\n[ "$(wc -l < "$0.runs")" -gt "$1" ] || exit 7\n' > "$work/stub"
chmod 755 "$work/stub"
# tried FAILURES STATUS RUNS
tried() {
    local status=0
    rm -f "$work/stub.runs"
    HEKA_RETRY_PAUSE=0 .ci/retry "$work/stub" "$1" 2> "$work/log" || status=$?
    [ "$status $(wc -l < "$work/stub.runs")" = "$2 $3" ] || fail "of $1 failures: status $status after $(wc -l < "$work/stub.runs") runs"
}
tried 0 0 1
tried 2 0 3
tried 3 7 3
[ "$(tail -1 "$work/log")" = "retry: failed three times, no download: $work/stub 3" ] || fail "the last line: $(tail -1 "$work/log")"
echo "retry: ok, three tries, and the last line names the command"

# bare FILE...: prints lines that download without .ci/retry. Quotes and commas are ignored, so that a list in Python looks like a command.
bare() {
    awk '{ line = $0; gsub(/[",]/, " ", line) }
        line ~ /^ *#/ || line ~ /[Rr][Ee][Tt][Rr][Yy]/ { next }
        line ~ /(go|cargo|pip|apt-get) +install|apt-get +update|rustup .*(toolchain|target|component) |go +mod +download|cargo .*fetch|debootstrap +--/ {
            print FILENAME ": " $0 }' "$@"
}
# Exceptions: the first has a message about apt-get, the second uses cargo's cache, and the third passes its commands to "$retry" "$@".
mapfile -t files < <(git ls-files .ci packaging tests fuzz .github | grep -vE '\.(md|rs|roff|txt|json|lock)$|^tests/fixtures/|^tests/retry\.sh$' |
    grep -vxE 'packaging/install\.sh|tests/packaging/newcomer\.sh|tests/packaging/clean-root\.sh')
grep -q '"\$retry" "\$@"' tests/packaging/clean-root.sh || fail "clean-root.sh makes a root without .ci/retry"
found=$(bare "${files[@]}")
[ -z "$found" ] || fail "not through .ci/retry: $found"
grep -hE 'retry' "${files[@]}" | sed 's/[^ ]*retry"\{0,1\}//' > "$work/others"
[ "$(bare "$work/others" | wc -l)" -ge 15 ] || fail "what downloads is not recognised: $(bare "$work/others")"
echo "retry: ok, ${#files[@]} files, $(bare "$work/others" | wc -l) downloads, none without it"
