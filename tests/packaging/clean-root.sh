#!/bin/sh
# Prints the path of a clean Debian root directory, and makes it first if it does not exist. Copy it, and never change it:
#     tests/packaging/clean-root.sh bare       Debian's smallest installation (minbase)
#     tests/packaging/clean-root.sh systemd    bare, and systemd, which can run as PID 1, D-Bus, curl and Ansible
#     tests/packaging/clean-root.sh machine    bare, and systemd and D-Bus
#     tests/packaging/clean-root.sh openrc     bare, and OpenRC, curl and wget
#     tests/packaging/clean-root.sh build      bare, and a C compiler and git
#     tests/packaging/clean-root.sh newest     Debian sid: its smallest installation and the newest systemd, without D-Bus
# It is in ${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent. Needs root, debootstrap and a network.
set -eu
case ${1:-} in
bare) with= ;;
systemd) with='systemd systemd-sysv dbus curl ansible-core python3-apt' ;;
machine) with='systemd systemd-sysv dbus' ;;
newest) with= ;;
openrc) with='openrc curl wget' ;;
build) with='gcc libc6-dev ca-certificates git' ;;
*) echo "$0: bare, systemd, machine, newest, openrc or build" >&2; exit 2 ;;
esac
retry=$(cd "$(dirname "$0")/../.." && pwd)/.ci/retry
cache=${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent
# A checksum of the packages is part of the name, so that a change of the packages makes a new root.
suite=bookworm include=
[ "$1" != newest ] || suite=sid include=--include=systemd,systemd-sysv
root=$cache/debian-$suite-$1-$(echo "$with" | cksum | cut -d' ' -f1)
if [ -e "$root" ]; then
    echo "$root"
    exit
fi

mkdir -p "$cache"
[ -z "$with" ] || bare=$("$0" bare)
# It gets its name at the end, so a root with this name is complete.
work=$(mktemp -d "$cache/root.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
if [ -z "$with" ]; then
    # Each try starts with an empty directory, because debootstrap cannot continue after a failure.
    # shellcheck disable=SC2016,SC2086 # the inner shell expands $0 and $@; an empty $include must be no argument
    set -- "$1" sh -c 'rm -rf "$0" && mkdir "$0" && suite=$1 && shift && exec debootstrap --variant=minbase "$@" "$suite" "$0"' "$work" $suite $include
else
    cp -a "$bare/." "$work"
    cp /etc/resolv.conf "$work/etc/resolv.conf"
    # Without this, dpkg would start the packages' services.
    printf '#!/bin/sh\nexit 101\n' > "$work/usr/sbin/policy-rc.d"
    chmod 755 "$work/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2016,SC2086 # the inner shell expands $@; $with is several arguments
    set -- "$1" chroot "$work" env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get update && apt-get install -y --no-install-recommends "$@"' sh $with
fi
name=$1
shift
"$retry" "$@" > "$root.log" 2>&1 || {
    tail -4 "$root.log" >&2
    echo "clean-root: cannot make the Debian root '$name'" >&2
    exit 1
}
chmod 755 "$work"
# An installer of Debian writes this file; debootstrap does not.
echo '127.0.0.1 localhost' > "$work/etc/hosts"
rm -rf "$work"/var/cache/apt/*.bin "$work"/var/cache/apt/archives/*.deb "$work/usr/sbin/policy-rc.d" "$root.log"
# If two runs get here at the same time, the root of the first one is kept.
mv -T "$work" "$root" 2> /dev/null || [ -e "$root" ]
echo "$root"
