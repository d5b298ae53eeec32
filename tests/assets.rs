//! Checks that the man page, the completions and the configuration page match the table of settings from which they are
//! generated. `HEKA_UPDATE=1 cargo test --test assets` writes them.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/update.rs"]
mod update;

use std::fmt::Write;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use heka_insights_agent::internals::config::setting::{self, AnySetting, Kind};
use heka_insights_agent::internals::config::{cli, table};

const NAME: &str = "heka-insights-agent";

/// The command as the documents show it: without the commit, which differs between builds.
fn command() -> Command {
    cli::command().version(env!("CARGO_PKG_VERSION")).long_version(env!("CARGO_PKG_VERSION"))
}

fn check(path: &str, made: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if update::is_requested() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, made).unwrap();
    }
    let is = std::fs::read(&file).unwrap_or_default();
    if is != made {
        panic!("{path} is out of date: run HEKA_UPDATE=1 cargo test --test assets");
    }
}

#[test]
fn the_man_page_is_generated_from_the_command_line() {
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).source(format!("{NAME} {}", env!("CARGO_PKG_VERSION"))).render(&mut page).unwrap();
    page.extend_from_slice(include_bytes!("../packaging/man/sections.roff"));
    check(&format!("packaging/man/{NAME}.1"), &page);
}

#[test]
fn the_completions_are_generated_from_the_command_line() {
    for (shell, file) in
        [(Shell::Bash, format!("{NAME}.bash")), (Shell::Zsh, format!("_{NAME}")), (Shell::Fish, format!("{NAME}.fish"))]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), NAME, &mut script);
        check(&format!("packaging/completions/{file}"), &script);
    }
}

#[test]
fn the_configuration_page_is_the_table_of_settings() {
    check("docs/configuration.md", configuration().as_bytes());
}

fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config/table.rs: HEKA_UPDATE=1 cargo test --test assets -->\n\n\
         A setting is taken from the first of these that is set: the flag, the `HEKA_*` variable, the OTEL variable of the\n\
         metrics signal, the general OTEL variable. Otherwise the default applies. Each row lists its variables in this order.\n\
         An empty variable counts as unset; an empty value of a flag is an error.\n\n\
         A wrong flag or `HEKA_*` variable ends the program with status 2 and one line with the allowed values. A wrong\n\
         number or name in a shared `OTEL_*` variable causes one warning, and the default applies, as the OpenTelemetry\n\
         specification requires.\n\n\
         A switch such as `--per-cpu` takes no value: the flag turns it on, and its second form (`--no-per-cpu`) turns it\n\
         off. A boolean `HEKA_*` variable takes `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`; a boolean `OTEL_*`\n\
         variable takes only `true` or `false`.\n\n\
         In a list of regular expressions, a comma inside brackets, braces or parentheses, or after a backslash, does not\n\
         separate expressions.\n\n\
         Unless systemd runs the program as a service, it also reads `.env` in the working directory (never in a parent\n\
         directory); variables that are already set take precedence. `.env` and the file of `--env-file` have one\n\
         `NAME=VALUE` per line, with optional `export`, single or double quotes, and comments (`#`). `$` is not expanded.\n\
         The last assignment to a name is used.\n",
    );
    let mut headings: Vec<&str> = table::SETTINGS.iter().map(|setting| setting.row().heading).collect();
    headings.dedup();
    for heading in headings {
        let _ = write!(page, "\n## {heading}\n\n| flag | effect | default | variables |\n|---|---|---|---|\n");
        for setting in table::SETTINGS.iter().filter(|setting| setting.row().heading == heading) {
            page.push_str(&row(*setting));
        }
    }
    page.push_str(PROXIES);
    page
}

/// These variables are not in the table, because all programs share them.
const PROXIES: &str = "
## Proxies

| variable | effect |
|---|---|
| `https_proxy`, `HTTPS_PROXY` | Proxy for `https://` endpoints |
| `http_proxy`, `HTTP_PROXY` | Proxy for `http://` endpoints |
| `all_proxy`, `ALL_PROXY` | Proxy for both, if the variable of the endpoint's scheme is not set |
| `no_proxy`, `NO_PROXY` | Endpoints that are reached directly, separated by commas: a host with its subdomains (`example.com`, `.example.com` or `*.example.com`), `host:port`, an address, a network (`10.0.0.0/8`), or `*` for all |

Of each row, the first variable that is set is used. Like every other variable, these may be in `.env` or in the file of
`--env-file`. The value is `http://host:port`, `http://user:password@host:port` or `host:port`, with percent-encoding in user
and password (`%40` for `@`); the agent speaks plain HTTP to the proxy. If a variable applies to the endpoint but is not the URL
of such a proxy (for example SOCKS or `https://`), the program ends with status 1; it does not connect directly.

`https://` endpoints and gRPC go through a `CONNECT` tunnel, which the proxy must allow for the endpoint's port, such as 4317.
`http://` endpoints over HTTP are requested from the proxy with their full URL. `localhost`, loopback addresses and `unix:`
endpoints are never reached through a proxy. With `REQUEST_METHOD` set (a CGI program), `HTTP_PROXY` is ignored.
";

fn row(setting: &dyn AnySetting) -> String {
    let row = setting.row();
    let cell = |text: &str| text.trim().replace('|', "\\|").replace('<', "&lt;");
    let flag = match row.kind {
        _ if row.flag.is_empty() => String::new(),
        Kind::Switch { negation: "" } => format!("`{}`", row.flag),
        Kind::Switch { negation } => format!("`{}`, `{negation}`", row.flag),
        _ => format!("`{} {}`", row.flag, cell(row.value)),
    };
    let variables = variable_names(&cell(&row.variables_text()));
    format!("| {flag} | {} | {} | {variables} |\n", cell(&setting::sentence(setting)), cell(row.default_text()))
}

/// Variables in code type.
fn variable_names(text: &str) -> String {
    let is_variable = |word: &str| word.len() > 5 && word.chars().all(|c| c.is_ascii_uppercase() || "_[]".contains(c));
    let words = text.split(' ').map(|word| {
        let (bare, rest) = word.split_at(word.find([',', ';', ':']).unwrap_or(word.len()));
        if is_variable(bare) { format!("`{bare}`{rest}") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_sample_settings_of_the_service_are_valid_and_list_every_collector() {
    use heka_insights_agent::internals::config::Config;
    use heka_insights_agent::internals::config::env_file;
    use heka_insights_agent::internals::config::lookup::{Arguments, Environment};
    const PATH: &str = "packaging/heka-insights-agent.env";
    const COLLECTORS: &str = "#HEKA_COLLECTORS=";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH)).unwrap();
    let names = heka_insights_agent::internals::collectors::names().join(",");
    let updated = |line: &str| match line.starts_with(COLLECTORS) {
        true => format!("{COLLECTORS}{names}\n"),
        false => format!("{line}\n"),
    };
    let text: String = text.lines().map(updated).collect();
    assert!(text.contains(COLLECTORS), "{text}");
    check(PATH, text.as_bytes());
    let settings: String = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '))
        .map(|line| format!("{line}\n"))
        .collect();
    let variables = env_file::parse("sample", &settings).unwrap();
    assert!(variables.len() > 8, "{variables:?}");
    let config = Config::resolve(&Arguments::default(), &Environment::new(variables)).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}
