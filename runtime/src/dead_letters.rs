//! Dead letters as they lie on disk, for those who look at them from outside of a job.
//!
//! A job keeps the letters of an operator as lines of JSON in `<checkpoints>/dead-letters/<operator>/`, exactly once. What is
//! to become of a letter is asked for by a file in `<checkpoints>/dead-letters/replay/`, one for each letter. It stays there:
//! the checkpoints of the job tell which letters have been replayed, so a request is carried out once, whatever crashes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use watershed_actors::{DeadLetter, Replay};

/// The dead letters of a job.
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
}

/// A letter, and what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The letter.
    pub letter: DeadLetter,
    /// What is to become of it.
    pub wish: Wish,
}

/// What is to become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nobody has asked for anything.
    None,
    /// It is to be replayed, or has been.
    Replay,
    /// It is given up.
    Discard,
}

impl Wish {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "dead",
            Self::Replay => "replay",
            Self::Discard => "discarded",
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
}

const REQUESTS: &str = "replay";

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

    /// All letters, oldest first.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn all(&self) -> Result<Vec<Listed>, DeadLetterError> {
        let wishes = self.wishes()?;
        let mut letters = Vec::new();
        for operator in names(&self.folder)? {
            let folder = self.folder.join(&operator);
            if operator == REQUESTS || !folder.is_dir() {
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
        let wish = |letter: &DeadLetter| wishes.get(&letter.id).copied().unwrap_or(Wish::None);
        Ok(letters.into_iter().map(|letter| Listed { wish: wish(&letter), letter }).collect())
    }

    /// The letter with this id, or the only one whose id begins like this.
    ///
    /// # Errors
    /// If there is none, or what cannot be read.
    pub fn find(&self, id: &str) -> Result<Listed, DeadLetterError> {
        let mut found: Vec<Listed> = self
            .all()?
            .into_iter()
            .filter(|listed| !id.is_empty() && listed.letter.id.starts_with(id))
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(listed), true) => Ok(listed),
            _ => Err(DeadLetterError::Unknown { id: id.to_string() }),
        }
    }

    /// Asks the job to replay a letter, or to give it up: durably, so that it is done at the next start at the latest. Asking
    /// again changes nothing.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn ask(&self, letter: &DeadLetter, discarded: bool) -> Result<(), DeadLetterError> {
        let folder = self.folder.join(REQUESTS);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| DeadLetterError::Io { path, source }
        };
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let path = folder.join(format!("{}.json", letter.id));
        if path.exists() {
            return Ok(());
        }
        let request = Replay { letter: letter.clone(), discarded };
        let temporary = folder.join(format!(".{}.tmp", letter.id));
        let written = serde_json::to_vec(&request).map_err(io::Error::from).and_then(|bytes| {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(failed(&temporary))?;
        fs::rename(&temporary, &path).map_err(failed(&path))?;
        fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed(&folder))
    }

    /// What has been asked for, by the id of the letter.
    fn wishes(&self) -> Result<BTreeMap<String, Wish>, DeadLetterError> {
        let folder = self.folder.join(REQUESTS);
        if !folder.is_dir() {
            return Ok(BTreeMap::new());
        }
        let mut wishes = BTreeMap::new();
        for name in names(&folder)? {
            let Some(id) = name.strip_suffix(".json") else { continue };
            let path = folder.join(&name);
            let text =
                fs::read(&path).map_err(|source| DeadLetterError::Io { path: path.clone(), source })?;
            let request: Replay = serde_json::from_slice(&text)
                .map_err(|source| DeadLetterError::Damaged { path, line: 1, source })?;
            wishes.insert(id.to_string(), if request.discarded { Wish::Discard } else { Wish::Replay });
        }
        Ok(wishes)
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

fn read_letters(path: &Path, letters: &mut Vec<DeadLetter>) -> Result<(), DeadLetterError> {
    let text = fs::read_to_string(path)
        .map_err(|source| DeadLetterError::Io { path: path.to_path_buf(), source })?;
    for (line, text) in (1..).zip(text.lines()) {
        let damaged = |source| DeadLetterError::Damaged { path: path.to_path_buf(), line, source };
        letters.push(serde_json::from_str(text).map_err(damaged)?);
    }
    Ok(())
}
