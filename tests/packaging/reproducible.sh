#!/bin/sh
# Checks that two builds of the static binary are identical, so that anyone can verify that a released binary was built from the source.
# The builds differ in directory, cargo home, time and time zone. They contain the work tree's changes, committed or not.
# HEKA_BINARY: the first build, by packaging/build-static in this checkout. HEKA_OTHER: the second build; without it, this script makes one.
# CI passes the one that newcomer.sh made in its clone. The sources of the crates must be in cargo's cache.
set -eu
cd "$(dirname "$0")/../.."
: "${HEKA_BINARY:?the path of the static binary that packaging/build-static has made here}"
# The commit is part of the binary.
HEKA_COMMIT=$("$HEKA_BINARY" --version | sed -n 's/^commit: *//p')
export HEKA_COMMIT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build() {
    mkdir -p "$work/another/checkout" "$work/cargo"
    git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --touch --directory "$work/another/checkout"
    ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/cargo/registry"
    (cd "$work/another/checkout" && umask 077 && unset CARGO_TARGET_DIR &&
        TZ=Pacific/Auckland LC_ALL=C CARGO_HOME=$work/cargo CARGO_NET_OFFLINE=true packaging/build-static)
}
other=${HEKA_OTHER:-$(build)}
if ! cmp "$HEKA_BINARY" "$other"; then
    echo "reproducible: two builds differ: $(sha256sum < "$HEKA_BINARY") $(sha256sum < "$other")" >&2
    strings -n 8 "$HEKA_BINARY" > "$work/one"
    strings -n 8 "$other" > "$work/other"
    diff "$work/one" "$work/other" | cut -c1-300 | head -20 >&2
    exit 1
fi
for path in "$PWD" "$HOME" "${TMPDIR:-/tmp}"; do
    if strings -n 4 "$other" | grep -F -- "$path/"; then
        echo "reproducible: the binary names $path" >&2
        exit 1
    fi
done
echo "reproducible: ok, two builds in two directories are the same: sha256 $(sha256sum < "$other" | cut -c1-64)"
