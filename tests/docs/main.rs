//! Checks that generated documents match their sources.

#![allow(clippy::unwrap_used)] // A test may panic.

mod metrics_page;
mod sources;
#[path = "../support/update.rs"]
mod update;

use std::path::Path;

#[test]
fn the_metrics_document_matches_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let expected = metrics_page::metrics_markdown();
    if update::is_requested() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(found.lines().chain(std::iter::repeat(""))).find(|(a, b)| a != b);
    assert!(
        found == expected,
        "docs/metrics.md differs from the tables; HEKA_UPDATE=1 cargo test --test docs regenerates it.\n\
         First difference: {differs:#?}"
    );
}

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// All of `src`, with strings that go on in the next line joined.
fn source() -> String {
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut text = String::new();
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
            } else {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |joined, line| joined + line.trim_start())
}

/// The code in the first cell of each row of a page's tables.
fn first_cells(page: &str) -> Vec<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(cell, _)| cell));
    cells.map(str::to_owned).collect()
}

#[test]
fn each_log_line_of_the_troubleshooting_page_is_one_of_the_programs() {
    let source = source();
    let lines = first_cells(&page("docs/troubleshooting.md"));
    assert!(lines.len() > 25, "{lines:#?}");
    for line in lines {
        let fixed: Vec<&str> = line.split('…').map(str::trim).filter(|part| part.len() > 3).collect();
        assert!(!fixed.is_empty(), "nothing of this line is fixed: {line}");
        for part in fixed {
            assert!(source.contains(part), "{part:?} is in no message of the program; it is quoted in: {line}");
        }
    }
}

#[test]
fn each_name_of_the_migration_tables_is_one_of_the_metrics() {
    let metrics = page("docs/metrics.md");
    let migrating = page("docs/migrating.md");
    let (from_receiver, from_exporter) = migrating.split_once("## From node_exporter").unwrap();
    let renamed = from_receiver.lines().filter(|line| line.starts_with("| `system."));
    let mut pairs = 0;
    for line in renamed {
        let mut names = line.split('`').skip(1).step_by(2);
        let (old, new) = (names.next().unwrap(), names.next().unwrap());
        let row = metrics.lines().find(|row| row.contains(&format!("`{new}`")) && row.contains(&format!("`{old}`")));
        assert!(row.is_some(), "no metric is {old} in hostmetrics and {new} in the conventions");
        pairs += 1;
    }
    // Both profiles have it, under two names.
    let is_renamed = |row: &&str| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let has = |cell: usize| cells.get(cell).is_some_and(|text| text.contains(['●', '○']) && text.contains('`'));
        has(0) && has(1)
    };
    let all = metrics.lines().filter(|row| row.starts_with("| ")).filter(is_renamed).count();
    assert_eq!(pairs, all, "the table of renamed metrics is not complete");
    let words = from_exporter.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names: Vec<&str> = words.filter(|word| word.starts_with("system_")).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        // A metric, or an attribute as a label.
        let label = metrics.replace('.', "_").contains(&format!("`{name}`"));
        assert!(metrics.contains(&format!("<sub>`{name}`</sub>")) || label, "{name} is no metric and no label");
    }
}

/// A heading as the end of a link.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.trim().replace(' ', "-")
}

#[test]
fn each_link_within_the_repository_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|e| e == "md"));
    let mut links = 0;
    for from in ["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into_iter().chain(pages) {
        let text = std::fs::read_to_string(&from).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { from.clone() } else { from.parent().unwrap().join(file) };
            assert!(target.exists(), "{} links to {link}, which is not there", from.display());
            if !heading.is_empty() {
                let target = std::fs::read_to_string(&target).unwrap();
                let mut headings = target.lines().filter_map(|line| line.strip_prefix('#'));
                let there = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
                assert!(there, "{} links to {link}, a heading that is not there", from.display());
            }
            links += 1;
        }
    }
    assert!(links > 40, "only {links} links were found");
}

#[test]
fn each_file_that_the_architecture_page_names_is_there() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = page("docs/architecture.md");
    let files: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|span| span.ends_with(".rs")).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert!(src.join(file).is_file(), "src/{file} is not there");
    }
}

