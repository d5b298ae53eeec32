"""Measures the agent beside its peers and the floor, and says whether the targets are met.

    python3 benches/compare                     everything, about 40 minutes on a quiet machine
    python3 benches/compare --quick             a first impression, about 6 minutes
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
import measure
import peers
import report

REPOSITORY = peers.REPOSITORY
HEART = ["cpu", "memory", "paging", "disk"]
ALL = [*HEART, "network", "filesystem", "load", "processes", "system", "pressure"]
TARGET = "x86_64-unknown-linux-gnu" if platform.machine() == "x86_64" else f"{platform.machine()}-unknown-linux-gnu"


def arguments():
    parser = argparse.ArgumentParser(prog="benches/compare")
    parser.add_argument("--name", default=time.strftime("%Y-%m-%d"), help="name of the directory below benches/runs (default: today)")
    parser.add_argument("--scenario", action="append", help="only these; repeat for more")
    parser.add_argument("--peer", action="append", help="only these, and the agent; repeat for more")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is started and measured, in turn (default: 5)")
    parser.add_argument("--cycles", type=int, default=10, help="collections in one measurement (default: 10)")
    parser.add_argument("--warm-up", type=int, default=5, help="collections before it (default: 5)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between collections (default: 1)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 cycles")
    parser.add_argument("--no-build", action="store_true", help="measure the builds that are there")
    parser.add_argument("--dry", action="store_true", help="print, do not write benches/runs")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.cycles, options.warm_up = 2, 5, 3
    return options


def build(options):
    """The agent, dynamic and static, and the floor; all below target/."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    dynamic = target / "release/heka-insights-agent"
    static = target / "static" / TARGET / "release/heka-insights-agent"
    if not options.no_build:
        run = lambda *more, **env: subprocess.run(
            ["cargo", "build", "--release", "--locked", *more], cwd=REPOSITORY, check=True, env={**os.environ, **env}
        )
        run()
        run("--target", TARGET, RUSTFLAGS="-C target-feature=+crt-static", CARGO_TARGET_DIR=str(target / "static"))
    floor = target / "floor"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", floor, peers.HERE / "floor.rs"], check=True)
    return dynamic, static, floor, target / "hosts"


def scenarios(options, agent, place):
    every = agent.families(ALL)
    heart = [family for family in HEART if family in every]

    def fixture(name, families, size):
        return peers.Scenario(name, families, options.interval, root=place / size, size=hosts.SIZES[size], per_cpu=True)

    found = [
        peers.Scenario("live", heart, options.interval),
        peers.Scenario("live-all", every, options.interval),
        fixture("c2-d4", heart, "c2-d4"),
        fixture("c64-d32", heart, "c64-d32"),
        fixture("c512-d1000", heart, "c512-d1000"),
        fixture("c64-d32-all", every, "c64-d32"),
        peers.Scenario("tls", every, options.interval, tls=True),
    ]
    names = [scenario.name for scenario in found]
    if unknown := set(options.scenario or []) - set(names):
        sys.exit(f"--scenario {unknown.pop()}: not one of {', '.join(names)}")
    return [scenario for scenario in found if not options.scenario or scenario.name in options.scenario]


def calibrate(agent, scenario, sink, work):
    """Bytes that the agent sends in one cycle, HTTP/2 framing included."""
    tap = peers.Tap(sink.port)
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
            return measure.window(child.pid, scenario.interval, options.cycles, sink.points)
        finally:
            peers.stop(child)


def main():
    options = arguments()
    collector = peers.find_collector()
    if not collector:
        sys.exit("no Collector to send to: set OTELCOL=/path, or run tests/collector/build.sh")
    dynamic, static, floor_binary, place = build(options)
    agent, floor = peers.Agent("agent", dynamic), peers.Floor(floor_binary)
    everyone = [
        agent,
        peers.Agent("agent-static", static),
        peers.Collector("collector", collector, "otlp_grpc"),
        peers.Collector("collector-nop", collector, "nop"),
        peers.NodeExporter(peers.go_binary("NODE_EXPORTER", "node_exporter", "github.com/prometheus/node_exporter@latest", 600)),
        peers.Collectd(),
        peers.Telegraf(peers.telegraf(1200)),
        floor,
    ]
    chosen = [peer for peer in everyone if not options.peer or peer.name in options.peer or isinstance(peer, peers.Agent)]
    results = dict(
        machine=measure.machine(), rounds=options.rounds, cycles=options.cycles, interval_s=options.interval,
        load=[os.getloadavg()[0]], binaries={}, scenarios={},
    )
    for peer in chosen:
        if binary := getattr(peer, "binary", None):
            results["binaries"][peer.name] = Path(binary).stat().st_size if Path(binary).is_file() else None
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        sink = peers.Sink(collector, work)
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
    print(f"{scenario.name}: {', '.join(scenario.families)}", file=sys.stderr)
    if scenario.root:
        hosts.generate(scenario.root, **scenario.size)
    entry = dict(families=scenario.families, size=scenario.size, missing={}, rounds=[])
    results["scenarios"][scenario.name] = entry
    ours = [peer for peer in chosen if isinstance(peer, peers.Agent)]
    candidates = ours if scenario.tls else chosen
    for peer in candidates:
        if reason := peer.missing(scenario):
            entry["missing"][peer.name] = reason
    present = [peer for peer in candidates if peer.name not in entry["missing"]]
    movement = hosts.Movement(scenario.root, scenario.size, scenario.interval) if scenario.root else None
    try:
        if movement:
            movement.__enter__()
        if floor in present:
            floor.bytes[scenario.name] = entry["bytes"] = calibrate(agent, scenario, sink, work)
        for number in range(options.rounds):
            # Each round begins with another peer, so that no one is always measured after the same neighbour.
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
