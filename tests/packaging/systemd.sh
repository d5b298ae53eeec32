#!/bin/sh
# Checks that the unit is valid and hardened: a complaint of systemd-analyze or an exposure level above 2.0 fails. Needs systemd's
# tools, but not systemd as PID 1.
set -eu
cd "$(dirname "$0")/../.."
unit=heka-insights-agent.service
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The program and the man page need not be installed on this machine.
sed 's#^ExecStart=/usr/bin/heka-insights-agent#ExecStart=/bin/true#' "packaging/systemd/$unit" > "$work/$unit"
complaints=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$work/$unit" 2>&1) || {
    printf '%s\n' "$complaints" >&2
    exit 1
}
if printf '%s' "$complaints" | grep -F "$unit" >&2; then exit 1; fi
systemd-analyze security --no-pager --offline=true --threshold=20 "$work/$unit" > "$work/exposure" || {
    cat "$work/exposure" >&2
    exit 1
}
tail -1 "$work/exposure"
# The unit must not have these options, because they falsify the metrics; see the comments in the unit.
if grep -E '^(ProtectHome|ProtectProc|ProcSubset|PrivateNetwork|PrivateTmp|DynamicUser)=' "packaging/systemd/$unit" >&2; then
    echo "the unit has a setting that falsifies what the agent reads" >&2
    exit 1
fi
echo "systemd: ok, the unit"
