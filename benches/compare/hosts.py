"""Fixture hosts: a /proc, /sys and /etc of any size, and a thread that increments their counters.

    python3 benches/compare/hosts.py DIRECTORY --cpus 64 --disks 32 --interfaces 100 --processes 10000 --mounts 1

Every number has a fixed width, so that a rewritten file has the same length and a reader never sees half a file.
"""

import argparse
import os
import shutil
import threading
from pathlib import Path

# The sizes that a scenario can set.
SIZES = {
    "c2-d4": dict(cpus=2, disks=4, interfaces=2, processes=100),
    "c8-d9": dict(cpus=8, disks=9, interfaces=12, processes=100),
    "c64-d32": dict(cpus=64, disks=32, interfaces=100, processes=10_000),
    "c512-d1000": dict(cpus=512, disks=1_000, interfaces=100, processes=10_000),
}

MEMINFO = """\
MemTotal:       131900428 kB
MemFree:        41803544 kB
MemAvailable:   99413180 kB
Buffers:         2047380 kB
Cached:         52931840 kB
SwapCached:            0 kB
Active:         30721024 kB
Inactive:       46233448 kB
Active(anon):   20124560 kB
Inactive(anon):  2410928 kB
Active(file):   10596464 kB
Inactive(file): 43822520 kB
Unevictable:       29040 kB
Mlocked:           29040 kB
SwapTotal:       8388604 kB
SwapFree:        8388604 kB
Zswap:                 0 kB
Zswapped:              0 kB
Dirty:              1380 kB
Writeback:             0 kB
AnonPages:      21997112 kB
Mapped:          2113412 kB
Shmem:            560236 kB
KReclaimable:    5190364 kB
Slab:            7052924 kB
SReclaimable:    5190364 kB
SUnreclaim:      1862560 kB
KernelStack:       49184 kB
PageTables:       131864 kB
SecPageTables:         0 kB
NFS_Unstable:          0 kB
Bounce:                0 kB
WritebackTmp:          0 kB
CommitLimit:    74338816 kB
Committed_AS:   39481416 kB
VmallocTotal:   34359738367 kB
VmallocUsed:      491844 kB
VmallocChunk:          0 kB
Percpu:           371712 kB
HardwareCorrupted:     0 kB
AnonHugePages:   9105408 kB
ShmemHugePages:        0 kB
ShmemPmdMapped:        0 kB
FileHugePages:         0 kB
FilePmdMapped:         0 kB
HugePages_Total:       0
HugePages_Free:        0
HugePages_Rsvd:        0
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:               0 kB
DirectMap4k:     3146548 kB
DirectMap2M:    99301376 kB
DirectMap1G:    33554432 kB
"""

# As many lines as a 6.x kernel has; programs read only these few.
VMSTAT_NAMED = ["pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill"]
VMSTAT_LINES = 180


def stat(cpus, tick):
    def line(name, number):
        busy = 10_000_000 + 40 * tick + number
        idle = 90_000_000 + 60 * tick + number
        return f"{name} {busy} 1000000 {busy} {idle} 2000000 0 {3_000_000 + tick} 0 0 0\n"

    lines = [line("cpu ", 0)]
    lines += [line(f"cpu{number}", number) for number in range(cpus)]
    # A real host of 512 CPUs has thousands of interrupt columns, almost all zero.
    lines.append("intr 123456789012" + " 0" * (200 + 8 * cpus) + "\n")
    lines.append(f"ctxt {987654321000 + tick}\nbtime 1760000000\nprocesses {300000000 + tick}\n")
    lines.append("procs_running 2\nprocs_blocked 0\nsoftirq 55555555555 1 2 3 4 5 6 7 8 9 10\n")
    return "".join(lines)


def diskstats(disks, tick):
    def line(number):
        n = 1_000_000_000 + 10 * tick + number
        return (
            f"   8 {number:7} {disk_name(number)} {n} 1000000 {n + tick} {1_000_000 + tick} {n} 2000000 {n + tick} "
            f"{2_000_000 + tick} 0 {3_000_000 + tick} {4_000_000 + tick} 0 0 0 0 0 0\n"
        )

    return "".join(line(number) for number in range(disks))


def disk_name(number):
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return "sd" + letters


