//! One setting as data: flag, variables, default, allowed values, help and parser. [`super::table`] has all of them.

use std::fmt::Write;

use crate::config::found::{Found, Parsed};

/// How a flag takes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    One,
    /// One value each time it is given.
    Many,
    /// No value. `negation` is the flag that undoes a variable.
    Switch {
        /// Such as `--no-per-cpu`; empty if there is none.
        negation: &'static str,
    },
}

/// An environment variable and a note on its value for the help, such as its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable(pub &'static str, pub &'static str);

/// The default as the help prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing: the setting is absent.
    None,
    /// A value. The setting's own parser reads it, so that the printed default is the one in use.
    Value(&'static str),
    /// A sentence: the default depends on other settings or on the host.
    Text(&'static str),
}

/// The part of a setting that does not depend on its type.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The flag, such as `--interval`; empty for a setting that only variables have.
    pub flag: &'static str,
    /// How the flag takes values.
    pub kind: Kind,
    /// The placeholder of a value in the help.
    pub value: &'static str,
    /// The section of the help.
    pub heading: &'static str,
    /// The variables, the strongest first.
    pub variables: &'static [Variable],
    /// The default.
    pub default: Default,
    /// The values that are allowed, for the help and for errors; empty if the words or the help say it.
    pub allowed: &'static str,
    /// The effect, without a full stop. The help adds the allowed values after a colon.
    pub help: &'static str,
    /// More for the help, after the allowed values.
    pub note: &'static str,
    /// Whether errors leave the value out.
    pub secret: bool,
}

/// One of the words that a setting can have: the word, its value, and an explanation for the help.
#[derive(Clone, Copy, Debug)]
pub struct Word<T>(pub &'static str, pub T, pub &'static str);

#[derive(Clone, Copy)]
enum Parser<T: 'static> {
    Words(&'static [Word<T>]),
    Text(fn(Found<'_>) -> Parsed<T>),
}

/// A setting whose value is a `T`.
#[derive(Clone, Copy)]
pub struct Setting<T: 'static> {
    /// All but the parser.
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

    /// A setting with one value that a function parses.
    pub const fn one(flag: &'static str, value: &'static str, parse: fn(Found<'_>) -> Parsed<T>) -> Self {
        Self::with(flag, Kind::One, value, Parser::Text(parse))
    }

    /// A setting whose flag can be repeated.
    pub const fn many(flag: &'static str, value: &'static str, parse: fn(Found<'_>) -> Parsed<T>) -> Self {
        Self::with(flag, Kind::Many, value, Parser::Text(parse))
    }

    /// A setting whose value is one of some words, in any case.
    pub const fn words(flag: &'static str, value: &'static str, words: &'static [Word<T>]) -> Self {
        Self::with(flag, Kind::One, value, Parser::Words(words))
    }

    /// A setting that only variables have.
    pub const fn variable(variables: &'static [Variable], parse: fn(Found<'_>) -> Parsed<T>) -> Self {
        let mut setting = Self::with("", Kind::One, "", Parser::Text(parse));
        setting.row.variables = variables;
        setting
    }

    /// The section of the help, and the sentence there.
    pub const fn help(mut self, heading: &'static str, help: &'static str) -> Self {
        self.row.heading = heading;
        self.row.help = help;
        self
    }

    /// The variables, the strongest first.
    pub const fn variables(mut self, variables: &'static [Variable]) -> Self {
        self.row.variables = variables;
        self
    }

    /// The default, as a user would write it.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.row.default = Default::Value(value);
        self
    }

    /// A sentence instead of one default value.
    pub const fn default_text(mut self, text: &'static str) -> Self {
        self.row.default = Default::Text(text);
        self
    }

    /// The allowed values.
    pub const fn allowed(mut self, allowed: &'static str) -> Self {
        self.row.allowed = allowed;
        self
    }

    /// More for the help, after the allowed values.
    pub const fn note(mut self, note: &'static str) -> Self {
        self.row.note = note;
        self
    }

    /// Keeps the value out of errors.
    pub const fn secret(mut self) -> Self {
        self.row.secret = true;
        self
    }
}

impl Setting<bool> {
    /// A flag without a value, and the flag that undoes its variable.
    pub const fn switch(flag: &'static str, negation: &'static str) -> Self {
        Self::with(flag, Kind::Switch { negation }, "", Parser::Text(super::parse::boolean))
    }
}

impl<T: Clone> Setting<T> {
    /// Parses a value.
    ///
    /// # Errors
    /// A better description of the allowed values than the row's, if there is one.
    pub fn parse(&self, found: Found<'_>) -> Parsed<T> {
        match self.parser {
            Parser::Text(parse) => parse(found),
            Parser::Words(words) => {
                let word = words.iter().find(|word| word.0.eq_ignore_ascii_case(found.value));
                word.map(|word| word.1.clone()).ok_or_else(|| Some(self.word_names().join(", ")))
            }
        }
    }

    fn word_names(&self) -> Vec<&'static str> {
        match self.parser {
            Parser::Words(words) => words.iter().map(|word| word.0).collect(),
            Parser::Text(_) => Vec::new(),
        }
    }
}

/// A setting of any type, for those who read the whole table.
pub trait AnySetting: Sync {
    /// All but the parser.
    fn row(&self) -> &Row;
    /// The words that it can have, each with its explanation; empty if it takes other values.
    fn words(&self) -> Vec<(&'static str, &'static str)>;
    /// Whether its parser takes a value.
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

    fn accepts(&self, value: &str) -> bool {
        self.parse(Found { place: self.row.flag, value }).is_ok()
    }
}

impl Row {
    /// The printed default; empty if there is none.
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

/// A setting's help without its default and variables: the sentence and the allowed values.
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

/// The whole help of a setting, as `--help` prints it.
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
