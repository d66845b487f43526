//! Where a panic of user code came from: what unwinds does not say it, the hook does.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

thread_local! {
    /// Whether the thread is inside [`watched`].
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// The last panic that was watched.
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A panic, as the hook has seen it.
#[derive(Debug)]
struct Panic {
    location: Option<String>,
    backtrace: Backtrace,
}

/// Runs code, and remembers where it panics; what was remembered before is forgotten. Whatever hook there is is called as
/// well.
pub(crate) fn watched<R>(code: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            remember(info);
            before(info);
        }));
    });
    LAST.set(None);
    let _outer = Outer(WATCHED.replace(true));
    code()
}

/// Whether it was watched before: put back also if the code unwinds.
struct Outer(bool);

impl Drop for Outer {
    fn drop(&mut self) {
        WATCHED.set(self.0);
    }
}

fn remember(info: &PanicHookInfo<'_>) {
    if WATCHED.get() {
        let location = info.location().map(ToString::to_string);
        LAST.set(Some(Panic { location, backtrace: Backtrace::force_capture() }));
    }
}

/// Where the last panic on this thread came from: its line, then the calls that led to it.
pub(crate) fn take_backtrace() -> Option<String> {
    let Panic { location, backtrace } = LAST.take()?;
    let location = location.map_or(String::new(), |location| format!("at {location}\n"));
    Some(format!("{location}{backtrace}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::guard;

    #[test]
    fn a_panic_is_remembered_until_the_next_code_runs_and_only_inside_of_what_is_watched() {
        assert!(guard(|| panic!("inside")).is_err());
        assert!(!WATCHED.get());
        let backtrace = take_backtrace().unwrap();
        assert!(backtrace.starts_with("at ") && backtrace.contains("panics.rs"), "{backtrace}");
        assert!(guard(|| panic!("inside again")).is_err());
        assert!(guard(|| ()).is_ok());
        assert_eq!(take_backtrace(), None);
    }
}
