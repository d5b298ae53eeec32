#!/usr/bin/env bash
# Prints the path of the Collector that builder.yaml describes, and builds it first if it does not exist.
# It is in ${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent, outside the checkout. Needs Go.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retry=$here/../../.ci/retry
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}}/heka-insights-agent
collector=$cache/otelcol-$(sha256sum "$here/builder.yaml" | cut -c1-12)

if [ -x "$collector" ]; then
    echo "$collector"
    exit
fi
if ! command -v go >/dev/null; then
    echo "$0: there is no Collector at $collector and no Go to build it with" >&2
    exit 1
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/.*otlpreceiver \(v[0-9.]*\)$/\1/p' "$here/builder.yaml")
echo "building the Collector $version, which takes a few minutes" >&2
{
    GOBIN=$work/bin "$retry" go install "go.opentelemetry.io/collector/cmd/builder@$version"
    cp "$here/builder.yaml" "$work"
    cd "$work"
    # The builder writes the sources and go.mod, then runs `go mod tidy`, which fails, because it needs the modules of the
    # components' tests, some of which no server has. The compiler downloads the modules that it needs.
    "$retry" sh -c './bin/builder --config builder.yaml --skip-compilation || [ -f dist/go.mod ]' >builder.log 2>&1 || {
        cat builder.log
        exit 1
    }
    cd dist
    GOFLAGS="-mod=mod -buildvcs=false" "$retry" go build -trimpath -ldflags='-s -w' -o otelcol .
} >&2
# If two builds get here at the same time, each moves a complete file into place.
mv "$work/dist/otelcol" "$collector"
echo "$collector"
