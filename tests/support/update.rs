//! Generated files: `HEKA_UPDATE=1` makes the tests write them instead of only comparing them.

/// Whether `HEKA_UPDATE` is `1`. Any other value, such as `0`, updates nothing.
pub fn is_requested() -> bool {
    std::env::var_os("HEKA_UPDATE").is_some_and(|value| value == "1")
}
