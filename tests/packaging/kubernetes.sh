#!/bin/sh
# Tests packaging/kubernetes and packaging/helm. kustomize and Helm must build them, the API's schema must accept them (and reject a
# broken one), the chart must have the same effect as the base, and the program must have every flag and variable. A container with the
# mounts, user and rights of each must read this host, and its `check` must exit with 0 against a Collector.
#
# Needs root, Go, python3 with venv, docker and dockerd (Debian: golang python3-venv docker.io); fails without them.
# HEKA_BINARY: a static binary, as for packaging/container/build. OTELCOL: the path of a Collector.
set -eu
cd "$(dirname "$0")/../.."

kustomize_version=v5.7.1
helm_version=v3.22.0
validator_version=1.37.0
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent

: "${OTELCOL:?the path of a Collector}"
test=kubernetes
work=$(mktemp -d)
. tests/packaging/lib.sh
. tests/packaging/engine.sh
clean_up() {
    background_stop
    engine_stop
    rm -rf "$work"
}
trap clean_up EXIT
for tool in go python3 docker dockerd; do
    command -v "$tool" > /dev/null || fail "no $tool here (Debian: golang python3-venv docker.io)"
done
[ "$(id -u)" = 0 ] || fail "not root: no container engine can be started"

kustomize=$cache/kustomize-$kustomize_version/kustomize
[ -x "$kustomize" ] || GOBIN=${kustomize%/*} .ci/retry go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize_version"
helm=$cache/helm-$helm_version/helm
[ -x "$helm" ] || GOBIN=${helm%/*} .ci/retry go install "helm.sh/helm/v3/cmd/helm@$helm_version"
venv=$cache/kubernetes-validate-$validator_version
if [ ! -x "$venv/bin/kubernetes-validate" ]; then
    python3 -m venv "$venv"
    .ci/retry "$venv/bin/pip" install --quiet "kubernetes-validate==$validator_version"
fi

begun=$(date +%s)
for each in base vendor; do
    "$kustomize" build "packaging/kubernetes/$each" > "$work/$each.yaml"
    "$venv/bin/kubernetes-validate" --strict --quiet "$work/$each.yaml" || fail "$each is not what the API takes"
done
chart=packaging/helm/heka-insights-agent
"$helm" lint --quiet --strict "$chart" > "$work/lint.log" || { cat "$work/lint.log" >&2; fail "helm lint"; }
# A helm that was built from source assumes Kubernetes 1.20.
render() {
    "$helm" template heka-insights-agent "$chart" --namespace heka-insights-agent --kube-version "$validator_version" "$@"
}
render > "$work/chart.yaml"
render --values tests/packaging/chart-values.yaml > "$work/variant.yaml"
# The commands of the documents, for the chart and for the base.
documented 'kubectl apply -k packaging/kubernetes/base' README.md
command=$(sed -n '/^helm install .*\\$/,/[^\\]$/p' docs/install.md)
[ -n "$command" ] || fail "docs/install.md has no helm install"
sh -c "$(echo "$command" | sed "s#^helm install#'$helm' template --kube-version $validator_version#; s#REGISTRY#registry.example#")" > "$work/page.yaml" ||
    fail "the page's command: $command"
grep -q 'image: "registry.example/heka-insights-agent:' "$work/page.yaml" || fail "the page's command takes another image"
for each in chart variant page; do
    "$venv/bin/kubernetes-validate" --strict --quiet "$work/$each.yaml" || fail "$each is not what the API takes"
done
"$venv/bin/python" tests/packaging/chart.py "$work/base.yaml" "$work/chart.yaml" "$work/variant.yaml" || fail "the chart"
if render --set flag.interval=30s > /dev/null 2>&1; then fail "the chart takes a value that does not exist"; fi
if render --set flags.intervall=30s > /dev/null 2>&1; then fail "the chart takes a flag that does not exist"; fi
for version in version appVersion; do
    [ "$(sed -n "s/^$version: //p" "$chart/Chart.yaml")" = "$(packaging/release/version)" ] || fail "the chart's $version is not Cargo.toml's"
done
# The schema must reject a broken manifest.
sed 's/mountPropagation: HostToContainer/mountPropogation: HostToContainer/' "$work/base.yaml" > "$work/broken.yaml"
if "$venv/bin/kubernetes-validate" --strict --quiet "$work/broken.yaml" > /dev/null 2>&1; then
    fail "the schema took a field that does not exist"
fi

engine_start || fail "no engine"
visit="nsenter --target $engine --net"
collector
packaging/container/build heka-insights-agent > /dev/null 2> "$work/build.log" || { cat "$work/build.log" >&2; fail "build"; }

"$venv/bin/python" tests/packaging/kubernetes.py "$work" || fail "what the manifests ask for does not work"
in_time "kubectl apply -k, the Helm chart, as far as a container engine goes"
