//! The program itself, as a person or a service manager runs it: exit codes, its words, the console.

#[path = "cli/run.rs"]
mod run;

#[path = "cli/console.rs"]
mod console;
#[path = "cli/environment.rs"]
mod environment;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/usage.rs"]
mod usage;
