"""The checks: each changes something in the machine and compares the agent's numbers with the kernel's files.

A check is a function of the machine with a docstring, its title. It returns a line of figures, and fails by an assertion.
"""

from agent import Agent

SECTOR_BYTES = 512


def never_falls(values, title):
    values = [each for each in values if each is not None]
    for before, after in zip(values, values[1:]):
        assert after >= before, f"{title} fell from {before} to {after}: {values}"


def between(low, value, high, title):
    assert value is not None and low <= value <= high, f"{title} is {value}, and the kernel's files say {low} before and {high} after"


def sectors(machine, disk):
    """Sectors read and written, as the kernel has them now."""
    fields = machine.run(f"cat /sys/block/{disk}/stat").split()
    return int(fields[2]), int(fields[6])


def kernel_cpus(machine):
    """Seconds of each listed CPU in all modes; guest time is inside user and nice."""
    lines = [line.split() for line in machine.run("grep '^cpu[0-9]' /proc/stat").splitlines()]
    return {line[0][3:]: sum(map(int, line[1:9])) / 100 for line in lines}


def cpu(machine):
    """CPUs that go offline and come back under load"""
    machine.run("for each in 1 2 3; do (exec yes >/dev/null) & done; true")
    try:
        with Agent(machine, "cpu", "--counters-since start") as host, \
                Agent(machine, "cpu", "--counters-since start --per-cpu") as each:
            first_kernel, first = kernel_cpus(machine), host.next()[-1]
            start = machine.uptime()
            machine.run("echo 0 > /sys/devices/system/cpu/cpu2/online; echo 0 > /sys/devices/system/cpu/cpu3/online")
            cycles = [first, *host.next(4)]
            offline = machine.uptime()
            machine.run("echo 1 > /sys/devices/system/cpu/cpu2/online; echo 1 > /sys/devices/system/cpu/cpu3/online")
            cycles += host.next(5)
            last_kernel, end = kernel_cpus(machine), machine.uptime()
            for one, two in zip(cycles, cycles[1:]):
                grown = two.sum("system.cpu.time") - one.sum("system.cpu.time")
                assert 0 <= grown <= two.seconds * 4 * 1.25 + 2, f"the host's time grew by {grown} s in {two.seconds} s"
            for mode in ("user", "system", "idle", "iowait"):
                never_falls([cycle.value("system.cpu.time", cpu_mode=mode) for cycle in cycles], f"the host's {mode}")
            grown = cycles[-1].sum("system.cpu.time") - first.sum("system.cpu.time")
            stayed = sum(last_kernel[number] - first_kernel[number] for number in ("0", "1"))
            between(stayed - 1, grown, 4 * (end - start) + 2, "the host's time, with the two CPUs that stayed as its least,")
            singles = each.next()
            for number in range(4):
                values = [cycle.sum("system.cpu.time", cpu_logical_number=str(number)) for cycle in singles
                          if cycle.series("system.cpu.time", cpu_logical_number=str(number))]
                assert values, f"CPU {number} has no series after it is online again"
                never_falls(values, f"CPU {number}")
                between(0, values[-1], end - start + 30, f"CPU {number}")
            assert singles[-1].value("system.cpu.logical.count") == 4
            assert set(first_kernel) == set(last_kernel)
            return f"{grown:.1f} s of CPU time in {end - start:.1f} s, two of four CPUs offline for {offline - start:.1f} s"
    finally:
        machine.run("killall yes")


def cpu_sum(machine):
    """The host's CPU time is the sum of the listed CPUs"""
    with Agent(machine, "cpu", "--counters-since boot") as agent:
        before = sum(kernel_cpus(machine).values())
        cycle = agent.next()[-1]
        after = sum(kernel_cpus(machine).values())
        between(before - 0.5, cycle.sum("system.cpu.time"), after + 0.5, "system.cpu.time")
        return f"{cycle.sum('system.cpu.time'):.1f} s"


def clock_step(machine):
    """Rates stay right when the wall clock is set an hour ahead and back"""
    with Agent(machine, "cpu", "--counters-since boot") as agent:
        cycles = agent.next()
        for step in (3600, -3600):
            machine.run(f"date -s @$(($(date +%s) + {step}))")
            cycles += agent.next(4)
        hours = {cycle.timestamp[:13] for cycle in cycles}
        assert len(hours) > 1, f"the clock was not set: {hours}"
        rates = [rate for cycle in cycles if (rate := cycle.rate("system.cpu.time")) is not None]
        assert len(rates) >= len(cycles) - 3, f"{len(rates)} of {len(cycles)} collections have rates"
        cpus = len(kernel_cpus(machine))
        # A second per second on each CPU. The kernel counts hundredths, and misses some when the machine's host is busy. With the wall
        # clock, a rate would be 0.0006 after the step ahead, and missing after the step back.
        for rate in rates:
            assert 0.1 * cpus < rate < 2.5 * cpus, f"seconds of CPU time per second on {cpus} CPUs: {rates}"
        return f"{sum(rates) / len(rates):.2f} s of CPU time per second on {cpus} CPUs"


