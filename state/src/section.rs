//! A section: the encoded entries of one kind and one key group, the unit of which part files consist.

/// What the entries of a section are. The numbers are part of the file format and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SectionKind {
    /// Keys and their state.
    KeyedState = 1,
    /// Timers that fire by event time.
    EventTimers = 2,
    /// Timers that fire by processing time.
    ProcessingTimers = 3,
    /// The watermark of each key group.
    Watermarks = 4,
    /// The positions of a source's splits.
    Splits = 5,
    /// What a two-phase sink has prepared and not yet committed.
    Committables = 6,
    /// The state of an operator without keys.
    InstanceState = 7,
    /// The watermarks of what is fused into the operator, by place, as versions up to 0.1-3 have saved them.
    ChainState = 8,
    /// What an instance has left out, and which dead letters it has replayed.
    Supervision = 9,
    /// Records that wait for a key to be released.
    Parked = 10,
    /// Keys that have no state any more, in a snapshot that is an addition to another.
    RemovedKeys = 11,
    /// Pages of collections, each with what belongs to a key.
    Collections = 12,
    /// Pages that are gone, in a snapshot that is an addition to another.
    RemovedPages = 13,
    /// State of an instance that is not tied to a key, under a name.
    OperatorState = 14,
    /// The names of an operator's collections.
    CollectionNames = 15,
    /// Timers by event time that are gone, in a snapshot that is an addition to another.
    RemovedEventTimers = 16,
    /// Timers by processing time that are gone, in a snapshot that is an addition to another.
    RemovedProcessingTimers = 17,
    /// The watermarks of what is fused into the operator, by name.
    FusedWatermarks = 18,
}

impl SectionKind {
    /// All kinds, by number.
    pub const ALL: [SectionKind; 18] = [
        SectionKind::KeyedState,
        SectionKind::EventTimers,
        SectionKind::ProcessingTimers,
        SectionKind::Watermarks,
        SectionKind::Splits,
        SectionKind::Committables,
        SectionKind::InstanceState,
        SectionKind::ChainState,
        SectionKind::Supervision,
        SectionKind::Parked,
        SectionKind::RemovedKeys,
        SectionKind::Collections,
        SectionKind::RemovedPages,
        SectionKind::OperatorState,
        SectionKind::CollectionNames,
        SectionKind::RemovedEventTimers,
        SectionKind::RemovedProcessingTimers,
        SectionKind::FusedWatermarks,
    ];

    /// Whether it is of what an addition to a snapshot holds the changes of. Of all other kinds a snapshot holds
    /// everything.
    pub fn adds_up(self) -> bool {
        use SectionKind::{
            Collections, EventTimers, KeyedState, ProcessingTimers, RemovedEventTimers, RemovedKeys,
            RemovedPages, RemovedProcessingTimers,
        };
        matches!(
            self,
            KeyedState
                | RemovedKeys
                | Collections
                | RemovedPages
                | EventTimers
                | RemovedEventTimers
                | ProcessingTimers
                | RemovedProcessingTimers
        )
    }

    /// What its entries are, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::KeyedState | Self::RemovedKeys => "states of keys",
            Self::EventTimers
            | Self::RemovedEventTimers
            | Self::ProcessingTimers
            | Self::RemovedProcessingTimers => "timers",
            Self::Watermarks | Self::ChainState | Self::FusedWatermarks => "watermarks",
            Self::Splits => "positions of splits",
            Self::Committables => "output that is not committed",
            Self::InstanceState => "states of instances",
            Self::Supervision => "records that were left out",
            Self::Parked => "parked records",
            Self::Collections | Self::RemovedPages | Self::CollectionNames => "collections",
            Self::OperatorState => "operator state (such as the replica of `connect_broadcast`)",
        }
    }

    /// The kind with this number in a file, if there is one.
    pub fn from_number(number: u8) -> Option<SectionKind> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Encoded entries of one kind and one key group. A group's entries may be spread over several sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What the entries are.
    pub kind: SectionKind,
    /// Their key group, or 0 for kinds without keys.
    pub group: u16,
    /// How many entries `bytes` holds.
    pub entries: u32,
    /// The entries, one after the other.
    pub bytes: Vec<u8>,
}
