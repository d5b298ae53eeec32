"""The crates that are linked into the agent, as cargo knows them, for `licences` and `sbom`."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "heka-insights-agent"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(triple):
    """(the agent, its crates sorted by name, the dependencies of each by id) of a build for `triple`; crates that only tests,
    build scripts and macros use are left out."""
    # `cargo tree` knows which optional dependencies a build has; `cargo metadata` adds those that tests turn on.
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
    """The licence as SPDX writes it; `/` is an old way to write OR."""
    return " OR ".join(part.strip() for part in package["license"].split("/"))


def checksums():
    """SHA-256 of each crate's archive, as Cargo.lock has it, by name and version."""
    import tomllib  # Python 3.11; `licences` needs none of it

    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(each["name"], each["version"]): each["checksum"] for each in lock["package"] if "checksum" in each}


def commit_time():
    """Seconds since the epoch of the commit, so that what is made from it is the same each time."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
