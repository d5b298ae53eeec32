#!/bin/sh
# Runs the role in packaging/ansible on a Debian with systemd (machine.sh), over a local connection, as in docs/install.md. The role
# installs the .deb of target/dist from a mirror on this host, starts the service and checks it against a Collector. A second run changes
# nothing, and a changed setting restarts the service. The role fails for a wrong setting, a wrong checksum, and an endpoint where nothing
# listens. It also removes the package.
# HEKA_ROOT: a clean Debian root directory (clean-root.sh systemd). OTELCOL: a Collector. Needs root and systemd-nspawn.
set -eu
cd "$(dirname "$0")/../.."
: "${HEKA_ROOT:?a clean root}" "${OTELCOL:?the path of a Collector}"
test=ansible
. tests/packaging/lib.sh
. tests/packaging/machine.sh
alone "$@"
work=$(mktemp -d)
clean_up() {
    background_stop
    machine_stop
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
evidence() { tail -n 25 "$work/play.log"; }

mirror target/dist 8990
collector 14317 14318
machine_start || fail "no machine"

cp -a packaging/ansible "$machine_root/root/"
# The example in the page, with this mirror and Collector; the version is the role's default.
example=$(sed -n '/^- role: heka_insights_agent$/,/^```$/p' docs/install.md | sed '$d')
page=$(echo "$example" | sed 's#https://RELEASE#http://127.0.0.1:8990#; s#collector.example.com:4317#127.0.0.1:14317#')
[ "$(echo "$example" | wc -l) $(echo "$page" | grep -c 127.0.0.1)" = "5 2" ] || fail "docs/install.md has no example of the role"
[ "$(sed -n '/- role:/,$s/^    //p' packaging/ansible/example.yml | sed 's#https://.*#https://RELEASE#')" = "$example" ] ||
    fail "packaging/ansible/example.yml is not the page's example"
# play YAML: runs the role with these variables; sets $changed to the number of changes.
play() { run_role "$(printf -- '- role: heka_insights_agent\n  vars:\n'; echo "$1" | sed 's/^/    /')"; }
run_role() {
    { printf -- '- hosts: localhost\n  roles:\n' && echo "$1" | sed 's/^/    /'; } > "$machine_root/root/ansible/play.yml"
    in_machine env LC_ALL=C.UTF-8 ANSIBLE_NOCOLOR=1 ANSIBLE_ROLES_PATH=/root/ansible/roles \
        ansible-playbook --connection local --inventory localhost, /root/ansible/play.yml > "$work/play.log" 2>&1 < /dev/null || return 1
    changed=$(sed -n 's/^localhost .*changed=\([0-9]*\).*/\1/p' "$work/play.log")
}
here='heka_download: http://127.0.0.1:8990'
settings='heka_settings:
  OTEL_EXPORTER_OTLP_ENDPOINT: http://127.0.0.1:14317
  HEKA_DETAIL: '

begun=$(date +%s)
run_role "$page" || fail "the first run"
[ "$(property ActiveState) $(in_machine systemctl is-enabled $name)" = "active enabled" ] || fail "not active and enabled"
[ "$(stat -c '%a %U' "$machine_root/etc/$name.env")" = "640 root" ] || fail "the settings' mode"
grep -q '^ok: .*' "$work/play.log" && [ "$changed" -gt 0 ] || fail "nothing was changed"
in_time "the Ansible role"

before=$(property MainPID)
run_role "$page" || fail "the second run"
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
if play "$here
heka_settings:
  OTEL_EXPORTER_OTLP_ENDPOINT: http://127.0.0.1:1"; then fail "an endpoint where nothing listens is taken"; fi
grep -A 1 '^TASK .*Check that everything works' "$work/play.log" | grep -q '^fatal: ' || fail "not the check fails for an endpoint where nothing listens"
say "a wrong setting, a wrong checksum and an endpoint where nothing listens fail the play"

play "heka_state: absent" || fail "removal"
[ ! -e "$machine_root/usr/bin/$name" ] && [ -e "$machine_root/etc/$name.env" ] || fail "removal took too much or too little"
say "removed, settings kept"
