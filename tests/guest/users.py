"""The checks of who uses the machine: services, containers and processes, in cgroups made by hand as systemd and the runtimes make them.

The agent has to report what the kernel's files have, within 5 %.
"""

from agent import Agent
from checks import between

TOLERANCE = 0.05
LEGACY = ("cpu,cpuacct", "memory", "pids")

UID = "0f1e2d3c-aaaa-bbbb-cccc-00000000000{}"
IDS = {name: digit * 64 for name, digit in zip(("docker", "nested", "systemd", "cgroupfs", "crio", "podman"), "123456")}
# The path of each container, and its attributes beside the id.
CONTAINERS = {
    "docker": (f"system.slice/docker-{IDS['docker']}.scope", {"container.runtime.name": "docker"}),
    "systemd": (f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.format(1).replace('-', '_')}.slice/cri-containerd-{IDS['systemd']}.scope",
                {"container.runtime.name": "containerd", "k8s.pod.uid": UID.format(1), "k8s.pod.qos_class": "Burstable"}),
    "cgroupfs": (f"kubepods/besteffort/pod{UID.format(2)}/{IDS['cgroupfs']}",
                 {"k8s.pod.uid": UID.format(2), "k8s.pod.qos_class": "BestEffort"}),
    "crio": (f"kubepods.slice/kubepods-pod{UID.format(3).replace('-', '_')}.slice/crio-{IDS['crio']}.scope",
             {"container.runtime.name": "cri-o", "k8s.pod.uid": UID.format(3), "k8s.pod.qos_class": "Guaranteed"}),
    "podman": (f"machine.slice/libpod-{IDS['podman']}.scope", {"container.runtime.name": "podman"}),
}
SERVICE = "system.slice/web.service"
# A container in a container: a part of the outer one.
NESTED = f"{CONTAINERS['docker'][0]}/docker/{IDS['nested']}"
# busy CGROUPS SECONDS: in these cgroups for so long.
BUSY = """mkdir -p /run/jobs; cat > /run/jobs/busy <<'END'
for each in $1; do echo $$ > $each/cgroup.procs; done
read -r up rest < /proc/uptime; end=$((${up%.*} + $2))
while read -r up rest < /proc/uptime; [ ${up%.*} -lt $end ]; do :; done
END
"""


def near(value, expected, title):
    assert value is not None and abs(value - expected) <= TOLERANCE * expected, f"{title} is {value}, and {expected} is what was done"


def of_kernel(machine, file, key=None):
    text = machine.run(f"cat {file}")
    return int(dict(line.split() for line in text.splitlines())[key] if key else text)


class Tree:
    """The cgroups, with all controllers, for as long as the context lasts."""

    def __init__(self, machine, root="/sys/fs/cgroup"):
        self.machine, self.root = machine, root
        self.paths = [SERVICE, *(path for path, _ in CONTAINERS.values())]

    def __enter__(self):
        self.machine.run(f"""
            set -e; cd {self.root}
            for path in {' '.join(self.paths)}; do
                echo '+cpu +memory +pids +io' > cgroup.subtree_control; parent=.
                for part in $(dirname $path | tr / ' '); do
                    parent=$parent/$part; mkdir -p $parent; echo '+cpu +memory +pids +io' > $parent/cgroup.subtree_control
                done
                mkdir $path
            done
            mkdir -p {NESTED}
            {BUSY}""")
        return self

    def __exit__(self, *_):
        # A cgroup whose processes are just gone is busy for a moment.
        self.machine.run(f"""cd {self.root}
            for tries in 1 2 3 4 5 6 7 8 9 10; do
                left=$(find . -mindepth 2 -name cgroup.procs | sed 's#/cgroup.procs##' | sort -r); [ -n "$left" ] || break
                for each in $left; do [ "$tries" = 1 ] && kill -9 $(cat $each/cgroup.procs) 2>/dev/null; rmdir $each; done 2>/dev/null; usleep 50000
            done
            echo '-cpu -memory -pids -io' > cgroup.subtree_control; [ -z "$left" ]""")

    def busy(self, paths, seconds):
        self.machine.run("\n".join(f"sh /run/jobs/busy {self.root}/{path} {seconds} &" for path in paths) + "\nwait")

    def cpu(self, path):
        """Seconds that the cgroup used, for which it was throttled, and in which a task of it waited for a CPU."""
        waited = int(self.machine.run(f"sed -n 's/^some.*total=//p' {self.root}/{path}/cpu.pressure"))
        return [of_kernel(self.machine, f"{self.root}/{path}/cpu.stat", key) / 1e6 for key in ("usage_usec", "throttled_usec")] + [waited / 1e6]


