//! From the command line to the exit code: 0 a clean stop, 1 it could not run, 2 wrong usage.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::agent::{self, check, log, signals};
use crate::config::cli::Cli;
use crate::config::settings::{Environment, UsageError};
use crate::config::{Command, Config};

const USAGE: u8 = 2;
const DOT_ENV: &str = ".env";

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::parse_arguments(arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            return usage(&UsageError(line.trim_start_matches("error: ").to_owned()));
        }
        // --help and --version are no errors. A closed pipe is no reason to complain either.
        Err(help) => {
            let _ = write!(std::io::stdout(), "{}", help.render());
            return ExitCode::SUCCESS;
        }
    };
    let (environment, note) = match environment() {
        Ok(environment) => environment,
        Err(error) => return usage(&error),
    };
    let config = match Config::resolve(&cli, &environment) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    log::start(&config);
    note.into_iter().chain(config.notes.iter().cloned()).for_each(|line| info!("{line}"));
    config.warnings.iter().for_each(|line| warn!("{line}"));
    match run(&config) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked for; false where a check found a failure.
fn run(config: &Config) -> Result<bool, Box<dyn std::error::Error>> {
    if config.command == Command::Check {
        let report = check::check(config)?;
        let _ = write!(std::io::stdout(), "{}", report.text);
        return Ok(report.well);
    }
    agent::run(config, signals::terminate(), Box::new(SystemTime::now))?;
    Ok(true)
}

fn usage(error: &UsageError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "heka-insights-agent: {error}");
    ExitCode::from(USAGE)
}

/// The process's environment and, where a person runs the program, the `.env` file of the working directory; with the
/// line that says so.
fn environment() -> Result<(Environment, Option<String>), UsageError> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let mut environment = Environment::new(std::env::vars_os().filter_map(text));
    // systemd sets this for every unit; there the working directory is nobody's choice.
    if environment.get("INVOCATION_ID").is_some() && !std::io::stderr().is_terminal() {
        return Ok((environment, None));
    }
    let Ok(file) = dotenvy::from_filename_iter(DOT_ENV) else { return Ok((environment, None)) };
    let mut variables = Vec::new();
    for (index, entry) in file.enumerate() {
        // The error's own text would print the line, which may hold a secret.
        variables.push(entry.map_err(|_| UsageError(format!("{DOT_ENV}: entry {} is not NAME=VALUE", index + 1)))?);
    }
    environment.add(variables);
    Ok((environment, Some(format!("variables are read from {DOT_ENV} too, where they are not set already"))))
}
