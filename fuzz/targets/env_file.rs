//! Files of variables, as `.env` and `--env-file` have them.

#![no_main]

use heka_insights_agent::internals::config::env_file::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse("file", text) {
        Ok(variables) => {
            for (name, _) in variables {
                assert!(!name.is_empty() && !name.contains('='), "{name:?}");
            }
        }
        // Lines may hold secrets: the message has none of their text.
        Err(error) => assert!(error.0.starts_with("file: line ") && error.0.len() < 60, "{error:?}"),
    }
});
