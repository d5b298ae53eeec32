"""The checks of what fails or is measured: RAID members, links, sensors, tracked connections, memory."""

from agent import Agent


def raid(machine):
    """An md array with a failed member"""
    machine.run("""
        set -e
        modprobe raid1; modprobe scsi_debug dev_size_mb=32 num_tgts=2; modprobe sd_mod
        tries=0; until [ -b /dev/sdb ]; do tries=$((tries + 1)); [ $tries -lt 200 ]; usleep 50000; done
        echo md0 > /sys/module/md_mod/parameters/new_array; cd /sys/block/md0/md
        echo none > metadata_version; echo raid1 > level; echo 2 > raid_disks
        for disk in sda sdb; do cat /sys/block/$disk/dev > new_dev; done
        echo 0 > dev-sda/slot; echo 1 > dev-sdb/slot; echo active > array_state""")
    try:
        with Agent(machine, "raid") as agent:
            agent.expect(members, {"active": 2})
            machine.run("echo faulty > /sys/block/md0/md/dev-sdb/state")
            agent.expect(members, {"active": 1, "failed": 1})
    finally:
        machine.run("cd /sys/block/md0/md; echo clear > array_state; rmmod scsi_debug")
    return "two members, one failed"


def members(cycle):
    """The members of md0 by state, without the states that have none."""
    return {attributes["system.disk.linux.raid.member.state"]: value
            for attributes, value in cycle.series("system.disk.linux.raid.member.count", system_device="md0") if value}


def bond(machine):
    """A bond with a link down"""
    machine.run("""
        set -e
        modprobe bonding max_bonds=0
        ip link add bond7 type bond mode active-backup miimon 50
        for each in 0 1; do
            ip link add port$each type veth peer name switch$each; ip link set port$each master bond7
            ip link set switch$each up; ip link set port$each up
        done
        ip link set bond7 up""")
    try:
        machine.wait("grep -c 'MII Status: up' /proc/net/bonding/bond7 | grep -q 3")
        with Agent(machine, "link") as agent:
            agent.expect(bonded, (2, 2))
            machine.run("ip link set switch1 down")
            machine.wait("grep -c 'MII Status: up' /proc/net/bonding/bond7 | grep -q 2")
            agent.expect(bonded, (2, 1))
    finally:
        machine.run("ip link del bond7; ip link del port0; ip link del port1")
    return "two members, one down"


def bonded(cycle):
    """Members of the bond, and those that are up."""
    return (cycle.value("system.network.linux.bond.member.count", network_interface_name="bond7"),
            cycle.value("system.network.linux.bond.member.active", network_interface_name="bond7"))


def temperature(machine):
    """A temperature sensor"""
    machine.run("""
        set -e
        modprobe i2c-stub chip_addr=0x48; modprobe i2c-dev; modprobe lm75
        bus=$(grep -l 'SMBus stub' /sys/bus/i2c/devices/i2c-*/name); bus=${bus%/name}
        i2cset -y ${bus##*-} 0x48 0 0x8019 w; i2cset -y ${bus##*-} 0x48 3 0x0050 w
        echo lm75 0x48 > $bus/new_device""")
    with Agent(machine, "sensors") as agent:
        file = machine.run("grep -l lm75 /sys/class/hwmon/*/name").strip().replace("/name", "/temp1_input")
        kernel = int(machine.run(f"cat {file}"))
        agent.expect(lambda cycle: [value for attributes, value in cycle.series("hw.temperature") if "lm75" in str(attributes)], [kernel / 1000])
    return f"{kernel / 1000} degrees"


def connections_tracked(machine):
    """Tracked connections and their limit"""
    machine.run("modprobe nf_conntrack enable_hooks=1; sysctl -q net.netfilter.nf_conntrack_max=12345")
    machine.run("for each in 0 1 2 3 4 5 6 7 8 9; do ping -q -c 1 127.0.0.1 >/dev/null || exit 1; done")
    with Agent(machine, "sockets") as agent:
        kernel = int(machine.run("cat /proc/sys/net/netfilter/nf_conntrack_count"))
        assert kernel >= 10, f"ten connections, and the kernel counts {kernel}"
        agent.expect(lambda cycle: (cycle.value("system.network.conntrack.count"), cycle.value("system.network.conntrack.max")), (kernel, 12345))
    return f"{kernel} of 12345"


def oom_kill(machine):
    """A process killed in a cgroup for lack of memory"""
    kills = "awk '/^oom_kill / {print $2}' /proc/vmstat"
    before = int(machine.run(kills))
    with Agent(machine, "kernel", "--counters-since start") as agent:
        agent.next()
        machine.run("""
            echo +memory > /sys/fs/cgroup/cgroup.subtree_control; mkdir /sys/fs/cgroup/small; echo 16M > /sys/fs/cgroup/small/memory.max
            (sh -c 'echo $$ > /sys/fs/cgroup/small/cgroup.procs; exec tail /dev/zero') && exit 1; rmdir /sys/fs/cgroup/small""")
        kernel = int(machine.run(kills)) - before
        assert kernel == 1, f"the kernel counts {kernel} kills"
        agent.expect(lambda cycle: cycle.value("system.memory.linux.oom_kills"), 1)
    return "1 kill"