#[test]
fn the_readme_lists_every_collector() {
    let readme = page("README.md");
    let (_, section) = readme.split_once("\n## Metrics\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    for collector in heka_insights_agent::internals::collectors::names() {
        let listed = rows.iter().flat_map(|cell| cell.split(", ")).any(|name| name == collector);
        assert!(listed, "README.md does not list the collector {collector}");
    }
}

#[test]
fn the_lines_for_cargo_toml_name_the_versions_in_use() {
    let manifest = page("Cargo.toml");
    let (readme, documentation) = (page("README.md"), page("src/collectors/host_metrics.rs"));
    for name in ["opentelemetry", "opentelemetry_sdk"] {
        let line = |text: &str| {
            let lines = text.lines().map(|line| line.trim_start_matches("/// "));
            lines.filter(|line| line.starts_with(&format!("{name} = "))).map(str::to_owned).next().unwrap()
        };
        let version = |line: &str| line.split('"').nth(1).map(str::to_owned);
        assert_eq!(line(&readme), line(&documentation));
        assert_eq!(version(&line(&readme)), version(&line(&manifest)), "{name}");
    }
}

/// The folders of `src` in the order of the map in `src/lib.rs`: each imports only from those after it.
const FOLDERS: [&str; 8] = ["program", "agent", "config", "outbox", "export", "collectors", "host", "metrics"];

/// The files below a folder of `src`, or the file of that name.
fn sources(folder: &str) -> Vec<std::path::PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(vec![src.join(folder), src.join(format!("{folder}.rs"))])
}

/// These files, and those below these folders. Paths that do not exist, and the fixtures, are left out.
fn files(mut open: Vec<std::path::PathBuf>) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("tests/fixtures") {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_map_is_the_folder_tree_and_no_import_runs_upward() {
    let lib = page("src/lib.rs");
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once('`').map(|(name, _)| name));
    let map: Vec<&str> = rows.map(|name| name.trim_end_matches(".rs").trim_end_matches('/')).collect();
    assert_eq!(map, FOLDERS);
    let mut tree: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
        .filter(|name| !matches!(name.as_str(), "lib" | "main"))
        .collect();
    tree.sort();
    let mut sorted = FOLDERS;
    sorted.sort_unstable();
    assert_eq!(tree, sorted);
    let mut imports = 0;
    for (place, folder) in FOLDERS.iter().enumerate() {
        for path in sources(folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_test = path.components().any(|part| part.as_os_str() == "tests");
            // Tests may reach further. Paths in the documentation are no imports.
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines().filter(|line| {
                !is_test && !path.to_string_lossy().ends_with("tests.rs") && !line.trim_start().starts_with("//")
            });
            for used in code.flat_map(|line| line.split("crate::").skip(1)) {
                assert!(!used.starts_with('{'), "{}: one `use crate::…` for each folder", path.display());
                let used = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                let Some(target) = FOLDERS.iter().position(|folder| *folder == used) else { continue };
                imports += 1;
                let apart = *folder == "export" && matches!(used, "collectors" | "host");
                assert!(target >= place && !apart, "{} imports from {used}", path.display());
            }
        }
    }
    assert!(imports > 100, "only {imports} imports were found");
}

/// The shell and Python scripts of the repository.
fn scripts() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found =
        files([".ci", "benches", "build", "fuzz/run", "packaging", "tests"].map(|path| root.join(path)).to_vec());
    let is_python = |path: &Path| path.extension().is_some_and(|end| end == "py");
    found.retain(|path| is_python(path) || std::fs::read(path).unwrap().starts_with(b"#!"));
    found
}

#[test]
fn the_pages_and_the_scripts_use_standard_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = |dir: &str| std::fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path());
    let named = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "packaging/man/heka-insights-agent.1"];
    let pages = pages("docs").chain(pages("docs/adr")).chain(named.map(|name| root.join(name)));
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|end| end == "md" || end == "1")).collect();
    let scripts = scripts();
    assert!(scripts.len() > 60, "only {} scripts were found", scripts.len());
    for path in pages.into_iter().chain(scripts) {
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        let words: Vec<&str> =
            text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())).collect();
        for avoided in [&["anew"][..], &["for", "ever"], &["told"], &["by", "itself"], &["as", "it", "says"]] {
            assert!(!words.windows(avoided.len()).any(|found| found == avoided), "{}: {avoided:?}", path.display());
        }
    }
}
