//! The project's own topologies, each of which goes through the simulator. All are small: a simulated run takes some
//! milliseconds.

mod balances;
pub(crate) mod bugs;
pub(crate) mod chains;
mod collections;
pub(crate) mod diamond;
pub(crate) mod ends;
mod expiring;
pub(crate) mod fan_out;
pub(crate) mod feed;
pub(crate) mod lates;
pub(crate) mod limits;
mod parking;
mod poison;
mod sessions;
mod tallies;
mod words;

use watershed::{RocksDb, Simulator, StateBackend, Topology};

use crate::fixture::payments_of;

/// A topology with a name, and how it can be run.
pub(crate) struct Named {
    pub(crate) name: &'static str,
    build: fn() -> Topology,
    /// Instances of actors that do not say how many.
    parallelism: &'static [usize],
    /// Whether each life may have another number of them.
    rescales: bool,
}

impl Named {
    pub(crate) fn topology(&self) -> Topology {
        (self.build)()
    }

    pub(crate) fn simulator<'a>(&self, topology: &'a Topology) -> Simulator<'a> {
        let simulator = Simulator::new(topology).parallelism(self.parallelism);
        if self.rescales { simulator.rescales() } else { simulator }
    }
}

const fn rescaling(name: &'static str, build: fn() -> Topology) -> Named {
    Named { name, build, parallelism: &[1, 2, 3], rescales: true }
}

/// State of an instance stays with its number.
const fn fixed(name: &'static str, build: fn() -> Topology, parallelism: &'static [usize]) -> Named {
    Named { name, build, parallelism, rescales: false }
}

/// All of them.
pub(crate) const ALL: &[Named] = &[
    rescaling("word-count", words::topology),
    rescaling("payments", || payments_of(30, 90)),
    rescaling("sessions", sessions::topology),
    rescaling("tallies", tallies::topology),
    rescaling("collections", collections::topology),
    rescaling("expiring", expiring::topology),
    rescaling("poison", poison::topology),
    rescaling("parking", parking::topology),
    rescaling("feed", feed::topology),
    rescaling("limits", limits::refused),
    rescaling("ends", ends::topology),
    rescaling("poisoned-limits", limits::poisoned),
    fixed("diamond", diamond::topology, &[1, 2]),
    fixed("chains", chains::topology, &[2]),
    fixed("fan-out", fan_out::topology, &[1, 2]),
    // What is rescaled needs a checkpoint that can be read back now.
    fixed("balances", balances::topology, &[1, 2]),
    // A source that has several instances makes it a matter of time what is late.
    fixed("lates", lates::topology, &[1, 2, 3]),
];

/// State in memory, and over a database that is asked all the time, as next to nothing has room above it.
pub(crate) fn both_backends() -> [StateBackend; 2] {
    [StateBackend::Memory, RocksDb::new().memory_bytes(0).cache_entries(3).into()]
}
