#!/bin/sh
# packaging/ansible on a Debian with systemd (machine.sh), by a connection that is local: it installs the .deb of target/dist from a
# mirror on this host, starts the service and checks it against a Collector, changes nothing when run again, restarts for another
# setting, fails for a wrong one and for a wrong checksum, and removes.
# HEKA_ROOT: a clean Debian root (clean-root.sh systemd). OTELCOL: a Collector. Needs root and systemd-nspawn.
set -eu
cd "$(dirname "$0")/../.."
: "${HEKA_ROOT:?a clean root}" "${OTELCOL:?the path of a Collector}"
# Processes end with the first of their namespace, this script, whatever becomes of it.
[ -n "${HEKA_INSIDE:-}" ] ||
    HEKA_INSIDE=1 exec unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
ip link set lo up
. tests/packaging/machine.sh
name=heka-insights-agent
work=$(mktemp -d)
processes=
clean_up() {
    # shellcheck disable=SC2086 # words
    [ -z "$processes" ] || kill $processes 2> /dev/null || true
    machine_stop
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
fail() {
    echo "ansible: $*" >&2
    tail -n 25 "$work/play.log" >&2 || true
    exit 1
}
say() { echo "ansible: ok, $*"; }

python3 -m http.server --bind 127.0.0.1 --directory target/dist 8990 > "$work/mirror.log" 2>&1 &
processes="$processes $!"
OTLP_GRPC_ENDPOINT=127.0.0.1:14317 OTLP_HTTP_ENDPOINT=127.0.0.1:14318 HEALTH_ENDPOINT=127.0.0.1:13133 \
    PROMETHEUS_OTLP_ENDPOINT=http://127.0.0.1:9 "$OTELCOL" --config=otel-collector-config.yaml > "$work/collector.log" 2>&1 &
processes="$processes $!"
machine_start || fail "no machine"
until=$(($(date +%s) + 90))
until in_machine curl -sf -o /dev/null http://127.0.0.1:13133/ && in_machine curl -sf -o /dev/null http://127.0.0.1:8990/SHA256SUMS; do
    [ "$(date +%s)" -lt $until ] || fail "no Collector or no mirror"
    sleep 0.2
done

cp -a packaging/ansible "$machine_root/root/"
# play YAML: the role with these variables; what it has changed is left in $changed.
play() {
    {
        printf -- '- hosts: localhost\n  roles:\n    - role: heka_insights_agent\n      vars:\n'
        printf '        heka_version: %s\n' "$(packaging/release/version)"
        printf '%s\n' "$1" | sed 's/^/        /'
    } > "$machine_root/root/ansible/play.yml"
    in_machine env LC_ALL=C.UTF-8 ANSIBLE_NOCOLOR=1 ANSIBLE_ROLES_PATH=/root/ansible/roles \
        ansible-playbook --connection local --inventory localhost, /root/ansible/play.yml > "$work/play.log" 2>&1 < /dev/null || return 1
    changed=$(sed -n 's/^localhost .*changed=\([0-9]*\).*/\1/p' "$work/play.log")
}
property() { in_machine systemctl show "$name" --property "$1" --value; }
here='heka_download: http://127.0.0.1:8990'
settings='heka_settings:
  OTEL_EXPORTER_OTLP_ENDPOINT: http://127.0.0.1:14317
  HEKA_DETAIL: '

begun=$(date +%s)
play "$here
${settings}basic" || fail "the first run"
[ "$(property ActiveState) $(in_machine systemctl is-enabled $name)" = "active enabled" ] || fail "not active and enabled"
[ "$(stat -c '%a %U' "$machine_root/etc/$name.env")" = "640 root" ] || fail "the settings' mode"
grep -q '^ok: .*' "$work/play.log" && [ "$changed" -gt 0 ] || fail "nothing was changed"
say "installed, configured, started and checked against a Collector, after $(($(date +%s) - begun)) s"

before=$(property MainPID)
play "$here
${settings}basic" || fail "the second run"
[ "$changed" = 0 ] && [ "$(property MainPID)" = "$before" ] || fail "run again, it changes something"
say "run again, it changes nothing"

play "$here
${settings}detailed" || fail "another setting"
grep -q '^HEKA_DETAIL=detailed$' "$machine_root/etc/$name.env" && [ "$(property MainPID)" != "$before" ] || fail "another setting is not taken"
say "another setting restarts the service"

if play "$here
${settings}everything"; then fail "a wrong setting is taken"; fi
if play "$here
heka_checksum: $(printf '%064d' 0)
${settings}basic"; then fail "a wrong checksum is taken"; fi
say "a wrong setting and a wrong checksum fail the play"

play "heka_state: absent" || fail "removal"
[ ! -e "$machine_root/usr/bin/$name" ] && [ -e "$machine_root/etc/$name.env" ] || fail "removal took too much or too little"
say "removed, settings kept"
