#!/bin/sh
# Installs heka-insights-agent @VERSION@ from a release: the static binary, the man page, its user, the settings in
# /etc/heka-insights-agent.env, and the service of systemd, OpenRC or procd, which it starts. If run again, it upgrades the
# program and keeps the settings.
#
#     install.sh [--prefix DIR] [--no-service] [--no-start] [--require-signature]
#     install.sh --uninstall [--prefix DIR]    removes the program, keeps settings and outbox
#
# HEKA_DOWNLOAD: the address of a mirror of the release's files. Every file is compared with SHA256SUMS. The signature of SHA256SUMS is
# verified if cosign is installed; with --require-signature, a missing cosign is an error. Needs root, and curl or wget.
set -eu

name=heka-insights-agent
version=@VERSION@
download=${HEKA_DOWNLOAD:-@DOWNLOAD@}
repository=@REPOSITORY@
prefix=/usr/local
service=yes start=yes signature=where_possible action=install

fail() {
    echo "install.sh: $*" >&2
    exit 1
}
note() { echo "install.sh: $*"; }
have() { command -v "$1" > /dev/null 2>&1; }

while [ $# -gt 0 ]; do
    case $1 in
    --prefix)
        [ $# -ge 2 ] || fail "--prefix needs a directory"
        prefix=$2
        shift
        ;;
    --no-service) service=no ;;
    --no-start) start=no ;;
    --require-signature) signature=required ;;
    --uninstall) action=uninstall ;;
    *) fail "unknown argument: $1" ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || fail "needs root"

init=none
if [ "$service" = yes ]; then
    if [ -d /run/systemd/system ]; then
        init=systemd
    elif [ -x /sbin/openrc-run ]; then
        init=openrc
    elif [ -x /sbin/procd ]; then
        init=procd
    fi
fi

# service_do start|stop|enable|...: runs the init system's command.
service_do() {
    case $init:$1 in
    systemd:*)
        systemctl daemon-reload
        systemctl --quiet "$1" "$name"
        ;;
    openrc:enable) rc-update --quiet add "$name" default ;;
    openrc:disable) rc-update --quiet delete "$name" default ;;
    openrc:*) rc-service --quiet "$name" "$1" ;;
    procd:*) "/etc/init.d/$name" "$1" ;;
    esac
}

if [ "$action" = uninstall ]; then
    service_do stop 2> /dev/null || true
    service_do disable 2> /dev/null || true
    rm -f "$prefix/bin/$name" "$prefix/share/man/man1/$name.1" "/etc/systemd/system/$name.service" "/etc/init.d/$name"
    rm -rf "$prefix/share/doc/$name"
    [ "$init" != systemd ] || systemctl daemon-reload
    note "removed; /etc/$name.env, /var/lib/$name and the user $name are left"
    exit
fi

case $(uname -s) in Linux) ;; *) fail "this is $(uname -s); there are binaries for Linux only" ;; esac
case $(uname -m) in
x86_64 | amd64) arch=x86_64 ;;
aarch64 | arm64) arch=aarch64 ;;
armv7l | armv8l) arch=armv7 ;;
riscv64) arch=riscv64 ;;
*) fail "there is no binary for $(uname -m); build it from source: cargo install --locked --path . in a clone" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if have curl; then
    get() { curl --fail --silent --show-error --location --retry 3 --connect-timeout 20 --output "$work/$1" "$download/$1"; }
elif have wget; then
    get() { wget -q -T 20 -O "$work/$1" "$download/$1"; }
else
    fail "needs curl or wget"
fi

file=$name-$version-linux-$arch.tar.gz
get SHA256SUMS || fail "cannot download $download/SHA256SUMS"
if have cosign; then
    get SHA256SUMS.sigstore.json || fail "cannot download the signature $download/SHA256SUMS.sigstore.json"
    # cosign 2.4 and later detect the newer bundle format; the flag for it will be removed.
    cosign verify-blob --bundle "$work/SHA256SUMS.sigstore.json" \
        --certificate-identity "https://github.com/$repository/.github/workflows/release.yml@refs/tags/v$version" \
        --certificate-oidc-issuer https://token.actions.githubusercontent.com "$work/SHA256SUMS" > "$work/cosign.log" 2>&1 || {
        cat "$work/cosign.log" >&2
        fail "the signature of SHA256SUMS is not the release workflow's; nothing was changed"
    }
    note "the signature of SHA256SUMS is good"
elif [ "$signature" = required ]; then
    fail "cosign, which verifies the signature, is not installed; nothing was changed"
else
    note "cosign is not installed, so the signature of SHA256SUMS is not verified"
fi
get "$file" || fail "cannot download $download/$file"
wanted=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$file\$/\1/p" "$work/SHA256SUMS")
[ -n "$wanted" ] || fail "SHA256SUMS has no line for $file; nothing was changed"
[ "$(sha256sum "$work/$file" | cut -d' ' -f1)" = "$wanted" ] || fail "the checksum of $file is wrong; nothing was changed"

tar -xzf "$work/$file" -C "$work"
tree=$work/$name-$version-linux-$arch
"$tree/$name" --version > "$work/version" 2>&1 || fail "the binary does not run here: $(cat "$work/version")"

if ! grep -q "^$name:" /etc/passwd; then
    if have useradd; then
        useradd --system --user-group --no-create-home --home-dir / --shell /sbin/nologin "$name"
    elif have adduser; then
        addgroup -S "$name"
        adduser -S -D -H -h / -s /sbin/nologin -G "$name" "$name"
    else # OpenWrt
        echo "$name:x:791:" >> /etc/group
        echo "$name:x:791:791:$name:/:/bin/false" >> /etc/passwd
        echo "$name:x:0:0:99999:7:::" >> /etc/shadow
    fi
fi

# put MODE FROM TO: replaces the file in one step, so that a running program keeps its old file.
put() {
    mkdir -p "$(dirname "$3")"
    cp "$2" "$3.new"
    chmod "$1" "$3.new"
    mv "$3.new" "$3"
}
sed -i "s#/usr/bin/$name#$prefix/bin/$name#" "$tree/init/$name.service" "$tree/init/openrc" "$tree/init/procd"
upgrade=no
[ ! -e "$prefix/bin/$name" ] || upgrade=yes
put 755 "$tree/$name" "$prefix/bin/$name"
put 644 "$tree/$name.1" "$prefix/share/man/man1/$name.1"
(cd "$tree" && find LICENSE THIRD-PARTY-LICENSES ./*.md docs -type f) | while read -r document; do
    put 644 "$tree/$document" "$prefix/share/doc/$name/$document"
done
[ -e "/etc/$name.env" ] || put 640 "$tree/$name.env" "/etc/$name.env"
case $init in
systemd) put 644 "$tree/init/$name.service" "/etc/systemd/system/$name.service" ;;
openrc | procd) put 755 "$tree/init/$init" "/etc/init.d/$name" ;;
esac
note "installed $(cat "$work/version") in $prefix/bin"

if [ "$init" = none ]; then
    note "no service was set up; run $prefix/bin/$name"
elif [ "$start" = no ]; then
    note "the service $name is there and not started"
else
    service_do enable
    if [ "$upgrade" = yes ]; then service_do restart; else service_do start; fi
    note "the service $name runs; set where to send in /etc/$name.env, then restart it"
fi
