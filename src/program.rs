//! From the command line to the exit code: 0 a clean stop, 1 it could not run, 2 wrong usage.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::agent::check::{self, SERVICE, Service};
use crate::agent::{self, journal, log, readings, signals};
use crate::config::cli::{self, Ended};
use crate::config::found::UsageError;
use crate::config::lookup::{Arguments, Environment};
use crate::config::setting::Row;
use crate::config::{Command, Config, env_file, table};
use crate::host::kept;

const USAGE: u8 = 2;
const DOT_ENV: &str = ".env";

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
    let Loaded { environment, note, configured } = match load(&arguments, std::env::vars_os(), SERVICE) {
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
        let report = check::check(config, send)?.with_hint(SERVICE.hint(configured));
        let _ = write!(std::io::stdout(), "{}", if json { report.json() } else { report.text() });
        return Ok(report.well());
    }
    kept::raise_limit();
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
    // The log is not configured yet: only the environment shows whether the line goes to the journal.
    let priority = if journal::is_stderr() { journal::ERROR } else { "" };
    let _ = writeln!(std::io::stderr(), "{priority}{}: {error}", cli::NAME);
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

/// The variables of the process and of at most one file: the one that `--env-file` names; otherwise the service's, for a
/// `check` without other settings; otherwise `.env` in the working directory, if a person runs the program.
fn load(
    arguments: &Arguments,
    process: impl Iterator<Item = (OsString, OsString)>,
    service: Service<'_>,
) -> Result<Loaded, UsageError> {
    let process: Vec<_> = process.collect();
    let mut environment = Environment::default();
    environment.add_process(process.clone());
    let configured = is_configured(arguments, &environment);
    let is_check = arguments.command.as_deref() == Some("check");
    let named = table::ENV_FILE.row;
    let flag = arguments.get(named.flag).next().map(|file| (named.flag, file));
    let variable = || named.variables.iter().find_map(|name| Some((name.0, environment.get(name.0)?)));
    let of_service = || (is_check && !configured && service.is_readable()).then_some(("check", service.settings));
    if let Some((place, file)) = flag.or_else(variable).or_else(of_service) {
        let text =
            fs::read_to_string(file).map_err(|error| UsageError(format!("{place}: {file} cannot be read: {error}")))?;
        let note = Some(format!("loaded {file} (its variables take precedence over the environment)"));
        let mut environment = Environment::new(env_file::parse(file, &text)?);
        environment.add_process(process);
        if is_check && file == service.settings {
            environment.add(service.state_directory());
        }
        return Ok(Loaded { environment, note, configured });
    }
    // systemd sets INVOCATION_ID for every unit. The user did not choose a unit's working directory.
    let is_service = environment.get("INVOCATION_ID").is_some() && !std::io::stderr().is_terminal();
    // A directory of this name is usually a Python environment.
    if is_service || !fs::metadata(DOT_ENV).is_ok_and(|file| file.is_file()) {
        return Ok(Loaded { environment, note: None, configured });
    }
    let text = fs::read_to_string(DOT_ENV).map_err(|error| UsageError(format!("{DOT_ENV} cannot be read: {error}")))?;
    environment.add(env_file::parse(DOT_ENV, &text)?);
    let note = Some(format!("loaded {DOT_ENV} (variables that are already set take precedence)"));
    Ok(Loaded { environment, note, configured })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// The configuration of a command line on a host with the packaged service.
    fn config(arguments: &[&str], variables: &[(&str, &str)], service: Service<'_>) -> Config {
        let arguments = cli::parse(std::iter::once(&cli::NAME).chain(arguments).map(OsString::from)).unwrap();
        let process = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let loaded = load(&arguments, process, service).unwrap();
        Config::resolve(&arguments, &loaded.environment).unwrap()
    }

    #[test]
    fn check_tests_the_settings_and_the_outbox_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (settings, state) = (path("agent.env"), path("state"));
        fs::write(&settings, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4319\n").unwrap();
        fs::create_dir(&state).unwrap();
        let service = Service { settings: &settings, state: &state };
        let outbox = Some(Path::new(&state).join("outbox"));
        let named = ["check", "--env-file", &settings];
        for (arguments, variables) in
            [(&["check"][..], &[][..]), (&named, &[]), (&["check"], &[("HEKA_ENV_FILE", &*settings)])]
        {
            let config = config(arguments, variables, service);
            assert_eq!(config.otlp.endpoint, "http://127.0.0.1:4319", "{arguments:?} {variables:?}");
            assert_eq!(config.outbox.dir, outbox, "{arguments:?} {variables:?}");
        }
        let other = config(&["check", "--outbox-dir", "/other"], &[], service);
        assert_eq!(other.outbox.dir, Some(PathBuf::from("/other")));
        // Another endpoint is not the service's, and only a check reads its settings.
        let other = config(&["check", "--endpoint", "http://h:1"], &[], service);
        assert_eq!((&*other.otlp.endpoint, other.outbox.dir), ("http://h:1", None));
        let run = config(&[], &[("INVOCATION_ID", "1")], service);
        assert_eq!((&*run.otlp.endpoint, run.outbox.dir), ("http://localhost:4317", None));
        let run = config(&["--env-file", &settings], &[], service);
        assert_eq!((&*run.otlp.endpoint, run.outbox.dir), ("http://127.0.0.1:4319", None));
        // A service that has never run has no state directory.
        let missing = path("none");
        let never = config(&["check"], &[], Service { state: &missing, ..service });
        assert_eq!((&*never.otlp.endpoint, never.outbox.dir), ("http://127.0.0.1:4319", None));
    }
}
