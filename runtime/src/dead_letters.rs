//! Dead letters as they lie on disk, for those who look at them from outside of a job.
//!
//! A job keeps the letters of an operator as lines of JSON in `<checkpoints>/dead-letters/<operator>/`, exactly once.
//! What is to become of a letter is asked for by a file in `<checkpoints>/dead-letters/.requests/`, one for each
//! letter. It stays there: the checkpoints of the job tell which letters have been replayed, so a request is carried
//! out once, whatever crashes. Its name changes once a checkpoint knows that its letter has been replayed. A letter
//! that does not fit the topology any more gets a file beside its request that says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use thiserror::Error;
use watershed_actors::{DeadLetter, Place, Replay};
use watershed_state::{FileSystem, LocalFs, iso_time};

/// The dead letters of a job.
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
}

/// A letter, and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The letter.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// When it was left out, as ISO 8601 writes it.
    pub at: String,
    /// What has become of it.
    pub status: Status,
}

/// What has become of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nobody has asked for anything.
    Dead,
    /// It is to be replayed.
    Replay,
    /// It has been replayed, and a checkpoint knows of it.
    Replayed,
    /// It was to be replayed and could not be, for this reason.
    Failed(String),
    /// It is given up.
    Discarded,
}

impl Status {
    /// In a word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Replay => "replay",
            Self::Replayed => "replayed",
            Self::Failed(_) => "failed",
            Self::Discarded => "discarded",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Failed(why) => serializer.serialize_str(&format!("failed: {why}")),
            status => serializer.serialize_str(status.name()),
        }
    }
}

/// Why dead letters cannot be looked at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// There is no such folder.
    #[error("there are no dead letters: {} is no folder", folder.display())]
    Nothing {
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no dead letter.
    #[error("line {line} of {} is no dead letter", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no such letter.
    #[error("there is no dead letter `{id}`: `watershed dead-letters list` shows those there are")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// More than one letter is meant.
    #[error("`{id}` is the beginning of several dead letters, say more of it: {}", matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// The ids that begin like this.
        matches: Vec<String>,
    },
    /// The letter cannot be replayed.
    #[error(
        "the dead letter `{id}` never was a record, and nothing can be replayed: mend the input and give it to the source \
         again, and discard the letter"
    )]
    Undecoded {
        /// The letter.
        id: String,
    },
}

/// The folder of requests. No operator has this name.
pub(crate) const REQUESTS: &str = ".requests";

/// What a file in the folder of requests says, by the end of its name. The beginning is the id of the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    /// It has been replayed: the checkpoint that the job went on from last, or one since, knows of it.
    Replayed,
    /// It is to be given up. This takes the place of what follows.
    Discard,
    /// Its replay was tried, and it does not fit. The file says why.
    Failed,
    /// It is to be replayed.
    Replay,
}

impl Request {
    const ALL: [Self; 4] = [Self::Replayed, Self::Discard, Self::Failed, Self::Replay];

    fn end(self) -> &'static str {
        match self {
            Self::Discard => ".discard.json",
            Self::Failed => ".failed.txt",
            Self::Replayed => ".replayed.json",
            Self::Replay => ".replay.json",
        }
    }

    /// The name of such a file for a letter.
    pub(crate) fn file_name(self, letter: &str) -> String {
        format!("{letter}{}", self.end())
    }

    /// Which letter a file is about, and what it says.
    pub(crate) fn parse(file_name: &str) -> Option<(&str, Self)> {
        let visible = !file_name.starts_with('.');
        let of = |request: &Self| Some((file_name.strip_suffix(request.end())?, *request));
        Self::ALL.iter().filter(|_| visible).find_map(of)
    }
}

