#!/bin/sh
# Tests the .deb of target/packages under a systemd of its own (machine.sh). The service becomes active when the agent notifies systemd
# that it is ready, has only the rights of its user, can be reloaded, is killed when it hangs, is started again after a crash and keeps
# its outbox, is restarted by an upgrade, is not started again after a wrong setting, and is gone after a purge.
# Its metrics of systemd under node_exporter's names are those of node_exporter.
# HEKA_ROOT: a clean Debian root directory with systemd (clean-root.sh systemd). NODE_EXPORTER: the path of node_exporter. Both must
# exist already, because this script has no network.
# Needs root, systemd-nspawn and dpkg-deb.
set -eu
cd "$(dirname "$0")/../.."
: "${HEKA_ROOT:?the path of a clean Debian root with systemd}" "${NODE_EXPORTER:?the path of node_exporter}"
test=service
. tests/packaging/lib.sh
. tests/packaging/machine.sh
alone "$@"
work=$(mktemp -d)
clean_up() {
    machine_stop
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
evidence() { journal | tail -15; }
running() { [ "$(property ActiveState)" = active ] && [ "$(property MainPID)" != "${not:-0}" ]; }
waiting() { [ "$(outbox | wc -l)" -gt "${more_than:-0}" ]; }
# process FIELD: a field of /proc/PID/status of the main process.
process() { in_machine sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID)/status"; }

machine_start || exit 1
cp "target/packages/${name}_"*"_$(dpkg --print-architecture).deb" "$machine_root/root/first.deb"
# Nothing listens at the default endpoint, so the collections stay in the outbox.
in_machine dpkg -i /root/first.deb > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; fail "dpkg -i"; }
[ "$(in_machine systemctl is-enabled $name)" = enabled ] || fail "not enabled"
until_true "active" running
[ "$(property Type) $(property NRestarts)" = "notify 0" ] || fail "systemd does not wait for the agent's notification, or restarted it"
say "installed, enabled, and active after the agent's notification"

in_machine sh -c "cd /run/systemd/system &&
    printf '[Service]\nExecStart=/bin/false\n' > fails.service &&
    printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' > once.service &&
    printf '[Service]\nExecStart=/bin/false\nRestart=on-failure\n' > again.service &&
    systemctl daemon-reload && systemctl start fails once again" || fail "units"
given_up() { [ "$(in_machine systemctl is-failed fails again | sort -u)" = failed ]; }
until_true "units that failed" given_up
tests/node_exporter/compare.py systemd --root "/proc/$leader/root" --agent "$machine_root/usr/bin/$name" \
    --node-exporter "$NODE_EXPORTER" || fail "other metrics of systemd than node_exporter"

user=$(in_machine id -u $name)
[ "$(process Uid | cut -f1)" = "$user" ] || fail "runs as $(process Uid)"
[ "$(process CapEff) $(process CapBnd) $(process NoNewPrivs) $(process Seccomp)" = "0000000000000000 0000000000000000 1 2" ] ||
    fail "rights: $(process CapEff) $(process CapBnd) $(process NoNewPrivs) $(process Seccomp)"
[ "$(property MemoryMax)" = $((128 << 20)) ] || fail "MemoryMax is $(property MemoryMax)"
[ "$(stat -c '%a %u' "$machine_root/var/lib/$name")" = "700 $user" ] || fail "the state directory's mode or owner"
[ "$(stat -c '%a %U' "$machine_root/etc/$name.env")" = "640 root" ] || fail "the environment file's mode or owner"
say "its user, no capabilities, no new privileges, a system-call filter, $(property MemoryMax) bytes at most"

printf 'OTEL_METRIC_EXPORT_INTERVAL=500\nOTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4319\n' >> "$machine_root/etc/$name.env"
in_machine systemctl restart $name || fail "restart"
until_true "a batch in the outbox" waiting
say "undelivered batches wait in the state directory"

in_machine $name check > "$work/check.log" 2>&1 && fail "check succeeds without a server"
for line in "ENDPOINT  *failed  *http://127.0.0.1:4319[: ]" "OUTBOX  *ok  */var/lib/$name/outbox is in use by a running agent"; do
    grep -q "^$line" "$work/check.log" || fail "check reports no: $line"
done
say "check tests the service's endpoint and its outbox"

before=$(property MainPID)
in_machine systemctl reload $name || fail "reload"
until_true "certificates read again" said "reloaded certificates"
[ "$(property MainPID) $(property NRestarts)" = "$before 0" ] || fail "the reload was a restart"
say "reloaded in place"

kept=$(outbox | head -1)
in_machine systemctl kill --kill-whom=main --signal=KILL $name
not=$before until_true "started after a crash" running
[ -e "$kept" ] || fail "the outbox is gone after the crash"
say "started again after kill -9, with its outbox"

in_machine sh -c "mkdir -p /run/systemd/system/$name.service.d &&
    printf '[Service]\nWatchdogSec=2s\nRestartSec=1s\n' > /run/systemd/system/$name.service.d/test.conf &&
    systemctl daemon-reload && systemctl restart $name" || fail "a shorter watchdog"
until_true "active with a shorter watchdog" running
before=$(property MainPID)
more_than=$(($(outbox | wc -l) + 8)) until_true "alive for more than its watchdog" waiting
[ "$(property MainPID)" = "$before" ] || fail "the watchdog killed a service that worked"
in_machine systemctl kill --kill-whom=main --signal=STOP $name
not=$before until_true "killed and started by the watchdog" running
said "Watchdog timeout" || fail "not by the watchdog"
say "started again by the watchdog after it hung"

dpkg-deb -R "$machine_root/root/first.deb" "$work/next"
sed -i 's/^Version: .*/&.next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$work/next" "$machine_root/root/next.deb" > /dev/null
before=$(property MainPID)
kept=$(outbox | head -1)
in_machine dpkg -i /root/next.deb > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; fail "upgrade"; }
not=$before until_true "restarted by the upgrade" running
grep -q '^OTEL_METRIC_EXPORT_INTERVAL=500$' "$machine_root/etc/$name.env" && [ -e "$kept" ] ||
    fail "the configuration or the outbox is gone after the upgrade"
say "restarted by an upgrade, with its configuration and outbox"

echo HEKA_DETAIL=everything >> "$machine_root/etc/$name.env"
in_machine systemctl restart $name > /dev/null 2>&1 && fail "systemctl restart succeeds with a wrong setting"
[ "$(property ExecMainStatus) $(property ActiveState)" = "2 failed" ] || fail "wrong usage: $(property ExecMainStatus) $(property ActiveState)"
said HEKA_DETAIL || fail "the journal does not name the wrong setting"
say "not started again after a wrong setting, which the journal names"

in_machine dpkg -P $name > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; fail "purge"; }
in_machine systemctl is-active --quiet $name && fail "still runs after a purge"
[ ! -e "$machine_root/etc/$name.env" ] && [ ! -e "$machine_root/var/lib/$name" ] || fail "the purge left something"
say "gone after a purge"
