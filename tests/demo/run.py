#!/usr/bin/env python3
"""The demo without containers: agent → Collector → Prometheus as processes, with the configuration files of this
repository; then every query of the Grafana dashboard must return data, or ask for what this host lacks (queries.py). With --picture FILE the same queries are plotted; so that
there is something to see, a process keeps a CPU busy and the Collector is away for a part of the time.

    HEKA_BINARY=… OTELCOL=… PROMETHEUS=… tests/demo/run.py [--seconds 120 --picture docs/dashboard.svg]

As root it adds a swap file of 16 MiB for the time it runs where the host has no swap, since the swap panel would rightly
be empty there."""

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
from queries import lacking, undocumented

ROOT = pathlib.Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "packaging/grafana/dashboards/heka.json"
DATASOURCES = ROOT / "packaging/grafana/provisioning/datasources/prometheus.yaml"
WINDOW = "6s"  # $__rate_interval for data of every second
DEADLINE_SECONDS = 60
# Of the time that a picture shows.
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
    """A swap file where there is no swap."""
    if len(open("/proc/swaps").readlines()) > 1:
        return None
    path = work / "swap"
    path.write_bytes(bytes(16 << 20))
    path.chmod(0o600)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    made = shutil.which("mkswap") and all(subprocess.run(c, **quiet).returncode == 0 for c in (["mkswap", path], ["swapon", path]))
    return path if made else None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=int, default=15)
    arguments.add_argument("--picture")
    options = arguments.parse_args()
    binaries = {}
    for name in ("HEKA_BINARY", "OTELCOL", "PROMETHEUS"):
        path = os.environ.get(name) or sys.exit(f"demo: {name}: the path of a program is wanted")
        binaries[name] = os.path.abspath(path)

    dashboard = json.loads(DASHBOARD.read_text())
    uids = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    if uids != set(re.findall(r"^\s+uid: (\S+)", DATASOURCES.read_text(), re.M)):
        sys.exit("demo: the dashboard's data source is not the provisioned one")

    work = pathlib.Path(tempfile.mkdtemp(prefix="heka-demo."))
    processes, swap = [], None

    def start(name, command, **environment):
        log = open(work / f"{name}.log", "w")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "HEKA_"))}
        processes.append(subprocess.Popen(command, cwd=work, env=clean | environment, stdout=log, stderr=log))
        return processes[-1]

    try:
        swap = swap_file(work)
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
        agent = start("agent", [binaries["HEKA_BINARY"], "--interval", "1s", "--no-phase", "--detail", "detailed", "--top-processes", "5", "--endpoint",
                                f"http://127.0.0.1:{grpc}", "--outbox-dir", str(work / "outbox")])

        # The dashboard's own variables, as Grafana asks for them.
        hosts = wait_for("a host in Prometheus", lambda: prometheus.get("label/host_name/values", **{"match[]": "system_uptime_seconds"}))
        jobs = wait_for("an agent in Prometheus", lambda: prometheus.get("label/job/values", **{"match[]": "heka_outbox_batches"}))
        variables = {"host": hosts[0], "job": jobs[0]}

        # A host at rest has no disk latency: something to measure.
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

        missing, count, lacked, panels = [], 0, 0, {}
        for panel, target, query in targets(dashboard, variables):
            count += 1
            series = prometheus.series(query, options.seconds)
            panels.setdefault(panel["id"], (panel, []))[1].extend((target["legendFormat"], *one) for one in series)
            if not series and any(name in query for name in lacking()) and not undocumented(query):
                lacked += 1
            elif not series:
                missing.append(f"{panel['title']}: {query}")
        if options.picture:
            def times(part):
                return " to ".join(f"{at * options.seconds:.0f}" for at in part) + " s"
            rows = []
            for panel in dashboard["panels"]:
                if panel["type"] == "row":
                    rows.append((panel["title"], []))
                elif panel["id"] in panels:
                    rows[-1][1].append(panels[panel["id"]])
            caption = (f"The dashboard's queries on a host of {os.cpu_count()} CPUs, collected every second: a busy process from "
                       f"{times(BUSY)}, the Collector away from {times(AWAY)}.")
            pathlib.Path(options.picture).write_text(plot.picture(rows, caption))
        agent.send_signal(signal.SIGTERM)
        code = agent.wait(10)
        if missing or code != 0:
            for line in missing:
                print(f"demo: no data: {line}", file=sys.stderr)
            print((work / "agent.log").read_text()[-2000:], (work / "collector.log").read_text()[-2000:], file=sys.stderr)
            sys.exit(f"demo: {len(missing)} of {count} queries without data; the agent ended with {code}")
        print(f"demo: ok, {count - lacked} of {count} queries in {len(panels)} panels return data; this host lacks what the others ask for")
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if swap:
            subprocess.run(["swapoff", swap], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
