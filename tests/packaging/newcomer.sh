#!/bin/sh
# Installs the agent as a new user would, with the commands in README and docs/install.md, on a clean machine. The test ends with a `check`
# that exits with 0 against a Collector, and with a metric in Prometheus. It fails if the `check` needs more than five minutes.
#     tests/packaging/newcomer.sh cargo      a clean Debian with Rust and a C compiler, a clone, nothing compiled yet
#     tests/packaging/newcomer.sh deb        a clean Debian with systemd running, and the .deb of target/packages
#     tests/packaging/newcomer.sh rpm        the same with the .rpm, which the host's rpm installs there
#     tests/packaging/newcomer.sh container  a container engine and Rust, a clone, nothing compiled yet; then its static binary in a
#                                            clean Debian
# installer.sh, ansible.sh and kubernetes.sh test the other rows of the README's table. The mode rpm also tests that an upgrade restarts the
# service.
# The sources of the crates must be in cargo's cache: the time does not include their download. Prometheus and the Collector run already.
# In the mode container, the clone's binary must be identical to HEKA_BINARY, which packaging/build-static made in this checkout. This is
# not checked if the checkout has changes that are not committed.
# PROMETHEUS, OTELCOL: the paths of a Prometheus 3 and a Collector. HEKA_ROOT: a clean Debian root directory (clean-root.sh: build for cargo,
# systemd for deb and rpm, bare for container). All must exist already, because this script has no network. Needs root; for container also
# docker and dockerd; for deb and rpm also systemd-nspawn.
set -eu
mode=${1:?cargo, deb, rpm or container}
cd "$(dirname "$0")/../.."
: "${PROMETHEUS:?the path of a Prometheus 3 binary}" "${OTELCOL:?the path of a Collector}" "${HEKA_ROOT:?the path of a clean Debian root}"
[ "$mode" != container ] || : "${HEKA_BINARY:?the static binary that packaging/build-static has made here}"
test=newcomer
. tests/packaging/lib.sh
. tests/packaging/engine.sh
. tests/packaging/machine.sh
say() { echo "newcomer: ok, $mode: $*"; }
alone "$@"
checkout=$PWD

work=$(mktemp -d)
clean_up() {
    background_stop
    machine_stop
    engine_stop
    for mounted in $(sed -n "s#^[^ ]* \($work[^ ]*\) .*#\1#p" /proc/mounts | sort -r); do
        umount --lazy "$mounted"
    done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
servers() {
    background prometheus $visit "$PROMETHEUS" --config.file=packaging/prometheus/prometheus.yml --storage.tsdb.path="$work/data" \
        --web.listen-address=127.0.0.1:9090 --web.enable-otlp-receiver
    until_true "Prometheus" answers http://127.0.0.1:9090/-/ready
    collector
}

metric() {
    $visit curl -s --data-urlencode 'query=system_memory_usage_bytes' http://127.0.0.1:9090/api/v1/query | grep -q '"host_name"'
}

# root_at DIRECTORY: makes a copy of the clean root directory, for chroot.
root_at() {
    cp -a "$HEKA_ROOT" "$1"
    mount -t proc proc "$1/proc"
    mount --bind -o ro /sys "$1/sys"
    mount --bind /dev "$1/dev"
}

endpoint=http://localhost:9090/api/v1/otlp/v1/metrics
setting=OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=$endpoint
restart="systemctl restart $name"
case $mode in
cargo)
    root=$work/root
    root_at "$root"
    mkdir -p "$root/toolchain" "$root/root/.cargo/registry"
    mount --bind -o ro "$(rustc --print sysroot)" "$root/toolchain"
    mount --bind -o ro "${CARGO_HOME:-$HOME/.cargo}/registry" "$root/root/.cargo/registry"
    servers
    install='cargo install --locked --path .'
    command="cargo run --release -- --endpoint $endpoint"
    documented "$install"
    documented "$command"
    in_clone() {
        env -i PATH=/toolchain/bin:/root/.cargo/bin:/usr/bin:/bin HOME=/root CARGO_NET_OFFLINE=true \
            "$(command -v chroot)" "$root" sh -c "cd /root/$name && exec $1"
    }
    begun=$(date +%s)
    git clone --quiet "$checkout" "$root/root/$name"
    in_clone "$install" > "$work/install.log" 2>&1 || fail "$install"
    in_clone "$name check" > "$work/check.log" 2>&1 || fail "check"
    in_time "$install"
    background command in_clone "$command"
    ;;
