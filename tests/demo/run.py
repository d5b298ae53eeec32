#!/usr/bin/env python3
"""Runs the demo without containers: agent → Collector → Prometheus as processes, with the configuration files of this repository.
Every query of the two Grafana dashboards must return data, except for queries of metrics whose source this host lacks. --picture FILE
plots the queries of the first dashboard. For the picture, a process keeps a CPU busy, and the Collector is down for a part of the time.

    HEKA_BINARY=… OTELCOL=… PROMETHEUS=… tests/demo/run.py [--seconds 120 --picture docs/dashboard.svg]

As root it adds, while it runs, a control group with the name of a Docker container, for the panels of containers, and, if the host has
no swap, a swap file of 16 MiB, for the swap panel."""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import plot
import queries

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The dashboard of each naming.
DASHBOARDS = {"semconv": "heka.json", "hostmetrics": "heka-hostmetrics.json"}
DATASOURCES = ROOT / "packaging/grafana/provisioning/datasources/prometheus.yaml"
WINDOW = "6s"  # $__rate_interval, for an interval of one second
DEADLINE_SECONDS = 60
# Fractions of the time that the picture shows.
BUSY, AWAY = (0.15, 0.4), (0.5, 0.65)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path, **parameters):
        address = f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            sys.exit(f"demo: Prometheus refuses {parameters}: {error.read().decode()}")
        except OSError:
            return None

    def ready(self):
        try:
            return urllib.request.urlopen(f"{self.base}/-/ready", timeout=2).status == 200
        except OSError:
            return False

    def series(self, query, seconds):
        now = time.time()
        found = self.get("query_range", query=query, start=now - seconds, end=now, step=1) or {"result": []}
        series = []
        for entry in found["result"]:
            points = [(float(t), float(v)) for t, v in entry["values"]]
            points = [(t, v) for t, v in points if math.isfinite(v)]
            if points:
                series.append((entry["metric"], points))
        return series


def wait_for(what, condition):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"demo: {what}: not within {DEADLINE_SECONDS} s")
        time.sleep(0.3)
    return found


def targets(dashboard, variables):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", WINDOW)
            for name, value in variables.items():
                query = query.replace(f"${name}", value)
            if "$" in query:
                sys.exit(f"demo: a variable of {panel['title']} is not known: {query}")
            yield panel, target, query


def swap_file(work):
    """Adds a swap file if the host has no swap and root can add one. Returns its path."""
    if len(open("/proc/swaps").readlines()) > 1:
        return None
    path = work / "swap"
    path.write_bytes(bytes(16 << 20))
    path.chmod(0o600)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    made = shutil.which("mkswap") and all(subprocess.run(c, **quiet).returncode == 0 for c in (["mkswap", path], ["swapon", path]))
    return path if made else None


