"""Measures the agent, other programs (peers) and the floor under equal conditions, and reports whether the targets are met.

    python3 benches/compare                     everything, more than an hour
    python3 benches/compare --quick             a first impression
    python3 benches/compare --scenario c64-d32 --rounds 1

See benches/README.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hosts
import install
import measure
import peers
import report
from sink import Sink, Tap

REPOSITORY = peers.REPOSITORY
HEART = ["cpu", "memory", "paging", "disk"]
ALL = [*HEART, "network", "filesystem", "load", "processes", "system", "pressure"]
# Name, description, collectors (DEFAULT: those that each program has on by default), fixture host or None for the live host, more.
DEFAULT = []
SCENARIOS = [
    ("live", "the heart of a monitor (CPU, memory, paging, disks) on this host", HEART, None, {}),
    ("live-all", "every default collector on this host; of the Collector, hostmetrics with its nine scrapers", DEFAULT, None, {}),
    ("live-ten", "the ten collectors of the first version on this host", ALL, None, {}),
    ("node", "node_exporter's names on a page that is scraped, every default collector", DEFAULT, None, dict(scraped=True)),
    ("node-600", "the same with about 600 series: 8 CPUs, 9 disks, 12 interfaces", DEFAULT, "c8-d9", dict(scraped=True)),
    ("c2-d4", "the heart, per CPU: 2 CPUs, 4 disks", HEART, "c2-d4", {}),
    ("c64-d32", "the heart, per CPU: 64 CPUs, 32 disks", HEART, "c64-d32", {}),
    ("c512-d1000", "the heart, per CPU: 512 CPUs, 1,000 disks", HEART, "c512-d1000", {}),
    ("c64-d32-all", "ten collectors: 64 CPUs, 32 disks, 100 interfaces, 10,000 processes", ALL, "c64-d32", {}),
    ("i100", "the network collector: 100 interfaces", ["network"], "c64-d32", {}),
    ("p10000", "the processes collector: 10,000 recorded processes", ["processes"], "c64-d32", {}),
    ("tls", "every default collector on this host, over a TLS session that stays open", DEFAULT, None, dict(tls=True)),
]
TARGET = "x86_64-unknown-linux-gnu" if platform.machine() == "x86_64" else f"{platform.machine()}-unknown-linux-gnu"


def arguments():
    parser = argparse.ArgumentParser(
        prog="benches/compare", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scenarios:\n" + "\n".join(f"  {name:12} {about}" for name, about, *_ in SCENARIOS),
    )
    parser.add_argument("--name", default=time.strftime("%Y-%m-%d"), help="name of the directory below benches/runs (default: today)")
    parser.add_argument("--scenario", action="append", choices=[name for name, *_ in SCENARIOS], metavar="NAME", help="only these; repeat for more")
    parser.add_argument("--peer", action="append", help="only these, and the agent; repeat for more")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is started and measured, in turn (default: 5)")
    parser.add_argument("--cycles", type=int, default=10, help="collections in one measurement (default: 10)")
    parser.add_argument("--warm-up", type=int, default=5, help="collections before it (default: 5)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between collections (default: 1)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 cycles")
    parser.add_argument("--install", action="store_true", help="build the peers that are missing with Go, and install those that Debian has (as root)")
    parser.add_argument("--no-build", action="store_true", help="measure the builds that are there")
    parser.add_argument("--dry", action="store_true", help="print, do not write benches/runs")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.cycles, options.warm_up = 2, 5, 3
    return options


def build(options):
    """Builds the agent, dynamic and static, and the floor, all below target/."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    dynamic = target / "release/heka-insights-agent"
    static = target / "static" / TARGET / "release/heka-insights-agent"
    if not options.no_build:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=REPOSITORY, check=True)
        subprocess.run(["packaging/build-static"], cwd=REPOSITORY, check=True)
    floor = target / "floor"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", floor, peers.HERE / "floor.rs"], check=True)
    return dynamic, static, floor, target / "hosts"


def scenarios(options, agent, place):
    has = agent.families(ALL)
    for name, about, families, size, more in SCENARIOS:
        if options.scenario and name not in options.scenario:
            continue
        families = [family for family in families if family in has]
        host = dict(root=place / size, size=hosts.SIZES[size], per_cpu=True) if size else {}
        yield peers.Scenario(name, about, families, options.interval, **host, **more)


def calibrate(agent, scenario, sink, work):
    """Bytes that the agent sends in one cycle, HTTP/2 framing included."""
    tap = Tap(sink.port)
    with open(work / "calibrate.log", "w") as log:
        child = agent.start(scenario, sink, work, log, endpoint=f"http://127.0.0.1:{tap.port}")
        try:
            time.sleep(3.5 * scenario.interval)
            before = tap.sent
            time.sleep(4 * scenario.interval)
            return round((tap.sent - before) / 4)
        finally:
            peers.stop(child)


