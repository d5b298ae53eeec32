//! The definition of a setting: flag, variables, default, allowed values, help and parser. [`super::table`] lists them
//! all.

use std::fmt::Write;

use crate::config::found::{Found, Parsed};

/// How a flag takes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value; the flag may be given once.
    One,
    /// One value each time the flag is given.
    Many,
    /// No value. `negation` is the flag that overrides a variable.
    Switch {
        /// Such as `--no-per-cpu`; empty if there is none.
        negation: &'static str,
    },
}

/// An environment variable and a note on its value for the help text, such as its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable(pub &'static str, pub &'static str);

/// The default, as printed in the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// No default: the setting is absent.
    None,
    /// A value. It is parsed like user input, so that the printed default is the one in use.
    Value(&'static str),
    /// A sentence: the default depends on other settings or on the host.
    Text(&'static str),
}

/// The type-independent part of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The flag, such as `--interval`; empty if only variables set it.
    pub flag: &'static str,
    pub kind: Kind,
    /// The placeholder for the value in the help text.
    pub value: &'static str,
    pub heading: &'static str,
    /// The variables, in order of precedence.
    pub variables: &'static [Variable],
    pub default: Default,
    /// The allowed values, for the help text and errors; empty if the words or the help text contain them.
    pub allowed: &'static str,
    /// The effect, without a full stop. The help text adds the allowed values after a colon.
    pub help: &'static str,
    /// Additional help text, after the allowed values.
    pub note: &'static str,
    /// Whether errors omit the value.
    pub secret: bool,
}

/// An allowed word of a setting: the word, its value, and an explanation for the help text.
#[derive(Clone, Copy, Debug)]
pub struct Word<T>(pub &'static str, pub T, pub &'static str);