class Container:
    """A process in its own control group, which has the name of a Docker container. Needs root."""

    def __init__(self):
        root = pathlib.Path("/sys/fs/cgroup")
        # Version 1 has a tree for each controller.
        trees = [root] if (root / "cgroup.controllers").exists() else [root / name for name in ("cpuacct", "memory", "pids", "systemd")]
        self.groups = []
        self.process = subprocess.Popen(["sleep", "infinity"])
        for tree in trees if os.geteuid() == 0 else []:
            try:
                group = tree / f"docker-{'4f' * 32}.scope"
                group.mkdir()
                self.groups.append(group)
                (group / "cgroup.procs").write_text(str(self.process.pid))
            except OSError:
                pass  # the tree does not exist or is not writable; queries.lacking detects this

    def remove(self):
        self.process.kill()
        self.process.wait()
        for group in self.groups:
            group.rmdir()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=int, default=15)
    arguments.add_argument("--picture")
    options = arguments.parse_args()
    binaries = {}
    for name in ("HEKA_BINARY", "OTELCOL", "PROMETHEUS"):
        path = os.environ.get(name) or sys.exit(f"demo: {name}: the path of a program is wanted")
        binaries[name] = os.path.abspath(path)

    dashboards = {naming: json.loads((ROOT / "packaging/grafana/dashboards" / name).read_text()) for naming, name in DASHBOARDS.items()}
    uids = {panel["datasource"]["uid"] for dashboard in dashboards.values() for panel in dashboard["panels"] if "datasource" in panel}
    if uids != set(re.findall(r"^\s+uid: (\S+)", DATASOURCES.read_text(), re.M)):
        sys.exit("demo: the dashboards' data source is not the provisioned one")

    work = pathlib.Path(tempfile.mkdtemp(prefix="heka-demo."))
    processes, swap, container = [], None, None

    def start(name, command, **environment):
        log = open(work / f"{name}.log", "w")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "HEKA_"))}
        processes.append(subprocess.Popen(command, cwd=work, env=clean | environment, stdout=log, stderr=log))
        return processes[-1]

    try:
        swap, container = swap_file(work), Container()
        web, grpc, http, health = (free_port() for _ in range(4))
        prometheus = Prometheus(web)
        start("prometheus", [
            binaries["PROMETHEUS"], f"--config.file={ROOT}/packaging/prometheus/prometheus.yml", "--web.enable-otlp-receiver",
            f"--storage.tsdb.path={work}/data", f"--web.listen-address=127.0.0.1:{web}"])
        wait_for("Prometheus is ready", prometheus.ready)

        def collector():
            return start("collector", [binaries["OTELCOL"], f"--config={ROOT}/otel-collector-config.yaml"],
                         OTLP_GRPC_ENDPOINT=f"127.0.0.1:{grpc}", OTLP_HTTP_ENDPOINT=f"127.0.0.1:{http}",
                         HEALTH_ENDPOINT=f"127.0.0.1:{health}", PROMETHEUS_OTLP_ENDPOINT=f"{prometheus.base}/api/v1/otlp")
        collects = collector()

        def serves():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", grpc)) == 0
        wait_for("the Collector listens", serves)
        (work / "textfile").mkdir()
        (work / "textfile/demo.prom").write_text("demo_metric 1\n")
        # One host name per naming, because some metric names are the same in both.
        agents = {naming: start(f"agent-{naming}", [
            binaries["HEKA_BINARY"], "--naming", naming, "--interval", "1s", "--no-phase", "--endpoint", f"http://127.0.0.1:{grpc}",
            "--outbox-dir", str(work / f"outbox-{naming}"), "--textfile-dir", str(work / "textfile"),
            "--resource-attribute", f"host.name={naming}", *(["--detail", "detailed", "--top-processes", "5"] if naming == "semconv" else []),
        ]) for naming in dashboards}

        # The variables of the dashboards, queried as Grafana does.
        def values(label, series):
            return prometheus.get(f"label/{label}/values", **{"match[]": series})
        variables = {}
        for naming in dashboards:
            wait_for(f"the host {naming} in Prometheus", lambda: naming in (values("host_name", "system_uptime_seconds") or []))
            jobs = wait_for("an agent in Prometheus", lambda: values("job", f'heka_outbox_batches{{host_name="{naming}"}}'))
            variables[naming] = {"host": naming, "job": jobs[0]}

        # Writes to the disk: an idle host has no disk latency.
        begins = time.monotonic()
        busy = start("busy", [sys.executable, "-c", "while True: pass"]) if options.picture else None
        if busy:
            busy.send_signal(signal.SIGSTOP)
        events = [(at * options.seconds, act) for at, act in (
            (BUSY[0], lambda: busy.send_signal(signal.SIGCONT)), (BUSY[1], lambda: busy.send_signal(signal.SIGSTOP)),
            (AWAY[0], collects.terminate), (AWAY[1], collector))] if options.picture else []
        while (passed := time.monotonic() - begins) < options.seconds:
            while events and events[0][0] <= passed:
                events.pop(0)[1]()
            with open(work / "written", "wb") as file:
                file.write(os.urandom(1 << 20))
                os.fsync(file.fileno())
            time.sleep(0.5)

        lacks, asked, lacking, missing, panels = queries.lacking(), 0, [], [], {}
        for naming, dashboard in dashboards.items():
            for panel, target, query in targets(dashboard, variables[naming]):
                asked += 1
                series = prometheus.series(query, options.seconds)
                panels.setdefault((naming, panel["id"]), (panel, []))[1].extend((target["legendFormat"], *one) for one in series)
                if not series:
                    (lacking if any(name in query for name in lacks) else missing).append(f"{panel['title']}: {query}")
        if options.picture:
            def times(part):
                return " to ".join(f"{at * options.seconds:.0f}" for at in part) + " s"
            rows = []
            for panel in dashboards["semconv"]["panels"]:
                if panel["type"] == "row":
                    rows.append((panel["title"], []))
                else:
                    rows[-1][1].append(panels["semconv", panel["id"]])
            caption = (f"The dashboard's queries on a host of {os.cpu_count()} CPUs, collected every second: a busy process from "
                       f"{times(BUSY)}, the Collector away from {times(AWAY)}.")
            pathlib.Path(options.picture).write_text(plot.picture(rows, caption))
        for agent in agents.values():
            agent.send_signal(signal.SIGTERM)
        codes = [agent.wait(10) for agent in agents.values()]
        if missing or any(codes):
            for line in missing:
                print(f"demo: no data: {line}", file=sys.stderr)
            for log in sorted(work.glob("agent-*.log")) + [work / "collector.log"]:
                print(log.read_text()[-2000:], file=sys.stderr)
            sys.exit(f"demo: {len(missing)} of {asked} queries without data; the agents ended with {codes}")
        for line in lacking:
            print(f"demo: this host lacks what it asks for: {line}")
        print(f"demo: ok, {asked - len(lacking)} of {asked} queries in {len(panels)} panels return data; this host lacks what the others ask for")
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if container:
            container.remove()
        if swap:
            subprocess.run(["swapoff", swap], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