def one(peer, scenario, sink, work, options):
    with open(work / f"{peer.name}.log", "w") as log:
        child = peer.start(scenario, sink, work, log)
        try:
            time.sleep(max(options.warm_up * scenario.interval, 2))
            if child.poll() is not None:
                return dict(error=f"ended with {child.returncode}: " + (work / f"{peer.name}.log").read_text()[-300:].strip())
            points = (lambda: 0) if scenario.scraped else sink.points
            result = measure.window(child.pid, scenario.interval, options.cycles, points)
            if scenario.scraped:
                result["points"] = peer.scraper.series
            if isinstance(peer, peers.Agent) and not result["points"]:
                return dict(error="nothing of it arrived: " + (work / f"{peer.name}.log").read_text()[-300:].strip())
            return result
        finally:
            peers.stop(child)


def main():
    options = arguments()
    collector = install.collector()
    if not collector:
        sys.exit("no Collector to send to: set OTELCOL=/path, or run tests/collector/build.sh")
    dynamic, static, floor_binary, place = build(options)
    agent, floor = peers.Agent("agent", dynamic), peers.Floor(floor_binary)
    install.collectd(options.install)
    everyone = [
        agent,
        peers.Agent("agent-static", static),
        # For comparison with the peers, which send no metrics about themselves here.
        peers.Agent("agent-silent", dynamic, "--self-metrics", "off"),
        peers.Collector("collector", collector, "otlp_grpc"),
        peers.Collector("collector-nop", collector, "nop"),
        peers.NodeExporter(install.node_exporter(options.install)),
        peers.Collectd(),
        peers.Telegraf(install.telegraf(options.install)),
        floor,
    ]
    chosen = [peer for peer in everyone if not options.peer or peer.name in options.peer or isinstance(peer, peers.Agent)]
    results = dict(
        machine=measure.machine(), rounds=options.rounds, cycles=options.cycles, interval_s=options.interval,
        load=[os.getloadavg()[0]], binaries={}, versions={}, scenarios={},
    )
    for peer in chosen:
        if version := peer.version():
            results["versions"][peer.name] = version
        if binary := getattr(peer, "binary", None):
            results["binaries"][peer.name] = Path(binary).stat().st_size if Path(binary).is_file() else None
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        sink = Sink(collector, work)
        try:
            for scenario in scenarios(options, agent, place):
                measure_scenario(scenario, chosen, floor, agent, sink, work, options, results)
        finally:
            sink.stop()
    results["load"].append(os.getloadavg()[0])
    text = report.markdown(results)
    print(text)
    if not options.dry:
        run = REPOSITORY / "benches/runs" / options.name
        run.mkdir(parents=True, exist_ok=True)
        (run / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
        (run / "compare.md").write_text(text)


def measure_scenario(scenario, chosen, floor, agent, sink, work, options, results):
    print(f"{scenario.name}: {', '.join(scenario.families) or 'default'}", file=sys.stderr)
    if scenario.root:
        hosts.generate(scenario.root, **scenario.size)
    entry = dict(about=scenario.about, families=scenario.families, size=scenario.size, missing={}, lacks={}, rounds=[])
    results["scenarios"][scenario.name] = entry
    for peer in chosen:
        if scenario.tls and not isinstance(peer, peers.Agent):
            entry["missing"][peer.name] = "this asks for the agent's memory, not for a comparison"
        elif scenario.scraped and not isinstance(peer, (peers.Agent, peers.NodeExporter)):
            entry["missing"][peer.name] = "serves no such page"
        elif reason := peer.missing(scenario):
            entry["missing"][peer.name] = reason
        elif lacks := peer.lacks(scenario.families):
            entry["lacks"][peer.name] = lacks
    present = [peer for peer in chosen if peer.name not in entry["missing"]]
    movement = hosts.Movement(scenario.root, scenario.size, scenario.interval) if scenario.root else None
    try:
        if movement:
            movement.__enter__()
        if floor in present:
            floor.bytes[scenario.name] = entry["bytes"] = calibrate(agent, scenario, sink, work)
        for number in range(options.rounds):
            # Each round starts with another peer, so that a peer is not always measured after the same one.
            turn = number % len(present)
            round_results = {}
            for peer in present[turn:] + present[:turn]:
                round_results[peer.name] = result = one(peer, scenario, sink, work, options)
                if "error" in result:
                    print(f"  {peer.name}: {result['error']}", file=sys.stderr)
                else:
                    print(f"  round {number + 1} {peer.name:14} {result['cpu_us']:10.0f} µs {result['rss_kb']:8} kB {result['points']:7} points", file=sys.stderr)
            entry["rounds"].append(round_results)
    finally:
        if movement:
            movement.__exit__()


main()
