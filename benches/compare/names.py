"""The peers' names of the agent's collectors, the files that the floor reads for each, and the versions that are built."""

# The agent's collectors, and their names in the peers.
SCRAPERS = {
    "cpu": "cpu", "memory": "memory", "paging": "paging", "disk": "disk", "network": "network",
    "filesystem": "filesystem", "load": "load", "processes": "processes", "system": "system",
}
NODE_EXPORTER = {
    "cpu": ["cpu"], "memory": ["meminfo"], "paging": ["vmstat"], "disk": ["diskstats"], "network": ["netdev"],
    "filesystem": ["filesystem"], "load": ["loadavg"], "processes": ["processes", "stat"], "system": ["time"],
    "pressure": ["pressure"],
}
COLLECTD = {
    "cpu": ["cpu"], "memory": ["memory"], "paging": ["swap", "vmem"], "disk": ["disk"], "network": ["interface"],
    "filesystem": ["df"], "load": ["load"], "processes": ["processes"], "system": ["uptime"], "pressure": [],
}
TELEGRAF = {
    "cpu": ["cpu"], "memory": ["mem"], "paging": ["swap", "kernel_vmstat"], "disk": ["diskio"], "network": ["net"],
    "filesystem": ["disk"], "load": ["system"], "processes": ["processes"], "system": [], "pressure": [],
}
# The versions to build if the programs are missing. These builds do not report their version.
NODE_EXPORTER_VERSION = "1.12.1"
TELEGRAF_VERSION = "1.37.2"
FLOOR = {
    "cpu": ["stat"], "memory": ["meminfo"], "paging": ["swaps", "vmstat"], "disk": ["diskstats"],
    "network": ["1/net/dev"], "filesystem": ["1/mountinfo"], "load": ["loadavg"], "processes": ["stat", "*/stat"],
    "system": ["uptime"], "pressure": ["pressure/cpu", "pressure/io", "pressure/memory"],
}


def lacking(collectors, names):
    """The collectors that a peer lacks: its cost is without them."""
    return [collector for collector in collectors if not names.get(collector)]
