"""The measured programs, and how each is started with the same collectors, interval and host."""

import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from names import COLLECTD, FLOOR, NODE_EXPORTER, NODE_EXPORTER_VERSION, SCRAPERS, TELEGRAF, TELEGRAF_VERSION, lacking

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


def free_port():
    """A free port outside the kernel's range for outgoing connections. On a port inside that range, an agent that keeps trying to
    connect can connect to itself."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 20_000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def said(command):
    """The version that a program prints, if any."""
    try:
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"^[\w-]+(?:,? version)? v?(\d+\.\d+(\.\d+)?)", run.stdout + run.stderr, re.MULTILINE)
    return found and found.group(1)


def start(command, log, env=None):
    """Starts a child with a clean environment, so that no variable of the caller influences the measurement. The program is read
    from the disk, as after a boot."""
    evict(command[0])
    clean = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")}
    clean.update(env or {})
    return subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean, cwd="/"
    )


def evict(program):
    """Removes a program from the page cache. After linking or copying, it is cached in large folios, which the kernel maps as a
    whole: then a third more is resident than after reading it from the disk."""
    file = os.open(program, os.O_RDONLY)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def stop(child):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Scenario:
    """A measurement: collectors (none: those that are on by default), interval and host; `about` is a short description."""

    def __init__(self, name, about, families, interval, root=None, size=None, tls=False, per_cpu=False, scraped=False):
        self.about, self.scraped = about, scraped
        self.name, self.families, self.interval = name, families, interval
        self.root, self.size, self.tls, self.per_cpu = root, size, tls, per_cpu

    @property
    def proc(self):
        return (self.root or Path("/")) / "proc"


class Scraper:
    """Fetches a page once an interval, for as long as the program that serves it runs; its own cost is not counted."""

    def __init__(self, child, port, interval):
        self.series = 0
        threading.Thread(target=self.run, args=(child, port, interval), daemon=True).start()

    def run(self, child, port, interval):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        tick = time.monotonic()
        while child.poll() is None:
            tick += interval
            time.sleep(max(0, tick - time.monotonic()))
            try:
                connection.request("GET", "/metrics", headers={"Accept-Encoding": "identity"})
                page = connection.getresponse().read()
                self.series = sum(1 for line in page.splitlines() if line and not line.startswith(b"#"))
            except (OSError, http.client.HTTPException):
                connection.close()


class Agent:
    def __init__(self, name, binary, *more):
        self.name, self.binary, self.more = name, Path(binary), more

    def missing(self, _):
        return None if self.binary.is_file() else "not built"

    def lacks(self, _):
        return []

    def version(self):
        return said([self.binary, "--version"])

    def start(self, scenario, sink, work, log, endpoint=None):
        command = [
            self.binary, "--interval", f"{int(scenario.interval * 1000)}ms", "--no-phase", "--log-level", "warn", *self.more,
        ]
        if scenario.families:
            command += ["--collectors", ",".join(scenario.families)]
        if scenario.per_cpu:
            command.append("--per-cpu")
        if scenario.scraped:
            port = free_port()
            command += ["--naming", "node_exporter", "--exporter", "prometheus", "--listen", f"127.0.0.1:{port}"]
        elif scenario.tls:
            command += ["--endpoint", f"https://localhost:{sink.tls_port}", "--ca-file", sink.certificate]
        else:
            command += ["--endpoint", endpoint or f"http://127.0.0.1:{sink.port}"]
        if scenario.root:
            command += ["--root-path", scenario.root]
        child = start(command, log)
        if scenario.scraped:
            self.scraper = Scraper(child, port, scenario.interval)
        return child

    def families(self, wanted):
        """Those of the wanted collectors that this build has."""
        def has(family):
            run = subprocess.run(
                [self.binary, "--once", "--exporter", "console", "--collectors", family, "--log-level", "off"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            return run.returncode == 0
        return [family for family in wanted if has(family)]


class Collector:
    """The Collector with hostmetrics, and with those metrics off by default that the agent sends."""

    EXTRA = {
        "cpu": ["system.cpu.utilization", "system.cpu.logical.count"],
        "memory": ["system.memory.utilization", "system.memory.limit", "system.linux.memory.available"],
        "paging": ["system.paging.utilization"],
        "filesystem": ["system.filesystem.utilization"],
    }

    def __init__(self, name, binary, exporter):
        self.name, self.binary, self.exporter = name, binary, exporter

    def missing(self, scenario):
        if not self.binary:
            return "no Collector: set OTELCOL, or run tests/collector/build.sh"
        return None

    def lacks(self, families):
        return lacking(families, SCRAPERS)

    def version(self):
        # The Collector of tests/collector/build.sh does not report its version.
        pinned = re.search(r"hostmetricsreceiver v(\S+)", (REPOSITORY / "tests/collector/builder.yaml").read_text())
        return said([self.binary, "--version"]) or (pinned and pinned.group(1))

    def start(self, scenario, sink, work, log):
        scrapers = {}
        for family in scenario.families or SCRAPERS:
            if family in SCRAPERS:
                metrics = {name: {"enabled": True} for name in self.EXTRA.get(family, [])}
                if family == "cpu" and scenario.per_cpu:
                    for name in ("system.cpu.time", "system.cpu.utilization"):
                        metrics[name] = {"enabled": True, "attributes": ["cpu", "state"]}
                scrapers[SCRAPERS[family]] = {"metrics": metrics} if metrics else {}
        receiver = {"collection_interval": f"{scenario.interval}s", "initial_delay": "100ms", "scrapers": scrapers}
        if scenario.root:
            receiver["root_path"] = str(scenario.root)
        exporters = {
            "otlp_grpc": {"endpoint": f"127.0.0.1:{sink.port}", "tls": {"insecure": True}},
            "nop": {},
        }
        config = {
            "receivers": {"host_metrics": receiver},
            "exporters": {self.exporter: exporters[self.exporter]},
            "service": {
                "telemetry": {"logs": {"level": "error"}, "metrics": {"level": "none"}},
                "pipelines": {"metrics": {"receivers": ["host_metrics"], "exporters": [self.exporter]}},
            },
        }
        path = work / f"{self.name}.yaml"
        path.write_text(json.dumps(config))
        return start([self.binary, "--config", path], log)


class NodeExporter:
    """node_exporter, whose page is fetched once an interval."""

    name = "node_exporter"

    def __init__(self, binary):
        self.binary = binary

    def missing(self, scenario):
        if not self.binary:
            return "not installed: `--install` builds or installs it"
        return None

    def lacks(self, families):
        return lacking(families, NODE_EXPORTER)

    def version(self):
        return said([self.binary, "--version"]) or NODE_EXPORTER_VERSION

    def start(self, scenario, sink, work, log):
        port = free_port()
        command = [self.binary, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", "--web.disable-exporter-metrics"]
        if scenario.families:
            command.append("--collector.disable-defaults")
        for family in scenario.families:
            command += [f"--collector.{name}" for name in NODE_EXPORTER.get(family, [])]
        if scenario.root:
            command += [f"--path.procfs={scenario.root}/proc", f"--path.sysfs={scenario.root}/sys", f"--path.rootfs={scenario.root}"]
        child = start(command, log)
        self.scraper = Scraper(child, port, scenario.interval)
        return child


class Collectd:
    """collectd with its own network protocol. It can only read the live host."""

    name = "collectd"

    def missing(self, scenario):
        if not shutil.which("collectd"):
            return "not installed: `--install` does it on Debian (collectd-core)"
        if scenario.root:
            return "knows no other root than /, so it cannot read a fixture host"
        return None

    def lacks(self, families):
        return lacking(families, COLLECTD)

    def version(self):
        return said(["collectd", "-h"])

    def start(self, scenario, sink, work, log):
        drain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        drain.bind(("127.0.0.1", 0))
        port = drain.getsockname()[1]
        plugins = [plugin for family in scenario.families or COLLECTD for plugin in COLLECTD[family]]
        lines = [f'BaseDir "{work}"', f'PIDFile "{work}/collectd.pid"', f"Interval {scenario.interval}", 'TypesDB "/usr/share/collectd/types.db"', "Hostname compare", "FQDNLookup false"]
        lines += [f"LoadPlugin {plugin}" for plugin in [*plugins, "network"]]
        if "cpu" in plugins:
            lines.append(f"<Plugin cpu>\nReportByCpu {str(scenario.per_cpu).lower()}\n</Plugin>")
        lines += [f'<Plugin network>\nServer "127.0.0.1" "{port}"\n</Plugin>']
        path = work / "collectd.conf"
        path.write_text("\n".join(lines) + "\n")
        child = start([shutil.which("collectd"), "-f", "-C", path], log)

        def receive():
            drain.settimeout(1)
            while child.poll() is None:
                try:
                    drain.recv(65536)
                except TimeoutError:
                    pass
            drain.close()

        threading.Thread(target=receive, daemon=True).start()
        return child


class Telegraf:
    name = "telegraf"

    def __init__(self, binary):
        self.binary = binary

    def missing(self, scenario):
        if not self.binary:
            return "not built: `--install` does it, with Go; or TELEGRAF=/path"
        return None

    def lacks(self, families):
        return lacking(families, TELEGRAF)

    def version(self):
        return said([self.binary, "--version"]) or TELEGRAF_VERSION

    def start(self, scenario, sink, work, log):
        inputs = [plugin for family in scenario.families or TELEGRAF for plugin in TELEGRAF[family]]
        lines = [
            f'[agent]\ninterval = "{scenario.interval}s"\nflush_interval = "{scenario.interval}s"\nround_interval = false\n'
            'flush_jitter = "0s"\nquiet = true\nomit_hostname = true',
            f'[[outputs.opentelemetry]]\nservice_address = "127.0.0.1:{sink.port}"',
        ]
        lines += [f"[[inputs.{name}]]" + (f"\npercpu = {str(scenario.per_cpu).lower()}\ntotalcpu = {str(not scenario.per_cpu).lower()}" if name == "cpu" else "") for name in inputs]
        path = work / "telegraf.conf"
        path.write_text("\n".join(lines) + "\n")
        env = {}
        if scenario.root:
            env = {"HOST_PROC": f"{scenario.root}/proc", "HOST_SYS": f"{scenario.root}/sys", "HOST_MOUNT_PREFIX": str(scenario.root)}
        return start([self.binary, "--config", path], log, env)


class Floor:
    name = "floor"

    def __init__(self, binary):
        self.binary = binary
        self.bytes = {}

    def missing(self, _):
        return None

    def lacks(self, _):
        return []

    def version(self):
        return None

    def start(self, scenario, sink, work, log):
        server = socket.create_server(("127.0.0.1", 0))
        files = []
        for family in scenario.families or FLOOR:
            for name in FLOOR[family]:
                path = str(scenario.proc / name)
                if path not in files and (name == "*/stat" or os.path.exists(path)):
                    files.append(path)
        child = start(
            [self.binary, f"127.0.0.1:{server.getsockname()[1]}", self.bytes[scenario.name], int(scenario.interval * 1000), *files], log
        )

        def drain():
            connection, _ = server.accept()
            while connection.recv(1 << 20):
                pass

        threading.Thread(target=drain, daemon=True).start()
        return child
