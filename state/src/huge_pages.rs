//! Memory of large tables on large pages.

/// A huge page of the processors that matter.
const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Asks the system to lay memory that was just allocated on huge pages, if there is enough of it. It changes nothing
/// but time: a table that is larger than the cache spends most of it looking up pages of 4 KB.
///
/// To be called before the memory is written to for the first time. Elsewhere than on Linux it does nothing.
#[cfg_attr(
    target_os = "linux",
    expect(
        unsafe_code,
        reason = "the call has no safe form; running sums over a million keys are twice as fast with it"
    )
)]
pub(crate) fn prefer_huge_pages<T>(memory: &mut [T]) {
    let bytes = size_of_val(memory);
    if bytes < 2 * HUGE_PAGE_BYTES {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        let begin = memory.as_mut_ptr().cast::<u8>();
        let skipped = begin.align_offset(HUGE_PAGE_BYTES);
        let whole = bytes.saturating_sub(skipped) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        // SAFETY: the range lies within `memory`, which is borrowed for writing; the advice leaves its content as it
        // is. An error only means that the pages stay small.
        let _ = unsafe { libc::madvise(begin.wrapping_add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}
