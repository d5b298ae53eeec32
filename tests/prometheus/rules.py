#!/usr/bin/env python3
"""Checks the rules of packaging/prometheus/rules: tests/prometheus/rules.py

Runs `promtool check rules`, and with `promtool test rules` tests that each alert fires and that it does not fire (cases.py). Every metric
in a rule must be in docs/metrics.md and be sent by default, except for the alerts in DETAILED. hostmetrics.yml must be semconv.yml with the
other names, without rules on metrics that this naming lacks; HEKA_UPDATE=1 writes it. The README in that directory must have each alert.
PROMTOOL: the path of promtool; without it, promtool is built, which needs Go.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from cases import CASES

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "packaging/prometheus/rules"
HOST = {"job": "heka-insights-agent", "instance": "id-1", "host_name": "web-1"}
# Metrics that Prometheus or its OTLP receiver adds.
ADDED = {"target_info", "up"}
# The alerts that need `--detail detailed`, as the README and the header of hostmetrics.yml state.
DETAILED = {
    "semconv": {"HostServiceOomKill", "HostContainerOomKill", "HostContainerThrottled"},
    "hostmetrics": {"HostMemoryLow", "HostMemoryLowForLong", "HostMemoryUnderused", "HostConntrackNearlyFull"},
    "agent": set(),
}

HEADER = """\
# Recording and alerting rules for hosts that the agent reports with `--naming hostmetrics`, written from semconv.yml by
# tests/prometheus/rules.py. Rules on metrics that this naming lacks are not here: use `--naming semconv` for those. The rules on
# available memory and on tracked connections need `--detail detailed`.
groups:
"""


def documented():
    """The names in Prometheus that docs/metrics.md lists, by naming and whether they are sent by default, and for semconv's names those of
    hostmetrics for the same metric. The agent's own metrics are the same in both namings."""
    names, translation, columns = {(naming, sent): set() for naming in ("semconv", "hostmetrics") for sent in "●○"}, {}, []
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        found = [re.search(r"<sub>`([^`]+)`</sub>", cell) for cell in cells]
        if cells and not any(found):
            columns = columns if cells[0].startswith("---") else cells
        if any(found[:2]):
            own = columns[0] == "metric"
            here = found[0] and found[0][1]
            theirs = here if own or cells[1].endswith("the same") else found[1] and found[1][1]
            for naming, cell, name in (("semconv", cells[0], here), ("hostmetrics", cells[0 if own else 1], theirs)):
                if name:
                    names[naming, cell[0]].add(name)
        if columns[:2] == ["semconv", "hostmetrics"] and any(found[:1]):
            if cells[1].endswith("the same"):
                translation[found[0][1]] = found[0][1]
            elif found[1]:
                translation[found[0][1]] = found[1][1]
    # agent.yml is used together with one of the others.
    for sent in "●○":
        names["agent", sent] = names["semconv", sent] & names["hostmetrics", sent]
    return names, translation


LABELS = {
    "cpu_mode": "state", "system_memory_state": "state", "system_paging_state": "state", "system_filesystem_state": "state",
    "system_paging_fault_type": "type", "system_paging_direction": "direction", "disk_io_direction": "direction",
    "network_io_direction": "direction", "system_filesystem_mode": "mode", "system_filesystem_mountpoint": "mountpoint",
    "system_filesystem_type": "type", "network_interface_name": "device", "system_device": "device",
    "process_state": "status", "file_path": "file",
}


def translate(text, metrics):
    """A rule or a series with the names of hostmetrics. Names of recording rules, which have colons, are the same in both."""
    words = {**metrics, **LABELS}
    text = re.sub(r"(?<![:\w])[a-z][a-z0-9_]+(?![\w:])", lambda match: words.get(match[0], match[0]), text)
    return text.replace("idle|iowait", "idle|wait").replace('state="iowait"', 'state="wait"')


def metrics_of(text):
    """The metrics in an expression, including recorded ones."""
    text = re.sub(r'"[^"]*"|\{[^}]*\}', " ", text)
    text = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right) *\([^)]*\)", " ", text)
    text = re.sub(r"\[[^\]]*\]|\boffset \w+", " ", text)
    return {word for word in re.findall(r"[a-z][\w:]*", text) if "_" in word or ":" in word} - FUNCTIONS


FUNCTIONS = {"avg_over_time", "min_over_time", "max_over_time", "present_over_time", "predict_linear"}


def blocks(text):
    """The rules of a file: group lines, and (kind, name, text) of each rule."""
    parts = re.split(r"(?m)^(?=  - name:|      - (?:alert|record):)", text.split("groups:\n", 1)[1])
    for part in filter(None, parts):
        match = re.match(r" +- (name|alert|record): (.+)", part)
        yield match[1], match[2], part


def asked_for(text, rules):
    """The metrics in an expression, and those from which its recorded metrics are computed."""
    recorded = {name: expression(block) for kind, name, block in rules if kind == "record"}
    asked = metrics_of(text)
    return {metric for name in asked for metric in (asked_for(recorded[name], rules) if name in recorded else {name})}


