#!/bin/sh
# Prints the path of a clean Debian root, and makes it first where there is none yet; it is to be copied, never changed:
# tests/packaging/clean-root.sh bare|systemd|build. `build` has a C compiler, and of `systemd` PID 1 can be started.
# It lies in ${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent. Needs root and debootstrap.
set -eu
case ${1:-} in
bare) with= ;;
systemd) with=--include=systemd,systemd-sysv,dbus ;;
build) with=--include=gcc,libc6-dev,ca-certificates,git ;;
*) echo "$0: bare, systemd or build" >&2; exit 2 ;;
esac
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent
root=$cache/debian-bookworm-$1
if [ ! -e "$root" ]; then
    mkdir -p "$cache"
    # A root that is there is whole: it gets its name at the end.
    work=$(mktemp -d "$cache/root.XXXXXX")
    chmod 755 "$work"
    # shellcheck disable=SC2086 # none or one word
    debootstrap --variant=minbase $with bookworm "$work" > "$root.log" 2>&1 || {
        tail -3 "$root.log" >&2
        rm -rf "$work"
        exit 1
    }
    # What an installer writes and debootstrap does not.
    echo '127.0.0.1 localhost' > "$work/etc/hosts"
    rm -rf "$work"/var/cache/apt/archives/*.deb "$root.log"
    mv "$work" "$root"
fi
echo "$root"
