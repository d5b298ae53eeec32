"""The measurements as tables: costs, ratios with their spread, and targets."""

import statistics


def spread(values, form="{:.2f}"):
    values = sorted(values)
    return " / ".join(form.format(v) for v in (values[0], statistics.median(values), values[-1]))


def series(entry, peer, field):
    return [r[peer][field] for r in entry["rounds"] if field in r.get(peer, {})]


def ratios(entry, ours, theirs, field="cpu_us"):
    """One ratio per round, of two programs that ran in the same round."""
    return [
        r[ours][field] / r[theirs][field]
        for r in entry["rounds"]
        if field in r.get(ours, {}) and r.get(theirs, {}).get(field)
    ]


# Scenario, description, program, program to compare with (None: an absolute value), field, maximum.
TARGETS = [
    ("live-all", "CPU per collection, every default collector", "agent", "collector", "cpu_us", 1 / 8),
    ("node", "CPU per scrape, node_exporter's names", "agent", "node_exporter", "cpu_us", 1 / 4),
    ("live", "CPU per collection, CPU, memory, paging, disks", "agent", "collector", "cpu_us", 1 / 3),
    ("c64-d32", "CPU per collection, 64 CPUs, 32 disks", "agent", "collector", "cpu_us", 1 / 4),
    ("c512-d1000", "CPU per collection, 512 CPUs, 1,000 disks", "agent", "collector", "cpu_us", 1 / 20),
    ("live-all", "Resident, every default collector", "agent-static", None, "rss_kb", 4.2 * 1024),
    ("node", "Resident, node_exporter's names", "agent-static", None, "rss_kb", 5.5 * 1024),
    ("node-600", "Resident, node_exporter's names, 600 series", "agent-static", None, "rss_kb", 5.5 * 1024),
    ("live-all", "Resident, every default collector", "agent", None, "rss_kb", 5.5 * 1024),
    ("tls", "Resident with a TLS session open", "agent-static", None, "rss_kb", 4.8 * 1024),
    ("c512-d1000", "Peak resident, 512 CPUs, 1,000 disks", "agent-static", None, "peak_kb", 12 * 1024),
]
BINARIES = {"agent-static": 6_500_000}


def ratio(value):
    return f"1/{1 / value:.1f}" if value < 1 else f"{value:.2f}×"


def targets(results):
    yield "| what | scenario | who | target | reached: min / median / max | |"
    yield "|---|---|---|---|---|---|"
    for scenario, what, who, of, field, most in TARGETS:
        entry = results["scenarios"].get(scenario)
        if not entry:
            continue
        values = ratios(entry, who, of, field) if of else series(entry, who, field)
        if not values:
            continue
        values.sort()
        three = (values[0], statistics.median(values), values[-1])
        form = ratio if of else (lambda kib: f"{kib / 1024:.1f} MB")
        met = "met" if three[1] <= most else "**not met**"
        against = f"{who} : {of}" if of else who
        yield f"| {what} | {scenario} | {against} | ≤ {form(most)} | {' / '.join(form(v) for v in three)} | {met} |"
    for who, size in results["binaries"].items():
        if size and (most := BINARIES.get(who)):
            met = "met" if size <= most else "**not met**"
            yield f"| Binary, stripped | any | {who} | ≤ {most / 1e6:.1f} MB | {size / 1e6:.2f} MB | {met} |"


def table(name, entry):
    size = entry["size"]
    host = "the live host" if not size else ", ".join(f"{n:,} {what}" for what, n in size.items())
    yield f"## {name}"
    yield ""
    yield f"{entry['about'][0].upper()}{entry['about'][1:]}. Collectors: {', '.join(entry['families']) or 'those on by default'}; {host}." + (f" The floor writes {entry['bytes']:,} bytes a cycle." if "bytes" in entry else "")
    yield ""
    yield "| | CPU µs a cycle: min / median / max | agent : it | wake-ups | resident MB | peak MB | threads | points |"
    yield "|---|---|---|---|---|---|---|---|"
    names = list(dict.fromkeys(peer for r in entry["rounds"] for peer in r))
    order = ["agent", "agent-static", "agent-silent", "collector", "collector-nop", "node_exporter", "collectd", "telegraf", "floor"]
    for peer in sorted(names, key=order.index):
        cpu = series(entry, peer, "cpu_us")
        if not cpu:
            continue
        median = lambda field: statistics.median(series(entry, peer, field))
        against = spread(ratios(entry, "agent", peer), "{:.3f}") if peer != "agent" else ""
        points = median("points")
        yield (
            f"| {peer} | {spread(cpu, '{:,.0f}')} | {against} | {median('wakeups'):.1f} | {median('rss_kb') / 1024:.2f} "
            f"| {max(series(entry, peer, 'peak_kb')) / 1024:.2f} | {median('threads'):.0f} | {f'{points:,.0f}' if points else ''} |"
        )
    for peer, reason in entry["missing"].items():
        yield f"| {peer} | not measured: {reason} | | | | | | |"
    if entry["lacks"]:
        yield ""
        yield "Without a part: " + "; ".join(f"{peer} has nothing for {', '.join(lacks)}" for peer, lacks in entry["lacks"].items()) + "."
    yield ""


def markdown(results):
    machine = results["machine"]
    lines = [
        f"# The agent beside its peers, {machine['time'][:10]}",
        "",
        f"Commit {machine['commit']}; {machine['compiler']}; {machine['cpus']} × {machine['cpu']}; Linux {machine['kernel']}; "
        f"load average {results['load'][0]:.1f} before, {results['load'][-1]:.1f} after. {results['rounds']} rounds; in each, every "
        f"program is started, warmed up and measured over {results['cycles']} cycles of {results['interval_s']:g} s, one at a time. A "
        "ratio is taken within a round. How to repeat it: [benches/README.md](../../README.md).",
        "",
        "Versions: " + "; ".join(f"{name} {version}" for name, version in results["versions"].items()) + ".",
        "",
        "## Targets",
        "",
        *targets(results),
        "",
        "Memory targets use 1 MB = 1,024 kB.",
        "",
    ]
    for name, entry in results["scenarios"].items():
        lines += table(name, entry)
    return "\n".join(lines)
