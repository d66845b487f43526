//! What the control plane tells a task about the records it has to do with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::query::{Queries, Query};
use crate::supervision::{DeadLetter, Policy, Rejects, SkipEntry, Stage, Suspect};

/// The instructions for one run of an instance.
#[derive(Debug, Default)]
pub struct Oversight {
    /// What is done about failures.
    pub policy: Policy,
    /// The checkpoint that the run begins with; 0 for the beginning.
    pub checkpoint: u64,
    /// Records to be taken one by one, so that a failure says which one it was.
    pub careful_records: u64,
    /// What has to be left out.
    pub skips: Vec<SkipEntry>,
    /// Errors of fused closures.
    pub rejects: Rejects,
    replays: Replays,
    /// What is asked from outside.
    pub(crate) queries: Queries,
    at_hand: Mutex<Option<AtHand>>,
}

/// The record that is being processed, while records are taken one by one. What is known of it is worked out only if
/// somebody asks.
struct AtHand(Box<dyn Fn() -> Suspect + Send>);

impl std::fmt::Debug for AtHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtHand")
    }
}

/// What is to be done with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The letter.
    pub letter: DeadLetter,
    /// Whether it is given up: nothing is processed, but its key is released.
    pub discarded: bool,
}

/// Letters on their way to a task.
#[derive(Debug, Default)]
struct Replays {
    waiting: Mutex<Vec<Replay>>,
    any: AtomicBool,
}

impl Oversight {
    /// For a run that begins with this checkpoint under this policy, and takes so many records one by one.
    pub fn new(policy: Policy, checkpoint: u64, careful_records: u64, skips: Vec<SkipEntry>) -> Self {
        let rejects = Rejects::new(policy.directive(Stage::Process));
        Self { policy, checkpoint, careful_records, skips, rejects, ..Self::default() }
    }

    /// Notes the record that is being processed: from here on a failure is put down to it, also one that only the
    /// control plane sees, as the instance does not come back.
    pub(crate) fn hold(&self, suspect: impl Fn() -> Suspect + Send + 'static) {
        *lock(&self.at_hand) = Some(AtHand(Box::new(suspect)));
    }

    /// The record is through.
    pub(crate) fn let_go(&self) {
        *lock(&self.at_hand) = None;
    }

    /// The record that is being processed, if records are taken one by one.
    pub fn suspect(&self) -> Option<Suspect> {
        lock(&self.at_hand).as_ref().map(|at_hand| (at_hand.0)())
    }

    /// Asks the task, which has to be woken. It answers between two batches, or what it is part of refuses to.
    pub fn ask(&self, query: Query) {
        self.queries.ask(query);
    }

    /// Hands letters to the task, which has to be woken.
    pub fn replay(&self, letters: impl IntoIterator<Item = Replay>) {
        let mut waiting = lock(&self.replays.waiting);
        waiting.extend(letters);
        self.replays.any.store(!waiting.is_empty(), Ordering::Release);
    }

    /// Whether something was handed over.
    #[inline]
    pub(crate) fn has_replays(&self) -> bool {
        self.replays.any.load(Ordering::Acquire)
    }

    /// Takes what was handed over.
    #[inline]
    pub(crate) fn take_replays(&self) -> Vec<Replay> {
        if !self.replays.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut waiting = lock(&self.replays.waiting);
        self.replays.any.store(false, Ordering::Release);
        std::mem::take(&mut waiting)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
