"""For each alert, series with which it fires and series with which it is quiet, in promtool's notation and semconv's names.

The labels of the host are added to each series. Series have one value per minute. `at` is the time at which the alert is evaluated, by
default 60 minutes.
"""

GIB = 1 << 30


def cpu(user, idle=0, iowait=0, steal=0):
    """Seconds of CPU time per minute; the host has two CPUs."""
    modes = {"user": user, "idle": idle, "iowait": iowait, "steal": steal}
    return {f'system_cpu_time_seconds_total{{cpu_mode="{mode}"}}': f"0+{seconds}x120" for mode, seconds in modes.items()} | {
        "system_cpu_logical_count": "2x120"}


def memory(available, total=10 * GIB):
    return {"system_memory_linux_available_bytes": f"{available}x120", "system_memory_limit_bytes": f"{total}x120"}


def filesystem(free, used, metric="system_filesystem_usage_bytes", mode="rw"):
    """A file system with these values of its states."""
    labels = f'system_device="/dev/vda1", system_filesystem_type="ext4", system_filesystem_mountpoint="/", system_filesystem_mode="{mode}"'
    return {f'{metric}{{{labels}, system_filesystem_state="{state}"}}': values for state, values in (("free", free), ("used", used))}


def inodes(free, used, mode="rw"):
    return filesystem(free, used, "system_filesystem_inodes_usage", mode)


def disk(metric, values, direction=None):
    labels = 'system_device="sda"' + (f', disk_io_direction="{direction}"' if direction else "")
    return {f"system_disk_{metric}{{{labels}}}": values}


def network(errors, packets, direction):
    labels = f'{{network_interface_name="eth0", network_io_direction="{direction}"}}'
    return {f"system_network_errors_total{labels}": errors, f"system_network_packet_count_total{labels}": packets}


def raid(active, failed=0):
    array = 'system_device="md0"'
    return {f"system_disk_linux_raid_member_limit{{{array}}}": "2x120",
            f'system_disk_linux_raid_member_count{{{array}, system_disk_linux_raid_member_state="active"}}': f"{active}x120",
            f'system_disk_linux_raid_member_count{{{array}, system_disk_linux_raid_member_state="failed"}}': f"{failed}x120"}


def clock(offset, synchronized=1, maximum=0.1):
    return {"system_clock_linux_offset_seconds": offset, "system_clock_linux_synchronized": f"{synchronized}x120",
            "system_clock_linux_error_maximum_seconds": f"{maximum}x120"}


def both(*parts):
    return {key: value for part in parts for key, value in part.items()}


def kernel(instance, build, release):
    return f'target_info{{instance="{instance}", os_type="linux", os_build_id="{build}", os_kernel_release="{release}"}}'


def ratio(part, whole, value, of=100):
    return {part: f"{value}x120", whole: f"{of}x120"}


TEMPERATURE = 'hw_temperature_celsius{hw_id="temp1", hw_name="cpu"}'
CRITICAL = 'hw_temperature_limit_celsius{hw_id="temp1", hw_name="cpu", hw_limit_type="high.critical"}'
EDAC = 'hw_errors_total{{hw_id="mc0", hw_type="memory", error_type="{}"}}'
BOND = '{network_interface_name="bond0"}'
HANDLES = ("system_filesystem_linux_file_handle_count", "system_filesystem_linux_file_handle_limit")
CONNTRACK = ("system_network_conntrack_count", "system_network_conntrack_max")
CONTAINER = '{container_id="4f", container_runtime_name="docker"}'
WEEKS = {"at": "9d"}


def of_weeks(series):
    return {key: values.replace("x120", "x13000") for key, values in series.items()}


