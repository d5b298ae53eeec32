"""Finds the programs of the peers. With `--install`, builds or installs missing ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from names import NODE_EXPORTER_VERSION, TELEGRAF, TELEGRAF_VERSION
from peers import REPOSITORY

NODE_EXPORTER_MODULE = f"github.com/prometheus/node_exporter@v{NODE_EXPORTER_VERSION}"
TELEGRAF_MODULE = f"github.com/influxdata/telegraf@v{TELEGRAF_VERSION}"
BUILD_S = 1800


def collector():
    """OTELCOL, or the Collector of tests/collector/build.sh, which builds it if it does not exist."""
    if given := os.environ.get("OTELCOL"):
        return Path(given)
    run = subprocess.run([REPOSITORY / "tests/collector/build.sh"], stdout=subprocess.PIPE, text=True)
    return Path(run.stdout.strip()) if run.returncode == 0 else None


def collectd(install):
    if install and not shutil.which("collectd"):
        debian("collectd-core")


def node_exporter(install):
    """NODE_EXPORTER, or the one built from its Go module, or the one on the PATH."""
    if given := os.environ.get("NODE_EXPORTER"):
        return given if os.access(given, os.X_OK) else None
    path = REPOSITORY / "target/node_exporter"
    if install and not path.is_file():
        go_build(NODE_EXPORTER_MODULE, path, ".")
    if path.is_file():
        return path
    found = lambda: shutil.which("node_exporter") or shutil.which("prometheus-node-exporter")
    if install and not found():
        debian("prometheus-node-exporter")
    return found()


def telegraf(install):
    """TELEGRAF, or one built with only the plugins that are measured, or the one on the PATH. With all plugins, the build takes
    very long and the program needs more memory."""
    if given := os.environ.get("TELEGRAF"):
        return given if os.access(given, os.X_OK) else None
    path = REPOSITORY / "target/telegraf"
    if install and not path.is_file():
        inputs = sorted({name for names in TELEGRAF.values() for name in names})
        tags = ",".join(["custom", *(f"inputs.{name}" for name in inputs), "outputs.opentelemetry"])
        go_build(TELEGRAF_MODULE, path, "./cmd/telegraf", "-tags", tags)
    return path if path.is_file() else shutil.which("telegraf")


def go_build(module, path, package, *more):
    """Builds a program in the directory of its module, whose go.sum fixes the versions of its dependencies."""
    if not shutil.which("go"):
        print(f"{path.name}: there is no Go to build it with", file=sys.stderr)
        return
    print(f"building {path.name}, at most {BUILD_S} s", file=sys.stderr)
    try:
        found = subprocess.check_output(["go", "mod", "download", "-json", module], cwd="/", text=True, timeout=BUILD_S)
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", *more, "-o", path, package]
        subprocess.run(command, cwd=json.loads(found)["Dir"], check=True, timeout=BUILD_S)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"{path.name}: {error}", file=sys.stderr)


def debian(package):
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"{package}: installing it needs root and apt-get", file=sys.stderr)
        return
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", package], check=False, stdout=subprocess.DEVNULL)
