//! Where a panic of user code came from: what unwinds does not say it, the hook does.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::thread::LocalKey;

use crate::failure::Failure;

thread_local! {
    /// Whether the thread is inside [`watched`].
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// Whether the thread is inside [`in_simulation`].
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
    /// The last panic that was watched.
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A panic, as the hook has seen it.
#[derive(Debug)]
struct Panic {
    location: Option<String>,
    /// Not of one in a simulation.
    backtrace: Option<Backtrace>,
}

/// Runs code of the user's; what it throws comes back as a failure.
///
/// # Errors
/// What was thrown.
pub fn guard<R>(code: impl FnOnce() -> R) -> Result<R, Failure> {
    // Whatever the code left half-changed is thrown away: the caller drops the task and rolls its region back.
    catch_unwind(AssertUnwindSafe(|| watched(code))).map_err(Failure::caught)
}

/// Runs code, and remembers where it panics; what was remembered before is forgotten. Whatever hook there is is called
/// as well.
pub(crate) fn watched<R>(code: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            remember(info);
            if !SIMULATED.get() {
                before(info);
            }
        }));
    });
    LAST.set(None);
    let _outer = Outer(&WATCHED, WATCHED.replace(true));
    code()
}

/// Runs a simulated process. Panics in it are part of the run: they print nothing on the console, and of where they
/// came from only the line is kept. The calls that led there begin with whoever runs the simulation, and the same seed
/// must give the same run wherever that is.
///
/// # Errors
/// A panic that nothing in the process has caught.
pub fn in_simulation<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    let _outer = Outer(&SIMULATED, SIMULATED.replace(true));
    guard(code).map_err(|failure| match take_backtrace() {
        Some(place) => format!("{failure} {}", place.trim_end()),
        None => failure.to_string(),
    })
}

/// What was the case before: put back also if the code unwinds.
struct Outer(&'static LocalKey<Cell<bool>>, bool);

impl Drop for Outer {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

fn remember(info: &PanicHookInfo<'_>) {
    if WATCHED.get() {
        let location = info.location().map(ToString::to_string);
        let backtrace = (!SIMULATED.get()).then(Backtrace::force_capture);
        LAST.set(Some(Panic { location, backtrace }));
    }
}

/// Where the last panic on this thread came from: its line, then the calls that led to it.
pub(crate) fn take_backtrace() -> Option<String> {
    let Panic { location, backtrace } = LAST.take()?;
    let location = location.map_or(String::new(), |location| format!("at {location}\n"));
    let backtrace = backtrace.map_or(String::new(), |backtrace| backtrace.to_string());
    Some(location + &backtrace)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Of a panic, from somewhere else.
    #[inline(never)]
    fn place_of_a_panic_further_down(depth: usize) -> Option<String> {
        if depth > 0 {
            return std::hint::black_box(place_of_a_panic_further_down(depth - 1));
        }
        assert!(guard(|| panic!("inside")).is_err());
        take_backtrace()
    }

    #[test]
    fn in_a_simulation_only_the_line_of_a_panic_is_kept_from_wherever_it_is_run() {
        let places =
            [0, 5].map(|depth| in_simulation(|| place_of_a_panic_further_down(depth)).unwrap().unwrap());
        assert_eq!(places[0], places[1]);
        assert!(places[0].starts_with("at ") && places[0].lines().count() == 1, "{}", places[0]);
        assert!(!SIMULATED.get());
        let failure = in_simulation(|| panic!("of the process")).unwrap_err();
        assert!(failure.contains("of the process") && failure.contains("panics.rs"), "{failure}");
        assert!(place_of_a_panic_further_down(0).unwrap().lines().count() > 1);
    }
}
