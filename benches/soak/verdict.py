"""Compares two windows of whole restart cycles, one after the first ten minutes and one at the end."""

import re
import statistics

# Minimum and maximum number of cycles before the first window. After the start, the agent releases code pages. Pages of code that is
# seldom used, such as that for a failed connection, are mapped at the first use.
SETTLING, SETTLING_MOST = 2, 10
GROWTH_MOST = 0.05


def log(text):
    """The relevant lines of the agent's log."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
    again = [line for line in lines if "delivering to" in line]
    return dict(
        errors=[line for line in lines if " ERROR " in f" {line} "],
        outages=sum("cannot deliver" in line for line in lines),
        recoveries=len(again),
        with_loss=[line for line in again if "none lost" not in line],
    )


def windows(results):
    samples = results["samples"]
    cycles = samples[-1]["cycle"] + 1
    settling = min(SETTLING_MOST, max(SETTLING, cycles // 6))
    length = max(1, min(3, (cycles - settling) // 2))
    return [summary(results, first, length) for first in (settling, cycles - length)]


def summary(results, first, length):
    inside = [sample for sample in results["samples"] if first <= sample["cycle"] < first + length]
    steady = [sample for sample in inside if sample["phase"] == "steady"]
    took = inside[-1]["t"] - inside[0]["t"]
    spread = lambda values: dict(low=min(values), median=statistics.median(values), high=max(values))
    field = lambda which, name: spread([sample[name] for sample in which])
    return dict(
        minutes=[first * results["cycle_s"] / 60, (first + length) * results["cycle_s"] / 60],
        rss_kb=field(inside, "rss_kb"), peak_kb=inside[-1]["peak_kb"],
        descriptors=field(steady, "descriptors"), descriptors_all=field(inside, "descriptors"),
        threads=field(steady, "threads"), threads_all=field(inside, "threads"),
        cpu_us=(inside[-1]["cpu_ns"] - inside[0]["cpu_ns"]) / (took / results["interval_s"]) / 1000,
    )


def growth(results):
    first, last = results["windows"]
    return last["rss_kb"]["median"] / first["rss_kb"]["median"] - 1


def failures(results):
    first, last = results["windows"]
    found = []
    if growth(results) > GROWTH_MOST:
        found.append(f"resident size grew by {growth(results):.1%}, more than {GROWTH_MOST:.0%}")
    for what in ("descriptors", "threads"):
        if first[what]["median"] != last[what]["median"]:
            found.append(f"{what}: {first[what]['median']:g} became {last[what]['median']:g}")
    arrived, said = results["arrived"], results["log"]
    if not arrived["collections"]:
        found.append("nothing arrived")
    if arrived["missing"]:
        found.append(f"{len(arrived['missing'])} holes in what arrived, the first before {arrived['missing'][0]} ns")
    if said["errors"]:
        found.append(f"{len(said['errors'])} ERROR lines, the first: {said['errors'][0]}")
    if said["with_loss"]:
        found.append(f"a recovery with loss: {said['with_loss'][0]}")
    if not said["recoveries"]:
        found.append("the agent never said that it delivers again: were there restarts?")
    if results["exit_code"] != 0:
        found.append(f"the agent ended with {results['exit_code']}")
    return found


def markdown(results):
    machine, arrived, said = results["machine"], results["arrived"], results["log"]
    first, last = results["windows"]
    span = lambda window: f"minutes {window['minutes'][0]:g} to {window['minutes'][1]:g}"
    three = lambda values, form="{:,.0f}": " / ".join(form.format(values[key]) for key in ("low", "median", "high"))
    megabytes = lambda values: three({key: kib / 1024 for key, kib in values.items()}, "{:.2f}")
    rows = [
        ("resident MB: low / median / high", megabytes(first["rss_kb"]), megabytes(last["rss_kb"]), f"{growth(results):+.1%}"),
        ("peak resident MB so far", f"{first['peak_kb'] / 1024:.2f}", f"{last['peak_kb'] / 1024:.2f}", ""),
        ("descriptors, steady", three(first["descriptors"]), three(last["descriptors"]), ""),
        ("descriptors, whole cycle", three(first["descriptors_all"]), three(last["descriptors_all"]), ""),
        ("threads, steady", three(first["threads"]), three(last["threads"]), ""),
        ("threads, whole cycle", three(first["threads_all"]), three(last["threads_all"]), ""),
        ("CPU µs a collection, outages included", f"{first['cpu_us']:,.0f}", f"{last['cpu_us']:,.0f}", ""),
    ]
    binary = results["binary"]
    which = f"a given binary of {binary['bytes']:,} bytes" if binary["given"] else "the release build"
    verdict = "Passed." if not results["failures"] else "**Failed**: " + "; ".join(results["failures"]) + "."
    return "\n".join([
        f"# A long run against a Collector that keeps restarting, {machine['time'][:10]}",
        "",
        f"Commit {machine['commit']}; {machine['compiler']}; {machine['cpus']} × {machine['cpu']}; Linux {machine['kernel']}. "
        f"The agent is {which}{''.join(f' {more}' for more in binary['arguments'])}. {results['minutes']:g} minutes at {results['interval_s']:g} s; the Collector starts every {results['cycle_s']:g} s and is away for "
        f"the last {results['away_s']:g} s of them. How to repeat it: [benches/README.md](../../README.md).",
        "",
        f"| | {span(first)} | {span(last)} | change |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"{arrived['collections']:,} collections arrived ({arrived['by_the_clock']:,} by the clock), {len(arrived['missing'])} did not, "
        f"{arrived['twice']} came twice. The log tells of {said['outages']} outages and {said['recoveries']} recoveries, "
        f"{len(said['with_loss'])} of them with loss, and has {len(said['errors'])} ERROR lines.",
        "",
        verdict,
        "",
    ])
