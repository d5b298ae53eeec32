#!/usr/bin/env python3
"""Checks that scraped and pushed metrics have the same names and values in a real Prometheus, in each naming, and that replacing
node_exporter loses at most one scrape.

    tests/prometheus/names.py [--agent target/debug/heka-insights-agent] [--swap]

Starts a Prometheus that scrapes one agent and receives another agent's metrics over OTLP, and compares names, labels and values. With
--swap it also scrapes two node_exporters, with node-mixin's rules, and replaces one of them by the agent on the same port. It then looks
for gaps, and for alerts, pending or firing, that the other node_exporter does not have.
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
sys.path.append(str(ROOT / "tests"))
from programs import AGENT  # noqa: E402

INTERVAL = 2
# Exists in only one of the two ways: labels that Prometheus adds, and its series about a scrape or a resource.
LABELS = {"job", "instance", "__name__"}
ONLY = re.compile(r"^(up$|scrape_|target_info$|otel_|process_|heka_|node_scrape_)")
# The label values of these metrics change from moment to moment: a state without a process or a socket has no series.
MOMENTARY = {"node_processes_state", "node_processes_threads_state", "node_tcp_connection_states"}
# A total of one agent must be between the totals that the other agent read before and after it. CPU time needs a tolerance: iowait and
# idle can decrease in the kernel by some ticks of 10 ms, and each agent keeps the highest value that it read.
SLACK = {"system_cpu_time_seconds_total": 0.1, "node_cpu_seconds_total": 0.1}


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
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": targets if isinstance(targets, list) else [targets]}]}
                               for job, targets in jobs.items()],
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


    def samples(self, job, seconds):
        """{(name, labels): [(time, value)]} of a job."""
        found = {}
        for one in self.get("query", query=f'{{job="{job}"}}[{seconds}s]')["result"]:
            name = one["metric"]["__name__"]
            if not ONLY.match(name) and name not in MOMENTARY:
                labels = frozenset((k, v) for k, v in one["metric"].items() if k not in LABELS)
                found[name, labels] = [(at, float(value)) for at, value in one["values"]]
        return found


def differing_values(pull, push):
    """The number of series that can be compared, and those that differ. A total is compared with the totals before and after it; other
    values only if they did not change in either way. Prometheus dates a scrape before the agent collects, hence the interval."""
    compared, differing = 0, []
    for (name, labels), pushed in push.items():
        scraped = pull.get((name, labels), [])
        if name.endswith("_total"):
            pairs = [(max((value for at, value in scraped if at <= when - INTERVAL), default=None), total,
                      min((value for at, value in scraped if at >= when), default=None)) for when, total in pushed]
            pairs = [each for each in pairs if None not in each]
            slack = SLACK.get(name, 0)
            bad = [each for each in pairs if not each[0] - slack <= each[1] <= each[2] + slack]
        else:
            numbers = {value for _, value in scraped}
            during = {value for when, value in pushed if scraped and scraped[0][0] <= when <= scraped[-1][0]}
            pairs = len(numbers) == len(during) == 1
            bad = [(numbers, during)] if pairs and numbers != during else []
        compared += bool(pairs)
        differing += [f"{name} {dict(labels)}: {each}" for each in bad[:1]]
    return compared, differing


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def both_ways(agent, naming):
    """The series of one naming, scraped and pushed, the number of those that can be compared, and those that differ."""
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
            time.sleep(6 * INTERVAL)
            values = differing_values(prometheus.samples("pull", 5 * INTERVAL), prometheus.samples("push", 5 * INTERVAL))
            return prometheus.series("pull"), prometheus.series("push"), *values
        finally:
            for process in filter(None, (pulled, pushed, prometheus.process)):
                process.terminate()
                process.wait(10)


def swap(agent):
    """Replaces one of two node_exporters by the agent under a running Prometheus. Returns the alerts that the other one does not have, the
    failed scrapes, the lost names and the counters that decreased."""
    with tempfile.TemporaryDirectory() as directory:
        port, stays = free_port(), free_port()
        target, other = f"127.0.0.1:{port}", f"127.0.0.1:{stays}"
        old, reference = (start([built("node_exporter"), f"--web.listen-address={address}"]) for address in (target, other))
        rules = mixin(directory)
        prometheus = Prometheus(directory, {"node": [target, other]}, rules)
        new = None
        try:
            prometheus.wait("Prometheus", lambda: prometheus.get("status/buildinfo"))
            prometheus.wait("node_exporter", lambda: prometheus.series("node"))
            time.sleep(10 * INTERVAL)
            replaced = time.time()
            old.terminate()
            old.wait(10)
            new = start([agent, "--exporter", "prometheus", "--naming", "node_exporter", "--listen", f"127.0.0.1:{port}"])
            # A host that lacks memory or space has alerts with either program. The two are scraped at different times, so an alert counts
            # only if it is found twice in a row.
            alerts, last = set(), set()
            for _ in range(15):
                time.sleep(INTERVAL)
                now = alone(prometheus.get("alerts")["alerts"], target, other)
                alerts |= now & last
                last = now
            now = time.time()
            samples = prometheus.get("query", query=f'up{{instance="{target}"}}[1m]', time=now)["result"][0]["values"]
            missed = sum(value == "0" for at, value in samples if at >= replaced)
            here = f'{{instance="{target}"}}'
            lost = len(prometheus.get("query", query=f"count({here} offset 40s) by (__name__) unless count({here}) by (__name__)", time=now)["result"])
            went_back = prometheus.get("query", query=f"resets(node_context_switches_total{here}[1m]) > 0", time=now)["result"]
            return alerts, missed, lost, went_back
        finally:
            for process in filter(None, (old, reference, new, prometheus.process)):
                process.terminate()
                process.wait(10)


def alone(alerts, target, other):
    """The alerts, pending or firing, that only the first target has."""
    labels = [alert["labels"] for alert in alerts]
    of = lambda instance: {frozenset((k, v) for k, v in one.items() if k != "instance") for one in labels if one.get("instance") == instance}
    return of(target) - of(other)


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
    arguments.add_argument("--agent", default=str(AGENT))
    arguments.add_argument("--swap", action="store_true")
    options = arguments.parse_args()
    bad = False
    for naming in ("semconv", "hostmetrics", "node_exporter"):
        pull, push, compared, differing_ones = both_ways(options.agent, naming)
        for one in differing_ones:
            print(f"{naming}: other values: {one}")
        for what, series in (("only scraped", pull - push), ("only pushed", push - pull)):
            for name, labels in sorted(series, key=str):
                print(f"{naming}: {what}: {name} {dict(labels)}")
        same, differing = len(pull & push), len(pull ^ push)
        good = differing == 0 and same > 0 and not differing_ones and compared > same / 2
        bad |= not good
        print(f"names: {'ok, ' if good else ''}{naming}: {same} series are the same scraped and pushed, {differing} are not; "
              f"{compared} values are compared, {len(differing_ones)} differ")
    if options.swap:
        alerts, missed, lost, back = swap(options.agent)
        good = not alerts and missed <= 1 and not back and not lost
        bad |= not good
        print(f"swap: {'ok, ' if good else ''}{len(alerts)} alerts {list(map(dict, alerts))}, {missed} failed scrapes, names lost: {lost}, "
              f"{len(back)} counters went back")
    return bad


if __name__ == "__main__":
    sys.exit(main())
