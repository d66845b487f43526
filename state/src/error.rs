//! What can go wrong, said so that the reader knows what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::{SectionKind, shown};

/// A value could not be turned into bytes, or bytes not into values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The type's `Serialize` failed, or the value holds something that the format can't express.
    #[error("cannot encode a value of type {type_name}")]
    Encode {
        /// The Rust type that was to be written.
        type_name: &'static str,
        /// What the encoder says.
        source: rmp_serde::encode::Error,
    },
    /// The bytes don't fit the type: damaged, or written by a version of the type that this one can't read.
    #[error(
        "cannot decode a value of type {type_name}; if its definition changed, new fields need #[serde(default)] \
         and fields keep their types, or a savepoint has to be changed with `SavepointWriter::transform` first"
    )]
    Decode {
        /// The Rust type that was to be read.
        type_name: &'static str,
        /// What the decoder says.
        source: rmp_serde::decode::Error,
    },
    /// A value was written that its type cannot read: no checkpoint could be restored with it.
    #[error(
        "a value of type {type_name} can be written and not be read back, so that no checkpoint with it could be restored; \
         its Serialize and Deserialize have to fit one another, and 128-bit integers never do below #[serde(untagged)], \
         tag or flatten: keep those as text or as two u64"
    )]
    Unreadable {
        /// The Rust type that was written.
        type_name: &'static str,
        /// What the decoder says.
        source: rmp_serde::decode::Error,
    },
    /// A value that is read back is another one than was written.
    #[error(
        "a value of type {type_name} is another one when it is read back, so that a restore would change it; its Serialize \
         and Deserialize have to fit one another, and a field that is not to be kept needs #[serde(skip)]"
    )]
    Changed {
        /// The Rust type that was written.
        type_name: &'static str,
    },
    /// A key hashes to something else than when its state was looked for.
    #[error(
        "a key of type {type_name} has another hash now than when its state was found or made: the closure of `key_by` has to \
         give a record the same key each time, and equal keys have to hash equally; what depends on time, on chance, on \
         addresses or on the order of a HashMap does neither"
    )]
    UnstableKey {
        /// The Rust type of the key.
        type_name: &'static str,
    },
    /// A section was given to something that keeps another kind of entries.
    #[error("a section of {found:?} cannot be restored into {expected:?}")]
    WrongKind {
        /// What the structure keeps.
        expected: SectionKind,
        /// What the section holds.
        found: SectionKind,
    },
    /// A section belongs to a key group of another instance.
    #[error("key group {group} is not owned by this instance")]
    GroupNotOwned {
        /// The section's group.
        group: u16,
    },
    /// A key hashes into another group than the one its section names: the key's `Hash` or `Serialize` changed.
    #[error(
        "a key of type {type_name} was stored in key group {expected} but now hashes into {found}; its Hash or its \
         serialized form must have changed, which keys don't allow"
    )]
    WrongGroup {
        /// The Rust type of the key.
        type_name: &'static str,
        /// The group under which the key was stored.
        expected: u16,
        /// The group of the key's hash today.
        found: u16,
    },
    /// The same entry was restored twice.
    #[error("an entry of key group {group} is there twice, in kind {kind:?}")]
    Duplicate {
        /// What the entry is.
        kind: SectionKind,
        /// Its group.
        group: u16,
    },
    /// A section holds more bytes than its entries need.
    #[error("{bytes} bytes are left after the last entry of a section")]
    Trailing {
        /// How many bytes are left.
        bytes: usize,
    },
    /// The bytes end in the middle of something.
    #[error("the bytes end inside {inside}")]
    Short {
        /// What is not whole.
        inside: &'static str,
    },
    /// A collection could not be read.
    #[error("the collection `{name}` of this operator cannot be read")]
    Collection {
        /// Its name.
        name: String,
        /// Why.
        source: Box<CodecError>,
    },
    /// A collection is used as another kind, or with another type, than it has.
    #[error(
        "the collection `{name}` holds {found}, and is used as one of {expected}; give each collection of an operator a \
         name of its own, and another name to one that changes what it is"
    )]
    OtherCollection {
        /// Its name.
        name: String,
        /// What it holds.
        found: String,
        /// As what it is used.
        expected: String,
    },
    /// What is in a collection would be gone at once.
    #[error("the `Ttl` of the collection `{name}` is 0: what is in it lives for a millisecond or more")]
    NoLife {
        /// Its name.
        name: String,
    },
}

