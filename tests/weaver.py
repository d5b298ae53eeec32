#!/usr/bin/env python3
"""Runs OpenTelemetry weaver's live-check on the agent's metrics: tests/weaver.py WEAVER REGISTRY [AGENT]

WEAVER is the program, REGISTRY the directory `model` of the semantic conventions, AGENT target/debug/heka-insights-agent by default. The
agent sends every metric of the fixture host `server` and of this host, with --detail detailed and --per-cpu, over gRPC. Fails if live-check
finds a violation in a metric of the registry, or if the registry lacks a name that has the origin "convention" in docs/metrics.md. Prints
the metrics and attributes that the registry lacks.

Not in CI, because weaver is built from 680 crates. CI runs tests/conventions.py, which compares names, kinds, units and attributes.
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
# live-check's advice for a name that the registry does not have.
UNKNOWN = {"missing_metric", "missing_attribute", "missing_namespace", "extends_namespace"}
# In the registry, these attributes belong to the resource, which describes one process. With --top-processes one agent sends several
# processes, so the data points have these attributes.
ON_THE_POINTS = re.compile(r"^process\..*Required attribute '(process\.pid|process\.creation\.time)' for entity 'process'")


def advice(node, name=None):
    """(metric, advice) of every entry of the report."""
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
