#!/bin/sh
# The unit is sound and hardened: systemd-analyze's complaints and an exposure above 2.0 fail. Needs systemd's tools, not
# systemd as PID 1.
set -eu
cd "$(dirname "$0")/../.."
unit=heka-insights-agent.service
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The program need not be installed where this runs; the man page likewise.
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
# Each of these falsifies what is read; see the unit.
if grep -E '^(ProtectHome|ProtectProc|ProcSubset|PrivateNetwork|PrivateTmp|DynamicUser)=' "packaging/systemd/$unit" >&2; then
    echo "the unit has a setting that falsifies what the agent reads" >&2
    exit 1
fi
echo "systemd: ok, the unit"
