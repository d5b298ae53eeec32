#!/bin/sh
# Runs the install.sh of target/dist (release.sh), from a mirror on this host, on a Debian with systemd (machine.sh) and on one with
# OpenRC. It must install and start the service, so that `check` exits with 0 against a Collector. It must upgrade, and change nothing if
# a checksum or a signature is wrong. The script for procd is run with replaced procd functions.
# HEKA_ROOT, HEKA_ROOT_OPENRC: clean Debian root directories (clean-root.sh systemd, openrc). OTELCOL: a Collector. COSIGN: cosign. Needs root,
# systemd-nspawn and openssl.
set -eu
cd "$(dirname "$0")/../.."
: "${HEKA_ROOT:?a clean root}" "${HEKA_ROOT_OPENRC:?a clean root}" "${OTELCOL:?the path of a Collector}" "${COSIGN:?the path of cosign}"
test=installer
. tests/packaging/lib.sh
. tests/packaging/authority.sh
. tests/packaging/machine.sh
alone "$@"
version=$(packaging/release/version)
work=$(mktemp -d)
clean_up() {
    background_stop
    machine_stop
    umount "$work/openrc/proc" "$work/openrc/sys" 2> /dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

mirror target/dist 8990
cp -a target/dist "$work/damaged"
printf x >> "$work/damaged/$name-$version-linux-$(uname -m).tar.gz"
mirror "$work/damaged" 8991
# Attacks of someone who can change the mirror but not the workflow.
for each in swapped foreign forged; do
    cp -a "$work/damaged" "$work/$each"
    (cd "$work/$each" && sha256sum -- *.tar.gz *.deb *.rpm *.cdx.json install.sh > SHA256SUMS)
done
sign() {
    authority_sign "$1" "https://github.com/$2/.github/workflows/release.yml@refs/tags/v$version" \
        "$COSIGN" sign-blob --yes --bundle "$work/$3/SHA256SUMS.sigstore.json" "$work/$3/SHA256SUMS" > "$work/sign.log" 2>&1 || fail "sign"
}
cp -R target/authority "$work/authority"
sign "$work/authority" "another/$name" foreign
authority_make "$work/other-authority"
sign "$work/other-authority" "example/$name" forged
mirror "$work/swapped" 8993
mirror "$work/foreign" 8994
mirror "$work/forged" 8995
collector
machine_start || fail "no machine"
# The commands of docs/install.md, with the address of this mirror.
fetch='curl --fail --silent --show-error --location https://RELEASE/install.sh --output install.sh'
documented "$fetch"
documented 'sh install.sh'
install="cd /root; $(echo "$fetch" | sed 's#https://RELEASE#http://127.0.0.1:8990#') && sh install.sh"
begun=$(date +%s)
in_machine sh -c "$install" > "$work/install.log" 2>&1 || fail "install"
grep -q 'signature of SHA256SUMS is not verified' "$work/install.log" || fail "a missing cosign is passed over in silence"
[ "$(property ActiveState) $(in_machine systemctl is-enabled $name)" = "active enabled" ] || fail "not active and enabled"
in_machine $name check > "$work/check.log" 2>&1 || fail "check"
in_time install.sh
grep -q 'ENDPOINT *ok' "$work/check.log" || fail "check does not name the endpoint"
[ "$(stat -c '%a %U' "$machine_root/etc/$name.env")" = "640 root" ] || fail "the settings' mode"
[ "$(in_machine sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$(property MainPID)/status")" = "$(in_machine id -u $name)" ] ||
    fail "not its own user"
for file in bin/$name share/man/man1/$name.1 share/doc/$name/THIRD-PARTY-LICENSES; do
    [ -s "$machine_root/usr/local/$file" ] || fail "no $file"
done
say "installed by one command, its service runs"

before=$(property MainPID)
echo HEKA_DETAIL=detailed >> "$machine_root/etc/$name.env"
in_machine sh -c "$install" > "$work/install.log" 2>&1 || fail "upgrade"
[ "$(property MainPID)" != "$before" ] && [ "$(property ActiveState)" = active ] || fail "not restarted"
grep -q '^HEKA_DETAIL=detailed$' "$machine_root/etc/$name.env" || fail "the upgrade took the settings"
say "again, it restarts the service and keeps the settings"

# unchanged WORDS COMMAND: the command must fail with these words and leave the installed program unchanged.
sum() { sha256sum < "$machine_root/usr/local/bin/$name"; }
unchanged() {
    sum=$(sum)
    in_machine sh -c "$2" > "$work/refused.log" 2>&1 && fail "taken: $1"
    grep -q "$1" "$work/refused.log" || fail "no word of it: $1"
    [ "$(sum)" = "$sum" ] || fail "changed in spite of: $1"
}
unchanged 'checksum of .* is wrong' "HEKA_DOWNLOAD=http://127.0.0.1:8991 sh -c '$install'"
unchanged 'cannot download' "HEKA_DOWNLOAD=http://127.0.0.1:8992 sh -c '$install'"
mkdir "$machine_root/root/stub"
printf '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo mips64\n' > "$machine_root/root/stub/uname"
chmod 755 "$machine_root/root/stub/uname"
unchanged 'there is no binary for mips64' "PATH=/root/stub:\$PATH; $install"
# Each architecture downloads its own archive. This release has none, so the error names the archive.
mkdir "$work/empty"
touch "$work/empty/SHA256SUMS"
mirror "$work/empty" 8996
for pair in x86_64:x86_64 aarch64:aarch64 armv7l:armv7 riscv64:riscv64; do
    printf '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo %s\n' "${pair%:*}" > "$machine_root/root/stub/uname"
    unchanged "cannot download .*/$name-$version-linux-${pair#*:}\.tar\.gz" "PATH=/root/stub:\$PATH; HEKA_DOWNLOAD=http://127.0.0.1:8996 sh -c '$install'"
done
unchanged 'is not installed; nothing was changed' "$install --require-signature"

# From here on cosign is installed. It trusts only the authority of target/authority, and uses no transparency log.
cp "$COSIGN" "$machine_root/root/cosign"
cp target/authority/trusted-root.json "$machine_root/root/"
printf '#!/bin/sh\nexec /root/cosign "$@" --trusted-root /root/trusted-root.json --insecure-ignore-tlog --insecure-ignore-sct\n' \
    > "$machine_root/usr/local/bin/cosign"
chmod 755 "$machine_root/usr/local/bin/cosign"
in_machine sh -c "$install --require-signature" > "$work/install.log" 2>&1 || fail "with a good signature"
grep -q 'signature of SHA256SUMS is good' "$work/install.log" || fail "no word of the good signature"
refused="not the release workflow's; nothing was changed"
unchanged "$refused" "HEKA_DOWNLOAD=http://127.0.0.1:8993 sh -c '$install'" # other files under the same signature
unchanged "$refused" "HEKA_DOWNLOAD=http://127.0.0.1:8994 sh -c '$install'" # another repository's signature
unchanged "$refused" "HEKA_DOWNLOAD=http://127.0.0.1:8995 sh -c '$install'" # another authority's signature
say "a good signature is taken; wrong checksums, other files, another workflow's or authority's signature, none where one is required: nothing is changed"

in_machine sh -c "$install --uninstall" > "$work/install.log" 2>&1 || fail "uninstall"
[ ! -e "$machine_root/usr/local/bin/$name" ] && [ ! -e "$machine_root/etc/systemd/system/$name.service" ] || fail "uninstall left something"
in_machine systemctl is-active --quiet $name && fail "still runs"
[ -e "$machine_root/etc/$name.env" ] || fail "uninstall took the settings"
say "uninstalled, settings kept"

in_machine sh -c "$install --no-start" > "$work/install.log" 2>&1 || fail "--no-start"
[ -s "$machine_root/etc/systemd/system/$name.service" ] || fail "--no-start: no unit"
in_machine systemctl is-active --quiet $name && fail "--no-start: started"
in_machine systemctl is-enabled --quiet $name && fail "--no-start: enabled"
in_machine sh -c "$install --uninstall" > "$work/install.log" 2>&1 || fail "uninstall"
say "--no-start: the unit is there, and neither started nor enabled"

root=$work/openrc
cp -a "$HEKA_ROOT_OPENRC" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
in_root() { chroot "$root" "$@"; }
# A host that has wget but no curl.
mkdir "$root/root/without-curl"
in_root sh -c 'cd /root/without-curl && for each in /usr/sbin/* /usr/bin/*; do [ -e "${each##*/}" ] || ln -s "$each"; done && rm curl'
cp target/dist/install.sh "$root/root/"
by_wget="env PATH=/root/without-curl sh /root/install.sh --prefix /opt/heka --no-service"
in_root $by_wget > "$work/install.log" 2>&1 || fail "--prefix, --no-service, by wget"
grep -q 'no service was set up; run /opt/heka/bin' "$work/install.log" || fail "no word of the missing service"
in_root /opt/heka/bin/$name --version > "$work/version.log" || fail "--prefix: no program"
[ -s "$root/opt/heka/share/man/man1/$name.1" ] || fail "--prefix: no man page"
[ ! -e "$root/usr/local/bin/$name" ] && [ ! -e "$root/etc/init.d/$name" ] || fail "--prefix, --no-service: more than that"
if in_root env HEKA_DOWNLOAD=http://127.0.0.1:8992 $by_wget > "$work/install.log" 2>&1; then fail "taken by wget from nowhere"; fi
grep -q 'cannot download' "$work/install.log" || fail "no word of a failed wget"
in_root $by_wget --uninstall > "$work/install.log" 2>&1 || fail "uninstall of a prefix"
[ ! -e "$root/opt/heka/bin/$name" ] || fail "uninstall left the program of a prefix"
say "--no-service, --prefix, and wget in place of curl"

# Makes OpenRC believe that it started the machine.
mkdir -p "$root/run/openrc"
touch "$root/run/openrc/softlevel"
log=/var/log/$name.log
in_root sh -c "$install" > "$work/install.log" 2>&1 || fail "install with OpenRC"
in_root rc-service $name status > "$work/status.log" 2>&1 || fail "not started by OpenRC"
in_root rc-update show default | grep -q $name || fail "not enabled with OpenRC"
# Only in this PID namespace; the kernel truncates names of processes.
agent() { pgrep -x heka-insights-a; }
until_true "the agent runs" agent > /dev/null
in_root /usr/local/bin/$name check > "$work/check.log" 2>&1 || fail "check with OpenRC"
first=$(agent)
in_root rc-service $name reload > "$work/reload.log" 2>&1 || fail "reload"
logged() { grep -q "$1" "$root$log"; }
until_true "certificates are read again" logged 'reloaded certificates'
[ "$(agent)" = "$first" ] || fail "the reload was a restart"
kill -9 "$(agent)"
another() { [ "$(agent)" != "$first" ]; }
until_true "started again after kill -9" another
# A value with spaces and a special character of the shell must stay one value.
echo 'OTEL_RESOURCE_ATTRIBUTES=team=a b$HOME' >> "$root/etc/$name.env"
in_root rc-service $name restart > "$work/restart.log" 2>&1 || fail "restart"
until_true "the agent runs" agent > /dev/null
tr '\0' '\n' < "/proc/$(agent)/environ" > "$work/environ"
grep -qxF 'OTEL_RESOURCE_ATTRIBUTES=team=a b$HOME' "$work/environ" || fail "the settings are read in another way than systemd's"
in_root rc-service $name stop > "$work/stop.log" 2>&1 || fail "stop"
if agent > /dev/null; then fail "runs after a stop"; fi
say "with OpenRC: installed, started, reloaded in place, started again after kill -9, settings as written, stopped"

# procd exists only in OpenWrt, so the script runs with replaced procd functions.
printf 'HEKA_DETAIL=detailed\n# no setting\nOTEL_RESOURCE_ATTRIBUTES="team=a b"\n' > "$work/settings"
sh -c '
    procd_open_instance() { :; }
    procd_close_instance() { echo closed; }
    procd_set_param() { for each; do echo "$1|$each"; done; }
    procd_append_param() { procd_set_param "$@"; }
    procd_send_signal() { echo "signal|$1|$2|$3"; }
    . packaging/procd/heka-insights-agent
    settings=$1
    start_service
    reload_service' sh "$work/settings" > "$work/procd"
for line in 'command|/usr/bin/heka-insights-agent' 'env|HEKA_DETAIL=detailed' 'env|OTEL_RESOURCE_ATTRIBUTES=team=a b' \
    "user|$name" 'closed' "signal|$name|*|HUP"; do
    grep -qxF -- "$line" "$work/procd" || fail "procd is not given: $line"
done
[ "$(grep -c '^env|[^e]' "$work/procd")" = 2 ] || fail "procd is given other variables: $(cat "$work/procd")"
say "the script for procd gives it the command, the settings, the user and the signal"
