//! Errors of fused closures: each takes back nothing, as a closure fails before it has given anything on.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use watershed_state::Data;

use crate::batch::Flow;
use crate::clock::NO_TIMESTAMP;
use crate::error::{UserError, UserResult, chain_of, fail};
use crate::supervision::{Directive, Evidence, Place, Stage, decode_record};

/// Gathers what the closures of an instance reject, until the task comes to it.
#[derive(Debug, Clone, Default)]
pub struct Rejects(Arc<Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    /// What is done about an error of a closure.
    directive: Directive,
    /// Closures numbered so far.
    closures: AtomicU32,
    /// Closures that tell event times, numbered so far.
    event_times: AtomicU32,
    any: AtomicBool,
    rejected: Mutex<Vec<Rejected>>,
}

/// A record that a closure has rejected.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) evidence: Evidence,
    pub(crate) cause: String,
}

/// What a closure that may fail does with the records that make it fail.
#[derive(Debug, Clone, Default)]
pub struct Rejecter {
    number: u32,
    name: &'static str,
    /// Whether records are left out, so that one has to be kept while its closure is at work.
    keeps: bool,
    rejects: Rejects,
}

/// No letter names a closure behind the letters.
const FIRST_BEHIND_LETTERS: u32 = 1 << 31;
/// Closures that tell event times have numbers of their own: letters of others were numbered before these could reject
/// anything.
const FIRST_EVENT_TIME: u32 = 1 << 30;

impl Rejects {
    /// For an instance whose policy says this of errors of closures.
    pub fn new(directive: Directive) -> Self {
        Self(Arc::new(Gathered { directive, ..Gathered::default() }))
    }

    /// For closures that take the dead letters of an instance: what they reject would be a dead letter of the same
    /// instance, and come to them again. So their errors fail the instance, whatever its policy.
    pub fn behind_letters() -> Self {
        let closures = AtomicU32::new(FIRST_BEHIND_LETTERS);
        Self(Arc::new(Gathered { directive: Directive::Restart, closures, ..Gathered::default() }))
    }

    /// The next closure of the instance.
    pub fn closure(&self, name: &'static str) -> Rejecter {
        let number = self.0.closures.fetch_add(1, Ordering::Relaxed);
        Rejecter { number, name, keeps: self.0.directive.leaves_out(), rejects: self.clone() }
    }

    /// The next closure of the instance that tells event times. A source does not take its records one by one for it:
    /// what is rejected here has no position in its letter.
    pub fn event_time(&self) -> Rejecter {
        let number = FIRST_EVENT_TIME + self.0.event_times.fetch_add(1, Ordering::Relaxed);
        Rejecter { number, name: "event_time", keeps: self.0.directive.leaves_out(), rejects: self.clone() }
    }

    /// Whether there is a closure that may reject something.
    #[inline]
    pub(crate) fn has_closures(&self) -> bool {
        self.0.closures.load(Ordering::Relaxed) > 0
    }

    /// Takes what was rejected.
    #[inline]
    pub(crate) fn take(&self) -> Vec<Rejected> {
        if !self.0.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.0.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.0.rejected.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rejecter {
    /// The record, if it will be needed in case the closure fails.
    #[inline]
    pub(crate) fn keep<T: Clone>(&self, record: &T) -> Option<T> {
        self.keeps.then(|| record.clone())
    }

    /// The closure has failed. Does not return if the policy is not to leave the record out.
    #[cold]
    pub(crate) fn rejected<T: Data>(&self, kept: Option<T>, at: i64, error: UserError) -> Flow {
        let Some(record) = kept else { fail(error) };
        let place = Place::Closure { number: self.number, name: self.name.to_string() };
        let mut evidence = Evidence::of(Stage::Process, place, &record);
        evidence.timestamp = (at != NO_TIMESTAMP).then_some(at);
        let rejected = Rejected { evidence, cause: chain_of(&*error) };
        self.rejects.0.rejected.lock().unwrap_or_else(PoisonError::into_inner).push(rejected);
        self.rejects.0.any.store(true, Ordering::Relaxed);
        Flow::Continue
    }

    /// A record that the closure in this place has rejected before, if this is that closure.
    pub(crate) fn replay<T: Data>(&self, place: &Place, record: &[u8]) -> Option<UserResult<T>> {
        let Place::Closure { number, name } = place else { return None };
        (*number == self.number && name == self.name).then(|| decode_record(record))
    }
}
