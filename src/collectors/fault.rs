//! Catches panics: a panic ends only the task in which it occurs. The hook stores the message, and the catching code
//! logs it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work` and catches a panic. The error contains its message, and its location if the program's hook is
/// installed.
///
/// # Errors
/// The message of the panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    outcome.map_err(|payload| CAUGHT.take().unwrap_or_else(|| text(payload.as_ref()).to_owned()))
}

/// For the panic hook: message and location, or `None` if [`guarded`] will report the panic.
#[must_use]
pub fn unguarded(info: &PanicHookInfo<'_>) -> Option<String> {
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let line = format!("{}{place}", text(info.payload()));
    if !GUARDED.get() {
        return Some(line);
    }
    CAUGHT.set(Some(line));
    None
}

fn text(payload: &(dyn std::any::Any + Send)) -> &str {
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_is_its_text_and_what_follows_runs() {
        assert_eq!(guarded(|| 1), Ok(1));
        let said = guarded(|| panic!("number {}", 7)).unwrap_err();
        assert!(said.starts_with("number 7"), "{said}");
        assert_eq!(guarded(|| 2), Ok(2));
    }

    #[test]
    fn a_guard_inside_a_guard_leaves_the_outer_one_standing() {
        let said = guarded(|| {
            guarded(|| panic!("inner")).unwrap_err();
            assert!(GUARDED.get());
            panic!("outer")
        });
        let said: String = said.map(|()| String::new()).unwrap_err();
        assert!(said.starts_with("outer"), "{said}");
    }
}
