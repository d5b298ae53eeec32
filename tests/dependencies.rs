//! Checks the linked dependencies: only from a registry, with acceptable licences, without large duplicates, and
//! without rejected crates. `deny.toml` has the same rules for cargo-deny.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const DENY: &str = include_str!("../deny.toml");

/// In two versions whatever we do, and why that is bearable.
const TWICE: [(&str, &str); 3] = [
    ("base64", "tonic and hyper-util disagree; some kB"),
    ("getrandom", "ring and rand disagree; a system call each"),
    ("syn", "for macros; nothing of it is in the binary"),
];

/// The packages that the agent's own build uses on Linux, tests and build scripts left out.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes: BTreeMap<_, _> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let mut found = BTreeSet::new();
    let mut open = vec![metadata["resolve"]["root"].as_str().unwrap()];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let linked = |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
        open.extend(
            nodes[id]["deps"].as_array().unwrap().iter().filter(linked).map(|dep| dep["pkg"].as_str().unwrap()),
        );
    }
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.filter(|package| found.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// The strings between `begin` and the bracket that ends its list.
fn list_in_deny(begin: &str) -> Vec<&'static str> {
    let list = DENY.split_once(begin).unwrap().1.split_once("\n]").map_or("", |(list, _)| list);
    let list = list.split_once("]\n").map_or(list, |(list, _)| list);
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether a licence expression can be met with the allowed ones. `WITH` an exception gives more, never less.
fn allowed(expression: &str, licences: &[&str]) -> bool {
    let text = expression.replace(['(', ')'], " ");
    // `A OR B` needs one, `A AND B` all; the crates' expressions nest no deeper than (A OR B) AND C.
    let any = |part: &str| {
        part.split(" OR ").flat_map(|part| part.split('/')).any(|licence| {
            let licence = licence.trim();
            licences.contains(&licence.split_once(" WITH ").map_or(licence, |(licence, _)| licence))
        })
    };
    text.split(" AND ").all(any)
}

#[test]
fn all_that_is_linked_is_from_a_registry_and_under_an_allowed_licence() {
    let licences = list_in_deny("allow = [");
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(allowed(licence, &licences), "{name} is under {licence:?}, which deny.toml does not allow");
        let own = name == env!("CARGO_PKG_NAME") || ["heka-adjtimex", "heka-memory"].contains(&name); // the other members of this workspace
        assert!(own || package["source"].as_str().is_some_and(|source| source.starts_with("registry+")), "{name}");
    }
}

#[test]
fn nothing_is_linked_twice_or_against_a_decision() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    assert!(versions.contains_key("tonic"), "the list of packages is wrong: {versions:?}");
    for line in DENY.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \"")) {
        let name = line.split('"').next().unwrap();
        assert!(!versions.contains_key(name), "{name} is linked: {line}");
    }
    let twice: BTreeSet<_> = versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| name.as_str()).collect();
    assert_eq!(twice, TWICE.iter().map(|(name, _)| *name).collect(), "in several versions");
}

/// What follows each `uses:` of the workflows, before the commit.
fn actions() -> BTreeSet<String> {
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let files =
        std::fs::read_dir(workflows).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text: Vec<_> = files.collect();
    let uses = text.iter().flat_map(|text| text.lines()).filter_map(|line| line.trim().split_once("uses: "));
    uses.map(|(_, action)| action.split('@').next().unwrap().to_owned()).collect()
}

#[test]
fn every_direct_dependency_has_its_row_in_the_documentation() {
    let page = include_str!("../docs/dependencies.md");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).collect();
    let rows: BTreeSet<_> = rows.into_iter().map(|(name, _)| name.to_owned()).collect();
    let mut direct = actions();
    assert!(direct.len() > 5, "{direct:?}");
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let output = Command::new(env!("CARGO"))
            .args("metadata --format-version 1 --locked --offline --no-deps --manifest-path".split(' '))
            .arg(manifest)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        for package in metadata["packages"].as_array().unwrap() {
            // A crate of this repository is its own.
            let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|each| each["path"].is_null());
            direct.extend(dependencies.map(|each| each["name"].as_str().unwrap().to_owned()));
        }
    }
    assert!(direct.len() > 20, "{direct:?}");
    let missing: Vec<_> = direct.difference(&rows).collect();
    let gone: Vec<_> = rows.difference(&direct).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/dependencies.md lacks {missing:?} and has {gone:?}, which are gone"
    );
}

#[test]
fn a_licence_expression_is_read_as_spdx_means_it() {
    let licences = ["MIT", "Apache-2.0", "Unicode-3.0"];
    for good in
        ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR GPL-3.0) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(allowed(good, &licences), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR AGPL-3.0"] {
        assert!(!allowed(bad, &licences), "{bad}");
    }
}
