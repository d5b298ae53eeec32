"""Runs the agent for a long time against a real Collector that is restarted every minute, and reports whether its memory grew.

    python3 benches/soak                          an hour at 100 ms
    python3 benches/soak --minutes 5 --dry        a short run that is not recorded
    python3 benches/soak --binary PATH            another build

Fails if resident memory grew by more than 5 % between the first ten minutes and the end, if the number of descriptors or threads
differs, if a collection did not arrive, or if the agent's log has an ERROR line. See benches/README.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "compare"))

import arrival
import install
import measure
import peers
import verdict


def arguments():
    parser = argparse.ArgumentParser(prog="benches/soak")
    parser.add_argument("--binary", type=Path, help="the agent (default: the release build, built first)")
    parser.add_argument("--name", default=time.strftime("%Y-%m-%d"), help="name of the directory below benches/runs (default: today)")
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between collections (default: 0.1)")
    parser.add_argument("--cycle", type=float, default=60, help="seconds from one start of the Collector to the next (default: 60)")
    parser.add_argument("--away", type=float, default=5, help="seconds of each cycle without a Collector (default: 5)")
    parser.add_argument("--sample", type=float, default=2, help="seconds between two looks at the agent (default: 2)")
    parser.add_argument("--agent-argument", action="append", default=[], metavar="ARGUMENT", help="one more argument for the agent; repeat for more")
    parser.add_argument("--dry", action="store_true", help="print, do not write benches/runs")
    options = parser.parse_args()
    options.cycles = int(options.minutes * 60 // options.cycle)
    if options.cycles < verdict.SETTLING + 2:
        sys.exit(f"--minutes {options.minutes:g}: at least {verdict.SETTLING + 2} cycles of {options.cycle:g} s")
    options.given = options.binary is not None
    if not options.given:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=peers.REPOSITORY, check=True)
        target = Path(os.environ.get("CARGO_TARGET_DIR") or peers.REPOSITORY / "target")
        options.binary = target / "release/heka-insights-agent"
    options.binary = options.binary.resolve()
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"--binary {options.binary}: no program")
    return options


def start_agent(options, collector, log):
    command = [
        options.binary, "--interval", f"{round(options.interval * 1000)}ms", "--no-phase", "--log-level", "info",
        "--endpoint", f"http://127.0.0.1:{collector.port}", *options.agent_argument,
    ]
    return peers.start(command, log)


def look(child, began):
    """One sample of the agent."""
    now = measure.status(child.pid)
    return dict(
        t=round(time.monotonic() - began, 2), rss_kb=now["rss"], peak_kb=now["peak"], threads=now["threads"],
        descriptors=now["descriptors"], cpu_ns=measure.process_clock_ns(child.pid),
    )


def cycle(number, child, collector, options, began):
    """One run of the Collector and the outage after it. Returns the samples of this time."""
    samples, begin = [], began + number * options.cycle
    stop_at, end = begin + options.cycle - options.away, begin + options.cycle
    next_look = max(begin, time.monotonic())
    while (now := time.monotonic()) < end:
        if child.poll() is not None:
            sys.exit(f"the agent ended with {child.returncode}")
        if collector.running and now >= stop_at:
            collector.stop()
            continue
        if now >= next_look:
            # Right after its start the Collector receives the undelivered batches; this is not the steady phase.
            phase = "away" if not collector.running else "steady" if now >= began + collector_steady(number, options) else "catching up"
            samples.append(dict(look(child, began), cycle=number, phase=phase))
            next_look += options.sample
        due = min(next_look, end, stop_at if collector.running else end)
        time.sleep(max(0, due - time.monotonic()))
    return samples


def collector_steady(number, options):
    return number * options.cycle + (options.cycle - options.away) / 3


def main():
    options = arguments()
    binary = install.collector()
    if not binary:
        sys.exit("no Collector to send to: set OTELCOL=/path, or run tests/collector/build.sh")
    machine = measure.machine()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        collector = arrival.Collector(binary, work)
        with open(work / "agent.log", "w") as log:
            collector.start()
            child = start_agent(options, collector, log)
            samples, began = [], time.monotonic()
            try:
                for number in range(options.cycles):
                    if number:
                        collector.start()
                    samples += cycle(number, child, collector, options, began)
                    collector.take()
                    last = samples[-1]
                    print(
                        f"{number + 1:4} of {options.cycles}: {last['rss_kb']} kB, peak {last['peak_kb']} kB, {last['descriptors']} "
                        f"descriptors, {last['threads']} threads, {collector.arrived} collections arrived", file=sys.stderr, flush=True,
                    )
                collector.start()
                time.sleep(options.away + 1)
                took = time.monotonic() - began
                child.terminate()
                code = child.wait(30)
            finally:
                peers.stop(child)
                collector.stop()
            collector.take()
        results = dict(
            machine=machine, binary=dict(given=options.given, bytes=options.binary.stat().st_size, arguments=options.agent_argument),
            minutes=options.minutes, interval_s=options.interval, cycle_s=options.cycle, away_s=options.away,
            exit_code=code, arrived=collector.summary(expected=round(took / options.interval)),
            log=verdict.log((work / "agent.log").read_text()), samples=samples,
        )
    results["windows"] = verdict.windows(results)
    results["failures"] = verdict.failures(results)
    text = verdict.markdown(results)
    print(text)
    if not options.dry:
        run = peers.REPOSITORY / "benches/runs" / options.name
        run.mkdir(parents=True, exist_ok=True)
        (run / "soak.json").write_text(json.dumps(results) + "\n")
        (run / "soak.md").write_text(text)
    sys.exit(1 if results["failures"] else 0)


main()
