#!/usr/bin/env python3
"""Checks that the values under the conventions' names equal those of node_exporter:
tests/node_exporter/pairs.py [--agent target/debug/heka-insights-agent]

A Prometheus scrapes node_exporter and the agent with the names of the conventions, both on node_exporter's recorded host. The queries
of the table in docs/migrating.md, "Move to the conventions", and those of MORE must give the same values for the same device,
interface or CPU. The recorded host does not change, so the totals are compared instead of rates.
"""
import argparse
import math
import re
import sys
import tempfile
from pathlib import Path

from compare import AGENT, Program, on_the_host, recorded_host

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/prometheus"))
from names import Prometheus, built  # noqa: E402

# Rows of the page, or of MORE, that cannot be equal on this host, and the reasons.
DIFFERENT = {
    "sum by (mode) (rate(node_cpu_seconds_total[5m]))": "the agent subtracts guest time from user, and its sum holds CPUs that went offline",
    '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m]))': "a still host has no utilization",
    "node_filesystem_size_bytes": "a recorded host has no file systems to ask",
    "node_filesystem_avail_bytes": "a recorded host has no file systems to ask",
    "node_filesystem_free_bytes": "a recorded host has no file systems to ask",
    "node_procs_blocked": "processes, not threads",
    "time() - node_boot_time_seconds": "the recorded host has no /proc/uptime",
    "node_timex_sync_status": "a recorded host has no clock to ask",
    "node_timex_offset_seconds": "a recorded host has no clock to ask",
    'node_systemd_unit_state{state="failed"} == 1': "a recorded host has no system bus",
    "up == 0": "no metric of the host",
    "node_memory_MemAvailable_bytes": "the recorded kernel has no such line",
    "node_memory_SwapTotal_bytes - node_memory_SwapFree_bytes": "the recorded /proc/swaps and /proc/meminfo are of different hosts",
    "node_network_receive_bytes_total": "the recorded host has no /proc/net/dev",
    "node_network_transmit_packets_total": "the recorded host has no /proc/net/dev",
    "node_network_receive_drop_total": "the recorded host has no /proc/net/dev",
    "node_network_receive_errs_total": "the recorded host has no /proc/net/dev",
    'node_md_disks{state="failed"}': "the recorded /proc/mdstat and /sys/block are of different hosts",
    "node_bonding_slaves - node_bonding_active": "the recorded host lacks the directories of the bonds' members",
}
TCP, UDP, ICMP, IP = (f"system_network_linux_{protocol}" for protocol in ("tcp", "udp", "icmp", "ip"))
SCHEDULER = "system_cpu_linux_run_queue"
RECEIVE, TRANSMIT = (f'network_io_direction="{direction}"' for direction in ("receive", "transmit"))


def of_types(six, metric, labels=""):
    """The queries for a metric of IPv4 and of IPv6."""
    return [(f"node_netstat_{name}", f'{metric}{{network_type="ipv{version}"{labels and ", "}{labels}}}')
            for version, name in ((4, six.replace("6", "", 1)), (6, six))]


def sockets(protocol):
    name = protocol.lower()
    return [(f"node_sockstat_{protocol}{six}_inuse",
             f'system_network_linux_socket_count{{network_type="{version}", system_network_linux_socket_protocol="{name}"}}')
            for six, version in (("", "ipv4"), ("6", "ipv6"))]


