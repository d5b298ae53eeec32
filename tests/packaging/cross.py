#!/usr/bin/env python3
"""Compares the static binaries for other architectures, which run under QEMU's user emulation, with the binary for this machine. From
the same recorded host, each must read the same values and send them to a real Collector, over gRPC and over HTTP with TLS and gzip.

    OTELCOL=PATH tests/packaging/cross.py BINARY ARCHITECTURE=BINARY...

The ports are fixed: run it in a network namespace of its own. Needs qemu-user-static and openssl."""

import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The semantic conventions' host.arch of each architecture. The emulator reports its own architecture, not this machine's.
HOST_ARCH = {"aarch64": "arm64", "armv7": "arm32", "riscv64": "riscv64"}
# The collectors that read only recorded files. Not filesystem and clock: their values are from this machine's kernel.
COLLECTORS = ("cpu,memory,paging,disk,network,load,processes,system,pressure,kernel,protocols,sockets,link,sensors,raid,ecc,services,"
              "containers")
HOST = ["--root-path", str(ROOT / "tests/fixtures/server"), "--detail", "detailed", "--per-cpu", "--collectors", COLLECTORS]
TRIES = 3
RUNS = itertools.count()
GRPC, HTTP = "http://127.0.0.1:4317", "https://127.0.0.1:4318"
COLLECTOR = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: 127.0.0.1:4317}}
      http: {{endpoint: 127.0.0.1:4318, tls: {{cert_file: {work}/cert.pem, key_file: {work}/key.pem}}}}
exporters:
  file: {{path: {work}/arrived.json, flush_interval: 100ms}}
extensions:
  health_check: {{endpoint: 127.0.0.1:13133}}
service:
  extensions: [health_check]
  pipelines:
    metrics: {{receivers: [otlp], exporters: [file]}}
  telemetry: {{metrics: {{level: none}}}}
"""


class Failure(Exception):
    pass


def run(command, *arguments):
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, timeout=300)
    if done.returncode or " ERROR " in done.stderr:
        raise Failure(f"{' '.join(map(str, [*command, *arguments]))} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def console(command):
    read = json.loads(run(command, *HOST, "--once", "--exporter", "console", "--console-format", "json"))
    del read["timestamp"]
    return read


def points(metric):
    """The points of a metric, sorted and without their times."""
    (data,) = (metric[kind] for kind in ("sum", "gauge") if kind in metric)
    found = []
    for point in data["dataPoints"]:
        attributes = sorted((each["key"], json.dumps(each["value"])) for each in point.get("attributes", []))
        found.append((attributes, point.get("asInt"), point.get("asDouble")))
    return sorted(found)


def send(command, work, *how):
    """One collection as the Collector receives it: the points by name of the metric, and the resource's attributes by key."""
    mark = f"test.run={next(RUNS)}"
    run(command, *HOST, "--once", "--self-metrics", "off", "--resource-attribute", mark, *how)
    arrived, wanted = work / "arrived.json", '{"key":"test.run","value":{"stringValue":"%s"}}' % mark.split("=")[1]
    deadline = time.monotonic() + 30
    while not (lines := [line for line in arrived.read_text().split("\n")[:-1] if wanted in line]):
        if time.monotonic() > deadline:
            raise Failure(f"nothing arrived of {command} {how}")
        time.sleep(0.1)
    resources = [resource for line in lines for resource in json.loads(line)["resourceMetrics"]]
    metrics = {}
    for metric in (each for resource in resources for scope in resource["scopeMetrics"] for each in scope["metrics"]):
        metrics[metric["name"]] = sorted(metrics.get(metric["name"], []) + points(metric))
    return metrics | {each["key"]: each["value"] for each in resources[0]["resource"]["attributes"] if each["key"] != "test.run"}


def tried(attempt):
    """The result, after several tries: emulation on a busy machine is slow, and values that are not read or sent in time are missing."""
    for left in reversed(range(TRIES)):
        try:
            return attempt()
        except Failure as failure:
            print(f"cross: {failure}", flush=True)
            if not left:
                sys.exit(f"cross: failed {TRIES} times")


def compare(what, ours, theirs):
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key) != theirs.get(key):
            raise Failure(f"{what}: {key} is {theirs.get(key)} and not {ours.get(key)}")


def check(architecture, binary, reference, work, ways):
    command = [run([ROOT / "packaging/arch"], "qemu", architecture).strip(), binary]
    tried(lambda: compare(architecture, reference["console"], console(command)))
    for way, how in ways.items():
        ours = reference[way] | {"host.arch": {"stringValue": HOST_ARCH[architecture]}}
        tried(lambda: compare(f"{architecture}, {way}", ours, send(command, work, *how)))
    # Reads this machine, too: a live host needs system calls that a recorded host does not need.
    tried(lambda: run(command, "check", "--endpoint", GRPC))
    values = sum(len(each) for each in reference["gRPC"].values() if isinstance(each, list))
    print(f"cross: ok, {architecture}: {values} values as here, in the console's JSON and at a Collector over {' and '.join(ways)}; "
          f"its check ends with 0", flush=True)


def main():
    native, *others = sys.argv[1:]
    with tempfile.TemporaryDirectory() as made:
        work = pathlib.Path(made)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
             "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", work / "key.pem", "-out", work / "cert.pem"], check=True, capture_output=True)
        (work / "arrived.json").touch()
        (work / "collector.yaml").write_text(COLLECTOR.format(work=work))
        ways = {
            "gRPC": ["--endpoint", GRPC],
            "HTTP with TLS and gzip": ["--endpoint", HTTP, "--compression", "gzip", "--ca-file", str(work / "cert.pem")],
        }
        with open(work / "collector.log", "w") as log:
            collector = subprocess.Popen([os.environ["OTELCOL"], f"--config={work}/collector.yaml"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while subprocess.run(["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:13133"]).returncode:
                if collector.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"cross: no Collector: {(work / 'collector.log').read_text()}")
                time.sleep(0.2)
            reference = {"console": console([native])}
            for way, how in ways.items():
                reference[way] = tried(lambda: send([native], work, *how))
            assert len(reference["gRPC"]) > 50, reference
            for each in others:
                check(*each.split("=", 1), reference, work, ways)
        finally:
            collector.terminate()
            collector.wait()


main()
