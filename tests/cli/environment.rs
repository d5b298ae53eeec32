//! Tests of environment variables and of the `.env` file in the working directory.

use crate::run::{Run, fixture};

const NOTE: &str = ".env";

#[test]
fn wrong_values_of_shared_variables_warn_and_the_program_runs() {
    let ended = Run::console(&["--once"])
        .set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .set("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
        .set("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "")
        .end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let warnings: Vec<_> = ended.err.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (name, value) in [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")] {
        let named = |line: &&&str| line.contains(name) && line.contains(value) && line.contains("using the default");
        assert!(warnings.iter().find(named).is_some(), "{name}: {warnings:?}");
    }
}

#[test]
fn a_dot_env_file_is_used_and_named_in_one_line() {
    let run = Run::new(&["--once"]);
    let content = format!(
        "# mine\nexport OTEL_METRICS_EXPORTER=console\nHEKA_ROOT_PATH='{}'\nHEKA_COLLECTORS=\"load\"\n",
        fixture("server").display()
    );
    let ended = run.dot_env(&content).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("2.17"), "the fixture's load: {ended:?}");
    assert_eq!(ended.err.lines().filter(|line| line.contains(NOTE)).count(), 1, "{ended:?}");
}

#[test]
fn a_dot_env_file_never_overrides_what_is_set() {
    let content = "HEKA_COLLECTORS=memory\nHEKA_DETAIL=wrong\n";
    let ended =
        Run::console(&["--once"]).set("HEKA_COLLECTORS", "load").set("HEKA_DETAIL", "basic").dot_env(content).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("LOAD") && !ended.out.contains("MEMORY"), "{}", ended.out);
    let empty = Run::console(&["--once"]).set("HEKA_COLLECTORS", "").dot_env("HEKA_COLLECTORS=load\n").end();
    assert!(!empty.out.contains("MEMORY"), "an empty variable is not set: {}", empty.out);
}

#[test]
fn a_dot_env_file_of_a_parent_directory_is_not_read() {
    let run = Run::console(&["--once"]).dot_env("HEKA_DETAIL=wrong\n").below("sub");
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.err.contains(NOTE), "{ended:?}");
}

#[test]
fn a_dot_env_file_that_cannot_be_read_is_an_error_of_one_line() {
    let ended = Run::console(&["--once"]).dot_env(b"HEKA_DETAIL=basic\xff\n").end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains(".env cannot be read: ") && ended.err.lines().count() == 1, "{ended:?}");
    assert!(!ended.err.contains("basic"), "{ended:?}");
}

#[test]
fn a_dot_env_file_is_not_read_under_systemd() {
    let ended = Run::console(&["--once"]).set("INVOCATION_ID", "0123456789abcdef").dot_env("HEKA_DETAIL=wrong\n").end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.err.contains(NOTE), "{ended:?}");
}

#[test]
fn a_wrong_value_in_a_dot_env_file_is_refused_as_any_other() {
    let ended = Run::new(&[]).dot_env("HEKA_DETAIL=full\n").end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("HEKA_DETAIL: 'full'") && ended.err.lines().count() == 1, "{ended:?}");
}

#[test]
fn without_a_dot_env_file_nothing_is_logged() {
    let ended = Run::console(&["--once"]).end();
    assert!(!ended.err.contains(NOTE), "{ended:?}");
}

#[test]
fn each_line_has_a_priority_if_standard_error_is_the_journal() {
    let warning = |is_of_log| Run::console(&["--once"]).set("HEKA_INTERVALL", "1s").journal(is_of_log);
    let usage = |is_of_log| Run::new(&["--nope"]).journal(is_of_log);
    assert!(warning(true).lines().any(|line| line.starts_with("<4>HEKA_INTERVALL: ")), "{}", warning(true));
    assert!(warning(true).lines().all(|line| line.starts_with('<')), "{}", warning(true));
    assert!(usage(true).starts_with("<3>heka-insights-agent: "), "{}", usage(true));
    for text in [warning(false), usage(false)] {
        assert!(!text.is_empty() && !text.contains('<'), "{text}");
    }
}
