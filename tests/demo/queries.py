#!/usr/bin/env python3
"""Runs every query of docs/migrating.md on a real Prometheus that the agent feeds directly, without a Collector.

PROMETHEUS: a Prometheus 3 binary. HEKA_BINARY: the agent, by default target/release/heka-insights-agent. A query without data is a
failure. Queries of metrics whose source this host lacks, such as swap or a temperature, may have no data, but their names must be
documented.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
AGENT = os.environ.get("HEKA_BINARY", ROOT / "target/release/heka-insights-agent")
PATIENCE = 60


def documented():
    page = (ROOT / "docs/migrating.md").read_text().split("## From node_exporter")[1]
    for line in page.splitlines():
        if line.startswith("| `"):
            yield re.search(r"`([^`]+)`", re.split(r"(?<!\\)\|", line)[2])[1].replace("\\|", "|")
    quick = (ROOT / "docs/quick-start.md").read_text()
    yield from re.findall(r"`([^`]*system_cpu_utilization_ratio[^`]*)`", quick)


def lacking():
    """The names of metrics whose source this host lacks; a query for them has no data, but its names must be documented."""
    def none(pattern):
        return not any(pathlib.Path("/").glob(pattern))

    swap = len(pathlib.Path("/proc/swaps").read_text().splitlines()) < 2
    temperatures = none("sys/class/hwmon/hwmon*/temp*_input") and none("sys/class/thermal/thermal_zone*/temp")

    containers = none("sys/fs/cgroup/docker-*.scope/cpu.stat") and none("sys/fs/cgroup/cpuacct/docker-*.scope")

    def speed(path):
        try:
            return int(path.read_text()) > 0
        except OSError:
            return False  # the link is down

    sources = {
        "system_paging_usage": swap,
        "system_network_conntrack": none("proc/sys/net/netfilter/nf_conntrack_count"),
        "hw_network_up": none("sys/class/net/*/device"),
        "hw_network_bandwidth_limit": not any(map(speed, pathlib.Path("/sys/class/net").glob("*/speed"))),
        "system_pressure": none("proc/pressure/cpu"),
        "system_disk_linux_raid": none("sys/block/md*/md"),
        "system_network_linux_bond": none("sys/class/net/*/bonding"),
        "hw_temperature": temperatures,
        "hw_errors": none("sys/devices/system/edac/mc/mc*"),
        "systemd_unit_count": none("run/systemd/system") or none("run/dbus/system_bus_socket"),
        "systemd_service": none("sys/fs/cgroup/*/system.slice") and none("sys/fs/cgroup/system.slice"),
        # Without run.py's container, the host may have containers in other places.
        "container_cpu_time": containers,
        "container_memory_working_set": containers,
        # These exist only for containers with disk I/O, a quota or an OOM kill.
        "container_disk_io": True,
        "container_cpu_linux_throttled": True,
        "container_memory_linux_oom_kills": True,
        # These exist only for units that failed and services that were restarted or killed; no test does this to the machine.
        "systemd_unit_state": True,
        "systemd_service_restarts": True,
        "systemd_service_oom_kills": True,
    }
    return [name for name, lacks in sources.items() if lacks]


def undocumented(promql):
    """The metrics of a query that docs/metrics.md does not have."""
    page = (ROOT / "docs/metrics.md").read_text()
    without_labels = re.sub(r"\{[^}]*\}|\b(?:without|by|on|ignoring) *\([^)]*\)", "", promql)
    names = re.findall(r"\b(?:system|hw|systemd|container|process)_[a-z0-9_]+", without_labels)
    return [name for name in names if name not in page]


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    prometheus = os.environ.get("PROMETHEUS") or sys.exit("queries: PROMETHEUS must name a Prometheus 3 binary")

    def query(promql):
        url = f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": promql})
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]["result"]

    def has_data(promql):
        try:
            return bool(query(promql))
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return False  # it is starting
            sys.exit(f"queries: {promql}: {error.read().decode()}")
        except OSError:
            return False  # nothing listens yet

    with tempfile.TemporaryDirectory() as work:
        programs = [
            subprocess.Popen(
                [prometheus, "--web.enable-otlp-receiver", f"--config.file={ROOT}/packaging/prometheus/prometheus.yml",
                 f"--web.listen-address={address}", f"--storage.tsdb.path={work}/data", "--log.level=error"]),
            subprocess.Popen(
                [AGENT, "--endpoint", f"http://{address}/api/v1/otlp/v1/metrics", "--interval", "1s", "--no-phase",
                 "--log-level=error"], cwd=work)]
        try:
            every = list(documented())
            if unknown := [each for each in every if undocumented(each)]:
                sys.exit(f"queries: metrics that are not in docs/metrics.md: {unknown}")
            queries = [each for each in every if not any(name in each for name in lacking())]
            alert = [each for each in queries if each.startswith("absent") or " unless " in each]
            waiting = [each for each in queries if each not in alert]
            deadline = time.monotonic() + PATIENCE
            while (waiting := [each for each in waiting if not has_data(each)]) and time.monotonic() < deadline:
                time.sleep(0.5)
            if any(has_data(each) for each in alert):
                waiting += alert
        finally:
            for program in reversed(programs):
                program.terminate()
                program.wait()
    for each in waiting:
        print("queries: not as documented:", each, file=sys.stderr)
    if waiting or len(queries) < 25 or len(alert) != 1:
        sys.exit(1)
    print(f"queries: ok, {len(queries)} of them; this host lacks what {len(every) - len(queries)} others ask for")


if __name__ == "__main__":
    main()
