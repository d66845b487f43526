//! Asking the processor for memory before it is needed.

/// Begins to load the cache line in which `place` lies. It changes nothing but time.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the instruction has no safe form; a table larger than the cache is a third faster with it"
)]
pub(crate) fn prefetch<T>(place: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the pointer comes from a reference, and a prefetch neither faults nor reads anything into the program.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
}

/// Begins to load the cache line in which `place` lies: nothing on this processor.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch<T>(_place: &T) {}
