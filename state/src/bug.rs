//! Faults of protocol that tests can switch on, to see that the simulator finds them.
//!
//! Without the feature `__seeded_bugs`, which only tests turn on, [`is`] is a constant and nothing of it is compiled.

/// Declares the bugs, and the list of them all.
macro_rules! bugs {
    ($($bug:ident,)*) => {
        /// A fault of protocol. Each is a line or two at the place that it names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names say it; nobody outside the tests sees them")]
        pub enum Bug {
            $($bug,)*
        }

        #[cfg(feature = "__seeded_bugs")]
        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug,)*];
        }
    };
}

bugs! {
    // Files of checkpoints.
    PartNotSynced,
    ManifestWrittenInPlace,
    ManifestFolderNotSynced,
    FoundCheckpointNotSettled,
    CollectionRemovesPartsInUse,
    // Snapshots of state.
    ChangedEntryNotWrittenBefore,
    LaterEntryWritten,
    RemovedKeysNotSaved,
    DatabaseWrittenDuringCopy,
    EvictedEntryNotWrittenBefore,
    RemovedTimerNotWrittenBefore,
    RemovedTimersNotSaved,
    TimersNotSaved,
    WatermarkNotRestored,
    TimersOfOthersRestored,
    OperatorStateNotSaved,
    SomeNoneNotMarked,
    UnreadableStateSaved,
    // Barriers and channels.
    AlignedChannelNotBlocked,
    FirstBarrierCounts,
    BarrierOvertakesBatch,
    CreditOfObsoleteBarrierLost,
    // Sources.
    CutInsideRecord,
    WatermarkOfInterruptedRecordLate,
    EndedSourceDoesNotAnswer,
    FinishedSplitReadAgain,
    UnboundedSplitFinished,
    // Sinks.
    NotFlushedAtBarrier,
    CommittedNameNotSynced,
    CommitNotIdempotent,
    CommitsBeyondCheckpoint,
    NotCommittedOnRestore,
    PreparedForAbandonedForgotten,
    DanglingNotDiscarded,
    OutputReplaced,
    // The control plane.
    CommitsBeforeManifest,
    CheckpointIdReused,
    CheckpointIdsNotReserved,
    RunReusedByNextProcess,
    RestartsFromOlderCheckpoint,
    RegionThatIsDownForgotten,
    EndsWithFirstSource,
    EndsBeforeCommits,
    NoFence,
    RestartsWhileManifestIsWritten,
    FailedManifestNotRetracted,
    UnknownManifestTakenForFailed,
    LostFilesNotForgotten,
    // Rescaling.
    RescaledFromOlderCheckpoint,
    CheckpointsDuringRescale,
    RescaledAsIfRestarted,
    // Records that are left out.
    ErrorNotTakenBack,
    SkipListNotDurable,
}

#[cfg(not(feature = "__seeded_bugs"))]
/// Whether this bug is in the engine: it is not.
#[inline]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "__seeded_bugs")]
pub use seeded::{Seeded, is, seed};

#[cfg(feature = "__seeded_bugs")]
mod seeded {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        /// A simulation runs on one thread, so that other tests don't notice.
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is in the engine, as seen from this thread.
    pub fn is(bug: Bug) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Puts a bug into the engine, on this thread, until what is returned is dropped.
    pub fn seed(bug: Bug) -> Seeded {
        ACTIVE.set(Some(bug));
        Seeded(())
    }

    /// Takes the bug out again when it is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Seeded(());

    impl Drop for Seeded {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
}
