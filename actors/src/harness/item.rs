//! What goes into a process under test, and what comes out.

use std::fmt;
use std::time::Duration;

use crate::clock::NO_TIMESTAMP;

/// A step of the input, or a part of the output. Made by [`record`], [`watermark`] and [`advance`].
#[derive(Clone, PartialEq, Eq)]
pub struct Item<T>(pub(crate) Kind<T>);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind<T> {
    Record(T, i64),
    Watermark(i64),
    Advance(Duration),
}

/// A record without event time; [`Item::at`] gives it one.
pub fn record<T>(value: T) -> Item<T> {
    Item(Kind::Record(value, NO_TIMESTAMP))
}

/// Event time has come to here, in milliseconds. [`MAX_WATERMARK`](crate::MAX_WATERMARK) is the end of all input.
pub fn watermark<T>(at: i64) -> Item<T> {
    Item(Kind::Watermark(at))
}

/// So much processing time passes. Only for input.
pub fn advance<T>(by: Duration) -> Item<T> {
    Item(Kind::Advance(by))
}

impl<T> Item<T> {
    /// A record with this event time, in milliseconds. What is no record stays as it is.
    #[must_use]
    pub fn at(self, at: i64) -> Self {
        match self.0 {
            Kind::Record(value, _) => Self(Kind::Record(value, at)),
            kind => Self(kind),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Record(value, NO_TIMESTAMP) => write!(f, "record({value:?})"),
            Kind::Record(value, at) => write!(f, "record({value:?}).at({at})"),
            Kind::Watermark(at) => write!(f, "watermark({at})"),
            Kind::Advance(by) => write!(f, "advance({by:?})"),
        }
    }
}