deb | rpm)
    machine_start || fail "no machine"
    servers
    begun=$(date +%s)
    if [ "$mode" = deb ]; then
        cp "target/packages/${name}_"*"_$(dpkg --print-architecture).deb" "$machine_root/root/"
        cp target/packages/SHA256SUMS "$machine_root/root/"
        check='sha256sum --check --ignore-missing SHA256SUMS'
        documented "$check"
        in_machine sh -c "cd /root && $check" > "$work/sums.log" 2>&1 || fail "$check"
        install="apt install ./${name}_*.deb"
        documented "$install"
        in_machine sh -c "cd /root && $install" > "$work/install.log" 2>&1 || fail "$install"
    else
        install="rpm --install $name-*.rpm"
        enable="systemctl enable --now $name"
        documented "$install"
        documented "$enable"
        # rpm's database does not contain Debian's C library.
        rpm --root "$machine_root" --install --nodeps --force-debian "target/packages/$name-"*".$(uname -m).rpm" > "$work/install.log" 2>&1 ||
            fail "$install"
        in_machine sh -c "$enable" > "$work/enable.log" 2>&1 || fail "$enable"
    fi
    [ "$(property ActiveState) $(in_machine systemctl is-enabled $name)" = "active enabled" ] || fail "not active and enabled"
    in_machine $name check > "$work/check.log" 2>&1 || fail "check"
    in_time "$install"
    documented "$setting"
    documented "$restart"
    echo "$setting" >> "$machine_root/etc/$name.env"
    in_machine sh -c "$restart" > "$work/restart.log" 2>&1 || fail "$restart"
    ;;
container)
    engine_start || fail "no engine"
    visit="nsenter --target $engine --net"
    servers
    build=packaging/container/build
    documented "$build"
    run=$(sed -n '/^docker run .*\\$/,/[^\\]$/p' docs/install.md)
    [ -n "$run" ] || fail "docs/install.md has no docker run"
    begun=$(date +%s)
    git clone --quiet "$checkout" "$work/$name"
    cd "$work/$name"
    mkdir "$work/cargo"
    ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/cargo/registry"
    # For reproducible.sh, this build differs from the first one in everything that could influence a binary.
    (umask 077 && exec env -u CARGO_TARGET_DIR -u HEKA_BINARY TZ=Pacific/Auckland LC_ALL=C CARGO_HOME="$work/cargo" CARGO_NET_OFFLINE=true "$build") \
        > "$work/build.log" 2>&1 || fail "$build"
    check=$(echo "$run" | sed "s#--name $name ##; s#$name --root-path#$name check --root-path#; s# --endpoint [^ ]*##")
    sh -c "$check" > "$work/check.log" 2>&1 || fail "check: $check"
    in_time "$build, docker run"
    background run sh -c "$run"

    # packaging/container/build builds the binary with packaging/build-static.
    binary=$(echo "$PWD"/target/static/*/release/$name)
    root_at "$work/bare"
    cp "$binary" "$work/bare/"
    $visit chroot "$work/bare" "/$name" check > "$work/check.log" 2>&1 || fail "check of the static binary"
    in_time "packaging/build-static, copied into a clean Debian"
    if [ -n "$(git -C "$checkout" status --porcelain)" ]; then
        echo "newcomer: $mode: not compared with the checkout's binary, since that has changes which are not committed"
    else
        HEKA_OTHER=$binary "$checkout/tests/packaging/reproducible.sh"
    fi
    ;;
*) fail "cargo, deb, rpm or container" ;;
esac
until_true "a metric in Prometheus" metric
if [ "$mode" = rpm ]; then
    # The scriptlets that rpm runs in an upgrade, with the numbers of installed packages that it passes.
    upgrade="rpm --upgrade $name-*.rpm"
    documented "$upgrade" docs/upgrading.md
    before=$(property MainPID)
    for scriptlet in post:2 preun:1 postun:1; do
        in_machine sh -s "${scriptlet#*:}" < "packaging/rpm/${scriptlet%:*}" > "$work/upgrade.log" 2>&1 || fail "the upgrade's ${scriptlet%:*}"
    done
    restarted() { [ "$(property ActiveState)" = active ] && [ "$(property MainPID)" != "$before" ]; }
    until_true "restarted by the upgrade" restarted
    say "an upgrade restarts the service"
fi
say "a metric in Prometheus after $(($(date +%s) - begun)) s"
