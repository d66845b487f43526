//! Looks for bugs that are put into the engine on purpose.

use watershed::{FaultKind, Seed, Simulator, Topology};
use watershed_state::bug::{self, Bug};

use super::{ALL, Named, both_backends};

/// What came of looking for a bug.
pub(crate) struct Hunt {
    pub(crate) bug: Bug,
    /// What found it, if anything did.
    pub(crate) found: Option<Found>,
}

pub(crate) struct Found {
    /// How many seeds it took.
    pub(crate) seeds: u64,
    pub(crate) topology: &'static str,
    /// What was wrong, in one line.
    pub(crate) how: String,
}

/// What goes wrong in every other round: bugs around a checkpoint that the disk refuses show only if a rollback and a
/// death come at the right moment after that, which is rare among all the rest.
const DISK_AND_DEATH: [FaultKind; 5] =
    [FaultKind::DiskError, FaultKind::DiskFull, FaultKind::Panic, FaultKind::Kill, FaultKind::PowerCut];

/// What can go wrong only with a database below the state.
const OF_DATABASES: [Bug; 2] = [Bug::DatabaseWrittenDuringCopy, Bug::EvictedEntryNotWrittenBefore];

/// Looks for each bug with at most so many seeds, dealt out over the topologies.
pub(crate) fn hunt_all(bugs: impl Iterator<Item = Bug>, seeds_max: u64) -> Vec<Hunt> {
    let built: Vec<(&Named, Topology)> = ALL.iter().map(|named| (named, named.topology())).collect();
    let mut simulators: Vec<(&str, Simulator<'_>)> = [&FaultKind::ALL[..], &DISK_AND_DEATH]
        .into_iter()
        .flat_map(|faults| built.iter().map(move |(named, topology)| (named, topology, faults)))
        .map(|(named, topology, faults)| {
            let mut simulator = named.simulator(topology).faults(faults).without_shrinking();
            // What runs are compared with must not have the bug.
            simulator.rehearse().unwrap();
            (named.name, simulator)
        })
        .collect();
    let mut over_databases: Vec<(&str, Simulator<'_>)> = built
        .iter()
        .map(|(named, topology)| {
            let simulator = named.simulator(topology).state_backends(&both_backends()).without_shrinking();
            (named.name, simulator)
        })
        .collect();
    for (_, simulator) in &mut over_databases {
        simulator.rehearse().unwrap();
    }
    let hunt = |bug| {
        let chosen = if OF_DATABASES.contains(&bug) { &mut over_databases } else { &mut simulators };
        Hunt { bug, found: hunt(bug, chosen, seeds_max) }
    };
    bugs.map(hunt).collect()
}

fn hunt(bug: Bug, simulators: &mut [(&'static str, Simulator<'_>)], seeds_max: u64) -> Option<Found> {
    (0..seeds_max).find_map(|seed| {
        let turn = (seed % simulators.len() as u64) as usize;
        let (topology, simulator) = &mut simulators[turn];
        let seeded = bug::seed(bug);
        let failure = simulator.run(Seed(seed)).err()?;
        drop(seeded);
        // It is the bug that was found only if nothing is wrong without it.
        if let Err(failure) = simulator.run(Seed(seed)) {
            panic!("without any bug: {failure}");
        }
        let how = failure.violation.to_string().lines().next().unwrap_or_default().to_string();
        Some(Found { seeds: seed + 1, topology, how })
    })
}
