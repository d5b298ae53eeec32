//! The documents that are generated are what their sources say.

use std::path::Path;

#[test]
fn the_metrics_document_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let expected = heka_insights_agent::docs::metrics_markdown();
    if std::env::var_os("HEKA_UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(found.lines().chain(std::iter::repeat(""))).find(|(a, b)| a != b);
    assert!(
        found == expected,
        "docs/metrics.md is not what the tables say; HEKA_UPDATE=1 cargo test --test docs writes it anew.\n\
         First difference: {differs:#?}"
    );
}
