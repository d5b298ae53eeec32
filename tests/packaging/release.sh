#!/bin/sh
# A dry run of the release: tests/packaging/release.sh ARCHITECTURE=BINARY... Runs the scripts of the release workflow that need no online
# service, for x86-64 and for the given architectures, whose binaries run under QEMU's user emulation. The workflow must be valid for
# GitHub, and each of its steps must be a script of this repository. The files are signed with the test's own authority (authority.sh).
# They stay in target/dist, as a release at http://127.0.0.1:8990, for installer.sh, and the authority stays in target/authority.
# ACTIONLINT, COSIGN, AUDIT_INFO: paths of actionlint, cosign and rust-audit-info. PYTHON: one with cyclonedx-python-lib[json-validation].
# HEKA_BINARY, and each BINARY: as for packaging/release/build. Needs root for a container engine, openssl, qemu-user-static, and
# the packages of x86-64 and aarch64 in target/packages.
set -eu
cd "$(dirname "$0")/../.."
: "${ACTIONLINT:?}" "${COSIGN:?}" "${AUDIT_INFO:?}" "${PYTHON:?}" "${HEKA_BINARY:?}"
[ $# -gt 0 ] || { echo "release: no binaries of other architectures" >&2; exit 2; }
test=release
. tests/packaging/lib.sh
. tests/packaging/authority.sh
. tests/packaging/engine.sh
work=$(mktemp -d)
clean_up() {
    engine_stop
    rm -rf "$work"
}
trap clean_up EXIT

"$ACTIONLINT" -shellcheck= -pyflakes= || fail "the workflows"
sed -n 's/^ *\(- \)\{0,1\}run: *//p' .github/workflows/release.yml > "$work/steps"
[ "$(wc -l < "$work/steps")" -ge 8 ] || fail "the steps are not read"
while read -r script _; do
    [ -x "$script" ] && [ "${script#./}" = "$script" ] && [ "${script#/}" = "$script" ] || fail "a step is no script: $script"
done < "$work/steps"
# A tag of an action can be moved to another commit, so each action must be given by its commit.
if grep -E 'uses: ' .github/workflows/*.yml | grep -vE '@[0-9a-f]{40} # v'; then fail "an action is not pinned to a commit"; fi
say "the workflow is sound, and its $(wc -l < "$work/steps") steps are scripts"

# The scripts name a tool together with its version: NAME@1.2, NAME==1.2, NAME@$version.
grep -ohE '[a-z][a-z-]*(\[[a-z-]*\])?(@|==)(v?[0-9]|\$)' packaging/build-packages packaging/release/cosign tests/packaging/run .ci/deny |
    sed -E 's/(\[.*)?(@|==).*//' | sort > "$work/tools"
sed -n '/^| tool /,$s/^| \([a-z-]*\) | .*/\1/p' docs/dependencies.md | grep -vx tool | sort | diff "$work/tools" - ||
    fail "docs/dependencies.md lists other tools than the scripts have"

version=$(packaging/release/version)
if packaging/release/version v999.0.0 2> /dev/null; then fail "a tag of another version is taken"; fi
# The tag of the version is accepted if CHANGELOG has a section for it.
mkdir -p "$work/tag/packaging/release"
cp Cargo.toml CHANGELOG.md "$work/tag"
cp packaging/release/version "$work/tag/packaging/release"
sed -i "/^## \[$version\]/d" "$work/tag/CHANGELOG.md"
if "$work/tag/packaging/release/version" "v$version" 2> /dev/null; then fail "a tag that CHANGELOG does not have is taken"; fi
sed -i "s/^## \[Unreleased\].*/&\n\n## [$version] - 2026-01-01/" "$work/tag/CHANGELOG.md"
[ "$("$work/tag/packaging/release/version" "v$version")" = "$version" ] || fail "the right tag is not taken"
packaging/release/notes Unreleased > "$work/notes" || packaging/release/notes "$version" > "$work/notes" || fail "no notes"
[ -s "$work/notes" ] || fail "no notes"

sums() { (cd target/dist && sha256sum -- *.tar.gz *.cdx.json); }
rm -rf target/dist
build() {
    for each in "$@"; do
        HEKA_PACKAGES=ready HEKA_BINARY=${each#*=} packaging/release/build "${each%%=*}" || return
    done
}
set -- "x86_64=$HEKA_BINARY" "$@"
build "$@" > "$work/build.log" || fail "build"
sums > "$work/first"
(umask 077 && export TZ=Asia/Tokyo && build "$@") > "$work/build.log" || fail "build again"
sums | diff "$work/first" - || fail "two archives of one build differ"
for each in "$@"; do
    packaging/release/try "${each%%=*}" > "$work/try.log" 2>&1 || fail "try ${each%%=*}"
done
# The workflow must build the architectures that are tested here.
[ "$(sed -n 's/.*{arch: \([a-z0-9_]*\),.*/\1/p' .github/workflows/release.yml | sort)" = "$(printf '%s\n' "$@" | sed 's/=.*//' | sort)" ] ||
    fail "the workflow builds other architectures than $*"
repository=example/$name
packaging/release/finish http://127.0.0.1:8990 "$repository" > "$work/finish.log" || fail "finish"
(cd target/dist && sha256sum --quiet --check SHA256SUMS) || fail "the checksums"
# For each architecture a tar and a bill of materials, for two of them two packages each, and one installer.
[ "$(wc -l < target/dist/SHA256SUMS)" = $((2 * $# + 5)) ] || fail "not the files that a release has: $(cat target/dist/SHA256SUMS)"
if grep -n '@[A-Z]*@' target/dist/install.sh; then fail "install.sh has an open place"; fi
say "built, tried and packed: $(ls target/dist | wc -l) files, two archives of one build the same"

rm -rf target/authority
authority_make "$PWD/target/authority"
authority_sign "$PWD/target/authority" \
    "https://github.com/$repository/.github/workflows/release.yml@refs/tags/v$version" packaging/release/sign files > "$work/sign.log" 2>&1 || fail "sign"
say "signed as the workflow would; installer.sh verifies it"

"$PYTHON" - "$version" << 'PYTHON' || fail "the bill of materials"
import glob, json, os, re, subprocess, sys, tarfile, tempfile
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

DEBIAN = {"x86_64.tar.gz": "amd64", "aarch64.tar.gz": "arm64"}

def crates(binary):
    """The crates as those see them who scan a host for vulnerable ones."""
    found = json.loads(subprocess.run([os.environ["AUDIT_INFO"], binary], check=True, capture_output=True).stdout)["packages"]
    return {(each["name"], each["version"]) for each in found if not each.get("root")}

def check(boms, archive, version):
    with open(boms) as file:
        text = file.read()
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"release: not CycloneDX: {error}")
    if not JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"bomFormat"', '"format"')):
        sys.exit("release: the validator takes everything")
    bom = json.loads(text)
    own = {os.path.basename(each) for each in glob.glob("crates/*")} | {f"heka-{os.path.basename(each)}" for each in glob.glob("crates/*")}
    components = {(each["name"], each["version"]) for each in bom["components"]}
    with tempfile.TemporaryDirectory() as work:
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter="data")
        (tree,) = glob.glob(f"{work}/*")
        binary = f"{tree}/heka-insights-agent"
        audited = crates(binary)
        hash = subprocess.run(["sha256sum", binary], stdout=subprocess.PIPE, text=True).stdout.split()[0]
        with open(f"{tree}/THIRD-PARTY-LICENSES") as file:
            licences = file.read()
        in_packages = []
        for deb in glob.glob(f"target/dist/*_{DEBIAN.get(archive.split('-')[-1])}.deb"):
            subprocess.run(["dpkg-deb", "--extract", deb, f"{work}/deb"], check=True)
            in_packages.append(crates(f"{work}/deb/usr/bin/heka-insights-agent"))
    checks = {
        "the same crates in the binary of the .deb": in_packages == [audited] * (archive.split("-")[-1] in DEBIAN),
        "the crates in the binary": audited == components and ("tonic" in {name for name, _ in components}),
        "no crate that only tests or macros use": not {"proptest", "criterion", "procfs-core", "syn"} & {name for name, _ in components},
        "a checksum for each crate that is not of this repository": all("hashes" in each for each in bom["components"] if each["name"] not in own),
        "the binary's own checksum": bom["metadata"]["component"]["hashes"][0]["content"] == hash,
        "a licence for each crate": all(f"{name} {version} (" in licences for name, version in components),
        "the licences of Rust's standard library and its crates, of GCC's runtime and of the C library, with its notice": all(
            each in licences for each in ("\nRust's standard library 1.", ", in Rust's standard library\n", "\nGCC RUNTIME LIBRARY EXCEPTION",
                                          "\nThe GNU C Library 2.", "GNU LESSER GENERAL PUBLIC LICENSE", "change that library and link")),
        "no path of this machine in the licences": not re.search(f"{os.getcwd()}/|{os.path.expanduser('~')}/|/usr/share", licences),
        "the version": bom["metadata"]["component"]["version"] == version,
    }
    for name, good in checks.items():
        if not good:
            sys.exit(f"release: wrong in {boms}: {name}")
    return len(components)

archives = sorted(glob.glob("target/dist/*.tar.gz"))
counts = [check(archive.replace(".tar.gz", ".cdx.json"), archive, sys.argv[1]) for archive in archives]
print(f"release: ok, the bills of materials name the {counts} crates that rust-audit-info reads from the binaries, with licences and checksums")
PYTHON

# Publishing an image needs a registry. A replaced docker command acts as if it had pushed the image.
mkdir "$work/stub"
cat > "$work/stub/docker" << 'STUB'
#!/bin/sh
echo "$*" > "${0%/*}/command"
while [ "$1" != --metadata-file ]; do shift; done
printf '{\n  "buildx.build.ref": "x",\n  "containerimage.digest": "sha256:%064d"\n}\n' 7 > "$2"
STUB
chmod 755 "$work/stub/docker"
PATH=$work/stub:$PATH GITHUB_OUTPUT=$work/outputs packaging/release/image "ghcr.io/Example/$name:$version" --push || fail "the published image"
printf 'name=ghcr.io/example/%s\ndigest=sha256:%064d\n' "$name" 7 | diff - "$work/outputs" || fail "the outputs for signature and provenance"
grep -q -- "^buildx build --platform linux/arm64,linux/arm/v7,linux/riscv64,linux/amd64 --tag ghcr.io/example/$name:$version .* --push " "$work/stub/command" ||
    fail "the published image is built by $(cat "$work/stub/command")"

engine_start || fail "no engine"
HEKA_BUILDER=classic packaging/release/image "Heka-Insights-Agent:$version" > "$work/image.log" 2>&1 || fail "image"
for pair in amd64:x86_64 arm64:aarch64 arm:armv7 riscv64:riscv64; do
    image=$name:$version-${pair%:*}
    arch=${pair#*:}
    emulator=$(command -v "$(packaging/arch qemu "$arch")")
    docker run --rm --network none --read-only --cap-drop ALL --volume "$emulator:/emulator:ro" --entrypoint /emulator \
        "$image" "/$name" check --exporter none > "$work/run.log" 2>&1 || fail "the image for $arch"
    docker cp "$(docker create "$image")":/licenses/THIRD-PARTY-LICENSES "$work/licences"
    tar -xzOf "target/dist/$name-$version-linux-$arch.tar.gz" "$name-$version-linux-$arch/THIRD-PARTY-LICENSES" | cmp - "$work/licences" ||
        fail "the licences in the image for $arch"
done
say "images for amd64, arm64, arm/v7 and riscv64, without the registry that would join them; check ends with 0 in each, licences as in the tar"
