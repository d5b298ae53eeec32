//! Gives the program its commit, and the linker the order of functions.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    commit();
    layout();
}

/// With `HEKA_LAYOUT=1`, functions that run lie side by side in the binary, so that the others need not be resident. The
/// packages and the static build set it. An ordinary build does without, since not every linker takes the script. See
/// docs/adr/0006-layout.md.
fn layout() {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/build/layout.ld");
    println!("cargo::rerun-if-changed=build/layout.ld");
    println!("cargo::rerun-if-env-changed=HEKA_LAYOUT");
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("PROFILE") == "release" && variable("HEKA_LAYOUT") == "1" && Path::new(SCRIPT).exists() {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{SCRIPT}");
    }
}

/// Which commit this is, where that can be known: `HEKA_COMMIT` for builds without the repository (a container's), the
/// checkout's own git, or the record that `cargo package` leaves in a crate.
fn commit() {
    println!("cargo::rerun-if-env-changed=HEKA_COMMIT");
    let given = std::env::var("HEKA_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(from_git).or_else(from_package).unwrap_or_default();
    let short = commit.get(..12).unwrap_or(&commit);
    // Not HEKA_…: `cargo run` passes these on, and the program warns of variables that look like its own.
    println!("cargo::rustc-env=BUILD_COMMIT={}", if short.is_empty() { "unknown" } else { short });
    println!("cargo::rustc-env=BUILD_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}

fn from_git() -> Option<String> {
    // Unpacked inside another project's checkout, the crate must not show that project's commit.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().ok()? {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn from_package() -> Option<String> {
    let record = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, after) = record.split_once("\"sha1\": \"")?;
    Some(after.split('"').next()?.to_owned())
}
