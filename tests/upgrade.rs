//! Tests that this version sends what an earlier version left in its outbox. See tests/fixtures/outbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use support::grpc::GrpcServer;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every directory of old records.
fn formats() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures().join("outbox")).unwrap().map(|entry| entry.unwrap().path());
    let mut formats: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    formats.sort();
    formats
}

fn records(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut records: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "batch")).collect();
    records.sort();
    records
}

/// The outbox of an earlier version, for a run to take over.
fn left_behind(format: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for record in records(format) {
        fs::copy(&record, dir.path().join(record.file_name().unwrap())).unwrap();
    }
    dir
}

/// One collection by the agent of today. The old records are as old as their commit.
fn run(server: &GrpcServer, outbox: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"))
        .args(["--once", "--collectors", "load", "--outbox-max-age", "36500d", "--endpoint", &server.endpoint()])
        .arg("--root-path")
        .arg(fixtures().join("server"))
        .arg("--outbox-dir")
        .arg(outbox)
        .env_clear()
        .current_dir(outbox)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn metrics(request: &ExportMetricsServiceRequest) -> Vec<&str> {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.as_str()).collect()
}

#[test]
fn an_outbox_of_each_earlier_format_is_sent_whole_and_then_empty() {
    let formats = formats();
    assert!(!formats.is_empty());
    for format in formats {
        let (server, outbox) = (GrpcServer::start(), left_behind(&format));
        let ended = run(&server, outbox.path());
        let log = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{format:?}: {log}");
        assert_eq!(records(outbox.path()), Vec::<PathBuf>::new(), "{format:?}: {log}");
        let seen = server.scene.seen();
        // Batches that wait may share a request, so count what is in them: memory is in the old ones only.
        let names: Vec<_> = seen.iter().flat_map(|seen| metrics(&seen.request)).collect();
        let count = |name: &str| names.iter().filter(|found| **found == name).count();
        let old = records(&format).len();
        assert_eq!(count("system.memory.usage"), old, "{format:?}: {names:?}");
        assert_eq!(count("system.cpu.load_average.1m"), old + 1, "{format:?}: {names:?}");
    }
}

#[test]
fn a_damaged_record_of_an_earlier_format_costs_that_record_only() {
    for format in formats() {
        let (server, outbox) = (GrpcServer::start(), left_behind(&format));
        let damaged = &records(outbox.path())[1];
        let mut bytes = fs::read(damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(damaged, bytes).unwrap();
        run(&server, outbox.path());
        let seen = server.scene.seen();
        let names: Vec<_> = seen.iter().flat_map(|seen| metrics(&seen.request)).collect();
        let arrived = names.iter().filter(|name| **name == "system.memory.usage").count();
        assert_eq!(arrived, records(&format).len() - 1, "{format:?}: {names:?}");
    }
}
