//! What each kind of actor takes over from a snapshot. Anything else in it would be lost.

use watershed_actors::Restored;
use watershed_state::SectionKind;

use crate::error::Error;

/// What every actor takes over: how far event time had come, and what was left out.
const EVERY_ACTOR: [SectionKind; 4] = [
    SectionKind::Watermarks,
    SectionKind::ChainState,
    SectionKind::FusedWatermarks,
    SectionKind::Supervision,
];

/// What a source takes over.
pub(super) const SOURCE: &[SectionKind] = &[SectionKind::Splits, SectionKind::OperatorState];

/// What a sink takes over that writes at least once.
pub(super) const SINK: &[SectionKind] = &[SectionKind::OperatorState];

/// What a sink takes over that writes exactly once.
pub(super) const TWO_PHASE_SINK: &[SectionKind] = &[SectionKind::Committables, SectionKind::OperatorState];

/// What a process takes over beside states by key.
pub(super) const PROCESS: &[SectionKind] = &[
    SectionKind::InstanceState,
    SectionKind::EventTimers,
    SectionKind::RemovedEventTimers,
    SectionKind::ProcessingTimers,
    SectionKind::RemovedProcessingTimers,
    SectionKind::Collections,
    SectionKind::RemovedPages,
    SectionKind::CollectionNames,
    SectionKind::Parked,
];

/// What it takes over of states by key. One whose state has no size remembers nothing of a key.
pub(super) const fn states_of<S>() -> &'static [SectionKind] {
    if size_of::<S>() == 0 { &[] } else { &[SectionKind::KeyedState, SectionKind::RemovedKeys] }
}

/// What only a process with a replica takes over beside that.
pub(super) const REPLICA: &[SectionKind] = &[SectionKind::OperatorState];

/// Refuses a snapshot with something that an actor does not take over: `kinds` are what it takes beside what every
/// actor does.
pub(super) fn only(restored: &Restored, kinds: &[&[SectionKind]]) -> Result<(), Error> {
    let takes = |kind| EVERY_ACTOR.iter().chain(kinds.iter().copied().flatten()).any(|taken| *taken == kind);
    let sections = restored.instances.iter().flat_map(|saved| saved.layers().flatten());
    let mut saved = sections.filter(|section| section.entries > 0).map(|section| section.kind);
    // In a database are states, collections or both.
    let database = restored.instances.iter().any(|saved| saved.database.is_some());
    let takes_it = takes(SectionKind::KeyedState) || takes(SectionKind::Collections);
    let database = (database && !takes_it).then_some(SectionKind::KeyedState);
    match saved.find(|kind| !takes(*kind)).or(database) {
        None => Ok(()),
        Some(kind) => Err(Error::config(format!(
            "the snapshot has {} of it, which it does not have any more: give it another name, and allow that what the snapshot \
             has under this one is dropped (`Config::drop_state_of`)",
            kind.what()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use watershed_state::{SavedInstance, Section};

    use super::*;

    fn section(kind: SectionKind, entries: u32) -> Section {
        Section { kind, group: 0, entries, bytes: vec![0; 8] }
    }

    fn saved(first: Vec<Section>, changes: Vec<Vec<Section>>) -> Restored {
        let instance = SavedInstance { changes, ..SavedInstance::from(first) };
        Restored { instances: vec![instance], ..Restored::default() }
    }

    #[test]
    fn states_are_found_also_where_only_a_change_holds_them() {
        let keyed = || section(SectionKind::KeyedState, 3);
        for restored in [saved(vec![keyed()], vec![]), saved(vec![], vec![vec![keyed()]])] {
            let error = only(&restored, &[PROCESS]).unwrap_err().to_string();
            assert!(error.contains("has states of keys of it, which it does not have any more"), "{error}");
            only(&restored, &[PROCESS, states_of::<u64>()]).unwrap();
            only(&restored, &[PROCESS, states_of::<()>()]).unwrap_err();
        }
        only(&saved(vec![section(SectionKind::KeyedState, 0)], vec![]), &[]).unwrap();
    }

    #[test]
    fn what_every_actor_has_is_taken_by_all() {
        let all = EVERY_ACTOR.map(|kind| section(kind, 1));
        only(&saved(all.into(), vec![]), &[]).unwrap();
    }
}