def in_the_readme(alerts):
    """The problems of the README. It must have each alert in its table or in the list of those without a counterpart, and must list the
    alerts that are missing with hostmetrics' naming."""
    page = (RULES / "README.md").read_text()
    rows = re.findall(r"(?m)^\|[^|]*\|[^|]*\| (Host\w+)[^|]*\|$", page)
    own = set(re.findall(r"\bHost\w+", page.split("| here |", 1)[1].split("\n\n", 1)[1].split("## ", 1)[0]))
    lacking = set(re.findall(r"\bHost\w+", page.split("| missing in the naming |", 1)[1].split("\n\n", 1)[0]))
    for name in sorted((set(rows) | own) ^ alerts["semconv"]):
        yield f"README.md: {name} is in only one of its table and semconv.yml"
    for name in sorted(lacking ^ (alerts["semconv"] - alerts["hostmetrics"])):
        yield f"README.md: {name} is in only one of its list of alerts that hostmetrics.yml lacks and those that it lacks"


def expression(block):
    return re.search(r"(?m)^ +expr: \|\n((?: {10}.*\n)+)", block)[1]


def hostmetrics(semconv, translation):
    """The text of hostmetrics.yml: each rule of which this naming has all metrics, including recorded ones."""
    known = set(translation.values()) | ADDED
    lines, group = [HEADER], None
    for kind, name, block in blocks(semconv):
        if kind == "name":
            group = block
            continue
        asked = metrics_of(expression(block))
        if any(metric not in translation and metric not in known for metric in asked):
            continue
        if kind == "record":
            known.add(name)
        if group:
            lines.append(group)
            group = None
        lines.append(translate(block, translation))
    return "".join(lines)


def series(text):
    """`metric{a="b"}` with the labels of the host."""
    name, _, rest = text.partition("{")
    labels = ", ".join(f'{key}="{value}"' for key, value in HOST.items() if f'{key}="' not in rest)
    return f"{name}{{{labels}{', ' if rest else ''}{rest or '}'}"


def unit_tests(file, alerts, change, evaluation):
    """promtool's tests of one file, in JSON, which is YAML."""
    tests = []
    for name in alerts:
        case = CASES[name]
        for title in ("fires", "quiet"):
            tests.append({
                "name": f"{name}: {title}",
                "interval": "1m",
                "input_series": [{"series": change(series(key)), "values": values} for key, values in case[title].items()],
                "promql_expr_test": [{
                    "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                    "eval_time": case.get("at", "60m"),
                    "exp_samples": [{"labels": "{}", "value": 1}] if title == "fires" else [],
                }],
            })
    return {"rule_files": [str(file)], "evaluation_interval": evaluation, "fuzzy_compare": True, "tests": tests}


def main():
    promtool = os.environ.get("PROMTOOL") or subprocess.run(
        [ROOT / "tests/peers/build", "promtool"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    names, translation = documented()
    problems = []
    generated = hostmetrics((RULES / "semconv.yml").read_text(), translation)
    if os.environ.get("HEKA_UPDATE") == "1":
        (RULES / "hostmetrics.yml").write_text(generated)
    elif (RULES / "hostmetrics.yml").read_text() != generated:
        problems.append("hostmetrics.yml is not what semconv.yml and docs/metrics.md give; run with HEKA_UPDATE=1")
    subprocess.run([promtool, "check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml"))], check=True, stdout=subprocess.DEVNULL)
    tested, alerts_of = 0, {}
    with tempfile.TemporaryDirectory() as work:
        for file in sorted(RULES.glob("*.yml")):
            rules = list(blocks(file.read_text()))
            alerts = [name for kind, name, _ in rules if kind == "alert"]
            alerts_of[file.stem] = set(alerts)
            for kind, name, block in rules:
                if kind == "name":
                    continue
                asked = asked_for(expression(block), rules) - ADDED
                default, detailed = names[file.stem, "●"], names[file.stem, "○"]
                for metric in asked - default - detailed:
                    problems.append(f"{file.name}: {name} asks for {metric}, which docs/metrics.md does not have")
                if kind == "alert" and (name in DETAILED[file.stem]) != bool(asked - default):
                    problems.append(f"{file.name}: {name} is {'' if asked <= default else 'not '}written with default metrics alone")
            problems += [f"{file.name}: {name} has no case" for name in alerts if name not in CASES]
            change = (lambda text: translate(text, translation)) if file.stem == "hostmetrics" else str
            # One evaluation per minute, or fewer if a case lasts days.
            for evaluation, long in (("1m", False), ("15m", True)):
                cases = [name for name in alerts if name in CASES and (CASES[name].get("at", "").endswith("d")) == long]
                test = pathlib.Path(work) / f"{file.stem}-{evaluation}.json"
                test.write_text(json.dumps(unit_tests(file, cases, change, evaluation)))
                done = subprocess.run([promtool, "test", "rules", test], capture_output=True, text=True)
                if done.returncode:
                    problems.append(f"{file.name}: {done.stdout}{done.stderr}")
                tested += 2 * len(cases)
    problems += in_the_readme(alerts_of)
    for problem in problems:
        print(f"rules: failed, {problem}")
    if not problems:
        print(f"rules: ok, {tested} cases")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
