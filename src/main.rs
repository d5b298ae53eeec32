//! The agent's binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    heka_insights_agent::program::main(std::env::args_os())
}