def vmstat(tick):
    lines = [f"{name} {5_000_000_000 + tick}\n" for name in VMSTAT_NAMED]
    lines += [f"nr_other_thing_{number} {number * 1000}\n" for number in range(VMSTAT_LINES - len(lines))]
    return "".join(lines)


def netdev(interfaces, tick):
    head = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
    )
    def line(number):
        n = 7_000_000_000 + 1000 * tick + number
        return f"{'eth' + str(number):>8}: {n} {n} 0 0 0 0 0 0 {n} {n} 0 0 0 0 0 0\n"

    return head + "".join(line(number) for number in range(interfaces))


# As many lines as a 6.x kernel has.
MEMORY_STAT = {"anon": 104857600, "file": 52428800, "inactive_file": 10485760, "pgfault": 123456789, "pgmajfault": 4321}
MEMORY_STAT_LINES = 52


def cgroup(number):
    """The files of a cgroup that the agent reads."""
    memory = [f"{name} {value + number}\n" for name, value in MEMORY_STAT.items()]
    memory = [f"other_thing_{line} {line * 1000}\n" for line in range(MEMORY_STAT_LINES - len(memory))] + memory
    pressure = "".join(f"{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={1234567 + number}\n" for kind in ("some", "full"))
    return {
        "cpu.stat": f"usage_usec {9000000 + number}\nuser_usec {6000000 + number}\nsystem_usec 3000000\nnr_periods 10\nnr_throttled 1\nthrottled_usec 5000\nnr_bursts 0\nburst_usec 0\n",
        "memory.current": f"{157286400 + number}\n",
        "memory.stat": "".join(memory),
        "memory.events": "low 0\nhigh 0\nmax 0\noom 1\noom_kill 1\noom_group_kill 0\n",
        "pids.current": "7\n",
        "io.stat": "8:0 rbytes=1234567 wbytes=7654321 rios=100 wios=200 dbytes=0 dios=0\n",
        "cgroup.procs": "1\n",
        "cpu.pressure": pressure, "memory.pressure": pressure, "io.pressure": pressure,
    }


