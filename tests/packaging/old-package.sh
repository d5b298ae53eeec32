#!/bin/sh
# Prints the path of an older revision's .deb, for upgrade.sh, and builds it first if it does not exist. No version has been released, so
# this is the first revision that had a .deb: an outbox on disk cannot be older. After the first release, use the released version here.
# The binary is static and not optimised, because it is for one test only.
# The package is in ${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent. Needs git with the history, and cargo-deb (packaging/build-packages).
set -eu
cd "$(dirname "$0")/../.."
revision=94c230c6a86f
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent
package=$cache/heka-insights-agent-$revision.deb
if [ -e "$package" ]; then
    echo "$package"
    exit
fi
git cat-file -e "$revision^{commit}" || { echo "old-package: this clone lacks the revision $revision; fetch the whole history" >&2; exit 1; }

mkdir -p "$cache"
work=$(mktemp -d "$cache/old.XXXXXX")
trap 'rm -rf "$work"' EXIT
git archive "$revision" | tar -x -C "$work"
retry=$PWD/.ci/retry
cd "$work"
target=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="$work/target" CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
"$retry" cargo fetch --quiet --locked --target "$target" >&2
RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --locked --target "$target" --bins >&2
"$cache/bin/cargo-deb" deb --quiet --no-build --no-strip --target "$target" --deb-version "0.1.0~$revision" --output "$work/old.deb" >&2
mv "$work/old.deb" "$package"
echo "$package"
