#!/usr/bin/env python3
"""Checks that `--naming node_exporter` has every metric of public rules for node_exporter: tests/prometheus/public_rules.py [FILE...]

node-mixin's alerts and recording rules are taken from node_exporter's module. FILEs are other collections' rules, which are not part
of this repository. A metric that docs/metrics.md lacks is a failure. So is an alert of node-mixin that the table in
packaging/prometheus/rules/README.md lacks, a collector or a flag of node_exporter that docs/migrating.md lacks, and a metric in its
queries that docs/metrics.md lacks.
"""

import json
import pathlib
import re
import subprocess
import sys

from rules import documented, metrics_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
# node-mixin defines one metric as a label of its recorded names.
RECORDED = {"node_num_cpu", "node_cpu_utilisation", "node_memory_utilisation"}
# Flags of Go's runtime and of the library that parses flags.
UNNEEDED = {"help", "help-long", "help-man", "version", "runtime.gomaxprocs"}
# Collectors whose flags have another name.
RENAMED = {"powersupply": "powersupplyclass"}


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.strip()


def built(*names):
    command = [ROOT / "tests/peers/build", *names]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def node_mixin():
    """node-mixin's rules, which are written in Jsonnet."""
    jsonnet, source = built("jsonnet", "node_exporter-source")
    parts = " + ".join(f"(import '{source}/docs/node-mixin/{part}.libsonnet')" for part in ("config", "alerts/alerts", "rules/rules"))
    rules = "mixin.prometheusAlerts.groups + mixin.prometheusRules.groups"
    return json.loads(output(jsonnet, "-e", f"local mixin = {parts}; [rule for group in {rules} for rule in group.rules]"))


def table(page, head):
    """The rows, as cells, of each table of a page whose header starts with this cell."""
    inside = False
    for line in page.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif inside and not cells[0].startswith("---"):
            yield cells
        elif cells[0] == head:
            inside = True


def alerts(rules, page):
    """The differences between node-mixin's alerts and the first column of the table, in which alerts of the same name have a severity."""
    found = [(rule["alert"], rule["labels"]["severity"]) for rule in rules if "alert" in rule]
    names = [name for name, _ in found]
    wanted = {f"{name} ({severity})" if names.count(name) > 1 else name for name, severity in found}
    listed = {cells[0] for cells in table(page, "node-mixin") if cells[0]}
    return len(wanted), [f"{name} is in one of node-mixin and the table of alerts only" for name in sorted(wanted ^ listed)]


def flags(help_text, page):
    """Collectors and flags of node_exporter that docs/migrating.md lacks, and flags in it that node_exporter does not have."""
    existing = {flag.replace("[no-]", "") for flag in re.findall(r"(?m)^ +(?:-h, )?--(\[?[a-z][\w.\[\]-]*)", help_text)}
    collectors = {flag.removeprefix("collector.") for flag in existing if re.fullmatch(r"collector\.\w+", flag)}
    heads = ("node_exporter", "off by default")
    described = {word for head in heads for cells in table(page, head) for word in re.findall(r"\w+", cells[0])}
    problems = [f"docs/migrating.md has no collector {name}" for name in sorted(collectors - described)]
    ours = {name for cells in table(page, "node_exporter's collectors") for name in re.findall(r"\w+", cells[0])}
    listed = set()
    for cells in table(page, "node_exporter"):
        first = ""
        # `collector.diskstats.device-include, device-exclude`: the second one has the first one's prefix.
        for word in re.findall(r"(?:^|, )([a-z][\w.-]+)", cells[0]):
            if word.split(".")[0] in ("collector", "log", "path", "web"):
                first = word
            elif first:
                word = f"{'.'.join(first.split('.')[:2])}.{word}"
            if "." in word:
                listed.add(word)

    def is_needed(flag):
        part = flag.split(".")
        return part[0] != "collector" or len(part) > 2 and RENAMED.get(part[1], part[1]) in ours

    wanted = {flag for flag in existing - UNNEEDED if is_needed(flag)}
    problems += [f"docs/migrating.md has no flag {flag}" for flag in sorted(wanted - listed)]
    problems += [f"node_exporter has no flag {flag}" for flag in sorted(listed - existing)]
    return len(wanted), problems


def queries(page, known):
    """The metrics in the table of old and new queries that docs/metrics.md lacks."""
    documented_names, _ = documented()
    names = documented_names["semconv", "●"] | documented_names["semconv", "○"]
    asked = [set(), set()]
    for cells in table(page, "node_exporter"):
        if "node_" in cells[0]:
            for place, cell in enumerate(cells[:2]):
                asked[place] |= {name for query in re.findall(r"`([^`]+)`", cell) for name in metrics_of(query)}
    # A cell also contains text and labels.
    new = {name for name in asked[1] if re.match(r"(system|hw|systemd|heka|container|process)_", name)} - labels()
    missing = (asked[0] - known) | (new - names)
    return len(asked[0]), [f"docs/migrating.md asks for {name}, which docs/metrics.md lacks" for name in sorted(missing)]


def labels():
    """semconv's attributes as labels."""
    page = (ROOT / "docs/metrics.md").read_text()
    return {cells[0].strip("`").replace(".", "_") for cells in table(page, "attribute in semconv")}


def main():
    known = set(re.findall(r"`(node_\w+)`", (ROOT / "docs/metrics.md").read_text()))
    rules = node_mixin()
    collections = {"node-mixin": "\n".join(rule["expr"] for rule in rules)}
    collections |= {path: pathlib.Path(path).read_text() for path in sys.argv[1:]}
    failed = False
    for name, text in collections.items():
        asked = set(re.findall(r"(?<![:\w])node_\w+(?![:\w])", text)) - RECORDED
        missing = asked - known
        failed |= bool(missing)
        for metric in sorted(missing):
            print(f"rules: failed, {name} asks for {metric}, which no collector has")
        if not missing:
            print(f"rules: ok, {name}: {len(asked)} metrics")
    migrating = (ROOT / "docs/migrating.md").read_text()
    for what, (count, problems) in {
        "alerts of node-mixin are in the table": alerts(rules, (ROOT / "packaging/prometheus/rules/README.md").read_text()),
        "flags of node_exporter are in docs/migrating.md": flags(output(*built("node_exporter"), "--help"), migrating),
        "metrics of the old queries are known, and those of the new ones": queries(migrating, known),
    }.items():
        failed |= bool(problems) or not count
        for problem in problems:
            print(f"rules: failed, {problem}")
        if not problems:
            print(f"rules: ok, {count} {what}")
    return failed


if __name__ == "__main__":
    sys.path.append(str(ROOT / "tests"))
    import last_line

    last_line.names_what_failed()
    sys.exit(main())
