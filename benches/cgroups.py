#!/usr/bin/env python3
"""Measures the cost of 60 services and 1,000 containers on a real kernel: benches/cgroups.py [BINARY...]

Creates the cgroups on this machine, which needs root and cgroup v2, or with --guest in the virtual machine of tests/guest. That machine
emulates its CPU, so only the ratio of two binaries is meaningful. Each binary runs with `--exporter console`.
Prints the CPU time of the reading thread per collection (median) and the resident memory, both minus those with the collector `load`
alone.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAKE = """
set -e
top=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
tree=$top/heka-bench.slice; root=/tmp/heka-bench-root
# Where version 1 has a controller, there are no files of it here.
on() { for each in cpu memory io pids; do ! grep -qw $each $1/cgroup.controllers || echo +$each > $1/cgroup.subtree_control; done; }
# One process each, as the uptime of a container needs it.
add() { mkdir $1; sh -c "echo \\$\\$ > $1/cgroup.procs; exec sleep 100000" > /dev/null 2>&1 & }
on $top; mkdir $tree; on $tree
mkdir $tree/system.slice $tree/kubepods.slice; on $tree/system.slice; on $tree/kubepods.slice
mkdir -p $root/sys/fs
for each in proc etc dev; do ln -s /$each $root/$each; done
for each in /sys/*; do [ $each = /sys/fs ] || ln -s $each $root/$each; done
ln -s $tree $root/sys/fs/cgroup
"""
SERVICES = """
i=0; while [ $i -lt {count} ]; do add $tree/system.slice/service-$i.service; i=$((i + 1)); done
"""
CONTAINERS = """
i=0; while [ $i -lt {count} ]; do
    id=$(printf %064x $i); pod=$tree/kubepods.slice/kubepods-pod$(printf %08x $i)_0000_0000_0000_000000000000.slice
    mkdir $pod; on $pod; add $pod/cri-containerd-$id.scope; i=$((i + 1))
done
"""
CLEAN = """
tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/heka-bench.slice
if [ -d $tree ]; then
    echo 1 > $tree/cgroup.kill; until grep -q 'populated 0' $tree/cgroup.events; do sleep 0.1; done
    find $tree -depth -type d -exec rmdir {} +
fi
rm -rf /tmp/heka-bench-root /tmp/heka-bench-out
"""
# Prints nanoseconds of the reading thread per collection, and resident kilobytes.
RUN = """
{agent} --exporter console --console-format json --collectors {collectors} --detail detailed --no-phase --interval {interval} \\
    --root-path /tmp/heka-bench-root > /tmp/heka-bench-out 2>/dev/null &
pid=$!
# Other threads encode and write.
spent() {{ sum=0; for task in /proc/$pid/task/*; do [ "$(cat $task/comm 2>/dev/null)" != read ] || sum=$((sum + $(cut -d' ' -f1 $task/schedstat))); done; echo $sum; }}
until [ $(wc -l < /tmp/heka-bench-out) -ge 3 ]; do sleep 0.1; done
i=0; while [ $i -lt {rounds} ]; do
    lines=$(wc -l < /tmp/heka-bench-out); before=$(spent); until [ $(wc -l < /tmp/heka-bench-out) -gt $lines ]; do sleep 0.05; done
    echo $((($(spent) - before) / ($(wc -l < /tmp/heka-bench-out) - lines))); i=$((i + 1))
done
sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/rss \\1/p' /proc/$pid/status
kill $pid; wait $pid 2>/dev/null || true
"""


def local(script):
    done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"benches/cgroups.py: failed: {script}")
    return done.stdout


def measure(run, agent, collectors, rounds, interval):
    lines = run(RUN.format(agent=agent, collectors=collectors, rounds=rounds, interval=interval)).split("\n")
    return statistics.median(int(line) for line in lines if line.isdigit()) / 1e6, next(int(line.split()[1]) for line in lines if line.startswith("rss"))


def bench(run, binaries, containers, *how):
    run(CLEAN)
    for name, collectors, script, count in (("services", "load,services", SERVICES, 60), ("containers", "load,containers", CONTAINERS, containers)):
        run(MAKE + script.format(count=count))
        try:
            for binary in binaries:
                none, some = (measure(run, binary, each, *how) for each in ("load", collectors))
                print(f"{pathlib.Path(binary).name}: {count} {name}: {some[0] - none[0]:.2f} ms to read, {(some[1] - none[1]) / 1024:.2f} MB", flush=True)
        finally:
            run(CLEAN)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="*", metavar="BINARY", default=[str(ROOT / "target/release/heka-insights-agent")])
    parser.add_argument("--guest", action="store_true", help="in the virtual machine of tests/guest")
    parser.add_argument("--rounds", type=int, default=20, help="collections for each figure")
    parser.add_argument("--containers", type=int, default=1000)
    arguments = parser.parse_args()
    if not arguments.guest:
        return bench(local, arguments.binaries, arguments.containers, arguments.rounds, "500ms")
    sys.path.append(str(ROOT / "tests/guest"))
    from machine import Machine
    programs = {f"agent{number}": binary for number, binary in enumerate(arguments.binaries)}
    with Machine(programs, [], cpus=2, memory=2048) as machine:
        bench(lambda script: machine.run(script, timeout=1200), [f"/programs/{name}" for name in programs], arguments.containers, arguments.rounds, "4s")


if __name__ == "__main__":
    main()