def cpu_limits(machine):
    """CPU time, throttled time and CPU pressure of a service and of containers of five runtimes, one with a container in it"""
    with Tree(machine) as tree:
        machine.run("\n".join(f"echo 25000 100000 > {tree.root}/{path}/cpu.max" for path in tree.paths))
        tree.busy([*tree.paths, NESTED], 1)  # a cgroup that used nothing yet has no first reading
        with Agent(machine, "containers,services", "--detail detailed") as agent:
            before, first = {path: tree.cpu(path) for path in tree.paths}, agent.next()[-1]
            tree.busy([*tree.paths, NESTED], 4)
            after, last = {path: tree.cpu(path) for path in tree.paths}, agent.next()[-1]
        done = {path: [end - start for start, end in zip(before[path], after[path])] for path in tree.paths}
        for name, (path, identity) in CONTAINERS.items():
            for expected, metric in zip(done[path], ("time", "linux.throttled_time")):
                start, end = (cycle.sum(f"container.cpu.{metric}", container_id=IDS[name]) for cycle in (first, last))
                near(end - start, expected, f"{name}'s container.cpu.{metric}")
                assert expected > 0.5, f"{name}'s container.cpu.{metric} is {expected} s only"
            [(attributes, _)] = last.series("container.memory.usage", container_id=IDS[name])
            assert attributes == {"container.id": IDS[name], **identity}, attributes
        assert len(last.series("container.memory.usage")) == len(CONTAINERS), "the container in a container is counted apart"
        start, end = (cycle.sum("systemd.service.cpu.time", systemd_unit_name="web.service") for cycle in (first, last))
        near(end - start, done[SERVICE][0], "web.service's CPU time")
        waits = {"systemd_unit_name": "web.service", "system_pressure_resource": "cpu", "system_pressure_type": "some"}
        start, end = (cycle.value("systemd.service.pressure.time", **waits) for cycle in (first, last))
        near(end - start, done[SERVICE][2], "web.service's CPU pressure")
        assert done[SERVICE][2] > 0.5, f"web.service waited {done[SERVICE][2]} s only"
        names = {attributes["systemd.unit.name"] for attributes, _ in last.series("systemd.service.memory.usage")}
        assert "web.service" in names and not any("docker" in name for name in names), names
        used, throttled, _ = (sum(each) for each in zip(*done.values()))
        return f"{used:.2f} s used, {throttled:.2f} s throttled"


def open_files(machine):
    """The files of a container that stay open: its controller goes and returns, and another container has its path"""
    path = CONTAINERS["podman"][0]
    with Tree(machine) as tree, Agent(machine, "containers", "--detail detailed") as agent:
        place, controllers = f"{tree.root}/{path}", f"{tree.root}/{path.split('/')[0]}/cgroup.subtree_control"

        def expect(tasks, usage_is_known):
            def read(cycle):
                tasks, usage = (cycle.value(f"container.{metric}", container_id=IDS["podman"]) for metric in ("linux.tasks", "memory.usage"))
                return tasks, usage is not None
            agent.expect(read, (tasks, usage_is_known))
            return int(machine.run(f"ls -l /proc/{agent.pid}/fd | grep -c {IDS['podman']} || true"))

        def tasks(number):
            machine.run(f"for each in $(seq {number}); do (echo 0 > {place}/cgroup.procs; exec sleep 1000) >/dev/null 2>&1 & done")

        tasks(3)
        opened = expect(3, True)
        assert opened >= 4, f"{opened} files are open"
        machine.run(f"echo -pids > {controllers}")
        expect(None, True)
        machine.run(f"echo '+pids -memory' > {controllers}")
        expect(3, False)
        machine.run(f"echo +memory > {controllers}")
        assert expect(3, True) == opened
        machine.run(f"kill -9 $(cat {place}/cgroup.procs)")
        machine.wait(f"rmdir {place} 2>/dev/null && mkdir {place}")
        tasks(2)
        assert expect(2, True) == opened
        machine.run(f"kill -9 $(cat {place}/cgroup.procs)")
        machine.wait(f"rmdir {place} 2>/dev/null")
        assert expect(None, False) == 0
        return f"{opened} files"


