//! Errors: what user code returns.

use std::error::Error;
use std::io;

pub use watershed_state::chain_of;

/// What user code returns: any error will do, so `?` works on everything.
pub type UserResult<T = ()> = Result<T, UserError>;

/// An error of user code.
pub type UserError = Box<dyn Error + Send + Sync>;

/// Whether an error says at its root that a disk is full or a quota used up.
pub fn is_no_space(error: &(dyn Error + 'static)) -> bool {
    find::<io::Error>(error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    })
}

/// The first error of a type in a chain of errors.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error of a fused closure on its way to the one place that catches.
pub(crate) struct Thrown(pub(crate) UserError);

/// Leaves a fused chain with an error. A chain has no other way out in the middle of a record that would not cost
/// every record a check; what unwinds is caught where all user code is caught.
#[cold]
pub(crate) fn fail(error: UserError) -> ! {
    std::panic::resume_unwind(Box::new(Thrown(error)))
}
