#!/usr/bin/env python3
"""Every metric that public rules for node_exporter ask for is one of `--naming node_exporter`: tests/prometheus/public_rules.py [FILE...]

node-mixin's alerts and recording rules are taken from node_exporter's module. FILEs are other collections' rules, which are not part
of this repository. A metric that docs/metrics.md lacks is a failure, and an alert of node-mixin that the table of
packaging/prometheus/rules/README.md lacks.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# node-mixin defines one metric as a label of its recorded names.
RECORDED = {"node_num_cpu", "node_cpu_utilisation", "node_memory_utilisation"}


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def node_mixin():
    """The rules of node-mixin, which is written in Jsonnet."""
    jsonnet, source = output(ROOT / "tests/peers/build", "jsonnet", "node_exporter-source").splitlines()
    parts = " + ".join(f"(import '{source}/docs/node-mixin/{part}.libsonnet')" for part in ("config", "alerts/alerts", "rules/rules"))
    rules = "mixin.prometheusAlerts.groups + mixin.prometheusRules.groups"
    return json.loads(output(jsonnet, "-e", f"local mixin = {parts}; [rule for group in {rules} for rule in group.rules]"))


def in_the_readme(rules):
    """node-mixin's alerts that the table of packaging/prometheus/rules/README.md lacks, and the other way round. An alert of two
    severities has two rows."""
    page = (ROOT / "packaging/prometheus/rules/README.md").read_text()
    rows = set(re.findall(r"(?m)^\| (Node\w+(?: \(\w+\))?) \|", page))
    alerts = [(rule["alert"], rule["labels"]["severity"]) for rule in rules if "alert" in rule]
    names = [name for name, _ in alerts]
    return rows ^ {f"{name} ({severity})" if names.count(name) > 1 else name for name, severity in alerts}, len(alerts)


def main():
    known = set(re.findall(r"`(node_\w+)`", (ROOT / "docs/metrics.md").read_text()))
    mixin = node_mixin()
    collections = {"node-mixin": "\n".join(rule["expr"] for rule in mixin)} | {path: pathlib.Path(path).read_text() for path in sys.argv[1:]}
    failed = False
    for name, text in collections.items():
        asked = set(re.findall(r"(?<![:\w])node_\w+(?![:\w])", text)) - RECORDED
        missing = asked - known
        failed |= bool(missing)
        for metric in sorted(missing):
            print(f"rules: failed, {name} asks for {metric}, which no collector has")
        if not missing:
            print(f"rules: ok, {name}: {len(asked)} metrics")
    differing, alerts = in_the_readme(mixin)
    for name in sorted(differing):
        print(f"rules: failed, {name} is in only one of node-mixin and the table of packaging/prometheus/rules/README.md")
    if not differing:
        print(f"rules: ok, the table has node-mixin's {alerts} alerts")
    return failed or bool(differing)


if __name__ == "__main__":
    sys.exit(main())
