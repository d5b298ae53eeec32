#!/usr/bin/env bash
# Prints the path of a Prometheus, and builds it first where there is none yet. Its web pages are not in it: the tests ask
# its API. It lies in ${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent, outside the checkout. Needs Go.
set -euo pipefail

retry=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.ci/retry
version=v0.315.0 # the module's; the program calls it 3.15.0
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}}/heka-insights-agent
prometheus=$cache/prometheus-$version

if [ -x "$prometheus" ]; then
    echo "$prometheus"
    exit
fi
if ! command -v go >/dev/null; then
    echo "$0: there is no Prometheus at $prometheus and no Go to build it with" >&2
    exit 1
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "building Prometheus $version, which takes a few minutes" >&2
{
    # As its own main module: `go install` refuses the replacements in its go.mod. Its go.work names what is not in it.
    source=$("$retry" go mod download -json "github.com/prometheus/prometheus@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
    cp -r "$source" "$work/source"
    chmod -R u+w "$work/source"
    cd "$work/source"
    # Without the service discoveries, which are most of its code: nothing is scraped here.
    GOWORK=off GOFLAGS="-buildvcs=false" "$retry" go build -tags remove_all_sd -trimpath -ldflags='-s -w' -o "$work/prometheus" ./cmd/prometheus
} >&2
# Two builds at once may both get here; each moves a finished file into place.
mv "$work/prometheus" "$prometheus"
echo "$prometheus"