def memory_and_disk(machine):
    """Memory, tasks, page faults, kills for lack of memory and bytes on a disk, of a service and of a container"""
    machine.run("modprobe sd_mod; modprobe scsi_debug dev_size_mb=64 num_tgts=1")
    machine.wait("[ -b /dev/sda ]")
    container = CONTAINERS["cgroupfs"][0]
    hold, write, written = 16 << 20, 8, 8 << 20
    with Tree(machine) as tree:
        places = {"web": f"{tree.root}/{SERVICE}", "box": f"{tree.root}/{container}"}
        for path in places.values():
            # `tail` keeps all that it was given until the end of its input.
            machine.run(f"""(echo 0 > {path}/cgroup.procs; (head -c {hold} /dev/zero; exec sleep 1000) | tail -c {hold} >/dev/null) &
                until grep -q sleep $(sed 's#.*#/proc/&/comm#' {path}/cgroup.procs); do usleep 20000; done 2>/dev/null
                echo 40M > {path}/memory.max""", timeout=120)
        def faults():
            all_of_them, major = (of_kernel(machine, f"{places['box']}/memory.stat", key) for key in ("pgfault", "pgmajfault"))
            return all_of_them - major

        def minor(cycle):
            return cycle.value("container.paging.faults", container_id=IDS["cgroupfs"], system_paging_fault_type="minor")

        with Agent(machine, "containers,services", "--detail detailed") as agent:
            # Nothing runs in the container between its jobs, so these are the numbers that the agent reads first and last.
            before, first = faults(), agent.next()[-1]
            for path in places.values():
                machine.run(f"""(echo 0 > {path}/cgroup.procs; exec dd if=/dev/zero of=/dev/sda bs=1M count={write} oflag=direct)
                    (echo 0 > {path}/cgroup.procs; exec dd if=/dev/sda of=/dev/null bs=1M count={write} iflag=direct)
                    (echo 0 > {path}/cgroup.procs; exec tail /dev/zero) && exit 1; true""")
            last = agent.next()[-1]
        values = {
            "web": {what: last.value(f"systemd.service.{metric}", systemd_unit_name="web.service", **more) for what, (metric, _, more) in METRICS.items()},
            "box": {what: last.value(f"container.{metric}", container_id=IDS["cgroupfs"], **more) for what, (_, metric, more) in METRICS.items()}}
        for name, path in places.items():
            found = values[name]
            near(found["memory"], of_kernel(machine, f"{path}/memory.current"), f"{name}'s memory")
            assert found["tasks"] == of_kernel(machine, f"{path}/pids.current") == 3, f"{name} has {found['tasks']} tasks"
            assert found["kills"] == of_kernel(machine, f"{path}/memory.events", "oom_kill") == 1, f"{name} has {found['kills']} kills"
            near(found["read"], written, f"{name}'s bytes read")
            near(found["written"], written, f"{name}'s bytes written")
        near(minor(last) - minor(first), faults() - before, "the container's minor page faults")
        assert faults() - before > 1000, f"the container had {faults() - before} page faults only"
        resident = sum(int(machine.run(f"sed -n 's/^RssAnon:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status") or 0) << 10 for pid in machine.run(f"cat {places['box']}/cgroup.procs").split())
        near(last.value("container.memory.rss", container_id=IDS["cgroupfs"]), resident, "the container's anonymous memory")
        near(last.value("container.memory.working_set", container_id=IDS["cgroupfs"]), hold, "the container's working set")
        first = int(machine.run(f"head -n 1 {places['box']}/cgroup.procs"))
        age = machine.uptime() - int(machine.run(f"cut -d' ' -f22 /proc/{first}/stat")) / 100
        between(age * 0.8, last.value("container.uptime", container_id=IDS["cgroupfs"]), age, "the container's uptime")
    machine.run("rmmod scsi_debug")
    return f"{values['box']}"


# What is compared: the name of a service's metric and of a container's, and the attributes of the series.
METRICS = {
    "memory": ("memory.usage", "memory.usage", {}),
    "tasks": ("tasks", "linux.tasks", {}),
    "kills": ("oom_kills", "memory.linux.oom_kills", {}),
    "read": ("disk.io", "disk.io", {"disk_io_direction": "read"}),
    "written": ("disk.io", "disk.io", {"disk_io_direction": "write"}),
}


