//! What stands before a value where `MessagePack` itself cannot say it.

/// The one byte that nothing of `MessagePack` begins with. It stands before the time of a state that expires, too: what
/// follows is never the first byte of such a time.
pub(crate) const RESERVED: u8 = 0xc1;

/// What `None` and `()` are.
pub(super) const NIL: u8 = 0xc0;

/// The byte behind [`RESERVED`]: the value is as it is for people.
pub(super) const FOR_PEOPLE: u8 = b'h';

/// The byte behind [`RESERVED`]: the value is in a `Some`.
pub(super) const SOME: u8 = b's';

/// Puts a mark before what stands in `out` from `start` on.
pub(super) fn insert(mark: u8, start: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[RESERVED, mark]);
    out[start..].rotate_right(2);
}
