#!/bin/sh
# Tests the packages in target/packages (packaging/build-packages). A second build of the .deb must be identical. It is installed in a clean
# Debian, run as its user, upgraded, removed and purged. Of the .rpm, the files, the configuration files and the dependencies are checked.
# HEKA_ROOT: a clean Debian root directory (clean-root.sh bare). Needs root, dpkg-deb, rpm and cargo-deb, as build-packages installs it.
set -eu
cd "$(dirname "$0")/../.."
test=packages
. tests/packaging/lib.sh
deb=$(ls "target/packages/heka-insights-agent_"*"_$(dpkg --print-architecture).deb")
rpm=$(ls "target/packages/heka-insights-agent-"*".$(uname -m).rpm")
(cd target/packages && sha256sum --quiet --check SHA256SUMS) || fail "the checksums differ"

: "${HEKA_ROOT:?the path of a clean Debian root}"
work=$(mktemp -d)
root=$work/root
clean_up() {
    umount "$root/proc" "$root/sys" 2> /dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
cp -a "$HEKA_ROOT" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
in_root() { chroot "$root" "$@"; }
outbox=/var/lib/$name/outbox
kept() { find "$root$outbox" -type f ! -name "*lock*" 2> /dev/null | wc -l; }
waiting() { [ "$(kept)" != 0 ]; }
# Like the unit, but without systemd: with the package's user and state directory. Nothing listens at the endpoint, so the outbox fills.
run_agent() {
    chroot "$root" setpriv --reuid=$name --regid=$name --clear-groups "/usr/bin/$name" --interval 500ms --no-phase \
        --outbox-dir "$outbox" --endpoint http://127.0.0.1:1 2> "$root/log" &
    agent=$!
    until_true "a batch in the outbox" waiting
    kill $agent 2> /dev/null || true
    wait $agent || fail "the agent ended with $?: $(cat "$root/log")"
}

# Built from the same binary in a copy of the checkout with other times and modes of the files.
mkdir -p "$work/again/checkout"
git ls-files -z --cached --others --exclude-standard |
    (umask 077 && tar --create --null --files-from=- | tar --extract --touch --no-same-permissions --directory "$work/again/checkout")
dpkg-deb --extract "$deb" "$work/again/root"
tools=${HEKA_TOOLS:-${HEKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/heka-insights-agent}
target=$(packaging/arch rust "$(uname -m)")
epoch=$(git log -1 --format=%ct)
(
    cd "$work/again/checkout"
    umask 077
    install -D "$work/again/root/usr/bin/$name" "target/$target/release/$name"
    install -D "$work/again/root/usr/share/doc/$name/THIRD-PARTY-LICENSES" target/licences/THIRD-PARTY-LICENSES
    unset CARGO_TARGET_DIR
    PATH=$tools/bin:$PATH TZ=Asia/Tokyo SOURCE_DATE_EPOCH=$epoch \
        cargo deb --quiet --no-build --no-strip --target "$target" --output "$work/again.deb"
) > "$work/again.log" 2>&1 || { cat "$work/again.log" >&2; fail "the .deb again"; }
cmp "$deb" "$work/again.deb" || fail "two packages of one binary differ"
say "the .deb, made again in a copy of the checkout, is the same bit for bit"

cp "$deb" "$root/first.deb"
in_root dpkg -i /first.deb > "$root/dpkg.log" 2>&1 || { cat "$root/dpkg.log" >&2; fail "dpkg -i"; }
in_root getent passwd $name > /dev/null || fail "no user"
[ "$(stat -c '%a %U' "$root/etc/$name.env")" = "640 root" ] || fail "the environment file's mode"
in_root $name check --exporter none > "$root/check" || { cat "$root/check" >&2; fail "check"; }
[ "$(in_root sh -c "ldd /usr/bin/$name | grep -c 'not found'")" = 0 ] || fail "libraries are missing"
[ -L "$root/etc/systemd/system/multi-user.target.wants/$name.service" ] || fail "the unit is not enabled"
grep -q '^tokio ' "$root/usr/share/doc/$name/THIRD-PARTY-LICENSES" || fail "no licences of the crates"
# The pages that README links to. Files of the directories that are only in the repository are not in the package.
documents=$(sed 's/)/)\n/g' README.md | sed -n 's#.*](\(\(docs/\)\{0,1\}[a-zA-Z0-9/.-]*\.\(md\|svg\)\))$#\1#p' | sort -u)
[ "$(echo "$documents" | wc -l)" -gt 12 ] || fail "the links of README are not read: $documents"
for document in $documents LICENSE SECURITY.md; do
    [ -s "$root/usr/share/doc/$name/$document" ] || fail "the package lacks $document"
done
say "installed in a clean root, enabled, check passes, with the documents that README links to"

in_root install -d -o $name -g $name -m 700 "/var/lib/$name"
run_agent
before=$(kept)
[ "$before" -gt 0 ] || fail "nothing in the outbox: $(cat "$root/log")"
say "started as its own user; $before batches wait on disk"

echo "HEKA_DETAIL=detailed" >> "$root/etc/$name.env"
dpkg-deb -R "$root/first.deb" "$root/next"
sed -i 's/^Version: .*/&.next/' "$root/next/DEBIAN/control"
echo "# of the new version" >> "$root/next/etc/$name.env"
dpkg-deb --root-owner-group -b "$root/next" "$root/next.deb" > /dev/null
in_root dpkg --force-confold -i /next.deb > "$root/dpkg.log" 2>&1 || { cat "$root/dpkg.log" >&2; fail "upgrade"; }
grep -q HEKA_DETAIL=detailed "$root/etc/$name.env" || fail "the upgrade lost the configuration"
[ "$(kept)" = "$before" ] || fail "the upgrade lost the outbox"
say "upgraded: configuration and outbox kept"

in_root dpkg -r $name > /dev/null 2>&1 || fail "remove"
[ ! -e "$root/usr/bin/$name" ] || fail "remove left the program"
[ -e "$root/etc/$name.env" ] && [ "$(kept)" = "$before" ] || fail "remove took configuration or outbox"
in_root dpkg -P $name > /dev/null 2>&1 || fail "purge"
[ ! -e "$root/etc/$name.env" ] && [ ! -e "$root/var/lib/$name" ] || fail "purge left something"
say "removed with configuration and outbox kept, purged without"

for document in $documents SECURITY.md; do
    rpm -qlp "$rpm" 2> /dev/null | grep -qx "/usr/share/doc/$name/$document" || fail "the rpm lacks $document"
done
for file in /usr/bin/$name /usr/lib/systemd/system/$name.service /etc/$name.env /usr/share/man/man1/$name.1 \
    /usr/share/bash-completion/completions/$name /usr/share/licenses/$name/THIRD-PARTY-LICENSES; do
    rpm -qlp "$rpm" 2> /dev/null | grep -qx "$file" || fail "the rpm lacks $file"
done
[ "$(rpm -qp --configfiles "$rpm" 2> /dev/null)" = "/etc/$name.env" ] || fail "the rpm's configuration file"
newest=$(rpm -qp --requires "$rpm" 2> /dev/null | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
[ "$newest" = GLIBC_2.17 ] || fail "the rpm needs $newest"
rpm -qp --requires "$rpm" 2> /dev/null | grep -q Zstd && fail "the rpm of RHEL 7 cannot read this one"
say "the rpm lists what it should and needs $newest"
# Also into the clean root directory; rpm's database does not contain its C library.
rpm --root "$root" --install --nodeps --force-debian "$rpm" > "$root/rpm.log" 2>&1 || { cat "$root/rpm.log" >&2; fail "rpm --install"; }
in_root $name check --exporter none > "$root/check" || { cat "$root/check" >&2; fail "check of the rpm's program"; }
[ "$(stat -c '%a' "$root/etc/$name.env")" = 640 ] || fail "the mode of the rpm's environment file"
rpm --root "$root" --erase --force-debian $name > "$root/rpm.log" 2>&1 || { cat "$root/rpm.log" >&2; fail "rpm --erase"; }
[ ! -e "$root/usr/bin/$name" ] || fail "rpm --erase left the program"
say "the rpm installs, its check passes, and is erased"
