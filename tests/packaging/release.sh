#!/bin/sh
# A dry run of the release: all that its workflow does and that needs no signing service, by the same scripts. The workflow is
# what GitHub takes, and each of its steps is a script of this repository. What is built is left in target/dist, as of a release
# at http://127.0.0.1:8990, for installer.sh.
# ACTIONLINT: a path. PYTHON: one with cyclonedx-python-lib[json-validation]. HEKA_BINARY: as for packaging/release/build. Needs the
# packages in target/packages.
set -eu
cd "$(dirname "$0")/../.."
: "${ACTIONLINT:?}" "${PYTHON:?}" "${HEKA_BINARY:?}"
fail() { echo "release: $*" >&2; exit 1; }
say() { echo "release: ok, $*"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$ACTIONLINT" -shellcheck= -pyflakes= || fail "the workflows"
sed -n 's/^ *\(- \)\{0,1\}run: *//p' .github/workflows/release.yml > "$work/steps"
[ "$(wc -l < "$work/steps")" -ge 8 ] || fail "the steps are not read"
while read -r script _; do
    [ -x "$script" ] && [ "${script#./}" = "$script" ] && [ "${script#/}" = "$script" ] || fail "a step is no script: $script"
done < "$work/steps"
# A name of an action can be moved to another commit; a commit cannot.
if grep -E 'uses: ' .github/workflows/*.yml | grep -vE '@[0-9a-f]{40} # v'; then fail "an action is not pinned to a commit"; fi
say "the workflow is sound, and its $(wc -l < "$work/steps") steps are scripts"

version=$(packaging/release/version)
if packaging/release/version v999.0.0 2> /dev/null; then fail "a tag of another version is taken"; fi
packaging/release/notes Unreleased > "$work/notes" || packaging/release/notes "$version" > "$work/notes" || fail "no notes"
[ -s "$work/notes" ] || fail "no notes"

sums() { (cd target/dist && sha256sum -- *.tar.gz *.cdx.json); }
rm -rf target/dist
HEKA_PACKAGES=ready packaging/release/build > "$work/log" || fail "build"
sums > "$work/first"
(umask 077 && TZ=Asia/Tokyo HEKA_PACKAGES=ready packaging/release/build) > "$work/log" || fail "build again"
sums | diff "$work/first" - || fail "two archives of one build differ"
packaging/release/try > "$work/log" || { cat "$work/log" >&2; fail "try"; }
packaging/release/finish http://127.0.0.1:8990 example/heka-insights-agent > "$work/log" || fail "finish"
(cd target/dist && sha256sum --quiet --check SHA256SUMS) || fail "the checksums"
[ "$(wc -l < target/dist/SHA256SUMS)" = 5 ] || fail "not the files that a release has: $(cat target/dist/SHA256SUMS)"
if grep -n '@[A-Z]*@' target/dist/install.sh; then fail "install.sh has an open place"; fi
say "built, tried and packed: $(ls target/dist | wc -l) files, two archives of one build the same"

"$PYTHON" - "$version" << 'PYTHON' || fail "the bill of materials"
import glob, json, os, subprocess, sys, tarfile, tempfile, zlib
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = open(glob.glob("target/dist/*.cdx.json")[0]).read()
if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
    sys.exit(f"release: not CycloneDX: {error}")
if not JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"bomFormat"', '"format"')):
    sys.exit("release: the validator takes everything")
bom = json.loads(text)
own = {os.path.basename(each) for each in glob.glob("crates/*")} | {f"heka-{os.path.basename(each)}" for each in glob.glob("crates/*")}
components = {(each["name"], each["version"]) for each in bom["components"]}
with tempfile.TemporaryDirectory() as work:
    with tarfile.open(glob.glob("target/dist/*.tar.gz")[0]) as tar:
        tar.extractall(work, filter="data")
    tree = glob.glob(f"{work}/*")[0]
    subprocess.run(["objcopy", "--dump-section", f".dep-v0={work}/section", f"{tree}/heka-insights-agent", "/dev/null"], check=True)
    audit = json.loads(zlib.decompress(open(f"{work}/section", "rb").read()))["packages"]
    hash = subprocess.run(["sha256sum", f"{tree}/heka-insights-agent"], stdout=subprocess.PIPE, text=True).stdout.split()[0]
    licences = open(f"{tree}/THIRD-PARTY-LICENSES").read()
audited = {(each["name"], each["version"]) for each in audit if "root" not in each}
checks = {
    "the crates in the binary": audited == components and ("tonic" in {name for name, _ in components}),
    "no crate that only tests or macros use": not {"proptest", "criterion", "procfs-core", "syn"} & {name for name, _ in components},
    "a checksum for each crate that is not of this repository": all("hashes" in each for each in bom["components"] if each["name"] not in own),
    "the binary's own checksum": bom["metadata"]["component"]["hashes"][0]["content"] == hash,
    "a licence for each crate": all(f"{name} {version} (" in licences for name, version in components),
    "the version": bom["metadata"]["component"]["version"] == sys.argv[1],
}
for name, good in checks.items():
    if not good:
        sys.exit(f"release: wrong: {name}")
print(f"release: ok, the bill of materials names the {len(components)} crates that are in the binary, with licences and checksums")
PYTHON