def generate(root, cpus, disks, interfaces, processes, mounts=1, containers=0, services=0):
    """Writes the host below `root`, unless a host of this size is already there."""
    stamp, want = root / ".size", f"5 {cpus} {disks} {interfaces} {processes} {mounts} {containers} {services}"
    if stamp.is_file() and stamp.read_text() == want:
        return
    shutil.rmtree(root, ignore_errors=True)
    proc, sys, etc = root / "proc", root / "sys", root / "etc"

    def put(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    put(proc / "stat", stat(cpus, 0))
    put(proc / "diskstats", diskstats(disks, 0))
    put(proc / "meminfo", MEMINFO)
    put(proc / "vmstat", vmstat(0))
    put(proc / "swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2 partition\t8388604\t\t0\t\t-2\n")
    put(proc / "loadavg", "0.52 0.58 0.59 2/1234 56789\n")
    put(proc / "uptime", "350735.47 234388.90\n")
    put(proc / "cpuinfo", "".join(f"processor\t: {n}\nvendor_id\t: x\nphysical id\t: 0\ncore id\t\t: {n}\ncpu cores\t: {cpus}\ncpu MHz\t\t: 2400.000\n\n" for n in range(cpus)))
    for resource in ("cpu", "io", "memory"):
        put(proc / "pressure" / resource, "".join(f"{kind} avg10=0.00 avg60=0.00 avg300=0.00 total=1234567\n" for kind in ("some", "full")))
    put(proc / "net/dev", netdev(interfaces, 0))
    put(proc / "1/net/dev", netdev(interfaces, 0))
    put(proc / "net/sockstat", "sockets: used 290\nTCP: inuse 10 orphan 0 tw 0 alloc 12 mem 1\n")
    table = "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n22 21 0:20 / /proc rw - proc proc rw\n23 21 0:21 / /sys rw - sysfs sysfs rw\n"
    # Mounts other than the root are only parsed: their mount points do not exist.
    table += "".join(f"{22 + number} 21 8:{number} / /mnt/{number} rw,relatime - ext4 /dev/sdb{number} rw\n" for number in range(2, mounts + 1))
    put(proc / "1/mountinfo", table)
    put(proc / "self/mountinfo", table + "24 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")
    put(proc / "1/mounts", "/dev/sda1 / ext4 rw,relatime 0 0\n")
    put(proc / "mounts", "/dev/sda1 / ext4 rw,relatime 0 0\n")
    put(proc / "self/mounts", "/dev/sda1 / ext4 rw,relatime 0 0\n")
    put(proc / "filesystems", "nodev\tsysfs\nnodev\tproc\n\text4\n")
    for pid in range(1, processes + 1):
        state = "S" if pid % 50 else "R"
        put(proc / f"{pid}/stat", f"{pid} (worker-{pid % 7}) {state} 1 {pid} {pid} 0 -1 4194560 {'1234 ' * 8}20 0 1 0 {pid} 10000000 500 18446744073709551615 {'0 ' * 26}0\n")
    (sys / "block").mkdir(parents=True)
    for number in range(disks):
        name = disk_name(number)
        place = sys / f"devices/pci0000:00/0000:00:1f.2/host{number}/block/{name}"
        put(place / "size", "7814037168\n")
        put(place / "hidden", "0\n")
        put(place / "dev", f"8:{number}\n")
        put(place / "queue/logical_block_size", "512\n")
        (sys / "block" / name).symlink_to(f"../devices/pci0000:00/0000:00:1f.2/host{number}/block/{name}")
    for number in range(cpus):
        put(sys / f"devices/system/cpu/cpu{number}/topology/core_id", f"{number}\n")
        put(sys / f"devices/system/cpu/cpu{number}/topology/physical_package_id", "0\n")
        put(sys / f"devices/system/cpu/cpu{number}/topology/thread_siblings_list", f"{number}\n")
    put(sys / "devices/system/cpu/online", f"0-{cpus - 1}\n")
    for number in range(interfaces):
        place = sys / f"devices/pci0000:00/0000:00:03.0/net/eth{number}"
        put(place / "type", "1\n")
        put(place / "operstate", "up\n")
        (sys / "class/net").mkdir(parents=True, exist_ok=True)
        (sys / f"class/net/eth{number}").symlink_to(f"../../devices/pci0000:00/0000:00:03.0/net/eth{number}")
    cgroups = [f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{number:08x}_0000_0000_0000_000000000000.slice/cri-containerd-{number:064x}.scope" for number in range(containers)]
    cgroups += [f"system.slice/service-{number}.service" for number in range(services)]
    for number, path in enumerate(cgroups):
        put(sys / "fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
        for name, text in cgroup(number).items():
            put(sys / "fs/cgroup" / path / name, text)
        for name in ("memory.events", "memory.events.local"):
            put(sys / "fs/cgroup" / path.split("/")[0] / name, "oom 0\noom_kill 0\n")
    (sys / "dev/block").mkdir(parents=True)
    for number in range(disks):
        (sys / f"dev/block/8:{number}").symlink_to(f"../../block/{disk_name(number)}")
    put(etc / "hostname", "fixture\n")
    put(etc / "machine-id", "0123456789abcdef0123456789abcdef\n")
    put(etc / "os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    stamp.write_text(want)


class Movement:
    """Increments the counters of a fixture host while it is measured: without CPU time there is no utilization to report."""

    def __init__(self, root, size, interval):
        self.root, self.size, self.interval = Path(root), size, interval
        self.tick, self.end = 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def run(self):
        files = {
            "proc/stat": lambda: stat(self.size["cpus"], self.tick),
            "proc/diskstats": lambda: diskstats(self.size["disks"], self.tick),
            "proc/vmstat": lambda: vmstat(self.tick),
            "proc/net/dev": lambda: netdev(self.size["interfaces"], self.tick),
            "proc/1/net/dev": lambda: netdev(self.size["interfaces"], self.tick),
        }
        while not self.end.wait(self.interval):
            self.tick += 1
            for name, text in files.items():
                with open(self.root / name, "r+b", buffering=0) as file:
                    os.pwrite(file.fileno(), text().encode(), 0)


def main():
    parser = argparse.ArgumentParser(prog="benches/compare/hosts.py", description="Writes a fixture host.")
    parser.add_argument("root", type=Path)
    for name in ("cpus", "disks", "interfaces", "processes", "mounts"):
        parser.add_argument(f"--{name}", type=int, default=1)
    for name in ("containers", "services"):
        parser.add_argument(f"--{name}", type=int, default=0)
    generate(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
