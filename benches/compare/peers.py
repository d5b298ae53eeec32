"""Who is measured, and how each is built and started with the same families, interval and host."""

import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

# The agent's families, and what the others call them.
SCRAPERS = {
    "cpu": "cpu", "memory": "memory", "paging": "paging", "disk": "disk", "network": "network",
    "filesystem": "filesystem", "load": "load", "processes": "processes", "system": "system",
}
NODE_EXPORTER = {
    "cpu": ["cpu"], "memory": ["meminfo"], "paging": ["vmstat"], "disk": ["diskstats"], "network": ["netdev"],
    "filesystem": ["filesystem"], "load": ["loadavg"], "processes": ["processes", "stat"], "system": ["time"],
    "pressure": ["pressure"],
}
COLLECTD = {
    "cpu": ["cpu"], "memory": ["memory"], "paging": ["swap", "vmem"], "disk": ["disk"], "network": ["interface"],
    "filesystem": ["df"], "load": ["load"], "processes": ["processes"], "system": ["uptime"], "pressure": [],
}
TELEGRAF = {
    "cpu": ["cpu"], "memory": ["mem"], "paging": ["swap", "kernel_vmstat"], "disk": ["diskio"], "network": ["net"],
    "filesystem": ["disk"], "load": ["system"], "processes": ["processes"], "system": [], "pressure": [],
}
FLOOR = {
    "cpu": ["stat"], "memory": ["meminfo"], "paging": ["swaps", "vmstat"], "disk": ["diskstats"],
    "network": ["1/net/dev"], "filesystem": ["1/mountinfo"], "load": ["loadavg"], "processes": ["*/stat"],
    "system": ["uptime"], "pressure": ["pressure/cpu", "pressure/io", "pressure/memory"],
}


def free_port():
    """A free port that stays so while nobody listens there: outside the range of the kernel's own choices for outgoing
    connections. An agent that keeps connecting to a port inside it may meet itself there."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 20_000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def start(command, log, env=None):
    """Starts a child with an environment of its own, so that no variable of the caller's changes what is measured."""
    clean = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")}
    clean.update(env or {})
    return subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean, cwd="/"
    )


def stop(child):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Scenario:
    """What is measured: families, interval and host."""

    def __init__(self, name, families, interval, root=None, size=None, tls=False, per_cpu=False):
        self.name, self.families, self.interval = name, families, interval
        self.root, self.size, self.tls, self.per_cpu = root, size, tls, per_cpu

    @property
    def proc(self):
        return (self.root or Path("/")) / "proc"


