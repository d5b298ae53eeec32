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
retry=$(cd "$(dirname "$0")/../.." && pwd)/.ci/retry
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent
root=$cache/debian-bookworm-$1
if [ ! -e "$root" ]; then
    mkdir -p "$cache"
    # A root that is there is whole: it gets its name at the end.
    work=$(mktemp -d "$cache/root.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # Each try begins with an empty directory: debootstrap does not go on from a failure in the middle.
    # shellcheck disable=SC2016,SC2086 # the inner shell's; none or one word
    "$retry" sh -c 'rm -rf "$0" && mkdir "$0" && exec debootstrap --variant=minbase "$@" bookworm "$0"' "$work" $with \
        > "$root.log" 2>&1 || {
        tail -4 "$root.log" >&2
        echo "clean-root: debootstrap cannot make the Debian root '$1'" >&2
        exit 1
    }
    # What an installer writes and debootstrap does not.
    echo '127.0.0.1 localhost' > "$work/etc/hosts"
    rm -rf "$work"/var/cache/apt/archives/*.deb "$root.log"
    # Two at once may both get here; the first one's stays.
    mv -T "$work" "$root" 2> /dev/null || [ -e "$root" ]
fi
echo "$root"