impl CodecError {
    /// Whether a checkpoint fails of it as long as what is to be saved stays as it is, rather than perhaps once.
    pub fn lasts(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Changed { .. } | Self::UnstableKey { .. })
    }
}

/// State that is on disk could not be reached in the middle of the work. It is the payload of an unwinding, as the way
/// of a record to its state has no place for an error: no code of the user's may go on with a state that is not the
/// real one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFault {
    /// The disk refuses, or what is on it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state or key cannot be encoded or decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl StateFault {
    /// Unwinds, without a word to the panic hook.
    pub(crate) fn throw(self) -> ! {
        std::panic::resume_unwind(Box::new(self))
    }
}

/// A checkpoint folder, or a file in it, could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refused an operation.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted: "read", "rename", …
        doing: &'static str,
        /// What the file system says.
        source: io::Error,
    },
    /// The checkpoint folder can't be created or written to.
    #[error(
        "the checkpoint folder {} is not writable; give this user write access or configure another folder",
        path.display()
    )]
    NotWritable {
        /// The checkpoint folder.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// Another job, perhaps of another process, holds the checkpoint folder.
    #[error(
        "the checkpoint folder {} is in use by another job, here or in another process; stop that one, or give this job a \
         folder of its own", path.display()
    )]
    Locked {
        /// The checkpoint folder.
        path: PathBuf,
    },
    /// The checkpoint folder is not where it was when it was locked.
    #[error("the checkpoint folder {} was removed or moved while the job was using it", path.display())]
    TakenAway {
        /// The checkpoint folder.
        path: PathBuf,
    },
    /// The checkpoint folder was taken away, and another job has begun in its place.
    #[error(
        "the checkpoint folder {} was removed or moved while the job was using it, and another process has begun there since: \
         of the two only that one may go on. If this job is the one to keep, stop the other one, put the folder back as it \
         was, and start this job again",
        path.display()
    )]
    TakenOver {
        /// The checkpoint folder.
        path: PathBuf,
    },
    /// The checkpoint folder looks as if it had been taken away; but what is there says nothing of another job.
    #[error(
        "the checkpoint folder {} is not the one that was locked, or its file system gives files other numbers while they are \
         open, and the lock there is taken: it cannot be told whether that is this job's own", path.display()
    )]
    UnknownHolder {
        /// The checkpoint folder.
        path: PathBuf,
    },
    /// Somebody is using the scratch folder.
    #[error(
        "the database in {} is in use by another job, here or in another process; stop that one, or give this job a scratch \
         folder of its own", path.display()
    )]
    DatabaseLocked {
        /// The folder of the database.
        path: PathBuf,
    },
    /// A place for snapshots is not written as one.
    #[error("`{uri}` is no place for snapshots: {why}")]
    Uri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A savepoint is to be written where there is one.
    #[error("{} holds a savepoint already; name another folder", path.display())]
    SavepointExists {
        /// The folder.
        path: PathBuf,
    },
    /// A savepoint is to be written where a job has its checkpoints.
    #[error("{} is the checkpoint folder of a job: a savepoint needs a folder of its own", path.display())]
    CheckpointFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A job is to have its checkpoints where there is a savepoint.
    #[error(
        "{} holds a savepoint: the checkpoints of a job need a folder of their own; to start from the savepoint, name it \
         with `Config::start_from`", path.display()
    )]
    SavepointFolder {
        /// The folder.
        path: PathBuf,
    },
    /// There is no savepoint where one is to be read.
    #[error(
        "{} holds no savepoint; the folder to name is the one with the file `manifest` in it", path.display()
    )]
    NoSavepoint {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is neither one of checkpoints nor a savepoint.
    #[error(
        "{} holds no snapshots: a checkpoint folder has a file `job` or folders `chk-<id>` in it, a savepoint a file \
         `manifest`; name such a folder", path.display()
    )]
    NoSnapshots {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is that of a single checkpoint, which cannot be read without those beside it.
    #[error(
        "{} is the folder of one checkpoint, which may need files of others; name the folder above it, and the \
         checkpoint by its id", path.display()
    )]
    SingleCheckpoint {
        /// The folder.
        path: PathBuf,
    },
    /// The state is in a database, and this build knows of none.
    #[error(
        "the state for {} was saved with RocksDB, which this build does not have; build it with the feature `rocksdb`",
        scratch.display()
    )]
    NoDatabase {
        /// Where its database would be.
        scratch: PathBuf,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: Damage,
    },
    /// A file was written by a newer version of this library.
    #[error(
        "{} has format version {found} but this build reads up to {supported}; run it with the version that wrote it, \
         or a later one", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version the file has.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// Something in a file, or to be written to it, could not be encoded or decoded.
    #[error("the contents of {} cannot be encoded or decoded", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: CodecError,
    },
    /// A checkpoint with this id is complete already; ids are never reused.
    #[error("checkpoint {checkpoint} already exists in {}; checkpoint ids must not be reused", path.display())]
    CheckpointExists {
        /// The checkpoint folder.
        path: PathBuf,
        /// The id.
        checkpoint: u64,
    },
    /// The path of a file, or its name in a database, is absolute or leads out of the folder.
    #[error(
        "{} is no path inside the checkpoint folder, so that no checkpoint of this program names it: the file that does was \
         made or changed by somebody else, and nothing of it is used",
        path.display()
    )]
    PathOutside {
        /// The path.
        path: PathBuf,
    },
}