class Agent:
    def __init__(self, name, binary):
        self.name, self.binary = name, Path(binary)

    def missing(self, _):
        return None if self.binary.is_file() else "not built"

    def start(self, scenario, sink, work, log, endpoint=None):
        command = [
            self.binary, "--interval", f"{int(scenario.interval * 1000)}ms", "--no-phase",
            "--collectors", ",".join(scenario.families), "--log-level", "warn",
        ]
        if scenario.per_cpu:
            command.append("--per-cpu")
        if scenario.tls:
            command += ["--endpoint", f"https://localhost:{sink.tls_port}", "--ca-file", sink.certificate]
        else:
            command += ["--endpoint", endpoint or f"http://127.0.0.1:{sink.port}"]
        if scenario.root:
            command += ["--root-path", scenario.root]
        return start(command, log)

    def families(self, wanted):
        """Those of the wanted families that this build has."""
        def has(family):
            run = subprocess.run(
                [self.binary, "--once", "--exporter", "console", "--collectors", family, "--log-level", "off"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            return run.returncode == 0
        return [family for family in wanted if has(family)]


class Collector:
    """The Collector with hostmetrics and, so that it sends what the agent sends, the metrics it has off by default."""

    EXTRA = {
        "cpu": ["system.cpu.utilization", "system.cpu.logical.count"],
        "memory": ["system.memory.utilization", "system.memory.limit", "system.linux.memory.available"],
        "paging": ["system.paging.utilization"],
        "filesystem": ["system.filesystem.utilization"],
    }

    def __init__(self, name, binary, exporter):
        self.name, self.binary, self.exporter = name, binary, exporter

    def missing(self, _):
        return None if self.binary else "no Collector: set OTELCOL, or run tests/collector/build.sh"

    def start(self, scenario, sink, work, log):
        scrapers = {}
        for family in scenario.families:
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
    """node_exporter, and a scraper that fetches its page once an interval; the scraper's own cost is not counted."""

    name = "node_exporter"

    def __init__(self, binary):
        self.binary = binary

    def missing(self, _):
        return None if self.binary else "not installed, and `go install` did not succeed"

    def start(self, scenario, sink, work, log):
        port = free_port()
        command = [self.binary, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--log.level=error",
                   "--web.disable-exporter-metrics"]
        for family in scenario.families:
            command += [f"--collector.{name}" for name in NODE_EXPORTER.get(family, [])]
        if scenario.root:
            command += [f"--path.procfs={scenario.root}/proc", f"--path.sysfs={scenario.root}/sys", f"--path.rootfs={scenario.root}"]
        child = start(command, log)

        def scrape():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            tick = time.monotonic()
            while child.poll() is None:
                tick += scenario.interval
                time.sleep(max(0, tick - time.monotonic()))
                try:
                    connection.request("GET", "/metrics", headers={"Accept-Encoding": "identity"})
                    connection.getresponse().read()
                except (OSError, http.client.HTTPException):
                    connection.close()

        threading.Thread(target=scrape, daemon=True).start()
        return child


class Collectd:
    """collectd with its own network protocol. It knows no other root than /."""

    name = "collectd"

    def missing(self, scenario):
        if not shutil.which("collectd"):
            return "not installed (Debian: collectd-core)"
        return "reads the live host only" if scenario.root else None

    def start(self, scenario, sink, work, log):
        drain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        drain.bind(("127.0.0.1", 0))
        port = drain.getsockname()[1]
        plugins = [plugin for family in scenario.families for plugin in COLLECTD[family]]
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

    def missing(self, _):
        return None if self.binary else "not built: needs Go, or TELEGRAF=/path"

    def start(self, scenario, sink, work, log):
        inputs = [plugin for family in scenario.families for plugin in TELEGRAF[family]]
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

    def start(self, scenario, sink, work, log):
        server = socket.create_server(("127.0.0.1", 0))
        files = []
        for family in scenario.families:
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


class Sink:
    """Takes OTLP and throws it away: a Collector with nothing behind it, whose CPU time nobody counts."""

    def __init__(self, binary, work):
        self.port, self.tls_port, self.telemetry = free_port(), free_port(), free_port()
        self.certificate = work / "ca.pem"
        key = work / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", key, "-out", self.certificate],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        def receiver(port, **more):
            return {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}", "max_recv_msg_size_mib": 64, **more}}}
        tls = {"cert_file": str(self.certificate), "key_file": str(key)}
        config = {
            "receivers": {"otlp": receiver(self.port), "otlp/tls": receiver(self.tls_port, tls=tls)},
            "exporters": {"nop": {}},
            "service": {
                "telemetry": {
                    "logs": {"level": "error"},
                    "metrics": {"level": "basic", "readers": [{"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": self.telemetry}}}}]},
                },
                "pipelines": {"metrics": {"receivers": ["otlp", "otlp/tls"], "exporters": ["nop"]}},
            },
        }
        path = work / "sink.yaml"
        path.write_text(json.dumps(config))
        self.log = open(work / "sink.log", "w")
        self.child = start([binary, "--config", path], self.log)
        for _ in range(100):
            try:
                self.points()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"the sink did not start: see {work / 'sink.log'}")

    def points(self):
        """Data points taken so far."""
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry}/metrics", timeout=5).read().decode()
        lines = [line for line in page.splitlines() if line.startswith("otelcol_receiver_accepted_metric_points")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def stop(self):
        stop(self.child)


class Tap:
    """Counts the bytes a peer sends to the sink. Only for finding out how many the floor has to write."""

    def __init__(self, port):
        self.target, self.sent = port, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pump(self, source, target, count):
        try:
            while data := source.recv(1 << 16):
                if count:
                    self.sent += len(data)
                target.sendall(data)
        except OSError:
            pass
        target.close()


def find_collector():
    """OTELCOL, else what tests/collector/build.sh keeps, building it where that script is there."""
    given = os.environ.get("OTELCOL")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heka-insights-agent"
    script = REPOSITORY / "tests/collector/build.sh"
    found = sorted(cache.glob("otelcol*")) if cache.is_dir() else []
    if not found and script.is_file():
        subprocess.run([script], check=False)
        found = sorted(cache.glob("otelcol*")) if cache.is_dir() else []
    found = [path for path in found if path.is_file() and os.access(path, os.X_OK)]
    return found[-1] if found else None


def telegraf(seconds):
    """Telegraf with the plugins that are measured and no others: with all of them it takes very long to build and more
    memory than it needs."""
    path = REPOSITORY / "target/telegraf"
    if given := os.environ.get("TELEGRAF") or shutil.which("telegraf"):
        return given if os.access(given, os.X_OK) else None
    if path.is_file() or not shutil.which("go"):
        return path if path.is_file() else None
    print(f"building telegraf, at most {seconds} s", file=sys.stderr)
    inputs = sorted({name for names in TELEGRAF.values() for name in names})
    tags = ",".join(["custom", *(f"inputs.{name}" for name in inputs), "outputs.opentelemetry"])
    try:
        module = subprocess.check_output(["go", "mod", "download", "-json", "github.com/influxdata/telegraf@v1.37.2"], cwd="/", text=True, timeout=seconds)
        # In its own directory, where its go.sum pins what it needs.
        subprocess.run(
            ["go", "build", "-trimpath", "-ldflags=-s -w", "-tags", tags, "-o", path, "./cmd/telegraf"],
            cwd=json.loads(module)["Dir"], check=True, timeout=seconds,
        )
    except (subprocess.SubprocessError, OSError) as error:
        print(f"telegraf: {error}", file=sys.stderr)
        return None
    return path


def go_binary(variable, name, module, seconds):
    """A program of a Go module: given by a variable, on the PATH, or installed now, within a time bound."""
    given = os.environ.get(variable) or shutil.which(name)
    if given:
        return given if os.access(given, os.X_OK) else None
    go = shutil.which("go")
    if not go:
        return None
    path = Path(subprocess.check_output([go, "env", "GOPATH"], text=True).strip()) / "bin" / name
    if not path.is_file():
        print(f"installing {module}, at most {seconds} s", file=sys.stderr)
        try:
            subprocess.run([go, "install", module], timeout=seconds, check=True, cwd="/")
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return None
    return str(path)
