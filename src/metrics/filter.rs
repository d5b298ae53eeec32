//! Which of the host's disks, interfaces or mounts a collector reports.

use regex_lite::Regex;

/// A choice by name. An include replaces the collector's default choice; an exclude removes from the result.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Report what matches any of these, whatever the default choice is.
    pub include: Vec<Regex>,
    /// Never report what matches any of these.
    pub exclude: Vec<Regex>,
}

impl Filter {
    /// Compiles the regular expressions.
    ///
    /// # Errors
    /// The first invalid expression.
    pub fn new(include: &[&str], exclude: &[&str]) -> Result<Self, regex_lite::Error> {
        let regexes =
            |patterns: &[&str]| patterns.iter().map(|pattern| Regex::new(pattern)).collect::<Result<Vec<_>, _>>();
        Ok(Self { include: regexes(include)?, exclude: regexes(exclude)? })
    }

    /// Whether the thing is reported; `default` is the collector's own choice.
    #[must_use]
    pub fn admits(&self, name: &str, default: bool) -> bool {
        let included =
            if self.include.is_empty() { default } else { self.include.iter().any(|regex| regex.is_match(name)) };
        included && !self.exclude.iter().any(|regex| regex.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_include_replaces_the_default_choice_and_an_exclude_takes_away() {
        let default = Filter::default();
        assert!(default.admits("sda", true) && !default.admits("dm-0", false));
        let filter = Filter::new(&["^dm-", "^sd"], &["^sdb$"]).unwrap();
        assert!(filter.admits("dm-0", false) && filter.admits("sda", true));
        assert!(!filter.admits("sdb", true) && !filter.admits("nvme0n1", true));
        assert!(Filter::new(&[], &["("]).is_err());
    }
}
