//! From the command line to the exit code: 0 a clean stop, 1 it could not run, 2 wrong usage.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::agent::{self, check, log, readings, signals};
use crate::config::cli::{self, Ended};
use crate::config::found::UsageError;
use crate::config::lookup::{Arguments, Environment};
use crate::config::setting::Row;
use crate::config::{Command, Config, env_file, table};

const USAGE: u8 = 2;
const DOT_ENV: &str = ".env";

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    heka_memory::one_arena();
    let arguments = match cli::parse(arguments) {
        Ok(arguments) => arguments,
        Err(Ended::Wrong(error)) => return usage(&error),
        // A closed pipe is no error here.
        Err(Ended::Text(text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
    };
    let Loaded { environment, note, configured } = match load(&arguments) {
        Ok(loaded) => loaded,
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

fn is_configured(arguments: &Arguments, environment: &Environment) -> bool {
    let is_set = |row: Row| {
        arguments.get(row.flag).next().is_some() || row.variables.iter().any(|name| environment.get(name.0).is_some())
    };
    is_set(table::ENDPOINT.row) || is_set(table::ENV_FILE.row)
}

fn usage(error: &UsageError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}: {error}", cli::NAME);
    ExitCode::from(USAGE)
}

/// The variables that apply.
struct Loaded {
    environment: Environment,
    /// A line for the log about the file that was read.
    note: Option<String>,
    /// Whether the user set an endpoint, or named a file with settings.
    configured: bool,
}

/// The process's environment together with the file that `--env-file` names; with the service's file if `check` gets no other
/// settings; with the `.env` file of the working directory if a person runs the program.
fn load(arguments: &Arguments) -> Result<Loaded, UsageError> {
    let mut environment = Environment::default();
    environment.add_process(std::env::vars_os());
    let configured = is_configured(arguments, &environment);
    let named = table::ENV_FILE.row;
    let flag = arguments.get(named.flag).next().map(|file| (named.flag, file));
    let variable = || named.variables.iter().find_map(|name| Some((name.0, environment.get(name.0)?)));
    let service = || {
        let is_check = !configured && arguments.command.as_deref() == Some("check");
        check::service_file().filter(|_| is_check).map(|file| ("check", file))
    };
    if let Some((place, file)) = flag.or_else(variable).or_else(service) {
        let text =
            fs::read_to_string(file).map_err(|error| UsageError(format!("{place}: {file} cannot be read: {error}")))?;
        let note = Some(format!("loaded {file} (its variables take precedence over the environment)"));
        let mut environment = Environment::new(env_file::parse(file, &text)?);
        environment.add_process(std::env::vars_os());
        return Ok(Loaded { environment, note, configured });
    }
    // systemd sets INVOCATION_ID for every unit, and nobody chose the working directory of a unit.
    let service = environment.get("INVOCATION_ID").is_some() && !std::io::stderr().is_terminal();
    // A directory of this name is a Python environment.
    if service || !fs::metadata(DOT_ENV).is_ok_and(|file| file.is_file()) {
        return Ok(Loaded { environment, note: None, configured });
    }
    let text = fs::read_to_string(DOT_ENV).map_err(|error| UsageError(format!("{DOT_ENV} cannot be read: {error}")))?;
    environment.add(env_file::parse(DOT_ENV, &text)?);
    let note = Some(format!("loaded {DOT_ENV} (variables that are already set take precedence)"));
    Ok(Loaded { environment, note, configured })
}
