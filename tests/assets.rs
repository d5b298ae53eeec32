//! The man page, the completions and the configuration page are the command line's: made from it, and checked against it.
//! `HEKA_UPDATE=1 cargo test --test assets` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use heka_insights_agent::internals::config::cli::Cli;

const NAME: &str = "heka-insights-agent";

/// The command as the documents show it: without the commit, which is new each time.
fn command() -> Command {
    Cli::command().version(env!("CARGO_PKG_VERSION")).long_version(env!("CARGO_PKG_VERSION"))
}

fn check(path: &str, made: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("HEKA_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, made).unwrap();
    }
    let is = std::fs::read(&file).unwrap_or_default();
    if is != made {
        panic!("{path} is not what the command line makes of it: run HEKA_UPDATE=1 cargo test --test assets");
    }
}

#[test]
fn the_man_page_is_the_command_lines() {
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).source(format!("{NAME} {}", env!("CARGO_PKG_VERSION"))).render(&mut page).unwrap();
    check(&format!("packaging/man/{NAME}.1"), &page);
}

#[test]
fn the_completions_are_the_command_lines() {
    for (shell, file) in
        [(Shell::Bash, format!("{NAME}.bash")), (Shell::Zsh, format!("_{NAME}")), (Shell::Fish, format!("{NAME}.fish"))]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), NAME, &mut script);
        check(&format!("packaging/completions/{file}"), &script);
    }
}

#[test]
fn the_configuration_page_is_the_command_lines() {
    check("docs/configuration.md", configuration(&command()).as_bytes());
}

fn configuration(command: &Command) -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config/cli.rs: HEKA_UPDATE=1 cargo test --test assets -->\n\n\
         Each setting is taken from its flag, else from the first of its variables that is set, else it has its default.\n\
         An empty variable is unset. `.env` in the working directory is read as well, for variables that are not set\n\
         otherwise, but not under systemd. A wrong flag or `HEKA_*` variable ends the program with status 2 and one line\n\
         that says what is allowed; for the shared `OTEL_*` numbers and names it is one warning and the default, as their\n\
         specification wants. A switch's variable takes `true` or `false`.\n",
    );
    let mut headings: Vec<&str> = Vec::new();
    let flags: Vec<&Arg> = command.get_arguments().filter(|flag| flag.get_help_heading().is_some()).collect();
    for heading in flags.iter().filter_map(|flag| flag.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        let _ = write!(page, "\n## {heading}\n\n| flag | what it does | default | variables |\n|---|---|---|---|\n");
        for flag in flags.iter().filter(|flag| flag.get_help_heading() == Some(heading)) {
            page.push_str(&row(flag));
        }
    }
    page
}

fn row(flag: &Arg) -> String {
    let help = flag.get_help().unwrap().to_string();
    let (what, default) = take(&help, "[default: ");
    let (what, variables) = take(&what, "[env: ");
    let name = flag.get_long().unwrap();
    let value = flag.get_value_names().filter(|_| flag.get_action().takes_values()).and_then(|names| names.first());
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    let cell = |text: &str| text.trim().replace('|', "\\|").replace('<', "&lt;");
    format!("| `--{name}{value}` | {} | {} | {} |\n", cell(&what), cell(&default), variable_names(&cell(&variables)))
}

/// Cuts `[mark …]` out of a help text; brackets inside it are its own.
fn take(help: &str, mark: &str) -> (String, String) {
    let Some((before, rest)) = help.split_once(mark) else { return (help.to_owned(), String::new()) };
    let mut depth = 1;
    for (at, letter) in rest.char_indices() {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        if depth == 0 {
            return (format!("{}{}", before.trim_end(), &rest[at + 1..]), rest[..at].to_owned());
        }
    }
    panic!("{mark} is not closed in: {help}");
}

/// Variables in code type.
fn variable_names(text: &str) -> String {
    let is_variable = |word: &str| {
        word.len() > 5 && word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || "_[]".contains(c))
    };
    text.split(' ')
        .map(|word| {
            let (bare, rest) = word.split_at(word.find(['=', ',', ';', ':']).unwrap_or(word.len()));
            if is_variable(bare) { format!("`{bare}`{rest}") } else { word.to_owned() }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
