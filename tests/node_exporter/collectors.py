#!/usr/bin/env python3
"""Checks that docs/migrating.md lists each collector of node_exporter on Linux, in the right table: tests/node_exporter/collectors.py

The names are taken from the source of node_exporter's module.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OTHER_SYSTEMS = "aix|bsd|darwin|dragonfly|freebsd|netbsd|openbsd|solaris|windows"


def of_linux(path, text):
    build = re.search(r"^//go:build (.*)$", text, re.M)
    only_others = build and re.search(rf"(?<!!)\b(?:{OTHER_SYSTEMS})\b", build[1]) and "linux" not in build[1]
    return not path.stem.endswith("_test") and not re.search(rf"_(?:{OTHER_SYSTEMS})(?:_\w+)?$", path.stem) and not only_others


def registered(source):
    """The names of the collectors that are on by default, and of the others."""
    names = {"Enabled": set(), "Disabled": set()}
    for path in sorted((source / "collector").glob("*.go")):
        text = path.read_text()
        if not of_linux(path, text):
            continue
        for name, default in re.findall(r'registerCollector\("?(\w+)"?, default(Enabled|Disabled)', text):
            constant = re.search(rf'\b{name}\s*=\s*"(\w+)"', text)
            names[default].add(constant[1] if constant else name)
    return names["Enabled"], names["Disabled"]


def cells(page, heading):
    """The names in the first column of the table with this heading."""
    table = page.split(heading, 1)[1].split("\n\n", 1)[0]
    return {name for row in re.findall(r"^\| ([^|]+) \|", table, re.M) for name in re.findall(r"[a-z_0-9]+", row)}


def main():
    source = subprocess.run([ROOT / "tests/peers/build", "node_exporter-source"], check=True, stdout=subprocess.PIPE, text=True).stdout
    page = (ROOT / "docs/migrating.md").read_text()
    bad = 0
    for what, names, heading in zip(("on", "off"), registered(Path(source.strip())), ("| node_exporter | here |\n|---|---|\n| arp", "| off by default | here |\n|---|---|")):
        there = cells(page, heading) | ({"arp"} if what == "on" else set())
        for name in sorted(names - there):
            print(f"collectors: {name}, {what} by default, is not in docs/migrating.md")
        for name in sorted(there - names):
            print(f"collectors: docs/migrating.md has {name}, which is not {what} by default in node_exporter")
        bad += len(names ^ there)
        print(f"collectors: {'ok, ' if names == there else ''}{len(names)} are {what} by default")
    return bad > 0


if __name__ == "__main__":
    sys.path.append(str(ROOT / "tests"))
    import last_line

    last_line.names_what_failed()
    sys.exit(main())