# More pairs, which are not in the page: (node_exporter's query, the agent's).
MORE = [
    ("node_intr_total", "system_cpu_interrupts_total"),
    ("node_entropy_available_bits", "system_linux_entropy_available"),
    ("sum(node_schedstat_running_seconds_total)", f"{SCHEDULER}_running_time_seconds_total"),
    ("sum(node_schedstat_waiting_seconds_total)", f"{SCHEDULER}_waiting_time_seconds_total"),
    ("sum(node_schedstat_timeslices_total)", f"{SCHEDULER}_timeslices_total"),
    ("node_netstat_Tcp_InSegs", f"{TCP}_segments_total{{{RECEIVE}}}"),
    ("node_netstat_Tcp_OutSegs", f"{TCP}_segments_total{{{TRANSMIT}}}"),
    ("node_netstat_Tcp_OutRsts", f"{TCP}_resets_total"),
    ("node_netstat_Tcp_ActiveOpens", f'{TCP}_connection_opens_total{{system_network_linux_tcp_open_type="active"}}'),
    ("node_netstat_Tcp_PassiveOpens", f'{TCP}_connection_opens_total{{system_network_linux_tcp_open_type="passive"}}'),
    ("node_netstat_Tcp_CurrEstab", f"{TCP}_connection_established"),
    ("node_netstat_Tcp_InErrs", f"{TCP}_errors_total"),
    ("node_netstat_TcpExt_ListenOverflows", f"{TCP}_listen_overflows_total"),
    ("node_netstat_TcpExt_TCPTimeouts", f"{TCP}_timeouts_total"),
    ("node_netstat_TcpExt_TCPOFOQueue", f"{TCP}_out_of_order_total"),
    ("node_netstat_TcpExt_TCPRcvQDrop", f"{TCP}_receive_queue_drops_total"),
    ("node_netstat_TcpExt_SyncookiesFailed", f'{TCP}_syncookies_total{{system_network_linux_tcp_syncookie_type="failed"}}'),
    *of_types("Udp6_InDatagrams", f"{UDP}_datagrams_total", RECEIVE),
    *of_types("Udp6_OutDatagrams", f"{UDP}_datagrams_total", TRANSMIT),
    *of_types("Udp6_NoPorts", f"{UDP}_errors_total", 'system_network_linux_udp_error_type="no_port"'),
    *of_types("Udp6_SndbufErrors", f"{UDP}_errors_total", 'system_network_linux_udp_error_type="send_buffer"'),
    *of_types("Udp6_RcvbufErrors", f"{UDP}_receive_buffer_errors_total"),
    *of_types("Icmp6_InMsgs", f"{ICMP}_messages_total", RECEIVE),
    *of_types("Icmp6_OutMsgs", f"{ICMP}_messages_total", TRANSMIT),
    *of_types("Icmp6_InErrors", f"{ICMP}_errors_total"),
    ("node_netstat_IpExt_InOctets", f'{IP}_io_bytes_total{{network_type="ipv4", {RECEIVE}}}'),
    ("node_netstat_Ip6_OutOctets", f'{IP}_io_bytes_total{{network_type="ipv6", {TRANSMIT}}}'),
    ("node_netstat_Ip_Forwarding", f"{IP}_forwarding"),
    ("node_sockstat_sockets_used", "system_network_linux_socket_used"),
    *sockets("TCP"), *sockets("UDP"), *sockets("RAW"),
    ("node_sockstat_TCP_orphan", f"{TCP}_orphan_count"),
    ("node_sockstat_TCP_tw", f"{TCP}_time_wait_count"),
    ("node_sockstat_TCP_alloc", f"{TCP}_allocated_count"),
    ("sum(node_softnet_processed_total)", "system_network_linux_softnet_packets_total"),
    ("sum(node_softnet_dropped_total)", "system_network_linux_softnet_dropped_total"),
    ("sum(node_softnet_times_squeezed_total)", "system_network_linux_softnet_squeezed_total"),
    ("node_network_speed_bytes", "hw_network_bandwidth_limit_bytes_per_second"),
    ("node_network_mtu_bytes", "system_network_linux_mtu_bytes"),
    ("node_network_carrier_changes_total", "system_network_linux_carrier_changes_total"),
    ("node_bonding_slaves", "system_network_linux_bond_member_count"),
    ("node_md_raid_disks", "system_disk_linux_raid_member_limit"),
    ("node_md_degraded", "system_disk_linux_raid_member_missing"),
    ("node_hwmon_temp_crit_celsius", 'hw_temperature_limit_celsius{hw_limit_type="high.critical"}'),
    ("node_hwmon_temp_max_celsius", 'hw_temperature_limit_celsius{hw_limit_type="high.degraded"}'),
    ("node_hwmon_fan_rpm", "hw_fan_speed_rpm"),
    ("node_hwmon_in_volts", "hw_voltage_volts"),
    ("node_edac_correctable_errors_total", 'hw_errors_total{error_type="corrected"}'),
]
# Labels that identify the part of the host. The names of sensors and memory controllers differ.
PARTS = {"device", "master", "cpu", "system_device", "network_interface_name", "cpu_logical_number"}
CALLED_DIFFERENTLY = re.compile(r"hw_(temperature|fan|voltage|power|errors)")


