//! Flags and variables: each line of the input that starts with `-` is an argument, each other one a variable.

#![no_main]

use std::ffi::OsString;

use heka_insights_agent::internals::config::lookup::Environment;
use heka_insights_agent::internals::config::{Config, cli};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (arguments, variables): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('-'));
    let arguments = std::iter::once("heka-insights-agent").chain(arguments).map(OsString::from);
    let variables = variables.into_iter().filter_map(|line| line.split_once('='));
    let environment = Environment::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if let Ok(arguments) = cli::parse(arguments) {
        if let Err(error) = Config::resolve(&arguments, &environment) {
            assert!(!error.0.is_empty());
        }
    }
});
