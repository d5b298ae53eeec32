#!/usr/bin/env python3
"""Checks the metrics and attributes that are in OpenTelemetry's semantic conventions: tests/conventions.py

Compares docs/metrics.md with the Go module of the conventions, which is generated from their registry. A metric of the conventions must
have their kind and unit, and only attributes that they define. The page gives the origin of each name: exactly the names with the origin
"convention" must be in the conventions, and those with the origin "hostmetrics receiver" must be in that receiver.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECEIVER = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver@v0.160.0"
MODULE, VERSION = "go.opentelemetry.io/otel@v1.47.0", "v1.43.0"  # the newest conventions in the module
KINDS = {"Counter": "counter", "UpDownCounter": "up-down counter", "Gauge": "gauge"}
# Metrics that v1.44.0 of the conventions changed.
LATER = {"container.paging.faults": ("counter", "{fault}"), "container.memory.usage": ("up-down counter", "By"), "system.process.limit": ("up-down counter", "{thread}")}
# The conventions have no attribute for this.
OWN_ATTRIBUTES = {"k8s.pod.qos_class"}


def download(module):
    """The directory of a Go module."""
    command = [ROOT / ".ci/retry", "go", "mod", "download", "-json", module]
    return Path(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd="/").stdout)["Dir"])


def receivers():
    """The names of the hostmetrics receiver's metrics."""
    pages = download(RECEIVER).glob("internal/scraper/*/metadata.yaml")
    return {name for page in pages for name in re.findall(r"^  ([a-z]+\.[\w.]+):", page.read_text(), re.M)}


def conventions():
    """Each metric's kind and unit, and the names of all attributes."""
    source = download(MODULE) / "semconv" / VERSION
    metrics = {}
    for path in source.glob("*conv/metric.go"):
        text = path.read_text()
        kinds = dict(re.findall(r"^type (\w+) struct \{\s+metric\.(?:Int64|Float64)(?:Observable)?(\w+)\s", text, re.M))
        names = dict(re.findall(r'^func \((\w+)\) Name\(\) string \{\s+return "([^"]+)"', text, re.M))
        units = dict(re.findall(r'^func \((\w+)\) Unit\(\) string \{\s+return "([^"]+)"', text, re.M))
        metrics.update({name: (KINDS.get(kinds[of]), units[of]) for of, name in names.items() if not of.endswith("Observable")})
    attributes = re.findall(r'attribute\.Key\("([^"]+)"\)', (source / "attribute_group.go").read_text())
    return metrics | LATER, set(attributes)


def ours():
    """Name, kind, unit, attributes and origin of each metric in the column of the conventions."""
    row = re.compile(r"^\| [●○] `([^`]+)`[^|]*\|[^|]*\|[^|]*\| ([^,|]+), [^,|]+, `([^`]*)`[^|]*\| ([^|]*)\|[^|]*\|[^|]*\| ([^|]*) \|$", re.M)
    for name, kind, unit, attributes, origin in row.findall((ROOT / "docs/metrics.md").read_text()):
        yield name, kind.strip(), unit, re.findall(r"`([^`]+)`", attributes.split("<br>")[0]), origin


def main():
    (metrics, known), hostmetrics = conventions(), receivers()
    found, bad = 0, 0
    for name, kind, unit, attributes, origin in ours():
        if (name in metrics) != (origin == "convention") or (origin == "hostmetrics receiver" and name not in hostmetrics):
            print(f"conventions: {name}: docs/metrics.md has it from: {origin}")
            bad += 1
        if name not in metrics:
            continue
        found += 1
        faults = [f"{what} {mine}, there {theirs}" for what, mine, theirs in zip(("kind", "unit"), (kind, unit), metrics[name]) if mine != theirs]
        faults += [f"unknown attribute {each}" for each in attributes if each not in known | OWN_ATTRIBUTES]
        bad += bool(faults)
        for fault in faults:
            print(f"conventions: {name}: {fault}")
    if found < 40:
        print(f"conventions: only {found} metrics of docs/metrics.md are among {len(metrics)} of the conventions")
        bad += 1
    print(f"conventions: {'failed' if bad else 'ok'}, {found} metrics beside {VERSION}")
    return bad > 0


if __name__ == "__main__":
    import last_line

    last_line.names_what_failed()
    sys.exit(main())