def page_pairs():
    """The table's rows, with totals in place of rates."""
    page = (ROOT / "docs/migrating.md").read_text()
    table = page.split("| node_exporter | here, in Prometheus |", 1)[1].split("\n\n", 1)[0]
    for row in re.findall(r"^\| `(.+?)` \| `(.+?)`", table.replace("\\|", "\0"), re.M):
        yield tuple(query.replace("\0", "|") for query in row)


def total(query):
    return re.sub(r"rate\((\w+(?:\{[^}]*\})?)\[\w+\]\)", r"\1", query)


def values(prometheus, query, job):
    """[(part of the host, value)] of a query, among the series of one job."""
    found = prometheus.get("query", query=query)["result"]
    return [(frozenset(label for key, label in one["metric"].items() if key in PARTS or key == "hw_id"), float(one["value"][1]))
            for one in found if one["metric"].get("job", job) == job]


def differing(theirs, ours, anywhere):
    """The agent's values that differ from node_exporter's for the same part of the host. The agent leaves out some devices."""
    left = list(theirs)
    for part, value in ours:
        # Sums of doubles can differ in the last digits.
        same = (one for one in left if math.isclose(one[1], value, rel_tol=1e-12) and (anywhere or one[0] == part))
        match = next(same, None)
        if match is None:
            yield part, value
        else:
            left.remove(match)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--agent", default=str(AGENT))
    options = arguments.parse_args()
    bad, same = 0, 0
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as data:
        host = recorded_host(built("node_exporter-source"), directory)
        agent = [options.agent, "--exporter", "prometheus", "--detail", "detailed", "--listen", "127.0.0.1:PORT", "--root-path", directory,
                 "--network-include", "."]
        with Program(agent) as ours, Program(on_the_host(built("node_exporter"), host)) as theirs:
            prometheus = Prometheus(data, {"agent": f"127.0.0.1:{ours.port}", "node": f"127.0.0.1:{theirs.port}"})
            try:
                for job in ("agent", "node"):
                    prometheus.wait(f"scrape of {job}", lambda: prometheus.get("query", query=f'up{{job="{job}"}} == 1')["result"])
                pairs = [*page_pairs(), *MORE]
                unused = DIFFERENT.keys() - {old for old, _ in pairs}
                bad += len(unused)
                for old in unused:
                    print(f"pairs: DIFFERENT has {old}, which is no pair")
                for old, new in pairs:
                    if old in DIFFERENT:
                        continue
                    there, here = values(prometheus, total(old), "node"), values(prometheus, total(new), "agent")
                    wrong = list(differing(there, here, CALLED_DIFFERENTLY.match(new)))
                    same += not wrong and bool(here)
                    for part, value in wrong or [] if here else [("", "nothing")]:
                        bad += 1
                        print(f"pairs: {new} gives {value} {set(part) or ''}, and {old} {[value for _, value in there]}")
            finally:
                prometheus.process.terminate()
                prometheus.process.wait(10)
    print(f"pairs: {'failed' if bad else 'ok'}, {same} queries give node_exporter's values")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
