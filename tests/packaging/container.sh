#!/bin/sh
# Runs docker-compose.yml. The agent's image with a static binary, without root, without rights and with a read-only file system, sends
# to a real Collector by its name in the network, and the Collector sends to a real Prometheus, both with the configuration files of this
# repository. The values in Prometheus must be those of the host, not those of the container.
#
# The images of the Collector and of Prometheus are made from the binaries in OTELCOL and PROMETHEUS, with the names in the compose file.
# Everything runs in its own engine (engine.sh). Grafana is left out.
#
# Needs root, docker, dockerd and docker-compose (Debian: docker.io docker-compose). HEKA_BINARY: as for
# packaging/container/build.
set -eu
cd "$(dirname "$0")/../.."
test=container
. tests/packaging/lib.sh
. tests/packaging/engine.sh

work=$(mktemp -d)
clean_up() {
    compose down --timeout 5 > /dev/null 2>&1 || true
    engine_stop
    rm -rf "$work"
}
evidence() { [ -z "$engine" ] || compose logs --no-color --tail 10; }
compose() {
    if docker compose version > /dev/null 2>&1; then set -- docker compose "$@"; else set -- docker-compose "$@"; fi
    COMPOSE_PROJECT_NAME=heka-test "$@"
}

: "${OTELCOL:?the path of a Collector binary}" "${PROMETHEUS:?the path of a Prometheus 3 binary}"
trap clean_up EXIT

# The two Dockerfiles must make the same image.
last_stage() { sed -n '/^FROM scratch/,$p' "$1" | sed 's/--from=build //; s#COPY /#COPY #; s#65534 /#65534 #'; }
[ "$(last_stage Dockerfile)" = "$(last_stage packaging/container/Dockerfile)" ] || {
    echo "container: the two Dockerfiles differ from FROM scratch on" >&2
    exit 1
}
# The image with the compiler is not pulled here, so the build is not run. But each script that it runs, and each directory of sources,
# must be in its build context.
in_context() {
    path=$1
    until grep -qx "!$path" .dockerignore; do
        path=$(dirname "$path")
        [ "$path" != . ] || { echo "container: .dockerignore keeps $1 out" >&2; exit 1; }
    done
}
scripts=Dockerfile checked=
while [ -n "$scripts" ]; do
    # shellcheck disable=SC2086 # words
    scripts=$(sed '/^ *#/d' $scripts | grep -oE 'packaging/[a-z0-9/_-]+' | sort -u)
    new=
    for script in $scripts; do
        case " $checked " in *" $script "*) continue ;; esac
        [ -f "$script" ] || continue
        in_context "$script"
        checked="$checked $script" new="$new $script"
    done
    scripts=$new
done
[ "$(echo "$checked" | wc -w)" -ge 5 ] || { echo "container: the build's scripts are not found:$checked" >&2; exit 1; }
crates=$(sed -n 's#.*path = "\([a-z]*\)/.*#\1#p' Cargo.toml | sort -u | grep -vx -e src -e benches -e tests || true)
for path in build $crates $(sed -n 's/.*concat!(env!("CARGO_MANIFEST_DIR"), "\/\([a-z]*\)\/.*/\1/p' build.rs); do
    in_context "$path"
done
compose config --quiet

engine_start || exit 1
packaging/container/build heka-insights-agent > /dev/null 2> "$work/build.log" || { cat "$work/build.log" >&2; exit 1; }
image_of otelcol "$OTELCOL" "$(sed -n 's/^ *image: \(otel.*\)/\1/p' docker-compose.yml)"
image_of prometheus "$PROMETHEUS" "$(sed -n 's/^ *image: \(prom.*\)/\1/p' docker-compose.yml)"

compose up --detach --no-build prometheus otel-collector agent > "$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "up"; }
in_engine python3 - << 'PYTHON' || fail "what arrived is not this host"
import json, os, sys, time, urllib.parse, urllib.request

def query(promql):
    address = "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": promql})
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []

deadline = time.monotonic() + 60
while not query("system_cpu_utilization_ratio"):  # the metric exists from the second collection on
    if time.monotonic() > deadline:
        sys.exit("nothing arrived in Prometheus within a minute")
    time.sleep(0.5)

def value(promql):
    found = query(promql)
    return float(found[0]["value"][1]) if found else None

memory = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemTotal:"))
processes = sum(name.isdigit() for name in os.listdir("/proc"))
# The interfaces of process 1, as the agent reads them: this script has another network namespace.
interfaces = {line.split(":")[0].strip() for line in open("/proc/1/net/dev") if ":" in line}
seen = {found["metric"]["network_interface_name"] for found in query("system_network_io_bytes_total")}
mounts = {found["metric"]["system_filesystem_mountpoint"] for found in query("system_filesystem_usage_bytes")}
checks = {
    "the host's name": {f["metric"]["host_name"] for f in query("system_uptime_seconds")} == {open("/etc/hostname").read().strip()},
    "all of the host's memory": value("system_memory_limit_bytes") == memory,
    "the host's processes": (value("sum(system_process_count)") or 0) > 0.5 * processes,
    "the host's interfaces": bool(seen) and seen <= interfaces,
    "the host's root file system": "/" in mounts and not any(mount.startswith("/host") for mount in mounts),
    "a share of the CPU time for each mode": abs((value("sum(system_cpu_utilization_ratio)") or 0) - 1) < 0.01,
}
for what, good in checks.items():
    print(f"container: ok, {what}" if good else f"container: wrong: {what}")
sys.exit(not all(checks.values()))
PYTHON

compose stop --timeout 10 agent > /dev/null 2>&1
agent=$(compose ps -q agent)
code=$(docker inspect --format '{{.State.ExitCode}}' "$agent")
[ "$code" = 0 ] || fail "the agent ended with $code"
docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' "$agent" |
    grep -qx '65534:65534 true \[ALL\]' || fail "the agent has more rights than it needs"
if docker logs "$agent" 2>&1 | grep ERROR; then fail "the agent lost something"; fi
echo "container: ok, an image of $(docker image inspect --format '{{.Size}}' heka-insights-agent) bytes"
