#!/usr/bin/env python3
"""OpenTelemetry weaver's live-check of what the agent sends: tests/weaver.py WEAVER REGISTRY [AGENT]

WEAVER is the program, REGISTRY the directory `model` of the semantic conventions, AGENT target/debug/heka-insights-agent by default. The
agent sends every metric that the fixture host `server` and this host have, with every detail and each CPU, over gRPC. Fails where
live-check finds a violation in a metric that the registry has, or where the registry lacks a name that docs/metrics.md calls a
convention, and prints which metrics and attributes the registry lacks.

Not in CI: weaver is built from 680 crates. tests/conventions.py, which is, holds names, kinds, units and attributes against the registry.
"""

import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from programs import AGENT

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What live-check says of a name that the registry does not have.
UNKNOWN = {"missing_metric", "missing_attribute", "missing_namespace", "extends_namespace"}
# The registry wants these on the resource, which describes one process. With --top-processes one agent sends several processes, and
# their identity is on the data points.
ON_THE_POINTS = re.compile(r"^process\..*Required attribute '(process\.pid|process\.creation\.time)' for entity 'process'")


def advice(node, name=None):
    """(metric, its advice) of every place of the report."""
    if isinstance(node, list):
        for each in node:
            yield from advice(each, name)
    elif isinstance(node, dict):
        if "live_check_result" in node:
            for each in (node["live_check_result"] or {}).get("all_advice") or []:
                yield each.get("signal_name") or name, each
        for each in node.values():
            yield from advice(each, name)


def check(weaver, registry, agent, work):
    grpc, admin = random.sample(range(20_000, 30_000), 2)
    log = work / "weaver.log"
    command = [weaver, "registry", "live-check", "--registry", registry, "--format", "json", "--output", work, "--no-stream",
               "--otlp-grpc-address", "127.0.0.1", "--otlp-grpc-port", grpc, "--admin-port", admin, "--inactivity-timeout", "300"]
    with open(log, "w") as out, subprocess.Popen(list(map(str, command)), stdout=out, stderr=out) as server:
        until = time.monotonic() + 300
        while subprocess.run([agent, "check", "--endpoint", f"http://127.0.0.1:{grpc}", "--collectors", "load"], capture_output=True).returncode:
            if server.poll() is not None or time.monotonic() > until:
                sys.exit(f"weaver: live-check does not listen: {log.read_text()[-2000:]}")
            time.sleep(1)
        fixture = ["--root-path", ROOT / "tests/fixtures/server"]
        for host in (fixture, [*fixture, "--disk-scope", "total"], []):
            subprocess.run([agent, "--once", "--endpoint", f"http://127.0.0.1:{grpc}", *host, "--detail", "detailed", "--per-cpu",
                            "--self-metrics", "detailed", "--top-processes", "5"], check=True)
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{admin}/stop", method="POST"), timeout=120).read()
        server.wait(120)
    (report,) = work.glob("*.json")
    return json.loads(report.read_text())


def main():
    weaver, registry, *rest = sys.argv[1:]
    agent = rest[0] if rest else AGENT
    with tempfile.TemporaryDirectory() as work:
        report = check(weaver, registry, agent, pathlib.Path(work))
    statistics = report["statistics"]
    unknown, bad, excused = collections.defaultdict(set), set(), set()
    for name, each in advice(report["samples"]):
        if each["id"] in UNKNOWN:
            unknown[each["id"]].add((each.get("context") or {}).get("attribute_key") or name)
        elif each["level"] == "violation":
            line = f"{name}: {each['message']}"
            (excused if ON_THE_POINTS.match(line) else bad).add(line)
    seen = statistics["seen_registry_metrics"]
    known = sorted(name for name, count in seen.items() if count)
    claimed = re.findall(r"^\| [●○] `([^`]+)`.*\| convention \|$", (ROOT / "docs/metrics.md").read_text(), re.M)
    bad |= {f"{name}: docs/metrics.md calls it a convention" for name in unknown["missing_metric"] & set(claimed)}
    for kind, names in sorted(unknown.items()):
        print(f"weaver: {kind}: {' '.join(sorted(map(str, names)))}")
    for line in sorted(excused):
        print(f"weaver: by design: {line}")
    for line in sorted(bad):
        print(f"weaver: violation: {line}")
    if bad or len(known) < 40:
        sys.exit(f"weaver: failed, {len(bad)} violations, {len(known)} metrics of the registry seen")
    print(f"weaver: ok, no violation in the {len(known)} metrics that the registry has: {' '.join(known)}")


if __name__ == "__main__":
    main()
