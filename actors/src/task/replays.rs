//! Dead letters that an instance is to give back to where they failed.

use std::collections::{BTreeSet, VecDeque};

use crate::supervision::Replay;
use crate::task::Care;

/// Letters in the order in which they were asked for. Giving one up takes the place of its replay.
#[derive(Debug, Default)]
pub(super) struct Replays(VecDeque<Replay>);

impl Replays {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what was handed over.
    pub(super) fn extend(&mut self, handed_over: Vec<Replay>) {
        let given_up: BTreeSet<String> = handed_over
            .iter()
            .filter(|replay| replay.discarded)
            .map(|replay| replay.letter.id.clone())
            .collect();
        self.0.extend(handed_over);
        if !given_up.is_empty() {
            self.0.retain(|replay| replay.discarded || !given_up.contains(&replay.letter.id));
        }
    }

    /// The next one that is not done with, if it is one that is wanted.
    pub(super) fn next_if(&mut self, care: &Care, wanted: impl FnOnce(&Replay) -> bool) -> Option<Replay> {
        let next = self.next(care)?;
        if wanted(&next) {
            return Some(next);
        }
        self.0.push_front(next);
        None
    }

    /// The next one that is not done with.
    pub(super) fn next(&mut self, care: &Care) -> Option<Replay> {
        std::iter::from_fn(|| self.0.pop_front()).find(|replay| !care.has_replayed(&replay.letter.id))
    }
}
