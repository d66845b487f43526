//! Sinks that note what is done to them.

mod once;
mod two_phase;

use std::collections::BTreeSet;
use std::ops::Range;

use watershed_state::{Fs, SavedInstance, Section};

use super::*;
use crate::chain::{EventTime, ForEach, Fused, FusedWatermarks, Lateness, Tee, Timing};
use crate::error::UserResult;
use crate::failure::FailureKind;
use crate::harness::driver::Driver;
use crate::harness::world::World;
use crate::inbox::Inbox;
use crate::sink::{Prepare, SinkContext};
use crate::supervision::{DeadLetter, LETTERS};
use crate::task::{Control, OperatorTask, TaskId};

/// What was done to a sink, in order, and where it is to fail.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    done: Vec<String>,
    failing: Option<&'static str>,
    /// Whether it panics where others return an error.
    panics: bool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing_in(what: &'static str) -> Self {
        let notes = Self::default();
        notes.lock().failing = Some(what);
        notes
    }

    /// Notes it, or fails if `what` is where it is to fail.
    fn note(&self, what: &str, text: impl std::fmt::Display) -> UserResult {
        let mut noted = self.lock();
        if noted.failing == Some(what) {
            let panics = noted.panics;
            drop(noted);
            assert!(!panics, "{what} panicked");
            return Err(format!("{what} failed").into());
        }
        noted.done.push(format!("{what} {text}"));
        Ok(())
    }

    /// What was done since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().done)
    }
}

fn check_failed(world: &World, task: TaskId, kind: FailureKind, cause: &str) {
    let failure = Failure { cause: cause.to_string(), kind, key: None, blame: None };
    assert_eq!(world.reports.failure(task), Some(failure));
}

#[test]
fn the_watermark_of_an_event_time_behind_dead_letters_is_saved_and_restored() {
    let env = World::new().env("sink", 0, 1);
    let mut before = FusedWatermarks::default();
    before.note("event_time", 7);
    let Some(SnapshotItem::Section(section)) = before.section() else { panic!("it is saved at once") };
    let instances = vec![SavedInstance::from(vec![section.clone()])];
    let time_of = Arc::new(|letter: &DeadLetter| letter.at_ms);
    let timed = EventTime::new(time_of, &Lateness::none(), Timing::default());
    let mut sides = SideOutputs::default();
    sides.connect(LETTERS, Tee::new(vec![Box::new(Fused::new(timed, ForEach(|_: DeadLetter| {})))]));
    let mut desk = Desk::restore(&env, sides, &Restored { instances, ..Restored::default() }).unwrap();
    let saved: Vec<Section> = desk
        .barrier(1)
        .filter_map(|item| match item {
            SnapshotItem::Section(section) => Some(section),
            _ => None,
        })
        .collect();
    assert_eq!(saved, [section]);
}
