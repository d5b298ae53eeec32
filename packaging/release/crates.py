"""The crates that are linked into the agent, from cargo, for `licences` and `sbom`."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "heka-insights-agent"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(triple):
    """(the agent, its crates sorted by name, the dependencies of each by id) of a build for `triple`, without crates that only tests,
    build scripts and macros use."""
    # `cargo tree` has only the optional dependencies of the build; `cargo metadata` includes those of tests.
    tree = cargo("tree", "--locked", "--target", triple, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    in_tree = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", triple))
    packages = {each["id"]: each for each in metadata["packages"] if (each["name"], f"v{each['version']}") in in_tree}
    root = metadata["resolve"]["root"]
    edges = {
        node["id"]: sorted(each["pkg"] for each in node["deps"]
                           if each["pkg"] in packages and any(kind["kind"] is None for kind in each["dep_kinds"]))
        for node in metadata["resolve"]["nodes"] if node["id"] in packages
    }
    crates = sorted((each for each in packages.values() if each["id"] != root), key=lambda each: (each["name"], each["version"]))
    return packages[root], crates, edges


def expression(package):
    """The licence in SPDX syntax; `/` is an old form of OR."""
    return " OR ".join(part.strip() for part in package["license"].split("/"))


def checksums():
    """SHA-256 of each crate's archive, as Cargo.lock has it, by name and version."""
    import tomllib  # needs Python 3.11; `licences` does not use it

    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(each["name"], each["version"]): each["checksum"] for each in lock["package"] if "checksum" in each}


def commit_time():
    """The time of the commit in seconds since the epoch, so that all builds of a commit give identical files."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
