#!/usr/bin/env python3
"""Tests dashboards for node_exporter: each query that has data from node_exporter must have data from the agent with
--naming node_exporter. One Prometheus scrapes the agent and another one scrapes node_exporter, on the same host.

    tests/prometheus/dashboard.py [DASHBOARD.json...] [--agent target/debug/heka-insights-agent]

Without a file, the dashboards are those of node-mixin, from node_exporter's module. Variables are replaced as in Grafana. The exit
status is 1 if a query has data only from node_exporter. It is also 1 if less than the share LEAST of a dashboard's panels has data from
node_exporter, because then the queries or their variables are not those of Grafana.
"""
import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from names import AGENT, INTERVAL, ROOT, Prometheus, built, free_port, mixin, start

# One minute of scrapes. The rules of node-mixin cover five minutes, but work with less.
SCRAPES = 12
# Minimum share of the panels with data. On a host without unusual hardware, node-mixin has 24 of 26, "Node Exporter Full" 111 of 125.
LEAST = 0.5
# Grafana's values of these variables at this scrape interval.
TIMES = {"__rate_interval": f"{4 * INTERVAL}s", "__interval": f"{INTERVAL}s", "__range": f"{SCRAPES * INTERVAL}s"}


def node_mixin(directory):
    """The dashboards of node-mixin for one Linux host."""
    library = Path(directory) / "github.com/grafana/grafonnet/gen/grafonnet-latest"
    library.mkdir(parents=True)
    (library / "main.libsonnet").symlink_to(ROOT / "tests/prometheus/grafonnet.libsonnet")
    program = f"(import '{built('node_exporter-source')}/docs/node-mixin/mixin.libsonnet').grafanaDashboards"
    made = subprocess.run([built("jsonnet"), "-J", directory, "-e", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(made)[name] for name in ("nodes.json", "node-rsrc-use.json", "node-cluster-rsrc-use.json")]


def panels(within):
    """The panels with queries, including those in rows."""
    for panel in within.get("panels", []):
        if panel.get("targets"):
            yield panel
        yield from panels(panel)


def filled(text, values):
    for name, value in sorted(values.items(), key=lambda item: -len(item[0])):
        text = re.sub(rf"\$\{{{name}(?::\w+)?\}}|\[\[{name}\]\]|\${name}\b", lambda _: value, text)
    return text


def variables(dashboard, prometheus):
    """The value of each variable: the first value in Prometheus, or a pattern for all values."""
    values = dict(TIMES)
    for variable in dashboard.get("templating", {}).get("list", []):
        query = variable.get("query", "")
        query = query["query"] if isinstance(query, dict) else query
        match = re.fullmatch(r"label_values\((?:(.*),)?\s*(\w+)\s*\)", query)
        if variable.get("includeAll"):
            values[variable["name"]] = variable.get("allValue") or ".*"
        elif variable["type"] == "query" and match:
            series = prometheus.get("series", **{"match[]": filled(match[1] or "up", values)})
            values[variable["name"]] = next((labels[match[2]] for labels in series if match[2] in labels), "")
        else:
            values[variable["name"]] = str((variable.get("current") or {}).get("value") or query)
    return values


def has_data(prometheus, query):
    now = time.time()
    result = prometheus.get("query_range", query=query, start=now - SCRAPES * INTERVAL, end=now, step=INTERVAL)["result"]
    return any(math.isfinite(float(value)) for series in result for _, value in series["values"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dashboards", nargs="*", type=Path)
    arguments.add_argument("--agent", default=str(AGENT))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        dashboards = [json.loads(path.read_text()) for path in options.dashboards] or node_mixin(directory)
        rules = mixin(directory)
        ports = [free_port(), free_port()]
        processes = [
            start([options.agent, "--exporter", "prometheus", "--naming", "node_exporter", "--detail", "detailed",
                   "--listen", f"127.0.0.1:{ports[0]}"]),
            start([built("node_exporter"), f"--web.listen-address=127.0.0.1:{ports[1]}", "--collector.systemd",
                   "--collector.processes", "--collector.tcpstat"]),
        ]
        try:
            both = []
            for name, port in zip(("agent", "node_exporter"), ports):
                (Path(directory) / name).mkdir()
                both.append(Prometheus(Path(directory) / name, {"node": f"127.0.0.1:{port}"}, rules))
                processes.append(both[-1].process)
            for prometheus in both:
                prometheus.wait("Prometheus", lambda: prometheus.get("status/buildinfo"))
                prometheus.wait("scrapes", lambda: prometheus.series("node"))
            for turn in range(SCRAPES):
                # Traffic on the disks and the network.
                with open(Path(directory) / "written", "wb") as file:
                    file.write(bytes(1 << 20))
                time.sleep(INTERVAL)
            bad = 0
            for dashboard in dashboards:
                bad += compare(dashboard, *both)
            print(f"{'dashboard: ok, ' if not bad else ''}{len(dashboards)} dashboards, {bad} faults")
            return bad > 0
        finally:
            for process in processes:
                process.terminate()
                process.wait(20)


def compare(dashboard, agent, node_exporter):
    """The number of queries with data only from node_exporter, plus one if too few panels have data from it."""
    values = variables(dashboard, agent), variables(dashboard, node_exporter)
    counts = {"panels": 0, "queries": 0, "with data from node_exporter": 0, "with data from the agent": 0}
    whole, bad = 0, 0
    for panel in panels(dashboard):
        counts["panels"] += 1
        lacking, theirs_any = [], False
        for query in (target["expr"] for target in panel["targets"] if target.get("expr")):
            ours, theirs = (has_data(prometheus, filled(query, of)) for prometheus, of in zip((agent, node_exporter), values))
            counts["queries"] += 1
            counts["with data from node_exporter"] += theirs
            counts["with data from the agent"] += ours
            theirs_any |= theirs
            if theirs and not ours:
                lacking.append(query)
        whole += theirs_any
        for query in lacking:
            print(f"{dashboard['title']}: {panel['title']}: {' '.join(query.split())}")
        bad += len(lacking)
    print(f"{dashboard['title']}: " + ", ".join(f"{count} {what}" for what, count in counts.items())
          + f"; {whole} panels have data from node_exporter, {bad} queries have it from node_exporter alone")
    if whole < LEAST * counts["panels"] or not counts["panels"]:
        print(f"{dashboard['title']}: only {whole} of {counts['panels']} panels have data from node_exporter, at least {LEAST:.0%} should")
        bad += 1
    return bad


if __name__ == "__main__":
    sys.path.append(str(ROOT / "tests"))
    import last_line

    last_line.names_what_failed()
    sys.exit(main())