def top_processes(machine):
    """The largest processes: CPU time, memory, threads, owner and cgroup, and one that ends"""
    # Large enough to be among the largest before and after it is busy, so that its total can be compared at rest.
    machine.run(f"""{BUSY}
        mkfifo /run/jobs/start
        (x=$(head -c 4000000 /dev/zero | tr '\\0' x); read -r line < /run/jobs/start; set -- "" 4; . /run/jobs/busy; read -r line < /run/jobs/start) &
        echo $! > /run/jobs/large
        until [ $(sed -n 's/^RssAnon:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$!/status) -ge 3900 ] && grep -q 'S (sleeping)' /proc/$!/status; do usleep 20000; done""")
    pid = machine.run("cat /run/jobs/large").strip()

    def stat(*fields):
        return [int(value) for value in machine.run(f"cut -d' ' -f{','.join(map(str, fields))} /proc/{pid}/stat").split()]

    def used(cycle):
        return round(cycle.sum("process.cpu.time", process_pid=pid), 2)

    try:
        with Agent(machine, "process", "--top-processes 4") as agent:
            before, first = sum(stat(14, 15)) / 100, used(agent.next()[-1])
            machine.run("echo > /run/jobs/start")
            machine.wait(f"[ $(cut -d' ' -f14 /proc/{pid}/stat) -gt {stat(14)[0] + 10} ] && grep -q 'S (sleeping)' /proc/{pid}/status")
            grown = round(sum(stat(14, 15)) / 100 - before, 2)
            assert grown > 1, f"it was to be busy for 4 s, and used {grown} s"
            last = agent.expect(lambda cycle: round(used(cycle) - first, 2), grown)[-1]
            threads, virtual, pages = stat(20, 23, 24)
            near(last.value("process.memory.usage", process_pid=pid), pages * 4096, "its memory")
            assert last.value("process.memory.virtual", process_pid=pid) == virtual and last.value("process.thread.count", process_pid=pid) == threads
            [(attributes, _)] = last.series("process.memory.usage", process_pid=pid)
            assert attributes["process.owner"] == "0" and attributes["process.linux.cgroup"] == "/", attributes
            assert len(last.series("process.memory.usage")) <= 16
            machine.run(f"kill -9 {pid}")
            agent.expect(lambda cycle: cycle.series("process.cpu.time", process_pid=pid), [])
    finally:
        machine.run(f"kill -9 {pid} 2>/dev/null; rm /run/jobs/start")
    return f"{grown:.2f} s of CPU time"


def legacy(machine):
    """CPU time, memory and tasks under version 1 of the control groups"""
    path = f"docker/{IDS['docker']}"
    machine.run(f"""
        set -e; umount /sys/fs/cgroup; mount -t tmpfs cgroup /sys/fs/cgroup
        for each in {' '.join(LEGACY)}; do
            mkdir /sys/fs/cgroup/$each; mount -t cgroup -o $each cgroup /sys/fs/cgroup/$each; mkdir -p /sys/fs/cgroup/$each/{path}
        done
        {BUSY}""")
    cgroups = " ".join(f"/sys/fs/cgroup/{each}/{path}" for each in LEGACY)
    busy = f"sh /run/jobs/busy '{cgroups}'"
    try:
        machine.run(f"""{busy} 1; (for each in {cgroups}; do echo 0 > $each/cgroup.procs; done; exec sleep 1000) &
            echo 8388608 > /sys/fs/cgroup/memory/{path}/memory.limit_in_bytes""")

        def used():
            return of_kernel(machine, f"/sys/fs/cgroup/cpu,cpuacct/{path}/cpuacct.usage") / 1e9

        with Agent(machine, "containers", "--detail detailed") as agent:
            before, first = used(), agent.next()[-1]
            machine.run(f"{busy} 4")
            machine.run(f"(echo 0 > /sys/fs/cgroup/memory/{path}/cgroup.procs; exec tail /dev/zero) && exit 1; true")
            after, last = used(), agent.next()[-1]
            assert "version 1" in agent.log(), agent.log()
        grown = last.sum("container.cpu.time") - first.sum("container.cpu.time")
        near(grown, after - before, "CPU time")
        near(last.value("container.memory.usage", container_id=IDS["docker"]), of_kernel(machine, f"/sys/fs/cgroup/memory/{path}/memory.usage_in_bytes"), "memory")
        assert last.value("container.memory.linux.oom_kills") == 1, last.series("container.memory.linux.oom_kills")
        assert last.value("container.linux.tasks") == of_kernel(machine, f"/sys/fs/cgroup/pids/{path}/pids.current") == 1
        assert not last.series("container.disk.io"), "version 1's I/O is not read"
    finally:
        machine.run(f"""killall sleep; for each in {' '.join(LEGACY)}; do
                tries=0; until rmdir /sys/fs/cgroup/$each/{path} || [ $tries -gt 50 ]; do tries=$((tries + 1)); usleep 50000; done
                rmdir /sys/fs/cgroup/$each/docker; umount /sys/fs/cgroup/$each
            done; umount /sys/fs/cgroup; mount -t cgroup2 cgroup /sys/fs/cgroup""")
    return f"{grown:.2f} s of CPU time"
