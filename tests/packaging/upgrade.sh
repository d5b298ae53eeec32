#!/bin/sh
# Tests an upgrade during an outage, on a Debian with systemd (machine.sh). The package of an older revision fills its outbox until it
# drops batches. Then the current package is installed over it. Every batch on disk must arrive at a Collector, unchanged and once.
# HEKA_ROOT: a clean Debian root directory (clean-root.sh systemd). HEKA_OLD_PACKAGE: an older .deb (old-package.sh). OTELCOL: a Collector. Needs root,
# systemd-nspawn and the .deb of target/packages.
set -eu
cd "$(dirname "$0")/../.."
: "${HEKA_ROOT:?a clean root}" "${HEKA_OLD_PACKAGE:?an older package}" "${OTELCOL:?the path of a Collector}"
test=upgrade
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
evidence() { journal | tail -15; }
setting() { echo "$1" >> "$machine_root/etc/$name.env"; }

machine_start || fail "no machine"
cp "$HEKA_OLD_PACKAGE" "$machine_root/root/old.deb"
cp "target/packages/${name}_"*"_$(dpkg --print-architecture).deb" "$machine_root/root/new.deb"
in_machine dpkg -i /root/old.deb > "$work/dpkg.log" 2>&1 || fail "the older package: $(cat "$work/dpkg.log")"
old=$(in_machine dpkg-query --show --showformat '${Version}' $name)
# Nothing listens at the default endpoint yet.
setting HEKA_OUTBOX_MAX_SIZE=256KiB
setting OTEL_METRIC_EXPORT_INTERVAL=100
in_machine systemctl restart $name || fail "the older agent does not start"
until_true "the outbox is full" said 'the outbox was full'
in_machine systemctl stop $name || fail "the older agent does not stop"
outbox > "$work/left"
mkdir "$work/old"
# shellcheck disable=SC2046 # several arguments
cp -p $(cat "$work/left") "$work/old"
bytes=$(cat "$work"/old/*.batch | wc -c)
[ "$bytes" -gt $((240 << 10)) ] || fail "$bytes bytes are no full outbox"

cat > "$work/collector.yaml" << YAML
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}
  otlp/reference: {protocols: {http: {endpoint: 127.0.0.1:4320}}}
exporters:
  file: {path: $work/arrived.json, flush_interval: 100ms}
  file/reference: {path: $work/reference.json, flush_interval: 100ms}
extensions:
  health_check: {endpoint: 127.0.0.1:13133}
service:
  extensions: [health_check]
  pipelines:
    metrics: {receivers: [otlp], exporters: [file]}
    metrics/reference: {receivers: [otlp/reference], exporters: [file/reference]}
  telemetry: {metrics: {level: none}}
YAML
background collector "$OTELCOL" --config="$work/collector.yaml"
until_true "the Collector" answers http://127.0.0.1:13133/
# The batches in the older outbox, as the Collector reads them: each record's payload, without its header, directly from the file.
python3 - "$work" << 'PYTHON' || fail "the older records"
import pathlib, sys, urllib.request

for file in sorted((pathlib.Path(sys.argv[1]) / "old").iterdir()):
    record = file.read_bytes()
    assert record[:6] == b"HKOB\x01\x00", f"{file.name} is no record of version 1"
    urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:4320/v1/metrics", record[64:], {"Content-Type": "application/x-protobuf"}))
PYTHON
setting OTEL_METRIC_EXPORT_INTERVAL=10000
# The current agent collects as soon as it starts. With the old limit, that batch could displace an old batch that is not yet sent.
setting HEKA_OUTBOX_MAX_SIZE=1MiB
upgraded=$(date +%s)
in_machine dpkg --force-confold -i /root/new.deb > "$work/dpkg.log" 2>&1 || fail "the upgrade: $(cat "$work/dpkg.log")"
new=$(in_machine dpkg-query --show --showformat '${Version}' $name)
[ "$old" != "$new" ] && [ "$(property ActiveState)" = active ] || fail "not $new in place of $old, and active"
empty() { ! outbox | grep -q .; }
until_true "the outbox is empty" empty
in_machine systemctl stop $name # the stop sends a last collection
background_stop
complaints=$(in_machine journalctl --unit $name --since "@$upgraded" --priority err --output cat --quiet)
[ -z "$complaints" ] || fail "today's agent complains: $complaints"

python3 - "$work" << 'PYTHON' || fail "not all batches arrived"
import collections, json, pathlib, sys

work = pathlib.Path(sys.argv[1])

def batches(name):
    """How often each came, with all its points, their values and times."""
    lines = (work / name).read_text().splitlines()
    return collections.Counter(json.dumps(each, sort_keys=True) for line in lines for each in json.loads(line)["resourceMetrics"])

arrived, reference, records = batches("arrived.json"), batches("reference.json"), len(list((work / "old").iterdir()))
lost = [each for each in reference if each not in arrived]
twice = [each for each, count in arrived.items() if count != 1]
today = len(arrived) - len(reference)
if len(reference) != records or lost or twice or today < 1:
    sys.exit(f"upgrade: of {records} batches, {len(reference)} of them read, {len(lost)} are lost or changed, {len(twice)} came twice; "
             f"{today} are of the agent of today")
points = sum(each.count('"timeUnixNano"') for each in reference)
print(f"upgrade: ok, {records} batches of an older version, a full outbox, arrived once each with all {points} points, and {today} of today's agent")
PYTHON
say "from $old to $new"