/// What is wrong with a damaged file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It does not exist.
    #[error("it is missing")]
    Missing,
    /// It has another length than recorded, usually because its end is missing.
    #[error("it has {found} bytes instead of {expected}")]
    Length {
        /// The length recorded, in bytes.
        expected: u64,
        /// The length found, in bytes.
        found: u64,
    },
    /// Its contents are not those that were written.
    #[error("its checksum is {found:016x} instead of {expected:016x}")]
    Checksum {
        /// The checksum recorded.
        expected: u64,
        /// The checksum of the contents.
        found: u64,
    },
    /// It does not begin as such a file does.
    #[error("it is not a file of this kind")]
    Magic,
    /// Its inner structure makes no sense though the checksum is right.
    #[error("its contents end inside {inside}")]
    Cut {
        /// What was being read.
        inside: &'static str,
    },
    /// It holds a section of a kind that its format version does not have.
    #[error("it holds a section of the unknown kind {number}")]
    UnknownKind {
        /// The kind's number.
        number: u8,
    },
    /// A section says that it has more entries than its bytes can hold.
    #[error("it holds a section that says it has {entries} entries, in {bytes} bytes")]
    Entries {
        /// How many it says.
        entries: u32,
        /// The bytes of the section.
        bytes: usize,
    },
    /// It is longer than any file of its kind, and was not read.
    #[error("it has more than {max} bytes, which no file of its kind has")]
    TooLong {
        /// The most bytes that one has.
        max: u64,
    },
    /// It is as it was stored, and the database that it is a part of cannot be read all the same.
    #[error("it is part of a database that cannot be read although its checksum is right: {reason}")]
    Database {
        /// What the database says.
        reason: String,
    },
    /// It lies in the folder of one checkpoint and describes another.
    #[error("it describes checkpoint {found} but lies in the folder of {expected}")]
    OtherCheckpoint {
        /// The checkpoint of the folder.
        expected: u64,
        /// The checkpoint in the file.
        found: u64,
    },
}

/// An error with all its sources, outermost first, as one line that can be [shown](crate::shown) anywhere.
pub fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = shown(error).to_string();
    let (mut source, mut cure) = (error.source(), cure_of(error));
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&shown(inner).to_string());
        cure = cure.or_else(|| cure_of(inner));
        source = inner.source();
    }
    if let Some(cure) = cure.filter(|cure| !text.contains(cure)) {
        text.push_str(cure);
    }
    text
}

/// What to do about an error of the system that does not say it.
fn cure_of(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref::<io::Error>()?.raw_os_error()? {
        libc::EMFILE => Some(
            "; let the process open more files, with `ulimit -n`, or `LimitNOFILE=` in a unit of systemd",
        ),
        libc::ENFILE => Some("; the machine has as many files open as it may (`sysctl fs.file-max`)"),
        _ => None,
    }
}

/// Turns an error of the file system into one that says what was being done, and to what.
pub(crate) fn failed<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { path: path.to_owned(), doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_process_without_files_left_says_how_to_give_it_more() {
        let source = io::Error::from_raw_os_error(libc::EMFILE);
        let text = chain_of(&StoreError::Io { path: "job".into(), doing: "write", source });
        assert!(text.contains("cannot write job: ") && text.ends_with("in a unit of systemd"), "{text}");
        assert_eq!(text.matches("ulimit").count(), 1);
    }
}