impl DeadLetters {
    /// Those of the job with this checkpoint folder, or in this folder of dead letters.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn open(folder: &Path) -> Result<Self, DeadLetterError> {
        let beside = folder.join("dead-letters");
        let folder = if beside.is_dir() { beside } else { folder.to_path_buf() };
        if folder.is_dir() { Ok(Self { folder }) } else { Err(DeadLetterError::Nothing { folder }) }
    }

    /// The folder that they are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All letters, oldest first.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn all(&self) -> Result<Vec<Listed>, DeadLetterError> {
        let mut statuses = self.statuses()?;
        let mut letters = Vec::new();
        for operator in names(&self.folder)? {
            let folder = self.folder.join(&operator);
            if !folder.is_dir() {
                continue;
            }
            for file in names(&folder)?
                .into_iter()
                .filter(|name| Path::new(name).extension().is_some_and(|end| end == "jsonl"))
            {
                read_letters(&folder.join(file), &mut letters)?;
            }
        }
        letters.sort_by(|one, two| (one.at_ms, &one.id).cmp(&(two.at_ms, &two.id)));
        let mut status = |letter: &DeadLetter| statuses.remove(&letter.id).unwrap_or(Status::Dead);
        Ok(letters
            .into_iter()
            .map(|letter| {
                let (at, status) = (iso_time(letter.at_ms), status(&letter));
                Listed { letter, at, status }
            })
            .collect())
    }

    /// The letter with this id, or the only one whose id begins like this.
    ///
    /// # Errors
    /// If there is none, or more than one, or what cannot be read.
    pub fn find(&self, id: &str) -> Result<Listed, DeadLetterError> {
        let begins = |listed: &Listed| !id.is_empty() && listed.letter.id.starts_with(id);
        let mut found: Vec<Listed> = self.all()?.into_iter().filter(begins).collect();
        if let Some(exact) = found.iter().position(|listed| listed.letter.id == id) {
            return Ok(found.swap_remove(exact));
        }
        match found.pop() {
            None => Err(DeadLetterError::Unknown { id: id.to_string() }),
            Some(listed) if found.is_empty() => Ok(listed),
            Some(listed) => {
                let matches = found.into_iter().chain([listed]).map(|listed| listed.letter.id).collect();
                Err(DeadLetterError::Ambiguous { id: id.to_string(), matches })
            }
        }
    }

    /// Asks the job to replay a letter: durably, so that it is done at the next start at the latest. Returns whether
    /// that changes anything: one that is given up stays so, and one that was asked for is replayed once, unless it
    /// could not be.
    ///
    /// # Errors
    /// If it never was a record, or what cannot be written.
    pub fn replay(&self, letter: &DeadLetter) -> Result<bool, DeadLetterError> {
        let id = || letter.id.clone();
        if letter.evidence.place == Place::Undecoded {
            return Err(DeadLetterError::Undecoded { id: id() });
        }
        if self.is(Request::Discard, letter) || self.is(Request::Replayed, letter) {
            return Ok(false);
        }
        let failure = self.request(Request::Failed, &letter.id);
        if failure.exists() {
            let failed = |source| DeadLetterError::Io { path: failure.clone(), source };
            fs::remove_file(&failure).map_err(failed)?;
            self.write(Request::Replay, letter)?;
            return Ok(true);
        }
        if self.is(Request::Replay, letter) {
            return Ok(false);
        }
        self.write(Request::Replay, letter).map(|()| true)
    }

    /// Asks the job to give a letter up, durably. This takes the place of a replay that was asked for and has not been
    /// done. Returns whether that changes anything.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn discard(&self, letter: &DeadLetter) -> Result<bool, DeadLetterError> {
        if self.is(Request::Discard, letter) || self.is(Request::Replayed, letter) {
            return Ok(false);
        }
        self.write(Request::Discard, letter).map(|()| true)
    }

    fn request(&self, request: Request, letter: &str) -> PathBuf {
        self.folder.join(REQUESTS).join(request.file_name(letter))
    }

    fn is(&self, request: Request, letter: &DeadLetter) -> bool {
        self.request(request, &letter.id).exists()
    }

    fn write(&self, request: Request, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let folder = self.folder.join(REQUESTS);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| DeadLetterError::Io { path, source }
        };
        LocalFs.create_dir_all(&folder).map_err(failed(&folder))?;
        let path = self.request(request, &letter.id);
        let temporary = folder.join(format!(".{}.tmp", letter.id));
        let content = Replay { letter: letter.clone(), discarded: request == Request::Discard };
        let written = serde_json::to_vec(&content).map_err(io::Error::from).and_then(|bytes| {
            let mut file = LocalFs.create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync()
        });
        written.map_err(failed(&temporary))?;
        fs::rename(&temporary, &path).map_err(failed(&path))?;
        fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed(&folder))
    }

    /// What has become of those that somebody has asked for, by the id of the letter.
    fn statuses(&self) -> Result<BTreeMap<String, Status>, DeadLetterError> {
        let folder = self.folder.join(REQUESTS);
        if !folder.is_dir() {
            return Ok(BTreeMap::new());
        }
        let names = names(&folder)?;
        let files: BTreeSet<(&str, Request)> = names.iter().filter_map(|name| Request::parse(name)).collect();
        let mut statuses = BTreeMap::new();
        for (id, request) in files {
            // What counts most comes first.
            if !statuses.contains_key(id) {
                let status = match request {
                    Request::Discard => Status::Discarded,
                    Request::Failed => Status::Failed(read(&folder.join(request.file_name(id)))?),
                    Request::Replayed => Status::Replayed,
                    Request::Replay => Status::Replay,
                };
                statuses.insert(id.to_string(), status);
            }
        }
        Ok(statuses)
    }
}

/// What is in a folder and not hidden, in order.
fn names(folder: &Path) -> Result<Vec<String>, DeadLetterError> {
    let failed = |source| DeadLetterError::Io { path: folder.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<String, DeadLetterError> {
    let text = LocalFs.read(path).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    text.map_err(|source| DeadLetterError::Io { path: path.to_path_buf(), source })
}

fn read_letters(path: &Path, letters: &mut Vec<DeadLetter>) -> Result<(), DeadLetterError> {
    for (line, text) in (1..).zip(read(path)?.lines()) {
        let damaged = |source| DeadLetterError::Damaged { path: path.to_path_buf(), line, source };
        letters.push(serde_json::from_str(text).map_err(damaged)?);
    }
    Ok(())
}
