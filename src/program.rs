//! From the command line to the exit code: 0 a clean stop, 1 it could not run, 2 wrong usage.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::agent::{self, check, log, readings, signals};
use crate::config::cli::{self, Ended};
use crate::config::lookup::{Arguments, Environment, UsageError};
use crate::config::{Command, Config, env_file, table};

const USAGE: u8 = 2;
const DOT_ENV: &str = ".env";

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match cli::parse(arguments) {
        Ok(arguments) => arguments,
        Err(Ended::Wrong(error)) => return usage(&error),
        // A closed pipe is no error here.
        Err(Ended::Text(text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
    };
    let (environment, note) = match environment(&arguments) {
        Ok(environment) => environment,
        Err(error) => return usage(&error),
    };
    let config = match Config::resolve(&arguments, &environment) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    if matches!(config.command, Command::Check { .. }) && readings::is_child() {
        readings::write(&check::context(&config), std::io::stdout());
        return ExitCode::SUCCESS;
    }
    log::start(&config);
    note.into_iter().chain(config.notes.iter().cloned()).for_each(|line| info!("{line}"));
    config.warnings.iter().for_each(|line| warn!("{line}"));
    let endpoint = table::ENDPOINT.row;
    let configured = arguments.get(endpoint.flag).next().is_some()
        || arguments.get(table::ENV_FILE.row.flag).next().is_some()
        || endpoint.variables.iter().any(|variable| environment.get(variable.0).is_some());
    match run(&config, configured) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command; false if a check found a failure. `configured` is whether the user set an endpoint.
fn run(config: &Config, configured: bool) -> Result<bool, Box<dyn std::error::Error>> {
    if let Command::Check { send, json } = config.command {
        let report = check::check(config, send)?.with_hint(check::service_hint(configured));
        let _ = write!(std::io::stdout(), "{}", if json { report.json() } else { report.text() });
        return Ok(report.well());
    }
    agent::run(config, signals::terminate(), Box::new(SystemTime::now))?;
    Ok(true)
}

fn usage(error: &UsageError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}: {error}", cli::NAME);
    ExitCode::from(USAGE)
}

/// The process's environment together with the file that `--env-file` names, or with the `.env` file of the working
/// directory if a person runs the program; and a line about the file for the log.
fn environment(arguments: &Arguments) -> Result<(Environment, Option<String>), UsageError> {
    let mut process = Environment::default();
    process.add_process(std::env::vars_os());
    let named = table::ENV_FILE.row;
    let flag = arguments.get(named.flag).next().map(|file| (named.flag, file));
    let variable = || named.variables.iter().find_map(|name| Some((name.0, process.get(name.0)?)));
    if let Some((place, file)) = flag.or_else(variable) {
        let text =
            fs::read_to_string(file).map_err(|error| UsageError(format!("{place}: {file} cannot be read: {error}")))?;
        let mut environment = Environment::new(env_file::parse(file, &text)?);
        environment.add_process(std::env::vars_os());
        return Ok((environment, Some(format!("loaded {file} (its variables take precedence over the environment)"))));
    }
    // systemd sets INVOCATION_ID for every unit, and nobody chose the working directory of a unit.
    let service = process.get("INVOCATION_ID").is_some() && !std::io::stderr().is_terminal();
    // A directory of this name is a Python environment.
    if service || !fs::metadata(DOT_ENV).is_ok_and(|file| file.is_file()) {
        return Ok((process, None));
    }
    let text = fs::read_to_string(DOT_ENV).map_err(|error| UsageError(format!("{DOT_ENV} cannot be read: {error}")))?;
    process.add(env_file::parse(DOT_ENV, &text)?);
    Ok((process, Some(format!("loaded {DOT_ENV} (variables that are already set take precedence)"))))
}