CASES = {
    "HostCpuBusy": {"fires": cpu(user=115, idle=5), "quiet": cpu(user=60, idle=60)},
    "HostCpuHighLoad": {"fires": cpu(user=60, iowait=40, idle=20), "quiet": cpu(user=60, iowait=10, idle=50)},
    "HostCpuUnderused": {"fires": of_weeks(cpu(user=10, idle=110)), "quiet": of_weeks(cpu(user=60, idle=60)), **WEEKS},
    "HostCpuSteal": {"fires": cpu(user=50, steal=20, idle=50), "quiet": cpu(user=50, steal=5, idle=65)},
    "HostCpuIowait": {"fires": cpu(user=50, iowait=20, idle=50), "quiet": cpu(user=50, iowait=5, idle=65)},
    "HostLoadHigh": {"fires": ratio("system_cpu_load_average_1m", "system_cpu_logical_count", 9, 4),
                     "quiet": ratio("system_cpu_load_average_1m", "system_cpu_logical_count", 7, 4)},
    "HostContextSwitchesHigh": {"fires": {"system_cpu_context_switches_total": "0+1000x1400 1400000+9000x40"},
                                "quiet": {"system_cpu_context_switches_total": "0+1000x1440"}, "at": "1430m"},
    "HostMemoryLow": {"fires": memory(GIB // 2), "quiet": memory(5 * GIB), "at": "10m"},
    "HostMemoryLowForLong": {"fires": memory(GIB // 2), "quiet": memory(5 * GIB)},
    "HostMemoryUnderused": {"fires": of_weeks(memory(9 * GIB)), "quiet": of_weeks(memory(5 * GIB)), **WEEKS},
    "HostMajorPageFaults": {"fires": {'system_paging_faults_total{system_paging_fault_type="major"}': "0+36000x120"},
                            "quiet": {'system_paging_faults_total{system_paging_fault_type="major"}': "0+600x120"}},
    "HostMemoryPressure": {"fires": {'system_paging_faults_total{system_paging_fault_type="major"}': "0+72000x120"},
                           "quiet": {'system_paging_faults_total{system_paging_fault_type="major"}': "0+36000x120"}},
    "HostSwapLow": {"fires": ratio('system_paging_usage_bytes{system_device="a", system_paging_state="used"}',
                                   'system_paging_usage_bytes{system_device="a", system_paging_state="free"}', 90, 10),
                    "quiet": ratio('system_paging_usage_bytes{system_device="a", system_paging_state="used"}',
                                   'system_paging_usage_bytes{system_device="a", system_paging_state="free"}', 50, 50)},
    "HostOomKill": {"fires": {"system_memory_linux_oom_kills_total": "0x57 1x60"}, "quiet": {"system_memory_linux_oom_kills_total": "3x120"}},
    "HostFilesystemFillsIn24Hours": {"fires": filesystem("500000-300x500", "600000+300x500"),
                                     "quiet": filesystem("300000x500", "700000x500"), "at": "450m"},
    "HostFilesystemFillsIn4Hours": {"fires": filesystem("460000-800x500", "640000+800x500"),
                                    "quiet": filesystem("500000-300x500", "600000+300x500"), "at": "450m"},
    "HostFilesystemLow": {"fires": filesystem("8x120", "92x120"), "quiet": filesystem("8x120", "92x120", mode="ro")},
    "HostFilesystemVeryLow": {"fires": filesystem("4x120", "96x120"), "quiet": filesystem("8x120", "92x120")},
    "HostFilesystemNearlyNone": {"fires": filesystem("2x120", "98x120"), "quiet": filesystem("4x120", "96x120")},
    "HostInodesFillIn24Hours": {"fires": inodes("500000-300x500", "600000+300x500"), "quiet": inodes("300000x500", "700000x500"), "at": "450m"},
    "HostInodesFillIn4Hours": {"fires": inodes("460000-800x500", "640000+800x500"), "quiet": inodes("500000-300x500", "600000+300x500"), "at": "450m"},
    "HostInodesLow": {"fires": inodes("8x120", "92x120"), "quiet": inodes("20x120", "80x120")},
    "HostInodesVeryLow": {"fires": inodes("4x120", "96x120"), "quiet": inodes("8x120", "92x120"), "at": "90m"},
    "HostInodesNearlyNone": {"fires": inodes("2x120", "98x120"), "quiet": inodes("4x120", "96x120"), "at": "90m"},
    "HostFilesystemError": {"fires": {'system_filesystem_linux_error{system_filesystem_mountpoint="/"}': "1x120"},
                            "quiet": {'system_filesystem_linux_error{system_filesystem_mountpoint="/"}': "0x120"}},
    "HostDiskReadSlow": {"fires": both(disk("operation_time_seconds_total", "0+30x120", "read"), disk("operations_total", "0+60x120", "read")),
                         "quiet": both(disk("operation_time_seconds_total", "0+1x120", "read"), disk("operations_total", "0+60x120", "read"))},
    "HostDiskWriteSlow": {"fires": both(disk("operation_time_seconds_total", "0+30x120", "write"), disk("operations_total", "0+60x120", "write")),
                          "quiet": both(disk("operation_time_seconds_total", "0x120", "write"), disk("operations_total", "0x120", "write"))},
    "HostDiskReadRate": {"fires": disk("io_bytes_total", f"0+{60 * 60 << 20}x120", "read"), "quiet": disk("io_bytes_total", f"0+{60 * 40 << 20}x120", "read")},
    "HostDiskWriteRate": {"fires": disk("io_bytes_total", f"0+{60 * 60 << 20}x120", "write"), "quiet": disk("io_bytes_total", f"0+{60 * 60 << 20}x120", "read")},
    "HostDiskBusy": {"fires": disk("io_time_seconds_total", "0+40x120"), "quiet": disk("io_time_seconds_total", "0+10x120")},
    "HostDiskQueue": {"fires": both(disk("operation_time_seconds_total", "0+400x120", "read"), disk("operation_time_seconds_total", "0+400x120", "write")),
                      "quiet": both(disk("operation_time_seconds_total", "0+200x120", "read"), disk("operation_time_seconds_total", "0+200x120", "write"))},
    "HostNetworkReceiveErrors": {"fires": network("0+20x120", "0+1000x120", "receive"), "quiet": network("0+5x120", "0+1000x120", "receive")},
    "HostNetworkTransmitErrors": {"fires": network("0+20x120", "0+1000x120", "transmit"), "quiet": network("0x120", "0x120", "transmit")},
    "HostNetworkReceiveRate": {"fires": {'system_network_io_bytes_total{network_interface_name="eth0", network_io_direction="receive"}': f"0+{60 * 120 << 20}x120"},
                               "quiet": {'system_network_io_bytes_total{network_interface_name="eth0", network_io_direction="transmit"}': f"0+{60 * 120 << 20}x120"}},
    "HostNetworkTransmitRate": {"fires": {'system_network_io_bytes_total{network_interface_name="eth0", network_io_direction="transmit"}': f"0+{60 * 120 << 20}x120"},
                                "quiet": {'system_network_io_bytes_total{network_interface_name="eth0", network_io_direction="transmit"}': f"0+{60 * 80 << 20}x120"}},
    "HostBondDegraded": {"fires": ratio(f"system_network_linux_bond_member_active{BOND}", f"system_network_linux_bond_member_count{BOND}", 1, 2),
                         "quiet": ratio(f"system_network_linux_bond_member_active{BOND}", f"system_network_linux_bond_member_count{BOND}", 2, 2)},
    "HostConntrackNearlyFull": {"fires": ratio(*CONNTRACK, 80), "quiet": ratio(*CONNTRACK, 70)},
    "HostTcpListenDrops": {"fires": {"system_network_linux_tcp_listen_drops_total": "0+120x120"}, "quiet": {"system_network_linux_tcp_listen_drops_total": "0+6x120"}},
    "HostClockSkew": {"fires": clock("0.06+0.001x120"), "quiet": clock("0.2-0.001x120")},
    "HostClockNotSynchronized": {"fires": clock("0x120", synchronized=0, maximum=16), "quiet": clock("0x120", synchronized=0, maximum=1)},
    "HostFileHandlesHigh": {"fires": ratio(*HANDLES, 80), "quiet": ratio(*HANDLES, 60)},
    "HostFileHandlesVeryHigh": {"fires": ratio(*HANDLES, 95), "quiet": ratio(*HANDLES, 80)},
    "HostProcessIdsHigh": {"fires": ratio("system_process_linux_thread_count", "system_process_limit", 90),
                           "quiet": ratio("system_process_linux_thread_count", "system_process_limit", 50)},
    "HostRaidDegraded": {"fires": raid(active=1), "quiet": raid(active=2)},
    "HostRaidMemberFailed": {"fires": raid(active=1, failed=1), "quiet": raid(active=1)},
    "HostRaidInactive": {"fires": {'system_disk_linux_raid_status{system_device="md0", system_disk_linux_raid_state="inactive"}': "1x120"},
                         "quiet": {'system_disk_linux_raid_status{system_device="md0", system_disk_linux_raid_state="active"}': "1x120"}},
    "HostTemperatureHigh": {"fires": {TEMPERATURE: "80x120"}, "quiet": {TEMPERATURE: "60x120"}},
    "HostTemperatureCritical": {"fires": {TEMPERATURE: "100x120", CRITICAL: "100x120"}, "quiet": {TEMPERATURE: "99x120", CRITICAL: "100x120"}},
    "HostMemoryErrorsCorrected": {"fires": {EDAC.format("corrected"): "0+1x120"}, "quiet": {EDAC.format("corrected"): "7x120"}},
    "HostMemoryErrorsUncorrected": {"fires": {EDAC.format("uncorrected"): "0x30 1x90"}, "quiet": {EDAC.format("uncorrected"): "7x120"}},
    "HostServiceFailed": {"fires": {'systemd_unit_state{systemd_unit_name="a.service", systemd_unit_active_state="failed"}': "1x120"},
                          "quiet": {'systemd_unit_state{systemd_unit_name="a.service", systemd_unit_active_state="active"}': "1x120"}},
    "HostServiceRestarts": {"fires": {'systemd_service_restarts_total{systemd_unit_name="a.service"}': "0+1x120"},
                            "quiet": {'systemd_service_restarts_total{systemd_unit_name="a.service"}': "4x120"}},
    "HostServiceOomKill": {"fires": {'systemd_service_oom_kills_total{systemd_unit_name="a.service"}': "0x57 1x60"},
                           "quiet": {'systemd_service_oom_kills_total{systemd_unit_name="a.service"}': "3x120"}},
    "HostContainerOomKill": {"fires": {f"container_memory_linux_oom_kills_total{CONTAINER}": "0x57 1x60"},
                             "quiet": {f"container_memory_linux_oom_kills_total{CONTAINER}": "3x120"}},
    "HostContainerThrottled": {"fires": {f"container_cpu_linux_throttled_time_seconds_total{CONTAINER}": "0+20x120"},
                               "quiet": {f"container_cpu_linux_throttled_time_seconds_total{CONTAINER}": "0+10x120"}},
    "HostTextfileError": {"fires": {"heka_textfile_scrape_error": "1x120"}, "quiet": {"heka_textfile_scrape_error": "0x120"}},
    # os.build_id of Arch is the same for all kernels; that of an image can differ although the kernel is the same.
    "HostKernelsDiffer": {"fires": of_weeks({kernel("a", "rolling", "6.1"): "1x120", kernel("b", "rolling", "6.12"): "1x120"}),
                          "quiet": of_weeks({kernel("a", "2026.1", "6.1"): "1x120", kernel("b", "2026.2", "6.1"): "1x120"}), "at": "500m"},
    "AgentDown": {"fires": {"system_cpu_logical_count": "2x30"}, "quiet": {"system_cpu_logical_count": "2x120"}, "at": "50m"},
    "AgentRestarts": {"fires": {"heka_process_uptime_seconds": "0+60x40 0 60 0 60 0 60 0 60 0 60 0+60x60"}, "quiet": {"heka_process_uptime_seconds": "0+60x120"}},
    "AgentLosesData": {"fires": {"heka_exporter_points_lost_total": "0x50 5x70"},
                       "quiet": {"heka_exporter_points_lost_total": "5x120"}},
    "AgentDeliveryDelayed": {"fires": {"heka_outbox_age_seconds": "0+60x120"}, "quiet": {"heka_outbox_age_seconds": "20x120"}},
    "AgentCollectorFails": {"fires": {"heka_collection_errors_total": "0+6x120"}, "quiet": {"heka_collection_errors_total": "6x120"}},
    "AgentSeriesCut": {"fires": {"heka_collection_series_cut": "3x120"}, "quiet": {"heka_collection_series_cut": "0x120"}},
}
