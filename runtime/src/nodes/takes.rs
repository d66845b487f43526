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

/// What a process takes over, whether it has its state by key or by instance.
pub(super) const PROCESS: &[SectionKind] = &[
    SectionKind::KeyedState,
    SectionKind::RemovedKeys,
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

/// What only a process with a replica takes over beside that.
pub(super) const REPLICA: &[SectionKind] = &[SectionKind::OperatorState];

/// Refuses a snapshot with something that an actor does not take over: `kinds` are what it takes beside what every
/// actor does.
pub(super) fn only(restored: &Restored, kinds: &[&[SectionKind]]) -> Result<(), Error> {
    let takes = |kind| EVERY_ACTOR.iter().chain(kinds.iter().copied().flatten()).any(|taken| *taken == kind);
    let sections = restored.instances.iter().flat_map(|saved| &saved.sections);
    let mut saved = sections.filter(|section| section.entries > 0).map(|section| section.kind);
    let database = restored.instances.iter().any(|saved| saved.database.is_some());
    let database = database.then_some(SectionKind::KeyedState).filter(|kind| !takes(*kind));
    match saved.find(|kind| !takes(*kind)).or(database) {
        None => Ok(()),
        Some(kind) => Err(Error::config(format!(
            "the snapshot has {} of it, which it does not have any more: give it another name, and allow that what the snapshot \
             has under this one is dropped (`Config::drop_state_of`)",
            kind.what()
        ))),
    }
}
