"""What the peers call the agent's families, the files that the floor reads for each, and the versions that are built."""

# The agent's families, and what the others call them.
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
# What is built where there is none. Built so, neither knows its version.
NODE_EXPORTER_VERSION = "1.12.1"
TELEGRAF_VERSION = "1.37.2"
FLOOR = {
    "cpu": ["stat"], "memory": ["meminfo"], "paging": ["swaps", "vmstat"], "disk": ["diskstats"],
    "network": ["1/net/dev"], "filesystem": ["1/mountinfo"], "load": ["loadavg"], "processes": ["stat", "*/stat"],
    "system": ["uptime"], "pressure": ["pressure/cpu", "pressure/io", "pressure/memory"],
}


def lacking(families, names):
    """Families that a peer has nothing for: what it costs is for the others only."""
    return [family for family in families if not names.get(family)]
