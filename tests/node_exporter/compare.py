#!/usr/bin/env python3
"""Compares --naming node_exporter with node_exporter: name, labels, type and value of every series.

    tests/node_exporter/compare.py live [--agent target/debug/heka-insights-agent] [--node-exporter PATH]
    tests/node_exporter/compare.py fixture --source DIR [...]
    tests/node_exporter/compare.py systemd --root /proc/PID/root [...]

`live` scrapes both on this host. `fixture` runs both on node_exporter's own recorded host, and on each of its directories of text
files; DIR is the directory of node_exporter's module. `systemd` uses the systemd whose files are below that root, for example in a
container.
Metrics about the programs (go_*, process_*, promhttp_*, node_scrape_*) are left out. A value must be between the two values that
node_exporter has directly before and after it. A gauge of a live host can rise and fall in between, so this must be true in only one of
several rounds, with a tolerance of 2 %. The exit status is 1 if less than --least percent of node_exporter's series agree, or if
differences.txt has no reason for a difference.
"""
import argparse
import gzip
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(ROOT / "tests"))
from programs import AGENT  # noqa: E402

LEFT_OUT = ("go_", "process_", "promhttp_", "node_scrape_")
# On a live host.
ROUNDS = 8
# The tolerance for a gauge of a live host.
SLACK = 0.02
# node_exporter's metrics of netstat and vmstat are untyped. Those that it reports by default are counters, except for this one.
UNTYPED_GAUGES = {"node_netstat_Tcp_CurrEstab"}
SAMPLE = re.compile(r'^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"')
# The collectors whose files the agent reads. The comparison with the recorded host counts only these.
NAMED = (
    "arp bonding conntrack cpu cpufreq diskstats dmi edac entropy filefd filesystem hwmon kernel_hung loadavg mdadm meminfo netclass netdev "
    "netstat nvme os powersupplyclass pressure schedstat sockstat softnet stat textfile thermal_zone time timex udp_queues uname vmstat"
).split()


def parse(text):
    """The series as {(name, labels): value}, without labels that have no value, and the types as {name: type}."""
    series, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        match = SAMPLE.match(line)
        if not match or match[1].startswith(LEFT_OUT):
            continue
        labels = frozenset((key, value) for key, value in LABEL.findall(match[2] or "") if value)
        series[match[1], labels] = float(match[3])
    return series, types


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def scrape(port):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        body = answer.read()
        return (gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body).decode()


