#!/bin/sh
# The ways in, as someone takes them who has just read docs/install.md: from nothing to a metric in Prometheus, by the commands
# that stand there, on a machine where nothing else is. It prints how long that took: less than five minutes on two idle
# cores. The limit is three times that, since how busy this machine is says nothing about the change.
#     tests/packaging/newcomer.sh cargo      a clean Debian with Rust and a C compiler, a clone, nothing compiled yet
#     tests/packaging/newcomer.sh deb        a clean Debian with systemd running, and the .deb of target/packages
#     tests/packaging/newcomer.sh container  a container engine and Rust, a clone, nothing compiled yet
# The crates' sources must be in cargo's cache: downloading them is not in the time, and Prometheus runs already.
# For container the clone's binary must be bit for bit HEKA_BINARY, which packaging/build-static has made in this checkout, unless
# that has changes which the clone lacks.
# PROMETHEUS: the path of a Prometheus 3. HEKA_ROOT: a clean Debian root for cargo (clean-root.sh build) and deb
# (clean-root.sh systemd). Both are made before, since there is no network in here. Needs root; for container docker and
# dockerd; for deb systemd-nspawn. Everything is in namespaces of its own, so port 9090 is free.
set -eu
mode=${1:?cargo, deb or container}
cd "$(dirname "$0")/../.."
: "${PROMETHEUS:?the path of a Prometheus 3 binary}"
[ "$mode" != container ] || : "${HEKA_BINARY:?the static binary that packaging/build-static has made here}"
[ "$mode" = container ] || : "${HEKA_ROOT:?the path of a clean Debian root}"
# Processes end with the first of their namespace, this script, whatever becomes of it.
[ -n "${HEKA_INSIDE:-}" ] ||
    HEKA_INSIDE=1 exec unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
ip link set lo up
checkout=$PWD
. tests/packaging/engine.sh
. tests/packaging/machine.sh

work=$(mktemp -d)
processes=
visit=
clean_up() {
    # shellcheck disable=SC2086 # words
    [ -z "$processes" ] || kill $processes 2> /dev/null || true
    machine_stop
    engine_stop
    wait
    for mounted in $(sed -n "s#^[^ ]* \($work[^ ]*\) .*#\1#p" /proc/mounts | sort -r); do
        umount --lazy "$mounted"
    done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
fail() {
    echo "newcomer: $mode: $*" >&2
    tail -n 5 "$work"/*.log >&2 || true
    exit 1
}
# Only what the page says is done. $1: the command as it stands there.
documented() { grep -qxF -- "$1" docs/install.md || fail "docs/install.md does not say: $1"; }

prometheus() {
    $visit "$PROMETHEUS" --config.file=packaging/prometheus/prometheus.yml --storage.tsdb.path="$work/data" \
        --web.listen-address=127.0.0.1:9090 --web.enable-otlp-receiver > "$work/prometheus.log" 2>&1 &
    processes="$processes $!"
    for _ in $(seq 300); do
        $visit curl -sf http://127.0.0.1:9090/-/ready > /dev/null && return
        sleep 0.3
    done
    fail "Prometheus is not ready"
}

# Until $1, the process that must live meanwhile, has brought a metric.
visible() {
    while ! $visit curl -s --data-urlencode 'query=system_memory_usage_bytes' http://127.0.0.1:9090/api/v1/query |
        grep -q '"host_name"'; do
        [ $(($(date +%s) - start)) -lt 900 ] || fail "no metric in Prometheus after 15 minutes"
        [ -z "${1:-}" ] || kill -0 "$1" 2> /dev/null || fail "the command has ended"
        sleep 0.5
    done
    took=$(($(date +%s) - start))
}

case $mode in
cargo)
    root=$work/root
    cp -a "$HEKA_ROOT" "$root"
    toolchain=$(rustc --print sysroot)
    mkdir -p "$root/toolchain" "$root/root/.cargo/registry"
    mount --bind -o ro "$toolchain" "$root/toolchain"
    mount --bind -o ro "${CARGO_HOME:-$HOME/.cargo}/registry" "$root/root/.cargo/registry"
    mount -t proc proc "$root/proc"
    mount --bind -o ro /sys "$root/sys"
    mount --bind /dev "$root/dev"
    prometheus
    command='cargo run --release -- --endpoint http://localhost:9090/api/v1/otlp/v1/metrics'
    documented "$command"
    start=$(date +%s)
    git clone --quiet "$checkout" "$root/root/heka-insights-agent"
    env -i PATH=/toolchain/bin:/usr/bin:/bin HOME=/root CARGO_NET_OFFLINE=true \
        "$(command -v chroot)" "$root" sh -c "cd /root/heka-insights-agent && exec $command" > "$work/command.log" 2>&1 &
    processes="$processes $!"
    visible $!
    ;;
deb)
    machine_start || fail "no machine"
    cp "target/packages/heka-insights-agent_"*"_$(dpkg --print-architecture).deb" "$machine_root/root/"
    prometheus
    install='apt install ./heka-insights-agent_*.deb'
    setting='OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://localhost:9090/api/v1/otlp/v1/metrics'
    restart='systemctl restart heka-insights-agent'
    documented "$install"
    documented "$setting"
    documented "$restart"
    start=$(date +%s)
    in_machine sh -c "cd /root && $install" > "$work/install.log" 2>&1 || fail "apt install"
    echo "$setting" >> "$machine_root/etc/heka-insights-agent.env"
    in_machine sh -c "$restart" > "$work/restart.log" 2>&1 || fail "systemctl restart"
    visible
    ;;
container)
    engine_start || fail "no engine"
    visit=in_engine
    prometheus
    build=packaging/container/build
    documented "$build"
    run=$(sed -n '/^docker run .*\\$/,/[^\\]$/p' docs/install.md)
    [ -n "$run" ] || fail "docs/install.md has no docker run"
    start=$(date +%s)
    git clone --quiet "$checkout" "$work/heka-insights-agent"
    cd "$work/heka-insights-agent"
    mkdir "$work/cargo"
    ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/cargo/registry"
    env -u CARGO_TARGET_DIR -u HEKA_BINARY CARGO_HOME="$work/cargo" CARGO_NET_OFFLINE=true "$build" > "$work/build.log" 2>&1 ||
        fail "$build"
    sh -c "$run" > "$work/run.log" 2>&1 &
    processes="$processes $!"
    visible $!
    if [ -n "$(git -C "$checkout" status --porcelain)" ]; then
        echo "newcomer: $mode: not compared with the checkout's binary, since that has changes which are not committed"
    else
        cmp target/static/*/release/heka-insights-agent "$HEKA_BINARY" || fail "two builds of a commit in two directories differ"
        echo "newcomer: ok, $mode: the binary is the one of another directory, bit for bit"
    fi
    ;;
*) fail "cargo, deb or container" ;;
esac
echo "newcomer: ok, $mode: a metric in Prometheus after $took s"
