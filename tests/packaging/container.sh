#!/bin/sh
# The image at work: built around a static binary, run without root, rights or a writable file of its own, on the
# network of a container engine, feeding a real Collector by name. Then what arrived must be the host's numbers and not
# the container's.
#
# Needs docker, dockerd (started if none runs) and a Collector's binary: OTELCOL=/path/to/otelcol. Fails without an engine,
# unless HEKA_NO_ENGINE=1 says that its absence is known.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
daemon=
clean_up() {
    docker rm -f heka-test-agent heka-test-collector > /dev/null 2>&1 || true
    docker network rm heka-test > /dev/null 2>&1 || true
    docker image rm -f heka-test-agent heka-test-collector > /dev/null 2>&1 || true
    if [ -n "$daemon" ]; then kill "$daemon" && wait "$daemon" || true; fi
    rm -rf "$work"
}
trap clean_up EXIT
fail() {
    echo "container: $*" >&2
    docker logs heka-test-agent >&2 || true
    exit 1
}

if ! docker info > /dev/null 2>&1; then
    if ! command -v dockerd > /dev/null; then
        if [ "${HEKA_NO_ENGINE:-}" = 1 ]; then
            echo "container: skipped, no engine here"
            exit 0
        fi
        fail "no container engine (docker.io on Debian); HEKA_NO_ENGINE=1 if that is known"
    fi
    # As systemd has it: with a root that is not shared, docker refuses rslave.
    unshare --mount --propagation shared dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" > "$work/dockerd.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do
        docker info > /dev/null 2>&1 && break
        sleep 0.3
    done
    docker info > /dev/null 2>&1 || { tail -5 "$work/dockerd.log" >&2; fail "dockerd does not start"; }
fi
collector=${OTELCOL:?the path of a Collector binary}

# The two files that make the image must not part.
tail_of() { sed -n '/^FROM scratch/,$p' "$1" | sed 's/--from=build //; s#chown=65534:65534 /#chown=65534:65534 #; s#COPY /#COPY #'; }
[ "$(tail_of Dockerfile)" = "$(tail_of packaging/container/Dockerfile)" ] || fail "the two Dockerfiles differ from FROM scratch on"

packaging/container/build heka-test-agent > /dev/null
mkdir -p "$work/collector/root"
cp "$collector" "$work/collector/root/otelcol"
# A Collector that was built with cgo needs its libraries.
for library in $(ldd "$collector" 2> /dev/null | grep -o '/[^ ]*' || true); do
    install -D "$library" "$work/collector/root$library"
done
cat > "$work/collector/root/config.yaml" << 'YAML'
receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {file: {path: /out/metrics.json, flush_interval: 200ms}}
service:
  pipelines: {metrics: {receivers: [otlp], exporters: [file]}}
  telemetry: {metrics: {level: none}}
YAML
printf 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/otelcol", "--config=/config.yaml"]\n' > "$work/collector/Dockerfile"
docker build --quiet --tag heka-test-collector "$work/collector" > /dev/null

mkdir "$work/out"
docker network create heka-test > /dev/null
docker run --detach --name heka-test-collector --network heka-test --network-alias otel-collector \
    --volume "$work/out:/out" heka-test-collector > /dev/null
# As in docker-compose.yml: another place to keep in step, so the flags are checked below.
docker run --detach --name heka-test-agent --network heka-test --read-only --cap-drop=ALL --user 65534:65534 \
    --security-opt no-new-privileges:true \
    --volume /:/host:ro,rslave --volume /proc:/host/proc:ro --volume /sys:/host/sys:ro --volume /var/lib/heka-insights-agent \
    --env OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector:4317 \
    --env HEKA_OUTBOX_DIR=/var/lib/heka-insights-agent \
    heka-test-agent --root-path /host --interval 500ms > /dev/null

for _ in $(seq 100); do
    [ "$(grep -c system.network.io "$work/out/metrics.json" 2> /dev/null || true)" -ge 2 ] 2> /dev/null && break
    sleep 0.3
done
docker stop --time 10 heka-test-agent > /dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' heka-test-agent)
[ "$code" = 0 ] || fail "the agent ended with $code"
docker logs heka-test-agent 2>&1 | grep -E 'WARN|ERROR' && { docker logs heka-test-collector 2>&1 | tail -5 >&2; fail "the agent complained"; }
docker stop --time 10 heka-test-collector > /dev/null

# shellcheck disable=SC2016
python3 - "$work/out/metrics.json" << 'PYTHON' || fail "what arrived is not this host"
import json, os, sys

metrics, resource = {}, {}
for line in open(sys.argv[1]):
    for block in json.loads(line)["resourceMetrics"]:
        resource = {a["key"]: list(a["value"].values())[0] for a in block["resource"]["attributes"]}
        for scope in block["scopeMetrics"]:
            metrics.update({metric["name"]: metric for metric in scope["metrics"]})

def points(name):
    metric = metrics[name]
    data = metric.get("sum") or metric.get("gauge")
    for point in data["dataPoints"]:
        labels = {a["key"]: list(a["value"].values())[0] for a in point.get("attributes", [])}
        yield labels, float(point.get("asInt", point.get("asDouble")))

def field(path, name):
    return next(line.split() for line in open(path) if line.split()[0].rstrip(":") == name)

checks = {
    "host.name is the host's": resource["host.name"] == open("/etc/hostname").read().strip(),
    "all of the host's memory": next(points("system.memory.limit"))[1] == float(field("/proc/meminfo", "MemTotal")[1]) * 1024,
    "the host's interfaces, not the container's": {l["network.interface.name"] for l, _ in points("system.network.io")}
        >= {name for name in os.listdir("/sys/class/net") if name.startswith(("en", "eth"))},
    "the host's processes": sum(v for _, v in points("system.process.count"))
        > 0.5 * sum(name.isdigit() for name in os.listdir("/proc")),
}
for what, good in checks.items():
    print("container:", "ok" if good else "WRONG", what)
sys.exit(not all(checks.values()))
PYTHON
size=$(docker image inspect --format '{{.Size}}' heka-test-agent)
echo "container: ok, image of $size bytes"
