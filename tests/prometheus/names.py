#!/usr/bin/env python3
"""Every name in the naming asked for is the same in a real Prometheus, scraped and pushed; and replacing node_exporter loses one scrape at
most.

    tests/prometheus/names.py [--agent target/debug/heka-insights-agent] [--swap]

Starts a Prometheus that scrapes an agent and takes another's metrics over OTLP, and compares the names and labels of both. With
--swap it also scrapes node_exporter, with node-mixin's rules, replaces it by the agent on the same port,
and looks for alerts and gaps.
"""
import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
INTERVAL = 2
# What only one way has: labels that Prometheus adds, and its own series of a scrape or of a resource.
LABELS = {"job", "instance", "__name__"}
ONLY = re.compile(r"^(up$|scrape_|target_info$|otel_|process_|heka_|node_scrape_)")
# The labels' values of these are of the moment: a state without a process or a socket has no series.
MOMENTARY = {"node_processes_state", "node_processes_threads_state", "node_tcp_connection_states"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def built(name):
    return subprocess.run([ROOT / "tests/peers/build", name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Prometheus:
    def __init__(self, directory, jobs, rules=None):
        self.port = free_port()
        config = {
            "global": {"scrape_interval": f"{INTERVAL}s", "evaluation_interval": f"{INTERVAL}s"},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()],
            "rule_files": [str(rules)] if rules else [],
        }
        path = Path(directory) / "prometheus.json"
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [built("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={directory}/data", "--web.enable-otlp-receiver",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def wait(self, what, ask):
        for _ in range(300):
            try:
                found = ask()
                if found:
                    return found
            except OSError:
                pass
            time.sleep(0.2)
        raise SystemExit(f"names: no {what}")

    def series(self, job):
        """{(name, labels)} of a job."""
        found = set()
        for labels in self.get("series", **{"match[]": f'{{job="{job}"}}'}):
            name = labels["__name__"]
            if not ONLY.match(name):
                found.add((name, frozenset((k, "" if name in MOMENTARY else v) for k, v in labels.items() if k not in LABELS)))
        return found


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def both_ways(agent, naming):
    """The series of one naming that only one way has."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        pulled = start([agent, "--exporter", "prometheus", "--naming", naming, "--detail", "detailed", "--listen", f"127.0.0.1:{port}"])
        prometheus = Prometheus(directory, {"pull": f"127.0.0.1:{port}"})
        pushed = None
        try:
            prometheus.wait("Prometheus", lambda: prometheus.get("status/buildinfo"))
            pushed = start([agent, "--naming", naming, "--detail", "detailed", "--interval", f"{INTERVAL}s", "--no-phase", "--service-name", "push",
                            "--counters-since", "boot", "--endpoint", f"http://127.0.0.1:{prometheus.port}/api/v1/otlp/v1/metrics"])
            prometheus.wait("scraped series", lambda: prometheus.series("pull"))
            prometheus.wait("pushed series", lambda: prometheus.series("push"))
            time.sleep(3 * INTERVAL)
            return prometheus.series("pull"), prometheus.series("push")
        finally:
            for process in filter(None, (pulled, pushed, prometheus.process)):
                process.terminate()
                process.wait(10)


def swap(agent):
    """Replaces node_exporter by the agent under a running Prometheus; the alerts that fire and the longest gap, in seconds."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        old = start([built("node_exporter"), f"--web.listen-address=127.0.0.1:{port}"])
        rules = mixin(directory)
        prometheus = Prometheus(directory, {"node": f"127.0.0.1:{port}"}, rules)
        new = None
        try:
            prometheus.wait("Prometheus", lambda: prometheus.get("status/buildinfo"))
            prometheus.wait("node_exporter", lambda: prometheus.series("node"))
            time.sleep(10 * INTERVAL)
            # A host that is short of something has alerts of its own.
            before = {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}
            replaced = time.time()
            old.terminate()
            old.wait(10)
            new = start([agent, "--exporter", "prometheus", "--naming", "node_exporter", "--listen", f"127.0.0.1:{port}"])
            time.sleep(15 * INTERVAL)
            alerts = [alert for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"]
            firing = [alert["labels"] for alert in alerts if alert["labels"]["alertname"] not in before]
            now = time.time()
            samples = prometheus.get("query", query='up{job="node"}[1m]', time=now)["result"][0]["values"]
            missed = sum(value == "0" for at, value in samples if at >= replaced)
            lost = len(prometheus.get("query", query='count({job="node"} offset 40s) by (__name__) unless count({job="node"}) by (__name__)', time=now)["result"])
            went_back = prometheus.get("query", query='resets(node_context_switches_total[1m]) > 0', time=now)["result"]
            return firing, missed, lost, went_back
        finally:
            for process in filter(None, (old, new, prometheus.process)):
                process.terminate()
                process.wait(10)


def mixin(directory):
    """node-mixin's alerting and recording rules from node_exporter's module."""
    source = built("node_exporter-source")
    parts = " + ".join(f"(import '{source}/docs/node-mixin/{part}.libsonnet')" for part in ("config", "alerts/alerts", "rules/rules"))
    program = f"local mixin = {parts}; {{groups: mixin.prometheusAlerts.groups + mixin.prometheusRules.groups}}"
    path = Path(directory) / "rules.json"
    path.write_text(subprocess.run([built("jsonnet"), "-e", program], check=True, stdout=subprocess.PIPE, text=True).stdout)
    return path


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--agent", default=str(ROOT / "target/debug/heka-insights-agent"))
    arguments.add_argument("--swap", action="store_true")
    options = arguments.parse_args()
    bad = False
    for naming in ("semconv", "hostmetrics", "node_exporter"):
        pull, push = both_ways(options.agent, naming)
        for what, series in (("only scraped", pull - push), ("only pushed", push - pull)):
            for name, labels in sorted(series, key=str):
                print(f"{naming}: {what}: {name} {dict(labels)}")
        same, differing = len(pull & push), len(pull ^ push)
        good = differing == 0 and same > 0
        bad |= not good
        print(f"names: {'ok, ' if good else ''}{naming}: {same} series are the same scraped and pushed, {differing} are not")
    if options.swap:
        firing, missed, lost, back = swap(options.agent)
        good = not firing and missed <= 1 and not back and not lost
        bad |= not good
        print(f"swap: {'ok, ' if good else ''}{len(firing)} alerts {firing}, {missed} failed scrapes, names lost: {lost}, "
              f"{len(back)} counters went back")
    return bad


if __name__ == "__main__":
    sys.exit(main())
