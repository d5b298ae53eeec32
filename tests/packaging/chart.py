"""Checks that the rendered Helm chart and the kustomize base make the same DaemonSet. For kubernetes.sh:
chart.py BASE CHART VARIANT, three files of manifests; VARIANT is rendered with tests/packaging/chart-values.yaml."""

import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
# | `--endpoint URL` | effect | default | `VARIABLE`, `VARIABLE` |
# Without the flags of `check`, which no pod runs.
PAGE = (ROOT / "docs/configuration.md").read_text().split("## Only with the command check")[0]
ROWS = re.findall(r"^\| `--([a-z0-9-]+)[^|]*\|.*\| ([^|]*) \|$", PAGE, re.MULTILINE)


def names(cell):
    """The variables of a cell; `A_[B_]C` stands for A_C and A_B_C."""
    found = re.findall(r"`([A-Z_\[\]]+)`", cell)
    return [re.sub(r"\[.*\]", "", each) for each in found] + [each.replace("[", "").replace("]", "") for each in found]


# Includes the second form of a switch, such as --phase.
NAMES = {name for cell in re.findall(r"^\| (`--[^|]*) \|", PAGE, re.MULTILINE) for name in re.findall(r"`--([a-z0-9-]+)", cell)}
FLAGS = {flag: names(variables) for flag, variables in ROWS}


def load(path):
    with open(path) as file:
        documents = [each for each in yaml.safe_load_all(file) if each]
    kinds = {each["kind"]: each for each in documents}
    assert len(kinds) == len(documents), f"{path} has two documents of a kind"
    return kinds


def flag_of(variable):
    found = [flag for flag, variables in FLAGS.items() if variable in variables]
    assert len(found) == 1, f"{variable} is the variable of {found}"
    return found[0]


def settings(documents):
    """The agent's settings, from flags and variables, as (flag, value)."""
    container = documents["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    asked = [tuple(each.removeprefix("--").split("=", 1)) for each in container["args"]]
    if "envFrom" in container:
        asked += [(flag_of(name), value) for name, value in documents["ConfigMap"]["data"].items()]
    return sorted(asked)


def shape(documents):
    """The rest of the DaemonSet and the account, without names, labels and settings."""
    spec = documents["DaemonSet"]["spec"]
    pod = spec["template"]["spec"]
    container = {key: value for key, value in pod["containers"][0].items() if key not in ("args", "envFrom", "image")}
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert pod["serviceAccountName"] == documents["ServiceAccount"]["metadata"]["name"]
    return {
        "updateStrategy": spec["updateStrategy"],
        "pod": {key: value for key, value in pod.items() if key not in ("containers", "serviceAccountName")},
        "container": container,
        "account": documents["ServiceAccount"]["automountServiceAccountToken"],
    }


base, chart, variant = (load(path) for path in sys.argv[1:])
assert len(FLAGS) > 20, FLAGS
# The chart passes settings as arguments, and Helm creates the namespace.
assert set(base) - {"ConfigMap", "Namespace"} == set(chart) == set(variant), f"the base has {set(base)}, the chart {set(chart)}, {set(variant)}"
schema = json.loads((ROOT / "packaging/helm/heka-insights-agent/values.schema.json").read_text())
known = set(schema["properties"]["flags"]["propertyNames"]["enum"])
assert known == NAMES, f"values.schema.json lacks {NAMES - known} and has {known - NAMES}, which docs/configuration.md lacks"
assert settings(base) == settings(chart), f"the base asks for {settings(base)}, the chart for {settings(chart)}"
for part, value in shape(base).items():
    assert value == shape(chart)[part], f"{part}: the base has {value}, the chart {shape(chart)[part]}"

asked = settings(variant)
for flag in {flag for flag, *_ in asked}:
    assert flag in FLAGS, f"--{flag} is no flag"
for wanted in [("interval", "30s"), ("per-cpu",), ("resource-attribute", "team=a"), ("resource-attribute", "zone=b"),
               ("max-series", "100000"), ("headers-file", "/etc/heka-insights-agent/headers.txt"),
               ("resource-attribute", "k8s.node.name=$(NODE_NAME)")]:
    assert wanted in asked, f"{wanted} is not in {asked}"
assert not any(flag == "no-phase" for flag, *_ in asked), "a false flag is given"
pod = variant["DaemonSet"]["spec"]["template"]["spec"]
assert pod["volumes"][-1]["secret"]["secretName"] == "vendor-key"
assert pod["containers"][0]["volumeMounts"][-1]["mountPath"] == "/etc/heka-insights-agent"
assert pod["containers"][0]["image"] == "registry.example/heka:1.2.3"
print("kubernetes: ok, the chart is equal in effect to the kustomize base, and passes on flags as they are named")
