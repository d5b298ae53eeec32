//! Finds the value of a setting: from a flag, a variable, or its default. Errors name the source and the allowed
//! values.

use std::collections::HashMap;
use std::ffi::OsString;

use crate::config::found::{Found, UsageError};
use crate::config::setting::{Default, Row, Setting};
use crate::export::config::{Proxies, ProxyVariable};

/// The flags of the command line, in order.
#[derive(Clone, Debug, std::default::Default)]
pub struct Arguments {
    /// The command, if one was given.
    pub command: Option<String>,
    /// Flags, such as `--interval`, and their values. A switch is `true`, or `false` if its negation was given.
    pub values: Vec<(&'static str, String)>,
}

impl Arguments {
    pub fn get<'a>(&'a self, flag: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values.iter().filter(move |(name, _)| *name == flag).map(|(_, value)| value.as_str())
    }
}

/// The environment: variables of the process and of files. Empty variables count as unset.
#[derive(Clone, Debug, std::default::Default)]
pub struct Environment {
    /// `None` is a value that is not UTF-8.
    values: HashMap<String, Option<String>>,
}

impl Environment {
    /// Creates an environment; the first value of a name is used.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut environment = Self::default();
        environment.add(variables);
        environment
    }

    /// Adds process variables that are not set yet.
    pub fn add_process(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            self.insert(name, value.into_string().ok());
        }
    }

    /// Adds variables that are not set yet.
    pub fn add(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables {
            self.insert(name, Some(value));
        }
    }

    fn insert(&mut self, name: String, value: Option<String>) {
        if value.as_ref().is_none_or(|value| !value.trim().is_empty()) {
            self.values.entry(name).or_insert(value);
        }
    }

    /// A variable's value, trimmed; `None` if it is unset or not UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_ref().map(|value| value.trim())
    }

    /// The names of all set variables, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.values.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether a variable is set, and its value is not UTF-8.
    #[must_use]
    pub fn is_not_unicode(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(Option::is_none)
    }
}

/// Finds the values of settings, and collects warnings about invalid values of shared variables.
#[derive(Debug)]
pub struct Lookup<'a> {
    arguments: &'a Arguments,
    environment: &'a Environment,
    /// Warnings for the log.
    pub warnings: Vec<String>,
}

impl<'a> Lookup<'a> {
    pub fn new(arguments: &'a Arguments, environment: &'a Environment) -> Self {
        Self { arguments, environment, warnings: Vec::new() }
    }

    /// The values from the source with the highest precedence: all values of the flag, or the value of one variable.
    pub fn find(&self, row: &Row) -> Vec<Found<'a>> {
        let given = self.arguments.get(row.flag).map(|value| Found { place: row.flag, value });
        let given: Vec<_> = given.collect();
        if !given.is_empty() {
            return given;
        }
        self.of_environment(row).into_iter().collect()
    }

    /// The parsed value and its source; `None` if it is unset, or invalid in a shared variable.
    ///
    /// # Errors
    /// An invalid value of a flag or of a variable of this program; the message has the source and the allowed values.
    pub fn found<T: Clone>(&mut self, setting: &Setting<T>) -> Result<Option<(T, Found<'a>)>, UsageError> {
        let Some(found) = self.find(&setting.row).into_iter().next() else { return Ok(None) };
        Ok(self.parse(setting, found)?.map(|value| (value, found)))
    }

    /// As [`Lookup::found`], without the source.
    ///
    /// # Errors
    /// As [`Lookup::found`].
    pub fn optional<T: Clone>(&mut self, setting: &Setting<T>) -> Result<Option<T>, UsageError> {
        Ok(self.found(setting)?.map(|(value, _)| value))
    }

    /// As [`Lookup::optional`], with the default of the table.
    ///
    /// # Errors
    /// As [`Lookup::found`]; also if the setting's default is not a single value, which a test detects.
    pub fn value<T: Clone>(&mut self, setting: &Setting<T>) -> Result<T, UsageError> {
        if let Some(value) = self.optional(setting)? {
            return Ok(value);
        }
        let Default::Value(value) = setting.row.default else {
            return Err(UsageError(format!("{}: no default", setting.row.flag)));
        };
        let place = setting.row.flag;
        setting.parse(Found { place, value }).map_err(|_| UsageError(format!("{place}: wrong default '{value}'")))
    }

    /// All values of a setting that is a list.
    ///
    /// # Errors
    /// As [`Lookup::found`].
    pub fn list<T: Clone>(&mut self, setting: &Setting<Vec<T>>) -> Result<Vec<T>, UsageError> {
        let mut list = Vec::new();
        for found in self.find(&setting.row) {
            list.extend(self.parse(setting, found)?.unwrap_or_default());
        }
        Ok(list)
    }

    /// The values of a list from its variable, even if the flag is given.
    ///
    /// # Errors
    /// As [`Lookup::found`].
    pub fn variable<T: Clone>(&mut self, setting: &Setting<Vec<T>>) -> Result<Vec<T>, UsageError> {
        match self.of_environment(&setting.row) {
            Some(found) => Ok(self.parse(setting, found)?.unwrap_or_default()),
            None => Ok(Vec::new()),
        }
    }

    /// The proxy variables, which are shared by all programs and not in the table of settings.
    pub fn proxies(&self) -> Proxies {
        Proxies::from_variables(|name| {
            let value = self.environment.values.get(name)?;
            Some(ProxyVariable { name, value: value.as_ref().map(|value| value.trim().to_owned()) })
        })
    }

    fn of_environment(&self, row: &Row) -> Option<Found<'a>> {
        let found = |name: &'static str| Some(Found { place: name, value: self.environment.get(name)? });
        row.variables.iter().find_map(|variable| found(variable.0))
    }

    fn parse<T: Clone>(&mut self, setting: &Setting<T>, found: Found<'a>) -> Result<Option<T>, UsageError> {
        let row = &setting.row;
        let error = match setting.parse(found) {
            // Empty variables count as unset, so this is the value of a flag.
            Ok(_) if found.value.trim().is_empty() => found.wrong("a value that is not empty"),
            Ok(value) => return Ok(Some(value)),
            Err(allowed) => {
                let allowed = allowed.as_deref().unwrap_or(row.allowed);
                if row.secret { found.wrong_secret(allowed) } else { found.wrong(allowed) }
            }
        };
        // Using the default endpoint or other headers would send the data elsewhere.
        if !found.is_shared() || row.secret {
            return Err(error);
        }
        self.warnings.push(format!("{error}; using the default"));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_unset_and_the_first_of_a_name_counts() {
        let mut environment = Environment::new([("A".into(), String::new()), ("B".into(), "1".into())]);
        environment.add([("A".into(), "2".into()), ("B".into(), "2".into())]);
        assert_eq!((environment.get("A"), environment.get("B")), (Some("2"), Some("1")));
    }

    #[test]
    fn a_value_that_is_not_utf8_takes_precedence_as_any_other() {
        use std::os::unix::ffi::OsStringExt;
        let binary = || [("A".into(), OsString::from_vec(b"\xff".to_vec()))];
        let mut environment = Environment::default();
        environment.add_process(binary());
        environment.add([("A".into(), "file".into())]);
        assert!(environment.is_not_unicode("A") && environment.get("A").is_none());
        let mut environment = Environment::new([("A".into(), "file".into())]);
        environment.add_process(binary());
        assert!(!environment.is_not_unicode("A") && environment.get("A") == Some("file"));
    }
}
