//! The command line, generated from [`super::table`]. Values stay text: `config` validates them together with the
//! environment, so that error messages are the same for both.

use std::ffi::OsString;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::config::found::UsageError;
use crate::config::lookup::Arguments;
use crate::config::nearest::nearest;
use crate::config::setting::{self, AnySetting, Kind};
use crate::config::table::SETTINGS;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("BUILD_COMMIT"),
    "\ntarget:   ",
    env!("BUILD_TARGET"),
    "\nfeatures: grpc, http/protobuf, tls (ring), gzip"
);
const ABOUT: &str = "Reads this Linux host's metrics and sends them as OpenTelemetry (OTLP).";
const AFTER: &str = "Precedence: flag, HEKA_* variable, OTEL variable of the metrics signal, general OTEL variable, default. \
                     An empty variable counts as unset; an empty value of a flag is an error.\n\
                     Exit status: 0 clean stop, 1 failure, 2 wrong usage.";
const COMMAND: &str = "check";

pub const NAME: &str = "heka-insights-agent";

/// Why the program ends after parsing the command line.
#[derive(Debug)]
pub enum Ended {
    /// Text for standard output: `--help`, `--version`.
    Text(String),
    Wrong(UsageError),
}

/// The clap command, for parsing and for the generated documents.
#[must_use]
pub fn command() -> Command {
    let check = Arg::new(COMMAND)
        .value_name("COMMAND")
        .value_parser(Words(vec![(COMMAND, "read every source once, try the endpoint, report problems, and exit")]))
        .hide_possible_values(true)
        .help("check: read every source once, try the endpoint, report problems, and exit");
    let command = Command::new(NAME)
        .version(VERSION)
        .long_version(LONG_VERSION)
        .about(ABOUT)
        .after_help(format!("{}{AFTER}", variables_without_flag()))
        .disable_help_subcommand(true)
        .max_term_width(120)
        .arg(check);
    SETTINGS
        .iter()
        .filter(|setting| !setting.row().flag.is_empty())
        .fold(command, |command, setting| add(command, *setting))
}

fn add(command: Command, setting: &'static dyn AnySetting) -> Command {
    let row = setting.row();
    let arg = named(row.flag).help(setting::help(setting)).help_heading(row.heading);
    match row.kind {
        Kind::One | Kind::Many => {
            let action = if row.kind == Kind::Many { ArgAction::Append } else { ArgAction::Set };
            let words = Words(setting.words());
            command.arg(arg.action(action).value_name(row.value).value_parser(words).hide_possible_values(true))
        }
        Kind::Switch { negation: "" } => command.arg(arg.action(ArgAction::SetTrue)),
        Kind::Switch { negation } => {
            let undo = named(negation).help(format!("Undoes {} and its variable", row.flag)).help_heading(row.heading);
            command
                .arg(arg.action(ArgAction::SetTrue).overrides_with(negation))
                .arg(undo.action(ArgAction::SetTrue).overrides_with(row.flag))
        }
    }
}

fn named(flag: &'static str) -> Arg {
    Arg::new(flag).long(flag.trim_start_matches("--"))
}

fn variables_without_flag() -> String {
    let rows = SETTINGS.iter().filter(|setting| setting.row().flag.is_empty());
    let lines = rows.map(|setting| {
        let row = setting.row();
        format!("  {}: {} [default: {}]\n", row.variables_text(), setting::sentence(*setting), row.default_text())
    });
    format!("Variables without a flag:\n{}\n", lines.collect::<String>())
}

/// Parses arguments.
///
/// # Errors
/// Text to print for `--help` and `--version`; one line for an unknown argument or a missing value.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Ended> {
    let matches = command().try_get_matches_from(arguments).map_err(|error| ended(&error))?;
    let mut values = Vec::new();
    for row in SETTINGS.iter().map(|setting| setting.row()).filter(|row| !row.flag.is_empty()) {
        match row.kind {
            Kind::One | Kind::Many => {
                let given = matches.get_many::<String>(row.flag).into_iter().flatten();
                values.extend(given.map(|value| (row.flag, value.clone())));
            }
            Kind::Switch { negation } => {
                if matches.get_flag(row.flag) {
                    values.push((row.flag, "true".to_owned()));
                } else if !negation.is_empty() && matches.get_flag(negation) {
                    values.push((row.flag, "false".to_owned()));
                }
            }
        }
    }
    Ok(Arguments { command: matches.get_one::<String>(COMMAND).cloned(), values })
}

fn ended(error: &clap::Error) -> Ended {
    if !error.use_stderr() {
        return Ended::Text(error.render().to_string());
    }
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    if let (true, Some(ContextValue::String(wrong))) = (unknown, error.get(ContextKind::InvalidArg)) {
        return Ended::Wrong(unexpected(wrong));
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Ended::Wrong(UsageError(line.trim_start_matches("error: ").to_owned()))
}

fn unexpected(argument: &str) -> UsageError {
    // The value may be a secret, and so may a word without a flag: `--header Authorization: Bearer TOKEN` without quotes.
    if !argument.starts_with('-') {
        return UsageError(
            "unexpected argument (not shown); a value with spaces needs quotes; --help lists all flags".to_owned(),
        );
    }
    let name = argument.split('=').next().unwrap_or_default();
    let command = command();
    let flags: Vec<String> =
        command.get_arguments().filter_map(Arg::get_long).map(|long| format!("--{long}")).collect();
    let hint = match nearest(name, flags.iter().map(String::as_str)) {
        Some(flag) => format!("did you mean {flag}? --help lists all flags"),
        None => "--help lists all flags".to_owned(),
    };
    UsageError(format!("unexpected argument '{name}'; {hint}"))
}

/// Accepts any text; the allowed words are for completions and the man page.
#[derive(Clone, Debug)]
struct Words(Vec<(&'static str, &'static str)>);

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &std::ffi::OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |(word, help): &(&'static str, &'static str)| match *help {
            "" => PossibleValue::new(*word),
            help => PossibleValue::new(*word).help(help),
        };
        (!self.0.is_empty()).then(|| Box::new(self.0.iter().map(value)) as Box<_>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_switch_and_its_negation_undo_each_other_and_the_last_one_counts() {
        let value = |arguments: &[&str]| {
            let all = std::iter::once(&NAME).chain(arguments).map(OsString::from);
            let arguments = parse(all).unwrap();
            arguments.get("--per-cpu").map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(value(&["--per-cpu"]), ["true"]);
        assert_eq!(value(&["--no-per-cpu"]), ["false"]);
        assert_eq!(value(&["--per-cpu", "--no-per-cpu"]), ["false"]);
        assert_eq!(value(&["--no-per-cpu", "--per-cpu"]), ["true"]);
        assert!(value(&[]).is_empty());
    }
}
