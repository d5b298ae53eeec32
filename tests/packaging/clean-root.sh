#!/bin/sh
# Prints the path of a clean Debian root, and makes it first where there is none yet; it is to be copied, never changed:
#     tests/packaging/clean-root.sh bare       the least that Debian installs
#     tests/packaging/clean-root.sh systemd    that and systemd, of which PID 1 can be started; curl and Ansible
#     tests/packaging/clean-root.sh machine    that and systemd alone
#     tests/packaging/clean-root.sh newest     Debian sid with the newest systemd, and no bus
#     tests/packaging/clean-root.sh openrc     that and OpenRC, curl and wget
#     tests/packaging/clean-root.sh build      that and a C compiler and git
# It lies in ${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent. Needs root, debootstrap and a network.
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
# With the packages in the name: a root of other packages is another root.
suite=bookworm include=
[ "$1" != newest ] || suite=sid include=--include=systemd,systemd-sysv
root=$cache/debian-$suite-$1-$(echo "$with" | cksum | cut -d' ' -f1)
if [ -e "$root" ]; then
    echo "$root"
    exit
fi

mkdir -p "$cache"
[ -z "$with" ] || bare=$("$0" bare)
# A root that is there is whole: it gets its name at the end.
work=$(mktemp -d "$cache/root.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
if [ -z "$with" ]; then
    # Each try begins with an empty directory: debootstrap does not go on from a failure in the middle.
    # shellcheck disable=SC2016,SC2086 # the inner shell's; no word where it is empty
    set -- "$1" sh -c 'rm -rf "$0" && mkdir "$0" && suite=$1 && shift && exec debootstrap --variant=minbase "$@" "$suite" "$0"' "$work" $suite $include
else
    cp -a "$bare/." "$work"
    cp /etc/resolv.conf "$work/etc/resolv.conf"
    # The packages' services need not start.
    printf '#!/bin/sh\nexit 101\n' > "$work/usr/sbin/policy-rc.d"
    chmod 755 "$work/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2016,SC2086 # the inner shell's; words
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
# What an installer writes and debootstrap does not.
echo '127.0.0.1 localhost' > "$work/etc/hosts"
rm -rf "$work"/var/cache/apt/*.bin "$work"/var/cache/apt/archives/*.deb "$work/usr/sbin/policy-rc.d" "$root.log"
# Two at once may both get here; the first one's stays.
mv -T "$work" "$root" 2> /dev/null || [ -e "$root" ]
echo "$root"