def nvme_over_tcp(machine):
    """A disk over NVMe/TCP is a default disk, counted once"""
    target = "/sys/kernel/config/nvmet"
    machine.run(f"""
        set -e
        modprobe null_blk nr_devices=1 memory_backed=1 gb=1; modprobe nvmet-tcp; modprobe nvme-tcp
        cd {target}
        mkdir subsystems/disk; echo 1 > subsystems/disk/attr_allow_any_host
        mkdir subsystems/disk/namespaces/1; echo /dev/nullb0 > subsystems/disk/namespaces/1/device_path
        echo 1 > subsystems/disk/namespaces/1/enable
        mkdir ports/1; cd ports/1
        echo tcp > addr_trtype; echo ipv4 > addr_adrfam; echo 127.0.0.1 > addr_traddr; echo 4420 > addr_trsvcid
        ln -s {target}/subsystems/disk subsystems/disk
        echo transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=disk > /dev/nvme-fabrics""")
    machine.wait("[ -b /dev/nvme0n1 ]")
    with Agent(machine, "disk", "--counters-since boot") as agent:
        machine.run("dd if=/dev/zero of=/dev/nvme0n1 bs=64k count=64 conv=fsync")
        written = sectors(machine, "nvme0c0n1")[1] * SECTOR_BYTES  # the path's, since this kernel counts nothing for the head
        cycle = agent.expect(lambda cycle: cycle.value("system.disk.io", system_device="nvme0n1", disk_io_direction="write"), written)[-1]
        disks = {name for name in cycle.disks if "nvme" in name or "nullb" in name}
        assert disks == {"nvme0n1"}, f"of the disk and its backing device these are listed: {disks}"
        assert cycle.totals["write_bytes"] == sum(each["write_bytes"] for each in cycle.disks.values()), cycle.totals
    machine.run("echo 1 > /sys/class/nvme/nvme0/delete_controller")
    return f"nvme0n1, {written} bytes written"


def network_block_device(machine):
    """A network block device is a default disk; disconnected, removed and connected again it goes on and never jumps"""
    machine.run("""
        set -e
        truncate -s 64M /run/disk.img
        printf '[generic]\n[disk]\nexportname=/run/disk.img\n' > /run/nbd.conf
        nbd_server -C /run/nbd.conf -p /run/nbd.pid""")
    write = "dd if=/dev/zero of=/dev/nbd0 bs=1M count={} conv=fsync"

    def connect():
        machine.run("modprobe nbd nbds_max=2")
        machine.wait("nbd_client 127.0.0.1 10809 /dev/nbd0 -N disk")
        machine.wait("[ $(cat /sys/block/nbd0/size) -gt 0 ]")
        # A disk that was never used has no baseline yet.
        machine.run("dd if=/dev/nbd0 of=/dev/null bs=64k count=1")

    def written(cycles):
        return [cycle.value("system.disk.io", system_device="nbd0", disk_io_direction="write") for cycle in cycles]

    connect()
    with Agent(machine, "disk", "--counters-since start") as agent:
        machine.run(write.format(8))
        cycles = agent.expect(lambda cycle: written([cycle]), [8 << 20])
        assert "nbd0" in cycles[-1].disks, cycles[-1].disks
        assert cycles[-1].totals["write_bytes"] == sum(each["write_bytes"] for each in cycles[-1].disks.values()), cycles[-1].totals
        values = written(cycles)
        machine.run("nbd_client -d /dev/nbd0")
        values += written(agent.next())
        machine.wait("rmmod nbd; [ ! -e /sys/block/nbd0 ]")
        values += written(agent.next())
        connect()
        values += written(agent.next())
        never_falls(values, "bytes written")
        back = values[-1]
        between(8 << 20, back, (8 << 20) + sectors(machine, "nbd0")[1] * SECTOR_BYTES, "bytes written")
        machine.run(write.format(4))
        values += written(agent.expect(lambda cycle: written([cycle]), [back + (4 << 20)]))
        never_falls(values, "bytes written")
    machine.run("nbd_client -d /dev/nbd0; kill $(cat /run/nbd.pid)")
    return f"{values[-1]} bytes written"


