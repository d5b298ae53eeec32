# Starts a Debian with systemd as PID 1 for one test; scripts source this file. Its root directory is a copy of $HEKA_ROOT
# (`clean-root.sh systemd`) in $work. It has its own namespaces, except for the network, which is the caller's. Needs root and
# systemd-nspawn.

machine=
machine_root=

machine_start() {
    machine_root=$work/machine
    cp -a "$HEKA_ROOT" "$machine_root"
    systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$machine_root" --machine=heka-test \
        > "$work/machine.log" 2>&1 < /dev/null &
    machine=$!
    for _ in $(seq 600); do
        kill -0 $machine 2> /dev/null || break
        case $(in_machine systemctl is-system-running 2> /dev/null) in running | degraded) return ;; esac
        sleep 0.3
    done
    tail -5 "$work/machine.log" >&2
    echo "machine: systemd does not start" >&2
    return 1
}

in_machine() {
    leader=$(ps -o pid= --ppid "$machine" | head -1 | tr -d ' ')
    [ -n "$leader" ] && nsenter --target "$leader" --all -- "$@"
}

# Functions about the service $name.
journal() { in_machine journalctl --unit "$name" --output cat --no-pager --quiet; }
said() { journal | grep -q "$1"; }
outbox() { find "$machine_root/var/lib/$name" -name '*.batch' | sort; }
property() { in_machine systemctl show "$name" --property "$1" --value; }

machine_stop() {
    [ -n "$machine" ] || return 0
    kill "$machine" 2> /dev/null || true
    wait "$machine" || true
    machine=
}
