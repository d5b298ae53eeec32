"""The cost of a process: CPU time from its threads' schedstat, memory and context switches from their status."""

import os
import platform
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def cpu_ns(pid):
    """Total CPU time of all threads, in nanoseconds."""
    return sum(thread_times(pid).values())


def thread_times(pid):
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            times[task.name] = int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return times


def process_clock_ns(pid):
    """The same from the kernel's clock of the process, which includes threads that have ended."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def status(pid):
    """Resident and peak resident kB, number of threads, and context switches of all threads."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    kib = lambda name: int(fields[name].split()[0])
    switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    switches += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return dict(rss=kib("VmRSS"), peak=kib("VmHWM"), threads=kib("Threads"), descriptors=descriptors, wakeups=switches)


def wait_for_quiet(pid, interval):
    """Waits until halfway between two cycles, so that a window of whole intervals contains whole cycles."""
    step = 0.01
    times, end = [], time.monotonic() + interval
    before = process_clock_ns(pid)
    while time.monotonic() < end:
        time.sleep(step)
        now = process_clock_ns(pid)
        times.append((now - before, time.monotonic()))
        before = now
    busiest = max(times)[1]
    target = busiest + interval / 2
    while target < time.monotonic():
        target += interval
    time.sleep(target - time.monotonic())


def window(pid, interval, cycles, points):
    """CPU time per cycle over `cycles` whole intervals, and memory and threads afterwards. `points` counts data points."""
    wait_for_quiet(pid, interval)
    taken = points()
    start, clock, threads, before = time.monotonic(), process_clock_ns(pid), thread_times(pid), status(pid)
    time.sleep(interval * cycles)
    clock_after, threads_after = process_clock_ns(pid), thread_times(pid)
    took, after = time.monotonic() - start, status(pid)
    passed = took / interval
    by_schedstat = sum(ns - threads.get(name, 0) for name, ns in threads_after.items())
    return dict(
        cpu_us=(clock_after - clock) / passed / 1000,
        schedstat_us=by_schedstat / passed / 1000,
        wakeups=(after["wakeups"] - before["wakeups"]) / passed,
        rss_kb=after["rss"],
        peak_kb=after["peak"],
        threads=after["threads"],
        descriptors=after["descriptors"],
        points=round((points() - taken) / passed),
    )


def machine():
    """The machine and the compiler of a run."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    git = lambda *args: subprocess.run(["git", *args], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    return dict(
        cpu=model, cpus=os.cpu_count(), kernel=platform.release(), time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        compiler=subprocess.check_output(["rustc", "--version"], text=True).strip(),
        commit=git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain", "-uno") else ""),
    )