def replugged_disk(machine):
    """A disk unplugged and plugged in again goes on and never jumps"""
    machine.run("modprobe sd_mod; modprobe scsi_debug dev_size_mb=64 num_tgts=1")
    machine.wait("[ -b /dev/sda ]")
    write = "dd if=/dev/zero of=/dev/sda bs=1M count={} conv=fsync"
    machine.run(write.format(24))

    def written(cycles):
        return [cycle.value("system.disk.io", system_device="sda", disk_io_direction="write") for cycle in cycles]

    with Agent(machine, "disk", "--counters-since start") as agent:
        machine.run(write.format(8))
        values = written(agent.expect(lambda cycle: written([cycle]), [8 << 20]))
        machine.run("echo 1 > /sys/block/sda/device/delete; [ ! -e /sys/block/sda ]")
        values += written(agent.next())
        machine.run("for each in /sys/class/scsi_host/host*; do grep -q scsi_debug $each/proc_name && echo '- - -' > $each/scan; done; true")
        machine.wait("[ -b /dev/sda ]")
        values += written(agent.next())
        never_falls(values, "bytes written")
        back = values[-1]
        between(8 << 20, back, (8 << 20) + sectors(machine, "sda")[1] * SECTOR_BYTES, "bytes written")
        machine.run(write.format(4))
        values += written(agent.expect(lambda cycle: written([cycle]), [back + (4 << 20)]))
        never_falls(values, "bytes written")
    machine.run("rmmod scsi_debug")
    return f"{values[-1]} bytes written"


def moved_interface(machine):
    """An interface renamed and moved between network namespaces, with traffic on it"""
    machine.run("""
        set -e
        ip netns add far; ip link add lan0 type veth peer name peer0; ip link set peer0 netns far
        ip addr add 10.9.0.1/24 dev lan0; ip link set lan0 up
        ip netns exec far ip addr add 10.9.0.2/24 dev peer0; ip netns exec far ip link set peer0 up""")
    ping = "ping -q -c 200 -A -s 1400 10.9.0.2 >/dev/null"
    machine.run(ping)

    def counted(cycles, name):
        return [cycle.value("system.network.io", network_interface_name=name, network_io_direction="transmit") for cycle in cycles]

    def kernel(name):
        return int(machine.run(f"cat /sys/class/net/{name}/statistics/tx_bytes"))

    with Agent(machine, "network", "--counters-since start") as agent:
        start = counted(agent.next(), "lan0")[-1]
        machine.run(ping)
        lan0 = counted(agent.next(), "lan0")
        assert lan0[-1] - start >= 200 * 1400, lan0
        machine.run("ip link set lan0 down; ip link set lan0 name wan0; ip link set wan0 up")
        machine.run(ping)
        seen = counted(agent.next(), "wan0")
        first = next(each for each in seen if each is not None)
        assert first <= 201 * 1500, f"the renamed interface brings its past along: {seen}"
        between(0, seen[-1], 201 * 1500, "bytes of wan0")
        machine.run("ip link set wan0 netns far")
        cycles = agent.next()
        machine.run("ip netns exec far ip link set wan0 up; ip netns exec far ip link set wan0 netns 1; "
                    "ip addr add 10.9.0.1/24 dev wan0; ip link set wan0 up")
        cycles += agent.next()
        before = kernel("wan0")
        back = counted(agent.next(), "wan0")[-1]
        never_falls([*seen, *counted(cycles, "wan0"), back], "bytes of wan0")
        assert back <= 2 * 201 * 1500, f"wan0 jumped to {back} when it came back"
        machine.run(ping)
        end = counted(agent.next(), "wan0")[-1]
        between(200 * 1400, end - back, kernel("wan0") - before, "bytes of wan0 since it came back")
    machine.run("ip link del wan0; ip netns del far")
    return f"{end} bytes as wan0"


def hidden_mount(machine):
    """A mount hidden by a later one is replaced by another mount of its device, and comes back"""
    machine.run("""
        set -e
        modprobe ext4; modprobe sd_mod; modprobe scsi_debug dev_size_mb=64 num_tgts=1
        tries=0; until [ -b /dev/sda ]; do tries=$((tries + 1)); [ $tries -lt 200 ]; usleep 50000; done
        mke2fs /dev/sda >/dev/null 2>&1; mkdir -p /mnt/first /mnt/second
        mount -t ext2 /dev/sda /mnt/first || mount -t ext4 /dev/sda /mnt/first
        dd if=/dev/zero of=/mnt/first/file bs=1M count=5""")

    def mounts(cycle):
        return {attributes["system.filesystem.mountpoint"]: value for attributes, value
                in cycle.series("system.filesystem.usage", system_device="/dev/sda", system_filesystem_state="used")}

    with Agent(machine, "filesystem") as agent:
        expected = int(machine.run("stat -f -c '%b %f %S' /mnt/first | awk '{print ($1 - $2) * $3}'"))
        agent.expect(mounts, {"/mnt/first": expected})
        machine.run("mount -t tmpfs over /mnt/first")
        agent.expect(mounts, {})
        machine.run("mount /dev/sda /mnt/second")
        agent.expect(mounts, {"/mnt/second": expected})
        machine.run("umount /mnt/first")
        agent.expect(lambda cycle: list(mounts(cycle).values()), [expected])
        machine.run("umount /mnt/second; mount -o remount,ro /mnt/first")
        agent.expect(lambda cycle: [each["system.filesystem.mode"] for each, _ in cycle.series(
            "system.filesystem.usage", system_device="/dev/sda", system_filesystem_state="used")], ["ro"])
    machine.run("umount /mnt/first; rmmod scsi_debug")
    return f"{expected} bytes used"