class Program:
    """A program that serves scrapes until the block ends."""

    def __init__(self, command, **environment):
        self.port = free_port()
        command = [word.replace("PORT", str(self.port)) for word in command]
        self.process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        for _ in range(200):
            try:
                scrape(self.port)
                return self
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.process.args[0]} ended: {self.process.stderr.read()}") from None
                time.sleep(0.05)
        raise SystemExit(f"{self.process.args[0]} does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


def reasons(host):
    """The accepted differences on a host, such as live or fixture/summary: patterns for `name{label="value",...}`, and reasons."""
    found = []
    for line in (HERE / "differences.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            where, pattern, reason = line.split("\t")
            if where in (host, host.split("/")[0], "both"):
                found.append((re.compile(pattern), reason))
    return found


def written(key):
    name, labels = key
    return name + ("{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels)) + "}" if labels else "")


def same_value(ours, before, after, slack):
    """Whether a value is between the two of node_exporter, before and after, except for the rounding of a double."""
    low, high = sorted((before, after))
    rounding = max(abs(low), abs(high)) * 1e-12
    return low - rounding <= ours <= high + rounding or (slack > 0 and math.isclose(ours, before, rel_tol=slack, abs_tol=1e-9))


def kind_of(types, name):
    """The type of a series. Parts of a histogram or a summary are counters, and its quantiles are gauges."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    if base != name and types.get(base) in ("histogram", "summary"):
        return "counter"
    # An untyped metric of node_exporter is a gauge here.
    return {"untyped": "gauge", "summary": "gauge"}.get(types.get(name, "gauge"), types.get(name, "gauge"))


def is_counter(types, name):
    return kind_of(types, name) == "counter" or (types.get(name) == "untyped" and name not in UNTYPED_GAUGES)


def differences(ours, before, after, slack):
    """The series that are in both scrapes of node_exporter, and the differences: {series: description}."""
    (our_series, our_types), (their_series, their_types), (after_series, _) = ours, before, after
    found = {}
    # A series that appeared or disappeared between the two scrapes is no difference.
    lasting = {key: value for key, value in their_series.items() if key in after_series}
    for key, value in sorted(lasting.items(), key=written_first):
        if key not in our_series:
            found[key] = "missing"
        elif kind_of(our_types, key[0]) != kind_of(their_types, key[0]):
            found[key] = f"type {our_types.get(key[0])}, not {their_types.get(key[0])}"
        elif not same_value(our_series[key], value, after_series[key], 0 if is_counter(their_types, key[0]) else slack):
            found[key] = f"value {our_series[key]}, not {value} to {after_series[key]}"
    names = {name for name, _ in lasting}
    for key in sorted(our_series.keys() - lasting.keys() - after_series.keys(), key=written):
        if key[0] in names:
            found[key] = "is not in node_exporter"
    return lasting, found


def compare(rounds, known, slack):
    """The number of node_exporter's series that agree, of all its series, and of differences without a reason. A counter must agree in
    each round, a gauge in one."""
    series, found, counters = set(), None, {}
    for one in rounds:
        lasting, differing = differences(*one, slack)
        series |= lasting.keys()
        counters |= {key: what for key, what in differing.items() if key in lasting and is_counter(one[1][1], key[0])}
        found = differing if found is None else {key: what for key, what in found.items() if key in differing}
    found |= counters
    unexplained = 0
    for key, what in found.items():
        reason = next((reason for pattern, reason in known if pattern.search(written(key))), None)
        unexplained += reason is None
        print(f"{'    ' if reason else 'NEW '}{written(key)}: {what}" + (f" ({reason})" if reason else ""))
    return len(series - found.keys()), len(series), unexplained


def written_first(item):
    return written(item[0])


def live(options):
    agent = [options.agent, "--exporter", "prometheus", "--naming", "node_exporter", "--detail", "detailed",
             "--listen", "127.0.0.1:PORT", *options.flags]
    # Without a system bus, node_exporter's systemd collector fails, and the agent's has no series.
    theirs = [options.node_exporter, "--web.listen-address=127.0.0.1:PORT", "--collector.processes", "--collector.tcpstat",
              "--collector.systemd", "--collector.systemd.enable-restarts-metrics"]
    yield "live", rounds(agent, theirs)


def systemd(options):
    agent = [options.agent, "--exporter", "prometheus", "--naming", "node_exporter", "--detail", "detailed", "--collectors", "services",
             "--root-path", options.root, "--listen", "127.0.0.1:PORT", *options.flags]
    theirs = [options.node_exporter, "--web.listen-address=127.0.0.1:PORT", "--collector.disable-defaults", "--collector.systemd",
              "--collector.systemd.enable-restarts-metrics"]
    yield "systemd", rounds(agent, theirs, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={options.root}/run/dbus/system_bus_socket")


def rounds(agent, theirs, **environment):
    """For each round, a page of the agent between two of node_exporter."""
    with Program(agent) as ours, Program(theirs, **environment) as node_exporter:
        scrape(ours.port)
        pages = []
        for _ in range(ROUNDS):
            before = parse(scrape(node_exporter.port))
            pages.append((parse(scrape(ours.port)), before, parse(scrape(node_exporter.port))))
            time.sleep(0.5)
    return pages


def recorded_host(source, directory):
    """Unpacks node_exporter's recorded host into a directory, with node_exporter's script."""
    host = Path(directory)
    fixtures = Path(source) / "collector/fixtures"
    subprocess.run(["cp", "-r", fixtures / "proc", fixtures / "textfile", directory], check=True)
    subprocess.run(["chmod", "-R", "u+w", directory], check=True)
    for archive in ("sys", "udev"):
        subprocess.run(["bash", Path(source) / "ttar", "-C", directory, "-x", "-f", fixtures / f"{archive}.ttar"], check=True)
    for part, target in (("udev", "run/udev"), ("usr", "usr")):
        (host / target).parent.mkdir(parents=True, exist_ok=True)
        origin = host / part if (host / part).exists() and part != "usr" else fixtures / part
        subprocess.run(["cp", "-r", origin, host / target], check=True)
    (host / "etc").mkdir()
    release = fixtures / "usr/lib/os-release"
    if release.exists():
        (host / "usr/lib").mkdir(parents=True, exist_ok=True)
        (host / "usr/lib/os-release").write_bytes(release.read_bytes())
    return host


def on_the_host(node_exporter, host):
    """The command that runs node_exporter on a recorded host."""
    return [node_exporter, "--web.listen-address=127.0.0.1:PORT", f"--path.procfs={host}/proc", f"--path.sysfs={host}/sys",
            f"--path.rootfs={host}", f"--path.udev.data={host}/run/udev/data", "--collector.disable-defaults",
            "--no-collector.arp.netlink", "--no-collector.netdev.netlink", *(f"--collector.{name}" for name in NAMED)]


def fixture(options):
    """Compares both on the recorded host."""
    with tempfile.TemporaryDirectory() as directory:
        host = recorded_host(options.source, directory)
        agent = [options.agent, "--exporter", "prometheus", "--naming", "node_exporter", "--listen", "127.0.0.1:PORT",
                 "--root-path", directory, *options.flags]
        theirs = on_the_host(options.node_exporter, host)
        yield "fixture", between(agent, theirs)
        for path in sorted(path for path in (host / "textfile").iterdir() if path.is_dir()):
            yield f"textfile/{path.name}", between(
                [*agent, "--collectors", "textfile", "--textfile-dir", str(path)],
                [*theirs[:2], "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={path}"])


def between(agent, theirs):
    """A page of the agent between two of node_exporter."""
    with Program(agent) as ours, Program(theirs) as node_exporter:
        before = parse(scrape(node_exporter.port))
        return [(parse(scrape(ours.port)), before, parse(scrape(node_exporter.port)))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("host", choices=("live", "fixture", "systemd"))
    arguments.add_argument("--root", help="of systemd's host")
    arguments.add_argument("--agent", default=str(AGENT))
    arguments.add_argument("--node-exporter", dest="node_exporter")
    arguments.add_argument("--source")
    arguments.add_argument("--least", type=float, help="percent of node_exporter's series [default: 95 live, 90 fixture]")
    arguments.add_argument("flags", nargs="*", help="further flags of the agent, after --")
    options = arguments.parse_args()
    built = lambda what: subprocess.run([ROOT / "tests/peers/build", what], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    options.node_exporter = options.node_exporter or built("node_exporter")
    if options.host == "fixture":
        options.source = options.source or built("node_exporter-source")
    least = options.least or (90 if options.host == "fixture" else 95)
    # Neither a recorded host nor the state of the units changes.
    slack = SLACK if options.host == "live" else 0
    compared = [compare(rounds, reasons(where), slack)
                for where, rounds in {"live": live, "fixture": fixture, "systemd": systemd}[options.host](options)]
    found, total, unexplained = map(sum, zip(*compared))
    share = 100 * found / total
    good = share >= least and unexplained == 0
    print(f"{'compare: ok, ' if good else ''}{options.host}: {found} of {total} series agree ({share:.1f} %, at least {least:g} %); "
          f"{unexplained} differences without a reason")
    return not good


if __name__ == "__main__":
    sys.exit(main())
