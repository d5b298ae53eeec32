//! Tests of the Collector configuration in this repository.

use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn the_shipped_configuration_is_valid_for_the_real_collector() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("otel-collector-config.yaml");
    let output =
        Command::new(std::env::var_os("HEKA_OTELCOL").unwrap()).arg("validate").arg("--config").arg(config).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