#[derive(Clone, Copy)]
enum Parser<T: 'static> {
    Words(&'static [Word<T>]),
    Text(fn(Found<'_>) -> Parsed<T>),
}

#[derive(Clone, Copy)]
pub struct Setting<T: 'static> {
    pub row: Row,
    parser: Parser<T>,
}

impl<T> Setting<T> {
    const fn with(flag: &'static str, kind: Kind, value: &'static str, parser: Parser<T>) -> Self {
        Self {
            row: Row {
                flag,
                kind,
                value,
                heading: "",
                variables: &[],
                default: Default::None,
                allowed: "",
                help: "",
                note: "",
                secret: false,
            },
            parser,
        }
    }

    /// A setting with one value and a parser function.
    pub const fn one(flag: &'static str, value: &'static str, parse: fn(Found<'_>) -> Parsed<T>) -> Self {
        Self::with(flag, Kind::One, value, Parser::Text(parse))
    }

    /// A setting with a repeatable flag.
    pub const fn many(flag: &'static str, value: &'static str, parse: fn(Found<'_>) -> Parsed<T>) -> Self {
        Self::with(flag, Kind::Many, value, Parser::Text(parse))
    }

    /// A setting whose value is one of several words, case-insensitive.
    pub const fn words(flag: &'static str, value: &'static str, words: &'static [Word<T>]) -> Self {
        Self::with(flag, Kind::One, value, Parser::Words(words))
    }

    /// A setting that only variables set.
    pub const fn variable(variables: &'static [Variable], parse: fn(Found<'_>) -> Parsed<T>) -> Self {
        let mut setting = Self::with("", Kind::One, "", Parser::Text(parse));
        setting.row.variables = variables;
        setting
    }

    /// Sets the section and the text of the help.
    pub const fn help(mut self, heading: &'static str, help: &'static str) -> Self {
        self.row.heading = heading;
        self.row.help = help;
        self
    }

    /// Sets the variables, in order of precedence.
    pub const fn variables(mut self, variables: &'static [Variable]) -> Self {
        self.row.variables = variables;
        self
    }

    /// Sets the default, in the syntax of user input.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.row.default = Default::Value(value);
        self
    }

    /// Sets a sentence instead of a default value.
    pub const fn default_text(mut self, text: &'static str) -> Self {
        self.row.default = Default::Text(text);
        self
    }

    /// Sets the description of the allowed values.
    pub const fn allowed(mut self, allowed: &'static str) -> Self {
        self.row.allowed = allowed;
        self
    }

    pub const fn note(mut self, note: &'static str) -> Self {
        self.row.note = note;
        self
    }

    /// Omits the value from errors.
    pub const fn secret(mut self) -> Self {
        self.row.secret = true;
        self
    }
}

impl Setting<bool> {
    /// A flag without a value, and the flag that overrides its variable.
    pub const fn switch(flag: &'static str, negation: &'static str) -> Self {
        Self::with(flag, Kind::Switch { negation }, "", Parser::Text(super::parse::boolean))
    }
}

impl<T: Clone> Setting<T> {
    /// Parses a value.
    ///
    /// # Errors
    /// A description of the allowed values that replaces the one in the row, if there is one.
    pub fn parse(&self, found: Found<'_>) -> Parsed<T> {
        match self.parser {
            Parser::Text(parse) => parse(found),
            Parser::Words(words) => {
                let word = words.iter().find(|word| word.0.eq_ignore_ascii_case(found.value));
                let names = || words.iter().map(|word| word.0).collect::<Vec<_>>().join(", ");
                word.map(|word| word.1.clone()).ok_or_else(|| Some(names()))
            }
        }
    }
}

/// A setting of any type, for iterating over the table.
pub trait AnySetting: Sync {
    fn row(&self) -> &Row;
    /// The allowed words with their explanations; empty if the setting takes other values.
    fn words(&self) -> Vec<(&'static str, &'static str)>;
    #[cfg(test)]
    fn accepts(&self, value: &str) -> bool;
}

impl<T: Clone + Sync> AnySetting for Setting<T> {
    fn row(&self) -> &Row {
        &self.row
    }

    fn words(&self) -> Vec<(&'static str, &'static str)> {
        match self.parser {
            Parser::Words(words) => words.iter().map(|word| (word.0, word.2)).collect(),
            Parser::Text(_) => Vec::new(),
        }
    }

    #[cfg(test)]
    fn accepts(&self, value: &str) -> bool {
        self.parse(Found { place: self.row.flag, value }).is_ok()
    }
}

impl Row {
    /// The default as printed; empty if there is none.
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Default::None => "",
            Default::Value(text) | Default::Text(text) => text,
        }
    }

    /// The variables with their notes. `A_METRICS_X` followed by `A_X` is printed as `A_[METRICS_]X`.
    pub fn variables_text(&self) -> String {
        let mut text = String::new();
        let mut variables = self.variables.iter().peekable();
        while let Some(Variable(name, note)) = variables.next() {
            let general = name.replace("_METRICS_", "_");
            let pair = general != *name && variables.peek().is_some_and(|next| next.0 == general && next.1 == *note);
            let shown = if pair { name.replace("METRICS_", "[METRICS_]") } else { (*name).to_owned() };
            if pair {
                variables.next();
            }
            let _ = write!(text, "{}{shown}", if text.is_empty() { "" } else { ", " });
            if !note.is_empty() {
                let _ = write!(text, " ({note})");
            }
        }
        text
    }
}

/// The help text of a setting without its default and variables: the effect and the allowed values.
pub fn sentence(setting: &dyn AnySetting) -> String {
    let (row, words) = (setting.row(), setting.words());
    let explained = words.iter().map(|(word, note)| match note.is_empty() {
        true => (*word).to_owned(),
        false => format!("{word} ({note})"),
    });
    let allowed = if words.is_empty() { row.allowed.to_owned() } else { explained.collect::<Vec<_>>().join(", ") };
    let parts = [
        (": ", allowed.as_str()),
        ("; ", row.note),
        ("; ", if row.kind == Kind::Many { "can be repeated" } else { "" }),
    ];
    parts
        .into_iter()
        .filter(|(_, part)| !part.is_empty())
        .fold(row.help.to_owned(), |text, (sign, part)| text + sign + part)
}

/// The complete help text of a setting, as in `--help`.
pub fn help(setting: &dyn AnySetting) -> String {
    let row = setting.row();
    let mut text = sentence(setting);
    for (name, value) in [("default", row.default_text().to_owned()), ("env", row.variables_text())] {
        if !value.is_empty() {
            let _ = write!(text, " [{name}: {value}]");
        }
    }
    text
}
