//! Room on the stack for values that are nested deep.

/// So many levels are nested before somebody looks whether the stack has room for as many more.
pub(super) const LEVELS: u16 = 32;

/// What so many levels take at most, of user code that was not optimised.
const RED_ZONE_BYTES: usize = 512 * 1024;
const MORE_BYTES: usize = 4 * 1024 * 1024;

/// Calls `work`, on another stack if there is little room on this one.
#[cold]
#[inline(never)]
pub(super) fn with_room<R>(work: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(RED_ZONE_BYTES, MORE_BYTES, work)
}
